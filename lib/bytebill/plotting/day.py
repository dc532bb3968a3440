"""Figures of a published day: nodes as an area that is a bill, income beside them, and two pools by their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, MONEY, hours_of_day


def day_of_nodes(
    ax: Axes,
    edges_h: Sequence[float],
    nodes: Sequence[float],
    *,
    income_usd_per_h: Sequence[float],
    usd_per_h_at_top: float,
    average: float,
    labels: Mapping[str, str],
    starts_at: int,
    zone: str,
) -> Axes:
    """Nodes over a day as steps, their area filled; hourly income on a right-hand axis that ends where nodes do.

    `edges_h` are one more than `nodes`; `usd_per_h_at_top` is the income drawn as high as the most nodes. `labels` name
    "peak", "average", "area", "lent" and "income".
    """
    top, end = max(nodes), edges_h[-1]
    closed = [*nodes, nodes[-1]]
    ax.fill_between(edges_h, 0, closed, color=BYTES, alpha=0.22, step="post", linewidth=0)
    ax.fill_between(edges_h, closed, top, color=IDLE, alpha=0.22, step="post", linewidth=0)
    ax.stairs(nodes, edges_h, color=BYTES, linewidth=2, baseline=None)
    ax.axhline(top, color=INK, linestyle="--", linewidth=1.2)
    ax.axhline(average, color=INK, linestyle=":", linewidth=1.6)
    ax.text(0.3, top * 1.02, labels["peak"], va="bottom")
    ax.text(0.3, average * 0.98, labels["average"], va="top")
    ax.text(end / 4, top * 0.35, labels["area"], color=BYTES, ha="center", va="center", fontsize=12)
    low = min(range(len(nodes)), key=lambda i: nodes[i])
    middle = (edges_h[low] + edges_h[low + 1]) / 2
    ax.text(middle, top * 0.62, labels["lent"], ha="center", va="center")
    money = ax.twinx()
    hours = [i + 0.5 for i in range(len(income_usd_per_h))]
    money.plot(hours, [usd / 1e3 for usd in income_usd_per_h], "o-", color=MONEY, markerfacecolor="none", linewidth=1)
    money.set_ylim(0, usd_per_h_at_top / 1e3 * 1.14)
    money.set_ylabel("theoretical income [thousand USD/h]", color=MONEY)
    money.tick_params(axis="y", colors=MONEY)
    money.grid(False)
    money.text(middle, usd_per_h_at_top / 1e3 * 0.08, labels["income"], color=MONEY, ha="center", va="center")
    hours_of_day(ax, end, starts_at=starts_at)
    ax.set(xlabel=f"time of day [{zone}]", ylabel="nodes of 8 GPUs", xlim=(0, end), ylim=(0, top * 1.14))
    return ax


def two_pools(
    ax: Axes,
    pools: Mapping[str, tuple[float, float]],
    *,
    words: Mapping[str, tuple[str, str]],
    total: float,
    total_label: str,
) -> Axes:
    """One bar a reading, split into prefill and decode nodes, against the nodes that there were."""
    for i, (name, (prefill, decode)) in enumerate(pools.items()):
        ax.barh(-i, prefill, height=0.6, color=FLOPS, alpha=0.75)
        ax.barh(-i, decode, left=prefill, height=0.6, color=BYTES, alpha=0.75)
        for at, text in zip((prefill / 2, prefill + decode / 2), words[name], strict=True):
            ax.text(at, -i, text, ha="center", va="center", color="white", fontsize=10, weight="bold")
    ax.axvline(total, color=INK, linestyle="--", linewidth=1.2)
    ax.annotate(total_label, (total, 0.45), (-6, 0), textcoords="offset points", ha="right", va="bottom")
    ax.set_yticks([-i for i in range(len(pools))], list(pools))
    ax.set(xlabel="nodes of 8 GPUs, average of the day", xlim=(0, total * 1.06), ylim=(0.5 - len(pools), 0.85))
    ax.grid(False, axis="y")
    return ax
