"""Figures of the clock: what it said, beside what others measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK

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
    ticks = [tick for power in (0.1, 1, 10, 100) for tick in (power, 2 * power, 5 * power) if ends[0] < tick < ends[1]]
    ax.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    ax.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel="published time of an output token [ms]", ylabel="predicted [ms]", xlim=ends, ylim=ends)
    ax.legend(loc="upper left")
    return ax
