"""How does a reader find a claim, a printed number or a word? Every section of the built pages becomes an entry.

Sphinx indexes whole pages by single words: it drops numbers, splits 33.8 in two, counts code as text and knows no
outputs of their own. Here an entry is a section, a verdict or a row of the ledger, as the page shows it, with what
cells printed and without their code. `book/assets/search.js` ranks them in the browser, from one file, with or without
a server; it also folds both spellings of a word into one. Sphinx's own index is left empty.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from docutils.utils import new_document
from sphinx.application import Sphinx

NOT_TEXT = ".cell_input, form, script, style, template, .headerlink, .bb-provenance, .visually-hidden, svg, button"
OWN = 'section[id], [id^="claim-c"], li[id^="C"][data-word], dt[id^="term-"], .bb-table-card[id]'
ROW, VERDICT = re.compile(r"C\d\d$"), re.compile(r"claim-(c\d\d)$")
ENTRIES = "search_entries.js"


@dataclass(frozen=True, kw_only=True)
class Findable:
    """One thing to be found: where it is, what it is called, what stands there."""

    address: str
    page: str
    title: str
    kind: str  # page, section, verdict, ledger, term or table
    text: str


def entries(html: str, *, address: str) -> Iterator[Findable]:
    """What one built page has to find, in its order.

    >>> page = '<article><section id="a"><h1>Batch</h1><p>One.</p><section id="b"><h2>More</h2><p>33.8</p></section>'
    >>> [(entry.address, entry.title, entry.text) for entry in entries(page, address="x.html")]
    [('x.html#a', 'Batch', 'One.'), ('x.html#b', 'More', '33.8')]
    """
    article = BeautifulSoup(html, "html.parser").find("article")
    if not isinstance(article, Tag):
        return
    for hidden in article.select(NOT_TEXT):
        hidden.decompose()
    heading = article.find("h1")
    page = _words(heading) if isinstance(heading, Tag) else address
    for place in article.select(OWN):
        yield Findable(
            address=f"{address}#{place['id']}", page=page, title=_title(place), kind=_kind(place), text=_own_text(place)
        )


def write_entries(app: Sphinx, exception: Exception | None) -> None:
    """After the build: read the pages, and write what the search page loads."""
    if exception is not None or app.builder.format != "html":
        return
    root, found = Path(app.outdir), []
    for name in sorted(app.env.found_docs):
        address = app.builder.get_target_uri(name)
        if (root / address).is_file():
            found += [asdict(each) for each in entries((root / address).read_text(encoding="utf-8"), address=address)]
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (root / "_static" / ENTRIES).write_text(f"window.bbEntries = {text};\n", encoding="utf-8")


def leave_own_index_empty(app: Sphinx) -> None:
    """Feed Sphinx's index empty pages: its file is still asked for by the theme's search page."""
    builder: Any = app.builder
    if hasattr(builder, "index_page"):
        by_sphinx = builder.index_page

        def index_page(pagename: str, doctree: nodes.document, title: str) -> None:
            by_sphinx(pagename, new_document(""), title)

        builder.index_page = index_page


def load_script(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """The search page alone loads the entries and what ranks them."""
    if pagename == "search":
        app.add_js_file(ENTRIES, loading_method="defer")
        app.add_js_file("search.js", loading_method="defer")


def _kind(place: Tag) -> str:
    id = str(place["id"])
    if ROW.match(id):
        return "ledger"
    if VERDICT.match(id):
        return "verdict"
    if place.name == "dt":
        return "term"
    if place.name != "section":
        return "table"
    return "page" if place.find("h1", recursive=False) else "section"


def _title(place: Tag) -> str:
    """A section's heading; the sentence of a claim, behind its name; a term; a table's title and file."""
    id = str(place["id"])
    if name := VERDICT.match(id):
        id = name[1].upper()
    if ROW.match(id):
        said = place.select_one(".bb-claim, .bb-verdict-claim") or place.find("p")
        words = _words(said) if said else ""
        return words if words.startswith(id) else f"{id}: {words}"
    if place.name == "dt":
        return _words(place)
    if isinstance(file := place.select_one(".bb-table-card > p > strong"), Tag) and isinstance(file.parent, Tag):
        return f"{_words(file.parent).removeprefix(_words(file)).strip()} ({_words(file)})"
    heading = place.find(re.compile(r"^h[1-6]$"))
    return _words(heading) if isinstance(heading, Tag) else id


def _own_text(place: Tag) -> str:
    """The text of a place without its heading and without what is an entry of its own."""
    if place.name == "dt":
        meaning = place.find_next_sibling("dd")
        return _words(meaning) if isinstance(meaning, Tag) else ""
    inside = copy.copy(place)
    for own in inside.select(OWN):
        if own.name == "dt" and isinstance(meaning := own.find_next_sibling("dd"), Tag):
            meaning.decompose()
        own.decompose()
    heading = inside.find(re.compile(r"^h[1-6]$"), recursive=False)
    if isinstance(heading, Tag):
        heading.decompose()
    return _words(inside)


def _words(tag: Tag) -> str:
    """Text with a blank where one element ends: cells of a table must not run into one another."""
    return " ".join(tag.get_text(" ").split())
