"""How do all claims stand, at a glance? A square for each, and every chapter with the squares of its own.

Read from the verdicts that the notebooks hold, by `bytebill.claims.ledger`. A square has a sign, a colour and words; it
leads to its row in the ledger.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import shorten

from bytebill.claims import view
from bytebill.claims.ledger import Entry

LEDGER = "../notebooks/ledger.html"
MOST_LETTERS = 120


def squares_html(entries: Iterable[Entry]) -> str:
    """All claims in the order of the register, and how many have which word."""
    entries = tuple(entries)
    drawn = "".join(f"<li>{_square(entry)}</li>" for entry in entries)
    numbers = Counter(entry.word for entry in entries)
    words = (*view.SIGNS, *(word for word in (view.NO_VERDICT, view.NOT_TRIED) if numbers[word]))
    legend = "".join(
        f'<li>{_mark(word)} <b>{numbers[word]}</b> <span class="bb-legend-word">{word}</span></li>' for word in words
    )
    return (
        f'<ol class="bb-squares" aria-label="Claims">{drawn}</ol>'
        f'<ul class="bb-legend" aria-label="How many claims have which word">{legend}</ul>'
    )


def _square(entry: Entry) -> str:
    id, word = entry.claim.id, entry.word
    claim = shorten(entry.claim.statement, MOST_LETTERS, placeholder="…")
    said = escape(f"{id}, {word}: {claim}")
    return (
        f'<a class="bb-word-{view.slug(word)}" href="{LEDGER}#{id}" title="{said}">'
        f'<span aria-hidden="true">{view.sign(word)}</span><span class="visually-hidden">{said}</span></a>'
    )


def _mark(word: str) -> str:
    return f'<i class="bb-word-{view.slug(word)}" aria-hidden="true">{view.sign(word)}</i>'


def chapters_html(names: Mapping[str, str], entries: Sequence[Entry]) -> str:
    """Every chapter by its file's name: its number, its name, and how its claims came out; the whole row is a link."""
    rows = "".join(
        _chapter(page, name, [entry for entry in entries if entry.page == page]) for page, name in names.items()
    )
    return f'<ol class="bb-chapters" aria-label="Chapters">{rows}</ol>'


def _chapter(page: str, name: str, entries: Sequence[Entry]) -> str:
    number = int(page.split("_")[0])
    came_out = escape("; ".join(f"{entry.claim.id} {entry.word}" for entry in entries))
    marks = "".join(_mark(entry.word) for entry in entries)
    return (
        f'<li><a href="../notebooks/{escape(page)}.html"><b>{number}</b> <span>{escape(name)}</span> '
        f'<span class="bb-marks" title="{came_out}">{marks}</span>'
        f'<span class="visually-hidden">: {came_out}</span></a></li>'
    )
