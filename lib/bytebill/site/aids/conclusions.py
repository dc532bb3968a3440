"""What has the book changed its mind about? The changelog's *Conclusions*, a row a claim, as a page shows them.

The directive `{conclusions}` reads `CHANGELOG.md`, the newest version first, as that file has them: what it says of all
changes, the table of claims, and then the numbers that changed without turning a verdict. No sentence is written twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from bytebill import chapters
from bytebill.errors import require

_LEDGER = "../notebooks/ledger"
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


@dataclass(frozen=True, kw_only=True)
class Told:
    """The conclusions of one version: what is said before its points, the claims that changed, and its other points."""

    version: str
    before: tuple[str, ...]
    changes: tuple[Change, ...]
    others: tuple[str, ...]


def versions(changelog: str) -> Iterator[Told]:
    """Each version of a changelog that tells conclusions.

    >>> text = "## 1.0\\n### Conclusions\\nNew.\\n- **C01** loose: × wrong. It is 3.\\n- Chapter 2: 5.\\n### E\\n- N"
    >>> [(told.version, told.before, told.changes[0].old, told.changes[0].why, told.others) for told in versions(text)]
    [('1.0', ('New.',), 'loose', 'It is 3.', ('- Chapter 2: 5.',))]
    """
    for version, text in _VERSION.findall(changelog):
        if told := _CONCLUSIONS.search(text):
            lines = [line for line in told[1].splitlines() if line.strip()]
            points = [line for line in lines if line.startswith("- ")]
            yield Told(
                version=version,
                before=tuple(takewhile(lambda line: not line.startswith("- "), lines)),
                changes=tuple(Change(**found.groupdict()) for line in points if (found := _CHANGE.match(line))),
                others=tuple(line for line in points if not _CHANGE.match(line)),
            )


class Conclusions(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """A table a version, and the numbers that changed beside it."""
        path = chapters.this_book().root / "CHANGELOG.md"
        self.env.note_dependency(str(path))
        box = nodes.container(classes=["bb-changes"])
        for told in versions(path.read_text(encoding="utf-8")):
            self.state.nested_parse(StringList(_lines(told), str(path)), 0, box)
        require(bool(box.children), f"{path.name} tells no conclusions.")
        return [box]


def _lines(told: Told) -> list[str]:
    """Markdown for one version."""
    name = told.version.lower() if told.version == "Unreleased" else told.version
    head = [f"**Version:** {name}", "", *map(escaped, told.before), ""]
    table = ["| Claim | From | To | Why |", "|---|---|---|---|", *(_row(each) for each in told.changes), ""]
    rest = ["**Numbers that changed without turning a verdict**", "", *map(escaped, told.others), ""]
    return [*head, *(table if told.changes else []), *(rest if told.others else [])]


def _row(change: Change) -> str:
    cells = (f"[{change.claim}]({_LEDGER}.ipynb#{change.claim})", change.old, f"**{change.new}**", change.why)
    return f"| {' | '.join(escaped(cell).replace('|', _SLASH + '|') for cell in cells)} |"


def escaped(text: str) -> str:
    """Markdown of the changelog as MyST reads it, to which a dollar is the beginning of a formula.

    >>> print(escaped("$0.40"))
    \\$0.40
    """
    return text.replace("$", _SLASH + "$")
