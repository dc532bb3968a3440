"""When do requests come? Endless streams of arrival times, from 0, in seconds.

    all_at_once        0, 0, 0, ...
    poisson            gaps exponential, mean 1 / rate                    standard deviation of the gaps / mean = 1
    gamma_bursty       gaps gamma: shape 1 / cv^2, scale cv^2 / rate      the same = cv: over 1 is burstier
    evenly             gaps 1 / rate                                      the same = 0

These are open loops: nobody waits for an answer before asking. In a closed loop (`ClosedLoop`) a fixed number of
users ask, wait for the answer, and ask again, so when the next request comes is known only while serving.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, repeat

from bytebill.errors import BytebillError


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosedLoop:
    """So many users, each asking again `think_s` after its answer is complete."""

    concurrency: int
    think_s: float = 0.0

    def __post_init__(self) -> None:
        if self.concurrency < 1 or not self.think_s >= 0:
            raise BytebillError(f"A closed loop needs a user, and thinking takes time: {self}.")


def all_at_once() -> Iterator[float]:
    """Everybody at time 0."""
    return repeat(0.0)


def evenly(rate_per_s: float) -> Iterator[float]:
    """A request every 1 / rate seconds.

    >>> times = evenly(4)
    >>> next(times), next(times), next(times)
    (0.25, 0.5, 0.75)
    """
    _check_rate(rate_per_s)
    return (n / rate_per_s for n in count(1))


def poisson(rate_per_s: float, *, rng: random.Random) -> Iterator[float]:
    """Independent users: exponential gaps."""
    _check_rate(rate_per_s)
    return _from_gaps(rng.expovariate(rate_per_s) for _ in repeat(None))


def gamma_bursty(rate_per_s: float, *, cv: float, rng: random.Random) -> Iterator[float]:
    """Gamma gaps of the same mean as `poisson`, whose standard deviation is `cv` times that mean."""
    _check_rate(rate_per_s)
    if not cv > 0:
        raise BytebillError(f"Gaps spread by a positive cv, not {cv}; take evenly() for none.")
    shape = 1 / cv**2
    return _from_gaps(rng.gammavariate(shape, 1 / (shape * rate_per_s)) for _ in repeat(None))


def _from_gaps(gaps: Iterator[float]) -> Iterator[float]:
    now_s = 0.0
    for gap_s in gaps:
        now_s += gap_s
        yield now_s


def _check_rate(rate_per_s: float) -> None:
    if not rate_per_s > 0:
        raise BytebillError(f"An arrival rate is positive, not {rate_per_s} per second.")
