"""Which session answers a question? The shortest of the guide's that shows the place where the answer stands.

The guide, `book/teaching.md`, is read as it was written: each session's table links to chapters, figures and claims.
Where there is no guide, as in an installed package, no session is known.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache

from bytebill import data

_SESSION = re.compile(r"^\(session-[\w-]+\)=\n## (?P<name>.+)$(?P<text>(?:\n(?!\().*)*)", re.MULTILINE)
_LINK = re.compile(r"\{(?:num)?ref\}`([\w-]+)`|#([\w-]+)[)\"]")


def anchors(guide: str) -> dict[str, frozenset[str]]:
    """What each session's table links to, the sessions in the guide's order.

    >>> found = anchors("(session-a)=\\n## An hour\\n| 0–8 | {ref}`ch-a`, [C01](a.ipynb#claim-c01) | Ask |\\n\\nText")
    >>> sorted(found["an hour"])
    ['ch-a', 'claim-c01']
    """
    return {
        found["name"].lower(): frozenset(
            ref or anchor
            for line in found["text"].splitlines()
            if line.startswith("|")
            for ref, anchor in _LINK.findall(line)
        )
        for found in _SESSION.finditer(guide)
    }


@cache
def of_guide() -> Mapping[str, frozenset[str]]:
    """The sessions of this book's guide."""
    path = data.REPOSITORY / "book" / "teaching.md"
    return anchors(path.read_text(encoding="utf-8")) if path.is_file() else {}


def first_with(places: Collection[str], sessions: Mapping[str, frozenset[str]]) -> str:
    """The first session that links to one of the places, or nothing.

    >>> first_with(["board-a"], {"an hour": frozenset({"ch-a"}), "half a day": frozenset({"ch-a", "board-a"})})
    'half a day'
    """
    return next((name for name, linked in sessions.items() if linked & set(places)), "")
