"""What does a full cache do? It stops the batch before arithmetic would (`largest_batch`), and lets requests wait
(`flood`).

A deployment is asked with lengths that differ and end: all requests are there at once, each holds blocks for what
it has said so far, and leaves when it is done. The scheduler lets in as many as the critical batch; memory has
stopped it if somebody waits while fewer run. Ignores that reading the cache moves the critical batch up, so
memory is the answer even more often than this says. Used by chapters 02 and 03.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from bytebill.deployment import Deployment
from bytebill.serving import Plan, Policy, Request, synthetic
from bytebill.sim.clock import Clock
from bytebill.sim.server import simulate


def largest_batch(
    deployment: Deployment, *, context_len: int, n_requests: int = 1000, trace_id: str = "azure-conv"
) -> tuple[int, bool]:
    """Most sequences that ran at once, and whether memory kept somebody out while they were fewer than critical.

    Lengths are those of a published trace, cut to `context_len`.
    """
    critical = ceil(deployment.critical_batch)
    scheduler = Policy(n_slots=critical).scheduler(deployment)
    most, stopped = 0, False

    def watch(now_s: float, plan: Plan) -> None:
        nonlocal most, stopped
        most = max(most, scheduler.n_running)
        stopped = stopped or (scheduler.n_waiting > 0 and scheduler.n_running < critical)

    requests = synthetic(trace_id, n_requests, max_len_tokens=context_len)
    simulate(scheduler, requests, Clock(deployment), observe=watch)
    return most, stopped


@dataclass(frozen=True, kw_only=True)
class Flood:
    """What became of requests that all came at once."""

    waited: bool  # one of them for room in the cache, with seats free
    n_preempted: int  # times that one lost its place to others that grew
    n_answered: int


def flood(deployment: Deployment, requests: Sequence[Request], *, n_seats: int) -> Flood:
    """Serve requests that are all there at once, at most `n_seats` of them together."""
    scheduler, waited = Policy(n_slots=n_seats).scheduler(deployment), False

    def watch(now_s: float, plan: Plan) -> None:
        nonlocal waited
        waited = waited or (scheduler.n_waiting > 0 and scheduler.n_running < n_seats)

    metrics = simulate(scheduler, requests, Clock(deployment), observe=watch).metrics
    return Flood(waited=waited, n_preempted=sum(metrics.columns["n_preemptions"]), n_answered=metrics.n_finished)


def arithmetic_over_reading(
    deployment: Deployment, *, max_len_tokens: int, n_requests: int = 2000, trace_id: str = "azure-conv", seed: int = 0
) -> float:
    """Time of a decode step's arithmetic over that of its reading, the median of steps in which somebody waits.

    Requests are all there at once and memory alone limits the batch, so that it is as large as it can be kept. Above 1
    decode is bound by compute. Lengths are those of a published trace, cut to `max_len_tokens`. Where nobody ever
    waits, the median of all steps.
    """
    scheduler = Policy(n_slots=n_requests).scheduler(deployment)
    full, every = [], []

    def watch(now_s: float, plan: Plan) -> None:
        if plan.n_decodes:
            bounds = deployment.decode_bounds(plan.n_decodes, plan.n_context_tokens / plan.n_decodes)
            every.append(bounds.compute_s / bounds.memory_s)
            if scheduler.n_waiting:
                full.append(every[-1])

    requests = synthetic(trace_id, n_requests, max_len_tokens=max_len_tokens, seed=seed)
    simulate(scheduler, requests, Clock(deployment), observe=watch)
    return median(full or every)
