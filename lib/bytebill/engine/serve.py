"""What happens when requests really arrive? The engine's loop: a scheduler, a runner, and the clock on the wall.

    now = end of the last step, or the arrival that ended an idle wait          boundaries between steps
    duration of a step = its end - that boundary                               planning and bookkeeping included

Requests that have arrived by a boundary are added at it, as in the simulator (`bytebill.sim.server`), so a record of
boundaries replays the run exactly (`bytebill.trials.replay`). Idle time is waited for in real time. `scheduler_s` is
what `add`, `plan` and `advance` took of it all. One process, one thread: arrivals during a step wait for its end.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bytebill.engine.runner import Runner
from bytebill.errors import BytebillError
from bytebill.serving.metrics import Metrics
from bytebill.serving.plan import Outcome, Plan
from bytebill.serving.recorder import Recorder
from bytebill.serving.request import Request, State
from bytebill.serving.schedule import Trace
from bytebill.serving.scheduler import Scheduler
from bytebill.serving.workload.source import Source

Prompts = Callable[[Request], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A run on the engine: its numbers, its schedule with the times of steps, and what was said."""

    metrics: Metrics
    trace: Trace
    outputs: dict[int, list[int]]  # by request id
    scheduler_s: float  # in add, plan and advance

    @property
    def durations_s(self) -> list[float]:
        """Of each step, from its boundary to its end."""
        return [end - begin for begin, end in zip(self.trace.begins_s, self.trace.ends_s, strict=True)]


def serve(
    scheduler: Scheduler,
    requests: Iterable[Request],
    runner: Runner,
    *,
    prompts: Prompts | None = None,
    concurrency: int | None = None,
) -> Served:
    """Serve all requests, which come in order of arrival, or from `concurrency` users in a closed loop.

    `prompts` gives each request its tokens; by default they are drawn at random, the same for the same request.
    """
    loop = _Loop(scheduler, Source(requests, concurrency), runner, prompts or _random_prompts(runner))
    while (plan := loop.next_plan()) is not None:
        loop.execute(plan)
    outputs = {id: runner.output(id) for id in loop.recorder.counts["id"]}
    return Served(metrics=loop.recorder.metrics(), trace=loop.trace, outputs=outputs, scheduler_s=loop.scheduler_s)


class _Loop:
    """The state of a run: `now_s` is the boundary at which the scheduler decides."""

    def __init__(self, scheduler: Scheduler, source: Source, runner: Runner, prompts: Prompts) -> None:
        self.scheduler, self.source, self.runner, self.prompts = scheduler, source, runner, prompts
        self.recorder, self.trace = Recorder(scheduler), Trace()
        self.now_s = self.scheduler_s = 0.0
        self._started_s = time.perf_counter()

    def next_plan(self) -> Plan | None:
        """What the scheduler does next, after waiting for it if need be; None: all is served."""
        while True:
            while self.source.next_s <= self.now_s:
                self._add(self.source.pop())
            plan = self._plan(self.now_s)
            if plan is not None:
                return plan
            wake_s = min(self.source.next_s, self.scheduler.wakes_at_s)
            if wake_s == math.inf:
                return self._last_plan()
            time.sleep(max(0.0, wake_s - self._clock_s()))
            self.now_s = max(self.now_s, wake_s)

    def execute(self, plan: Plan) -> None:
        """One step, recorded."""
        self.trace.planned(plan)
        self.runner.execute(plan)
        start_s, self.now_s = self.now_s, self._clock_s()
        outcome = self._advance()
        self.trace.step(outcome, start_s=start_s, end_s=self.now_s)
        self.recorder.step(plan, outcome, start_s=start_s, end_s=self.now_s)
        for _ in outcome.finished:
            self.source.answered(self.now_s)

    def _add(self, request: Request) -> None:
        before_s = time.perf_counter()
        sequence = self.scheduler.add(request)
        self.scheduler_s += time.perf_counter() - before_s
        if sequence.state is State.REFUSED:
            self.recorder.refused(sequence)
            self.source.answered(self.now_s)
        else:
            self.runner.add(request, self.prompts(request))

    def _plan(self, now_s: float) -> Plan | None:
        before_s = time.perf_counter()
        plan = self.scheduler.plan(now_s)
        self.scheduler_s += time.perf_counter() - before_s
        return plan

    def _last_plan(self) -> Plan | None:
        """Nobody else will come: whoever still waits is run without company."""
        if not self.scheduler.n_waiting:
            return None
        plan = self._plan(math.inf)
        if plan is None:
            raise BytebillError(f"{self.scheduler.n_waiting} requests wait and nothing runs.")
        return plan

    def _advance(self) -> Outcome:
        before_s = time.perf_counter()
        outcome = self.scheduler.advance(1)
        self.scheduler_s += time.perf_counter() - before_s
        return outcome

    def _clock_s(self) -> float:
        return time.perf_counter() - self._started_s


def _random_prompts(runner: Runner) -> Prompts:
    n_tokens = runner.model.spec.vocab_size
    return lambda request: random.Random(request.id).choices(range(n_tokens), k=request.n_input_tokens)
