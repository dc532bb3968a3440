"""How does a chapter show a table? Numbers in rows, units in the headings: HTML on a page, aligned text elsewhere.

A heading ends in its unit, and the unit formats the column. Quantities come in SI units, shares as fractions.

    "weights [B]"      B, s, FLOP, B/s, FLOP/s: each cell with the prefix that suits it, as in 139 GB
    "step [ms]"        with a prefix: the column in this unit, which stands in the heading
    "idle [%]"         a fraction as a percentage
    "rate [tokens/s]"  any other unit, or none: the number as it is
    "rent [USD:.2f]"   after a colon a format, as in an f-string
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from math import isinf
from numbers import Real
from typing import Any, Self

from bytebill.units import PREFIXED, plain, show, to_si

_HEADING = re.compile(r"(.*?) *(?:\[([^\]:]*):?([^\]]*)\])?")
_IN_CELLS = {"%": "fraction"} | {unit: unit for unit in PREFIXED}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A piece of the page: HTML where that can be shown, otherwise text."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Column:
    """What a heading says, and how the cells below it are written."""

    name: str
    unit: str = ""
    form: str = ""

    @classmethod
    def of(cls, heading: str) -> Self:
        """A heading taken apart.

        >>> Column.of("step [ms:.1f]")
        Column(name='step', unit='ms', form='.1f')
        """
        return cls(*(part or "" for part in of.groups())) if (of := _HEADING.fullmatch(heading)) else cls(heading)

    @property
    def said_unit(self) -> str:
        """The unit that the heading has to say; none where the cells carry it."""
        return "" if self.unit in _IN_CELLS and not self.form else self.unit

    def cell(self, value: object) -> str:
        """A value as its reader sees it.

        >>> [Column.of(heading).cell(0.985) for heading in ("idle [%]", "idle [%:.0f]", "step [ms]")]
        ['98.5%', '98', '985']
        >>> Column.of("leave below [tokens:,.0f]").cell(float("inf"))
        '∞'
        """
        if not isinstance(value, Real):
            return "–" if value is None else str(value)
        if isinf(float(value)):
            return "∞" if float(value) > 0 else "−∞"
        if self.unit in _IN_CELLS and not self.form:
            return show(float(value), unit=_IN_CELLS[self.unit])
        number = float(value) / _scale(self.unit)
        return format(number, self.form) if self.form else plain(number)


def table(*headings: str, rows: Iterable[Any] | Mapping[Any, Any]) -> Shown:
    """A table whose headings format its columns. A row is a sequence, a record, or a name and what belongs to it.

    >>> table("device", "memory [B]", "idle [%]", rows={"H100": (80e9, 0.985), "L4": (24e9, None)})
    device   memory   idle
    H100    80.0 GB  98.5%
    L4      24.0 GB      –
    """
    columns = [Column.of(heading) for heading in headings]
    cells = [
        [_shown(column, value) for column, value in zip(columns, _values(row), strict=True)]
        for row in (rows.items() if isinstance(rows, Mapping) else rows)
    ]
    said = [f"{column.name} [{column.said_unit}]" if column.said_unit else column.name for column in columns]
    inside = f"{head(map(_heading, columns))}<tbody>{''.join(map(_row, cells))}</tbody>"
    return Shown(
        html=scrolling(
            f'<table class="bb-table" style="text-align: right">{inside}</table>', name=", ".join(filter(None, said))
        ),
        text="\n".join(_aligned([said, *([cell.text for cell in row] for row in cells)])),
    )


def source(function: Callable[..., Any]) -> Shown:
    """A function of the package as it stands, without its docstring.

    >>> source(head)
    def head(names: Iterable[str]) -> str:
        cells = (f'<th scope="col">{name}</th>' if name else "<td></td>" for name in names)
        return f"<thead><tr>{''.join(cells)}</tr></thead>"
    """
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    first = ast.parse("\n".join(lines)).body[0].body[0]  # type: ignore[attr-defined]
    if inspect.getdoc(function):
        del lines[first.lineno - 1 : first.end_lineno]
    text = "\n".join(lines)
    return Shown(html=scrolling(f"<pre>{escape(text)}</pre>", name=function.__name__), text=text)


def head(names: Iterable[str]) -> str:
    """The headings of an HTML table; an empty one is a cell, for it heads nothing."""
    cells = (f'<th scope="col">{name}</th>' if name else "<td></td>" for name in names)
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def scrolling(html: str, *, name: str) -> str:
    """A wide piece in a box of its own, so that the page keeps its width; the keyboard reaches it by its name."""
    region = f'role="region" aria-label="{escape(name)}" tabindex="0"'
    return f'<div class="bb-scroll" {region} style="overflow-x: auto">{html}</div>'


def _values(row: Any) -> Iterator[Any]:
    """What stands in a row, a record or a sequence inside it spread out."""
    if is_dataclass(row) and not isinstance(row, Shown):
        row = [getattr(row, field.name) for field in fields(row)]
    if isinstance(row, Sequence) and not isinstance(row, str):
        for part in row:
            yield from _values(part)
    else:
        yield row


def _shown(column: Column, value: Any) -> Shown:
    return value if isinstance(value, Shown) else Shown(html=escape(column.cell(value)), text=column.cell(value))


def _scale(unit: str) -> float:
    """How much of its base a unit is: 0.001 for ms, 0.01 for %, 1 for one without a prefix."""
    try:
        return 0.01 if unit == "%" else to_si(1, unit)
    except ValueError:
        return 1.0


def _heading(column: Column) -> str:
    return escape(column.name) + (f"<br><small>{escape(column.said_unit)}</small>" if column.said_unit else "")


def _row(cells: Sequence[Shown]) -> str:
    others = "".join(f"<td>{cell.html}</td>" for cell in cells[1:])
    return f'<tr><th scope="row" style="text-align: left">{cells[0].html}</th>{others}</tr>'


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of text, the first column to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
