"""How do machines differ? The page of all records: what each can do, how far off its predictions are, and what turns.

The directive `{machines}` takes a part of it, `ceilings`, `steps`, `verdicts` or `records`, made while the book is
built from `data/measured/`, every record checked, and from the notebooks that are being rendered.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from numbers import Real
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bytebill import chapters, data
from bytebill.claims.on_machines import MeasuredPart, measured_parts
from bytebill.claims.run_record import committed_machine
from bytebill.claims.view import marked
from bytebill.display import Column, Shown
from bytebill.errors import require_known
from bytebill.records.compare import SHOWN_DTYPES, common_steps, described_machine
from bytebill.records.machines import Machine, machines_on_record
from bytebill.site.aids.machines_figure import panel_points, panels_html
from bytebill.units import show

MACHINES_CSS = "machines.css"
_LEDGER = "notebooks/ledger"


class Machines(SphinxDirective):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One part of the page as HTML."""
        name = str(self.arguments[0])
        require_known("part of the page of machines", name, PARTS_OF_PAGE)
        book = chapters.Book(root=Path(self.env.srcdir))
        for path in (data.root() / "measured").rglob("*.json"):
            self.env.note_dependency(str(path))
        to_ledger = self.env.app.builder.get_relative_uri(self.env.docname, _LEDGER)
        html = PARTS_OF_PAGE[name](book, to_ledger)
        return [nodes.raw("", f'<div class="bb-machines">{html}</div>', format="html")]


def add_style(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the page of machines its style, and no other page."""
    if "bb-machines" in context.get("body", ""):
        app.add_css_file(MACHINES_CSS)


def ceilings_html(machines: Sequence[Machine]) -> str:
    """What each machine reads and multiplies."""
    peaks = [f"{dtype} [FLOP/s]" for dtype in SHOWN_DTYPES]
    rows = []
    for told in map(described_machine, machines):
        if told["read_bytes_per_s"]:
            threads = f", {told['threads']} threads" if told["threads"] else ""
            rates = [told["peak_flops_per_s"].get(dtype) for dtype in SHOWN_DTYPES]
            rows.append([told["name"], told["device"] + threads, told["date"], told["read_bytes_per_s"], *rates])
    return stacked("machine", "device", "measured on", "reads [B/s]", *peaks, rows=rows)


def steps_html(machines: Sequence[Machine]) -> str:
    """The drawings, and their numbers folded below."""
    steps = list(common_steps([_undisturbed(machine) for machine in machines]))
    names = [m.name for m in machines if any(m.name in row["step_s"] for row in steps)]
    rows = []
    for title, points in panel_points(steps).items():
        by_batch = {name: dict(each) for name, each in points.items()}
        batches = sorted({batch for each in by_batch.values() for batch in each})
        rows += [[title, batch, *(by_batch.get(name, {}).get(batch) for name in names)] for batch in batches]
    numbers = stacked("step", "batch", *(f"{name} [:.2f]" for name in names), rows=rows)
    return f"{panels_html(steps, names)}<details><summary>The same as numbers</summary>{numbers}</details>"


def verdicts_html(machine: Machine, others: Sequence[Machine], *, to_ledger: str) -> str:
    """How many parts rest on a machine, and each of them, those that turn first."""
    parts = sorted(measured_parts(machine, others), key=lambda part: part.steady)
    turning = [part for part in parts if not part.steady]
    runs = [other.name for other in others if other.verdicts]
    whose = f" Whole runs of other machines: {', '.join(runs)}." if runs else ""
    said = (
        f"{len(parts)} parts of {len({part.id for part in parts})} claims rest on a measurement, here on "
        f"{machine.first.device or 'no device'}. {len(parts) - len(turning)} come out alike wherever and however often "
        f"they were measured; {len(turning)} {'turns' if len(turning) == 1 else 'turn'}.{whose}"
    )
    rows = [_verdict_row(part, to_ledger) for part in parts]
    table = stacked("claim", "what is measured", "asked", "found here", "everywhere", "comes out", rows=rows)
    return f"<p>{escape(said)}</p>{table}"


def records_html(machines: Iterable[Machine]) -> str:
    """Which files there are of each machine."""
    rows = [[machine.name, ", ".join(record.name for record in machine.records)] for machine in machines]
    return stacked("machine", "records", rows=rows)


def stacked(*headings: str, rows: Iterable[Sequence[Any]]) -> str:
    """A table whose headings format its cells, and stand beside them on a phone.

    >>> stacked("machine", "day", rows=[["a", "b"]])[-51:]
    '<td data-of="day">b</td></tr></tbody></table></div>'
    """
    columns = [Column.of(heading) for heading in headings]
    names = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in columns)
    body = "".join(_stacked_row(columns, row) for row in rows)
    return f'<div class="bb-stacked"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def _stacked_row(columns: Sequence[Column], row: Sequence[Any]) -> str:
    first, *others = (
        value.html if isinstance(value, Shown) else _whole(value, escape(column.cell(value)))
        for column, value in zip(columns, row, strict=True)
    )
    cells = "".join(
        f'<td data-of="{escape(column.name)}">{cell}</td>' for column, cell in zip(columns[1:], others, strict=True)
    )
    return f'<tr><th scope="row">{first}</th>{cells}</tr>'


def _whole(value: object, cell: str) -> str:
    """A number stays on one line with its unit."""
    return cell.replace(" ", "\N{NO-BREAK SPACE}") if isinstance(value, Real) else cell


def _verdict_row(part: MeasuredPart, to_ledger: str) -> list[Any]:
    wide = (part.low, part.high, *(number for number, _ in part.elsewhere.values()))
    ends = " to ".join(show(end, unit=part.unit) for end in (min(wide), max(wide)))
    each = [f"{name}: {show(x, unit=part.unit)} {_mark(holds)}" for name, (x, holds) in part.elsewhere.items()]
    there = "".join(f"<br><small>{escape(line)}</small>" for line in each)
    words = "".join(
        f"<br><small>{escape(name)}: {marked(None, word=word)}</small>" for name, word in part.words.items()
    )
    comes = f"{'alike' if part.steady else 'both ways'}, {marked(None, word=part.word)}{words}"
    claim = f'<a href="{escape(to_ledger)}#{escape(part.id)}">{escape(part.id)}</a>'
    return [
        Shown(html=claim, text=part.id),
        part.text,
        part.test,
        f"{show(part.found, unit=part.unit)}\N{NO-BREAK SPACE}{_mark(part.passed)}",
        Shown(html=escape(ends) + there, text=ends),
        Shown(html=comes, text=part.word),
    ]


def _mark(holds: bool) -> str:
    return "✓" if holds else "✗"


def _undisturbed(machine: Machine) -> Machine:
    """A machine without the records that say something else was using it."""
    quiet = tuple(record for record in machine.records if not record.warnings)
    return Machine(name=machine.name, records=quiet or machine.records)


PARTS_OF_PAGE: Mapping[str, Callable[[chapters.Book, str], str]] = {
    "ceilings": lambda book, to_ledger: ceilings_html(machines_on_record()),
    "steps": lambda book, to_ledger: steps_html(machines_on_record()),
    "verdicts": lambda book, to_ledger: verdicts_html(
        committed_machine(book), machines_on_record(), to_ledger=to_ledger
    ),
    "records": lambda book, to_ledger: records_html(machines_on_record()),
}
