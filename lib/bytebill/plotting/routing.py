"""Figures of routers: what a coin saves and what choice adds, cuts by price gap, a cascade between coin and oracle."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bytebill.plotting.style import IDLE, INK, KV, MONEY, Curve, finished, only_ticks


def calls_saved(
    ax: Axes,
    saved: Mapping[str, tuple[float, float, float]],
    *,
    stated: Mapping[str, float],
    oracle: Mapping[str, float],
) -> Axes:
    """A bar a benchmark: grey what a coin saves with its interval (low, coin, high), violet up to what a router was
    `stated` to save, a hollow mark; a line where an oracle would end. All in shares of the calls."""
    names = list(saved)
    for y, name in enumerate(reversed(names)):
        low, coin, high = saved[name]
        ax.barh(y, coin, color=IDLE, height=0.55, label="" if y else "at random")
        ax.barh(y, stated[name] - coin, left=coin, color=MONEY, height=0.55, label="" if y else "the router's choice")
        ax.plot([low, high], [y, y], color=INK, linewidth=1.2)
        ax.plot([oracle[name]] * 2, [y - 0.4, y + 0.4], color=KV, linewidth=2, label="" if y else "with hindsight")
        ax.plot([stated[name]], [y], "D", color=INK, fillstyle="none", markersize=8, label="" if y else "published cut")
        ax.annotate(f"{coin:.0%}", (coin / 2, y + 0.12), ha="center", va="center", color="white", weight="bold")
        middle = (coin + stated[name]) / 2
        ax.annotate(f"+{stated[name] - coin:.0%}", (middle, y + 0.12), ha="center", va="center", color="white")
    ax.set_yticks(range(len(names)), labels=names[::-1])
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=4, fontsize=9, handletextpad=0.4)
    return finished(ax, no_grid="y", xlabel="calls to the strong model saved, at 95% of its score", xlim=(0, 1))


def cut_by_price_gap(
    ax: Axes, ratios: Sequence[float], cuts: Mapping[str, Sequence[float]], *, pairs: Mapping[str, float]
) -> Axes:
    """What is left of a cut as the cheap model's price nears the dear one's: a line a share of calls, its name at the
    left end, and a dotted line for each pair of today's models."""
    for name, values in cuts.items():
        ax.plot(ratios, values, color=MONEY)
        ax.annotate(name, (ratios[0], values[0]), (4, 5), textcoords="offset points", fontsize=9)
    for name, ratio in pairs.items():
        ax.axvline(ratio, color=INK, linewidth=1, linestyle=":")
        place = ax.get_xaxis_transform()
        ax.text(ratio, 0.99, f"{name} ", rotation=90, ha="right", va="top", fontsize=8, transform=place)
    finished(ax, xlabel="price of the cheap model over that of the dear one", ylabel="bill cut", ylim=(0, 1.5))
    ax.set_xscale("log")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])  # the names of the pairs stand above
    only_ticks(ax.xaxis, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1))
    return ax


def cascade_curve(
    ax: Axes,
    cascade: Curve,
    *,
    band: tuple[Sequence[float], Sequence[float]],
    coin: Curve,
    oracle: Curve,
    chosen: Mapping[str, tuple[float, float]],
) -> Axes:
    """Accuracy against the bill over the dear model's: a cascade by threshold with its band, a coin's line, an
    oracle's; filled marks for what was `chosen` on other text."""
    x, y = cascade
    ax.fill_between(x, *band, color=MONEY, alpha=0.2, linewidth=0)
    ax.plot(x, y, color=MONEY)
    ax.plot(*coin, color=IDLE)
    ax.plot(*oracle, color=KV, linestyle="--")
    labels = (
        ("cascade", (x[len(x) // 3], y[len(x) // 3]), MONEY, (-8, 8), "right"),
        ("a random mix", (sum(coin[0]) / 2, sum(coin[1]) / 2), IDLE, (8, -14), "left"),
        ("with hindsight", (oracle[0][1], oracle[1][1]), KV, (12, -16), "left"),
    )
    for name, point, colour, offset, side in labels:
        ax.annotate(name, point, offset, textcoords="offset points", color=colour, ha=side)
    for name, point in chosen.items():
        ax.plot(*point, "o", color=INK, markersize=7)
        ax.annotate(name, point, (-8, 8), textcoords="offset points", fontsize=9, ha="right")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return finished(
        ax,
        xlabel="bill, over that of the dear model for everything",
        ylabel="next tokens guessed right",
        xlim=(0, None),
    )
