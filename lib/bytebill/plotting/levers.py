"""Figures of a bill: what would lower it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, IDLE, INK, KV, MONEY, only_ticks


def levers_by_case(
    ax: Axes, factors: Mapping[str, Mapping[str, float]], *, order: Sequence[str], n_in_place: int
) -> Axes:
    """Bill without over bill with each lever, log [times], a mark a case; the first `n_in_place` levers are pulled
    already and stand above a line."""
    styles = zip(factors.items(), (MONEY, BYTES, KV), "osD", strict=False)
    for i, name in enumerate(order):
        reach = [found[name] for found in factors.values() if name in found]
        ax.plot([min(reach), max(reach)], [i, i], color=IDLE, alpha=0.5, linewidth=3, zorder=1)
    for (case, found), color, mark in styles:
        places = [i for i, name in enumerate(order) if name in found]
        ax.plot([found[order[i]] for i in places], places, mark, color=color, markersize=8, label=case)
    ax.axvline(1, color=INK, linewidth=1)
    ax.axhline(n_in_place - 0.5, color=INK, linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20) if tick < 1.3 * max(max(case.values()) for case in factors.values())]
    only_ticks(ax.xaxis, ticks, "{} x")
    ax.set_yticks(range(len(order)), labels=list(order))
    ax.invert_yaxis()
    ax.set(xlabel="bill without the lever over bill with it")
    ax.legend(loc="lower right")
    return ax
