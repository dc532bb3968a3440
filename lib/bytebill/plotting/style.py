"""What every figure shares: fonts, grounds, and a palette whose colours mean the same everywhere."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib_inline.backend_inline import set_matplotlib_formats

BYTES, FLOPS, KV, WEIGHTS = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
IDLE, MONEY = "#8C8C8C", "#7B4EA3"
INK = "#333333"
WIDE = 8.4


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
