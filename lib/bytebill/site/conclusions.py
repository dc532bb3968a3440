"""What has the book changed its mind about? The changelog's *Conclusions*, a row a claim, as a page shows them.

The directive `{conclusions}` reads `CHANGELOG.md`, the newest version first, as that file has them: the table of
claims, and then the numbers that changed without turning a verdict. No sentence is written twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from bytebill import chapters
from bytebill.errors import require

LEDGER = "../notebooks/ledger"
_SLASH = "\\"
_VERSION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_CONCLUSIONS = re.compile(r"^### Conclusions$(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
_CHANGE = re.compile(r"^- \*\*(?P<claim>C\d\d)\*\* (?P<old>[^:]+): (?P<new>.+?)\. (?P<why>.+)$")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One claim's word before and after, and why."""

    claim: str
    old: str
    new: str
    why: str


def versions(changelog: str) -> Iterator[tuple[str, list[Change], list[str]]]:
    """Each version of a changelog that tells conclusions: its name, the claims that changed, and its other points.

    >>> text = "## 1.0\\n### Conclusions\\n- **C01** loose: × wrong. It is 3.\\n- Chapter 2: 5.\\n### Edits\\n- No."
    >>> [(version, changes[0].old, changes[0].why, others) for version, changes, others in versions(text)]
    [('1.0', 'loose', 'It is 3.', ['- Chapter 2: 5.'])]
    """
    for version, text in _VERSION.findall(changelog):
        if told := _CONCLUSIONS.search(text):
            points = [line for line in told[1].splitlines() if line.startswith("- ")]
            changes = [Change(**found.groupdict()) for line in points if (found := _CHANGE.match(line))]
            yield version, changes, [line for line in points if not _CHANGE.match(line)]


class Conclusions(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """A table a version, and the numbers that changed beside it."""
        path = chapters.this_book().root / "CHANGELOG.md"
        self.env.note_dependency(str(path))
        box = nodes.container(classes=["bb-changes"])
        for line_of in versions(path.read_text(encoding="utf-8")):
            self.state.nested_parse(StringList(_lines(path, *line_of), str(path)), 0, box)
        require(bool(box.children), f"{path.name} tells no conclusions.")
        return [box]


def _lines(path: Path, version: str, changes: list[Change], others: list[str]) -> list[str]:
    """Markdown for one version."""
    head = [f"**Version:** {version.lower() if version == 'Unreleased' else version}", ""]
    table = ["| Claim | From | To | Why |", "|---|---|---|---|", *(_row(each) for each in changes), ""]
    rest = ["**Numbers that changed without turning a verdict**", "", *map(escaped, others), ""]
    return [*head, *(table if changes else []), *(rest if others else [])]


def _row(change: Change) -> str:
    cells = (f"[{change.claim}]({LEDGER}.ipynb#{change.claim})", change.old, f"**{change.new}**", change.why)
    return f"| {' | '.join(escaped(cell).replace('|', _SLASH + '|') for cell in cells)} |"


def escaped(text: str) -> str:
    """Markdown of the changelog as MyST reads it, to which a dollar is the beginning of a formula.

    >>> print(escaped("$0.40"))
    \\$0.40
    """
    return text.replace("$", _SLASH + "$")
