"""Figures of the second wall: attention under a roof, and throughput that bends over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from bytebill.plotting.style import BYTES, FLOPS, INK, KV, MONEY, only_ticks, round_numbers

COLORS = (KV, BYTES, MONEY, FLOPS)
Curve = tuple[Sequence[float], Sequence[float]]  # x, y


def attention_roof(ax: Axes, points: Mapping[str, Curve], *, roofs: Mapping[str, Curve]) -> Axes:
    """Arithmetic reached [FLOP/s] over arithmetic intensity [FLOP/byte], log-log: a cloud of batches for each kind of
    attention, under the roofs they were predicted to reach."""
    for (name, (x, y)), style in zip(roofs.items(), ("-", "--"), strict=False):
        ax.loglog(x, [each / 1e9 for each in y], style, color=INK, linewidth=1.2, label=name)
    for (name, (x, y)), color, mark in zip(points.items(), COLORS, "osD^", strict=False):
        ax.loglog(x, [each / 1e9 for each in y], mark, color=color, markersize=7, alpha=0.75, label=name)
    only_ticks(ax.xaxis, [1, 2, 4, 8, 16, 32, 64, 128, 256])
    only_ticks(ax.yaxis, round_numbers(*ax.get_ylim()), "{:,}")
    ax.set(xlabel="FLOPs for each byte of cache", ylabel="attention reaches [GFLOP/s]")
    ax.legend(loc="lower right")
    return ax


def bending_over(ax: Axes, measured: Mapping[str, Curve], *, predicted: Mapping[str, Curve]) -> Axes:
    """Tokens a second over batch, log-log: predictions as lines, measurements as marks of the same colour."""
    for (name, (x, y)), color, mark in zip(measured.items(), COLORS, "osD^", strict=False):
        ax.loglog(*predicted[name], color=color, linewidth=1.5)
        ax.loglog(x, y, mark, color=color, markersize=7, label=name)
    only_ticks(ax.xaxis, sorted({tick for x, _ in measured.values() for tick in x}))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="sequences in the batch", ylabel="tokens a second")
    ax.legend(loc="upper left")
    return ax
