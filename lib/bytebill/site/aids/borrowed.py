"""What does a page say of its numbers that are not its own? Whose they are; and it ends in the line of `provenance`.

NOTES     pages whose numbers other pages compute and date
TABLES    pages whose script reads tables that their text does not name
GATHERED  pages that show what all chapters found: with the devices, records and days of them all
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from bytebill.data import bundle
from bytebill.site.aids import provenance
from bytebill.site.aids.provenance import TABLES_PAGE, Provenance

_OF_CHAPTERS = "Numbers are those of the chapters that this page links to; each ends in a line that dates its own."
NOTES: Mapping[str, str] = {
    "book/index": "Verdicts and counts are those of [the ledger](notebooks/ledger), which names the devices and days.",
    "notebooks/ledger": "Verdicts are those of the chapters; each ends in a line that names the tables it reads.",
    "book/pictures": "Numbers are predictions of the package for the reference deployment: nothing here was measured.",
    "book/how_to_read": _OF_CHAPTERS,
    "book/notation": "Definitions; numbers in them are those of the chapters that use the word.",
    "book/machines": "Each record names its device and its day; verdicts are those of [the ledger](notebooks/ledger).",
    "book/teaching": _OF_CHAPTERS,
    "book/exercises": _OF_CHAPTERS,
    "book/solutions": _OF_CHAPTERS,
    "book/own_units": "Conversions are definitions, and what is assumed stands on top: nothing here was measured.",
    "book/what_changed": "Words and numbers are the changelog's; [the ledger](notebooks/ledger) has what holds today.",
}
TABLES: Mapping[str, Iterable[str]] = {"book/price_calculator": bundle.CORE}
GATHERED = ("notebooks/ledger",)
_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def add_line(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the line at the end of a page that has a source; cards of tables carry their own dates."""
    if app.builder.format == "html" and doctree is not None and "body" in context and pagename != TABLES_PAGE:
        found = of_page(pagename, source=Path(app.env.doc2path(pagename)))
        note = with_links(NOTES.get(pagename, ""), uri=lambda to: app.builder.get_relative_uri(pagename, to))
        tables_uri = app.builder.get_relative_uri(pagename, TABLES_PAGE)
        context["body"] += provenance.line(found, tables_uri=tables_uri, note=note)


def of_page(name: str, *, source: Path) -> Provenance:
    """What a page's source tells, or the chapters' beside it, and the tables that its script reads."""
    if name in GATHERED:
        return of_all(provenance.of_source(path) for path in sorted(source.parent.glob("*.ipynb")) if path != source)
    found = provenance.of_source(source)
    return replace(found, tables=tuple(sorted({*found.tables, *TABLES.get(name, ())})))


def of_all(pages: Iterable[Provenance]) -> Provenance:
    """Devices, records and days of several pages, without their many tables.

    >>> both = of_all([Provenance(devices=("b",), ran=("2026-11-26",)), Provenance(devices=("a", "b"), tables=("t",))])
    >>> both.devices, both.ran, both.tables, both.where
    (('a', 'b'), ('2026-11-26',), (), 'in the chapters')
    """
    found = [page for page in pages if page.devices or page.records]
    return Provenance(
        records=tuple(sorted({record for page in found for record in page.records})),
        devices=tuple(sorted({device for page in found for device in page.devices})),
        ran=tuple(sorted({day for page in found for day in page.ran})),
        where="in the chapters",
    )


def with_links(note: str, *, uri: Callable[[str], str]) -> str:
    """A note's links as HTML.

    >>> with_links("See [the ledger](notebooks/ledger).", uri=lambda page: f"{page}.html")
    'See <a href="notebooks/ledger.html">the ledger</a>.'
    """
    return _LINK.sub(lambda found: f'<a href="{uri(found[2])}">{found[1]}</a>', note)
