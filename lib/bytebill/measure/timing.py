"""How long does it take? Wall time of a call, with a reference measured beside it.

A machine's speed drifts: another tenant, a clock, the pages a process was given. So a measurement here is a
pair: the call and a plain read of the same bytes, taken in turn, and what is reported is their ratio and the
median of each. A reference that moved by more than `DRIFT_LIMIT` between start and end is said out loud.

Where only the code is to be tried and no number is kept, `BYTEBILL_REPEATS=1` in the environment is enough of each.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bytebill.errors import require

Call = Callable[[], object]
DRIFT_LIMIT = 0.25
ENOUGH = "BYTEBILL_REPEATS"
_MOST_CALLS = 1024  # of a sample


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of each repeat of a call, and of its reference (empty if there was none)."""

    samples_s: tuple[float, ...]
    reference_samples_s: tuple[float, ...] = ()

    @property
    def median_s(self) -> float:
        return median(self.samples_s)

    @property
    def reference_s(self) -> float:
        return median(self.reference_samples_s)

    @property
    def fastest_s(self) -> float:
        """The fastest repeat: what other programs take from a machine only makes repeats slower."""
        return min(self.samples_s)

    @property
    def fastest_reference_s(self) -> float:
        """The fastest repeat of the reference.

        >>> Timing(samples_s=(4.0,), reference_samples_s=(2.0, 1.0)).fastest_reference_s
        1.0
        """
        return min(self.reference_samples_s)

    @property
    def left_out_s(self) -> tuple[float, ...]:
        """The fastest repeat with each of them left out in turn: how much it rests on one.

        >>> Timing(samples_s=(2.0, 1.0, 3.0)).left_out_s
        (1.0, 2.0, 1.0)
        """
        count = range(len(self.samples_s))
        return tuple(min((self.samples_s[j] for j in count if j != i), default=self.samples_s[i]) for i in count)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median of the call."""
        return (max(self.samples_s) - min(self.samples_s)) / self.median_s


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A step at one batch: what it took, and what was predicted."""

    batch: int
    step_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted_s / self.step_s - 1


def times(n: int, *, at_least: int = 1) -> range:
    """The turns of a measurement: n of them, or as few as `BYTEBILL_REPEATS` and the use of them allow.

    >>> 2 <= len(times(3, at_least=2)) <= 3
    True
    """
    if (told := os.environ.get(ENOUGH)) is None:
        return range(n)
    require(
        told.isdecimal() and len(told) < 10 and int(told) > 0,
        f"{ENOUGH} is a whole number from 1 up, not {told!r:.40}.",
    )
    return range(min(n, max(int(told), at_least)))


def timed(
    call: Call, *, sync: Call, reference: Call | None = None, repeats: int = 5, at_least_s: float = 0.0
) -> Timing:
    """Time a call after one warm-up, in turn with its reference, `repeats` times and for `at_least_s` seconds.

    >>> timed(lambda: None, sync=lambda: None, repeats=3).median_s < 0.1
    True
    """
    references = {0: reference} if reference else {}
    return in_turns({0: call}, references, sync=sync, repeats=repeats, at_least_s=at_least_s)[0]


def in_turns(
    calls: Mapping[Any, Call], references: Mapping[Any, Call], *, sync: Call, repeats: int = 5, at_least_s: float = 0.0
) -> dict[Any, Timing]:
    """Time several calls round after round, each beside its reference (where it has one), so that a drift of the
    machine meets all of them alike and their ratios stay what they are. Where waiting for a device takes time itself
    (`device.Synchronizer`), a sample is the mean of as many calls back to back as make it long beside the wait."""
    if (enough := len(times(repeats))) < repeats:
        repeats, at_least_s = enough, 0.0
    samples: dict[Any, list[float]] = {key: [] for key in calls}
    beside: dict[Any, list[float]] = {key: [] for key in calls}
    both = ((calls, samples), (references, beside))
    turns = [(each[key], into[key]) for key in calls for each, into in both if key in each]
    n_calls = [_calls_a_sample(call, sync) for call, _ in turns]
    while min(map(len, samples.values())) < repeats or sum(map(sum, samples.values())) < at_least_s:
        for n, (call, into) in zip(n_calls, turns, strict=True):
            into.append(_sample_s(call, sync, n))
    return {key: Timing(samples_s=tuple(samples[key]), reference_samples_s=tuple(beside[key])) for key in calls}


def _calls_a_sample(call: Call, sync: Call) -> int:
    """Warm up, and find how many calls a sample takes: one, unless a wait would be much of it.

    >>> _calls_a_sample(lambda: None, lambda: None)
    1
    """
    call()
    n, least_s = 1, getattr(sync, "least_sample_s", 0.0)
    while least_s and n < _MOST_CALLS and n * _sample_s(call, sync, n) < least_s:
        n *= 2
    return n


def _sample_s(call: Call, sync: Call, n: int) -> float:
    """Mean seconds of n calls between two waits."""
    sync()
    start = time.perf_counter()
    for _ in range(n):
        call()
    sync()
    return (time.perf_counter() - start) / n


def drift(rates: Sequence[float]) -> str | None:
    """A sentence where the reference moved by more than a quarter from first to last, else None.

    >>> drift([40e9, 42e9])
    >>> drift([40e9, 28e9])
    'The reference moved by 30% during this run (40.0 to 28.0 GB/s): something else was using the machine.'
    """
    moved, ends = abs(rates[-1] / rates[0] - 1), f"{rates[0] / 1e9:.1f} to {rates[-1] / 1e9:.1f} GB/s"
    if moved <= DRIFT_LIMIT:
        return None
    return f"The reference moved by {moved:.0%} during this run ({ends}): something else was using the machine."


def launches(work_s: float, *, least_s: float, least_work_s: float) -> str | None:
    """A sentence where a load's work is less than what every step takes beside its own, else None.

    `work_s` are the bytes and FLOPs of the load at ceilings measured here, `least_s` and `least_work_s` the smallest
    step as timed and its own work. The difference of these two are launches and the like, which a step of any size has:
    where it is longer than the load's work, timing the load tells of it. The claims speak of bytes and arithmetic.

    >>> launches(124e-3, least_s=6.9e-3, least_work_s=3.3e-3)  # a prompt of 512 tokens on two CPU cores
    >>> launches(0.2e-3, least_s=10.9e-3, least_work_s=0.06e-3)[:68]  # and on an H200
    'Any step takes 10.8 ms here beside its work, longer than the 0.20 ms'
    """
    beside_s = least_s - least_work_s
    if work_s >= beside_s:
        return None
    return (
        f"Any step takes {beside_s * 1e3:.1f} ms here beside its work, longer than the {work_s * 1e3:.2f} ms of work "
        "that is timed: this tells of launches, so the verdict rests on machines on record."
    )
