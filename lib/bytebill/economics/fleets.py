"""What does a day cost? Fleets under a curve of demand: fixed, following it, or lent out when idle.

    needed[i]   = least + unit * ceil((demand[i] / per device - least) / unit)    [devices]
    fixed       held[i] = the day's largest needed
    autoscaled  held[i] = the largest needed of i .. i + lag: a device is paid while it starts
    shared      held as fixed; what autoscaled would not hold is lent to other work
    device-hours = sum held * hours       load factor = work / what the serving devices could have done
    usd per million = (device-hours * rent - lent hours * what lending earns) / work * 1e6

Demand is in tokens (or requests, or any work) a second, and `per_device_per_s` says how much of it one device does
within its latency limits (`bytebill.economics.load`): a fleet is sized by that, never by an average. A day repeats, and
its curve is known ahead. Devices are conserved: held = serving + lent in every interval. Ignores chance within an
interval (the rate of a device has room for that), failures, and what moving work costs. Used by chapter 06.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil, inf
from typing import Self

from bytebill.economics.cost import SECONDS_PER_HOUR, TOKENS_PER_PRICE, check_positive
from bytebill.errors import require

_ROUNDING = 1e-9  # a demand of exactly ten devices needs ten


@dataclass(frozen=True, kw_only=True)
class Day:
    """Demand by interval, each of the same length; after the last one the first comes again.

    >>> day = Day(demand_per_s=(100.0, 300.0), interval_s=3600)
    >>> day.work, day.mean_per_s, round(day.load_factor, 3), day.peak_to_trough    # 400 * 3600
    (1440000.0, 200.0, 0.667, 3.0)
    """

    demand_per_s: tuple[float, ...]
    interval_s: float = SECONDS_PER_HOUR

    def __post_init__(self) -> None:
        require(len(self.demand_per_s) > 0, "A day has at least one interval of demand; this one is empty.")
        for demand in self.demand_per_s:
            require(0 <= demand < inf, f"Demand is a rate of zero or more per second, not {demand}.")
        require(any(self.demand_per_s), "Nobody asks for anything on this day, so nothing can be priced by the token.")
        require(0 < self.interval_s < inf, f"An interval takes a positive time, not {self.interval_s} s.")

    @classmethod
    def shaped(cls, shape: Sequence[float], *, peak_per_s: float, interval_s: float = SECONDS_PER_HOUR) -> Self:
        """A day with this shape, whatever its unit, and this peak.

        >>> Day.shaped((7.0, 14.0), peak_per_s=20.0).demand_per_s
        (10.0, 20.0)
        """
        top = max(shape, default=0.0)
        return cls(
            demand_per_s=tuple(value * (peak_per_s / top if top > 0 else 0.0) for value in shape), interval_s=interval_s
        )

    @property
    def work(self) -> float:
        """All that is asked for in a day."""
        return sum(self.demand_per_s) * self.interval_s

    @property
    def peak_per_s(self) -> float:
        return max(self.demand_per_s)

    @property
    def mean_per_s(self) -> float:
        return sum(self.demand_per_s) / len(self.demand_per_s)

    @property
    def load_factor(self) -> float:
        """Mean over peak: how full the smallest fleet is that never changes."""
        return self.mean_per_s / self.peak_per_s

    @property
    def peak_to_trough(self) -> float:
        """Highest over lowest demand; infinite where somebody sleeps."""
        return self.peak_per_s / min(self.demand_per_s) if min(self.demand_per_s) else inf

    def when(self, work: float) -> float:
        """The time by which so much is asked for [s]: turns arrivals at rate 1 into arrivals along the day.

        >>> Day(demand_per_s=(1.0, 3.0), interval_s=10).when(25)    # 10 in the first 10 s, 15 at 3 a second
        15.0
        """
        require(0 <= work < inf, f"Work is zero or more, not {work}.")
        done = [0.0, *accumulate(demand * self.interval_s for demand in self.demand_per_s)]  # before each interval
        n_days, rest = divmod(work, done[-1])
        i = max(bisect_left(done, rest) - 1, 0)
        into_s = (rest - done[i]) / self.demand_per_s[i] if rest else 0.0
        return (n_days * len(self.demand_per_s) + i) * self.interval_s + into_s


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Devices held and devices serving, by interval; the others are lent."""

    day: Day
    per_device_per_s: float
    held: tuple[int, ...]
    serving: tuple[int, ...]

    def __post_init__(self) -> None:
        check_positive({"A device's rate [per second]": self.per_device_per_s})
        n = len(self.day.demand_per_s)
        require(
            len(self.held) == len(self.serving) == n,
            f"A fleet says how many devices it holds in each of the day's {n} intervals.",
        )
        for held, serving, demand in zip(self.held, self.serving, self.day.demand_per_s, strict=True):
            require(0 <= serving <= held, f"Of {held} devices held, {serving} cannot serve.")
            require(
                demand - serving * self.per_device_per_s <= _ROUNDING * self.day.peak_per_s,
                f"{serving} devices serve {serving * self.per_device_per_s:,.6g} a second, and {demand:,.6g} "
                "are asked for.",
            )

    @property
    def lent(self) -> tuple[int, ...]:
        """Devices held that do other work, by interval."""
        return tuple(held - serving for held, serving in zip(self.held, self.serving, strict=True))

    @property
    def device_hours(self) -> float:
        """What is paid for."""
        return self._hours(self.held)

    @property
    def lent_device_hours(self) -> float:
        return self._hours(self.lent)

    @property
    def load_factor(self) -> float:
        """Work done over what the devices that serve could have done."""
        return self.day.work / self.per_device_per_s / SECONDS_PER_HOUR / self._hours(self.serving)

    def usd(self, *, usd_per_device_hour: float, usd_per_lent_hour: float = 0.0) -> float:
        """The day's bill, less what lending earns."""
        for price in (usd_per_device_hour, usd_per_lent_hour):
            require(0 <= price < inf, f"A price is zero or more, not {price}.")
        return self.device_hours * usd_per_device_hour - self.lent_device_hours * usd_per_lent_hour

    def usd_per_million(self, *, usd_per_device_hour: float, usd_per_lent_hour: float = 0.0) -> float:
        """The day's bill, less what lending earns, for a million tokens or of whatever the demand counts.

        >>> day = Day(demand_per_s=(1000.0, 3000.0))                      # 14.4 million in two hours
        >>> fleet = fixed(day, per_device_per_s=1000)                     # 3 devices, 6 hours
        >>> round(fleet.usd_per_million(usd_per_device_hour=2.4), 6)      # $14.40 / 14.4
        1.0
        """
        bill = self.usd(usd_per_device_hour=usd_per_device_hour, usd_per_lent_hour=usd_per_lent_hour)
        return bill / self.day.work * TOKENS_PER_PRICE

    def _hours(self, devices: Sequence[int]) -> float:
        return sum(devices) * self.day.interval_s / SECONDS_PER_HOUR


def fixed(day: Day, *, per_device_per_s: float, unit: int = 1) -> Fleet:
    """As many devices all day as its peak needs, in whole units: a fleet that is started a day ahead.

    >>> fixed(Day(demand_per_s=(10.0, 95.0)), per_device_per_s=10).held
    (10, 10)
    """
    return autoscaled(day, per_device_per_s=per_device_per_s, unit=unit, lag=len(day.demand_per_s))


def autoscaled(day: Day, *, per_device_per_s: float, unit: int = 1, lag: int = 0, least: int = 0) -> Fleet:
    """As many as each interval needs, started `lag` intervals ahead, in units on top of the `least` it ever holds.

    >>> day = Day(demand_per_s=(10.0, 95.0, 20.0))
    >>> [autoscaled(day, per_device_per_s=10, lag=lag).held for lag in (0, 1)]
    [(1, 10, 2), (10, 10, 2)]
    """
    require(min(lag, least) >= 0, "A lag and a least number of devices are zero or more.")
    needed = _needed(day, per_device_per_s, unit=unit, least=least)
    n, ahead = len(needed), min(lag, len(needed) - 1)
    held = tuple(max(needed[(i + j) % n] for j in range(ahead + 1)) for i in range(n))
    return Fleet(day=day, per_device_per_s=per_device_per_s, held=held, serving=held)


def shared(follows: Fleet) -> Fleet:
    """Devices for the peak all day, of which those that an autoscaled fleet would give back are lent.

    >>> fleet = shared(autoscaled(Day(demand_per_s=(10.0, 95.0, 20.0)), per_device_per_s=10))
    >>> fleet.lent, fleet.device_hours, fleet.lent_device_hours
    ((9, 0, 8), 30.0, 17.0)
    """
    return replace(follows, held=(max(follows.held),) * len(follows.held), serving=follows.held)


def _needed(day: Day, per_device_per_s: float, *, unit: int, least: int) -> tuple[int, ...]:
    """Devices that each interval's demand needs, the least and whole units on top."""
    check_positive({"A device's rate [per second]": per_device_per_s})
    require(unit >= 1, f"Devices come in units of at least one, not {unit}.")
    alone = (demand / per_device_per_s * (1 - _ROUNDING) for demand in day.demand_per_s)
    return tuple(least + unit * max(0, ceil((n - least) / unit)) for n in alone)
