"""How is a verdict drawn in the book? As the page's own nodes, so that it is styled, searched and linked to.

A verdict is stored in a notebook as JSON beside its HTML. Jupyter shows the HTML; the book reads the JSON here and
makes a box, with the anchor `claim-c01`, out of the same words and signs (`bytebill.claims.view`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from docutils import nodes

from bytebill.claims import MIME, claim
from bytebill.claims import view as view

COLUMNS = ("Check", "Kind", "Evidence", "Found", "Test", "Result")


class ClaimRenderer:
    """The plugin that myst-nb finds by the entry point `myst_nb.mime_renderers`."""

    mime_priority_overrides: ClassVar = [("*", MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """The box of a verdict; None for everything else, which myst-nb then draws itself."""
        if data.mime_type != MIME or inline:
            return None
        content = data.content if isinstance(data.content, Mapping) else json.loads(data.content)
        verdict = box(content)
        name = view.anchor(content["id"])
        document = renderer.renderer.document
        if name not in document.nameids:  # where a page shows a verdict again, links lead to the first
            verdict["names"].append(name)
            document.note_explicit_target(verdict)
        return [verdict]


def box(content: Mapping[str, Any]) -> nodes.container:
    """A verdict's nodes: what is claimed, the word, the checks, the rule."""
    word, id = content["verdict"], content["id"]
    slug = view.slug(word)
    head = nodes.paragraph("", "", nodes.strong(text=id), nodes.Text(" "), classes=["bb-verdict-head"])
    head += nodes.inline(text=f"{view.sign(word)} {word}", classes=["bb-word", f"bb-word-{slug}"])
    stated = nodes.paragraph("", "", nodes.emphasis(text="Stated:"), nodes.Text(f" {content['stated']}"))
    rule = nodes.paragraph("", "", nodes.emphasis(text="Rule:"), classes=["bb-verdict-rule"])
    device = f" Measured on: {content['device']}." if content["device"] else ""
    rule += nodes.Text(f" {content['rule']}.{device}")
    parts = (head, nodes.paragraph(text=claim(id).statement), stated, checks(content["evidence"]), rule)
    return nodes.container("", *parts, classes=["bb-verdict", f"bb-verdict-{slug}"])


def checks(evidence: Iterable[Mapping[str, Any]]) -> nodes.table:
    """A row for each check: what was found, the test it faced, and whether it passed."""
    group = nodes.tgroup(cols=len(COLUMNS))
    group += [nodes.colspec(colwidth=1) for _ in COLUMNS]
    group += nodes.thead("", _row(COLUMNS))
    group += nodes.tbody("", *(_row(_cells(item)) for item in evidence))
    return nodes.table("", group, classes=["bb-checks"])


def _cells(item: Mapping[str, Any]) -> tuple[str, ...]:
    result = f"{view.sign('holds')} passes" if item["passed"] else f"{view.sign('refuted')} fails"
    return item["text"], item.get("role", "core"), item["how"], view.found(item), item["test"], result


def _row(cells: Iterable[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))
