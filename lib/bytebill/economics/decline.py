"""How fast does a price fall, and how well do so few points know it? A straight line through logarithms.

    ln price = a - b * years                 least squares; factor per year = e^b
    interval = e^(b +- t * s_b)              s_b^2 = residual variance with n - 2 degrees of freedom / sum (x - mean)^2
    t        the quantile of Student's distribution with n - 2 degrees of freedom, for the level asked for
    pooled   one b for all trends, each with an a of its own; its interval from drawing the prices anew

Years are of 365 days, as in the published fits. The interval is wide where points are few: with four of them t is
2.92 at 90%, and errors add in the exponent, so the ends lie symmetric in the logarithm. It believes that points
scatter independently around one constant rate, which the cheapest price so far cannot do, since it never rises: the
true interval is wider. A price that stands in several trends is one witness: pooled, it is drawn in all of them or in
none. Used by chapter 19.
"""

import datetime
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import fmean

from bytebill.economics.cost import DAYS_PER_YEAR
from bytebill.economics.ranges import Spread, student_t
from bytebill.errors import require


@dataclass(frozen=True, kw_only=True)
class Decline:
    """A fitted rate of fall: a price becomes so many times smaller in a year."""

    n_points: int
    factor_per_year: float
    low: float
    high: float
    r_squared: float

    def excludes_below(self, factor: float) -> bool:
        """Whether every rate of the interval is at least so fast."""
        return self.low >= factor


def fit(points: Iterable[tuple[datetime.date, float]], *, level: float = 0.9) -> Decline:
    """The rate through dated prices [USD, any unit], with its interval.

    >>> day = datetime.date
    >>> prices = [(day(2021, 1, 1), 64.0), (day(2022, 1, 1), 16.0), (day(2023, 1, 1), 4.0), (day(2024, 1, 1), 1.0)]
    >>> found = fit(prices)
    >>> round(found.factor_per_year, 1), round(found.r_squared, 3)    # a fourth of the price each year
    (4.0, 1.0)
    """
    pairs = sorted(points)
    require(len(pairs) >= 3, f"A rate with an interval needs three prices at least, not {len(pairs)}.")
    require(all(0 < price < inf for _, price in pairs), "Prices are positive.")
    require(0 < level < 1, f"A level of confidence lies between 0 and 1, not at {level}.")
    x = [(day - pairs[0][0]).days / DAYS_PER_YEAR for day, _ in pairs]
    y = [log(price) for _, price in pairs]
    x_mean, y_mean, n = fmean(x), fmean(y), len(pairs)
    sxx = sum((each - x_mean) ** 2 for each in x)
    require(sxx > 0, "All prices are of one day: no rate follows.")
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / sxx
    left = sum((b - y_mean - slope * (a - x_mean)) ** 2 for a, b in zip(x, y, strict=True))
    total = sum((b - y_mean) ** 2 for b in y)
    reach = student_t((1 + level) / 2, n - 2) * sqrt(left / (n - 2) / sxx)
    return Decline(
        n_points=n,
        factor_per_year=exp(-slope),
        low=exp(-slope - reach),
        high=exp(reach - slope) if reach - slope < 700 else inf,  # few wild points know no upper end
        r_squared=1 - left / total if total else 1.0,
    )


def pooled(trends: Iterable[Iterable[tuple[datetime.date, float]]], *, n: int = 2000, seed: int = 0) -> Spread:
    """One rate of fall for several trends, as a factor per year, and its draws.

    In a draw as many prices as there are, each day and price once, are taken with replacement; every trend counts a
    price as often as it was taken.

    >>> day = datetime.date
    >>> fast = [(day(2021, 1, 1), 64.0), (day(2022, 1, 1), 16.0), (day(2023, 1, 1), 4.0)]
    >>> round(pooled([fast, [(when, 3 * usd) for when, usd in fast]]).point, 1)
    4.0
    """
    lines = [[(when, float(usd)) for when, usd in trend] for trend in trends]
    witnesses = sorted({point for line in lines for point in line})
    require(len(witnesses) >= 3, f"A pooled rate needs three prices at least, not {len(witnesses)}.")
    require(all(0 < usd < inf for _, usd in witnesses), "Prices are positive.")
    require(n >= 1, f"A simulation has at least one draw, not {n}.")
    point = _common_slope(lines, Counter(witnesses))
    require(point is not None, "All prices of each trend are of one day: no rate follows.")
    chance = random.Random(seed)
    drawn = (_common_slope(lines, Counter(chance.choices(witnesses, k=len(witnesses)))) for _ in range(n))
    return Spread(point=exp(point or 0.0), draws=tuple(sorted(exp(slope) for slope in drawn if slope is not None)))


def _common_slope(
    lines: Sequence[Sequence[tuple[datetime.date, float]]], weight: Counter[tuple[datetime.date, float]]
) -> float | None:
    """Least squares with one slope [1/year] and a level for each line; None where nothing spans time."""
    up = down = 0.0
    for line in lines:
        points = [(when.toordinal() / DAYS_PER_YEAR, log(usd), weight[when, usd]) for when, usd in line]
        if total := sum(w for *_, w in points):
            x_mean, y_mean = (sum(w * point[i] for *point, w in points) / total for i in (0, 1))
            up -= sum(w * (x - x_mean) * (y - y_mean) for x, y, w in points)
            down += sum(w * (x - x_mean) ** 2 for x, _, w in points)
    return up / down if down > 1e-12 else None
