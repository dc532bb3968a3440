"""How does the book become pages? A Sphinx extension for what the builder does not do by itself.

    tidy_scripts     Sphinx 7.4 writes inline scripts twice, which is an error in every browser's console, and
                     Jupyter Book adds thebe, which would ask another host, even where it is switched off
    drop_twin_ids    sphinx-exercise gives the inside of every exercise of a page the same id
    share_handlers   sphinx-exercise claims the builder 'singlehtml' and thereby hides all 'html' handlers from it
    share_anchors    lets Markdown link to a verdict on another page, `[C01](01_name.ipynb#claim-c01)`

`mime` shows verdicts natively, `figures` draws twins for the dark, `build` renders, `check` and `browser` look at
what came out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

ANCHOR_PREFIX = "claim-"


def tidy_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Keep each script of a page once, and thebe not at all."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for script in context.get("script_files", []):
        key = (
            str(getattr(script, "filename", script) or ""),
            str(getattr(script, "attributes", {}).get("body", "")),
        )
        if key not in seen and "thebe" not in "".join(key).lower():
            kept.append(script)
        seen.add(key)
    if kept:
        context["script_files"][:] = kept


def drop_twin_ids(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """An id may stand on a page once, and nothing links to these."""
    if "body" in context:
        context["body"] = re.sub(r' id="(?:exercise|solution)-content"', "", context["body"])


def share_handlers(app: Sphinx) -> None:
    """Let the one-page builder draw whatever the many-page builder can draw."""
    handlers = app.registry.translation_handlers
    if "singlehtml" in handlers:
        handlers["singlehtml"] = {**handlers.get("html", {}), **handlers["singlehtml"]}


def share_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Add the page's verdicts to the anchors that MyST knows of it."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for name, id in doctree.nameids.items():
        if name.startswith(ANCHOR_PREFIX) and id:
            slugs[name] = (0, id, name.removeprefix(ANCHOR_PREFIX).upper())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    from bytebill.site import figures  # matplotlib comes with it, which the checks of the pages do without

    app.connect("builder-inited", share_handlers)
    app.connect("doctree-read", share_anchors)
    app.connect("html-page-context", tidy_scripts, priority=900)  # after whoever adds scripts
    app.connect("html-page-context", drop_twin_ids)
    app.connect("html-page-context", figures.pair_drawings)
    app.connect("build-finished", figures.write_twins)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
