"""Figures of falling prices: rates with what their few points leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import IDLE, INK, MONEY

Interval = tuple[float, float, float]  # low, point, high


def forest_of_rates(
    ax: Axes, rates: Mapping[str, Interval], *, n_points: Sequence[int], lines: Mapping[str, float], shown: Interval
) -> Axes:
    """A row a trend: its rate of fall, hollow and as large as it has points, with its interval [times cheaper a year,
    log]; vertical lines at stated rates. Intervals that leave the middle of `shown` end in arrows at its ends."""
    low_end, _, high_end = shown
    for i, ((low, point, high), n) in enumerate(zip(rates.values(), n_points, strict=True)):
        ax.plot([max(low, low_end), min(high, high_end)], [i, i], color=MONEY, linewidth=1.6, alpha=0.6)
        for end, edge, mark in ((low, low_end, "<"), (high, high_end, ">")):
            if not low_end <= end <= high_end:
                ax.plot([edge], [i], mark, color=MONEY, markersize=5, clip_on=False)
        ax.plot([point], [i], "o", color=MONEY, markerfacecolor="white", markersize=3 + n)
        ax.annotate(f"{n}", (1.01, i), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=IDLE)
    for words, rate in lines.items():
        ax.axvline(rate, color=INK, linewidth=1, linestyle="--")
        ax.annotate(words, (rate, -1.2), ha="center", fontsize=9)
    ax.annotate("points", (1.0, -1.2), xycoords=("axes fraction", "data"), fontsize=8, color=IDLE)
    ax.set_xscale("log")
    ax.set_yticks(range(len(rates)), labels=list(rates), fontsize=8)
    ax.set(xlabel="times cheaper after a year, 90% interval", xlim=(low_end, high_end), ylim=(len(rates) - 0.5, -1.8))
    ax.grid(False, axis="y")
    return ax
