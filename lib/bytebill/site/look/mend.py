"""What of the theme's frame keeps people out, and how is it mended? In the built pages, so that no script is needed.

A label that says other words than the button shows cannot be spoken to; a side bar without a role is no region; an
empty cell is no heading. `bytebill.site.tried.access` finds such things, and what is mended here it finds no longer.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

MENDED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(wrong), right)
    for wrong, right in (
        (r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"', r"\1"),
        (r'(<i class="theme-switch [^>]*?)\s+title="[^"]*"', r"\1"),
        (r'<summary aria-label="Toggle hidden content">', "<summary>"),
        (
            r'<div id="pst-primary-sidebar" class',
            '<div id="pst-primary-sidebar" role="complementary" aria-label="Book" class',
        ),
        (r'role="doc-biblioentry"', 'role="listitem"'),  # withdrawn from the standard, and no child of a list
        (r'<th class="head"><p></p></th>', '<td class="head"></td>'),
    )
)


def mended(html: str) -> str:
    """A page without the faults.

    >>> mended('<summary aria-label="Toggle hidden content"><p>Show code</p></summary>')
    '<summary><p>Show code</p></summary>'
    >>> mended('<tr><th class="head"><p>At a glance</p></th><th class="head"><p></p></th></tr>')
    '<tr><th class="head"><p>At a glance</p></th><td class="head"></td></tr>'
    """
    for wrong, right in MENDED:
        html = wrong.sub(right, html)
    return html


def mend_pages(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite what was built."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            page = path.read_text(encoding="utf-8")
            if (better := mended(page)) != page:
                path.write_text(better, encoding="utf-8")
