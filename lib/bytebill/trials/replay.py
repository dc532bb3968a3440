"""Does the simulator decide as the engine did? A clock that plays back how long the engine's steps took.

A step of a recorded run took from the moment it was planned, or rather from the arrival that it was planned at
where the engine was idle, to the moment its tokens were there. Played back, the same arrivals meet the same
boundaries between steps, so the same scheduler must make the same plans: `Schedule.rows` are equal. Steps are
found by `Plan.step`, which every scheduler counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from bytebill.errors import BytebillError
from bytebill.serving.plan import Plan


class ReplayClock:
    """Times of steps as they were recorded, `begins_s` and `ends_s` on the clock that tells arrivals."""

    def __init__(self, begins_s: Sequence[float], ends_s: Sequence[float]) -> None:
        if len(begins_s) != len(ends_s):
            raise BytebillError(f"{len(begins_s)} steps began and {len(ends_s)} ended.")
        self._begins_s, self._ends_s = list(begins_s), list(ends_s)

    def segment(self, plan: Plan) -> ReplaySegment:
        if plan.step >= len(self._ends_s):
            raise BytebillError(f"The schedule has a step {plan.step} and the record has {len(self._ends_s)}.")
        return ReplaySegment(self._begins_s[plan.step], self._ends_s, plan.step)


class ReplaySegment:
    """Recorded steps from one on."""

    def __init__(self, begin_s: float, ends_s: list[float], step: int) -> None:
        self._begin_s, self._ends_s, self._step = begin_s, ends_s, step

    def seconds(self, n: int) -> float:
        """Of the first n steps."""
        if self._step + n > len(self._ends_s):
            raise BytebillError(f"The schedule runs to step {self._step + n}; the record has {len(self._ends_s)}.")
        return self._ends_s[self._step + n - 1] - self._begin_s if n else 0.0

    def n_until(self, seconds: float) -> int:
        """The fewest steps that take at least so long."""
        if seconds <= 0:
            return 0
        return bisect_left(self._ends_s, self._begin_s + seconds, lo=self._step) - self._step + 1
