"""What do many replicas do behind one router, or prefill and decode on machines of their own? Pools on one clock.

    role "both"                a replica computes the prompt and emits all tokens
    role "prefill", "decode"   one computes the prompt and emits the first token, its cache crosses the link
                               (`Transfer`), the other emits the n_out - 1 others

    TTFT = end of the prefill - arrival        gap 1 = transfer, wait for both links, queue and step at the decode pool

TPOT and E2E hold all of it. Each pool is a deployment under a policy and constants; a deployment with data-parallel
attention is ranks in lock step (`bytebill.sim.ranks`). The size of a replica, to which least loaded relates, is its
devices times their bandwidth. With `max_outstanding`, a replica that is sent prompts has at most so many requests;
others wait at the router, first come, first served, or are refused once `max_queue` do. A decode pool runs prompts
beside decodes, and has no limit but its own queue. Prefix affinity chooses for prompts, and load then for decodes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from math import inf

from bytebill.deployment import Deployment
from bytebill.errors import require, require_known
from bytebill.serving import CONTINUOUS, ROUTERS, Metrics, Policy, Request, Scheduler, Source
from bytebill.sim.clock import Clock
from bytebill.sim.constants import IDEAL, Constants
from bytebill.sim.fleet import Replicas
from bytebill.sim.ranks import RankClock, lock_step
from bytebill.sim.replica import Kind
from bytebill.sim.server import StepClock
from bytebill.sim.transfer import Transfer, check_link

ROLES = ("both", "prefill", "decode")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Equal replicas."""

    deployment: Deployment
    n_replicas: int = 1
    policy: Policy = CONTINUOUS
    constants: Constants = IDEAL
    role: str = "both"

    def __post_init__(self) -> None:
        require_known("role of a pool", self.role, ROLES)
        whole = isinstance(self.n_replicas, int) and self.n_replicas >= 1
        require(whole, f"A pool has at least one replica, and a whole number of them, not {self.n_replicas}.")
        self.deployment.served()
        batches = self.policy.kind in ("static", "dynamic")
        require(self.role != "decode" or not batches, "A decode pool lets requests in one by one: no static batches.")

    @property
    def n_devices(self) -> int:
        return self.n_replicas * self.deployment.n_devices

    @property
    def kind(self) -> Kind:
        """How its replicas are made."""
        group, size = self.deployment, self.policy.block_size_tokens
        policy = replace(self.policy, mixed=True) if self.role == "decode" else self.policy
        clock: StepClock
        scheduler: Callable[[], Scheduler]
        if group.n_sharing < group.n_devices:
            scheduler = lambda: lock_step(group, policy)  # noqa: E731
            clock = RankClock(group, self.constants, block_size_tokens=size)
        else:
            scheduler = lambda: policy.scheduler(group, numbered=False)  # noqa: E731
            clock = Clock(group, self.constants, block_size_tokens=size)
        speed = group.n_devices * group.accelerator.bandwidth_bytes_per_s
        return Kind(scheduler=scheduler, clock=clock, n_replicas=self.n_replicas, size=speed, role=self.role)


@dataclass(frozen=True, kw_only=True)
class ClusterServed:
    """What a cluster did; `metrics` are of all requests, `pools` of what each pool was asked."""

    metrics: Metrics
    pools: tuple[Metrics, ...]
    end_s: float
    n_moved_tokens: int
    moved_bytes: float


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Pools behind a router. `link_bytes_per_s` is of one replica; None: of the network's port of each device.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> from bytebill.serving import sharegpt_like
    >>> one = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    >>> split = Cluster(pools=(Pool(deployment=one, role="prefill"), Pool(deployment=one, role="decode")))
    >>> served = split.serve(sharegpt_like(20))
    >>> served.metrics.n_finished, served.n_moved_tokens == served.metrics.n_input_tokens
    (20, True)
    """

    pools: tuple[Pool, ...]
    router: str = "least loaded"
    link_bytes_per_s: float | None = None
    link_latency_s: float = 0.0
    max_outstanding: int | None = None
    max_queue: int | None = None

    def __post_init__(self) -> None:
        require(len(self.pools) > 0, "A cluster has at least one pool.")
        require_known("router", self.router, ROUTERS)
        roles = {pool.role for pool in self.pools}
        require(
            "prefill" not in roles or "decode" in roles,
            "A prefill pool hands its prompts on, and there is no decode pool.",
        )
        require(
            "decode" not in roles or "prefill" in roles,
            "A decode pool is handed prompts' caches, and there is no prefill pool.",
        )
        for least, limit in ((1, self.max_outstanding), (0, self.max_queue)):
            whole = limit is None or (isinstance(limit, int) and limit >= least)
            require(
                whole,
                f"Requests at a replica are limited to whole numbers from one up, in the queue from zero: {limit}.",
            )
        check_link(self.link_bytes_per_s)
        _ = self.transfers

    @property
    def n_devices(self) -> int:
        return sum(pool.n_devices for pool in self.pools)

    @property
    def transfers(self) -> dict[tuple[int, int], Transfer]:
        """What moves caches, by index of the pools that send and receive."""
        found = {}
        for (i, sender), (j, receiver) in product(enumerate(self.pools), repeat=2):
            if (sender.role, receiver.role) == ("prefill", "decode"):
                ends = (sender.deployment, receiver.deployment)
                n_links = min(each.n_sharing for each in ends)
                link = None if self.link_bytes_per_s is None else self.link_bytes_per_s / n_links
                found[i, j] = Transfer(
                    sender=ends[0], receiver=ends[1], link_bytes_per_s=link, latency_s=self.link_latency_s
                )
        return found

    def serve(self, requests: Iterable[Request], *, concurrency: int | None = None) -> ClusterServed:
        """Serve all requests as they arrive, or those of so many users who each wait for their answer."""
        fleet = Replicas(
            [pool.kind for pool in self.pools],
            Source(requests, concurrency),
            router=self.router,
            limit=inf if self.max_outstanding is None else self.max_outstanding,
            queue_limit=inf if self.max_queue is None else self.max_queue,
            transfers=self.transfers,
        )
        fleet.run()
        return ClusterServed(
            metrics=fleet.metrics(),
            pools=tuple(fleet.handover.pools),
            end_s=fleet.now_s,
            n_moved_tokens=fleet.handover.n_moved_tokens,
            moved_bytes=fleet.handover.moved_bytes,
        )
