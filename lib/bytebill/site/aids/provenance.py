"""How old are the numbers of a page, and on what were they measured? A line at its end, read off its source.

    tables    those of `data/` that the page or its code names, and those that its run read, as the last refresh kept
              them in the notebook; with the day on which their sources were read, and how many rows came second-hand
    records   those of `data/measured/`, likewise, with their device and day
    device    the line that a measuring cell printed, and the day of its outputs

What is not known is not said: a page that reads nothing gets no line, a run without a day gets none, and where no run
kept its tables the line says "among others". `borrowed` has what pages say whose numbers are those of other pages.
"""

import calendar
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytebill import data
from bytebill.chapters.devices import devices_of

TABLES_PAGE = "book/data_tables"
_NAMED = re.compile(r"\bdata/(measured/)?([\w-]+)\.(?:csv|ya?ml|json)\b")
_READ = re.compile(r"""\b(?:rows|grouped|measured|sidecar)\(\s*["']([\w-]+)["']""")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTHS = list(calendar.month_name)[1:]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a page's numbers come from: tables and records by name, devices of its runs, where and when these were."""

    tables: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()
    where: str = "on this page"
    whole: bool = True  # a notebook whose run kept no list may read more tables than its text names


def of_notebook(notebook: Mapping[str, Any]) -> Provenance:
    """What a notebook's text and outputs tell, and what its last refresh kept.

    >>> cells = [{"cell_type": "markdown", "source": "From `data/models.csv`."}]
    >>> found = of_notebook({"cells": cells, "metadata": {"bytebill": {"reads": ["two-core-epyc"]}}})
    >>> found.tables, found.records, found.devices, found.ran
    (('models',), ('two-core-epyc',), (), ())
    """
    cells = notebook["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    kept = notebook.get("metadata", {}).get("bytebill", {}).get("reads")
    found = named_files(text) | set(_READ.findall(code)) | set(kept or ())
    return Provenance(
        tables=tuple(sorted(found & set(_files()))),
        records=tuple(sorted(found & _records())),
        devices=tuple(dict.fromkeys(device for cell in cells for device in devices_of(cell))),
        ran=_day_of_run(notebook.get("metadata", {})),
        whole=kept is not None,
    )


def named_files(text: str) -> set[str]:
    """Files of `data/` that a text names, without their endings.

    >>> sorted(named_files("from `data/models.csv` and data/measured/h200-decode.json, not data/"))
    ['h200-decode', 'models']
    """
    return {found[2] for found in _NAMED.finditer(text)}


def of_source(path: Path) -> Provenance:
    """What a page's source tells; a page of Markdown only names tables."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return of_notebook(json.loads(text))
    found = named_files(text)
    return Provenance(tables=tuple(sorted(found & set(_files()))), records=tuple(sorted(found & _records())))


def read_on(table: str) -> str | None:
    """The day or days on which a table's sources were read; None where its file tells none.

    >>> read_on("models"), read_on("panels")
    ('23 November 2026', None)
    """
    return spoken(_DAY.findall(str(data.sidecar(table).get("date_accessed") or ""))) if table in data.names() else None


def second_hand(table: str) -> str | None:
    """How many of a table's rows carry a caution: quoted by another page, or recalled; None if there are none.

    >>> second_hand("models"), second_hand("constants"), second_hand("claims")
    ('4 of 16', None, None)
    """
    rows = data.rows(table) if table in data.names() else ()
    n_marked = sum(bool(row.get("caution")) for row in rows)
    return f"{n_marked:,} of {len(rows):,}" if n_marked else None


def spoken(days: Iterable[str]) -> str | None:
    """One day, or the first and the last of several, as a reader says it.

    >>> spoken(["2026-11-23"]), spoken(["2026-11-23", "2026-11-27"]), spoken(["2025-12-31", "2026-01-02"]), spoken([])
    ('23 November 2026', '23 to 27 November 2026', '31 December 2025 to 2 January 2026', None)
    """
    dates = [
        (year, _MONTHS[int(month) - 1], str(int(day))) for year, month, day in (d.split("-") for d in sorted(days))
    ]
    if not dates:
        return None
    (year, month, day), last = dates[0], dates[-1]
    first = " ".join((day, *(month,) * ((year, month) != last[:2]), *(year,) * (year != last[0])))
    return f"{first} to {last[2]} {last[1]} {last[0]}" if dates[0] != last else f"{day} {month} {year}"


def line(found: Provenance, *, tables_uri: str, note: str = "") -> str:
    """The line as HTML; empty where nothing is known. Tables link to their cards below `tables_uri`.

    >>> print(line(Provenance(devices=("AMD EPYC, 2 threads",)), tables_uri="", note="Others are quoted."))
    <footer class="bb-provenance"><p>Others are quoted.</p><p>Measured on this page: AMD EPYC, 2 threads.</p></footer>
    >>> line(Provenance(), tables_uri="")
    ''
    """
    said = [note, *_of_tables(found, tables_uri), *_of_records(found.records), *_of_run(found)]
    paragraphs = "".join(f"<p>{sentence}</p>" for sentence in said if sentence)
    return f'<footer class="bb-provenance">{paragraphs}</footer>' if paragraphs else ""


def _of_tables(found: Provenance, uri: str) -> Iterator[str]:
    """Tables by the day their sources were read, the latest first; then those with rows that came second-hand."""
    links = {table: f'<a href="{uri}#table-{table.replace("_", "-")}">{table}</a>' for table in found.tables}
    by_day: dict[str, list[str]] = {}
    for table in links:
        if day := read_on(table):
            by_day.setdefault(day, []).append(links[table])
    if by_day:
        days = sorted(by_day, key=lambda day: max(_sortable(day)), reverse=True)
        told = "; ".join(f"{day}, {', '.join(by_day[day])}" for day in days)
        yield f"Data{'' if found.whole else ', among others'}, by the day the sources were read: {told}."
    marked = [f"{links[table]}, {share} rows" for table in links if (share := second_hand(table))]
    if marked:
        yield f"Of these second-hand or recalled: {'; '.join(marked)}."


def _sortable(day: str) -> list[tuple[int, int, int]]:
    year = int(day.split()[-1])
    return [
        (year, _MONTHS.index(month) + 1, int(number))
        for number, month in re.findall(r"(\d+) (?:to \d+ )?([A-Z]\w+)", day)
    ]


def _of_records(records: Iterable[str]) -> Iterator[str]:
    """Runs on record by their device, with first and last day."""
    by_device: dict[str, list[str]] = {}
    for name in records:
        device, day = _recorded(data.measured(name))
        if device:
            by_device.setdefault(device, []).extend([day] if day else [])
    told = [f"{html.escape(device)}{f', {spoken(days)}' if days else ''}" for device, days in sorted(by_device.items())]
    if told:
        yield f"Runs on record (<code>data/measured/</code>): {'; '.join(told)}."


def _of_run(found: Provenance) -> Iterator[str]:
    if found.devices:
        day = f"; outputs of {spoken(found.ran)}" if found.ran else ""
        yield f"Measured {found.where}: {html.escape('; '.join(found.devices))}{day}."


def _recorded(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Device and day of a record, which keeps them at its top or under `provenance`."""
    told = {**record, **record.get("provenance", {})}
    return told.get("device"), told.get("date")


def _day_of_run(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The day of a notebook's outputs: papermill's, or what a refresh kept of it."""
    told = metadata.get("papermill", {}).get("end_time") or metadata.get("bytebill", {}).get("outputs_of")
    return (str(told)[:10],) if told else ()


def _files() -> tuple[str, ...]:
    return (*data.names(), "claims", "panels")


def _records() -> set[str]:
    return {path.stem for path in (data.root() / "measured").glob("*.json")}
