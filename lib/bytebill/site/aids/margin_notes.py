"""Who says so? Beside a paragraph that cites a work stands the work: who, when, its title with its link, and whether
rows that rest on it were read second-hand.

A section names a work once, and sections that are lists of sources (`LISTS`) have no notes. The theme gives the class
`margin` its right column, and folds the page's contents while a note stands there; where the window has no such
column, and on paper, `aids.css` shows none, and the card of `aids.js` is the way. A note and a card are of one entry.
"""

import html
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from docutils import nodes
from pybtex.richtext import Text
from sphinx.application import Sphinx

from bytebill import data
from bytebill.site.aids.citations import label

LISTS = {"sources", "all-data-tables"}  # sections that are the note
CITATION, IN_MARGIN = "bibtex-citation", "margin"
WARNING = "\N{WARNING SIGN}\N{VARIATION SELECTOR-15}"  # a letter, no picture


def place_notes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the notes before the blocks whose citations they are of, and the mark of caution into each card."""
    if app.builder.format != "html":
        return
    domain = cast(Any, app.env.get_domain("cite"))
    entries, keys = domain.bibdata.data.entries, {each.citation_id: each.key for each in domain.citations}
    told: set[tuple[str, str]] = set()
    for citation in [each for each in doctree.findall(nodes.inline) if CITATION in each["classes"]]:
        works = {id: entries[keys[id]] for id in _works(citation) if keys.get(id) in entries}
        _warn(citation, works)
        section, block = _place(citation)
        here = section["ids"][0] if section is not None and section["ids"] else ""
        new = {id: work for id, work in works.items() if (here, id) not in told}
        if block is not None and here not in LISTS:
            told |= {(here, id) for id in new}
            _add(block, [note_html(work, id=id) for id, work in new.items()])


def note_html(entry: Any, *, id: str) -> str:
    """One work in a margin.

    >>> from pybtex.database import Entry, Person
    >>> fields = {"title": "A {GPU} \\\\& a roof", "year": "2009", "url": "https://www.example.org/a"}
    >>> work = Entry("misc", fields=fields, persons={"author": [Person("Williams, Samuel")]})
    >>> print(note_html(work, id="id8"))
    <p class="bb-note" data-of="id8"><b>Williams, 2009</b> <a href="https://www.example.org/a">A GPU &amp; a roof</a>
    <span class="bb-note-host">example.org</span></p>
    """
    title, url = html.escape(title_of(entry)), url_of(entry)
    linked = f'<a href="{html.escape(url)}">{title}</a>' if url else f"<cite>{title}</cite>"
    host = urlsplit(url).netloc.removeprefix("www.")
    told = [f'<span class="bb-note-host">{html.escape(host)}</span>' if host else ""]
    told.append(f'<span class="bb-caution">{html.escape(said)}</span>' if (said := caution(entry.key)) else "")
    rest = "\n".join(part for part in told if part)
    return f'<p class="bb-note" data-of="{id}"><b>{html.escape(label(entry))}</b> {linked}\n{rest}</p>'


def title_of(entry: Any) -> str:
    """A work's title, without the marks of its file."""
    return str(Text.from_latex(entry.fields["title"]))


def url_of(entry: Any) -> str:
    """Where a work can be read; nothing, where only its journal is known."""
    doi = entry.fields.get("doi")
    return str(entry.fields.get("url") or (doi and f"https://doi.org/{doi}") or "")


def caution(key: str | None) -> str:
    """The mark of a work of whose rows in `data/` some were quoted by another page, or recalled.

    >>> caution("frantar2023gptq").startswith(WARNING), caution("williams2009roofline")
    (True, '')
    """
    n_marked, n_rows = rows_of_works().get((key or "").lower(), (0, 0))
    if not n_marked:
        return ""
    marked = "all" if n_marked == n_rows else f"{n_marked} of {n_rows}"
    return f"{WARNING} Read second-hand or recalled: {marked} rows of data from it"


@cache
def rows_of_works() -> Mapping[str, tuple[int, int]]:
    """Of every work that rows of `data/` rest on: how many of these carry a caution, and how many there are."""
    found: dict[str, tuple[int, int]] = {}
    for row in (row for name in data.names() for row in data.rows(name) if row.get("source_id")):
        key = str(row["source_id"]).lower()
        n_marked, n_rows = found.get(key, (0, 0))
        found[key] = (n_marked + bool(row.get("caution")), n_rows + 1)
    return found


def _works(citation: nodes.Element) -> Iterator[str]:
    """The places in the list of references that a citation leads to."""
    for link in citation.findall(nodes.reference):
        yield str(link.get("refid") or link.get("refuri", "").partition("#")[2])


def _warn(citation: nodes.Element, works: Mapping[str, Any]) -> None:
    """Let the card say the caution too."""
    for link, id in zip(citation.findall(nodes.reference), _works(citation), strict=True):
        if id in works and "reftitle" in link and (said := caution(works[id].key)):
            link["reftitle"] += f" {said}."


def _place(citation: nodes.Node) -> tuple[nodes.section | None, nodes.Element | None]:
    """The section around a citation, and the block right in it that has the citation."""
    block, around = None, citation
    while around is not None and not isinstance(around, nodes.section):
        block, around = around, around.parent
    return around, cast(nodes.Element, block)


def _add(block: nodes.Element, notes: Iterable[str]) -> None:
    """Put notes before a block, after those that it has already."""
    if told := "".join(notes):
        at = block.parent.index(block)
        before = block.parent[at - 1] if at else None
        if isinstance(before, nodes.container) and "bb-notes" in before["classes"]:
            before += nodes.raw("", told, format="html")
        else:
            box = nodes.container("", nodes.raw("", told, format="html"), classes=["bb-notes", IN_MARGIN])
            block.parent.insert(at, box)
