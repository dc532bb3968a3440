"""What tables does the book rest on? A card for each, out of its sidecar, so that a name in the text leads somewhere.

The directive `{data-tables}` makes the cards: title and meaning, rows, works it rests on, dates, licence, columns. A
name in code font, `data/models.csv`, links to its card from every page, and on a card to the file, which lies beside
the pages so that nobody has to clone the repository to see a row.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bytebill import data
from bytebill.site.aids import provenance

# Files without a sidecar, in words.
OTHERS = {
    "claims": ("yaml", "The claims on trial", "Each in its own terms, with its parts, their bounds and its panel."),
    "panels": ("yaml", "What a claim's reach is judged on", "Deployments, traces, offers and devices, with sources."),
}
FILES = "_static/data"
MEASURED = ("data/measured/", "Runs on record", "One file a run, with its device, its day and every sample.")
_CODE = re.compile(
    r'(?<!">)(<code class="docutils literal notranslate"><span class="pre">data/'
    r"(?:(?P<file>(?P<table>[\w-]+)\.(?:csv|ya?ml))|(?P<measured>measured/)[^<]*)</span></code>)"
)


def card_anchor(name: str) -> str:
    """The name of a card's place on the page.

    >>> card_anchor("api_prices")
    'table-api-prices'
    """
    return f"table-{name.replace('_', '-')}"


def table_card(name: str) -> list[str]:
    """A table's card in Markdown.

    >>> print(table_card("models")[0][:19])
    **`data/models.csv`
    """
    if name in OTHERS:
        ending, title, description = OTHERS[name]
        day = provenance.read_on(name)
        return [f"**`data/{name}.{ending}`** {title}", "", description, *([f"Sources read: {day}."] if day else [])]
    told = data.sidecar(name)
    return [
        f"**`data/{name}.csv`** {told['title']}",
        "",
        str(told["description"]).strip(),
        "",
        *(f"* {label}: {text}" for label, text in _facts(name, told) if text),
    ]


class DataTables(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """The cards, by name."""
        names = sorted((*data.names(), *OTHERS))
        return [*(self._box(card_anchor(name), table_card(name)) for name in names), self._records()]

    def _box(self, id: str, lines: list[str]) -> nodes.container:
        box = nodes.container(ids=[id], classes=["bb-table-card"])
        self.state.nested_parse(StringList(lines, "data tables"), 0, box)
        return box

    def _records(self) -> nodes.container:
        """One card for all runs on record."""
        place, title, description = MEASURED
        folder = data.root() / "measured"
        runs = sorted(path.relative_to(folder).with_suffix("") for path in folder.rglob("*.json"))
        names = ", ".join(f"`{path.as_posix()}`" for path in runs)
        return self._box("table-measured", [f"**`{place}`** {title}", "", description, "", f"* Runs: {names}"])


def link_names(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Names of data files in code font lead to their cards, and there to the files."""
    if "body" in context and app.builder.format == "html":
        if pagename == provenance.TABLES_PAGE:
            context["body"] = linked(context["body"], uri=context["pathto"](FILES, 1), to_files=True)
        else:
            uri = app.builder.get_relative_uri(pagename, provenance.TABLES_PAGE)
            context["body"] = linked(context["body"], uri=uri)


def ship_files(app: Sphinx, exception: Exception | None) -> None:
    """Lay the tables and their sidecars beside the pages of a build that went well."""
    if exception is None and app.builder.name == "html":
        folder = Path(app.outdir) / FILES
        folder.mkdir(parents=True, exist_ok=True)
        for path in table_files():
            shutil.copyfile(path, folder / path.name)


def table_files() -> list[Path]:
    """The files of all cards but the runs on record, and what describes them."""
    tables = (data.root() / f"{name}.{ending}" for name in data.names() for ending in ("csv", "yml"))
    return [*tables, *(data.root() / f"{name}.{ending}" for name, (ending, *_) in OTHERS.items())]


def linked(body: str, *, uri: str, to_files: bool = False) -> str:
    """A page's HTML in which names of data files are links; those that name no file stay as they are.

    >>> code = '<code class="docutils literal notranslate"><span class="pre">data/{}</span></code>'
    >>> linked(code.format("models.csv"), uri="t.html")[:47]
    '<a class="bb-data" href="t.html#table-models"><'
    >>> linked(code.format("gone.csv"), uri="t.html") == code.format("gone.csv")
    True
    """
    known = (*data.names(), *OTHERS)

    def link(found: re.Match[str]) -> str:
        name = found["table"] or "measured"
        if found["table"] and name not in known:
            return str(found[1])
        if to_files:
            return (
                f'<a class="bb-data" href="{uri}/{found["file"]}">{found[1]}</a>' if found["table"] else str(found[1])
            )
        return f'<a class="bb-data" href="{uri}#{card_anchor(name)}">{found[1]}</a>'

    return _CODE.sub(link, body)


def _facts(name: str, told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    rows = data.rows(name)
    works = sorted({str(row["source_id"]) for row in rows if row.get("source_id")})
    yield "Rows", f"{len(rows):,}"
    yield "Rests on", f"{{cite:p}}`{','.join(works)}`" if works else ""
    yield "Published", str(told.get("date_published") or "")
    yield "Read", provenance.read_on(name) or ""
    yield "Read at second hand or recalled", f"{marked} rows" if (marked := provenance.second_hand(name)) else ""
    yield "Licence", str(told.get("license") or "")
    yield "Columns", ", ".join(f"`{column['name']}`" for column in told["columns"])
