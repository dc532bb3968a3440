"""What does a page load that it does not use? Its tag is taken out after the page was written.

The theme and its extensions put all they have on every page: a script of 1.5 MB for a dozen icons which the theme's
style sheet draws too, the index of the search beside a search field that only leads to the page of the search, tabs,
folds and copy buttons where there is nothing to unfold or to copy.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sphinx.application import Sphinx

Need = Callable[[str], bool]


def _with(pattern: str) -> Need:
    """Needed by a page whose own part shows this."""
    found = re.compile(pattern)
    return lambda page: bool(found.search(page.partition("<body")[2]))


def _never(page: str) -> bool:
    return False


def _of_search(page: str) -> bool:
    return 'id="search-results"' in page


CODE = r'<div class="highlight'
CELLS = r'class="(?:[^"]* )?cell[ "_]'
FOLDS = r'class="[^"]*(?:admonition[^"]* dropdown|dropdown[^"]* admonition|(?<![-\w])toggle(?![-\w]))'
# A part of a file's name, and what tells that a page needs it.
NEEDS: Mapping[str, Need] = {
    "scripts/fontawesome.js": _never,
    "sphinx-thebe": _never,
    "searchtools.js": _of_search,
    "language_data.js": _of_search,
    "searchindex.js": _of_search,
    "sphinx-design": _with(r'class="(?:[^"]* )?sd-'),
    "design-tabs.js": _with(r'class="(?:[^"]* )?sd-tab'),
    "togglebutton": _with(FOLDS),
    "clipboard.min.js": _with(CODE),
    "copybutton": _with(CODE),
    "pygments.css": _with(CODE),
    "mystnb.": _with(CELLS),
    "exercise.css": _with(r'class="(?:exercise|solution)\b'),
}
_LOAD = re.compile(
    r"[ \t]*<(?:link\b[^>]*\bhref|script\b[^>]*\bsrc)=\"(?P<path>[^\"]+)\"[^>]*>(?P<end></script>)?[ \t]*\n?"
)


def trimmed(page: str) -> str:
    """A page without the loads it does not need.

    >>> trimmed('<script src="a/searchindex.js"></script><script src="b.js"></script><body>')
    '<script src="b.js"></script><body>'
    """
    unused = [part for part, needs in NEEDS.items() if not needs(page)]
    return _LOAD.sub(lambda load: "" if any(part in load["path"] for part in unused) else load.group(), page)


def trim(app: Sphinx, exception: Exception | None) -> None:
    """Trim every page that was written."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            page = path.read_text(encoding="utf-8")
            if (lean := trimmed(page)) != page:
                path.write_text(lean, encoding="utf-8")
