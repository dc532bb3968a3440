"""How much of what a replica could serve can be promised? The highest rate at which answers are in time, simulated.

    usable share = highest rate at which a share `attainment` of the answers keeps all limits / capacity      at most 1

A closed form knows mean lengths and an empty queue. Here lengths are those of a published trace, stretched to the
case's means, arrivals are Poisson, and the program cuts prompts as it does; the share is found by halving
(`serving.slo`), and it belongs to its limits: others need another search. Tokens that a prefix cache has are not
computed, and neither kept nor attended to: this errs to the good side where hits are many. Used by chapter 20.
"""

from dataclasses import replace
from math import inf

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require
from bytebill.serving import Metrics, Poisson, Slo, Workload, max_rate_at_slo
from bytebill.serving.workload.published import quantile_table
from bytebill.sim.closed_loop import policy_of
from bytebill.sim.cluster import Cluster, Pool
from bytebill.sim.constants import Constants
from bytebill.sim.server import serve_on

_LEAST = 0.02  # of the capacity: below it a form's capacity says nothing


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
    n_requests: int = 2000,
    seeds: tuple[int, ...] = (0,),
    rtol: float = 0.04,
) -> float:
    """The share of a replica's capacity [requests/s] that its limits leave usable.

    `n_input_tokens`: those to be computed, mean; lengths are of `trace_id`, stretched. 1 where even the whole capacity
    keeps the limits, or there are none; a BytebillError where a fiftieth of it does not.
    """
    require(capacity_per_s > 0, f"A replica serves some requests a second, not {capacity_per_s}.")
    slo = Slo(ttft_s=ttft_s, tpot_s=tpot_s, attainment=attainment)
    if not slo.limits:
        return 1.0
    policy = policy_of(program_id, deployment.accelerator)
    policy = replace(
        policy, token_budget=step_tokens or policy.token_budget, n_slots=min(n_slots or policy.n_slots, policy.n_slots)
    )
    sides = (("input", n_input_tokens), ("output", n_output_tokens))
    inputs, outputs = (quantile_table(trace_id, side).stretched(mean) for side, mean in sides)

    def serve(rate_per_s: float, seed: int) -> Metrics:
        asked = Workload(n_requests, inputs=inputs, outputs=outputs, arrivals=Poisson(rate_per_s, seed=seed), seed=seed)
        if deployment.attention == "tensor":
            return serve_on(deployment, asked, policy, constants=constants).metrics
        pool = Pool(deployment=deployment, n_replicas=1, policy=policy, constants=constants, role="both")
        return Cluster(pools=(pool,)).serve(asked).metrics

    if all(slo.share(serve(capacity_per_s, seed)) >= slo.attainment for seed in seeds):
        return 1.0
    try:
        found = max_rate_at_slo(
            serve,
            slo,
            seeds=seeds,
            low_per_s=_LEAST * capacity_per_s,
            high_per_s=capacity_per_s,
            rtol=rtol,
            jointly=True,
        )
    except BytebillError:
        share = slo.share(serve(_LEAST * capacity_per_s, seeds[0]))
        raise BytebillError(
            f"Even at {_LEAST:.0%} of its capacity a replica gives only {share:.1%} of answers within the limits, and "
            f"{slo.attainment:.0%} are asked for; loosen a limit, or take faster devices."
        ) from None
    return min(1.0, found.value / capacity_per_s)
