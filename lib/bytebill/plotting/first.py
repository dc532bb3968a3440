"""How does a chapter's main figure stand at its top, when the numbers come further down?"""

from typing import Any

_PLACE = "main-figure"


def main_figure(figure: Any = None) -> None:
    """Open the place of the main figure; called again with the figure, draw it there."""
    from IPython.display import HTML, display, update_display
    from matplotlib import pyplot

    if figure is None:
        display(HTML("<p><em>The figure is drawn below.</em></p>"), display_id=_PLACE)
        return
    update_display(figure, display_id=_PLACE)
    pyplot.close(figure)
