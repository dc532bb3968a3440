"""What is behind a fold? The line of a folded cell says what its code makes, and not only that there is code.

MyST-NB calls all of them the same. What stands first in the cell's output tells a figure from a table, a verdict and
printed lines; a cell that shows nothing, or the heads of the claims, prepares what the others use.
"""

import re
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
_OUTPUT = 'class="cell_output'


def named_folds(body: str) -> str:
    """A page whose folds say what they hold.

    >>> fold = f'<p>{SHOW}</p><p>{HIDE}</p>'
    >>> named_folds(f'<div class="cell tag">{fold}<div class="cell_output x"><figure>')
    '<div class="cell tag"><p>Code of this figure</p><p>Hide the code</p><div class="cell_output x"><figure>'
    >>> named_folds(f'<div class="cell tag">{fold}</div>')
    '<div class="cell tag"><p>Set-up</p><p>Hide the code</p></div>'
    """
    return "".join(_named(part) for part in _CELL.split(body))


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
