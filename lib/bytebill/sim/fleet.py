"""How do a thousand replicas share one clock on the wall? A heap of the times at which each may change.

    due = end of the replica's open plan, or of the step of it in which somebody arrives there

Before it nothing about a replica changes that a router reads, so nothing is done for it: a request costs as many events
as it has of its own, however many replicas there are. At a time, runs end first, then requests are sent, then those
replicas plan at which either happened. A prompt that was computed for another pool crosses the links: sender and
receiver, chosen at its end, carry one transfer at a time, in order of such ends. Ignores that blocks stay taken at the
sender meanwhile, and what routers take.
"""

import gc
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import inf
from typing import cast

from bytebill.serving import Metrics, Request, Scheduler, Server, Source
from bytebill.serving.plan import Events, Plan
from bytebill.serving.router import ROUTERS, RequestRouter
from bytebill.sim.server import Simulator, StepClock
from bytebill.sim.transfer import Transfer


class Inbox:
    """What has been sent to a replica: a source that is filled from outside."""

    __slots__ = ("_answered", "_sent", "next_s")

    def __init__(self, answered: Callable[[float], None]) -> None:
        self._sent: deque[tuple[float, Request]] = deque()
        self._answered = answered
        self.next_s = inf

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

    def answered(self, now_s: float) -> None:
        """The replica has done with a request."""
        self._answered(now_s)


class Replica:
    """A server among others, and when something about it changes next."""

    __slots__ = ("due_s", "inbox", "link_free_s", "place", "plan", "pool", "server", "simulator")

    def __init__(
        self,
        scheduler: Scheduler,
        clock: StepClock,
        *,
        pool: int,
        place: int,
        metrics: Metrics,
        answered: Callable[[float], None],
    ) -> None:
        self.inbox, self.simulator = Inbox(answered), Simulator(clock)
        self.server = Server(scheduler, cast(Source, self.inbox), self.simulator, metrics=metrics)
        self.pool, self.place = pool, place  # index of its pool; its place among those that its router knows
        self.plan: Plan | None = None
        self.due_s, self.link_free_s = inf, 0.0  # due: below zero while it is about to plan


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Equal replicas: how one is made, and how many there are."""

    scheduler: Callable[[], Scheduler]
    clock: StepClock
    n_replicas: int
    size: float
    role: str = "both"


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
        self._limits, self._transfers = queue_limit, transfers or {}
        self._models = [kind.scheduler() for kind in kinds]  # one of each, to ask what it can hold
        self.pools = [Metrics(n_slots=each.n_slots, n_kv_tokens=each.n_kv_tokens) for each in self._models]
        self.refusals: list[tuple[int, str]] = []
        self.n_moved_tokens, self.moved_bytes = 0, 0.0
        self._split = any(kind.role != "both" for kind in kinds)
        self.whole = Metrics(n_slots=1, n_kv_tokens=None) if len(kinds) > 1 else self.pools[0]
        self._entry, self._decode = self._made(kinds, ("both", "prefill")), self._made(kinds, ("decode",))
        sizes = [[kinds[each.pool].size for each in group] for group in (self._entry, self._decode)]
        self._router = RequestRouter(router, sizes=sizes[0], limit=limit)
        by_load = ROUTERS[1] if router == ROUTERS[2] else router
        self._decode_router = RequestRouter(by_load, sizes=sizes[1]) if self._decode else None
        self._roles = [kind.role for kind in kinds]
        self._entry_pools = [i for i, kind in enumerate(kinds) if kind.role != "decode"]
        self._decode_pools = [i for i, kind in enumerate(kinds) if kind.role == "decode"]
        self._queue: deque[Request] = deque()
        self._ends: list[tuple[float, int, Replica]] = []
        self._moves: list[tuple[float, int, Replica, Request]] = []
        self._ready: list[Replica] = []
        self._serial = 0
        self._asked: dict[int, Request] = {}  # as asked, while its prompt is computed elsewhere
        self._begun: dict[int, tuple[Request, float, float, int]] = {}  # scheduled, first token, preemptions

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
            if self._queue:
                self._send_queued()
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
            if self._split and events.finished:
                self._ended(replica, events)

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
        if (reason := self._refusal(request)) is None and not self._queue and self._sent(request):
            return
        if reason is None and len(self._queue) < self._limits:
            self._queue.append(request)
            return
        self.refusals.append((request.id, reason or "Every replica is full, and so is the router's queue."))
        self.source.answered(self.now_s)

    def _send_queued(self) -> None:
        while self._queue and self._sent(self._queue[0]):
            self._queue.popleft()

    def _refusal(self, request: Request) -> str | None:
        """Why no replica can ever serve it, if so."""
        if not self._split:
            reasons = [model.refusal(request) for model in self._models]
            return None if None in reasons else reasons[-1]
        entries = [self._models[i].refusal(self._prompt(request, i)) for i in self._entry_pools]
        if None not in entries:
            return entries[-1]
        if any(entry is None and self._roles[i] == "both" for i, entry in zip(self._entry_pools, entries, strict=True)):
            return None
        later = [self._models[i].refusal(request) for i in self._decode_pools]
        return None if None in later or request.n_output_tokens == 1 else later[-1]

    def _sent(self, request: Request) -> bool:
        """Whether a replica takes it now."""
        holds = None
        if len(self._entry_pools) > 1:
            able = {i: self._models[i].refusal(self._prompt(request, i)) is None for i in self._entry_pools}
            if not all(able.values()):
                holds = lambda place: able[self._entry[place].pool]  # noqa: E731
        place = self._router.send(request, holds)
        if place is None:
            return False
        replica = self._entry[place]
        if self._roles[replica.pool] == "prefill":
            self._asked[request.id] = request
        self._deliver(replica, self._prompt(request, replica.pool))
        return True

    def _prompt(self, request: Request, pool: int) -> Request:
        """What a replica of the pool is asked: all, or the prompt and the first token."""
        return replace(request, n_output_tokens=1) if self._roles[pool] == "prefill" else request

    def _ended(self, replica: Replica, events: Events) -> None:
        """Requests are done at a replica: on to the next pool, or into the record of all."""
        columns, n = self.pools[replica.pool].columns, len(events.finished)
        scheduled, first = columns["scheduled_s"][-n:], columns["first_token_s"][-n:]
        for sequence, scheduled_s, first_s in zip(events.finished, scheduled, first, strict=True):
            request, n_preemptions = sequence.request, sequence.n_preemptions
            if (asked := self._asked.pop(request.id, None)) is not None:
                if asked.n_output_tokens > 1:
                    self._begun[request.id] = (asked, scheduled_s, first_s, n_preemptions)
                    self._move(replica, asked)
                    continue
                request = asked
            elif (begun := self._begun.pop(request.id, None)) is not None:
                request, scheduled_s, first_token_s, n_before = begun
                self.whole.itl_s.append(first_s - first_token_s)
                self.whole.itl_weight.append(1)
                first_s, n_preemptions = first_token_s, n_before + n_preemptions
            self._record(request, scheduled_s, first_s, n_preemptions)
            self.source.answered(self.now_s)

    def _record(self, request: Request, scheduled_s: float, first_token_s: float, n_preemptions: int) -> None:
        times = (request.arrival_s, scheduled_s, first_token_s, self.now_s)
        row = (*times, request.id, request.n_input_tokens, request.n_output_tokens, n_preemptions)
        for column, value in zip(self.whole.columns.values(), row, strict=True):
            column.append(value)

    def _move(self, sender: Replica, asked: Request) -> None:
        """The prompt's cache goes to a decoding replica, after what both links carry already."""
        router = self._decode_router
        assert router is not None
        n = asked.n_input_tokens
        later = replace(asked, n_input_tokens=n + 1, n_output_tokens=asked.n_output_tokens - 1, n_given_tokens=n)
        able = {i: self._models[i].refusal(later) is None for i in self._decode_pools}
        place = router.send(later, None if all(able.values()) else lambda place: able[self._decode[place].pool])
        assert place is not None
        receiver = self._decode[place]
        transfer = self._transfers[sender.pool, receiver.pool]
        self.n_moved_tokens += n
        self.moved_bytes += transfer.moved_bytes(n)
        start_s = max(self.now_s, sender.link_free_s, receiver.link_free_s)
        there_s = sender.link_free_s = receiver.link_free_s = start_s + transfer.seconds(n)
        self._serial += 1
        heappush(self._moves, (there_s, self._serial, receiver, replace(later, arrival_s=there_s)))

    def _flush(self) -> bool:
        """Nobody else will come: whether somebody still waits for company, and is run without."""
        found = False
        for replica in (*self._entry, *self._decode):
            if replica.server.scheduler.n_waiting and (plan := replica.server.open_plan()) is not None:
                replica.plan = plan
                self._due(replica, replica.simulator.ends_s(plan))
                found = True
        return found

    def _made(self, kinds: Sequence[Kind], roles: tuple[str, ...]) -> list[Replica]:
        made: list[Replica] = []
        for pool, kind in enumerate(kinds):
            for _ in range(kind.n_replicas if kind.role in roles else 0):
                place = len(made)
                made.append(
                    Replica(
                        kind.scheduler(),
                        kind.clock,
                        pool=pool,
                        place=place,
                        metrics=self.pools[pool],
                        answered=self._answers(place, kind.role),
                    )
                )
        return made

    def _answers(self, place: int, role: str) -> Callable[[float], None]:
        """What happens when a replica has done with a request."""
        if role == "decode":
            return lambda now_s: cast(RequestRouter, self._decode_router).done(place)
        if self._split:
            return lambda now_s: self._router.done(place)

        def answered(now_s: float) -> None:
            self._router.done(place)
            self.source.answered(now_s)

        return answered

    def metrics(self) -> Metrics:
        """Of all requests, once they are served: rows in order of finishing, sums over pools, utilizations weighed."""
        whole = self.whole
        if len(self.pools) > 1:
            whole.n_slots = round(_weighed([(m.n_slots, m.n_steps) for m in self.pools]))
            if all(m.n_kv_tokens is not None for m in self.pools):
                whole.n_kv_tokens = round(_weighed([(m.n_kv_tokens or 0, m.busy_s) for m in self.pools]))
            for m in self.pools:
                whole.itl_s.extend(m.itl_s)
                whole.itl_weight.extend(m.itl_weight)
                whole.end_s = max(whole.end_s, m.end_s)
                for name in SUMS:
                    setattr(whole, name, getattr(whole, name) + getattr(m, name))
            if not self._split:
                finished = [(s, p, i) for p, m in enumerate(self.pools) for i, s in enumerate(m.columns["finish_s"])]
                finished.sort()
                for name, column in whole.columns.items():
                    columns = [m.columns[name] for m in self.pools]
                    column.extend(columns[p][i] for _, p, i in finished)
        whole.refusals.extend(self.refusals)
        return whole


SUMS = ("busy_s", "slot_s", "kv_token_s", "n_steps", "n_emitted_tokens", "n_computed_tokens", "n_padding_tokens")


def _weighed(pairs: list[tuple[float, float]]) -> float:
    """Mean of the first numbers by the second; by nothing where all are zero."""
    total = sum(weight for _, weight in pairs)
    return sum(n * weight for n, weight in pairs) / total if total else sum(n for n, _ in pairs) / len(pairs)
