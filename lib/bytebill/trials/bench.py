"""What can this machine do? Its ceilings, decode against them, peers, users, the simulator and its errors: one record.

`run` measures the parts one after the other (nothing else may run meanwhile) and `overview` shows them. Every
figure is of this run; where the reference read drifted by more than a quarter, `warnings` says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.text import Text

import bytebill
from bytebill.data import Register
from bytebill.device import Device, pick
from bytebill.display import table
from bytebill.engine.kernels.dtypes import FORMATS, PLAIN
from bytebill.engine.kernels.linear import formats
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import smollm2
from bytebill.errors import BytebillError, require
from bytebill.measure import ceilings, peers, users
from bytebill.measure.decode import DecodePoint, median_error, point, sweep_beside_kernel, sweep_model
from bytebill.measure.decoders import build_stack
from bytebill.measure.prefix import ttft_by_hit
from bytebill.measure.sizes import sizes_for
from bytebill.measure.speculation import lookup_gain
from bytebill.measure.timing import drift
from bytebill.trials import agreement, speed
from bytebill.trials.record import made_on, new_record

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_CONTEXT_LEN = 256
_N_PROMPT_TOKENS = 1000  # of `prefix`
_N_REQUESTS = 150  # at each load of `agreement`
_ENOUGH = {"bf16": 1.5, "fp32": 1.8}  # times as fast that weights of 8 bits should be, over either
_ON_REQUEST = ("tenth",)  # takes minutes
_HEADINGS = ("dtype", "batch", "step [ms:.1f]", "predicted [ms:.1f]", "tokens/s [:,.0f]", "of read [:.2f]", "mostly")


def run(
    *, only: str | None = None, device: str = "auto", progress: Progress = lambda label, done, total: None
) -> dict[str, Any]:
    """Measure this machine; `only` is the name of one part."""
    default = [part for name, part in _PARTS.items() if name not in _ON_REQUEST]
    parts, here = [_PARTS[only]] if only else default, pick(device)
    progress("ceilings", 0, len(parts))
    machine = ceilings.machine(here)
    found: dict[str, Any] = {
        "bytebill": bytebill.__version__,
        "provenance": made_on(here, program="bytebill"),
        "device": here.name,
        "kind": here.kind,
        "threads": here.n_threads,
        "pinned": here.pinned,
        "memory_bytes": here.memory_bytes,
        "read_bytes_per_s": machine.bandwidth_bytes_per_s,
        "peak_flops_per_s": dict(machine.peak_flops_per_s),
    }
    names = [only] if only else [name for name in _PARTS if name not in _ON_REQUEST]
    for done, (name, measure) in enumerate(zip(names, parts, strict=True)):
        try:
            measure(found, here, lambda label, done=done: progress(label, done, len(parts)))  # type: ignore[misc]
        except BytebillError as error:
            if only:
                raise
            found.setdefault("skipped", {})[name] = str(error)  # and the parts before it are not lost
    return found


def as_record(found: Mapping[str, Any]) -> dict[str, Any]:
    """A run of the bench in the book's schema: its sweeps are the steps, and the other parts stay as they are."""
    swept = {part: found[part] for part in _SWEEPS if part in found}
    apart = {"provenance", "read_bytes_per_s", "peak_flops_per_s", *swept}
    others = {key: value for key, value in found.items() if key not in apart}
    contexts = {"smollm2": _CONTEXT_LEN}
    return new_record(
        kind="bench",
        provenance=found["provenance"],
        parameters={"parts": [part for part in _PARTS if part in found]},
        ceilings={"read_bytes_per_s": found["read_bytes_per_s"], "peak_flops_per_s": found["peak_flops_per_s"]},
        steps=[{"model": part, "context_len": contexts.get(part)} | row for part in swept for row in swept[part]],
        found=others,
    )


def _sweep(part: str, found: dict[str, Any], here: Device, say: Say) -> None:
    """Decode in every dtype, and whether the reference read drifted meanwhile."""
    points: list[DecodePoint] = []
    for dtype in _dtypes(here, part):
        say(f"{part}, {dtype}")
        points += _SWEEPS[part](here, dtype, found["peak_flops_per_s"])
    found[part] = [asdict(each) | {"largest_term": each.largest_term} for each in points]
    found.setdefault("median_error", {})[part] = median_error(points)
    moved = drift([each.read_bytes_per_s for each in points])
    found.setdefault("warnings", []).extend([f"{part}: {moved}"] if moved else [])


def _stack(device: Device, dtype: str, peaks: dict[str, float]) -> list[DecodePoint]:
    # The same 554 M weights in every dtype, where they fit twice: int8 is then still beyond any cache.
    size = sizes_for(device)
    by_layer = 2 * size.d_model * size.d_ff
    n_layers = int(min(24, device.memory_bytes // (2 * 4 * by_layer)))
    least = 12 if device.kind == "cpu" else size.layers((1,))[0]
    needed = 2 * 4 * least * by_layer
    require(
        n_layers >= least,
        f"The smallest stack needs {needed / 1e9:.1f} GB of free memory; close something and try again.",
    )
    stack = build_stack(device, dtype=dtype, n_layers=n_layers)
    timings, rates = sweep_beside_kernel(stack, _BATCHES)
    return [point(stack, batch, timing, peaks=peaks, rates=rates) for batch, timing in timings.items()]


def _smollm2(device: Device, dtype: str, peaks: dict[str, float]) -> list[DecodePoint]:
    return sweep_model(smollm2(), device, dtype=dtype, batches=_BATCHES, peaks=peaks, context_len=_CONTEXT_LEN)


def _dtypes(device: Device, part: str) -> list[str]:
    """The weight dtypes that have a kernel on the device, and make sense for the part."""
    # SmolLM2's file has 4 bits already: packing its weights into 4 bits again would say nothing.
    return [each for each in formats(device.kind) if (part, each) != ("smollm2", "int4")]


def _peers(found: dict[str, Any], here: Device, say: Say) -> None:
    say("peers")
    found["peers"] = {f"{peer}_tokens_per_s": rate for peer, rate in peers.all_in_turns(device=here.kind).items()}


def _engine(found: dict[str, Any], here: Device, say: Say) -> None:
    say("engine")
    found["engine"] = [users.alone_and_together(here, dtype=dtype) for dtype in _dtypes(here, "smollm2")]
    found["engine_peers"] = {"llamacpp_8_slots_tokens_per_s": peers.tokens_per_s("llamacpp_8_slots", device=here.kind)}


def _prefix(found: dict[str, Any], here: Device, say: Say) -> None:
    """A full hit of a prefix cache; where it saves less than it should, what takes the time."""
    say("prefix cache")
    model = Transformer(smollm2(), dtype="bf16", device=here.torch)
    hits = ttft_by_hit(model, n_tokens=_N_PROMPT_TOKENS, shares=(0.0, 1.0), repeats=5)
    none, full = (hits[share].ttft.median_s for share in (0.0, 1.0))
    read_s = model.weight_bytes_read / found["read_bytes_per_s"]
    found["prefix"] = {
        "prompt_tokens": _N_PROMPT_TOKENS,
        "found_tokens": hits[1.0].n_found_tokens,
        "ttft_s": none,
        "ttft_full_hit_s": full,
        "gain": none / full,
        "weights_read_s": read_s,
        "alone_s": hits[1.0].alone.median_s,
    }


def _speculation(found: dict[str, Any], here: Device, say: Say) -> None:
    say("speculation")
    found["speculation"] = [lookup_gain(here, dtype=dtype) for dtype in PLAIN]


def _simulator(found: dict[str, Any], here: Device, say: Say) -> None:
    found["simulator"] = []
    for n_requests in speed.SIZES:
        say(f"simulator, {n_requests:,} requests")
        found["simulator"].append(speed.in_a_process(n_requests))


def _clusters(found: dict[str, Any], here: Device, say: Say) -> None:
    found["cluster"] = []
    for n_replicas in speed.CLUSTERS:
        say(f"cluster of {n_replicas}")
        found["cluster"].append(speed.cluster_in_a_process(n_replicas))
    _fleet(found, here, say, n_requests=speed.FLEET)


def _fleet(found: dict[str, Any], here: Device, say: Say, *, n_requests: int) -> None:
    say(f"fleet of {speed.N_REPLICAS:,}, {n_requests:,} requests")
    found["fleet"] = speed.fleet_in_processes(n_requests)


def _frontier(found: dict[str, Any], here: Device, say: Say) -> None:
    say("frontier of 200 operating points")
    found["frontier"] = speed.frontier()


def _agreements(found: dict[str, Any], here: Device, say: Say) -> None:
    """At each load every quantity as measured, as simulated, and their ratio."""
    say("agreement")
    found["agreement"] = [
        {"load": row.load, "rate_per_s": row.rate_per_s, "same_schedule": row.same_schedule}
        | {
            name: {"measured": value(row.measured), "simulated": value(row.simulated), "ratio": row.ratio(name)}
            for name, value in agreement.QUANTITIES.items()
        }
        for row in agreement.agreements(here, n_requests=_N_REQUESTS)[1]
    ]


_SWEEPS = {"stack": _stack, "smollm2": _smollm2}
_PARTS: Register[Callable[[dict[str, Any], Device, Say], None]] = Register(
    "part of the bench",
    lambda: {
        "ceilings": lambda found, here, say: None,  # every run measures them
        **{part: partial(_sweep, part) for part in _SWEEPS},
        "peers": _peers,
        "engine": _engine,
        "prefix": _prefix,
        "speculation": _speculation,
        "simulator": _simulator,
        "cluster": _clusters,
        "frontier": _frontier,
        "agreement": _agreements,
        "tenth": partial(_fleet, n_requests=speed.TENTH),
    },
)


def gains_of_narrow(points: Sequence[dict[str, Any]]) -> list[str]:
    """What narrow weights gain over wider ones with one sequence, and where they fall short, which term is the rest.

    >>> at = {"batch": 1, "fraction_of_read": 0.4}
    >>> gains_of_narrow([at | {"dtype": "bf16", "step_s": 0.012}, at | {"dtype": "int8", "step_s": 0.010}])
    ['int8 at batch 1: 1.20 times bf16; reading weights is only 40% of its step, the operations between them the rest']
    """
    alone = {row["dtype"]: row for row in points if row["batch"] == 1}
    lines = []
    for dtype in (each for each in FORMATS if each not in PLAIN):
        over = {wide: alone[wide]["step_s"] / alone[dtype]["step_s"] for wide in PLAIN if {wide, dtype} <= set(alone)}
        if over:
            said = ", ".join(f"{times:.2f} times {wide}" for wide, times in over.items())
            short = all(over[wide] < enough for wide, enough in _ENOUGH.items() if wide in over)
            why = (
                f"; reading weights is only {alone[dtype]['fraction_of_read']:.0%} of its step, the operations between "
                "them the rest"
            )
            lines.append(f"{dtype} at batch 1: {said}{why * short}")
    return lines


def overview(found: dict[str, Any]) -> Text:
    """The record of a run as lines and tables for a terminal."""
    pinned = "pinned" if found["pinned"] else "NOT pinned: the figures are too low"
    threads = f", {found['threads']} threads, {pinned}" if found.get("kind", "cpu") == "cpu" else ""
    peaks = ", ".join(f"{dtype} {rate / 1e9:,.0f}" for dtype, rate in found["peak_flops_per_s"].items())
    lines = [
        f"{found['device']}{threads}",
        f"reads {found['read_bytes_per_s'] / 1e9:.1f} GB/s, multiplies {peaks} GFLOP/s",
    ]
    keys = ("dtype", "batch", "step_s", "predicted_s", "tokens_per_s", "fraction_of_read", "largest_term")
    for part, error in found.get("median_error", {}).items():
        rows = [[row[key] for key in keys] for row in found[part]]
        lines += [f"{part}: median prediction error {error:.0%} up to batch 64", repr(table(*_HEADINGS, rows=rows))]
        lines += gains_of_narrow(found[part])
    others = found.get("peers", {}) | found.get("engine_peers", {})
    lines += [f"{name}: {rate:.1f}" for name, rate in others.items() if rate]
    lines += [
        f"engine, {row['dtype']}: {row['alone_tokens_per_s']:.0f} tokens/s alone, {row['tokens_per_s']:.0f} with "
        f"{row['users']} users, scheduling {row['scheduler_share']:.2%} of a step"
        for row in found.get("engine", [])
    ]
    if row := found.get("prefix"):
        attended_s = max(0.0, row["ttft_full_hit_s"] - row["alone_s"])
        terms = {"weights": row["weights_read_s"], "the tokens found, attended to": attended_s}
        terms["the rest of a step"] = row["ttft_full_hit_s"] - sum(terms.values())
        lines.append(
            f"prefix cache: a hit of {row['found_tokens']:,} of {row['prompt_tokens']:,} tokens brings the first token "
            f"{row['gain']:.1f} times sooner, after {1e3 * row['ttft_full_hit_s']:.0f} ms; most of them: "
            f"{max(terms, key=terms.__getitem__)}"
        )
    lines += [
        f"prompt lookup, {row['dtype']}: {row['speed_up']:.2f} times as fast; a pass gives "
        f"{row['tokens_per_pass']:.1f} tokens and takes {row['pass_cost']:.1f} steps"
        for row in found.get("speculation", [])
    ]
    lines += [
        f"simulator, {row['requests']:,} requests: {row['requests_per_s']:,.0f} a second, "
        f"{row['peak_rss_bytes'] / 1e6:.0f} MB at most, mean batch {row['mean_batch']:.0f}"
        for row in found.get("simulator", [])
    ]
    lines += [
        f"cluster of {row['replicas']:,}: {row['requests_per_s']:,.0f} requests/s on one core, "
        f"{row['peak_rss_bytes'] / 1e6:.0f} MB at most"
        for row in found.get("cluster", [])
    ]
    if row := found.get("fleet"):
        lines.append(
            f"fleet of {row['replicas']:,}, {row['requests']:,} requests in {row['seconds']:.0f} s: "
            f"{row['requests_per_s']:,.0f} a second by {row['processes']} processes, each of "
            f"{row['peak_rss_bytes'] / 1e6:.0f} MB at most"
        )
    if row := found.get("frontier"):
        lines.append(
            f"frontier of {row['points']} points, {row['requests']:,} requests: {row['seconds']:.0f} s by "
            f"{row['processes']} processes, {row['efficiency']:.2f} times as fast as by one"
        )
    for row in found.get("agreement", []):
        ratios = ", ".join(f"{name} {row[name]['ratio']:.2f}" for name in agreement.QUANTITIES)
        lines.append(f"simulated over measured at {row['load']:.0%} of capacity: {ratios}")
    lines += [f"{name} left out: {why}" for name, why in found.get("skipped", {}).items()]
    return Text("\n".join([*lines, *found.get("warnings", [])]))
