"""How is a wide figure read on a phone? It fits the screen, and a link below it opens it whole.

The link is to the drawing's file, so it needs no script; with one, `narrow.js` shows the drawing on the page. A drawing
that was made for a phone's width has none.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sphinx.application import Sphinx

PHONE_PX = 375
LINK = '<a class="bb-open-figure" href="{path}">\N{NORTH EAST DOUBLE ARROW} Open the figure whole</a>\n'
_FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
_DRAWING = re.compile(r'<img class="bb-by-day[^>]*? src="(?P<path>[^"]+\.svg)"')
_END = re.compile(r"<figcaption|</figure>")
_WIDTH = re.compile(r'<svg\b[^>]*?\bviewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+(?P<width>[\d.]+)')


def openable(page: str, *, width_of: Callable[[str], float]) -> str:
    """A page whose wide figures have their link; `width_of` knows the width of a drawing's file.

    >>> figure = '<figure id="f">\\n<img class="bb-by-day" src="a.svg"/>\\n<figcaption>It rises.</figcaption></figure>'
    >>> openable(figure, width_of=lambda path: 360) == figure
    True
    >>> print(openable(figure, width_of=lambda path: 613))
    <figure id="f">
    <img class="bb-by-day" src="a.svg"/>
    <a class="bb-open-figure" href="a.svg">⇗ Open the figure whole</a>
    <figcaption>It rises.</figcaption></figure>
    """

    def add(found: re.Match[str]) -> str:
        drawing = _DRAWING.search(found.group())
        if not drawing or width_of(drawing["path"]) <= PHONE_PX:
            return found.group()
        return _END.sub(lambda end: LINK.format(path=drawing["path"]) + end.group(), found.group(), count=1)

    return _FIGURE.sub(add, page)


def width(drawing: str) -> float:
    """How wide an SVG draws itself, in its own units; 0 if it does not say.

    >>> width('<svg height="9" viewBox="0 0 613.2 267"><path/></svg>'), width("<svg/>")
    (613.2, 0.0)
    """
    found = _WIDTH.search(drawing)
    return float(found["width"]) if found else 0.0


def link_figures(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite what was built."""
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        better = openable(page, width_of=partial(_width_beside, path))
        if better != page:
            path.write_text(better, encoding="utf-8")


def _width_beside(page: Path, name: str) -> float:
    return width((page.parent / name).read_text(encoding="utf-8"))
