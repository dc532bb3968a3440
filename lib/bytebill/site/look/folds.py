"""What is behind a fold? The line of a folded cell says what its code makes, and not only that there is code.

MyST-NB calls all of them the same. What stands first in the cell's output tells a figure from a table, a verdict and
printed lines; a cell that shows nothing, or the heads of the claims, prepares what the others use. Where such a cell
stands right before another fold, both are one.
"""

import re
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx

SHOW, HIDE = "Show code cell source", "Hide code cell source"
SET_UP = "Set-up"
KINDS_OF_OUTPUT = {
    "<figure": "Code of this figure",
    "<img": "Code of this figure",
    'class="bb-opening': SET_UP,
    'class="bb-verdict': "Code of this verdict",
    "<table": "Code of this table",
    "output stream": "Code of these lines",
}
_CELL = re.compile(r'(?=<div class="cell )')
_INPUT, _OUTPUT = '<div class="cell_input', 'class="cell_output'
_SHOWS_NOTHING = re.compile(
    r'<div class="cell [^>]*>\s*<details[^>]*>\s*<summary.*?</summary>\s*'
    r'(<div class="cell_input.*)</details>\s*</div>\s*',
    re.DOTALL,
)


def named_folds(body: str) -> str:
    """A page whose folds say what they hold.

    >>> fold = f'<p>{SHOW}</p><p>{HIDE}</p>'
    >>> named_folds(f'<div class="cell tag">{fold}<div class="cell_output x"><figure>')
    '<div class="cell tag"><p>Code of this figure</p><p>Hide the code</p><div class="cell_output x"><figure>'
    >>> named_folds(f'<div class="cell tag">{fold}</div>')
    '<div class="cell tag"><p>Set-up</p><p>Hide the code</p></div>'
    """
    return "".join(_named(part) for part in joined(_CELL.split(body)))


def joined(parts: Iterable[str]) -> list[str]:
    """The cells of a page, where a folded one that shows nothing goes into the fold that follows it.

    >>> one, two = (f'<div class="cell t"><details><summary>{SHOW}</summary>{_INPUT}">{code}</div></details></div>'
    ...             for code in "ab")
    >>> joined([one, two]) == [two.replace(_INPUT, f'{_INPUT}">a</div>{_INPUT}')]
    True
    >>> joined([one + "<p>prose</p>", two]) == [one + "<p>prose</p>", two]
    True
    """
    kept: list[str] = []
    for part in parts:
        before = _SHOWS_NOTHING.fullmatch(kept[-1]) if kept and SHOW in part else None
        if before and SHOW in before[0] and _OUTPUT not in before[0]:
            kept.pop()
            part = part.replace(_INPUT, before[1] + _INPUT, 1)
        kept.append(part)
    return kept


def _named(part: str) -> str:
    """The same of one cell, with the text that follows it."""
    if SHOW not in part:
        return part
    output = part.partition(_OUTPUT)[2]
    first = min(
        (at, name) for sign, name in (*KINDS_OF_OUTPUT.items(), ("", SET_UP)) if (at := _place(sign, output)) >= 0
    )
    return part.replace(SHOW, first[1], 1).replace(HIDE, "Hide the code", 1)


def _place(sign: str, output: str) -> int:
    """Where a sign stands in an output; no sign, behind everything."""
    return output.find(sign) if sign else len(output)


def name_folds(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Name the folds of every page."""
    if "body" in context:
        context["body"] = named_folds(context["body"])
