"""How is the ledger read in two minutes? A page of rows made from the verdicts' JSON, whole without a script.

A bar of words counts and filters; a row says what is claimed, what to say instead, what was stated over what was found,
how far apart they are, and the word; it unfolds to every check. `book/assets/bytebill.js` adds filter, sort and search.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from math import inf, log1p
from typing import Any
from urllib.parse import quote

from bytebill import display
from bytebill.claims import ledger, strip, view
from bytebill.claims.ledger import Entry

# From the worst down; what nobody can test comes last.
WORST = ("wrong", "right idea, wrong number", "right number, wrong reason", "only in its own case")
ORDER = (*WORST, "true with a condition", "safe to repeat", "cannot be tested", view.NO_VERDICT, view.NOT_TRIED)
SORTS = {"chapter": "by chapter", "worst": "worst first", "stake": "by effect on the bill"}


def listing(entries: Iterable[Entry]) -> display.Shown:
    """The ledger as a page."""
    entries = tuple(entries)
    tried = [entry for entry in entries if entry.word != view.NOT_TRIED]
    rows = "".join(_row(entry, at) for at, entry in enumerate(tried))
    parts = (
        f'<p class="bb-count">{escape(ledger.caption(entries))}.</p>',
        _bar(entries),
        _legend(),
        _tools(len(entries)),
        _heading() if tried else "",
        f'<ol class="bb-rows" aria-label="Claims" style="list-style: none; padding: 0">{rows}</ol>' if tried else "",
        _untried([entry for entry in entries if entry.word == view.NOT_TRIED]),
    )
    return display.Shown(html=f'<div class="bb-ledger">{"".join(parts)}</div>', text="\n".join(map(_as_text, entries)))


def _as_text(entry: Entry) -> str:
    found = entry.verdict
    word = view.lettered(found) if found else entry.word
    said = f" Say: {found['say']}" if found.get("say") else ""
    return f"{entry.claim.id} {view.sign(entry.word)} {word}: {entry.claim.statement}{said}"


def _bar(entries: tuple[Entry, ...]) -> str:
    """The words with their counts, each as wide as its count; a script makes filters of them."""
    numbers = Counter(entry.word for entry in entries)
    words = (*view.SIGNS, *(word for word in (view.NO_VERDICT, view.NOT_TRIED) if numbers[word]))
    buttons = "".join(_button(word, numbers[word]) for word in words)
    return f'<div class="bb-words" role="group" aria-label="How many claims have which word">{buttons}</div>'


def _button(word: str, count: int) -> str:
    slug, said = view.slug(word), f'<span aria-hidden="true">{view.sign(word)}</span> {word}'
    classes = f"bb-word-{slug}" if count else f"bb-word-{slug} bb-none"
    return (
        f'<button type="button" class="{classes}" data-word="{slug}" aria-pressed="false" disabled '
        f'style="flex-grow: {count}"><b>{count}</b> <span>{said}</span></button>'
    )


def _legend() -> str:
    marks = "".join(f"<li>{drawn} {escape(meaning)}</li>" for drawn, meaning in strip.legend())
    said = (f"{view.EDGE} the word turns within the interval", "choose a word above to see its claims alone")
    notes = "".join(f"<li>{each}</li>" for each in said)
    return f'<ul class="bb-key" aria-label="Marks">{marks}{notes}</ul>'


def _tools(n_entries: int) -> str:
    options = "".join(f'<option value="{name}">{said}</option>' for name, said in SORTS.items())
    return (
        f'<div class="bb-tools" hidden><label>Sort <select class="bb-sort">{options}</select></label> '
        '<label>Find <input class="bb-find" type="search" placeholder="batch, H100, C13"></label> '
        f'<output class="bb-shown">{n_entries} of {n_entries} shown</output> '
        '<button type="button" class="bb-reset" hidden>show all</button></div>'
    )


def _heading() -> str:
    names = "".join(f"<span>{name}</span>" for name in ("Claim", "What is said, and what to say"))
    return (
        f'<div class="bb-axis" aria-hidden="true">{names}<span>Stated, found</span>'
        f"<span>{strip.heading()}</span><span>Word, evidence</span></div>"
    )


def _row(entry: Entry, at: int) -> str:
    id, slug = escape(entry.claim.id), view.slug(entry.word)
    what = f'<p class="bb-claim">{escape(entry.claim.statement)}</p>'
    if entry.verdict.get("say"):
        what += f'<p class="bb-say">{escape(str(entry.verdict["say"]))}</p>'
    cells = {
        "bb-id": f'<a href="#{id}">{id}</a> {_chapter_link(entry)}',
        "bb-what": what,
        "bb-numbers": _numbers(entry.verdict),
        "bb-drawn": strip.strip(entry.verdict, axis=False) if entry.verdict else "",
        "bb-how": view.marked(entry.verdict, word=entry.word) + _stake(entry.verdict) + _evidence(entry.verdict),
    }
    inside = "".join(f'<div class="{name}">{cell}</div>' for name, cell in cells.items())
    keys = f'data-word="{slug}" data-chapter="{at}" data-worst="{_worst(entry)}" data-stake="{_size(entry.verdict)}"'
    return f'<li class="bb-row bb-verdict-{slug}" id="{id}" {keys}>{inside}{_checks(entry)}</li>'


def _chapter_link(entry: Entry) -> str:
    number = int(entry.claim.chapter)
    if not entry.page:
        return f"<span>ch. {number}</span>"
    place = f"#{view.anchor(entry.claim.id)}" if entry.content else ""
    return f'<a class="bb-chapter" href="{quote(entry.page)}.html{place}">ch. {number}</a>'


def _numbers(found: Mapping[str, Any]) -> str:
    """What the part that decided states, over what was found for it."""
    if not (parts := strip.ordered(found)):
        return ""
    part = parts[0]
    tag = "span" if part.get("passed") else "s"
    number = strip.shown_number(part.get("found"), part.get("unit"))
    label = "stated" if part["kind"] == "figure" else "asked"
    return (
        f'<p><span class="bb-label">{label}</span> <{tag}>{escape(strip.stated(part))}</{tag}></p>'
        f'<p><span class="bb-label">found</span> <strong>{escape(number)}</strong></p>'
        f'<p class="bb-of">{escape(str(part.get("text", "")))}</p>'
    )


def _evidence(found: Mapping[str, Any]) -> str:
    kinds = {part.get("how") for part in strip.ordered(found)}
    named = ", ".join(kind for kind in view.EVIDENCE if kind in kinds)
    if not named:
        return ""
    squares = "".join(
        f'<i class="{"bb-on" if kind in kinds else "bb-off"}">{letter}</i>' for kind, letter in view.EVIDENCE.items()
    )
    return f'<span class="bb-evidence" role="img" aria-label="Evidence: {named}" title="{named}">{squares}</span>'


def _stake(found: Mapping[str, Any]) -> str:
    changed = view.stake(found)
    return f'<span class="bb-stake">bill: {changed}</span>' if changed else ""


def _checks(entry: Entry) -> str:
    """Every check of a verdict, folded."""
    found = entry.verdict
    if not found:
        return ""
    blocks = view.blocks(found)
    tables = "".join(view.table_of(block) for block in blocks if block.rows)
    lines = "".join(view.paragraph(block, found) for block in blocks if block.name in view.ENDINGS)
    counted, n_parts = len(strip.ordered(found)), len(found.get("parts") or ())
    more = f"{n_parts - counted} more shown" if n_parts > counted else ""
    checks = f"{counted} check{'s' if counted != 1 else ''}"
    named = ", ".join(filter(None, (checks, more, strip.reached(found.get("reach")))))
    hidden = f'<span class="visually-hidden"> of {escape(entry.claim.id)}</span>'
    terms = "".join(view.paragraph(block, found) for block in blocks if block.name == "bb-verdict-terms")
    return f'<details class="bb-all"><summary>{escape(named)}{hidden}</summary>{terms}{tables}{lines}</details>'


def _untried(entries: list[Entry]) -> str:
    if not entries:
        return ""
    lines = "".join(
        f'<li id="{escape(entry.claim.id)}" data-word="{view.slug(entry.word)}"><b>{escape(entry.claim.id)}</b> '
        f"<span>ch. {int(entry.claim.chapter)}</span> {escape(entry.claim.statement)}</li>"
        for entry in entries
    )
    count = f"{len(entries)} claim{'s are' if len(entries) != 1 else ' is'} not yet tried"
    return f'<details class="bb-untried"><summary>{count}</summary><ul>{lines}</ul></details>'


def _worst(entry: Entry) -> float:
    """A number to sort by: the word, and within it how far off the deciding part is."""
    parts = strip.ordered(entry.verdict)
    far = strip.distance(parts[0]) if parts else 1.0
    return round(ORDER.index(entry.word) + (0.0 if far == inf else 0.99 / far), 4)


def _size(found: Mapping[str, Any]) -> float:
    """How much believing a claim changes, up or down alike."""
    changed = found.get("stake")
    return round(-abs(log1p(changed)), 4) if isinstance(changed, int | float) and changed > -1 else 0.0
