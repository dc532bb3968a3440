"""Figures of the clock: what it said, beside what others measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, only_ticks, round_numbers

Pairs = Sequence[tuple[float, float]]  # measured, predicted [s]


def predicted_against_measured(
    ax: Axes, predicted: Mapping[str, Pairs], *, seen: Pairs, named: Mapping[str, tuple[float, float]], within: float
) -> Axes:
    """Time of an output token, log-log [ms]: hollow marks for published points by board, crosses for those that the
    constants have seen, the line of agreement, and a band of `within` to both sides."""
    every = [x for pairs in predicted.values() for pair in pairs for x in pair]
    ends = [0.7 * min(every) * 1e3, 1.4 * max(every) * 1e3]
    ax.fill_between(
        ends, [x * (1 - within) for x in ends], [x * (1 + within) for x in ends], color=IDLE, alpha=0.15, linewidth=0
    )
    ax.loglog(ends, ends, color=INK, linewidth=1)
    for (name, pairs), color, mark in zip(predicted.items(), (BYTES, FLOPS, INK), "osD", strict=False):
        x, y = zip(*((a * 1e3, b * 1e3) for a, b in pairs), strict=True)
        ax.loglog(x, y, mark, color=color, markerfacecolor="none", markersize=6, label=name)
    x, y = zip(*((a * 1e3, b * 1e3) for a, b in seen), strict=True)
    ax.loglog(x, y, "x", color=IDLE, markersize=5, label="calibrated on")
    for name, (a, b) in named.items():
        ax.annotate(name, (a * 1e3, b * 1e3), (6, -11), textcoords="offset points", fontsize=9)
    for axis in (ax.xaxis, ax.yaxis):
        only_ticks(axis, round_numbers(*ends))
    ax.set(xlabel="published time of an output token [ms]", ylabel="predicted [ms]", xlim=ends, ylim=ends)
    ax.legend(loc="upper left")
    return ax
