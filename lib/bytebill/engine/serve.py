"""How fast is it for real? The serving loop with a model behind it, on the clock on the wall.

    duration of a step = its end - the boundary before it                       planning and bookkeeping included

The loop is the simulator's (`bytebill.serving.loop`), so a record of boundaries replays the run exactly
(`bytebill.trials.replay`). Idle time is waited for in real time. `scheduler_s` is what `add`, `plan` and `advance` took
of it all. One process, one thread: arrivals during a step wait for its end.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bytebill.engine.runner import Runner
from bytebill.serving import Executor, Metrics, Plan, Request, Schedule, Scheduler, Server, Source

Prompts = Callable[[Request], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A run on the engine: its numbers, its schedule with the times of steps, and what was said."""

    metrics: Metrics
    schedule: Schedule
    outputs: dict[int, list[int]]  # by request id
    scheduler_s: float  # in add, plan and advance

    @property
    def durations_s(self) -> list[float]:
        """Of each step, from its boundary to its end."""
        return [end - begin for begin, end in zip(self.schedule.begins_s, self.schedule.ends_s, strict=True)]


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
    if not isinstance(requests, Iterator):
        runner.meet_prompts(request.n_input_tokens for request in requests)
    timed: Any = _Stopwatch(scheduler)
    schedule = Schedule()
    executor = _OnEngine(runner, prompts or _random_prompts(runner))
    server = Server(timed, Source(requests, concurrency), executor, schedule=schedule)
    server.run()
    return Served(
        metrics=server.metrics,
        schedule=schedule,
        outputs={id: runner.output(id) for id in server.metrics.columns["id"]},
        scheduler_s=timed.seconds,
    )


def typical_s(runs: Iterable[Served]) -> dict[tuple[int, int], float]:
    """Seconds of the median step with each load (`ScheduledStep.load`), over all runs: turns taken by each program
    on a machine that others use too then differ by what the programs do."""
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        for row, seconds in zip(run.schedule.rows, run.durations_s, strict=True):
            found[row.load].append(seconds)
    return {load: median(seconds) for load, seconds in found.items()}


class _OnEngine(Executor):
    """An executor that computes."""

    in_closed_form = False

    def __init__(self, runner: Runner, prompts: Prompts) -> None:
        self._runner, self._prompts = runner, prompts
        self._started_s = time.perf_counter()

    def admit(self, request: Request) -> None:
        self._runner.add(request, self._prompts(request))

    def wait(self, until_s: float) -> None:
        time.sleep(max(0.0, until_s - self._clock_s()))
        super().wait(until_s)

    def begin(self, plan: Plan) -> None:
        """Every step is a run of its own."""

    def run(self, plan: Plan, until_s: float) -> int:
        """One step: the loop looks for arrivals after each."""
        self._runner.execute(plan)
        self.now_s = self._clock_s()
        return 1

    def end_s(self, n_steps: int) -> float:
        return self.now_s

    def _clock_s(self) -> float:
        return time.perf_counter() - self._started_s


class _Stopwatch:
    """A scheduler, and the seconds that deciding took it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.seconds = 0.0
        self._scheduler = scheduler

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._scheduler, name)
        return self._timed(value) if name in ("add", "plan", "advance") else value

    def _timed(self, decide: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            before_s = time.perf_counter()
            try:
                return decide(*args)
            finally:
                self.seconds += time.perf_counter() - before_s

        return run


def _random_prompts(runner: Runner) -> Prompts:
    vocabulary = range(runner.model.spec.vocab_size)
    return lambda request: random.Random(request.id).choices(vocabulary, k=request.n_input_tokens)
