"""How does a reader find a claim, a printed number or a word? Every section of the built pages becomes an entry.

Sphinx indexes whole pages by single words: it drops numbers, splits 33.8 in two, counts code as text and knows no
outputs of their own. Here an entry is a section, a verdict or a row of the ledger, as the page shows it, with what
cells printed and without their code. `book/assets/search.js` ranks them in the browser, from one file, with or without
a server; it also folds both spellings of a word into one. Sphinx's own index is left empty.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils import new_document
from sphinx.application import Sphinx

from bytebill.site.markup import Element, parsed

NOT_TEXT = ("form", "script", "style", "template", "svg", "button")
NOT_TEXT_CLASSES = {"cell_input", "headerlink", "bb-provenance", "bb-notes", "visually-hidden"}
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
CLAIM_CLASSES = {"bb-claim", "bb-verdict-claim"}
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
    article = next((each for each in parsed(html).walk() if each.name == "article"), None)
    if article is None:
        return
    heading = _first(article, lambda each: each.name == "h1")
    page = _words(heading) if heading else address
    for place in filter(_is_entry, article.walk(_is_no_text)):
        yield Findable(
            address=f"{address}#{place.attributes['id']}",
            page=page,
            title=_title(place),
            kind=_kind(place),
            text=_own_text(place),
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
    """The search page alone loads the entries and what ranks them; what takes words apart, the ledger too."""
    if pagename == "search" or 'class="bb-ledger"' in str(context.get("body", "")):
        app.add_js_file("words.js", loading_method="defer")
    if pagename == "search":
        app.add_js_file(ENTRIES, loading_method="defer")
        app.add_js_file("search.js", loading_method="defer")


def _is_no_text(element: Element) -> bool:
    return element.name in NOT_TEXT or not NOT_TEXT_CLASSES.isdisjoint(element.classes)


def _is_entry(element: Element) -> bool:
    """Whether it is an entry of its own: a section, a verdict, a row of the ledger, a term or a table."""
    id = element.attributes.get("id")
    return id is not None and (
        element.name == "section"
        or id.startswith("claim-c")
        or (element.name == "li" and id.startswith("C") and "data-word" in element.attributes)
        or (element.name == "dt" and id.startswith("term-"))
        or "bb-table-card" in element.classes
    )


def _first(place: Element, wanted: Callable[[Element], bool]) -> Element | None:
    return next(filter(wanted, place.walk(_is_no_text)), None)


def _kind(place: Element) -> str:
    id = place.attributes["id"]
    if ROW.match(id):
        return "ledger"
    if VERDICT.match(id):
        return "verdict"
    if place.name == "dt":
        return "term"
    if place.name != "section":
        return "table"
    return "page" if any(each.name == "h1" for each in place.tags) else "section"


def _title(place: Element) -> str:
    """A section's heading; the sentence of a claim, behind its name; a term; a table's title and file."""
    id = place.attributes["id"]
    if name := VERDICT.match(id):
        id = name[1].upper()
    if ROW.match(id):
        said = _first(place, lambda each: not CLAIM_CLASSES.isdisjoint(each.classes))
        said = said or _first(place, lambda each: each.name == "p")
        words = _words(said) if said else ""
        return words if words.startswith(id) else f"{id}: {words}"
    if place.name == "dt":
        return _words(place)
    if "bb-table-card" in place.classes and (file := _first(place, lambda each: each.name == "strong")) and file.parent:
        return f"{_words(file.parent).removeprefix(_words(file)).strip()} ({_words(file)})"
    heading = _first(place, lambda each: each.name in HEADINGS)
    return _words(heading) if heading else id


def _own_text(place: Element) -> str:
    """The text of a place without its heading and without what is an entry of its own."""
    if place.name == "dt":
        meaning = _meaning(place)
        return _words(meaning) if meaning else ""
    heading = next((each for each in place.tags if each.name in HEADINGS), None)
    return _words(place, without=lambda each: each is heading or _is_entry(each) or _is_meaning(each))


def _meaning(term: Element) -> Element | None:
    """What is said of a term: the next definition beside it."""
    beside = term.parent.tags if term.parent else []
    return next((each for each in beside[beside.index(term) :] if each.name == "dd"), None)


def _is_meaning(element: Element) -> bool:
    if element.name != "dd" or element.parent is None:
        return False
    return any(_meaning(each) is element for each in element.parent.tags if each.name == "dt" and _is_entry(each))


def _words(element: Element, without: Callable[[Element], bool] = lambda _: False) -> str:
    """Text with a blank where one element ends: cells of a table must not run into one another."""
    strings = element.strings(lambda each: "" if _is_no_text(each) or without(each) else None)
    return " ".join(" ".join(strings).split())
