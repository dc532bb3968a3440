"""How does a session become slides? One page of reveal.js for each, beside the book, that asks nothing of any network.

`deck` says what is on each slide; here it is put into one page, in a folder of the rendered book, with reveal.js as the
package sphinx-revealjs brings it. The decks open from a disk as well as from a server.
"""

import shutil
from collections.abc import Iterable
from html import escape
from importlib.util import find_spec
from pathlib import Path

from bytebill.errors import require
from bytebill.site.teaching.deck import GUIDE, SESSIONS, Pages, Slide
from bytebill.site.teaching.deck import slides as slides_of

DECKS = "slides"
SLIDE_PX = (1280, 720)
REVEAL = ("dist/reveal.js", "dist/reveal.css", "dist/reset.css", "plugin/notes/notes.js", "LICENSE")
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="reveal/dist/reset.css">
<link rel="stylesheet" href="reveal/dist/reveal.css">
<link rel="stylesheet" href="../_static/formulas.css">
<link rel="stylesheet" href="../_static/slides.css">
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({{
  width: {width}, height: {height}, margin: 0.03, center: false, hash: true, slideNumber: "c/t", keyboard: true,
  transition: "none", backgroundTransition: "none", pdfSeparateFragments: false, plugins: [RevealNotes],
}});
</script>
</body>
</html>
"""


def write_decks(html: Path) -> list[Path]:
    """Write the decks of all sessions into a rendered book, and return them."""
    require((html / GUIDE).is_file(), f"There is no rendered book in {html}; first: make book or make render.")
    folder = html / DECKS
    _bring_reveal(folder / "reveal")
    pages = Pages(html)
    for session in SESSIONS:
        (folder / f"{session}.html").write_text(deck_page(slides_of(pages, session), session), encoding="utf-8")
    return [folder / f"{session}.html" for session in SESSIONS]


def deck_page(slides: Iterable[Slide], session: str) -> str:
    """A deck as one page.

    >>> '<section class="bb-claim">' in deck_page([Slide(kind="claim", html="<h2>C01</h2>")], "an-hour")
    True
    """
    inside = "\n".join(map(_section, slides))
    title = escape(f"The Byte Bill: {session.replace('-', ' ')}")
    return PAGE.format(title=title, slides=inside, width=SLIDE_PX[0], height=SLIDE_PX[1])


def _section(slide: Slide) -> str:
    notes = f'<aside class="notes">{slide.notes}</aside>' if slide.notes else ""
    return f'<section class="bb-{slide.kind}">{slide.html}{notes}</section>'


def _bring_reveal(folder: Path) -> None:
    """Copy what the decks need of reveal.js."""
    found = find_spec("sphinx_revealjs")
    require(
        found is not None and found.origin is not None,
        "The slides need reveal.js, which the package sphinx-revealjs brings; install what requirements.txt names.",
    )
    assert found and found.origin
    home = Path(found.origin).parent / "_static" / "revealjs"
    for name in REVEAL:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / name, folder / name)
