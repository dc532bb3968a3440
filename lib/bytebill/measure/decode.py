"""Does the roofline predict this machine? Decode swept over the batch, each point with its prediction.

    predicted = hypot(bytes / W, flops / peak) + rest

bytes / W is the time of reading the same weights and nothing else, taken in turn with the step; peak is that of
a large matmul; rest is what the model's other operations take (`hollow`), nothing for a bare stack.
The root of the sum of squares lies between the two bounds: the larger of the terms (reading and multiplying
overlap) and their sum (they do not), and it equals both far from the ridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot
from statistics import median
from typing import Any

from bytebill.device import Device
from bytebill.engine.kernels.linear import arithmetic
from bytebill.engine.weights.names import Weights
from bytebill.measure.model_decode import decoder, hollow_decoder
from bytebill.measure.stack import build_stack
from bytebill.measure.timing import Timing


@dataclass(frozen=True, kw_only=True)
class DecodePoint:
    """One decode step: what it took, what reading its weights took, and what was predicted."""

    dtype: str
    batch: int
    step_s: float
    spread: float
    tokens_per_s: float
    weight_bytes: int
    read_bytes_per_s: float
    fraction_of_read: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted_s / self.step_s - 1

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def point(
    timing: Timing, *, dtype: str, batch: int, weight_bytes: int, flops: float, peak: float, rest_s: float = 0.0
) -> DecodePoint:
    """A measured step beside its prediction."""
    step_s, read_s = timing.median_s, timing.reference_s
    return DecodePoint(
        dtype=dtype,
        batch=batch,
        step_s=step_s,
        spread=timing.spread,
        tokens_per_s=batch / step_s,
        weight_bytes=weight_bytes,
        read_bytes_per_s=weight_bytes / read_s,
        fraction_of_read=read_s / step_s,
        predicted_s=hypot(read_s, flops / peak) + rest_s,
    )


def sweep_stack(
    device: Device, *, dtype: str, batches: Sequence[int], peaks: Mapping[str, float], n_layers: int, repeats: int = 5
) -> list[DecodePoint]:
    """Decode of a bare stack at each batch; `peaks` holds the FLOP/s of a large matmul by dtype."""
    stack = build_stack(device, dtype=dtype, n_layers=n_layers)
    return [
        point(
            timing,
            dtype=dtype,
            batch=batch,
            weight_bytes=stack.weight_bytes,
            flops=2.0 * batch * stack.n_weights,
            peak=_peak(peaks, dtype, batch, device),
        )
        for batch, timing in stack.sweep(batches, repeats=repeats).items()
    ]


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
    return [
        point(
            real.time(batch, repeats=repeats),
            dtype=dtype,
            batch=batch,
            weight_bytes=real.weight_bytes,
            flops=2.0 * batch * weights.spec.n_matmul_params,
            peak=_peak(peaks, dtype, batch, device),
            rest_s=hollow.time(batch, repeats=repeats).median_s,  # at once, while the machine is the same
        )
        for batch in batches
    ]


def _peak(peaks: Mapping[str, float], dtype: str, batch_size: int, device: Device) -> float:
    return peaks[arithmetic(dtype, batch_size=batch_size, device=device.kind)]


def median_error(points: Iterable[DecodePoint], *, largest_batch: int = 64) -> float:
    """Median of |predicted / measured - 1| over the batches up to `largest_batch`."""
    return median(abs(point.error) for point in points if point.batch <= largest_batch)
