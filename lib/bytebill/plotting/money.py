"""Figures of money: what an own device costs against what is asked elsewhere, falling prices, the levers of a bill."""

from collections.abc import Mapping, Sequence
from math import atan, degrees

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bytebill.plotting.style import IDLE, INK, MONEY, finished

Spot = tuple[float, float]  # API price, own cost [USD per million tokens]


def break_even_map(
    ax: Axes, *, prices: Spot, costs: Spot, shares: Mapping[str, tuple[float, float]], regions: Mapping[str, Spot]
) -> Axes:
    """The ground of the map, log-log: own cost at full load against API price, a diagonal per break-even utilization.

    `prices` and `costs` are the ends of the axes; `shares` gives each diagonal's name its utilization and the price at
    which the name stands.
    """
    for name, (share, at) in shares.items():
        line = [share * price for price in prices]
        ax.loglog(prices, line, color=INK, linewidth=0.9, alpha=0.6, zorder=1)
        ax.fill_between(prices, costs[0], line, color=MONEY, alpha=0.05, linewidth=0, zorder=0)
        ax.text(
            at,
            share * at,
            name,
            va="bottom",
            fontsize=10,
            rotation=degrees(atan(share)),
            transform_rotates_text=True,
            rotation_mode="anchor",
        )
    steepest = [max(share for share, _ in shares.values()) * price for price in prices]
    ax.fill_between(prices, steepest, costs[1], color=IDLE, alpha=0.18, linewidth=0, zorder=0)
    for words, spot in regions.items():
        ax.text(*spot, words, va="center", ha="center", style="italic")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    return finished(
        ax,
        no_grid="both",
        xlabel="API price of this traffic [USD per million tokens]",
        ylabel="own cost at full load: rent / throughput\n[USD per million tokens]",
        xlim=prices,
        ylim=costs,
    )


def hosts_on_map(
    ax: Axes,
    hosts: Mapping[str, tuple[float, Sequence[Sequence[float]]]],
    *,
    marks: Mapping[str, str],
    words: Sequence[str],
) -> Axes:
    """The same weights at hosts: above each price a bar for every measured run, a hollow mark on it for each rent.

    `hosts` gives a name its price and, run by run, the own costs at each rent; its mark is that of `marks` whose key
    its name begins with; `words` say what the runs are, the first drawn darkest. Names stand above the bars.
    """
    for name, (price, runs) in hosts.items():
        mark = next(mark for key, mark in marks.items() if name.startswith(key))
        for i, costs in enumerate(runs):
            at = price * 1.09 ** (i - (len(runs) - 1) / 2)
            (line,) = ax.plot([at] * len(costs), costs, f"{mark}-", color=MONEY, alpha=1 / (1 + i))
            line.set(linewidth=1.2, markersize=6, markeredgewidth=1.4)
            ax.plot([at] * len(costs), costs, mark, color="white", markersize=4, zorder=3)
        most = max(max(costs) for costs in runs)
        ax.annotate(name, (price, most), (0, 8), textcoords="offset points", rotation=90, ha="center", fontsize=9)
    for i, said in enumerate(words):
        ax.plot([], [], color=MONEY, alpha=1 / (1 + i), linewidth=2, label=said)
    return finished(ax, legend="upper right")


def ticks_on_map(ax: Axes, prices: Mapping[str, float], *, words: str, words_at: Spot) -> Axes:
    """Prices without an own cost, for their weights are closed: ticks on the lower edge, named above it."""
    low = ax.get_ylim()[0]
    for name, price in prices.items():
        ax.plot(price, low, "^", color=IDLE, markersize=7, clip_on=False)
        ax.annotate(name, (price, low), (0, 8), textcoords="offset points", rotation=90, ha="center", fontsize=9)
    ax.text(*words_at, words, va="center", ha="center", fontsize=9)
    return ax


def rules_on_map(ax: Axes, rules: Mapping[str, tuple[float, Spot]], *, own: float, spread: Spot, apart: str) -> Axes:
    """Statements as hollow diamonds on the line of one own cost: words, the price, and where the words stand.

    `spread` is the range of prices that the last of them may mean; `apart` says how far they are from each other.
    """
    ax.axhline(own, color=INK, linewidth=0.8, linestyle=":", zorder=1)
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
    ax.annotate(
        "",
        (first * 1.25, own * 0.8),
        (last, own * 0.8),
        arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0},
    )
    ax.text((first * last) ** 0.5, own * 0.76, apart, ha="center", va="top", fontsize=10)
    return ax


def forest_of_rates(
    ax: Axes,
    rates: Mapping[str, tuple[float, float, float]],
    *,
    n_points: Sequence[int],
    lines: Mapping[str, float],
    pooled: tuple[float, float, float],
    shown: tuple[float, float, float],
) -> Axes:
    """A row a trend: its rate of fall, hollow and as large as it has points, with its interval (low, point, high)
    [times cheaper a year, log]; vertical lines at stated rates, a band for that of all trends together. Intervals that
    leave `shown` end in arrows."""
    low_end, _, high_end = shown
    low, point, high = pooled
    ax.axvspan(low, high, color=MONEY, alpha=0.14, linewidth=0, zorder=0)
    ax.axvline(point, color=MONEY, linewidth=1.6, zorder=1)
    ax.annotate(f"together: {point:.0f} x", (1.6 * high, len(rates) - 0.2), va="top", color=MONEY, fontsize=9)
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
    ax.set_yticks(range(len(rates)), labels=list(rates), fontsize=8)
    return finished(
        ax,
        no_grid="y",
        xlabel="times cheaper after a year, 90% interval",
        xscale="log",
        xlim=(low_end, high_end),
        ylim=(len(rates) + 0.9, -1.8),
    )


def invoice_steps(ax: Axes, steps: Sequence[tuple[str, float]], offers: Mapping[str, float]) -> Axes:
    """An invoice [USD a month] falls lever by lever; dashed: what others ask for the same requests."""
    for i, (_, usd) in enumerate(steps):
        before = steps[max(0, i - 1)][1]
        ax.bar([i], [usd / 1e3], width=0.7, color=MONEY)
        ax.bar([i], [(before - usd) / 1e3], bottom=[usd / 1e3], width=0.7, color=MONEY, alpha=0.25)
        ax.annotate(f"{usd / 1e3:,.0f}", (i, before / 1e3), (0, 3), textcoords="offset points", ha="center")
    top, last = max(usd for _, usd in steps), None
    right = len(steps) - 0.45
    for name, usd in sorted(offers.items(), key=lambda offer: offer[1]):
        if usd > 1.6 * top:
            continue
        ax.axhline(usd / 1e3, color=INK, linewidth=0.9, linestyle="--", zorder=0)
        apart = last is None or usd - last > 0.05 * top
        if apart:
            ax.annotate(name, (right, usd / 1e3), (0, 2), textcoords="offset points", ha="left", fontsize=9)
            last = usd
    ax.set_xticks(range(len(steps)), labels=[name.replace(" ", "\n", 1) for name, _ in steps], fontsize=9)
    return finished(ax, no_grid="x", ylabel="invoice [thousand USD a month]", xlim=(-0.6, right + 1.2))


def tornado_bars(ax: Axes, swings: Mapping[str, tuple[float, float]], *, today: float) -> Axes:
    """What an invoice [USD a month] becomes where one input is lower or higher, the widest on top."""
    for i, (low, high) in enumerate(swings.values()):
        shown = min(high, 4 * today)
        ax.barh([i], [(shown - low) / 1e3], left=[low / 1e3], height=0.6, color=MONEY)
        for usd, side in ((low, "right"), (high, "left")):
            said = f"{usd / 1e3:,.0f}" if usd < 4 * today else "not served"
            at = min(usd, shown) / 1e3
            ax.annotate(
                said, (at, i), (-4 if side == "right" else 4, 0), textcoords="offset points", ha=side, va="center"
            )
    ax.axvline(today / 1e3, color=INK, linewidth=1)
    ax.set_yticks(range(len(swings)), labels=list(swings))
    ax.invert_yaxis()
    reach = [min(usd, 4 * today) / 1e3 for ends in swings.values() for usd in ends]
    room = 0.15 * (max(reach) - min(reach))
    limits = (min(reach) - room, max(reach) + room)
    return finished(ax, no_grid="y", xlabel="invoice [thousand USD a month]", xlim=limits)


def spent_by_month(
    ax: Axes,
    ways: Mapping[str, Sequence[float]],
    *,
    band: tuple[Sequence[float], Sequence[float]],
    most_usd: float,
    title: str,
    ylabel: str = "",
) -> Axes:
    """What a term has cost after each month [USD], a line a way: committed, by the token, decided late. `band`: the
    ends of what it costs by the token."""
    months = range(len(band[0]))
    ax.fill_between(months, *band, color=MONEY, alpha=0.15, linewidth=0, zorder=0)
    for (way, spent), color, style in zip(ways.items(), (INK, MONEY, IDLE), ("-", "-", "--"), strict=True):
        ax.plot(months, spent, color=color, linestyle=style, label=way)
    ax.yaxis.set_major_formatter(lambda usd, _: f"{usd / 1e3:g}k")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 3, 6, 10]))
    ax.set_title(title, fontsize=10)
    return finished(ax, xlabel="months", ylabel=ylabel, xlim=(0, len(band[0]) - 1), ylim=(0, most_usd))
