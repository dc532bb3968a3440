"""Figures of guessing ahead: what it gains by load, what a pass over drafts costs, and how many drafts hold."""

from collections.abc import Mapping
from itertools import cycle

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, Curve, finished, only_ticks

_MARKS = "osD^v"


def gain_by_users(ax: Axes, modelled: Mapping[str, Curve], *, published: Mapping[str, Curve], claimed: Curve) -> Axes:
    """Speed-up over sequences at once [log]: a line for each modelled deployment, hollow marks for published runs, a
    band for what is claimed, and a line where it turns into a loss."""
    ax.fill_between(*claimed[:1], claimed[1][0], claimed[1][1], color=IDLE, alpha=0.18, linewidth=0)
    ax.axhline(1, color=INK, linewidth=1)
    ax.text(claimed[0][0], 0.96, "slower than without", fontsize=10, va="top", color=INK)
    for (name, (x, y)), color in zip(modelled.items(), (BYTES, FLOPS, KV), strict=False):
        ax.semilogx(x, y, "-", color=color, label=name)
    for (name, (x, y)), mark in zip(published.items(), cycle(_MARKS), strict=False):
        ax.semilogx(x, y, f"{mark}:", color=INK, markerfacecolor="none", markersize=7, linewidth=0.8, label=name)
    only_ticks(ax.xaxis, [1, 4, 16, 64, 256])
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=2, fontsize=10)
    return finished(ax, xlabel="sequences at once", ylabel="tokens/s with drafts over without", ylim=(0.4, 2.95))


def staircase(ax: Axes, measured: Mapping[str, Curve], *, published: Mapping[str, Curve]) -> Axes:
    """Time of a pass over that of a pass of one token, by its tokens [log-log]: filled marks here, hollow published."""
    for (name, (x, y)), mark, color in zip(measured.items(), _MARKS, (BYTES, FLOPS, KV), strict=False):
        ax.loglog(x, y, f"{mark}-", color=color, markersize=5, linewidth=1, label=name)
    for name, (x, y) in published.items():
        ax.loglog(x, y, "o-", color=INK, markerfacecolor="none", markersize=5, linewidth=0.8, label=name)
    only_ticks(ax.xaxis, [1, 4, 16, 64, 256, 1024, 4096, 16384])
    only_ticks(ax.yaxis, [1, 2, 5, 10, 20, 50])
    return finished(
        ax, legend="upper left", xlabel="tokens in the pass", ylabel="time over a pass of one token", ylim=(0.8, 60)
    )


def tokens_by_drafts(ax: Axes, published: Mapping[str, Curve], *, formula: Mapping[str, Curve]) -> Axes:
    """Tokens of a pass over its drafts: hollow marks as published, and in the same colour the line of the formula."""
    for (name, (x, y)), mark, color in zip(published.items(), _MARKS, (BYTES, FLOPS, KV, INK), strict=False):
        ax.plot(*formula[name], "-", color=color, linewidth=1.5)
        ax.plot(x, y, mark, color=color, markerfacecolor="none", markersize=8, label=name)
    return finished(ax, legend="upper left", xlabel="drafts of a pass", ylabel="tokens of a pass", ylim=(1, None))
