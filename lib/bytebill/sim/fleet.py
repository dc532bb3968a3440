"""How do a thousand replicas share one clock on the wall? A heap of the times at which each may change.

    due = end of the replica's open plan, or of the step of it in which somebody arrives there

Before it nothing about a replica changes that a router reads, so nothing is done for it: a request costs as many events
as it has of its own, however many replicas there are. At a time, runs end first, then requests are sent, then those
replicas plan at which either happened. What pools hand to each other is delivered here and decided in
`bytebill.sim.handover`. Ignores what routers take.
"""

import gc
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf

from bytebill.serving import Metrics, Request, Source
from bytebill.serving.plan import Events
from bytebill.serving.router import RequestRouter
from bytebill.sim.handover import Handover
from bytebill.sim.replica import Kind, Replica, replicas_of
from bytebill.sim.transfer import Transfer


class Replicas:
    """Replicas of several kinds at work on one stream of requests."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        source: Source,
        *,
        router: str,
        limit: float = inf,
        queue_limit: float = inf,
        transfers: dict[tuple[int, int], Transfer] | None = None,
    ) -> None:
        """`transfers`: by index of the kinds that send and receive."""
        self.source, self.now_s = source, 0.0
        self.handover = Handover(kinds, router=router, transfers=transfers or {})
        self.refusals: list[tuple[int, str]] = []
        self._senders = replicas_of(kinds, ("both", "prefill"), self.handover.pools, self._answers)
        self._router = RequestRouter(router, sizes=[kinds[each.pool].size for each in self._senders], limit=limit)
        self._queue: deque[Request] = deque()
        self._queue_limit = queue_limit
        self._ends: list[tuple[float, int, Replica]] = []
        self._moves: list[tuple[float, int, Replica, Request]] = []
        self._ready: list[Replica] = []
        self._serial = 0

    def run(self) -> None:
        """Serve to the end. Nothing made on the way is a cycle, so looking for some would only take time."""
        collects = gc.isenabled()
        gc.disable()
        try:
            self._run()
        finally:
            if collects:
                gc.enable()

    def _run(self) -> None:
        ends, moves, source, ready = self._ends, self._moves, self.source, self._ready
        while True:
            now_s = min(ends[0][0] if ends else inf, source.next_s, moves[0][0] if moves else inf)
            if now_s == inf:
                if not self._flush():
                    return
                continue
            self.now_s = now_s
            while ends and ends[0][0] <= now_s:
                replica = heappop(ends)[2]
                if replica.due_s == now_s:
                    self._end(replica)
            while moves and moves[0][0] <= now_s:
                _, _, replica, request = heappop(moves)
                self._deliver(replica, request)
            while self._queue and self._sent(self._queue[0]):
                self._queue.popleft()
            while source.next_s <= now_s:
                self._arrive(source.pop())
            for replica in ready:
                plan = replica.plan = replica.server.open_plan(now_s)
                if plan is None:
                    replica.due_s = replica.server.scheduler.wakes_at_s
                    if replica.due_s < inf:
                        self._due(replica, replica.due_s)
                else:
                    self._due(replica, replica.simulator.ends_s(plan))
            ready.clear()

    def _due(self, replica: Replica, due_s: float) -> None:
        replica.due_s = due_s
        self._serial += 1
        heappush(self._ends, (due_s, self._serial, replica))

    def _end(self, replica: Replica) -> None:
        """A replica's run has ended, or its wait."""
        replica.due_s = -1.0
        self._ready.append(replica)
        if (plan := replica.plan) is not None:
            replica.plan = None
            events = replica.server.run_plan(plan)
            if self.handover.receivers:
                self._hand_on(replica, events)

    def _hand_on(self, replica: Replica, events: Events) -> None:
        """Requests are done at a replica: on to where they are decoded, or answered."""
        for move in self.handover.ended(replica, events, self.now_s):
            if move is None:
                self.source.answered(self.now_s)
            else:
                self._serial += 1
                heappush(self._moves, (move[0], self._serial, *move[1:]))

    def _deliver(self, replica: Replica, request: Request) -> None:
        now_s = self.now_s
        replica.inbox.push(now_s, request)
        plan = replica.plan
        if plan is None:
            if replica.due_s >= 0:
                replica.due_s = -1.0
                self._ready.append(replica)
        elif plan.n_repeats > 1:
            due_s = replica.simulator.ends_s(plan, replica.inbox.next_s)
            if due_s < replica.due_s:
                self._due(replica, due_s)

    def _arrive(self, request: Request) -> None:
        if (reason := self.handover.refusal(request)) is None and not self._queue and self._sent(request):
            return
        if reason is None and len(self._queue) < self._queue_limit:
            self._queue.append(request)
            return
        self.refusals.append((request.id, reason or "Every replica is full, and so is the router's queue."))
        self.source.answered(self.now_s)

    def _sent(self, request: Request) -> bool:
        """Whether a replica takes it now."""
        place = self._router.send(request, self.handover.holds(request, self._senders))
        if place is None:
            return False
        replica = self._senders[place]
        self._deliver(replica, self.handover.began(request, replica.pool))
        return True

    def _flush(self) -> bool:
        """Nobody else will come: whether somebody still waits for company, and is run without."""
        found = False
        for replica in (*self._senders, *self.handover.receivers):
            if replica.server.scheduler.n_waiting and (plan := replica.server.open_plan()) is not None:
                replica.plan = plan
                self._due(replica, replica.simulator.ends_s(plan))
                found = True
        return found

    def _answers(self, place: int) -> Callable[[float], None]:
        """What happens when a replica that is sent prompts has done with one."""

        def answered(now_s: float) -> None:
            self._router.done(place)
            if not self.handover.receivers:
                self.source.answered(now_s)

        return answered

    def metrics(self) -> Metrics:
        """Of all requests, once they are served."""
        whole = self.handover.metrics()
        whole.refusals.extend(self.refusals)
        return whole
