"""Figures of utilization: what a load fills of one device, what a day does to a fleet, two pools by their size."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, MONEY, finished, hours_of_day


def shares_of_load(
    ax: Axes,
    rates: Sequence[float],
    predicted: Mapping[str, Sequence[float]],
    *,
    simulated: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    stated: Mapping[str, tuple[float, float]],
    limit: tuple[float, str],
    names_at: Mapping[str, tuple[float, float]],
) -> Axes:
    """Shares of a device [%] against arrivals, a line and its dots each; hollow what is stated; the limit that ends it.

    `names_at` says where a line's name stands, in (requests/s, %).
    """
    for (name, shares), color in zip(predicted.items(), (INK, KV, MONEY), strict=True):
        ax.semilogx(rates, [100 * share for share in shares], color=color)
        at, found = simulated[name]
        ax.plot(at, [100 * share for share in found], ".", color=color, markersize=9)
        ax.text(*names_at[name], name, color=color, ha="right", va="center")
    for words, (rate, share) in stated.items():
        ax.plot([rate], [100 * share], "o", color=MONEY, markerfacecolor="none", markersize=8)
        ax.annotate(
            words, (rate, 100 * share), (-9, 0), textcoords="offset points", color=MONEY, ha="right", va="center"
        )
    end = 2.2 * limit[0]
    ax.axvline(limit[0], color=IDLE, linestyle="--", linewidth=1.2)
    ax.axvspan(limit[0], end, color=IDLE, alpha=0.15, linewidth=0)
    ax.text((limit[0] * end) ** 0.5, 50, limit[1], color=INK, rotation=90, ha="center", va="center")
    return finished(
        ax,
        xlabel="arrivals at one device [requests/s]",
        xlim=(min(rates), end),
        ylabel="share of the device [%]",
        ylim=(0, 104),
        xticks=[0.1, 1, 10],
        xticklabels=["0.1", "1", "10"],
    )


def wait_by_hour(
    ax: Axes, waits_s: Mapping[str, Sequence[float | None]], *, limit_s: float, starts_at: int, zone: str
) -> Axes:
    """Time to first token [s] of the requests of each hour, a line of steps for each fleet; dashed the limit."""
    n_hours = max(len(waits) for waits in waits_s.values())
    for (name, waits), color in zip(waits_s.items(), (BYTES, FLOPS), strict=False):
        seen = [math.nan if wait is None else wait for wait in waits]
        ax.stairs(seen, range(n_hours + 1), color=color, linewidth=2, baseline=None)
        ax.text(n_hours / 4, 1.25 * max(seen[: n_hours // 2]), name, color=color, ha="center", va="bottom")
    ax.axhline(limit_s, color=INK, linestyle="--", linewidth=1.2)
    ax.set_yscale("log")
    hours_of_day(ax, n_hours, starts_at=starts_at)
    return finished(
        ax, xlabel=f"time of day [{zone}]", ylabel="time to first token, P99 [s]", xlim=(0, n_hours), ylim=(0.05, 200)
    )


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
    low = nodes.index(min(nodes))
    middle = (edges_h[low] + edges_h[low + 1]) / 2
    ax.text(middle, top * 0.62, labels["lent"], ha="center", va="center")
    money = ax.twinx()
    money.plot(
        [i + 0.5 for i in range(len(income_usd_per_h))],
        [usd / 1e3 for usd in income_usd_per_h],
        "o-",
        color=MONEY,
        markerfacecolor="none",
        linewidth=1,
    )
    money.set_ylim(0, usd_per_h_at_top / 1e3 * 1.14)
    money.set_ylabel("theoretical income [thousand USD/h]", color=MONEY)
    money.tick_params(axis="y", colors=MONEY)
    money.grid(False)
    money.text(middle, usd_per_h_at_top / 1e3 * 0.08, labels["income"], color=MONEY, ha="center", va="center")
    hours_of_day(ax, end, starts_at=starts_at)
    return finished(ax, xlabel=f"time of day [{zone}]", ylabel="nodes of 8 GPUs", xlim=(0, end), ylim=(0, top * 1.14))


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
        for left, width, color, text in zip((0, prefill), (prefill, decode), (FLOPS, BYTES), words[name], strict=True):
            ax.barh(-i, width, left=left, height=0.6, color=color, alpha=0.75)
            ax.text(left + width / 2, -i, text, ha="center", va="center", color="white", fontsize=10, weight="bold")
    ax.axvline(total, color=INK, linestyle="--", linewidth=1.2)
    ax.annotate(total_label, (total, 0.45), (-6, 0), textcoords="offset points", ha="right", va="bottom")
    return finished(
        ax,
        no_grid="y",
        xlabel="nodes of 8 GPUs, average of the day",
        xlim=(0, total * 1.06),
        yticks=[-i for i in range(len(pools))],
        yticklabels=list(pools),
        ylim=(0.5 - len(pools), 0.85),
    )
