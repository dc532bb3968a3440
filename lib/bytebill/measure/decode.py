"""Does the roofline predict this machine? Decode swept over the batch, each point with its prediction.

    predicted = hypot(bytes / W, flops / peak) + rest

bytes / W is the time of reading the same weights and nothing else, taken in turn with the step; peak is that of
a large matmul, or what the step's own kernel multiplies at this batch out of a cache (`kernel_rates`: unpacking
narrow weights and filling few registers take their time there too); rest is what the model's other operations take
(its hollow twin's step), nothing for a bare stack.
The root of the sum of squares lies between the larger of the terms (reading and multiplying overlap) and their sum
(they do not), and far from the ridge it equals the larger. `taken_apart` times what one step is made of.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from statistics import median

from bytebill.device import Device, synchronizer
from bytebill.engine.graphs import without_launches
from bytebill.engine.kernels.linear import arithmetic, path
from bytebill.engine.weights import Weights
from bytebill.measure.decoders import Decoder, build_stack, decoder, hollow_decoder
from bytebill.measure.timing import Predicted, Timing, in_turns

_CACHED_WIDTH = 1024  # two such matrices are 8 MB in fp32
_LEAST_MULTIPLIED = 8


@dataclass(frozen=True, kw_only=True)
class DecodePoint(Predicted):
    """One decode step: what it took, what reading its weights took, and what was predicted."""

    dtype: str
    spread: float
    tokens_per_s: float
    weight_bytes: int
    read_bytes_per_s: float
    fraction_of_read: float
    multiply_s: float = 0.0  # of the prediction, beside the read and the rest
    rest_s: float = 0.0
    samples_s: tuple[float, ...] = ()

    @property
    def largest_term(self) -> str:
        """Which of the prediction's terms is the largest."""
        terms = {"reads": self.weight_bytes / self.read_bytes_per_s, "multiplies": self.multiply_s, "rest": self.rest_s}
        return max(terms, key=terms.__getitem__)


def point(
    decoder: Decoder,
    batch: int,
    timing: Timing,
    *,
    peaks: Mapping[str, float],
    rates: Mapping[int, float] | None = None,
    rest_s: float = 0.0,
) -> DecodePoint:
    """A measured step beside its prediction; `peaks` holds the FLOP/s of a large matmul by dtype, `rates` those of the
    decoder's kernel by batch, which are taken where they are known."""
    step_s, read_s = timing.median_s, timing.reference_s
    peak = (rates or {}).get(batch) or peaks[multiplied_in(decoder, batch)]
    multiply_s = 2.0 * batch * decoder.n_weights / peak
    return DecodePoint(
        dtype=decoder.dtype,
        batch=batch,
        step_s=step_s,
        spread=timing.spread,
        tokens_per_s=batch / step_s,
        weight_bytes=decoder.weight_bytes,
        read_bytes_per_s=decoder.weight_bytes / read_s,
        fraction_of_read=read_s / step_s,
        predicted_s=hypot(read_s, multiply_s) + rest_s,
        multiply_s=multiply_s,
        rest_s=rest_s,
        samples_s=timing.samples_s,
    )


def multiplied_in(decoder: Decoder, batch: int) -> str:
    """The dtype whose peak bounds a step; a GPU's kernel for 4 bits multiplies in bf16."""
    if path(decoder.dtype, decoder.device.kind) == "tinygemm":
        return "bf16"
    return arithmetic(decoder.dtype, batch_size=batch, device=decoder.device.kind)


def kernel_rates(device: Device, *, dtype: str, batches: Sequence[int], repeats: int = 30) -> dict[int, float]:
    """FLOPs a second of the decode kernel at each batch, with two matrices that stay in a CPU's caches; the fastest of
    the repeats. Batches below `_LEAST_MULTIPLIED` are left out: there the caches' own bandwidth and the call take
    longer than the products. Empty elsewhere: a GPU would spend such a step on launches."""
    batches = [batch for batch in batches if batch >= _LEAST_MULTIPLIED]
    if device.kind != "cpu" or not batches:
        return {}
    pair = build_stack(device, dtype=dtype, n_layers=1, d_model=_CACHED_WIDTH, d_ff=_CACHED_WIDTH)
    timings = pair.sweep(batches, repeats=repeats)
    return {batch: 2 * batch * pair.n_weights / timing.fastest_s for batch, timing in timings.items()}


@dataclass(frozen=True, kw_only=True)
class StepParts:
    """A step of one sequence, and what it is made of, timed in turns."""

    weight_bytes: int
    n_matrices: int
    step: Timing
    matrices: Timing  # the same weights read, matrix by matrix, and nothing done with them
    rest: Timing  # a step of the hollow twin: the other operations, without the weights


def taken_apart(weights: Weights, device: Device, *, dtype: str, context_len: int, repeats: int = 5) -> StepParts:
    """Time a decode step at batch 1, a read of each of its matrices, and a step of its hollow twin, in turns [s]."""
    real = decoder(weights, device, dtype=dtype, context_len=context_len)
    twin = hollow_decoder(weights.spec, device, dtype=dtype, context_len=context_len)
    read = without_launches(real.read_matrices, kind=device.kind)
    calls = {"step": real.step(1), "matrices": read, "rest": twin.step(1)}
    timings = in_turns(calls, {}, sync=synchronizer(device), repeats=repeats, at_least_s=0.5)
    return StepParts(weight_bytes=real.weight_bytes, n_matrices=len(real.linears), **timings)


def sweep_model(
    weights: Weights,
    device: Device,
    *,
    dtype: str,
    batches: Sequence[int],
    peaks: Mapping[str, float],
    context_len: int,
    rates: Mapping[int, float] | None = None,
    repeats: int = 5,
) -> list[DecodePoint]:
    """Decode of a model at each batch, every sequence with the same context; the rest from its hollow twin."""
    real = decoder(weights, device, dtype=dtype, context_len=context_len)
    hollow = hollow_decoder(weights.spec, device, dtype=dtype, context_len=context_len)
    return [
        point(
            real,
            batch,
            real.time(batch, repeats=repeats),
            peaks=peaks,
            rates=rates,
            rest_s=hollow.time(batch, repeats=repeats).median_s,  # at once, while the machine is the same
        )
        for batch in batches
    ]


def median_error(points: Iterable[DecodePoint], *, largest_batch: int = 64) -> float:
    """Median of |predicted / measured - 1| over the batches up to `largest_batch`."""
    return median(abs(point.error) for point in points if point.batch <= largest_batch)
