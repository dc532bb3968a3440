"""How does a page price a deployment by itself? The form, the table of worked cases, and Python to run in the browser.

    {calculator}     a directive: the form, empty places for its answer, and the table that is there without a script
    ship             what the page's worker loads: Pyodide, the core of the package, and the core's tables as JSON

Form and table are made of the same `statement.fields` and `statement.answer` that the worker runs. Nothing is loaded
before a click on Start, and nothing from another host. Without Pyodide's archive (`site.pyodide`) the page says so and
keeps its table.
"""

import zipfile
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from bytebill import display
from bytebill.data import bundle
from bytebill.site.live import pyodide
from bytebill.statement.answer import answer
from bytebill.statement.fields import FORM_FIELDS, Field, read_fields
from bytebill.statement.fill import fill_mark

FIELDSETS: Mapping[str, tuple[str, ...]] = {
    "Model": ("m", "w", "kv"),
    "One replica": ("gpu", "n", "attn", "by"),
    "Traffic": ("in", "out", "hit", "load", "rps", "users", "peak"),
    "Limits": ("ttft", "tpot", "fill"),
    "Money": ("rent", "api", "price"),
}
CONFIG, FOUND = "config", "found"  # the pasted model, in no address; the mark of a fill, which nobody types
NAMED = {  # cases, each with the fill that the page's own search finds for it [%]
    "Chat, a 70B on four H100": {"fill": "59"},
    "Chat, the same in 8 bits on two": {"w": "fp8", "n": "2", "fill": "57"},
    "In the house, an 8B on one L40S": {
        **{"m": "llama-3.1-8b", "gpu": "l40s", "n": "1", "rps": "1", "peak": "4"},
        "fill": "65",
    },
    "Reasoning, gpt-oss-120b on two H100": {
        **{"m": "gpt-oss-120b", "n": "2", "out": "1500", "rps": "2", "peak": "2"},
        "fill": "98",
    },
}
WORKED = {name: {**fields, FOUND: fill_mark(read_fields(fields))} for name, fields in NAMED.items()}
SHOWN = {  # headings of the table, and the rows of an answer that stand below them
    "limited by": ("speed", "What limits it"),
    "TPOT": ("speed", "Each further one (TPOT)"),
    "fill": ("money", "Fill"),
    "devices": ("money", "Devices"),
    "a month": ("money", "Invoice, a month"),
    "a million output tokens": ("money", "A million output tokens, input included"),
}
CORE_PACKAGES = ("data", "models", "roofline", "economics", "memory", "serving", "sim", "statement")
OF_CHAPTERS = ("deepseek_day6",)  # tables that cells of chapters read which run in the page
CALCULATOR_CSS, CALCULATOR_SCRIPTS = "calculator.css", ("runtime.js", "calculator.js")
_DAY = (1980, 1, 1, 0, 0, 0)  # in an archive, so that it is the same every time


class Calculator(Directive):
    """The directive: everything as HTML, hidden until a script and a click show it, but for the table."""

    has_content: ClassVar = False

    def run(self) -> list[nodes.Node]:
        """The page's pieces, in order."""
        return [nodes.raw("", part, format="html") for part in (form_html(), worked_html())]


def form_html() -> str:
    """The form and the places of its answer."""
    runtime = "yes" if pyodide.is_whole(pyodide.archive()) else "no"
    fieldsets = "".join(
        f"<fieldset><legend>{name}</legend>{''.join(_control(FORM_FIELDS[each]) for each in fields)}"
        f"{_CONFIG_HTML if name == 'Model' else ''}</fieldset>"
        for name, fields in FIELDSETS.items()
    )
    return (
        f'<div class="bb-calculator" data-runtime="{runtime}">'
        '<p class="bb-state" role="status">The calculator needs a script, which is off here; the table below does not.'
        '</p><button type="button" class="bb-start" hidden>Start the calculator</button>'
        f'<form class="bb-form" hidden autocomplete="off">{fieldsets}{_mark_html()}</form>'
        '<div class="bb-answer" hidden><p class="bb-state-here" aria-hidden="true"></p>'
        '<p class="bb-headline" role="status"></p><p class="bb-refused" role="alert"></p>'
        f'{_FILL_HTML}<ul class="bb-notes"></ul><div class="bb-drawings"></div>'
        '<div class="bb-sections"></div><div class="bb-exports"></div></div></div>'
    )


_CONFIG_HTML = (
    '<details class="bb-paste"><summary>Another model: paste its config.json</summary><label>It stays in this page'
    f'<textarea name="{CONFIG}" rows="6" spellcheck="false" placeholder="{{ … }}"></textarea></label></details>'
)
_FILL_HTML = '<button type="button" class="bb-find-fill">Find the fill by simulation</button>'


def _mark_html() -> str:
    """The field that holds a fill's mark, which the script alone writes."""
    field = FORM_FIELDS[FOUND]
    return f'<input type="hidden" name="{FOUND}" min="{field.low:.10g}" max="{field.high:.10g}" step="1" value="">'


def _control(field: Field) -> str:
    """A field as an input that allows what it allows."""
    unit = f" <small>[{escape(field.unit)}]</small>" if field.unit else ""
    if field.options is not None:
        choices = "".join(
            f'<option value="{escape(value)}"{" selected" if value == field.default else ""}>{escape(label)}</option>'
            for value, label in field.options().items()
        )
        control = f'<select name="{field.name}">{choices}</select>'
    else:
        bounds = f'min="{field.low:.10g}" max="{field.high:.10g}" step="{1 if field.whole else "any"}"'
        hint = f' placeholder="{escape(field.empty)}"' if field.empty else " required"
        control = f'<input name="{field.name}" type="number" {bounds} value="{field.default}"{hint}>'
    return f'<label data-of="{field.name}"><span>{escape(field.label)}{unit}</span>{control}</label>'


def worked_html() -> str:
    """The table of worked cases, each answered as the page would."""
    rows = [(_opening(name), *_printed(fields)) for name, fields in WORKED.items()]
    return f'<div class="bb-worked">{display.table("case", *SHOWN, rows=rows).html}</div>'


def _opening(name: str) -> display.Shown:
    """The name of a case, with its address for the script."""
    return display.Shown(html=f'<span data-fields="{escape(urlencode(WORKED[name]))}">{escape(name)}</span>', text=name)


def _printed(fields: Mapping[str, str]) -> list[str]:
    """The cells of a worked case, as printed."""
    found = answer(fields, quick=True)
    rows = {(part["id"], row["name"]): row["printed"] for part in found["sections"] for row in part["rows"]}
    return [rows[at] for at in SHOWN.values()]


def ship(static: Path, *, kept: Path | None = None) -> bool:
    """Lay what the worker loads into the site's folder of static files; False without Pyodide."""
    folder = static / "pyodide"
    if not pyodide.lay_runtime(folder, kept=kept):
        return False
    package = Path(bundle.__file__).parents[1]
    with zipfile.ZipFile(folder / "bytebill.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in core_files(package):
            info = zipfile.ZipInfo((Path("bytebill") / path.relative_to(package)).as_posix(), _DAY)
            packed.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
    bundle.write(folder / "core.json", (*bundle.CORE, *OF_CHAPTERS))
    return True


def core_files(package: Path) -> Iterator[Path]:
    """The modules that need the standard library alone, and so run in a page."""
    yield from (path for path in sorted(package.glob("*.py")) if path.stem not in ("cli", "device"))
    for name in CORE_PACKAGES:
        yield from (path for path in sorted((package / name).rglob("*.py")))


def add_assets(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page with a calculator its style and its scripts, and no other page."""
    if "bb-calculator" in context.get("body", ""):
        app.add_css_file(CALCULATOR_CSS)
        for name in CALCULATOR_SCRIPTS:
            app.add_js_file(name, defer="defer")


def ship_with(app: Sphinx, exception: Exception | None) -> None:
    """After a build that went well."""
    if exception is None and app.builder.name == "html":
        ship(Path(app.outdir) / "_static")
