"""What does a reader see of a verdict? Boxes and lines made from its JSON, so a stored one shows the same.

Word and sign say everything: the class names (`bb-verdict-loose` and so on) only let the style sheet add
colour, and the border is drawn here so that the box stands out in plain Jupyter too. What stands in a box is said once,
in `paragraphs` and `cells`; it is drawn as HTML here and as the book's own nodes in `bytebill.site.verdict_nodes`.
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from bytebill.units import show

Content = Mapping[str, Any]
Paragraph = tuple[str, tuple[tuple[str, str], ...]]  # its class, and its pieces: what each is, and its text
SIGNS = {
    "safe to repeat": "●",
    "true with a condition": "◐",
    "only in its own case": "◔",
    "right number, wrong reason": "≠",
    "right idea, wrong number": "×",
    "wrong": "✗",
    "cannot be tested": "?",
}
NOT_TRIED = "not yet tried"
COLUMNS = ("Check", "Kind", "Evidence", "Found", "Test", "Result")
_FRAME = "border-left: .35em solid; padding: .1em 1em; margin: 1em 0"


def sign(word: str) -> str:
    """The sign that goes with a verdict's word.

    >>> sign("holds"), sign("not yet tried")
    ('✓', '–')
    """
    return SIGNS.get(word, "–")


def slug(word: str) -> str:
    """A word as part of a class name or an anchor, whatever it was.

    >>> slug("holds with conditions"), slug('C01"><b>')
    ('holds-with-conditions', 'c01-b-')
    """
    return re.sub(r"[^a-z0-9]+", "-", word.lower())


def anchor(id: str) -> str:
    """Where the box of a claim is on its page.

    >>> anchor("C01")
    'claim-c01'
    """
    return f"claim-{slug(id)}"


def found(evidence: Content) -> str:
    """The number of one check, with its unit."""
    return "not finite" if evidence["found"] is None else show(evidence["found"], unit=evidence["unit"])


def marked(word: str) -> str:
    """Sign and word as HTML; the sign is silent to a screen reader, which reads the word."""
    mark = f'<span aria-hidden="true">{sign(word)}</span>'
    return f'<strong class="bb-word bb-word-{slug(word)}">{mark} {escape(word)}</strong>'


def head_of(content: Content) -> str:
    """What stands at the top of a chapter (a sketch until the page is redrawn)."""
    edge = " ±" if content["edge"] else ""
    return f"<p>{content['id']} {marked(content['word'])}{edge}: <b>{escape(content['say'])}</b></p>"


def box(content: Content) -> str:
    """The verdict as HTML (a sketch until the page is redrawn)."""
    return f"<pre>{escape(as_text(content))}</pre>"


def as_text(content: Content) -> str:
    """The verdict as lines of text."""
    lines = [f"{content['id']} {sign(content['word'])} {content['word']}: {content['say']}"]
    for part in content["parts"]:
        passed = {True: "holds", False: "fails", None: "not counted"}[part["passed"]]
        flips = part["flips"] and f"; {part['flips']['text']}: {part['flips']['found']}"
        ends = f"{part['low']} to {part['high']}"
        lines.append(
            f"  {part['kind']} {part['text']}: {found(part)} ({ends}; {part['test']}; {part['how']}; {passed}{flips})"
        )
    return "\n".join(
        [
            *lines,
            f"  {content['reason']}",
            f"  edge: {content['edge']}; stake: {content['stake']}; reach: {content['reach']}",
        ]
    )
