"""How does a figure of this book look? One style, one palette with fixed meanings, and the figures' shapes.

Colours mean the same everywhere (style sheet and calculator use the same ones); predictions are lines,
measurements filled marks, published figures hollow marks. Every function takes and returns `ax`, and computes
nothing: numbers come in as they are to be drawn. Figures are SVG on a transparent ground, byte for byte the
same from the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib_inline.backend_inline import set_matplotlib_formats

BYTES, FLOPS, KV, WEIGHTS = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
IDLE, MONEY = "#8C8C8C", "#7B4EA3"
INK = "#333333"


def use_book_style() -> None:
    """Set matplotlib up for the book: call it once, in a chapter's first cell."""
    set_matplotlib_formats("svg", metadata={"Date": None})
    mpl.rcParams.update({
        "svg.hashsalt": "bytebill", "figure.figsize": (7.2, 4.2), "figure.dpi": 110, "font.size": 11,
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "axes.labelcolor": INK,
        "text.color": INK, "xtick.color": INK, "ytick.color": INK, "legend.frameon": False,
        "axes.grid": True, "grid.color": "#00000018", "lines.linewidth": 2,
    })  # fmt: skip


def line_of_bytes(
    ax: Axes, *, bytes_read: Sequence[float], step_s: Sequence[float],
    read_s: Sequence[float], line_bytes: Sequence[float], line_s: Sequence[float],
) -> Axes:  # fmt: skip
    """Measured time per token against the bytes it reads [GB, ms], the line predicted from the read bandwidth,
    and the reads beside the steps."""
    sizes = [size / 1e9 for size in bytes_read]
    line = [seconds * 1e3 for seconds in line_s]
    ax.plot([size / 1e9 for size in line_bytes], line, color=BYTES, zorder=1, label="predicted: bytes / bandwidth")
    ax.plot(sizes, [seconds * 1e3 for seconds in read_s], "_", color=IDLE, markersize=12, label="reading alone")
    ax.plot(sizes, [seconds * 1e3 for seconds in step_s], "o", color=BYTES, markersize=7, label="decode, bare stack")
    ax.set(xlabel="weights read for one token [GB]", ylabel="time for one token [ms]")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
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
    ax: Axes, points: Mapping[str, tuple[float, float]], *, color: str = BYTES, measured: bool = True,
    side: str = "right",
) -> Axes:  # fmt: skip
    """Points with their names to the right or above: filled where measured, hollow where published."""
    offset, align = ((8, -4), "left") if side == "right" else ((0, 8), "center")
    for name, (x, y) in points.items():
        ax.plot([x], [y], "o", color=color, markerfacecolor=color if measured else "none", markersize=7)
        ax.annotate(name, (x, y), offset, textcoords="offset points", ha=align, color=color)
    return ax


def users_by_context(
    ax: Axes, *, lengths: Sequence[int], users: Mapping[str, Sequence[int]], critical: float,
    names: Mapping[str, str],
) -> Axes:  # fmt: skip
    """Users that fit against their context, log-log, a line per deployment, with the critical batch."""
    styles = dict(zip(users, ("-", "--", "-.", ":"), strict=False))
    for id, fit in users.items():
        shown = [(length, n) for length, n in zip(lengths, fit, strict=True) if n]
        ax.loglog(*zip(*shown, strict=True), styles[id], color=KV, label=names[id])
    ax.axhline(critical, color=FLOPS, linestyle="--", linewidth=1.2)
    ax.annotate(
        f"critical batch, {critical:.0f}", (lengths[-1], critical), (0, 5), textcoords="offset points",
        ha="right", color=FLOPS,
    )  # fmt: skip
    ax.set(xlabel="context of each user [tokens]", ylabel="users that fit at once")
    ax.set_ylim(bottom=1)
    ax.legend(loc="lower left")
    return ax


def crossover(
    ax: Axes, curves: Mapping[str, tuple[Sequence[int], Sequence[float]]], *,
    free: Mapping[str, float], ceilings: Mapping[str, float], knees: Mapping[str, float],
) -> Axes:  # fmt: skip
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


def figure() -> tuple[mpl.figure.Figure, Axes]:
    """An empty figure of the book's size."""
    return plt.subplots(layout="constrained")
