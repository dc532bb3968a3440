"""How does the main figure come first, though it is drawn last? A place for it, opened at the top and filled below.

The cell that opens the place has the caption; the figure is stored there, as SVG like every other.
"""

import secrets
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

_PLACE = f"main-figure-{secrets.token_hex(4)}"
_opened = False
_GROUND = {"needs_background": "light"}  # what matplotlib's own display says of dark ink on a transparent ground


def main_figure(fig: Figure | None = None) -> None:
    """Without a figure: open its place here. With one: put it there (or here, where no place was opened), and close it.

    Outside of IPython nothing is shown.
    """
    global _opened
    if _in_ipython():
        from IPython.display import display, update_display

        if fig is None:
            text: dict[str, Any] = {"text/plain": "The figure is drawn below."}
            display(text, raw=True, display_id=_PLACE)
            _opened = True
        elif _opened:
            update_display(fig, display_id=_PLACE, metadata=_GROUND)
        else:
            display(fig, metadata=_GROUND)
    if fig is not None:
        plt.close(fig)


def _in_ipython() -> bool:
    from IPython import get_ipython

    return get_ipython() is not None
