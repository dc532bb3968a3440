"""When do requests come? Endless arrival times, from 0, in seconds, the same whenever they are asked for.

    Evenly(rate)         gaps 1 / rate                                    standard deviation of the gaps / mean = 0
    Poisson(rate)        gaps exponential, mean 1 / rate                  the same = 1
    Bursty(rate, cv)     gaps gamma: shape 1 / cv^2, scale cv^2 / rate    the same = cv: over 1 is burstier
    Warped(times, when)  each time t of another stream comes at when(t)   a rate that changes

These are open loops: nobody waits for an answer before asking. In a closed loop a fixed number of users ask, wait for
the answer, and ask again, so when the next request comes is known only while serving (`source.Source`).
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import accumulate, count, repeat

from bytebill.errors import require


def rng(seed: int, purpose: str) -> random.Random:
    """A source of chance for one purpose, independent of the others of the same seed."""
    return random.Random(f"{seed}/{purpose}")


@dataclass(frozen=True)
class _AtRate:
    rate_per_s: float

    def __post_init__(self) -> None:
        require(self.rate_per_s > 0, f"An arrival rate is positive, not {self.rate_per_s} per second.")


@dataclass(frozen=True)
class Evenly(_AtRate):
    """A request every 1 / rate seconds.

    >>> from itertools import islice
    >>> list(islice(Evenly(4), 3))
    [0.25, 0.5, 0.75]
    """

    def __iter__(self) -> Iterator[float]:
        return (n / self.rate_per_s for n in count(1))


@dataclass(frozen=True)
class _ByChance(_AtRate, ABC):
    _: KW_ONLY
    seed: int = 0
    purpose: str = "arrivals"  # streams of one seed and different purposes are independent

    @abstractmethod
    def _gap_s(self, chance: random.Random) -> float:
        """One gap between two requests."""

    def __iter__(self) -> Iterator[float]:
        return accumulate(map(self._gap_s, repeat(rng(self.seed, self.purpose))))


@dataclass(frozen=True)
class Poisson(_ByChance):
    """Independent users: exponential gaps."""

    def _gap_s(self, chance: random.Random) -> float:
        return chance.expovariate(self.rate_per_s)


@dataclass(frozen=True)
class Bursty(_ByChance):
    """Gamma gaps of the same mean as `Poisson`, whose standard deviation is `cv` times that mean."""

    cv: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.cv > 0, f"Gaps spread by a positive cv, not {self.cv}; take Evenly for none.")

    def _gap_s(self, chance: random.Random) -> float:
        shape = 1 / self.cv**2
        return chance.gammavariate(shape, 1 / (shape * self.rate_per_s))


@dataclass(frozen=True)
class Warped:
    """Another stream's arrivals on a clock that runs unevenly: `when(t)` says when its t is.

    >>> from itertools import islice
    >>> list(islice(Warped(Evenly(1), lambda t: t**2), 3))
    [1.0, 4.0, 9.0]
    """

    arrivals: Iterable[float]
    when: Callable[[float], float]

    def __iter__(self) -> Iterator[float]:
        return map(self.when, self.arrivals)
