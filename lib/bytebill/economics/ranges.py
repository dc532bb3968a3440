"""How sure is the answer, if no input is? Every input may be a range, and so the result is one.

    draw   of a range (low, point, high): triangular in the value, or in its logarithm where the ends are ratios
    result = quantiles of the function over n draws, its point from all points          [the function's unit]

A triangle says: nothing beyond the ends, and most weight at the point. Draws of different inputs are independent,
which makes a result look surer than it is where two inputs move together. `random.Random(seed)`: the same seed gives
the same result. The point is what the points give, not the middle of the draws: where a function is bent, the two
differ, and both are worth knowing. Used by chapters 19 and 20.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import atan, ceil, cos, exp, gamma, inf, log, nan, pi, sqrt
from typing import Self

from bytebill.errors import require

_SIMPSON_STEPS = 400


def quantile(values: Iterable[float], q: float, *, weights: Iterable[float] | None = None) -> float:
    """The smallest value that a share q of the weight does not exceed; nan values are left out.

    >>> quantile([4, 1, 3, 2], 0.5), quantile([4, 1, 3, 2], 0.51), quantile([1, 9], 0.5, weights=[1, 99])
    (2, 3, 9)
    """
    require(0 <= q <= 1, f"A quantile is a share from 0 to 1, not {q}.")
    if weights is None:
        ordered = sorted(value for value in values if value == value)
        return ordered[max(0, ceil(q * len(ordered)) - 1)] if ordered else nan
    pairs = sorted((v, w) for v, w in zip(values, weights, strict=True) if w > 0 and v == v)
    wanted = q * sum(w for _, w in pairs)
    reached = accumulate(w for _, w in pairs)
    return next((value for (value, _), share in zip(pairs, reached, strict=True) if share >= wanted), nan)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A value that may lie anywhere from low to high, most likely near its point."""

    low: float
    point: float
    high: float
    ratio: bool = False  # the ends are factors: drawn in logarithms

    def __post_init__(self) -> None:
        require(
            -inf < self.low <= self.point <= self.high < inf,
            f"A range holds its point: {self.low} to {self.high} does not hold {self.point}.",
        )
        require(self.low > 0 or not self.ratio, f"A range of factors begins above zero, not at {self.low}.")

    @classmethod
    def within(cls, point: float, factor: float) -> Self:
        """The point, and so many times less or more.

        >>> Range.within(2.0, 1.5)
        Range(low=1.3333333333333333, point=2.0, high=3.0, ratio=True)
        """
        require(factor >= 1, f"A range reaches a factor of at least 1 to both sides, not {factor}.")
        return cls(low=point / factor, point=point, high=point * factor, ratio=True)

    def draw(self, chance: random.Random) -> float:
        """One value."""
        if self.low == self.high:
            return self.point
        if self.ratio:
            return exp(chance.triangular(log(self.low), log(self.high), log(self.point)))
        return chance.triangular(self.low, self.high, self.point)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What a function gives: at the points of its inputs, and over the draws, sorted."""

    point: float
    draws: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """The smallest draw that a share of all draws does not exceed.

        >>> Spread(point=2.0, draws=(1.0, 2.0, 3.0, 4.0)).quantile(0.5)
        2.0
        """
        return quantile(self.draws, share)

    @property
    def range(self) -> Range:
        """The middle 90% of the draws as a range, widened where it misses the point."""
        low, high = self.quantile(0.05), self.quantile(0.95)
        return Range(low=min(low, self.point), point=self.point, high=max(high, self.point))


def monte_carlo(
    function: Callable[..., float], *, inputs: Mapping[str, float | Range], n: int = 10_000, seed: int = 0
) -> Spread:
    """The function over draws of its inputs, which it takes by name; plain numbers stay what they are.

    >>> area = monte_carlo(lambda a, b: a * b, inputs={"a": Range(low=1, point=2, high=3), "b": 10.0}, n=1000)
    >>> area.point, 10 < area.quantile(0.05) < 20 < area.quantile(0.95) < 30
    (20.0, True)
    """
    require(n >= 1, f"A simulation has at least one draw, not {n}.")
    chance = random.Random(seed)
    points = {name: given.point if isinstance(given, Range) else given for name, given in inputs.items()}
    ranges = {name: given for name, given in inputs.items() if isinstance(given, Range)}
    draws = (function(**points | {name: given.draw(chance) for name, given in ranges.items()}) for _ in range(n))
    return Spread(point=function(**points), draws=tuple(sorted(draws)))


def student_t(share: float, degrees: int) -> float:
    """The value that a share of Student's distribution does not exceed.

    >>> round(student_t(0.95, 2), 3), round(student_t(0.95, 10), 3), round(student_t(0.5, 3), 6)
    (2.92, 1.812, 0.0)
    """
    require(
        degrees >= 1 and 0 < share < 1,
        f"Student's distribution has degrees from 1 and shares inside 0 to 1: {degrees}, {share}.",
    )
    if share < 0.5:
        return -student_t(1 - share, degrees)
    low, high = 0.0, 1.0
    while _below(high, degrees) < share:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, degrees) < share else (low, middle)
    return (low + high) / 2


def _below(t: float, degrees: int) -> float:
    """Share of Student's distribution below t >= 0: a half, and Simpson's rule over theta = atan(t / sqrt(degrees)),
    where the density is a power of a cosine."""
    scale = gamma((degrees + 1) / 2) / (sqrt(pi) * gamma(degrees / 2))
    step = atan(t / sqrt(degrees)) / _SIMPSON_STEPS
    ends = [cos(i * step) ** (degrees - 1) for i in range(_SIMPSON_STEPS + 1)]
    return 0.5 + scale * step / 3 * (ends[0] + (4 * sum(ends[1:-1:2]) + 2 * sum(ends[2:-1:2])) + ends[-1])
