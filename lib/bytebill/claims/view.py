"""What does a reader see of a verdict? Boxes and lines made from its JSON, so a stored one shows the same.

Word and sign say everything: the class names (`bb-verdict-wrong` and so on) only let the style sheet add colour, and
the border is drawn here so that the box stands out in plain Jupyter too. What stands in a box is said once, in
`blocks`; it is drawn as HTML here and as the book's own nodes in `bytebill.site.look.verdict_nodes`. JSON without a
word, as chapters stored it until 2026-11, shows as `no verdict`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from bytebill.claims import strip
from bytebill.claims.register import COUNTED_KINDS
from bytebill.claims.strip import Content
from bytebill.display import head

Piece = tuple[str, str]  # what it is ("text", "strong", "em" or "word"), and what it says
SIGNS = {
    "safe to repeat": "●",
    "true with a condition": "◐",
    "only in its own case": "◔",
    "right number, wrong reason": "≠",
    "right idea, wrong number": "×",
    "wrong": "✗",
    "cannot be tested": "?",
}
NOT_TRIED, NO_VERDICT = "not yet tried", "no verdict"
EDGE = "±"
EVIDENCE = {"derived": "D", "measured": "M", "simulated": "S", "published": "P"}
COLUMNS = ("Part", "Kind", "Stated", "Found", "Off by", "Result", "Evidence")
BESIDE_COLUMNS = ("Shown, not counted", "Kind", "Found", "Evidence")
ENDINGS = ("bb-verdict-reach", "bb-verdict-rule")
_FRAME = "border-left: .35em solid; padding: .1em 1em; margin: 1em 0"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of a box: a paragraph, or a strip, or a table whose cells have a line for each of their strings."""

    name: str
    pieces: tuple[Piece, ...] = ()
    svg: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sign(word: str) -> str:
    """The sign that goes with a verdict's word.

    >>> sign("safe to repeat"), sign("not yet tried")
    ('●', '–')
    """
    return SIGNS.get(word, "–")


def slug(word: str) -> str:
    """A word as part of a class name or an anchor, whatever it was.

    >>> slug("right number, wrong reason"), slug('C01"><b>')
    ('right-number-wrong-reason', 'c01-b-')
    """
    return re.sub(r"[^a-z0-9]+", "-", word.lower())


def anchor(id: str) -> str:
    """Where the box of a claim is on its page.

    >>> anchor("C01")
    'claim-c01'
    """
    return f"claim-{slug(id)}"


def word_in(content: Content | None) -> str:
    """The word of a verdict, or that there is none."""
    word = (content or {}).get("word")
    return str(word) if word else NO_VERDICT


def lettered(content: Content | None) -> str:
    """The word, and the mark of one that lies at an edge.

    >>> lettered({"word": "wrong", "edge": "5 of 6 machines"})
    'wrong\xa0±'
    """
    return word_in(content) + (f"\N{NO-BREAK SPACE}{EDGE}" if (content or {}).get("edge") else "")


def marked(content: Content | None, *, word: str | None = None) -> str:
    """Sign and word as HTML; the signs are silent to a screen reader, which reads the words."""
    word = word or word_in(content)
    mark = f'<span aria-hidden="true">{sign(word)}</span>'
    edge = (
        f'&nbsp;<abbr title="{escape(str((content or {})["edge"]))}">{EDGE}</abbr>'
        if (content or {}).get("edge")
        else ""
    )
    return f'<strong class="bb-word bb-word-{slug(word)}">{mark} {escape(word)}{edge}</strong>'


def stake(content: Content) -> str:
    """What the bill of the reference deployment is, over what one would expect who believes the claim; "" for less than
    a hundredth, and where it cannot be computed.

    >>> stake({"stake": 0.25}), stake({"stake": -0.5}), stake({"stake": None}), stake({"stake": 6.0})
    ('0.80 times as expected', '2.0 times as expected', '', '0.14 times as expected')
    """
    changed = content.get("stake")
    if not isinstance(changed, int | float) or changed <= -1 or abs(changed) < 0.01:
        return ""
    return f"{1 / (1 + changed):#.2g} times as expected"


def blocks(content: Content) -> tuple[Block, ...]:
    """What stands in a box, from top to bottom."""
    counted = [part for part in content.get("parts") or () if part.get("kind") in COUNTED_KINDS]
    beside = [part for part in content.get("parts") or () if part.get("kind") not in COUNTED_KINDS]
    drawing = strip.strip(content) if counted or content.get("reach") else ""
    return tuple(
        block
        for block in (
            Block(name="bb-verdict-head", pieces=(("strong", str(content.get("id", ""))), ("word", lettered(content)))),
            _line("bb-verdict-claim", "", content.get("statement")),
            _line("bb-verdict-terms", "In its own terms:", content.get("terms")),
            Block(name="bb-verdict-say", pieces=(("em", "Say:"), ("strong", str(content.get("say") or "")))),
            Block(name="bb-verdict-strip", svg=drawing),
            Block(name="bb-checks", columns=COLUMNS, rows=tuple(map(cells, counted))),
            Block(name="bb-checks bb-beside", columns=BESIDE_COLUMNS, rows=tuple(map(_beside, beside))),
            *_endings(content),
        )
        if block.rows or block.svg or any(said for kind, said in block.pieces if kind != "em")
    )


def cells(part: Content) -> tuple[str, ...]:
    """One counted part in `COLUMNS`."""
    unit, flips, off_by = part.get("unit"), part.get("flips") or {}, part.get("off_by")
    turns = f"\nwould turn at: {flips.get('text')}: {strip.shown_number(flips.get('found'), unit)}" if flips else ""
    low, high = part.get("low"), part.get("high")
    wide = f"\n{strip.shown_number(low, unit)} to {strip.shown_number(high, unit)}" if low != high else ""
    return (
        f"{part.get('text', '')}{turns}",
        str(part.get("kind", "")),
        strip.stated(part),
        strip.shown_number(part.get("found"), unit) + wide,
        f"{off_by:.3g}×" if isinstance(off_by, int | float) else "",
        "✓ right" if part.get("passed") else "✗ not right",
        str(part.get("how", "")),
    )


def box(content: Content) -> str:
    """The verdict as HTML: the word, what is claimed, what to say, the parts, how far it carries, why."""
    word, id = word_in(content), str(content.get("id", ""))
    return (
        f'<div class="bb-verdict bb-verdict-{slug(word)}" id="{anchor(id)}" role="group" '
        f'aria-label="Verdict on claim {escape(id)}: {escape(word)}" style="{_FRAME}">'
        f"{''.join(_block(block, content) for block in blocks(content))}</div>"
    )


def table_of(block: Block) -> str:
    """A block's table as HTML."""
    rows = "".join(map(_row, block.rows))
    return f'<table class="{block.name}">{head(block.columns)}<tbody>{rows}</tbody></table>'


def paragraph(block: Block, content: Content) -> str:
    """A block's words as HTML."""
    return f'<p class="{block.name}">{" ".join(_piece(*piece, content) for piece in block.pieces)}</p>'


def as_text(content: Content) -> str:
    """The verdict as lines of text."""
    lines = [f"{content.get('id', '')} {sign(word_in(content))} {lettered(content)}: {content.get('statement', '')}"]
    for block in blocks(content)[1:]:
        if block.rows:
            lines += [f"  {' | '.join(filter(None, row)).replace(chr(10), '; ')}" for row in block.rows]
        elif block.pieces and block.name != "bb-verdict-claim":
            lines.append(f"  {' '.join(said for _, said in block.pieces)}")
    return "\n".join(lines)


def _endings(content: Content) -> Iterable[Block]:
    """The lines below the parts: how far the claim carries, what decided, what lies at an edge, what it is about."""
    reach = content.get("reach") or {}
    about = f"{reach['text']}: " if reach.get("text") else ""
    told = f"{about}{strip.reached(reach)}" if strip.reached(reach) else ""
    changes = f"the bill of the reference deployment is {stake(content)}" if stake(content) else ""
    yield _line("bb-verdict-reach", "How far it carries:", told)
    yield _line("bb-verdict-reach", "It turns at:", reach.get("boundary"))
    yield _line("bb-verdict-rule", "Why this word:", content.get("reason"))
    yield _line("bb-verdict-rule", f"At an edge ({EDGE}):", content.get("edge"))
    yield _line("bb-verdict-rule", "To who believes it:", changes)
    yield _line("bb-verdict-rule", "Measured on:", content.get("device"))


def _line(name: str, label: str, said: object) -> Block:
    pieces = (("em", label), ("text", str(said or ""))) if label else (("text", str(said or "")),)
    return Block(name=name, pieces=pieces)


def _beside(part: Content) -> tuple[str, ...]:
    note = f"\n{part['test']}" if part.get("test") else ""
    found = strip.shown_number(part.get("found"), part.get("unit"))
    return f"{part.get('text', '')}{note}", str(part.get("kind", "")), found, str(part.get("how", ""))


def _block(block: Block, content: Content) -> str:
    if block.rows:
        return table_of(block)
    return f'<div class="{block.name}">{block.svg}</div>' if block.svg else paragraph(block, content)


def _piece(kind: str, said: str, content: Content) -> str:
    if kind == "word":
        return marked(content)
    return escape(said) if kind == "text" else f"<{kind}>{escape(said)}</{kind}>"


def _row(cells: tuple[str, ...]) -> str:
    first, *others = map(_cell, cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'


def _cell(said: str) -> str:
    first, *more = map(escape, said.split("\n"))
    return first + "".join(f"<br><small>{line}</small>" for line in more)
