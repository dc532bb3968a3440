"""What would a server do that runs this scheduler on hardware with that clock? Steps in closed form.

    now = start of a run + segment.seconds(steps of it so far)         while nothing but contexts changes

The simulator skips from event to event: a plan tells for how many steps nothing changes, the clock tells how many end
before the next arrival, and all of them are taken at once. With `stepwise=True` it asks for a plan at every step and
reads no plan's `n_repeats`: results are the same bit for bit, since both take times from a run's start and record at
a run's end. Requests come as a stream in order of arrival (open loop), or are sent by `concurrency` users, each
of whom sends the next one when its last is answered (closed loop; arrivals in the stream are not read). One replica;
the scheduler itself takes no time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from bytebill.deployment import Deployment
from bytebill.serving import CONTINUOUS, Executor, Metrics, Plan, Policy, Request, Schedule, Scheduler, Server, Source
from bytebill.sim.clock import Clock
from bytebill.sim.constants import IDEAL, Constants


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


class Simulator(Executor):
    """An executor that does nothing and knows when it would have done it."""

    def __init__(self, clock: StepClock, *, stepwise: bool = False) -> None:
        self._clock, self._stepwise = clock, stepwise

    def begin(self, plan: Plan) -> None:
        self._segment = self._clock.segment(plan)
        self._start_s, self._n_steps = self.now_s, 0  # of the run, and its steps so far

    def run(self, plan: Plan, until_s: float) -> int:
        n_steps = 1 if self._stepwise else self._n_until(plan.n_repeats, until_s)
        self._n_steps += n_steps
        self.now_s = self.end_s(self._n_steps)
        return n_steps

    def end_s(self, n_steps: int) -> float:
        return self._start_s + self._segment.seconds(n_steps)

    def ends_s(self, plan: Plan, until_s: float = inf) -> float:
        """When a plan that has begun ends, or the first of its steps that ends at or after a time."""
        return self.end_s(self._n_steps + (1 if self._stepwise else self._n_until(plan.n_repeats, until_s)))

    def _n_until(self, n_repeats: int, until_s: float) -> int:
        """The fewest of the plan's repeats that end at or after a time, or all."""
        before = self._n_steps
        if n_repeats == 1 or until_s == inf or self.end_s(before + n_repeats - 1) < until_s:
            return n_repeats
        n_steps = min(max(self._segment.n_until(until_s - self._start_s) - before, 1), n_repeats)
        while n_steps > 1 and self.end_s(before + n_steps - 1) >= until_s:
            n_steps -= 1
        while n_steps < n_repeats and self.end_s(before + n_steps) < until_s:
            n_steps += 1
        return n_steps


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A simulated run: its numbers, and its schedule, which is empty if none was asked for."""

    metrics: Metrics
    end_s: float
    schedule: Schedule


def simulate(
    scheduler: Scheduler,
    requests: Iterable[Request],
    clock: StepClock,
    *,
    concurrency: int | None = None,
    delay_s: float = 0.0,
    stepwise: bool = False,
    schedule: bool = False,
    observe: Callable[[float, Plan], None] | None = None,
) -> Simulated:
    """Serve all requests; `observe(now_s, plan)` is called with every plan that is made.

    In a closed loop a user's next request arrives `delay_s` after the last answer.
    """
    kept, source = Schedule(), Source(requests, concurrency, delay_s=delay_s)
    server = Server(
        scheduler, source, Simulator(clock, stepwise=stepwise), schedule=kept if schedule else None, observe=observe
    )
    server.run()
    return Simulated(metrics=server.metrics, end_s=server.now_s, schedule=kept)


def serve_on(
    deployment: Deployment,
    requests: Iterable[Request],
    policy: Policy = CONTINUOUS,
    *,
    constants: Constants = IDEAL,
    concurrency: int | None = None,
) -> Simulated:
    """Simulate a deployment that serves all requests: a policy over its memory, a clock of its rates."""
    clock = Clock(deployment, constants, block_size_tokens=policy.block_size_tokens)
    return simulate(policy.scheduler(deployment.served(), numbered=False), requests, clock, concurrency=concurrency)
