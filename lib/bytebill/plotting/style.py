"""What every figure shares: fonts, grounds, and a palette whose colours mean the same everywhere."""

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats

BYTES, FLOPS, KV, WEIGHTS = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
IDLE, MONEY = "#8C8C8C", "#7B4EA3"
INK = "#333333"
WIDE = 8.4
Curve = tuple[Sequence[float], Sequence[float]]  # x, y


def use_book_style() -> None:
    """Set matplotlib up for the book: call it once, in a chapter's first cell."""
    set_matplotlib_formats("svg", metadata={"Date": None})
    mpl.rcParams.update(
        {
            "svg.hashsalt": "bytebill",
            "figure.figsize": (7.2, 4.2),
            "figure.dpi": 110,
            "font.size": 11,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "axes.grid": True,
            "grid.color": "#00000018",
            "lines.linewidth": 2,
        }
    )


def figure(*, height: float | None = None, wide: bool = False) -> tuple[mpl.figure.Figure, Axes]:
    """An empty figure: as wide as a page's text, or wider for one with long names; its height in inches."""
    width, usual = mpl.rcParams["figure.figsize"]
    return plt.subplots(figsize=(WIDE if wide else width, height or usual), layout="constrained")


def finished(
    ax: Axes,
    *,
    legend: Literal["lower left", "lower right", "upper left", "upper right"] | None = None,
    no_grid: Literal["x", "y", "both"] | None = None,
    **said: Any,
) -> Axes:
    """What a figure says in the end: labels and limits, where its legend is, and along which axis it needs no grid."""
    ax.set(**said)
    if legend:
        ax.legend(loc=legend)
    if no_grid:
        ax.grid(False, axis=no_grid)
    return ax


def only_ticks(axis: Axis, ticks: Sequence[float], form: str = "{:g}") -> None:
    """These ticks and no others on an axis, written in plain numbers."""
    axis.set_ticks(ticks, labels=[form.format(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def round_numbers(low: float, high: float) -> list[float]:
    """Ones, twos and fives between two ends.

    >>> round_numbers(0.9, 30)
    [1, 2, 5, 10, 20]
    """
    return [n for power in (0.1, 1, 10, 100, 1000) for n in (power, 2 * power, 5 * power) if low < n < high]


def hours_of_day(ax: Axes, n_hours: float, *, starts_at: int, first: float = 0) -> None:
    """Every fourth hour of a day on the x axis, as a clock shows it."""
    ticks = range(0, int(n_hours) + 1, 4)
    ax.set_xticks([first + tick for tick in ticks], [f"{(starts_at + tick) % 24:02d}:00" for tick in ticks])
