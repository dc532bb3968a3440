"""How is a verdict drawn in the book? As the page's own nodes, so that it is styled, searched and linked to.

A verdict is stored in a notebook as JSON beside its HTML. Jupyter shows the HTML; the book reads the JSON here and
makes a box, with the anchor `claim-c01`, of what `bytebill.claims.view` says stands in it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from docutils import nodes

from bytebill.claims import MIME, view


class ClaimRenderer:
    """The plugin that myst-nb finds by the entry point `myst_nb.mime_renderers`."""

    mime_priority_overrides: ClassVar = [("*", MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """The box of a verdict; None for everything else, which myst-nb then draws itself."""
        if data.mime_type != MIME or inline:
            return None
        content = data.content if isinstance(data.content, Mapping) else json.loads(data.content)
        verdict = drawn(content)
        name = view.anchor(content["id"])
        document = renderer.renderer.document
        if name not in document.nameids:  # where a page shows a verdict again, links lead to the first
            verdict["names"].append(name)
            document.note_explicit_target(verdict)
        return [verdict]


def drawn(content: Mapping[str, Any]) -> nodes.container:
    """A verdict's nodes: the word, what is claimed, the strip, the parts, how far it carries, why."""
    shown = [_block(block) for block in view.blocks(content)]
    return nodes.container("", *shown, classes=["bb-verdict", f"bb-verdict-{view.slug(view.word_in(content))}"])


def _block(block: view.Block) -> nodes.Element:
    if block.svg:
        return nodes.raw("", f'<div class="{block.name}">{block.svg}</div>', format="html")
    return _table(block) if block.rows else _paragraph(block)


def _table(block: view.Block) -> nodes.table:
    columns = (nodes.colspec(colwidth=1, stub=int(at == 0)) for at in range(len(block.columns)))
    group = nodes.tgroup("", *columns, cols=len(block.columns))
    group += nodes.thead("", _row((column,) for column in block.columns))
    group += nodes.tbody("", *(_row(cell.split("\n") for cell in row) for row in block.rows))
    return nodes.table("", group, classes=block.name.split())


def _paragraph(block: view.Block) -> nodes.paragraph:
    shown = [node for kind, text in block.pieces for node in (nodes.Text(" "), _piece(kind, text))]
    return nodes.paragraph("", "", *shown[1:], classes=[block.name])


def _piece(kind: str, text: str) -> nodes.Element:
    if kind == "word":
        word = text.removesuffix(view.EDGE).strip()
        return nodes.inline(text=f"{view.sign(word)} {text}", classes=["bb-word", f"bb-word-{view.slug(word)}"])
    return {"strong": nodes.strong, "em": nodes.emphasis, "text": nodes.inline}[kind](text=text)


def _row(cells: Iterable[Iterable[str]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", *(nodes.paragraph(text=line) for line in cell)) for cell in cells))
