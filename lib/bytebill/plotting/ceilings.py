"""Figures of the two ceilings: the roof with its ridge, what lies under it, the knee of a batch."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, WEIGHTS, Curve, finished, only_ticks


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


def crossover(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    *,
    free: Mapping[str, float],
    ceilings: Mapping[str, float],
    knees: Mapping[str, float],
) -> Axes:
    """Throughput against batch, log-log [tokens/s]: a curve per name, dashed what one more sequence at no extra cost
    would give (`free`, tokens/s at batch 1) and the ceiling of arithmetic; where the two meet, the predicted knee."""
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


def attention_roof(ax: Axes, points: Mapping[str, Curve], *, measured: Curve, bandwidth: float, peak: float) -> Axes:
    """Arithmetic reached [FLOP/s] over FLOPs for each byte of cache, log-log: a column of hollow marks for each kind of
    attention, which grow with the batch from 1 to 256, under the two ceilings of a device by its datasheet. Filled:
    `measured`."""
    first, last = 0.5, 2 * peak / bandwidth
    ridge = peak / bandwidth
    ax.loglog([first, ridge], [first * bandwidth / 1e12, peak / 1e12], color=BYTES)
    ax.loglog([ridge, last], [peak / 1e12] * 2, color=FLOPS)
    ax.text(first * 1.1, first * bandwidth / 1e12 * 2.1, "bandwidth", color=BYTES, rotation=32, rotation_mode="anchor")
    ax.text(last, peak / 1e12 * 1.2, "peak", color=FLOPS, ha="right")
    for name, (x, y) in points.items():
        reached = [each / 1e12 for each in y]
        ax.plot(x, reached, color=KV, linewidth=1, alpha=0.5)
        for size, (intensity, each) in enumerate(zip(x, reached, strict=True), start=3):
            ax.plot([intensity], [each], "o", color=KV, markerfacecolor="none", markersize=1.5 * size)
        ax.annotate(name, (x[0], min(reached)), (0, -9), textcoords="offset points", ha="center", va="top", fontsize=10)
    largest = 2 + max(len(x) for x, _ in points.values())
    for size, batch in ((3, 1), (largest, 256)):
        label = f"published, batch {batch}"
        ax.plot([], [], "o", color=KV, markerfacecolor="none", markersize=1.5 * size, label=label)
    ax.plot(measured[0], [each / 1e12 for each in measured[1]], "D", color=KV, markersize=6, label="measured by us")
    only_ticks(ax.xaxis, [1, 2, 4, 8, 16, 32, 64, 128, 256])
    only_ticks(ax.yaxis, [0.1, 1, 10, 100, 1000], "{:,g}")
    lowest = min(min(y) for _, y in points.values()) / 1e12
    return finished(
        ax,
        legend="upper left",
        xlabel="FLOPs for each byte of cache",
        ylabel="attention reaches [TFLOP/s]",
        xlim=(first, last),
        ylim=(lowest / 6, 2.5 * peak / 1e12),
    )
