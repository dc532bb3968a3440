"""How does the book become pages? A Sphinx extension for what the builder does not do by itself.

    tidy_scripts     Sphinx 7.4 writes inline scripts twice, which is an error in every browser's console, and
                     Jupyter Book adds thebe, which would ask another host, even where it is switched off
    drop_twin_ids    sphinx-exercise gives the inside of every exercise of a page the same id
    share_handlers   sphinx-exercise claims the builder 'singlehtml' and thereby hides all 'html' handlers from it
    share_anchors    lets Markdown link to a verdict on another page, `[C01](01_name.ipynb#claim-c01)`, and to a row of
                     the ledger, `[C01](ledger.ipynb#C01)`
    number_by_name   Sphinx numbers chapters by their place in the table of contents; the text means the number in
                     their file's name, and some chapters are not written yet

Its rooms: `cover` makes the first page, `live` prices a deployment in a page and runs cells of chapters there,
`teaching` makes slides and gathers pieces of all chapters on one page, `aids` makes works, changes, tables of data and
units into pages that lead to each other, dates every page and makes it findable, and `look` draws verdicts, formulas
and twins for the dark, and takes out what a page does not use. `build` renders; `check`, `browser` and what it tries
(`tried`) look at what came out; `printed` brings it onto paper.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from bytebill import chapters
from bytebill.site.aids import (
    borrowed,
    citations,
    conclusions,
    data_page,
    launch,
    machines_page,
    margin_notes,
    own_units,
    search,
)

ANCHOR_PREFIX = "claim-"
LEDGER_ROW = re.compile(r'<li class="bb-row[^>]* id="(C\d\d)"')


def tidy_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep each script of a page once, and thebe not at all."""
    kept: dict[tuple[str, str], Any] = {}
    for script in context.get("script_files", []):
        key = (str(getattr(script, "filename", script) or ""), str(getattr(script, "attributes", {}).get("body", "")))
        kept.setdefault(key, script)
    if kept:
        context["script_files"][:] = [kept[key] for key in kept if "thebe" not in "".join(key).lower()]


def drop_twin_ids(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """An id may stand on a page once, and nothing links to these."""
    if "body" in context:
        context["body"] = re.sub(r' id="(?:exercise|solution)-content"', "", context["body"])


def share_handlers(app: Sphinx) -> None:
    """Let the one-page builder draw whatever the many-page builder can draw."""
    handlers = app.registry.translation_handlers
    if "singlehtml" in handlers:
        handlers["singlehtml"] = {**handlers.get("html", {}), **handlers["singlehtml"]}


def share_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Add the page's verdicts, and the ledger's rows, to the anchors that MyST knows of it."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for name, id in doctree.nameids.items():
        if name.startswith(ANCHOR_PREFIX) and id:
            slugs[name] = (0, id, name.removeprefix(ANCHOR_PREFIX).upper())
    for row in LEDGER_ROW.findall("".join(raw.astext() for raw in doctree.findall(nodes.raw))):
        slugs[row] = (0, row, row)


def number_by_name(app: Sphinx) -> None:
    """Give each chapter and its figures the number in its file's name: notebooks/10_... is chapter 10.

    A heading without a number keeps its None: one that is missing would take its chapter's.
    """
    from sphinx_external_toc.collectors import TocTreeCollectorWithStyles as Collector

    def assign(collector: Any, env: Any) -> list[str]:
        rewritten: list[str] = by_place(collector, env)
        for name, numbers in env.toc_secnumbers.items():
            if (number := chapters.number(Path(name))) is not None:
                env.toc_secnumbers[name] = {at: rest and (number, *rest[1:]) for at, rest in numbers.items()}
                for node in (env.titles[name], *env.tocs[name].findall(nodes.reference)):
                    if node.get("secnumber"):
                        node["secnumber"] = [number, *node["secnumber"][1:]]
        return rewritten

    by_place = getattr(Collector, "by_place", Collector.assign_section_numbers)
    setattr(Collector, "by_place", by_place)  # noqa: B010  # a second build in one process wraps no wrapper
    setattr(Collector, "assign_section_numbers", assign)  # noqa: B010


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    from bytebill.site.cover import directive
    from bytebill.site.live import calculator, cells
    from bytebill.site.look import dark, folds, formulas, icons, lean, math_font, mend, whole
    from bytebill.site.teaching import gathered

    handlers: dict[str, tuple[Any, ...]] = {
        "config-inited": (launch.offer,),
        "builder-inited": (share_handlers, number_by_name, search.leave_own_index_empty),
        "env-before-read-docs": (citations.tell_apart,),
        "doctree-read": (share_anchors,),
        "doctree-resolved": (margin_notes.place_notes,),
        "html-page-context": (
            *(drop_twin_ids, dark.pair_drawings, math_font.style_formulas, directive.dress_cover, citations.link_back),
            *(data_page.link_names, borrowed.add_line, search.load_script, calculator.add_assets, cells.add_sources),
            *(folds.name_folds, machines_page.add_style),
        ),
        "build-finished": (
            *(dark.write_twins, calculator.ship_with, data_page.ship_files, search.write_entries),
            *(
                math_font.write_font,
                lean.trim,
                icons.write_icons,
                mend.mend_pages,
                whole.link_figures,
            ),  # last: they look at what is there
        ),
    }
    directives = {
        "cover": directive.CoverDirective,
        "calculator": calculator.Calculator,
        "conclusions": conclusions.Conclusions,
        "launch": launch.Launch,
        "own-units": own_units.OwnUnits,
        "data-tables": data_page.DataTables,
        "machines": machines_page.Machines,
    }
    for event, ours in handlers.items():
        for handler in ours:
            app.connect(event, handler)
    app.connect("html-page-context", tidy_scripts, priority=900)  # after whoever adds scripts
    for name, kind in directives.items():
        app.add_directive(name, kind)
    gathered.register(app)
    formulas.offer_mathml(app)
    citations.register_style()
    for name in ("aids", "narrow"):
        app.add_css_file(f"{name}.css")
        app.add_js_file(f"{name}.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
