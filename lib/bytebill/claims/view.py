"""What does a reader see of a verdict? Boxes and lines made from its JSON, so a stored one shows the same.

Word and sign say everything: the class names (`bb-verdict-loose` and so on) only let the style sheet add
colour, and the border is drawn here so that the box stands out in plain Jupyter too. What stands in a box is said once,
in `paragraphs` and `cells`; it is drawn as HTML here and as the book's own nodes in `bytebill.site.verdict_nodes`.
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from bytebill.display import head
from bytebill.units import show

Content = Mapping[str, Any]
Paragraph = tuple[str, tuple[tuple[str, str], ...]]  # its class, and its pieces: what each is, and its text
SIGNS = {"holds": "✓", "holds with conditions": "◐", "loose": "≈", "refuted": "✗", "unsourced": "?"}
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


def paragraphs(content: Content) -> tuple[Paragraph, ...]:
    """What stands above and, the last of them, below the checks."""
    device = f" Measured on: {content['device']}." if content["device"] else ""
    return (
        ("bb-verdict-head", (("strong", content["id"]), ("word", content["verdict"]))),
        ("bb-verdict-claim", (("text", content.get("statement", "")),)),
        ("bb-verdict-stated", (("em", "Stated:"), ("text", content["stated"]))),
        ("bb-verdict-rule", (("em", "Rule:"), ("text", f"{content['rule']}.{device}"))),
    )


def cells(evidence: Content) -> tuple[str, ...]:
    """One check in `COLUMNS`."""
    result = f"{SIGNS['holds']} passes" if evidence["passed"] else f"{SIGNS['refuted']} fails"
    return evidence["text"], evidence["role"], evidence["how"], found(evidence), evidence["test"], result


def box(content: Content) -> str:
    """The verdict as HTML: the word, what is claimed, the checks, the rule."""
    word, id = content["verdict"], content["id"]
    *above, below = map(_paragraph, paragraphs(content))
    rows = "".join(_row(*cells(evidence)) for evidence in content["evidence"])
    return (
        f'<div class="bb-verdict bb-verdict-{slug(word)}" id="{anchor(id)}" role="group" '
        f'aria-label="Verdict on claim {escape(id)}: {escape(word)}" style="{_FRAME}">{"".join(above)}'
        f'<table class="bb-checks">{head(COLUMNS)}<tbody>{rows}</tbody></table>{below}</div>'
    )


def as_text(content: Content) -> str:
    """The verdict as lines of text."""
    word, id = content["verdict"], content["id"]
    device = f"; measured on {content['device']}" if content["device"] else ""
    lines = [f"{id} {sign(word)} {word}: {content.get('statement', '')}", f"  stated: {content['stated']}"]
    return "\n".join([*lines, *map(_line, content["evidence"]), f"  rule: {content['rule']}{device}"])


def _line(evidence: Content) -> str:
    name, role, how, number, test, result = cells(evidence)
    return f"  {result[0]} {name}: {number} ({how}, {role}; {test})"


def _paragraph(given: Paragraph) -> str:
    name, pieces = given
    return f'<p class="{name}">{" ".join(_piece(*piece) for piece in pieces)}</p>'


def _piece(kind: str, said: str) -> str:
    if kind == "word":
        return marked(said)
    return escape(said) if kind == "text" else f"<{kind}>{escape(said)}</{kind}>"


def _row(name: str, *others: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in others)}</tr>'
