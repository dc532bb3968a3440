"""What do kernels reach of a device's published rates? The constants of devices, out of tables of measured kernels.

    bandwidth_share      bytes / W / time      the best 16-bit product of at most 64 tokens
    flops_share          FLOPs / peak / time   the middle of all products of at least 1,024 tokens, by dtype
    all_reduce_s, link   time = all_reduce_s + 2 (n - 1) / n * message / link          least relative squares
    routed_layer_s       time = routed_layer_s + hypot(bytes / W, FLOPs / peak)        the middle of one token
    routed share         the same solved for the FLOP/s, over those of flops_share     the middle, from 1,024 tokens

W and peak are rates times shares where these are known from the lines above. The range is that of the middle eighty
percent. Experts are counted as touched when routing is uniform, though the rows that are used spread tokens by a power
law, as routers do: what that is off by is in the constants. Left out are experts in fp8 with one scale a tensor, which
nobody ships: one of the two programs has no tuned kernel for them. Tables: `data/kernel_*`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from math import hypot, sqrt
from typing import Any

import numpy as np

from bytebill import data
from bytebill.hardware import accelerator
from bytebill.models import PRECISIONS, Precision
from bytebill.roofline import distinct_experts
from bytebill.sim.clock import kernel_dtype
from bytebill.sim.constants import OTHER_DEVICE, ROUTED, Constants, Estimate
from bytebill.trials.fit import NOISE

_FEW_TOKENS, _MANY_TOKENS = 64, 1024  # few: weights are all that is moved; many: arithmetic is all that counts
FEW_VALUES = 4
ONE_TOKEN = 1  # meets as many experts as it takes, however tokens are routed
SMALL_MESSAGE_BYTES, LARGEST_MESSAGE_BYTES = 2**14, 2**22  # of one token; of a step of 256 tokens 8,192 wide
PRECISION_OF = {"fp8_block": "fp8", "mxfp4-a8": "mxfp4"}  # what the tables tell apart and `bytebill.models` does not


@cache
def device_constants() -> dict[str, Constants]:
    """Constants of every device with measured kernels, and of any other one.

    >>> found = device_constants()["b200"]
    >>> round(found.bandwidth_share.value, 2), round(found.of("flops_share", "bf16"), 2)
    (0.81, 0.67)
    """
    found = {device_id: _device(device_id) for device_id in data.grouped("kernel_gemm", "device_id")}
    other = _any_device(list(found.values()))
    links: dict[str, Any] = {"all_reduce_s": other.all_reduce_s, "link_bytes_per_s": other.link_bytes_per_s}
    whole = {id: each if each.all_reduce_s.value else replace(each, **links) for id, each in found.items()}
    return {**whole, OTHER_DEVICE: other}


@cache
def routed_layers(program: str) -> dict[str, Estimate]:
    """Seconds that routing adds to a layer under a program, whatever the number of tokens, by kernels' dtype."""
    found: dict[str, list[float]] = {}
    for row in _routed_rows():
        if row["program"] == program and row["n_tokens"] == ONE_TOKEN:
            known, card = device_constants()[row["device_id"]], accelerator(row["device_id"])
            besides_s = row["time_us"] * 1e-6 - hypot(*_expert_times_s(row, known))
            found.setdefault(kernel_dtype(_precision(row), card), []).append(besides_s)
    return {dtype: _middle(each) for dtype, each in found.items()}


def _device(device_id: str) -> Constants:
    rows, card = data.grouped("kernel_gemm", "device_id")[device_id], accelerator(device_id)
    programs = {row["program"] for row in rows}
    few = [row for row in rows if row["dtype"] == "bf16" and row["n_tokens"] <= _FEW_TOKENS]
    best = [
        max(
            _gemm_bytes(row) / card.bandwidth_bytes_per_s / row["time_us"] * 1e6
            for row in few
            if row["program"] == each
        )
        for each in programs
    ]
    reached: dict[str, list[float]] = {}
    for row in rows:
        if row["n_tokens"] >= _MANY_TOKENS:
            dtype = _precision(row).compute_dtype
            flops = 2 * row["n_tokens"] * row["n_out"] * row["n_in"]
            reached.setdefault(dtype, []).append(flops / card.peak(dtype) / row["time_us"] * 1e6)
    by_kind = {dtype: _middle(shares) for dtype, shares in reached.items()}
    latency, link = _links([row for row in data.rows("kernel_all_reduce") if row["device_id"] == device_id])
    found = Constants(
        bandwidth_share=Estimate(value=max(best), low=min(best) * (1 - NOISE), high=min(1.0, max(best) * (1 + NOISE))),
        flops_share=by_kind["bf16"],
        all_reduce_s=latency,
        link_bytes_per_s=link,
        by_kind=tuple(("flops_share", dtype, each) for dtype, each in by_kind.items() if dtype != "bf16"),
    )
    routed = [row for row in _routed_rows() if row["device_id"] == device_id and row["n_tokens"] >= _MANY_TOKENS]
    shares = [_share_reached(row, found) for row in routed]
    return replace(found, by_kind=(*found.by_kind, ("flops_share", ROUTED, _middle(shares)))) if shares else found


def _links(rows: Sequence[data.Row]) -> tuple[Estimate, Estimate]:
    """Latency [s] and rate [B/s] of an all-reduce; nothing where none was measured. Linear in both inverses."""
    rows = [row for row in rows if row["message_bytes"] <= LARGEST_MESSAGE_BYTES]
    if not rows:
        return IDEAL_LINK
    times_s = np.array([row["time_us"] * 1e-6 for row in rows])
    crossing = np.array([2 * (row["n_devices"] - 1) / row["n_devices"] * row["message_bytes"] for row in rows])
    # relative squares: both columns and the target over the time
    latency_s, s_per_byte = np.linalg.lstsq(np.stack([1 / times_s, crossing / times_s], axis=1), np.ones(len(rows)))[0]
    sizes = np.array([row["message_bytes"] for row in rows])
    small, large = sizes <= SMALL_MESSAGE_BYTES, sizes == sizes.max()
    latencies = np.quantile(times_s[small], (0.1, 0.9))
    rates = np.quantile(crossing[large] / (times_s[large] - latency_s), (0.1, 0.9))
    return (_within(float(latency_s), *latencies.tolist()), _within(float(1 / s_per_byte), *rates.tolist()))


IDEAL_LINK = (Estimate.exact(0.0), Estimate.exact(float("inf")))


def _routed_rows() -> list[data.Row]:
    return [row for row in data.rows("kernel_moe") if row["routing"] != "balanced" and row["dtype"] != "fp8"]


def _expert_times_s(row: data.Row, known: Constants) -> tuple[float, float]:
    """Time to read the experts that are touched, and to multiply at the rate of large products."""
    card, width = accelerator(row["device_id"]), _precision(row)
    values = 3 * row["d_model"] * row["d_ff_expert"]
    touched = distinct_experts(
        row["n_experts"], n_experts_per_token=row["n_experts_per_token"], n_tokens=row["n_tokens"]
    )
    dtype = card.units(width.compute_dtype)
    flops = 2 * row["n_tokens"] * row["n_experts_per_token"] * values
    return (
        touched * values * width.bytes_per_weight / (card.bandwidth_bytes_per_s * known.bandwidth_share.value),
        flops / (card.peak(dtype) * known.of("flops_share", dtype)),
    )


def _share_reached(row: data.Row, known: Constants) -> float:
    """What is left of a dtype's share in a layer of experts: its time is the hypotenuse of reading and multiplying."""
    memory_s, compute_s = _expert_times_s(row, known)
    left_s = row["time_us"] * 1e-6
    return min(1.0, compute_s / sqrt(max(left_s**2 - memory_s**2, compute_s**2)))


def _any_device(known: Sequence[Constants]) -> Constants:
    """The middle of the devices that were measured, between the lowest and the highest end of any."""

    def each(estimates: Iterable[Estimate]) -> Estimate:
        found = list(estimates)
        value = float(np.median([one.value for one in found]))
        return Estimate(value=value, low=min(one.low for one in found), high=max(one.high for one in found))

    kinds = dict.fromkeys((name, dtype) for one in known for name, dtype, _ in one.by_kind)
    linked = [one for one in known if one.all_reduce_s.value]
    return Constants(
        bandwidth_share=each(one.bandwidth_share for one in known),
        flops_share=each(one.flops_share for one in known),
        all_reduce_s=each(one.all_reduce_s for one in linked),
        link_bytes_per_s=each(one.link_bytes_per_s for one in linked),
        by_kind=tuple(
            (*kind, each(share for one in known for name, dtype, share in one.by_kind if (name, dtype) == kind))
            for kind in kinds
        ),
    )


def _precision(row: data.Row) -> Precision:
    dtype: str = row["dtype"]
    return PRECISIONS[PRECISION_OF.get(dtype, dtype)]


def _gemm_bytes(row: data.Row) -> int:
    m, n, k = row["n_tokens"], row["n_out"], row["n_in"]
    return 2 * (n * k + m * k + m * n)


def _middle(values: Sequence[float]) -> Estimate:
    """The median, between the tenth and the ninetieth percentile; of few values, half as far again to each side."""
    low, value, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    if len(values) < FEW_VALUES:
        low, high = low / 1.5, high * 1.5
    return Estimate(value=max(0.0, value), low=max(0.0, low), high=high)


def _within(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=min(low, value), high=max(high, value))
