"""Figures of faster devices: what a deployment gains from more of one thing, how wrong a ratio of datasheets is, and
what a rung costs."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, INK, MONEY, Curve, finished, only_ticks


def gains_over_share(
    ax: Axes,
    curve: Curve,
    *,
    more_bytes: Curve,
    more_flops: Curve,
    named: Mapping[str, tuple[float, float]],
    most: float,
) -> Axes:
    """Times as many tokens a second over the share of a step that reads memory: the predicted line, deployments with
    more bandwidth and with more arithmetic as dots, some named, and as a line the factor that was added."""
    ax.plot(*curve, color=BYTES, linewidth=1.3)
    ax.plot(*more_bytes, "o", color=BYTES, markersize=5, alpha=0.8, label=f"{most:g} times the bandwidth")
    ax.plot(*more_flops, "o", color=FLOPS, markersize=5, alpha=0.8, label=f"{most:g} times the FLOP/s")
    ax.axhline(most, color=INK, linewidth=0.8, linestyle="--")
    ax.text(0.99, most, f"claimed: {most:g} times", ha="right", va="bottom")
    for name, (x, y) in named.items():
        offset, side = ((-10, 6), "right") if x > 0.7 else ((8, -13), "left") if x > 0.3 else ((6, 9), "right")
        ax.annotate(name, (x, y), offset, textcoords="offset points", ha=side, fontsize=9)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0.88))
    return finished(
        ax,
        xlabel="share of the decode step that reads memory [fraction]",
        ylabel="decode tokens a second, over today's",
        xlim=(0, 1),
        ylim=(0.95, 1.06 * most),
    )


def error_by_tokens(ax: Axes, by_bandwidth: Curve, by_flops: Curve) -> Axes:
    """Typical factor of error of scaling a published time by the ratio of two bandwidths, or of two peaks, over the
    tokens in a step."""
    for (x, y), color, name in ((by_bandwidth, BYTES, "scaled by bandwidth"), (by_flops, FLOPS, "scaled by TFLOPS")):
        ax.plot(x, y, "o-", color=color, markerfacecolor="none", markersize=7, linewidth=1.3, label=name)
    ax.set_xscale("log")
    only_ticks(ax.xaxis, by_bandwidth[0])
    return finished(
        ax, legend="upper right", xlabel="tokens in a step", ylabel="typical factor of error", ylim=(1, None)
    )


def costs_by_rung(ax: Axes, *, decoded: Mapping[str, Sequence[float]], answered: Mapping[str, Sequence[float]]) -> Axes:
    """USD per million tokens of each rung, a row each from the top, by several lists of rents: the first filled, the
    others hollow."""
    for costs, color, mark, name in ((decoded, BYTES, "o", "decoded"), (answered, MONEY, "s", "answered")):
        for y, listed in enumerate(costs.values()):
            if not listed:
                continue
            ax.plot([min(listed), max(listed)], [y, y], color=color, linewidth=1, alpha=0.5)
            ax.plot(listed[1:], [y] * len(listed[1:]), mark, color=color, markerfacecolor="white", markersize=6)
            ax.plot(listed[:1], [y], mark, color=color, markersize=7, label=None if y else name)
    ax.set_yticks(range(len(decoded)), list(decoded))
    ax.invert_yaxis()
    return finished(ax, legend="lower right", xlabel="a million tokens [USD]", xlim=(0, None))
