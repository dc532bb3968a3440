"""Figures of the two ceilings: the roof with its ridge, what lies under it, the knee of a batch."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import (
    BYTES,
    FLOPS,
    IDLE,
    INK,
    KV,
    MONEY,
    WEIGHTS,
    Curve,
    finished,
    only_ticks,
    round_numbers,
)


def roof(ax: Axes, *, intensities: Sequence[float], peak: float, bandwidth: float, label: str) -> Axes:
    """Both roofs of a device, log-log, its ridge point marked [FLOP/byte, GFLOP/s]."""
    ridge = peak / bandwidth
    ax.loglog(intensities, [i * bandwidth / 1e9 for i in intensities], "--", color=BYTES, linewidth=1, alpha=0.6)
    ax.axhline(peak / 1e9, color=FLOPS, linestyle="--", linewidth=1, alpha=0.6)
    ax.loglog(intensities, [min(i * bandwidth, peak) / 1e9 for i in intensities], color=INK)
    ax.plot([ridge], [peak / 1e9], "D", color=INK, markersize=6)
    ax.annotate(
        f"ridge point, {ridge:.3g} FLOP/byte", (ridge, peak / 1e9), (-8, 6), textcoords="offset points", ha="right"
    )
    ax.text(0.99, 0.03, label, transform=ax.transAxes, ha="right", color=IDLE)
    return finished(
        ax, xlabel="arithmetic intensity [FLOP/byte]", ylabel="attainable [GFLOP/s]", ylim=(None, peak / 1e9 * 2.5)
    )


def named_points(
    ax: Axes,
    points: Mapping[str, tuple[float, float]],
    *,
    color: str = BYTES,
    measured: bool = True,
    side: str = "right",
) -> Axes:
    """Points with their names to the right or above: filled where measured, hollow where published."""
    offset, align = ((8, -4), "left") if side == "right" else ((0, 8), "center")
    for name, (x, y) in points.items():
        ax.plot([x], [y], "o", color=color, markerfacecolor=color if measured else "none", markersize=7)
        ax.annotate(name, (x, y), offset, textcoords="offset points", ha=align, color=color)
    return ax


def crossover(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    *,
    free: Mapping[str, float],
    ceilings: Mapping[str, float],
    knees: Mapping[str, float],
) -> Axes:
    """Throughput against batch, log-log [tokens/s]: a curve per name, dashed what one more sequence at no extra cost
    would give (`free`, tokens/s at batch 1) and the ceiling of the arithmetic; where the two meet, the predicted knee."""
    for (name, (batches, rates)), color in zip(curves.items(), (BYTES, WEIGHTS, IDLE), strict=False):
        end = max(batches)
        ax.loglog(batches, rates, "o", color=color, markersize=7, label=name)
        ax.plot([1, end], [free[name], free[name] * end], "--", color=color, linewidth=1, alpha=0.6)
        ax.axhline(ceilings[name], color=color, linestyle="--", linewidth=1, alpha=0.6)
        ax.plot([knees[name]], [ceilings[name]], "D", color=color, markersize=6)
        ax.annotate(
            f"predicted knee, {knees[name]:.2g}",
            (knees[name], ceilings[name]),
            (0, 7),
            textcoords="offset points",
            ha="right",
            color=color,
        )
    return finished(
        ax,
        legend="lower right",
        xlabel="batch [sequences]",
        ylabel="throughput [tokens/s]",
        ylim=(min(free.values()) / 2, 2.5 * max(ceilings.values())),
    )


def attention_roof(ax: Axes, points: Mapping[str, Curve], *, roofs: Mapping[str, Curve]) -> Axes:
    """Arithmetic reached [FLOP/s] over arithmetic intensity [FLOP/byte], log-log: a cloud of batches for each kind of
    attention, under the roofs they were predicted to reach."""
    for (name, (x, y)), style in zip(roofs.items(), ("-", "--"), strict=False):
        ax.loglog(x, [each / 1e9 for each in y], style, color=INK, linewidth=1.2, label=name)
    for (name, (x, y)), color, mark in zip(points.items(), (KV, BYTES, MONEY, FLOPS), "osD^", strict=False):
        ax.loglog(x, [each / 1e9 for each in y], mark, color=color, markersize=7, alpha=0.75, label=name)
    only_ticks(ax.xaxis, [1, 2, 4, 8, 16, 32, 64, 128, 256])
    only_ticks(ax.yaxis, round_numbers(*ax.get_ylim()), "{:,}")
    return finished(
        ax, legend="lower right", xlabel="FLOPs for each byte of cache", ylabel="attention reaches [GFLOP/s]"
    )
