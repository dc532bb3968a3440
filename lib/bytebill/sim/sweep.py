"""What would each of many operating points do? A sweep: a base, a grid over any of its fields, seeds; a row a point.

    points = product of the grid's lists (last name fastest) x seeds
    row    = everything a point says, then what its simulation found, units in the names

A field is named with dots, as in `workload.rate_per_s` or `policy.token_budget`. The policy is the program's own on
that device where a field is not given, and the largest step takes its room from the cache (`as_served`). Points are
data: they can be sent to another process, and the id of one is a hash of what it says. A point that nobody can serve
becomes a row with the reason in `refused`; a name that nobody knows is told before any point runs. Of means over time,
`mean_running` and `kv_utilization` leave idle times out, `mean_in_system` and `mean_in_queue` do not
(`bytebill.serving.metrics`). Ignores what changes in the code: a row does not know which version of the simulator made
it. Who runs the points, and keeps the rows, is `bytebill.trials.sweeps`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from hashlib import sha256
from itertools import product
from typing import Any

from bytebill.deployment import Deployment
from bytebill.economics.cost import usd_per_million_tokens
from bytebill.errors import BytebillError, require, require_known
from bytebill.memory.footprint import as_served, footprint_of
from bytebill.programs import program
from bytebill.serving import (
    Bursty,
    Evenly,
    Fixed,
    Metrics,
    Poisson,
    Policy,
    Request,
    RequestRouter,
    Slo,
    Workload,
    quantile,
    synthetic,
)
from bytebill.sim.closed_loop import policy_of
from bytebill.sim.cluster import Cluster, Pool
from bytebill.sim.constants import Constants, calibrated_constants
from bytebill.sim.server import serve_on

Point = Mapping[str, Any]

_DEFAULTS: dict[str, Any] = {
    "model": "llama-3-70b",
    "accelerator": "h100-sxm",
    "devices": 4,
    "program": "vllm",
    "weights": "auto",
    "kv": "bf16",
    "attention": "tensor",
    "usd_per_gpu_hour": None,
    "workload.trace": None,  # lengths of a published trace, or
    "workload.input_tokens": None,  # equal ones
    "workload.output_tokens": None,
    "workload.max_len_tokens": None,
    "workload.requests": 1000,
    "workload.rate_per_s": None,  # an open loop, or
    "workload.concurrency": None,  # so many users who wait for their answers
    "workload.cv": 1.0,  # of the gaps between arrivals: 0 even, 1 Poisson
    "cluster.replicas": 1,
    "cluster.prefill_replicas": 0,  # both kinds, or neither
    "cluster.decode_replicas": 0,
    "cluster.router": "least loaded",
}
_LIMITS = {f"slo.{each.name}": None for each in fields(Slo)}
_POLICY = {f"policy.{each.name}": None for each in fields(Policy)}
FIELDS = (*_DEFAULTS, *_POLICY, *_LIMITS)
_FLAGS = {f"policy.{each.name}" for each in fields(Policy) if each.type in (bool, "bool")}
_TEXTS = {name for name, value in _DEFAULTS.items() if isinstance(value, str)} | {"workload.trace"}
_TEXTS |= {f"policy.{each.name}" for each in fields(Policy) if each.type in (str, "str")}
_SECTIONS: dict[str, list[str]] = {}  # fields of each, without its name
for _section, _, _own in (name.partition(".") for name in FIELDS if "." in name):
    _SECTIONS.setdefault(_section, []).append(_own)
_AT_LEAST_ONE = {"devices", "cluster.replicas", "policy.n_slots", "policy.token_budget", "policy.block_size_tokens"}
_AT_LEAST_ONE |= {f"workload.{each}" for each in ("requests", "concurrency", "input_tokens", "output_tokens")}
_MOST, _MOST_POINTS = 10**12, 1_000_000
_NUMBERS = {*_LIMITS, "workload.rate_per_s", "workload.cv", "usd_per_gpu_hour", "policy.watermark", "policy.window_s"}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A base point, lists to vary, and seeds.

    >>> sweep = Sweep(base={"model": "llama-3-8b", "devices": 1, "workload": {"trace": "azure-conv", "rate_per_s": 2}},
    ...               grid={"workload.rate_per_s": [2, 4], "policy.token_budget": [512, 2048]}, seeds=(0,))
    >>> [(point["workload.rate_per_s"], point["policy.token_budget"]) for point in sweep.points()]
    [(2, 512), (2, 2048), (4, 512), (4, 2048)]
    """

    base: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, list[Any]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        base = _flat(self.base)
        for name, value in base.items():
            _check(name, value)
        for name, values in self.grid.items():
            listed = isinstance(values, (list, tuple)) and len(values) > 0
            require(listed, f"The grid has no list of values for {name}.")
            for value in values:
                _check(name, value)
            require(len({repr(each) for each in values}) == len(values), f"The grid has a value of {name} twice.")
        whole = all(type(seed) is int and abs(seed) <= _MOST for seed in self.seeds)
        seeds = whole and len(set(self.seeds)) == len(self.seeds) > 0
        require(seeds, f"Seeds are whole numbers up to {_MOST:,}, one or more, each of them once.")
        for one, other in (("rate_per_s", "concurrency"), ("trace", "input_tokens")):
            named = {name for name, value in base.items() if value is not None} | {*self.grid}
            both = {f"workload.{one}", f"workload.{other}"} <= named
            require(not both, f"A workload is told by its {one} or its {other}, not by both.")
        require(self.n_points <= _MOST_POINTS, f"A sweep of {self.n_points:,} points is more than {_MOST_POINTS:,}.")

    @classmethod
    def read(cls, document: Any) -> "Sweep":
        """A sweep as its file says it: `grid` and `seeds` beside the base's own fields; seeds: a list, or how many."""
        said = "nothing" if document is None else _shown(document)
        require(
            isinstance(document, Mapping),
            "A sweep's file gives fields their values, as in `model: llama-3-8b`, lists of values in its `grid`, "
            f"and `seeds`; this one holds {said}.",
        )
        base = {name: value for name, value in document.items() if name not in ("grid", "seeds")}
        grid, seeds = document.get("grid", {}), document.get("seeds", 1)
        require(isinstance(grid, Mapping), "A grid is a mapping from names to lists of values.")
        if type(seeds) is int:
            seeds = range(min(seeds, _MOST_POINTS + 1))
        require(isinstance(seeds, (list, range)), f"Seeds are a list, or how many, not {_shown(seeds)}.")
        return cls(base=base, grid=_flat(grid), seeds=tuple(seeds))

    def points(self) -> Iterator[dict[str, Any]]:
        """Every operating point, all names in it, in the grid's order, the seeds of each together."""
        base = {**_DEFAULTS, **_POLICY, **_LIMITS, **_flat(self.base)}
        for values in product(*self.grid.values()):
            for seed in self.seeds:
                yield {**base, **dict(zip(self.grid, values, strict=True)), "seed": seed}

    @property
    def n_points(self) -> int:
        return math.prod(len(values) for values in self.grid.values()) * len(self.seeds)


def point_id(point: Point) -> str:
    """A short hash of all that a point says."""
    return sha256(json.dumps(point, sort_keys=True, default=str).encode()).hexdigest()[:16]


def row_of(point: Point) -> dict[str, Any]:
    """What a point says and what came of it; where nobody can serve it, the reason in `refused`."""
    told = {name.replace(".", "_"): value for name, value in point.items()}
    try:
        return {**told, **_found(point), "refused": None}
    except (BytebillError, ValueError, ArithmeticError) as error:
        return {**told, **dict.fromkeys(RESULTS), "refused": " ".join(str(error).split())}


RESULTS = (
    *("n_devices", "n_finished", "n_refused", "end_s", "requests_per_s", "output_tokens_per_s"),
    *("ttft_p50_s", "ttft_p99_s", "tpot_p50_s", "tpot_p99_s", "itl_p50_s", "itl_p99_s", "e2e_p50_s", "e2e_p99_s"),
    *("mean_running", "mean_in_system", "mean_in_queue", "kv_utilization", "n_preemptions"),
    *("slo_met", "slo_binds", "slo_share", "goodput_requests_per_s", "goodput_tokens_per_s"),
    "usd_per_million_output_tokens",
)


def _found(point: Point) -> dict[str, Any]:
    """The columns of `RESULTS`."""
    how = {name: point[name] for name in _OF_A_GROUP}
    group, constants = _group(point["model"], point["policy.token_budget"], n_devices=point["devices"], **how)
    given = {name.removeprefix("policy."): point[name] for name in _POLICY if point[name] is not None}
    policy = replace(policy_of(point["program"], group.accelerator), **given)
    asked = _workload(point)
    n_devices, metrics = _served(point, group, policy, constants, asked)
    slo = Slo(**{name.removeprefix("slo."): point[name] for name in _LIMITS if point[name] is not None})
    rate, rent = metrics.output_tokens_per_s, point["usd_per_gpu_hour"]
    usd = None
    if rent is not None and rate:
        usd = usd_per_million_tokens(usd_per_hour=rent * n_devices, tokens_per_s=rate)
    times_s = {"ttft": metrics.ttft_s, "tpot": metrics.tpot_s, "e2e": metrics.e2e_latency_s}
    quantiles = {f"{name}_p{q}_s": quantile(each, q / 100) for name, each in times_s.items() for q in (50, 99)}
    values = {
        "n_devices": n_devices,
        "n_finished": metrics.n_finished,
        "n_refused": len(metrics.refusals),
        "end_s": metrics.end_s,
        "requests_per_s": metrics.requests_per_s,
        "output_tokens_per_s": rate,
        **quantiles,
        **{f"itl_p{q}_s": metrics.itl_quantile_s(q / 100) for q in (50, 99)},
        **{f"mean_{where}": getattr(metrics, f"mean_{where}") for where in ("running", "in_system", "in_queue")},
        "kv_utilization": metrics.kv_utilization,
        "n_preemptions": metrics.n_preemptions,
        "slo_met": slo.met(metrics) if slo.limits else None,
        "slo_binds": slo.binding(metrics) if slo.limits else None,
        "slo_share": slo.share(metrics) if slo.limits else None,
        "goodput_requests_per_s": slo.goodput_requests_per_s(metrics) if slo.limits else None,
        "goodput_tokens_per_s": slo.goodput_tokens_per_s(metrics) if slo.limits else None,
        "usd_per_million_output_tokens": usd,
    }
    return {name: None if values[name] != values[name] else values[name] for name in RESULTS}  # nan: no such number


_OF_A_GROUP = ("accelerator", "program", "weights", "kv", "attention")


@lru_cache(maxsize=64)
def _group(model: str, token_budget: int | None, **how: Any) -> tuple[Deployment, Constants]:
    """A group with the room that its program leaves, and the constants it runs at."""
    whole = footprint_of(model, **how).deployment
    served = as_served(whole, program(how["program"]), step_tokens=token_budget)
    require(
        served.kv_tokens > 0, f"{whole.n_devices} x {whole.accelerator.name} leave no room for a cache beside {model}."
    )
    return served, calibrated_constants(how["program"], how["accelerator"])


def _workload(point: Point) -> list[Request] | Workload:
    n, seed, rate = point["workload.requests"], point["seed"], point["workload.rate_per_s"]
    arrivals: Evenly | Poisson | Bursty | None = None
    if rate is not None:
        cv = point["workload.cv"]
        arrivals = Evenly(rate) if cv == 0 else Poisson(rate, seed=seed) if cv == 1 else Bursty(rate, cv=cv, seed=seed)
    longest, trace = point["workload.max_len_tokens"], point["workload.trace"]
    if trace is not None:
        return synthetic(trace, n, arrivals=arrivals, max_len_tokens=longest, seed=seed)
    sides = [point[f"workload.{side}_tokens"] for side in ("input", "output")]
    require(None not in sides, "A workload has a trace, or input_tokens and output_tokens.")
    return Workload(n, inputs=Fixed(sides[0]), outputs=Fixed(sides[1]), arrivals=arrivals)


def _served(
    point: Point, group: Deployment, policy: Policy, constants: Constants, asked: list[Request] | Workload
) -> tuple[int, Metrics]:
    """Devices, and what became of all requests."""
    concurrency = point["workload.concurrency"]
    n_prefill, n_decode = point["cluster.prefill_replicas"], point["cluster.decode_replicas"]
    if not n_prefill and not n_decode and point["cluster.replicas"] == 1 and group.attention == "tensor":
        metrics = serve_on(group, asked, policy, constants=constants, concurrency=concurrency).metrics
        return group.n_devices, metrics
    kinds = {"prefill": n_prefill, "decode": n_decode} if n_prefill or n_decode else {"both": point["cluster.replicas"]}
    pools = tuple(
        Pool(deployment=group, n_replicas=n, policy=policy, constants=constants, role=role) for role, n in kinds.items()
    )
    cluster = Cluster(pools=pools, router=point["cluster.router"])
    return cluster.n_devices, cluster.serve(asked, concurrency=concurrency).metrics


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Names with dots, whether written nested or so, each once."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        inner = {name: value}
        if name in _SECTIONS:
            own = ", ".join(f"{name}.{each}" for each in _SECTIONS[name])
            require(isinstance(value, Mapping), f"{name} holds fields ({own}) and has no value of its own.")
            inner = {f"{name}.{each}": of_it for each, of_it in value.items()}
        twice = ", ".join(inner.keys() & flat.keys())
        require(not twice, f"A sweep names {twice} twice, nested and with dots.")
        flat |= inner
    return flat


def _check(name: str, value: Any) -> None:
    """A known field, with a value of its kind."""
    section, _, own = str(name).rpartition(".")
    if section in _SECTIONS:
        require_known(f"field of {section}", own, _SECTIONS[section])
    require_known("field of a sweep", name, FIELDS, where="`bytebill.sim.sweep`")
    if value is None:
        require(_DEFAULTS.get(name) is None, f"{name} cannot be left out; leave it away for {_DEFAULTS.get(name)}.")
        return
    shown = _shown(value)
    if name in _FLAGS:
        require(isinstance(value, bool), f"{name} is true or false, not {shown}.")
    elif name in _TEXTS:
        require(isinstance(value, str) and value != "", f"{name} is a text, not {shown}.")
        _look_up(name, value)
    elif name in _NUMBERS:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST
        require(number, f"{name} is a number from 0 up to {_MOST:,}, as in 0.5 or 1.0e+3, not {shown}.")
    else:
        least = 1 if name in _AT_LEAST_ONE else 0
        whole = type(value) is int and least <= value <= _MOST
        require(whole, f"{name} is a whole number from {least} up to {_MOST:,}, not {shown}.")


def _look_up(name: str, value: str) -> None:
    """Refuse a text that names nothing, as whoever will take it says that."""
    if name == "workload.trace":
        synthetic(value, 1)
    elif name == "cluster.router":
        RequestRouter(value, sizes=[1])
    elif name in _POLICY:
        settings: dict[str, Any] = {"n_slots": 1, "token_budget": 1, name.removeprefix("policy."): value}
        Policy(**settings).scheduler(1)
    else:
        group: dict[str, Any] = {"model": "llama-3-8b", "accelerator": "h100-sxm", name: value}
        footprint_of(group.pop("model"), **group)


def _shown(value: Any) -> str:
    """A value as a sentence can hold it, however large it is."""
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"{value:#x}"[:40] if type(value) is int and abs(value) > _MOST else f"{value!r:.40}"
