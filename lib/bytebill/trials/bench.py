"""What can this machine do? Its ceilings, decode against them, peers, users, the simulator and its errors: one record.

`run` measures the parts one after the other (nothing else may run meanwhile) and `overview` shows them. Every
figure is of this run; where the reference read drifted by more than a quarter, `warnings` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Group
from rich.table import Table

import bytebill
from bytebill.device import Device, pick
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.kernels.linear import path
from bytebill.engine.weights.smollm2 import smollm2
from bytebill.errors import BytebillError, unknown
from bytebill.measure import peers, users
from bytebill.measure.ceilings import peak_flops_per_s, read_bytes_per_s
from bytebill.measure.decode import DecodePoint, median_error, sweep_model, sweep_stack
from bytebill.measure.timing import drift
from bytebill.trials import agreement, speed

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_DTYPES = ("fp32", "bf16", "int8", "int4")
_STACK_WEIGHTS_PER_LAYER = 2 * 2048 * 5632
_CONTEXT_LEN = 256
_N_REQUESTS = 150  # at each load of `agreement`


def run(
    *, only: str | None = None, device: str = "auto", progress: Progress = lambda label, done, total: None
) -> dict[str, Any]:
    """Measure this machine; `only` is one of PARTS."""
    if only is not None and only not in PARTS:
        raise unknown("part of the bench", only, PARTS)
    here, parts = pick(device), [only] if only else list(PARTS)
    found: dict[str, Any] = {
        "bytebill": bytebill.__version__,
        "device": here.name,
        "threads": here.n_threads,
        "pinned": here.pinned,
        "memory_bytes": here.memory_bytes,
    }
    progress("ceilings", 0, len(parts))
    found["read_bytes_per_s"] = read_bytes_per_s(here)
    found["peak_flops_per_s"] = {dtype: peak_flops_per_s(here, dtype=dtype) for dtype in PLAIN}
    for done, part in enumerate(parts):
        _MEASURES[part](found, here, partial(_said_at, progress, done, len(parts)))
    return found


def _said_at(progress: Progress, done: int, total: int, label: str) -> None:
    progress(label, done, total)


def _sweep(part: str, found: dict[str, Any], here: Device, say: Say) -> None:
    """Decode in every dtype, and whether the reference read drifted meanwhile."""
    points: list[DecodePoint] = []
    for dtype in _dtypes(here, part):
        say(f"{part}, {dtype}")
        points += _SWEEPS[part](here, dtype, found["peak_flops_per_s"])
    found[part] = [point.as_row() for point in points]
    found.setdefault("median_error", {})[part] = median_error(points)
    moved = drift([point.read_bytes_per_s for point in points])
    found.setdefault("warnings", []).extend([f"{part}: {moved}"] if moved else [])


def _peers(found: dict[str, Any], here: Device, say: Say) -> None:
    say("peers")
    found["peers"] = {f"{peer}_tokens_per_s": rate for peer, rate in peers.all_in_turns().items()}


def _engine(found: dict[str, Any], here: Device, say: Say) -> None:
    say("engine")
    found["engine"] = [users.alone_and_together(here, dtype=dtype) for dtype in _dtypes(here, "smollm2")]
    found["engine_peers"] = {"llamacpp_8_slots_tokens_per_s": peers.tokens_per_s("llamacpp_8_slots")}


def _simulator(found: dict[str, Any], here: Device, say: Say) -> None:
    found["simulator"] = []
    for n_requests in speed.SIZES:
        say(f"simulator, {n_requests:,} requests")
        found["simulator"].append(speed.in_a_process(n_requests))


def _agreements(found: dict[str, Any], here: Device, say: Say) -> None:
    say("agreement")
    found["agreement"] = [_agreement(row) for row in agreement.agreements(here, n_requests=_N_REQUESTS)[1]]


def _stack(device: Device, dtype: str, peaks: dict[str, float]) -> list[DecodePoint]:
    # The same 554 M weights in every dtype, where they fit twice: int8 is then still beyond any cache.
    n_layers = int(min(24, device.memory_bytes // (2 * 4 * _STACK_WEIGHTS_PER_LAYER)))
    if n_layers < 12:
        raise BytebillError("The stack of 500 MB needs 1.2 GB of free memory; close something and try again.")
    return sweep_stack(device, dtype=dtype, batches=_BATCHES, peaks=peaks, n_layers=n_layers)


def _smollm2(device: Device, dtype: str, peaks: dict[str, float]) -> list[DecodePoint]:
    return sweep_model(smollm2(), device, dtype=dtype, batches=_BATCHES, peaks=peaks, context_len=_CONTEXT_LEN)


_SWEEPS = {"stack": _stack, "smollm2": _smollm2}
_MEASURES: dict[str, Callable[[dict[str, Any], Device, Say], None]] = {
    "ceilings": lambda found, here, say: None,  # every run measures them
    **{part: partial(_sweep, part) for part in _SWEEPS},
    "peers": _peers,
    "engine": _engine,
    "simulator": _simulator,
    "agreement": _agreements,
}
PARTS = tuple(_MEASURES)


def _agreement(row: agreement.Agreement) -> dict[str, Any]:
    """One load: each quantity as measured, as simulated, and their ratio."""
    quantities = {
        name: {"measured": value(row.measured), "simulated": value(row.simulated), "ratio": row.ratio(name)}
        for name, value in agreement.QUANTITIES.items()
    }
    return {"load": row.load, "rate_per_s": row.rate_per_s, "same_schedule": row.same_schedule, **quantities}


def _dtypes(device: Device, part: str) -> list[str]:
    """The weight dtypes that have a kernel on the device, and make sense for the part."""
    # SmolLM2's file has 4 bits already: packing its weights into 4 bits again would say nothing.
    wanted = [dtype for dtype in _DTYPES if not (part == "smollm2" and dtype == "int4")]
    return [dtype for dtype in wanted if dtype in PLAIN or _runs(dtype, device)]


def _runs(dtype: str, device: Device) -> bool:
    try:
        return bool(path(dtype, device.kind))
    except BytebillError:
        return False


def overview(found: dict[str, Any]) -> Group:
    """The record of a run as tables for a terminal."""
    pinned = "pinned" if found["pinned"] else "NOT pinned: the figures are too low"
    peaks = ", ".join(f"{dtype} {rate / 1e9:,.0f}" for dtype, rate in found["peak_flops_per_s"].items())
    ceilings = (
        f"{found['device']}, {found['threads']} threads, {pinned}\n"
        f"reads {found['read_bytes_per_s'] / 1e9:.1f} GB/s, multiplies {peaks} GFLOP/s"
    )
    shown: list[Any] = [ceilings]
    for part in ("stack", "smollm2"):
        if part in found:
            shown.append(_rows(part, found[part], found["median_error"][part]))
    others = found.get("peers", {}) | found.get("engine_peers", {})
    shown += [f"{name}: {rate:.1f}" for name, rate in others.items() if rate]
    shown += [_users(row) for row in found.get("engine", [])] + [_speed(row) for row in found.get("simulator", [])]
    shown += [_ratios(row) for row in found.get("agreement", [])]
    return Group(*shown, *found.get("warnings", []))


def _rows(part: str, rows: list[dict[str, Any]], error: float) -> Table:
    grid = Table(title=f"{part}: median prediction error {error:.0%} up to batch 64")
    for heading in ("dtype", "batch", "step [ms]", "predicted [ms]", "tokens/s", "share of read"):
        grid.add_column(heading, justify="right")
    for row in rows:
        grid.add_row(
            row["dtype"],
            str(row["batch"]),
            f"{row['step_s'] * 1e3:.1f}",
            f"{row['predicted_s'] * 1e3:.1f}",
            f"{row['tokens_per_s']:,.0f}",
            f"{row['fraction_of_read']:.2f}",
        )
    return grid


def _users(row: dict[str, Any]) -> str:
    rates = f"{row['alone_tokens_per_s']:.0f} tokens/s alone, {row['tokens_per_s']:.0f} with {row['users']} users"
    return f"engine, {row['dtype']}: {rates}, scheduling {row['scheduler_share']:.2%} of a step"


def _speed(row: dict[str, Any]) -> str:
    rate = f"{row['requests_per_s']:,.0f} a second, {row['peak_rss_bytes'] / 1e6:.0f} MB at most"
    return f"simulator, {row['requests']:,} requests: {rate}, mean batch {row['mean_batch']:.0f}"


def _ratios(row: dict[str, Any]) -> str:
    ratios = ", ".join(f"{name} {row[name]['ratio']:.2f}" for name in agreement.QUANTITIES)
    return f"simulated over measured at {row['load']:.0%} of capacity: {ratios}"
