"""How much of what a replica could serve can be promised? The highest rate at which answers are in time, simulated.

    usable share = highest rate at which a share `attainment` of the answers keeps all limits / a rate      at most 1

A closed form knows mean lengths and an empty queue. Here lengths are those of a published trace, stretched to the
case's means, arrivals are Poisson, and the program cuts prompts as it does. Answers of several draws are counted
together, since one draw is off by a tenth; the share is found by halving on points that limits do not move, so that
stricter ones never leave more. Runs are short: where a limit is long beside a run, a queue that grows slowly is not
seen, and a share near 1 is too high by up to a fifth. Tokens that a prefix cache has are not computed, and neither kept
nor attended to. Used by chapter 20.
"""

from dataclasses import replace
from functools import lru_cache
from math import inf, sqrt
from statistics import fmean

from bytebill.deployment import Deployment
from bytebill.errors import require
from bytebill.serving import Metrics, Poisson, Policy, Slo, Workload
from bytebill.serving.workload.lengths import QuantileTable
from bytebill.serving.workload.published import quantile_table
from bytebill.sim.closed_loop import policy_of
from bytebill.sim.cluster import Cluster, Pool
from bytebill.sim.constants import Constants
from bytebill.sim.server import serve_on

_STEP = 5.0  # the first points are a fifth, a twenty-fifth and so on
_LEAST = 1e-3  # below it a replica is all but idle


@lru_cache(maxsize=256)
def usable_share(
    deployment: Deployment,
    *,
    program_id: str,
    constants: Constants,
    capacity_per_s: float,
    n_input_tokens: float,
    n_output_tokens: float,
    ttft_s: float = inf,
    tpot_s: float = inf,
    attainment: float = 0.99,
    trace_id: str = "azure-conv",
    step_tokens: int | None = None,
    n_slots: int | None = None,
    n_requests: int = 500,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    rtol: float = 0.04,
) -> float:
    """The share of `capacity_per_s`, what a replica serves without limits [requests/s], that limits leave usable.

    `n_input_tokens`: those to be computed, mean; lengths are of `trace_id`, stretched. 1 where even all of it keeps the
    limits, or there are none; a BytebillError where even a thousandth of it does not.
    """
    require(capacity_per_s > 0, f"A replica serves some requests a second, not {capacity_per_s}.")
    slo = Slo(ttft_s=ttft_s, tpot_s=tpot_s, attainment=attainment)
    sides = (("input", n_input_tokens), ("output", n_output_tokens))
    lengths = [quantile_table(trace_id, side).stretched(mean) for side, mean in sides]
    if not slo.limits:
        return 1.0
    policy = policy_of(program_id, deployment.accelerator)
    policy = replace(
        policy, token_budget=step_tokens or policy.token_budget, n_slots=min(n_slots or policy.n_slots, policy.n_slots)
    )
    allowed = 1 - slo.attainment + 1e-9
    late: list[float] = []  # shares of answers, by draw, at the last rate tried

    def kept(share: float) -> bool:
        late.clear()
        for seed in seeds:
            met = _served(deployment, policy, constants, *lengths, n_requests, share * capacity_per_s, seed)
            late.append(1 - slo.share(met))
            if sum(late) > len(seeds) * allowed:
                return False
        return True

    if kept(1.0):
        return 1.0
    low, high = 1 / _STEP, 1.0
    while not kept(low):
        require(
            low > _LEAST,
            f"Even all but idle, a replica gives {1 - fmean(late):.2%} of answers within the limits, and "
            f"{slo.attainment:.2%} are asked for; loosen a limit, ask for a smaller share (attainment), or take faster "
            "devices.",
        )
        low, high = low / _STEP, low
    while high > low * (1 + rtol):
        middle = sqrt(low * high)
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low


@lru_cache(maxsize=128)
def _served(
    deployment: Deployment,
    policy: Policy,
    constants: Constants,
    inputs: QuantileTable,
    outputs: QuantileTable,
    n_requests: int,
    rate_per_s: float,
    seed: int,
) -> Metrics:
    """What a rate got; kept, since other limits ask for it again."""
    asked = Workload(n_requests, inputs=inputs, outputs=outputs, arrivals=Poisson(rate_per_s, seed=seed), seed=seed)
    if deployment.attention == "tensor":
        return serve_on(deployment, asked, policy, constants=constants).metrics
    pool = Pool(deployment=deployment, policy=policy, constants=constants)
    return Cluster(pools=(pool,)).serve(asked).metrics
