"""Does the simulator decide as the engine did? A clock that plays back how long the engine's steps took.

A step of a recorded run took from the moment it was planned, or rather from the arrival that it was planned at
where the engine was idle, to the moment its tokens were there. Played back, the same arrivals meet the same
boundaries between steps, so the same scheduler must make the same plans: `Schedule.rows` are equal. Steps are
found by `Plan.step`, which every scheduler counts.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from bytebill.errors import BytebillError, require
from bytebill.serving.plan import Plan


@dataclass(frozen=True)
class ReplayClock:
    """Times of steps as they were recorded, on the clock that tells arrivals; as a segment, those from `first` on."""

    begins_s: Sequence[float]
    ends_s: Sequence[float]
    first: int = 0

    def __post_init__(self) -> None:
        n_begun, n_ended = len(self.begins_s), len(self.ends_s)
        require(n_begun == n_ended, f"{n_begun} steps began and {n_ended} ended.")

    def segment(self, plan: Plan) -> Self:
        if plan.step >= len(self.ends_s):
            raise BytebillError(f"The schedule has a step {plan.step} and the record has {len(self.ends_s)}.")
        return replace(self, first=plan.step)

    def seconds(self, n: int) -> float:
        """Of the first n steps."""
        if self.first + n > len(self.ends_s):
            raise BytebillError(f"The schedule runs to step {self.first + n}; the record has {len(self.ends_s)}.")
        return self.ends_s[self.first + n - 1] - self.begins_s[self.first] if n else 0.0

    def n_until(self, seconds: float) -> int:
        """The fewest steps that take at least so long."""
        if seconds <= 0:
            return 0
        return bisect_left(self.ends_s, self.begins_s[self.first] + seconds, lo=self.first) - self.first + 1
