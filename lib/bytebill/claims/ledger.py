"""How do all claims stand? Read back from the verdicts that the executed notebooks hold; nothing is judged here.

A claim is `not yet tried` while its chapter is not written. One that its chapter leaves without a verdict
shows as `no verdict`, which the tests refuse. How the ledger looks on a page is `bytebill.claims.ledger_page`.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bytebill import chapters
from bytebill.claims import view
from bytebill.claims.register import CLAIMS, Claim
from bytebill.claims.rule import MIME
from bytebill.claims.view import NO_VERDICT
from bytebill.errors import require, require_known

SHOWN_WORDS = (*view.SIGNS, view.NOT_TRIED, NO_VERDICT)
PART_KEYS = ("kind", "text", "unit", "stated", "found", "low", "high", "off_by", "passed", "how")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A claim, the page that tries it, and the verdict found there; None for what is missing."""

    claim: Claim
    page: str | None
    content: Mapping[str, Any] | None

    @property
    def word(self) -> str:
        """One of `SHOWN_WORDS`; JSON of the old scale has none."""
        if self.content:
            return view.word_in(self.content)
        return NO_VERDICT if self.page else view.NOT_TRIED

    @property
    def verdict(self) -> Mapping[str, Any]:
        """What was found; empty where there is no verdict."""
        return self.content if self.content and self.content.get("word") else {}

    def to_json(self) -> dict[str, Any]:
        """The entry for programs: the word of what is not tried is null."""
        found = self.verdict
        return {
            "id": self.claim.id,
            "chapter": self.claim.chapter,
            "statement": self.claim.statement,
            "terms": self.claim.terms,
            "word": None if self.word == view.NOT_TRIED else self.word,
            "parts": [{key: part.get(key) for key in PART_KEYS} for part in found.get("parts") or ()],
            "reach": found.get("reach"),
            "say": found.get("say") or "",
            "stake": found.get("stake"),
            "edge": found.get("edge"),
            "paragraph": list(found.get("paragraph") or self.claim.paragraph),
            "device": found.get("device"),
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
    outputs = [output for cell in cells for output in cell.get("outputs") or () if isinstance(output, dict)]
    bundles = (output.get("data") for output in outputs)
    found = [bundle[MIME] for bundle in bundles if isinstance(bundle, dict) and MIME in bundle]
    require(
        all(isinstance(content, dict) and isinstance(content.get("id"), str) for content in found),
        f"{path} holds a verdict that this version cannot read; `bytebill run {path.stem}` makes it anew.",
    )
    return [dict(content) for content in found]


def select(entries: Iterable[Entry], *, word: str = "all", chapter: str | int = "all") -> tuple[Entry, ...]:
    """The entries with this word, of this chapter; 'all' leaves either open."""
    wanted = str(chapter).rjust(2, "0")
    require_known("word of a verdict", word, ("all", *SHOWN_WORDS))
    require_known("chapter", wanted, ("all", *sorted({claim.chapter for claim in CLAIMS.values()})))
    return tuple(entry for entry in entries if word in ("all", entry.word) and wanted in ("all", entry.claim.chapter))


def caption(entries: Iterable[Entry]) -> str:
    """How many claims there are, how many were tried, and on which machine."""
    entries = tuple(entries)
    tried = sum(bool(entry.verdict) for entry in entries)
    devices = sorted({entry.verdict["device"] for entry in entries if entry.verdict.get("device")})
    measured = f"; measured on {', '.join(devices)}" if devices else ""
    return f"{len(entries)} claims, {tried} of them judged{measured}"


def for_terminal(entries: Iterable[Entry]) -> Table:
    """The ledger in the columns a terminal has room for."""
    entries = tuple(entries)
    table = Table(title=caption(entries), title_justify="left", show_lines=False)
    for name in ("Claim", "Chapter", "Verdict", "Say"):
        table.add_column(name, no_wrap=name in ("Claim", "Chapter"), overflow="fold")
    for entry in entries:
        word = view.lettered(entry.verdict) if entry.verdict else entry.word
        said = str(entry.verdict.get("say") or "") or entry.claim.statement
        table.add_row(entry.claim.id, entry.claim.chapter, f"{view.sign(entry.word)} {word}", said)
    return table
