"""How far does a claim carry? The fixed cases on which its reach is judged, and the one in which stakes are told.

    reach = cases of a panel in which the sentence is true / cases to which it applies
    bill  = rent of the group / output tokens that its users get, by the book's clock     [USD per million]

Panels: `DEPLOYMENTS` that people run, published `TRACES` of lengths, `OFFERS` of today for weights that one could serve
oneself, `CLOSED_OFFERS` for others, `PRICES` of both, `DEVICES` that are rented or bought; `REFERENCE` is one of the
deployments. They are registers by id, with their sources in `data/panels.yaml`, fixed before any claim was judged.
Each case counts once.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.economics.cost import usd_per_million_tokens
from bytebill.economics.prices import ApiPrice, latest, rent_of
from bytebill.hardware import accelerator
from bytebill.memory import footprint_of
from bytebill.sim import ClosedLoop
from bytebill.trials.score import served_loop

GROUP = ("accelerator", "n_devices", "program", "weights", "kv", "attention")
LOAD = ("id", "program", "users", "n_input_tokens", "n_output_tokens", "lengths")


@dataclass(frozen=True, kw_only=True)
class PanelCase:
    """A deployment that people run, and what its users ask of it.

    >>> case = DEPLOYMENTS["chat-70b-8xh100"]
    >>> case.deployment.n_devices, case.context_len, case.source.split("; ")[-1]
    (8, 1536.0, 'data/published_inferencex.csv')
    """

    id: str
    deployment: Deployment  # with all of its memory; `loop.deployment`: with the room that its program leaves
    program: str
    users: int  # in flight at once
    n_input_tokens: int
    n_output_tokens: int
    lengths: str  # whose: a trace, a workload of the inference-perf catalog, or the source's own
    source: str

    @property
    def context_len(self) -> float:
        """Mean context of a token that is decoded [tokens]."""
        return self.n_input_tokens + self.n_output_tokens / 2

    @cached_property
    def loop(self) -> ClosedLoop:
        """Its users on its program's clock; a BytebillError if nobody can run it."""
        return served_loop(
            self.deployment,
            program_id=self.program,
            concurrency=self.users,
            n_input_tokens=self.n_input_tokens,
            n_output_tokens=self.n_output_tokens,
        )

    @property
    def output_tokens_per_s(self) -> float:
        """Output tokens that all its users get [1/s], the time before a first token counted."""
        n = self.n_output_tokens
        return self.users * n / (self.loop.ttft_s + (n - 1) * self.loop.tpot_s)


def bill(case: PanelCase, *, usd_per_gpu_hour: float | None = None, utilization: float = 1.0, **changes: Any) -> float:
    """USD per million output tokens of a case with all its users there, or of one where something has `changes`.

    The rent is that of the panel's device if none is given; `utilization`: share of the rented time in which the users
    are there. Changes are fields of the case (`users=1`), or of its deployment (`n_devices=8`, `precision=...`).

    >>> case = DEPLOYMENTS["chat-8b-h100"]
    >>> bill(case, usd_per_gpu_hour=2.0) * 2 == bill(case, usd_per_gpu_hour=4.0) < bill(case, users=1)
    True
    """
    of_group = {name: changes.pop(name) for name in tuple(changes) if name in Deployment.__dataclass_fields__}
    changed = replace(case, deployment=replace(changes.pop("deployment", case.deployment), **of_group), **changes)
    group = changed.deployment
    usd = rent_of(group.accelerator.id).usd_per_gpu_hour if usd_per_gpu_hour is None else usd_per_gpu_hour
    rate = changed.output_tokens_per_s
    return usd_per_million_tokens(usd_per_hour=usd * group.n_devices, tokens_per_s=rate, utilization=utilization)


def _case(row: dict[str, Any]) -> PanelCase:
    """A line of the panel; its source is a table of the data, or has an address."""
    group = footprint_of(row["model"], **{name: row[name] for name in GROUP if name in row}).deployment
    name, where = row["source"]
    place = f"data/{name}.csv" if name in data.names() else " at ".join(_PANELS["sources"][name].values())
    return PanelCase(deployment=group, source=f"{where}; {place}", **{name: row[name] for name in LOAD})


def _offers(weights: str) -> dict[str, ApiPrice]:
    """The newest prices of these weights, by model and host."""
    tier, since = _PANELS["offers"]["tier"], _PANELS["offers"]["since"]
    return {price.name: price for price in latest(tier=tier) if price.as_of >= since and price.weights == weights}


_PANELS = data.Register("panel", data.panels)
DEPLOYMENTS = data.Register("deployment of the panel", lambda: {it["id"]: _case(it) for it in _PANELS["deployments"]})
TRACES = data.Register(
    "trace of the panel", lambda: {id: data.grouped("trace_lengths", "trace_id")[id] for id in _PANELS["traces"]}
)
OFFERS = data.Register("offer of the panel", lambda: _offers("open"))
CLOSED_OFFERS = data.Register("closed offer of the panel", lambda: _offers("closed"))
PRICES = data.Register("price of the panel", lambda: {**OFFERS, **CLOSED_OFFERS})
DEVICES = data.Register("device of the panel", lambda: {id: accelerator(id) for id in _PANELS["devices"]})
REFERENCE: PanelCase


def __getattr__(name: str) -> PanelCase:
    """`REFERENCE`, read when first asked for, as the registers are."""
    if name != "REFERENCE":
        raise AttributeError(f"{__name__} has no {name}.")
    return DEPLOYMENTS[_PANELS["reference"]]
