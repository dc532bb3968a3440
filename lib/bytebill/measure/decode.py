"""Does the roofline predict this machine? Decode swept over the batch, each point with its prediction.

    predicted = hypot(bytes / W, flops / peak) + rest

bytes / W is the time of reading the same weights and nothing else, taken in turn with the step; peak is that of
a large matmul, or what the step's own kernel multiplies at this batch out of a cache (`sweep_beside_kernel`:
unpacking narrow weights and filling few registers take their time there too); rest is what the model's other
operations take (its hollow twin's step), nothing for a bare stack.
The root of the sum of squares lies between the larger of the terms (reading and multiplying overlap) and their sum
(they do not), and far from the ridge it equals the larger. `taken_apart` times what one step is made of.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, sqrt
from statistics import median
from typing import Any

from bytebill.device import Device, synchronizer
from bytebill.engine.graphs import without_launches
from bytebill.engine.kernels.dtypes import weight_format
from bytebill.engine.kernels.linear import arithmetic
from bytebill.engine.weights import Weights
from bytebill.measure.decoders import Decoder, build_stack, decoder, hollow_decoder
from bytebill.measure.timing import Call, Predicted, Timing, in_turns

_CACHED_BYTES = 8 << 20
_GROUP = 256  # of which a width is a multiple: whole panels, whole scales
_CACHED_CALLS = 6  # of a sample
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
    multiplied_in = arithmetic(decoder.dtype, batch_size=batch, device=decoder.device.kind)
    peak = (rates or {}).get(batch) or peaks[multiplied_in]
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


def sweep_beside_kernel(
    decoder: Decoder, batches: Sequence[int], *, repeats: int = 5
) -> tuple[dict[int, Timing], dict[int, float]]:
    """A decoder's step at each batch, and in the same turns, for a machine's speed moves, FLOPs a second of its kernel.

    The kernel multiplies two matrices that stay in a CPU's caches, several times, for the step before has swept them
    out; the fastest of these counts, and of all turns the median. It has no rate at batches below `_LEAST_MULTIPLIED`,
    where the caches' own bandwidth and the call take longer than the products, nor on a GPU, which would spend such a
    step on launches.
    """
    kind = decoder.device.kind
    fastest_s: dict[int, list[float]] = {n: [] for n in batches if n >= _LEAST_MULTIPLIED and kind == "cpu"}
    pair = _cached_pair(decoder.device, decoder.dtype) if fastest_s else decoder
    calls: dict[Any, Call] = {("kernel", n): _fastest(pair.step(n), into) for n, into in fastest_s.items()}
    calls |= {("step", n): decoder.step(n) for n in batches}
    reads = {("step", n): without_launches(decoder.read, kind=kind) for n in batches}
    found = in_turns(calls, reads, sync=synchronizer(decoder.device), repeats=repeats)
    rates = {n: 2 * n * pair.n_weights / median(each_s) for n, each_s in fastest_s.items()}
    return {n: found["step", n] for n in batches}, rates


def _cached_pair(device: Device, dtype: str) -> Decoder:
    """Two square matrices of `_CACHED_BYTES` together: the narrower their weights, the wider they are, so that what a
    call takes besides stays small."""
    width = sqrt(_CACHED_BYTES / 2 / weight_format(dtype).bytes_per_weight)
    width = max(1, round(width / _GROUP)) * _GROUP
    return build_stack(device, dtype=dtype, n_layers=1, d_model=width, d_ff=width)


def _fastest(call: Call, into: list[float]) -> Call:
    """Calls in a row, of which the fastest is noted [s]."""

    def run() -> None:
        ends_s = [time.perf_counter()]
        for _ in range(_CACHED_CALLS):
            call()
            ends_s.append(time.perf_counter())
        into.append(min(end - start for start, end in pairwise(ends_s)))

    return run


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
    repeats: int = 5,
) -> list[DecodePoint]:
    """Decode of a model at each batch, every sequence with the same context; the rest from its hollow twin."""
    real = decoder(weights, device, dtype=dtype, context_len=context_len)
    hollow = hollow_decoder(weights.spec, device, dtype=dtype, context_len=context_len)
    found = []
    for batch in batches:
        timings, rates = sweep_beside_kernel(real, [batch], repeats=repeats)
        rest_s = hollow.time(batch, repeats=repeats).median_s  # at once, while the machine is the same
        found.append(point(real, batch, timings[batch], peaks=peaks, rates=rates, rest_s=rest_s))
    return found


def median_error(points: Iterable[DecodePoint], *, largest_batch: int = 64) -> float:
    """Median of |predicted / measured - 1| over the batches up to `largest_batch`."""
    return median(abs(point.error) for point in points if point.batch <= largest_batch)
