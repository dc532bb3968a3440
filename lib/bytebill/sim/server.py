"""What would a server do that runs this scheduler on hardware with that clock? Arrivals, steps, and their times.

    now = start of a run + segment.seconds(steps of it so far)         while nothing but contexts changes

The server skips from event to event: a plan tells for how many steps nothing changes, the clock tells how many end
before the next arrival, and all of them are taken at once. With `stepwise=True` it asks for a plan at every step and
reads no plan's `n_repeats`: results are the same bit for bit, since both take times from a run's start and record at
a run's end. Requests come as a stream in order of arrival (open loop), or are sent by `concurrency` users, each
of whom sends the next one when its last is answered (closed loop; arrivals in the stream are not read). One replica;
a request that arrives during a step waits for its end; the scheduler itself takes no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from bytebill.errors import BytebillError
from bytebill.serving.metrics import Metrics
from bytebill.serving.plan import Outcome, Plan
from bytebill.serving.recorder import Recorder
from bytebill.serving.request import Request, State
from bytebill.serving.schedule import Trace
from bytebill.serving.scheduler import Scheduler
from bytebill.serving.workload.source import Source


class SegmentTime(Protocol):
    """Times of a run of equal steps."""

    def seconds(self, n: int) -> float:
        """Of the first n steps."""

    def n_until(self, seconds: float) -> int:
        """The fewest steps that take at least so long."""


class StepClock(Protocol):
    """Tells how long steps take."""

    def segment(self, plan: Plan) -> SegmentTime:
        """Of a plan and its repeats."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A simulated run: its numbers, and its schedule if a trace was asked for."""

    metrics: Metrics
    end_s: float
    trace: Trace | None


def simulate(
    scheduler: Scheduler,
    requests: Iterable[Request],
    clock: StepClock,
    *,
    concurrency: int | None = None,
    stepwise: bool = False,
    trace: bool = False,
    observe: Callable[[float, Plan], None] | None = None,
) -> Run:
    """Serve all requests; `observe(now_s, plan)` is called with every plan that is made."""
    source = Source(requests, concurrency)
    server = _Server(scheduler, source, clock, Trace() if trace else None)
    while (plan := server.next_plan()) is not None:
        if observe is not None:
            observe(server.now_s, plan)
        server.execute(plan, stepwise=stepwise)
    server.close_run()
    return Run(metrics=server.recorder.metrics(), end_s=server.now_s, trace=server.trace)


class _Server:
    """The state of a run: time, and the run of equal steps that is being extended."""

    def __init__(self, scheduler: Scheduler, source: Source, clock: StepClock, trace: Trace | None) -> None:
        self.scheduler, self.source, self.clock, self.trace = scheduler, source, clock, trace
        self.recorder = Recorder(scheduler)
        self.now_s = 0.0
        self._plan: Plan | None = None  # the run's first
        self._segment: SegmentTime | None = None
        self._start_s = 0.0
        self._n_steps = 0
        self._outcome = Outcome()

    def next_plan(self) -> Plan | None:
        """What the scheduler does next, after whatever time it takes until it does anything; None: all is served."""
        scheduler, source = self.scheduler, self.source
        while True:
            while source.next_s <= self.now_s:
                sequence = scheduler.add(source.pop())
                if sequence.state is State.REFUSED:
                    self.recorder.refused(sequence)
                    source.answered(self.now_s)
            plan = scheduler.plan(self.now_s)
            if plan is not None:
                return plan
            self.close_run()
            wake_s = min(source.next_s, scheduler.wakes_at_s)
            if wake_s == math.inf:
                return self._last_plan()
            self.now_s = max(self.now_s, wake_s)

    def _last_plan(self) -> Plan | None:
        """Nobody else will come: whoever still waits is run without company."""
        if not self.scheduler.n_waiting:
            return None
        plan = self.scheduler.plan(math.inf)
        if plan is None:
            raise BytebillError(f"{self.scheduler.n_waiting} requests wait and nothing runs.")
        return plan

    def execute(self, plan: Plan, *, stepwise: bool) -> None:
        """Take the plan's steps, or as many as end before the next arrival does."""
        if self._plan is None or not plan.continues(self._plan, n_steps=self._n_steps):
            self.close_run()
            self._plan, self._segment = plan, self.clock.segment(plan)
            self._start_s, self._n_steps = self.now_s, 0
        n_steps = 1 if stepwise else self._n_until_arrival(plan.n_repeats)
        start_s = self.now_s
        if self.trace is not None:
            self.trace.planned(plan)
        outcome = self.scheduler.advance(n_steps)
        before = self._n_steps
        self._n_steps += n_steps
        self.now_s = self._end_s(self._n_steps)
        if self.trace is not None:
            self.trace.ran(outcome, start_s=start_s, n_steps=n_steps, ends_s=lambda i: self._end_s(before + i))
        if outcome.finished or outcome.started:
            self._outcome = outcome
            self.close_run()
            for _ in outcome.finished:
                self.source.answered(self.now_s)

    def close_run(self) -> None:
        """Record the run of equal steps that ends here."""
        if self._plan is None:
            return
        self.recorder.step(
            self._plan,
            self._outcome,
            start_s=self._start_s,
            end_s=self.now_s,
            n_steps=self._n_steps,
            first_s=self._end_s(1) if self._n_steps > 1 else None,
        )
        self._plan, self._outcome = None, Outcome()

    def _end_s(self, n_steps: int) -> float:
        assert self._segment is not None
        return self._start_s + self._segment.seconds(n_steps)

    def _n_until_arrival(self, n_repeats: int) -> int:
        """The fewest of the plan's repeats that end at or after the next arrival, or all."""
        assert self._segment is not None
        before, next_s = self._n_steps, self.source.next_s
        if n_repeats == 1 or self._end_s(before + n_repeats - 1) < next_s:
            return n_repeats
        n_steps = min(max(self._segment.n_until(next_s - self._start_s) - before, 1), n_repeats)
        while n_steps > 1 and self._end_s(before + n_steps - 1) >= next_s:
            n_steps -= 1
        while n_steps < n_repeats and self._end_s(before + n_steps) < next_s:
            n_steps += 1
        return n_steps
