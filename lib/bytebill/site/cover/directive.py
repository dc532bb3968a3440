"""What does the first page say before anybody scrolls? The directive `{cover}` with one of `PARTS`.

    bill       two bars to scale, a receipt, and a slider from one user to 256 (`cover_bill`)
    claims     a square for every claim, and how many have which word (`cover_claims`)
    doors      three ways in: ten minutes, a deployment to price, a class to teach
    chapters   every chapter under the name that the navigation has, with the squares of its claims

A door's heading is its link, and the whole door can be clicked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from bytebill import chapters
from bytebill.claims import ledger
from bytebill.claims.ledger import Entry
from bytebill.site.cover.bill import bill_html
from bytebill.site.cover.squares import LEDGER, chapters_html, squares_html

PARTS = ("bill", "claims", "doors", "chapters")
COVER_STYLE, COVER_SCRIPT = "cover.css", "cover.js"
PRICE, TEACH = "price_calculator.html", "teaching.html#session-an-hour"


class CoverDirective(Directive):
    """A part of the cover, as HTML."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The part that is named, made from the book that is being built."""
        part = self.arguments[0]
        if part not in PARTS:
            raise self.error(f"the cover has no part '{part}', only {', '.join(PARTS)}")
        source = Path(self.state.document.settings.env.srcdir)
        return [nodes.raw("", cover_html(part, book=chapters.Book(root=source)), format="html")]


def cover_html(part: str, *, book: chapters.Book) -> str:
    """One of the parts."""
    if part == "bill":
        return bill_html()
    entries = ledger.read(book.notebooks, book=book)
    if part == "claims":
        return squares_html(entries)
    return chapters_html(chapter_names(book), entries) if part == "chapters" else doors_html(entries, book=book)


def chapter_names(book: chapters.Book) -> dict[str, str]:
    """The chapters in the order of the table of contents, and the name each has in the navigation."""
    paths = (path for path in chapters.in_order(book) if chapters.number(path) is not None)
    return {path.stem: _heading(path) for path in paths}


def _heading(path: Path) -> str:
    lines = "".join(chapters.stored(path)["cells"][0]["source"]).splitlines()
    return next(line.removeprefix("# ") for line in lines if line.startswith("# ")).replace("'", "’")


def doors_html(entries: tuple[Entry, ...], *, book: chapters.Book) -> str:
    """Three ways in."""
    n_wrong = sum(entry.word == "wrong" for entry in entries)
    stop = f'<a href="{LEDGER}#word=wrong">the {n_wrong} that are plain wrong</a>' if n_wrong else "what is wrong"
    first = next(iter(chapter_names(book)))
    doors = {
        "I have ten minutes": (
            f"../notebooks/{first}.html",
            "The one idea and one figure: chapter 1. "
            f'Then <a href="{LEDGER}">every claim with what to say instead</a>, and {stop}.',
        ),
        "I have a deployment to price": (
            PRICE,
            "Put model, GPU, context and load into the calculator, and see which levers pay.",
        ),
        "I have to teach it tomorrow": (
            TEACH,
            "A session of an hour, with the questions to ask and the wrong answers to expect.",
        ),
    }
    shown = "".join(
        f'<div class="bb-door"><h3><a href="{page}">{name}</a></h3><p>{text}</p></div>'
        for name, (page, text) in doors.items()
    )
    return f'<div class="bb-doors">{shown}</div>'


def dress_cover(app: Sphinx, pagename: str, templatename: str, context: Mapping[str, Any], doctree: Any) -> None:
    """Load the cover's style and script where the cover is."""
    if "bb-receipt" in str(context.get("body", "")):
        app.add_css_file(COVER_STYLE)
        app.add_js_file(COVER_SCRIPT, loading_method="defer")
