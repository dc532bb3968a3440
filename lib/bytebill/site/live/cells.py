"""What does a chapter's cell need to run by itself? The statements before it that it takes names from, and no others.

A cell tagged `live` can be edited and run in the page. It gets what a reader would have to copy with it: going up from
the cell, each statement of the chapter that last gave a name its value, with what that one needs in turn. Imports keep
only the names that are used. The tag changes nothing in Jupyter; a test runs every tagged cell with the core alone and
holds it to the committed output.
"""

import ast
import builtins
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

TAG = "live"
LIVE_SCRIPTS, LIVE_CSS = ("runtime.js", "live.js"), "live.css"
_GIVEN = {*dir(builtins), "display"}


def sliced(sources: Sequence[str]) -> str:
    """The last source, after the statements of those before it that it needs.

    >>> print(sliced(["from math import exp, log\\nn = 2", "m = 3\\nk = n + 1", "log(k)"]))
    from math import log
    n = 2
    k = n + 1
    <BLANKLINE>
    log(k)
    """
    before = needed_by(sources)
    return f"{before}\n\n{sources[-1]}" if before else sources[-1]


def needed_by(sources: Sequence[str]) -> str:
    """The statements alone that the last source needs of those before it; nothing, if it needs none."""
    before = [statement for source in sources[:-1] for statement in ast.parse(source).body]
    texts = [ast.get_source_segment(source, each) or "" for source in sources[:-1] for each in ast.parse(source).body]
    needed, kept = _used(ast.parse(sources[-1])) - _GIVEN, []
    for statement, text in zip(reversed(before), reversed(texts), strict=True):
        gives = _given_by(statement) & needed
        if not gives:
            continue
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            statement.names = [each for each in statement.names if (each.asname or each.name) in gives]
            text = ast.unparse(statement)
        kept.append(text)
        needed = (needed - gives) | (_used(statement) - _GIVEN)
    return "\n".join(reversed(kept))


def _given_by(statement: ast.stmt) -> set[str]:
    """Names that a statement gives values to."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {each.asname or each.name for each in statement.names}
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    return {each.id for each in ast.walk(statement) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}


def _used(tree: ast.AST) -> set[str]:
    """Names that are read in it, whoever gave them; what it gives itself included, which costs nothing."""
    if isinstance(tree, (ast.Import, ast.ImportFrom)):
        return set()
    return {each.id for each in ast.walk(tree) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}


def live_cells(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The tagged cells of a notebook, each with the code that runs alone."""
    for cell, sources in _tagged(path):
        yield cell, sliced(sources)


def live_parts(path: Path) -> list[dict[str, str]]:
    """What the page holds of each tagged cell: what it needs first, and its own source."""
    return [{"before": needed_by(sources), "code": sources[-1]} for _, sources in _tagged(path)]


def _tagged(path: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The tagged cells, each with the sources up to its own."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    for at, cell in enumerate(cells):
        if TAG in cell["metadata"].get("tags", ()):
            yield cell, sources[: at + 1]


def add_sources(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page with live cells their code and the script, and no other page."""
    notebook = Path(app.srcdir) / f"{pagename}.ipynb"
    if f"tag_{TAG}" not in context.get("body", "") or not notebook.is_file():
        return
    codes = json.dumps(live_parts(notebook), ensure_ascii=False).replace("<", "\\u003c")
    context["body"] += f'<script type="application/json" class="bb-live-codes">{codes}</script>'
    app.add_css_file(LIVE_CSS)
    for name in LIVE_SCRIPTS:
        app.add_js_file(name, defer="defer")
