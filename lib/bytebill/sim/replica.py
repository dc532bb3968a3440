"""What is one server among others? A replica: requests are sent to it, and not drawn from a stream."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import cast

from bytebill.serving import Metrics, Request, Scheduler, Server, Source
from bytebill.serving.plan import Plan
from bytebill.sim.server import Simulator, StepClock


class Inbox:
    """What has been sent to a replica: a source that is filled from outside."""

    __slots__ = ("_sent", "answered", "next_s")

    def __init__(self, answered: Callable[[float], None]) -> None:
        """`answered` is told the time when the replica has done with a request."""
        self._sent: deque[tuple[float, Request]] = deque()
        self.answered, self.next_s = answered, inf

    def push(self, now_s: float, request: Request) -> None:
        """A request reaches the replica."""
        if not self._sent:
            self.next_s = now_s
        self._sent.append((now_s, request))

    def pop(self) -> Request:
        """The request that is due."""
        request = self._sent.popleft()[1]
        self.next_s = self._sent[0][0] if self._sent else inf
        return request


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Equal replicas: how one is made, and how many there are."""

    scheduler: Callable[[], Scheduler]
    clock: StepClock
    n_replicas: int
    size: float
    role: str = "both"


class Replica:
    """A server among others, and when something about it changes next."""

    __slots__ = ("due_s", "inbox", "link_free_s", "plan", "pool", "server", "simulator")

    def __init__(self, kind: Kind, *, pool: int, metrics: Metrics, answered: Callable[[float], None]) -> None:
        self.inbox, self.simulator = Inbox(answered), Simulator(kind.clock)
        self.server = Server(kind.scheduler(), cast(Source, self.inbox), self.simulator, metrics=metrics)
        self.pool = pool  # its index
        self.plan: Plan | None = None
        self.due_s, self.link_free_s = inf, 0.0  # due: below zero while it is about to plan


def replicas_of(
    kinds: Sequence[Kind],
    roles: tuple[str, ...],
    metrics: Sequence[Metrics],
    answers: Callable[[int], Callable[[float], None]],
) -> list[Replica]:
    """All replicas of these roles, which add to the metrics of their kinds; `answers(place)` makes `answered`."""
    pools = [pool for pool, kind in enumerate(kinds) if kind.role in roles for _ in range(kind.n_replicas)]
    return [
        Replica(kinds[pool], pool=pool, metrics=metrics[pool], answered=answers(place))
        for place, pool in enumerate(pools)
    ]
