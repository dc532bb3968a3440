"""Does a full cache stop the batch before arithmetic would? Chat users who come, grow and go, on any deployment.

A deployment is asked with lengths that differ and end: all requests are there at once, each holds blocks for what
it has said so far, and leaves when it is done. The scheduler lets in as many as the critical batch; memory has
stopped it if somebody waits while fewer run. Ignores that reading the cache moves the critical batch up, so
memory is the answer even more often than this says. Used by chapters 02 and 03.
"""

from __future__ import annotations

from math import ceil

from bytebill.capacity import memory_budget
from bytebill.deployments import Deployment
from bytebill.roofline import critical_batch
from bytebill.serving.continuous import ContinuousScheduler
from bytebill.serving.memory.paged import Paged
from bytebill.serving.plan import Plan
from bytebill.serving.workload.published import synthetic
from bytebill.sim.clock import Clock
from bytebill.sim.server import simulate

BLOCK_SIZE_TOKENS = 16


def pool(deployment: Deployment) -> Paged:
    """Blocks in what the weights leave of a deployment's memory."""
    budget = memory_budget(
        deployment.model,
        accelerator=deployment.accelerator,
        precision=deployment.precision,
        n_devices=deployment.n_devices,
        reserve=deployment.reserve,
    )
    n_blocks = int(budget.free_bytes // (BLOCK_SIZE_TOKENS * budget.kv_bytes_per_token))
    return Paged(n_blocks=n_blocks, block_size_tokens=BLOCK_SIZE_TOKENS)


def largest_batch(deployment: Deployment, *, n_requests: int = 1000, trace_id: str = "azure-conv") -> tuple[int, bool]:
    """Most sequences that ran at once, and whether memory kept somebody out while they were fewer than critical.

    Lengths are those of a published trace, cut to the deployment's context.
    """
    critical = ceil(critical_batch(deployment.accelerator, precision=deployment.precision, model=deployment.model))
    scheduler = ContinuousScheduler(pool(deployment), max_batch_size=critical)
    most, stopped = 0, False

    def watch(now_s: float, plan: Plan) -> None:
        nonlocal most, stopped
        most = max(most, scheduler.n_running)
        stopped = stopped or (scheduler.n_waiting > 0 and scheduler.n_running < critical)

    clock = Clock(
        deployment.model,
        accelerator=deployment.accelerator,
        precision=deployment.precision,
        n_devices=deployment.n_devices,
    )
    requests = synthetic(trace_id, n_requests, max_len_tokens=deployment.context_len)
    simulate(scheduler, requests, clock, observe=watch)
    return most, stopped
