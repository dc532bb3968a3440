"""Figures of utilization: what a load fills of one device, and what a day leaves of a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, IDLE, INK, KV, MONEY, hours_of_day


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
    ax.set(xlabel="arrivals at one device [requests/s]", xlim=(min(rates), end))
    ax.set(ylabel="share of the device [%]", ylim=(0, 104))
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    return ax


def day_of_fleets(
    ax: Axes,
    hours: Sequence[float],
    *,
    demand: Sequence[float],
    following: Sequence[float],
    fixed: float,
    labels: Mapping[str, str],
    starts_at: int,
    zone: str,
) -> Axes:
    """Devices over a day: those that demand fills, those held by a fleet that follows it, those of its peak.

    `labels` name "fixed", "following", "demand", "idle" and "lent"; `hours` are edges, one more than there are values.
    """
    closed = [[*values, values[-1]] for values in (demand, following)]
    ax.fill_between(hours, closed[1], fixed, color=IDLE, alpha=0.18, step="post", linewidth=0)
    ax.fill_between(hours, closed[0], closed[1], color=IDLE, alpha=0.55, step="post", linewidth=0)
    ax.fill_between(hours, 0, closed[0], color=BYTES, alpha=0.25, step="post", linewidth=0)
    ax.axhline(fixed, color=INK, linestyle="--", linewidth=1.2)
    ax.stairs(following, hours, color=INK, linewidth=1.4, baseline=None)
    ax.stairs(demand, hours, color=BYTES, linewidth=2, baseline=None)
    middle = (hours[0] + hours[-1]) / 2
    ax.text(hours[0] + 0.3, fixed * 1.025, labels["fixed"], color=INK, va="bottom")
    ax.text(hours[0] + 0.3, fixed * 0.30, labels["demand"], color=BYTES, va="center")
    ax.text(middle + 4.8, fixed * 0.62, labels["lent"], color=INK, ha="center", va="center")
    ax.annotate(
        labels["following"],
        (middle + 1.6, following[int(1.6 + len(following) / 2)]),
        (-14, -46),
        textcoords="offset points",
        color=INK,
        ha="right",
        va="center",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8},
    )
    hours_of_day(ax, hours[-1] - hours[0], starts_at=starts_at, first=hours[0])
    ax.set(xlabel=f"time of day [{zone}]", ylabel="nodes of 8 GPUs", xlim=(hours[0], hours[-1]), ylim=(0, fixed * 1.13))
    return ax
