"""How do all claims stand? One table, read back from the verdicts that the executed notebooks hold.

A claim is `not yet tried` while its chapter is not written. One that its chapter leaves without a verdict
shows as `no verdict`, which the tests refuse. Nothing is judged in this module.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.table import Table

from bytebill import chapters, display
from bytebill.claims import view as view
from bytebill.claims.register import CLAIMS, HOW, Claim
from bytebill.claims.rule import MIME
from bytebill.errors import require_known

NO_VERDICT = "no verdict"
WORDS = (*view.SIGNS, view.NOT_TRIED, NO_VERDICT)
EMPTY: dict[str, Any] = {"stated": "", "found": "", "evidence": [], "rule": "", "device": None}
KINDS = tuple(HOW.values())
SLUGS = ("claimed", "stated", *KINDS, "verdict-cell")
_COLUMNS = ("Claim", "What is claimed", "Stated", *(kind.capitalize() for kind in KINDS), "Verdict")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A claim, the page that tries it, and the verdict found there; None for what is missing."""

    claim: Claim
    page: str | None
    content: Mapping[str, Any] | None

    @property
    def word(self) -> str:
        """One of `WORDS`."""
        if self.content:
            return str(self.content.get("word", NO_VERDICT))
        return NO_VERDICT if self.page else view.NOT_TRIED

    def to_json(self) -> dict[str, Any]:
        """The entry for programs; what is not there is empty."""
        return {
            "id": self.claim.id,
            "chapter": self.claim.chapter,
            "verdict": self.word,
            **{name: (self.content or {}).get(name, empty) for name, empty in EMPTY.items()},
        }


def read(notebooks: Path | None = None, *, book: chapters.Book | None = None) -> tuple[Entry, ...]:
    """Every claim of the register, with its verdict where a chapter has given one.

    A chapter that `notebooks` lacks (the environment's BYTEBILL_NOTEBOOKS if none is named) is read as committed.
    """
    book = book or chapters.this_book()
    folder = Path(notebooks or os.environ.get("BYTEBILL_NOTEBOOKS") or book.notebooks)
    pages = {n: path for path in chapters.in_order(book) if (n := chapters.number(path)) is not None}
    copies = (folder / path.name if (folder / path.name).is_file() else path for path in pages.values())
    found = {content["id"]: content for copy in copies for content in verdicts_in(copy)}
    return tuple(
        Entry(claim=claim, page=getattr(pages.get(int(claim.chapter)), "stem", None), content=found.get(claim.id))
        for claim in CLAIMS.values()
    )


def verdicts_in(path: Path) -> list[dict[str, Any]]:
    """The verdicts stored in one notebook, in the order of its cells."""
    cells = chapters.stored(path)["cells"]
    bundles = (output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
    return [dict(bundle[MIME]) for bundle in bundles if MIME in bundle]


def select(entries: Iterable[Entry], *, verdict: str = "all", chapter: str | int = "all") -> tuple[Entry, ...]:
    """The entries with this verdict, of this chapter; 'all' leaves either open."""
    wanted = str(chapter).rjust(2, "0")
    require_known("verdict", verdict, ("all", *WORDS))
    require_known("chapter", wanted, ("all", *sorted({claim.chapter for claim in CLAIMS.values()})))
    return tuple(
        entry for entry in entries if verdict in ("all", entry.word) and wanted in ("all", entry.claim.chapter)
    )


def counts(entries: Iterable[Entry]) -> display.Shown:
    """How often each verdict was given."""
    numbers = Counter(entry.word for entry in entries)
    rows = (
        (display.Shown(html=view.marked(word), text=f"{view.sign(word)} {word}"), numbers[word])
        for word in WORDS
        if numbers[word] or word in view.SIGNS
    )
    return display.table("Verdict", "Claims", rows=rows)


def listing(entries: Iterable[Entry]) -> display.Shown:
    """The ledger, grouped by chapter, each claim linked to the box of its verdict."""
    entries = tuple(entries)
    bodies = "".join(_chapter(list(group)) for _, group in groupby(entries, key=lambda entry: entry.claim.chapter))
    head = f"<caption>{escape(_caption(entries))}</caption>{display.head(_COLUMNS)}"
    return display.Shown(
        html=display.scrolling(f'<table class="bb-ledger">{head}{bodies}</table>', name="The ledger"),
        text="\n".join(
            f"{each.claim.id} {view.sign(each.word)} {each.word}: {each.claim.statement}" for each in entries
        ),
    )


def for_terminal(entries: Iterable[Entry]) -> Table:
    """The ledger in the columns a terminal has room for."""
    entries = tuple(entries)
    table = Table(title=_caption(entries), title_justify="left", show_lines=False)
    for name in ("Claim", "Chapter", "Verdict", "Stated", "Found"):
        table.add_column(name, no_wrap=name in ("Claim", "Chapter"), overflow="fold")
    for entry in entries:
        line = entry.to_json()
        marked = f"{view.sign(entry.word)} {entry.word}"
        table.add_row(line["id"], line["chapter"], marked, line["stated"] or entry.claim.statement, line["found"])
    return table


def _caption(entries: tuple[Entry, ...]) -> str:
    devices = sorted({entry.content["device"] for entry in entries if entry.content and entry.content["device"]})
    measured = f"; measured on {', '.join(devices)}" if devices else ""
    return f"{len(entries)} claims and how they stand{measured}"


def _chapter(entries: list[Entry]) -> str:
    page, name = entries[0].page, f"Chapter {int(entries[0].claim.chapter)}"
    title = f'<a href="{quote(page)}.html">{name}</a>' if page else f"{name}, not written yet"
    heading = f'<th scope="rowgroup" colspan="{len(_COLUMNS)}" style="text-align: left">{title}</th>'
    return f"<tbody><tr>{heading}</tr>{''.join(_row(entry) for entry in entries)}</tbody>"


def _row(entry: Entry) -> str:
    id, page = escape(entry.claim.id), quote(entry.page or "")
    name = f'<a href="{page}.html#{view.anchor(entry.claim.id)}">{id}</a>' if entry.content else id
    cells = (
        f'<div style="min-width: 16em">{escape(entry.claim.statement)}</div>',
        escape(str(entry.content["stated"])) if entry.content else "",
        *(_evidence(entry, kind) for kind in KINDS),
        view.marked(entry.word) + _conditions(entry),
    )
    body = "".join(f'<td class="bb-{column}">{cell}</td>' for column, cell in zip(SLUGS, cells, strict=True))
    return f'<tr style="vertical-align: top"><th scope="row">{name}</th>{body}</tr>'


def _conditions(entry: Entry) -> str:
    """The limits that a claim does not keep, where they are all that stands against it."""
    if entry.content is None or entry.word != "holds with conditions":
        return ""
    failing = [item["text"] for item in entry.content["evidence"] if item["role"] == "limit" and not item["passed"]]
    return f"<br>except: {escape('; '.join(failing))}"


def _evidence(entry: Entry, kind: str) -> str:
    """What was found in this way, a number for each check; a kind that the register asks for may be owed."""
    if entry.content is None:
        return ""
    ours = [item for item in entry.content["evidence"] if item["how"] == kind]
    shown = [item for item in ours if item["role"] == "core"] or ours
    if not shown and kind in entry.claim.how:
        return "not yet"
    return "<br>".join(f"{escape(item['text'])}: <strong>{escape(view.found(item))}</strong>" for item in shown)
