"""What does a reader see of a verdict? Boxes and lines made from its JSON, so a stored one shows the same.

Word and sign say everything: the class names (`bb-verdict-loose` and so on) only let the style sheet add
colour, and the border is drawn here so that the box stands out in plain Jupyter too.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bytebill.claims.rule import SIGNS, claim, show

Content = Mapping[str, Any]
NOT_TRIED = "not yet tried"
_FRAME = "border-left: .35em solid; padding: .1em 1em; margin: 1em 0"


def sign(word: str) -> str:
    """The sign that goes with a verdict's word.

    >>> sign("holds"), sign("not yet tried")
    ('✓', '–')
    """
    return SIGNS.get(word, "–")


def slug(word: str) -> str:
    """The word as part of a class name or an anchor.

    >>> slug("holds with conditions")
    'holds-with-conditions'
    """
    return word.replace(" ", "-")


def anchor(id: str) -> str:
    """Where the box of a claim is on its page.

    >>> anchor("C01")
    'claim-c01'
    """
    return f"claim-{id.lower()}"


def found(evidence: Content) -> str:
    """The number of one check, with its unit."""
    return "not finite" if evidence["found"] is None else show(evidence["found"], unit=evidence["unit"])


def marked(word: str) -> str:
    """Sign and word as HTML; the sign is silent to a screen reader, which reads the word."""
    mark = f'<span aria-hidden="true">{sign(word)}</span>'
    return f'<strong class="bb-word bb-word-{slug(word)}">{mark} {escape(word)}</strong>'


COLUMNS = ("Check", "Kind", "Evidence", "Found", "Test", "Result")
_HEAD = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)


def box(content: Content) -> str:
    """The verdict as HTML: what is claimed, the word, the checks, the rule."""
    word, id = content["verdict"], content["id"]
    device = f" Measured on: {escape(content['device'])}." if content["device"] else ""
    rows = "".join(_row(evidence) for evidence in content["evidence"])
    return (
        f'<div class="bb-verdict bb-verdict-{slug(word)}" id="{anchor(id)}" role="group" '
        f'aria-label="Verdict on claim {id}: {word}" style="{_FRAME}">'
        f'<p class="bb-verdict-head">{escape(id)} {marked(word)}</p>'
        f"<p>{escape(claim(id).statement)} <em>Stated:</em> {escape(content['stated'])}</p>"
        f'<table class="bb-checks"><thead><tr>{_HEAD}</tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="bb-verdict-rule"><em>Rule:</em> {escape(content["rule"])}.{device}</p></div>'
    )


def text(content: Content) -> str:
    """The verdict as lines of text."""
    word, id = content["verdict"], content["id"]
    device = f"; measured on {content['device']}" if content["device"] else ""
    head = f"{id} {sign(word)} {word}: {claim(id).statement}"
    lines = [head, f"  stated: {content['stated']}", *map(_line, content["evidence"])]
    return "\n".join([*lines, f"  rule: {content['rule']}{device}"])


def _line(evidence: Content) -> str:
    mark = sign("holds" if evidence["passed"] else "refuted")
    kind = f"{evidence['how']}, {evidence['role']}; {evidence['test']}"
    return f"  {mark} {evidence['text']}: {found(evidence)} ({kind})"


def _row(evidence: Content) -> str:
    mark, word = (SIGNS["holds"], "passes") if evidence["passed"] else (SIGNS["refuted"], "fails")
    cells = (evidence["role"], evidence["how"], found(evidence), evidence["test"])
    result = f'<td><span aria-hidden="true">{mark}</span> {word}</td>'
    plain = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(evidence["text"])}</th>{plain}{result}</tr>'
