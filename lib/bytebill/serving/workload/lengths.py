"""How long are prompts and answers? Distributions of whole numbers of tokens, at least one.

    Fixed(n)                           n
    Uniform(low, high)                 whole numbers low..high, all alike
    TruncatedExponential(scale, cap)   round(x), x exponential of mean `scale`; drawn again while above the cap
    LogNormal(median, sigma, cap)      ln x normal; drawn again while above the cap
    QuantileTable(points)              x(u) straight between the quantiles given, u uniform in 0..1

Drawing again (rejection) is not cutting off: nothing piles up at the cap, and the mean falls below the scale.
`TruncatedExponential` is the workload of the continuous-batching benchmark by Anyscale, which rounds and rejects in
this order; an output of 0 tokens counts as 1, as its servers did. `QuantileTable` has exactly the quantiles it is given
(up to rounding to whole tokens) and nothing else of the trace they came from: not its mean, not its modes.
"""

import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self

from bytebill.errors import require


class Lengths(Protocol):
    """A distribution of lengths."""

    def sample(self, rng: random.Random) -> int:
        """One length [tokens]."""

    def mean(self) -> float:
        """The mean that many samples have [tokens]."""


@dataclass(frozen=True)
class Fixed:
    """Always the same."""

    n_tokens: int

    def __post_init__(self) -> None:
        require(self.n_tokens >= 1, f"A length is at least one token, not {self.n_tokens}.")

    def sample(self, rng: random.Random) -> int:
        return self.n_tokens

    def mean(self) -> float:
        return float(self.n_tokens)


@dataclass(frozen=True)
class Uniform:
    """Every length from low to high, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        require(1 <= self.low <= self.high, f"Lengths from {self.low} to {self.high} are no range.")

    def sample(self, rng: random.Random) -> int:
        return rng.randint(self.low, self.high)

    def mean(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True, kw_only=True)
class TruncatedExponential:
    """An exponential of mean `scale_tokens`, rounded, drawn again while above `cap_tokens`.

    >>> [round(TruncatedExponential(scale_tokens=128, cap_tokens=cap).mean()) for cap in (32, 512, 1536)]
    [16, 118, 128]
    """

    scale_tokens: float
    cap_tokens: int

    def __post_init__(self) -> None:
        require(self.scale_tokens > 0 and self.cap_tokens >= 1, f"{self} has no lengths to draw.")

    @classmethod
    def of_mean_and_cv(cls, mean: float, cv: float) -> Self:
        """The one with this mean [tokens] and this spread, standard deviation over mean (0.578 to 1).

        >>> round(TruncatedExponential.of_mean_and_cv(338, 0.9).mean())
        338
        """
        require(1 / math.sqrt(3) < cv < 1, f"No truncated exponential spreads by {cv}; it takes 0.578 to 1.")
        low, high = 1e-3, 700.0  # the cap in scales; the spread rises with it
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if _mean_and_cv(middle)[1] < cv else (low, middle)
        scale = mean / _mean_and_cv(low)[0]
        return cls(scale_tokens=scale, cap_tokens=max(1, round(low * scale)))

    @classmethod
    def of_mean_up_to(cls, mean: float, cap_tokens: int) -> Self:
        """The one with this mean [tokens] and no length above the cap: the broadest of them.

        >>> round(TruncatedExponential.of_mean_up_to(338, 1024).mean())
        338
        """
        require(1 <= mean < cap_tokens / 2, f"Exponential lengths up to {cap_tokens} have a mean below half of that.")
        low, high = 0.01 * mean, 1e3 * cap_tokens
        while high > 1.0001 * low:
            scale = (low * high) ** 0.5
            short = cls(scale_tokens=scale, cap_tokens=cap_tokens).mean() < mean
            low, high = (scale, high) if short else (low, scale)
        return cls(scale_tokens=low, cap_tokens=cap_tokens)

    def sample(self, rng: random.Random) -> int:
        while (n := round(rng.expovariate(1 / self.scale_tokens))) > self.cap_tokens:
            pass
        return max(n, 1)

    def mean(self) -> float:
        edges = [0.0, *(n + 0.5 for n in range(self.cap_tokens + 1))]
        tails = [math.exp(-edge / self.scale_tokens) for edge in edges]
        weights = [a - b for a, b in pairwise(tails)]
        return sum(max(n, 1) * weight for n, weight in enumerate(weights)) / (tails[0] - tails[-1])


@dataclass(frozen=True, kw_only=True)
class LogNormal:
    """A normal logarithm around ln(median), with standard deviation sigma; drawn again above the cap."""

    median_tokens: float
    sigma: float
    cap_tokens: int = 1_000_000

    def __post_init__(self) -> None:
        require(1 <= self.median_tokens <= self.cap_tokens and self.sigma >= 0, f"{self} has no lengths to draw.")

    def sample(self, rng: random.Random) -> int:
        mu = math.log(self.median_tokens)
        while (n := round(rng.lognormvariate(mu, self.sigma))) > self.cap_tokens:
            pass
        return max(n, 1)

    def mean(self) -> float:
        """Of the continuous distribution below the cap: median * e^(sigma^2 / 2) * the share sigma further down."""
        if self.sigma == 0:
            return self.median_tokens
        z = math.log(self.cap_tokens / self.median_tokens) / self.sigma
        whole = self.median_tokens * math.exp(self.sigma**2 / 2)
        return whole * _normal_cdf(z - self.sigma) / _normal_cdf(z)


@dataclass(frozen=True)
class QuantileTable:
    """Straight lines between quantiles: `points` are (probability, length), from 0 to 1, neither ever falling.

    >>> table = QuantileTable(((0, 1), (0.5, 100), (0.99, 500), (1, 700)))
    >>> table.quantile(0.5), table.quantile(0.99), table.quantile(0.25)
    (100.0, 500.0, 50.5)
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        rising = all(u < v and a <= b for (u, a), (v, b) in pairwise(self.points))
        require(len(self.points) > 1 and rising, "Quantiles must rise from point to point.")
        require(self.points[0][0] == 0 and self.points[-1][0] == 1, "Quantiles must go from probability 0 to 1.")
        require(self.points[0][1] >= 1, "A length is at least one token.")

    def quantile(self, share: float) -> float:
        """The length that this share of requests does not exceed [tokens]."""
        i = max(bisect_left(self.points, (share,)), 1)
        (u, a), (v, b) = self.points[i - 1 : i + 1]
        return float(a + (share - u) / (v - u) * (b - a))

    def stretched(self, mean: float) -> "QuantileTable":
        """The same shape with another mean [tokens], no length below one.

        >>> QuantileTable(((0, 1), (0.5, 100), (1, 700))).stretched(50).mean()
        50.0
        """
        require(1 <= mean < math.inf, f"A mean length is one token or more, not {mean}.")
        factor = mean / self.mean()
        for _ in range(20):  # what is lifted to one token is taken from the rest
            table = QuantileTable(tuple((share, max(1.0, factor * length)) for share, length in self.points))
            factor *= mean / table.mean()
        return table

    def sample(self, rng: random.Random) -> int:
        return round(self.quantile(rng.random()))

    def mean(self) -> float:
        """The area under the quantiles: sum over pieces of width * (left + right) / 2."""
        return sum((v - u) * (a + b) / 2 for (u, a), (v, b) in pairwise(self.points))


def _mean_and_cv(cap: float) -> tuple[float, float]:
    """Of an exponential of scale 1 below `cap`: mean in scales, standard deviation over mean."""
    if cap < 1e-2:  # all but uniform, and the formula would lose its digits
        return cap / 2, 1 / math.sqrt(3)
    lost = cap / math.expm1(cap)
    mean = 1 - lost
    return mean, math.sqrt(2 - lost * (cap + 2) - mean**2) / mean


def _normal_cdf(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2
