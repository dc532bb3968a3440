"""Figures of the cache's memory: where its slots go, and what a block's size trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, IDLE, INK, KV

_KINDS = {
    "used": (KV, "holds a token"),
    "reservation": ("#8FD3BD", "reserved, filled later"),
    "internal": (IDLE, "given, never filled"),
    "external": ("#CFCFCF", "lost between chunks"),
}


def kinds_of_slots(ax: Axes, shares: Mapping[str, Mapping[str, float]], *, published_used: Mapping[str, float]) -> Axes:
    """A bar an allocator, its slots by kind [%], and a hollow marker at the published share that held tokens.

    Figures inside bars keep their ink in the dark, since the bars keep their fill.
    """
    for i, found in enumerate(shares.values()):
        left = 0.0
        for kind, (color, label) in _KINDS.items():
            width = 100 * found[kind]
            ax.barh(i, width, left=left, color=color, height=0.7, label=label if i == 0 else None)
            ink = "#FFFFFE" if kind in ("used", "internal") else "#222222"
            if width > 5:
                spot = (left + width / 2, i)
                ax.annotate(f"{width:.0f}%", spot, ha="center", va="center", color=ink, weight="bold")
            left += width
    places, used = list(shares), [100 * share for share in published_used.values()]
    hollow: dict[str, Any] = {
        "color": INK,
        "markerfacecolor": "white",
        "markersize": 8,
        "label": "published: holds a token",
    }
    ax.plot(used, [places.index(name) for name in published_used], "D", **hollow)
    ax.set_yticks(range(len(shares)), labels=list(shares))
    ax.invert_yaxis()
    ax.set(xlabel="share of the cache's slots [%]", xlim=(0, 100))
    ax.grid(False, axis="y")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, 1.22), ncols=3, fontsize=9)
    return ax


def waste_and_time(
    ax: Axes, sizes: Sequence[int], *, waste: Mapping[str, Sequence[float]], times: Sequence[float], limit: float
) -> Axes:
    """Against block size: slots wasted inside blocks by kind of request [%], simulated, and measured time of attention
    over that of one long block [ratio, right axis]; `limit` is the waste that is claimed not to be exceeded."""
    for (name, shares), style in zip(waste.items(), ("-", "--", ":"), strict=False):
        ax.plot(sizes, [100 * share for share in shares], style, marker=".", color=KV)
        ax.annotate(name, (sizes[-1], 100 * shares[-1]), (-9, 5), textcoords="offset points", color=KV, ha="right")
    ax.axhline(100 * limit, color=INK, linewidth=1)
    ax.annotate(f"{limit:.0%}", (sizes[0], 100 * limit), (0, 3), textcoords="offset points")
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, labels=[str(size) for size in sizes])
    ax.set(xlabel="block size [tokens]", ylabel="slots wasted inside blocks [%]", ylim=(0, None))
    ax.yaxis.label.set_color(KV)
    right = ax.twinx()
    right.plot(sizes, times, "o", color=BYTES, markersize=8)
    right.set_ylabel("attention time, one long block = 1", color=BYTES)
    right.set_ylim(0, max(times) * 1.1)
    right.spines["right"].set_visible(True)
    right.grid(False)
    return ax
