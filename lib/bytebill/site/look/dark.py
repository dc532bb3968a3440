"""How does a figure read in the dark? Each drawing gets a twin: the same lines, light ink, every colour lit up.

A colour must keep its meaning, so the picture cannot simply be inverted: light blue (weights) would turn into the
blue of bytes. The twins are written beside the originals, a page holds both, and the style sheet shows one.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from bytebill import plotting

_INK = "#d4d4d4"
# The style sheet has the same pairs as its variables for the dark.
TWINS = {
    "#000000": "#ffffff",
    plotting.INK: _INK,
    plotting.BYTES: "#58b0e8",
    plotting.FLOPS: "#f08a4b",
    plotting.KV: "#35c79c",
    plotting.WEIGHTS: "#8accf2",
    plotting.IDLE: "#a6a6a6",
    plotting.MONEY: "#b894dc",
}
_LIT = {light.lower(): dark for light, dark in TWINS.items()}
_COLOUR = re.compile("|".join(_LIT), re.IGNORECASE)
_GROUND = re.compile(r'<rect [^>]*fill="#f', re.IGNORECASE)
_DRAWING = re.compile(r'<img [^>]*?src="(?P<path>[^"]*_images/[^"]+)\.svg"[^>]*?>')


def lit(drawing: str) -> str:
    """An SVG's text with the colours of the dark; what names no colour is ink too. A board has a light ground of its
    own, and stays as it is.

    >>> lit('<svg><path style="stroke: #0072b2"/></svg>')
    '<svg fill="#d4d4d4"><path style="stroke: #58b0e8"/></svg>'
    >>> lit('<svg fill="#222"><rect width="9" fill="#fbfaf5"/></svg>')
    '<svg fill="#222"><rect width="9" fill="#fbfaf5"/></svg>'
    """
    if _GROUND.search(drawing):
        return drawing
    swapped = _COLOUR.sub(lambda found: _LIT[found.group().lower()], drawing)
    return swapped.replace("<svg", f'<svg fill="{_INK}"', 1)


def paired(body: str) -> str:
    """A page's HTML in which every drawing is followed by its twin."""
    return _DRAWING.sub(_pair, body)


def _pair(found: re.Match[str]) -> str:
    image, path = found.group(), found["path"]
    return _classed(image, "bb-by-day") + _classed(image.replace(f"{path}.svg", f"{path}-dark.svg"), "bb-by-night")


def _classed(image: str, name: str) -> str:
    if 'class="' in image:
        return image.replace('class="', f'class="{name} ', 1)
    return image.replace("<img ", f'<img class="{name}" ', 1)


def pair_drawings(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the twins on the page."""
    if app.builder.format == "html" and "body" in context:
        context["body"] = paired(context["body"])


def write_twins(app: Sphinx, exception: Exception | None) -> None:
    """Draw the twins beside the originals."""
    if exception is None and app.builder.format == "html":
        for path in (Path(app.outdir) / "_images").glob("*.svg"):
            text = lit(path.read_text(encoding="utf-8"))
            path.with_name(f"{path.stem}-dark.svg").write_text(text, encoding="utf-8")
