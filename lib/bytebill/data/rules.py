"""What may not be in `data/`? The rules behind `tables.validate()`: a function a rule, a sentence a problem.

A table needs a sidecar with every key and the right sha256; a row needs a source that the bibliography knows,
a place in it, a kind, an ISO date, and values inside the sidecar's `range` or `choices`. Long tables give
range and unit per quantity (`quantities`). One rule is physics: 2:4 sparsity doubles a datasheet's peak, so
an 8-bit peak that is not about twice the bf16 peak means that one of the two is not dense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bytebill.data import tables
from bytebill.errors import BytebillError

SIDECAR_KEYS = (
    "title",
    "description",
    "producer",
    "citation",
    "url",
    "date_published",
    "date_accessed",
    "license",
    "retrieved_by",
    "sha256",
    "processing",
    "columns",
)
COLUMN_KEYS = ("name", "type", "unit", "description")
VALUE_KINDS = ("datasheet", "measured", "listed price", "estimate", "derived")
CAUTIONS = ("", "memory", "read-2nd")
TYPES = ("str", "int", "float", "bool", "date")
CLAIM_KEYS = ("id", "chapter", "statement", "how", "section")
EIGHT_BIT_OVER_BF16 = (1.9, 2.1)


def validate(*, checksums: bool = True) -> list[str]:
    """All problems of all tables and of the claims, in the order of the files; the checksums can be left out."""
    known = _bibliography()
    found = [problem for name in tables.names() for problem in _told(_table_problems(name, known, checksums))]
    return found + list(_told(_claim_problems()))


def _told(problems: Iterator[str]) -> Iterator[str]:
    """The problems of a file, and the sentence where it cannot be read any further."""
    try:
        yield from problems
    except BytebillError as error:
        yield str(error)


def _table_problems(name: str, known: set[str], checksums: bool) -> Iterator[str]:
    kinds, sidecar, rows = tables.column_types(name), tables.sidecar(name), tables.raw_rows(name)
    yield from (f"{name}.yml: {text}" for text in _sidecar_problems(name, sidecar, checksums))
    header = list(rows[0]) if rows else list(kinds)
    if header != list(kinds):
        columns = sorted(set(header) ^ set(kinds)) or "in another order"
        yield f"{name}.csv: columns {columns} differ from the sidecar's"
        return  # whatever else is wrong follows from it
    yield from (f"{name}.csv: no column '{column}'" for column in tables.PROVENANCE if column not in header)
    for line, row in enumerate(rows, start=2):
        yield from (f"{name}.csv line {line}: {text}" for text in _row_problems(sidecar, row, known))
    if name == "accelerators":
        yield from (f"{name}.csv: {text}" for text in _sparse_problems(rows))


def _bibliography() -> set[str]:
    """Keys of the bibliography beside the data folder, or of the repository's own if there is none."""
    beside = tables.root().parent / "book" / "references.bib"
    path = beside if beside.is_file() else tables.REPOSITORY / "book" / "references.bib"
    return set(re.findall(r"^@\w+\{\s*([^,\s]+)\s*,", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def _sidecar_problems(name: str, sidecar: dict[str, Any], checksums: bool) -> Iterator[str]:
    yield from (f"missing key '{key}'" for key in SIDECAR_KEYS if sidecar.get(key) in (None, ""))
    for column in sidecar["columns"]:
        yield from (f"column '{column['name']}' has no '{key}'" for key in COLUMN_KEYS if key not in column)
        if column["type"] not in TYPES:
            yield f"column '{column['name']}' is of type {column['type']}, not of {', '.join(TYPES)}"
    if checksums and sidecar.get("sha256") and sidecar["sha256"] != tables.sha256(tables.root() / f"{name}.csv"):
        yield "sha256 is not that of the table (edit on purpose? run python -m bytebill.data)"
    for key in ("date_published", "date_accessed"):
        if sidecar.get(key) and not _is_date(str(sidecar[key])):
            yield f"{key} '{sidecar[key]}' is not an ISO date"


def _row_problems(sidecar: dict[str, Any], row: dict[str, str], known: set[str]) -> Iterator[str]:
    yield from (f"missing {name}" for name in tables.REQUIRED if not row.get(name))
    if row.get("source_id") and row["source_id"] not in known:
        yield f"unknown source_id '{row['source_id']}'"
    if row.get("value_kind") and row["value_kind"] not in VALUE_KINDS:
        yield f"unknown value_kind '{row['value_kind']}'"
    if row.get("caution", "") not in CAUTIONS:
        yield f"unknown caution '{row['caution']}'"
    for column in sidecar["columns"]:
        yield from _cell_problems(column, row.get(column["name"]) or "")
    if "quantities" in sidecar:
        yield from _quantity_problems(sidecar["quantities"], row)


def _cell_problems(column: dict[str, Any], text: str) -> Iterator[str]:
    name = column["name"]
    if text == "":
        if column.get("required"):
            yield f"missing {name}"
        return
    try:
        value = tables.typed(text, column["type"])
    except (KeyError, ValueError):
        what = "an ISO date" if column["type"] == "date" else f"of type {column['type']}"
        yield f"{name} '{text}' is not {what}"
        return
    if "choices" in column and text not in column["choices"]:
        yield f"{name} '{text}' is not one of {', '.join(column['choices'])}"
    if "range" in column and not column["range"][0] <= value <= column["range"][1]:
        yield f"{name} {text} is out of range {column['range']}"


def _quantity_problems(quantities: dict[str, Any], row: dict[str, str]) -> Iterator[str]:
    """In a long table the unit and the range of `value` belong to the row's quantity."""
    rule = quantities.get(row.get("quantity", ""))
    if rule is None:
        yield f"unknown quantity '{row.get('quantity')}'"
        return
    if row.get("unit") != rule["unit"]:
        yield f"{row['quantity']} is in {rule['unit']}, not in '{row.get('unit')}'"
    low, high = rule["range"]
    try:
        inside = low <= float(row.get("value") or "nan") <= high
    except ValueError:
        return  # the column's own type rule has said so
    if not inside:
        yield f"{row['quantity']} {row.get('value')} {row.get('unit')} is out of range {rule['range']}"


def _sparse_problems(rows: list[dict[str, str]]) -> Iterator[str]:
    """A sparse peak posing as dense: see the module's text."""
    peaks: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["quantity"] != "peak":
            continue
        if row["sparsity"] != "dense":
            yield f"{row['device_id']}: a peak must be dense, this one says '{row['sparsity']}'"
        with suppress(ValueError):  # the column's own type rule has said so
            peaks.setdefault(row["device_id"], {})[row["dtype"]] = float(row["value"])
    for device, by_dtype in peaks.items():
        yield from _peak_ratio_problems(device, by_dtype)


def _peak_ratio_problems(device: str, by_dtype: dict[str, float]) -> Iterator[str]:
    eight_bit = by_dtype.get("fp8", by_dtype.get("int8"))
    pairs = [("8-bit", eight_bit, by_dtype.get("bf16")), ("fp4", by_dtype.get("fp4"), eight_bit)]
    low, high = EIGHT_BIT_OVER_BF16
    for name, narrow, wide in pairs:
        if narrow and wide and not low <= narrow / wide <= high:
            yield (
                f"{device}: the {name} peak is {narrow / wide:.2f} times that of twice the "
                "width, not about 2: a sparse peak posing as dense?"
            )


def _claim_problems() -> Iterator[str]:
    claims = tables.claims()
    if not all(isinstance(claim, dict) for claim in claims):
        yield "claims.yaml: a claim is a mapping"
        return
    if [claim.get("id") for claim in claims] != [f"C{number:02d}" for number in range(1, 57)]:
        yield "claims.yaml: the ids are not C01 to C56 in order"
    for claim in claims:
        said = f"claims.yaml: {claim.get('id')}"
        yield from (f"{said} has no '{key}'" for key in CLAIM_KEYS if claim.get(key) in (None, "", []))
        if not set(map(str, claim.get("how") or [])) <= set("DMSR"):
            yield f"{said}: how is out of D, M, S, R, not {claim['how']}"


def _is_date(text: str) -> bool:
    """A day, a month or a year: what is known of when something was published.

    >>> [_is_date(text) for text in ("2026-11-23", "2026-11", "2026", "23 Nov 2026")]
    [True, True, True, False]
    """
    try:
        tables.typed(text + "-01" * (2 - text.count("-")), "date")
    except ValueError:
        return False
    return True
