"""What happens when requests really arrive? One loop of arrivals, plans and steps, whatever clock its steps run on.

    now_s = end of the last step, or the arrival that ended an idle wait          the boundaries between steps

At a boundary, requests that have arrived are added (or refused), the scheduler plans, and the executor runs the plan
until the next arrival at the latest. Executors: the simulator's takes as many repeats of a plan at once as end before
that (`bytebill.sim.server`); the engine's runs one pass on the wall clock (`bytebill.engine.serve`); a replay is the
simulator's under recorded times (`bytebill.trials.replay`). A request that arrives during a step waits for its end.
One replica. Who serves several opens a plan on each (`open_plan`), knows when it ends, and has it run only then, or up
to the step in which somebody comes (`run_plan`): before that nothing about the replica changes but lengths.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from bytebill.errors import BytebillError
from bytebill.serving.metrics import Metrics
from bytebill.serving.plan import NOTHING, Events, Plan
from bytebill.serving.recorder import Recorder
from bytebill.serving.request import Request
from bytebill.serving.schedule import Schedule
from bytebill.serving.scheduler import Scheduler
from bytebill.serving.workload.source import Source


class Executor(ABC):
    """Runs plans, and says what time it is between two steps."""

    now_s = 0.0
    in_closed_form = True  # times follow from counts: what several equal plans take is one run, and recorded as one

    def admit(self, request: Request) -> None:
        """A request has arrived and was not refused."""
        return  # nothing to prepare

    def wait(self, until_s: float) -> None:
        """Nothing is to be done before."""
        self.now_s = max(self.now_s, until_s)

    @abstractmethod
    def begin(self, plan: Plan) -> None:
        """A run of equal steps begins, of which this is the first plan."""

    @abstractmethod
    def run(self, plan: Plan, until_s: float) -> int:
        """Run a plan until the first of its steps that ends at or after a time, or all its repeats: how many."""

    @abstractmethod
    def end_s(self, n_steps: int) -> float:
        """When so many steps of the run that began last had ended."""


class Server:
    """A scheduler at work: its requests, its executor, and the record of what they did."""

    def __init__(
        self,
        scheduler: Scheduler,
        source: Source,
        executor: Executor,
        *,
        schedule: Schedule | None = None,
        observe: Callable[[float, Plan], None] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`schedule` keeps rows, if one is given; `observe(now_s, plan)` is called with every plan.

        `metrics`: those of several servers alike, which all add to them.
        """
        self.scheduler, self.source, self.executor = scheduler, source, executor
        self._recorder = Recorder(scheduler, metrics)
        self.metrics = self._recorder.metrics
        self._schedule, self._observe = schedule, observe
        self._first: Plan | None = None  # of the run of equal steps that is being extended
        self._start_s = 0.0  # of that run
        self._n_steps = 0  # in it, so far

    @property
    def now_s(self) -> float:
        """The boundary at which it decides next."""
        return self.executor.now_s

    def run(self) -> None:
        """Serve to the end."""
        while (plan := self._next_plan()) is not None:
            self._open(plan)
            self.run_plan(plan)

    def open_plan(self, now_s: float = math.inf) -> Plan | None:
        """At a boundary, decide what runs next and begin it; None: nothing does, and nothing did since the last one.

        Without a time: nobody else will come.
        """
        if now_s == math.inf:
            plan = self._last_plan()
        else:
            self.executor.wait(now_s)
            plan = self._plan_now()
        if plan is not None:
            self._open(plan)
        return plan

    def run_plan(self, plan: Plan) -> Events:
        """Run the plan that was opened until the first step that ends at or after somebody's arrival."""
        executor, source = self.executor, self.source
        start_s, n_before = executor.now_s, self._n_steps
        if self._schedule is not None:
            self._schedule.planned(plan)
        n_steps = executor.run(plan, source.next_s)
        events = self.scheduler.advance(n_steps)
        self._n_steps += n_steps
        if self._schedule is not None:
            self._schedule.ran(events, start_s=start_s, n_steps=n_steps, n_before=n_before, end_s=executor.end_s)
        if events.finished or events.started or not executor.in_closed_form:
            self._close_run(events)
            for _ in events.finished:
                source.answered(executor.now_s)
        return events

    def _open(self, plan: Plan) -> None:
        """A plan runs next: alone, or as more of the run that is being extended."""
        if self._observe is not None:
            self._observe(self.executor.now_s, plan)
        if self._first is not None:
            if plan.continues(self._first, n_steps=self._n_steps):
                return
            self._close_run()
        self._first, self._start_s, self._n_steps = plan, self.executor.now_s, 0
        self.executor.begin(plan)

    def _next_plan(self) -> Plan | None:
        """What the scheduler does next, after whatever time it takes until it does anything; None: never."""
        while (plan := self._plan_now()) is None:
            wake_s = min(self.source.next_s, self.scheduler.wakes_at_s)
            if wake_s == math.inf:
                return self._last_plan()
            self.executor.wait(wake_s)
        return plan

    def _plan_now(self) -> Plan | None:
        """Let in who has arrived, and see what the scheduler does."""
        source, now_s = self.source, self.executor.now_s
        while source.next_s <= now_s:
            request = source.pop()
            reason = self.scheduler.add(request).reason
            if reason is None:
                self.executor.admit(request)
            else:
                self.metrics.refusals.append((request.id, reason))
                source.answered(now_s)
        plan = self.scheduler.plan(now_s)
        if plan is None:
            self._close_run()
        return plan

    def _last_plan(self) -> Plan | None:
        """Nobody else will come: whoever still waits is run without company."""
        if not self.scheduler.n_waiting:
            return None
        plan = self.scheduler.plan(math.inf)
        if plan is None:
            raise BytebillError(f"{self.scheduler.n_waiting} requests wait and nothing runs.")
        return plan

    def _close_run(self, events: Events = NOTHING) -> None:
        """Record the run of equal steps that ends here."""
        if self._first is not None:
            end_s, n_steps = self.executor.now_s, self._n_steps
            self._recorder.step(
                self._first,
                events,
                start_s=self._start_s,
                first_s=self.executor.end_s(1) if n_steps > 1 else end_s,
                end_s=end_s,
                n_steps=n_steps,
            )
            self._first = None
