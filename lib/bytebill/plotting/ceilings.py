"""Figures of a step and its two ceilings: bytes against time, the roof with its ridge, the knee of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, WEIGHTS


def line_of_bytes(
    ax: Axes,
    *,
    bytes_read: Sequence[float],
    step_s: Sequence[float],
    read_s: Sequence[float],
    line_bytes: Sequence[float],
    line_s: Sequence[float],
) -> Axes:
    """Measured time per token against the bytes it reads [GB, ms], the line predicted from the read bandwidth,
    and the reads beside the steps."""
    sizes = [size / 1e9 for size in bytes_read]
    line = [seconds * 1e3 for seconds in line_s]
    ax.plot([size / 1e9 for size in line_bytes], line, color=BYTES, zorder=1, label="predicted: bytes / bandwidth")
    ax.plot(sizes, [seconds * 1e3 for seconds in read_s], "_", color=IDLE, markersize=12, label="reading alone")
    ax.plot(sizes, [seconds * 1e3 for seconds in step_s], "o", color=BYTES, markersize=7, label="decode, bare stack")
    ax.set(xlabel="weights read for one token [GB]", ylabel="time for one token [ms]", xlim=(0, None), ylim=(0, None))
    ax.legend(loc="lower right")
    return ax


def roof(ax: Axes, *, intensities: Sequence[float], peak: float, bandwidth: float, label: str) -> Axes:
    """Both roofs of a device, log-log, its ridge point marked [FLOP/byte, GFLOP/s]."""
    ridge = peak / bandwidth
    ax.loglog(intensities, [i * bandwidth / 1e9 for i in intensities], "--", color=BYTES, linewidth=1, alpha=0.6)
    ax.axhline(peak / 1e9, color=FLOPS, linestyle="--", linewidth=1, alpha=0.6)
    ax.loglog(intensities, [min(i * bandwidth, peak) / 1e9 for i in intensities], color=INK)
    ax.plot([ridge], [peak / 1e9], "D", color=INK, markersize=6)
    name = f"ridge point, {ridge:.3g} FLOP/byte"
    ax.annotate(name, (ridge, peak / 1e9), (-8, 6), textcoords="offset points", ha="right")
    ax.set(xlabel="arithmetic intensity [FLOP/byte]", ylabel="attainable [GFLOP/s]", title="")
    ax.text(0.99, 0.03, label, transform=ax.transAxes, ha="right", color=IDLE)
    ax.set_ylim(top=peak / 1e9 * 2.5)
    return ax


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
    """Throughput against batch, log-log [tokens/s]: a curve per name, dashed what one more sequence for nothing would
    give (`free`, tokens/s at batch 1) and the ceiling of the arithmetic; where the two meet, the predicted knee."""
    for (name, (batches, rates)), color in zip(curves.items(), (BYTES, WEIGHTS, IDLE), strict=False):
        end = max(batches)
        ax.loglog(batches, rates, "o", color=color, markersize=7, label=name)
        ax.plot([1, end], [free[name], free[name] * end], "--", color=color, linewidth=1, alpha=0.6)
        ax.axhline(ceilings[name], color=color, linestyle="--", linewidth=1, alpha=0.6)
        ax.plot([knees[name]], [ceilings[name]], "D", color=color, markersize=6)
        mark = f"predicted knee, {knees[name]:.2g}"
        ax.annotate(mark, (knees[name], ceilings[name]), (0, 7), textcoords="offset points", ha="right", color=color)
    top = max(ceilings.values())
    ax.set(xlabel="batch [sequences]", ylabel="throughput [tokens/s]", ylim=(min(free.values()) / 2, top * 2.5))
    ax.legend(loc="lower right")
    return ax
