"""Figures of money: what an own device costs against what is asked for elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import atan, degrees
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bytebill.plotting.style import IDLE, INK, MONEY

Spot = tuple[float, float]  # API price, own cost [USD per million tokens]


def break_even_map(
    ax: Axes,
    *,
    prices: Spot,
    costs: Spot,
    shares: Mapping[str, tuple[float, float]],
    regions: Mapping[str, Spot],
    usd_per_hour: float,
) -> Axes:
    """The ground of the map, log-log: own cost at full load against API price, a diagonal per break-even utilization.

    `prices` and `costs` are the ends of the axes; `shares` gives each diagonal's name its utilization and the price at
    which the name stands; the axis to the right reads a cost as a throughput at this rent.
    """
    for name, (share, at) in shares.items():
        line = [share * price for price in prices]
        ax.loglog(prices, line, color=INK, linewidth=0.9, alpha=0.6, zorder=1)
        ax.fill_between(prices, costs[0], line, color=MONEY, alpha=0.05, linewidth=0, zorder=0)
        along: dict[str, Any] = {
            "rotation": degrees(atan(share)),
            "transform_rotates_text": True,
            "rotation_mode": "anchor",
        }
        ax.text(at, share * at, name, va="bottom", fontsize=10, **along)
    steepest = [max(share for share, _ in shares.values()) * price for price in prices]
    ax.fill_between(prices, steepest, costs[1], color=IDLE, alpha=0.18, linewidth=0, zorder=0)
    for words, spot in regions.items():
        ax.text(*spot, words, va="center", ha="center", style="italic")
    ax.set(xlim=prices, ylim=costs)
    return _money_axes(ax, usd_per_hour)


def prices_on_map(
    ax: Axes,
    prices: Sequence[float],
    *,
    own: float,
    named: Mapping[str, float],
    rents: tuple[float, Spot],
    words: Mapping[str, Spot],
) -> Axes:
    """Prices on file as hollow beads on the line of one own cost, some of them named; and, at a price, the bar of the
    costs that other rents would give this line."""
    ax.axhline(own, color=MONEY, linewidth=0.8, zorder=1)
    ax.plot(prices, [own] * len(prices), "o", color=MONEY, markerfacecolor="none", markersize=6, alpha=0.75, zorder=2)
    for name, price in named.items():
        ax.annotate(
            name,
            (price, own),
            (0, -9),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            color=MONEY,
            fontsize=9,
        )
    at, ends = rents
    ax.plot([at, at], ends, color=MONEY, linewidth=1.4, marker="_", markersize=9)
    for text, spot in words.items():
        ax.text(*spot, text, color=MONEY, ha="center", va="center", fontsize=10)
    return ax


def rules_on_map(ax: Axes, rules: Mapping[str, tuple[float, Spot]], *, own: float, spread: Spot, apart: str) -> Axes:
    """Statements as hollow diamonds on the line of one own cost: words, the price, and where the words stand.

    `spread` is the range of prices that the last of them may mean; `apart` says how far they are from each other.
    """
    ax.plot(spread, [own, own], color=INK, linewidth=5, alpha=0.35, solid_capstyle="butt", zorder=3)
    for words, (price, at) in rules.items():
        ax.plot(price, own, "D", color=INK, markerfacecolor="white", markersize=11, markeredgewidth=2.2, zorder=4)
        ax.annotate(
            words,
            (price, own),
            at,
            ha="center",
            va="center",
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 1, "shrinkB": 8},
        )
    (first, _), (last, _) = rules.values()
    ends = {"arrowstyle": "<->", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (first, own * 1.32), (last, own * 1.32), arrowprops=ends)
    ax.text((first * last) ** 0.5, own * 1.42, apart, ha="center", va="bottom", fontsize=10)
    return ax


def moved_on_map(ax: Axes, start: Spot, end: Spot, *, words: str, at: Spot, color: str) -> Axes:
    """One point and where it goes when it is counted otherwise: an arrow with its words."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2, "shrinkA": 5})
    ax.plot(*start, "s", color=color, markerfacecolor="none", markersize=8, markeredgewidth=2, zorder=4)
    ax.text(*at, words, color=color, ha="left", va="center", fontsize=10)
    return ax


def _over(total: float) -> Callable[[Any], Any]:
    """Each of two scales from the other; matplotlib asks at zero too."""
    return lambda value: total / np.maximum(value, 1e-12)


def _money_axes(ax: Axes, usd_per_hour: float) -> Axes:
    """Both axes in dollars a million tokens, and the throughput that is the same at this rent."""
    ax.set_xlabel("API price of this traffic [USD per million tokens]")
    ax.set_ylabel("own cost at full load: rent / throughput\n[USD per million tokens]")
    per_usd = usd_per_hour / 3600 * 1e6
    right = ax.secondary_yaxis("right", functions=(_over(per_usd), _over(per_usd)))
    right.set_ylabel(rf"throughput at \${usd_per_hour:.2f} an hour [tokens/s]")
    for axis, form in ((ax.xaxis, "{x:g}"), (ax.yaxis, "{x:g}"), (right.yaxis, "{x:,.0f}")):
        axis.set_major_formatter(form)
    ax.grid(visible=False)
    return ax
