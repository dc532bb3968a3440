"""Figures of the three-way frontier: price over gap between tokens, first tokens as shades; goodput by load."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, IDLE, INK, KV, MONEY, Curve, finished, only_ticks, round_numbers

_SHADES = (BYTES, MONEY, IDLE)  # first token: early, late, too late
Settings = Sequence[tuple[float, float, float]]  # gap [s], price [USD], first token [s]


def three_way(
    ax: Axes, settings: Settings, *, best: Settings, late_s: Sequence[float], lines: Mapping[str, float], title: str
) -> Axes:
    """Price against the P99 gap between tokens, a dot a setting, shaded by its P99 TTFT; rings around `best`.

    `late_s` are the two times between the three shades; `lines` names limits on the gap [s].
    """
    names = (f"first token within {late_s[0]:g} s", f"within {late_s[1]:g} s", "later")
    for shade, (name, color) in enumerate(zip(names, _SHADES, strict=True)):
        here = [(gap, usd) for gap, usd, first in settings if sum(first > s for s in late_s) == shade]
        if here:
            x, y = zip(*here, strict=True)
            ax.loglog([1e3 * gap for gap in x], y, ".", color=color, markersize=7, alpha=0.75, label=name)
    ax.plot(
        [1e3 * gap for gap, _, _ in best],
        [usd for _, usd, _ in best],
        "o",
        color=INK,
        markerfacecolor="none",
        markersize=11,
        label="no other is better in all three",
    )
    for name, gap in lines.items():
        ax.axvline(1e3 * gap, color=KV, linestyle="--", linewidth=1.2)
        ax.text(
            1e3 * gap * 1.03,
            0.98,
            name,
            color=KV,
            rotation=90,
            va="top",
            fontsize=9,
            transform=ax.get_xaxis_transform(),
        )
    gaps, prices = [1e3 * gap for gap, _, _ in settings], [usd for _, usd, _ in settings]
    only_ticks(ax.xaxis, round_numbers(min(gaps) / 1.1, max(gaps) * 1.1))
    only_ticks(ax.yaxis, round_numbers(min(prices) / 1.1, max(prices) * 1.1))
    ax.set_title(title, loc="left", fontsize=11)
    return finished(ax, xlabel="P99 time between tokens [ms]", ylabel="a million output tokens [USD]")


def throughput_and_goodput(
    ax: Axes, loads: Sequence[float], throughput: Sequence[float], goodput: Mapping[str, Sequence[float]], limit: Curve
) -> Axes:
    """Output tokens a second against arrivals: all of them, those in time by several definitions; the limit's range."""
    ax.plot(loads, throughput, "-", color=INK)
    ax.text(loads[-1], throughput[-1] * 1.03, "throughput", color=INK, ha="right", va="bottom")
    for (name, values), mark, color in zip(goodput.items(), ("o-", "s--", "^:"), (KV, MONEY, BYTES), strict=False):
        ax.plot(loads, values, mark, color=color, markersize=5, label=name)
    (low, high), (words, *_) = limit
    ax.axvspan(low, high, color=IDLE, alpha=0.35, linewidth=0)
    ax.text(high, 0.03 * max(throughput), f" {words}", color=INK, va="bottom")
    return finished(
        ax,
        legend="upper left",
        xlabel="arrivals [requests/s]",
        ylabel="output tokens/s",
        ylim=(0, 1.25 * max(throughput)),
    )
