"""What may not be in `data/`? The rules behind `tables.validate()`: a function a rule, a sentence a problem.

A table needs a sidecar with every key and the right sha256; a row needs a source that the bibliography knows,
a place in it, a kind, an ISO date, and values inside the sidecar's `range` or `choices`. Long tables give
range and unit per quantity (`quantities`). One rule is physics: 2:4 sparsity doubles a datasheet's peak, so
an 8-bit peak that is not about twice the bf16 peak means that one of the two is not dense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bytebill.data import tables

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
REQUIRED = ("source_id", "source_locator", "value_kind", "as_of")
PROVENANCE = (*REQUIRED, "conditions", "caution")
VALUE_KINDS = ("datasheet", "measured", "listed price", "estimate", "derived")
CAUTIONS = ("", "memory", "read-2nd")
TYPES = ("str", "int", "float", "bool", "date")
CLAIM_KEYS = ("id", "chapter", "statement", "how", "section")
EIGHT_BIT_OVER_BF16 = (1.9, 2.1)


def validate() -> list[str]:
    """All problems of all tables and of the claims, in the order of the files."""
    known = _bibliography()
    found: list[str] = []
    for name in tables.names():
        sidecar = _load_sidecar(name)
        if isinstance(sidecar, str):
            found.append(sidecar)
            continue
        rows = tables.raw_rows(name)
        found += [f"{name}.yml: {text}" for text in _sidecar_problems(name, sidecar)]
        found += [f"{name}.csv: {text}" for text in _header_problems(sidecar, rows)]
        for line, row in enumerate(rows, start=2):
            found += [f"{name}.csv line {line}: {text}" for text in _row_problems(sidecar, row, known)]
    return found + list(_sparse_problems()) + list(_claim_problems())


def _bibliography() -> set[str]:
    """Keys of the bibliography beside the data folder, or of the repository's own if there is none."""
    beside = tables.root().parent / "book" / "references.bib"
    path = beside if beside.is_file() else tables.REPOSITORY / "book" / "references.bib"
    return set(re.findall(r"^@\w+\{\s*([^,\s]+)\s*,", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def _load_sidecar(name: str) -> dict[str, Any] | str:
    """The sidecar, or the sentence that says why there is none to check against."""
    path = Path(tables.root() / f"{name}.yml")
    if not path.is_file():
        return f"{name}.csv: no sidecar {name}.yml"
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    columns = loaded.get("columns") if isinstance(loaded, dict) else None
    if not columns or any(column.get("type") not in TYPES or "name" not in column for column in columns):
        return f"{name}.yml: no columns, or one without a name and a type out of {', '.join(TYPES)}"
    return dict(loaded)


def _sidecar_problems(name: str, sidecar: dict[str, Any]) -> Iterator[str]:
    for key in SIDECAR_KEYS:
        if sidecar.get(key) in (None, ""):
            yield f"missing key '{key}'"
    for column in sidecar["columns"]:
        for key in COLUMN_KEYS:
            if key not in column:
                yield f"column '{column['name']}' has no '{key}'"
    if sidecar.get("sha256") and sidecar["sha256"] != tables.sha256(tables.root() / f"{name}.csv"):
        yield "sha256 is not that of the table (edit on purpose? run python -m bytebill.data)"
    for key in ("date_published", "date_accessed"):
        if sidecar.get(key) and not _is_date(str(sidecar[key])):
            yield f"{key} '{sidecar[key]}' is not an ISO date"


def _header_problems(sidecar: dict[str, Any], rows: list[dict[str, str]]) -> Iterator[str]:
    declared = [column["name"] for column in sidecar["columns"]]
    header = list(rows[0]) if rows else []
    if header != declared:
        yield f"columns {sorted(set(header) ^ set(declared)) or 'in another order'} differ from the sidecar's"
    for name in PROVENANCE:
        if name not in header:
            yield f"no column '{name}'"


def _row_problems(sidecar: dict[str, Any], row: dict[str, str], known: set[str]) -> Iterator[str]:
    for name in REQUIRED:
        if not row.get(name):
            yield f"missing {name}"
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


def _sparse_problems() -> Iterator[str]:
    """A sparse peak posing as dense: see the module's text."""
    if "accelerators" not in tables.names():
        return
    peaks: dict[str, dict[str, float]] = {}
    for line, row in enumerate(tables.raw_rows("accelerators"), start=2):
        if row.get("quantity") != "peak":
            continue
        if row.get("sparsity") != "dense":
            yield f"accelerators.csv line {line}: a peak must be dense, this one says '{row.get('sparsity')}'"
        try:
            peaks.setdefault(row["device_id"], {})[row["dtype"]] = float(row["value"])
        except ValueError:
            continue  # the column's own type rule has said so
    for device, by_dtype in peaks.items():
        yield from _peak_ratio_problems(device, by_dtype)


def _peak_ratio_problems(device: str, by_dtype: dict[str, float]) -> Iterator[str]:
    eight_bit = by_dtype.get("fp8", by_dtype.get("int8"))
    pairs = [("8-bit", eight_bit, by_dtype.get("bf16")), ("fp4", by_dtype.get("fp4"), eight_bit)]
    low, high = EIGHT_BIT_OVER_BF16
    for name, narrow, wide in pairs:
        if narrow and wide and not low <= narrow / wide <= high:
            yield (
                f"accelerators.csv: {device}: the {name} peak is {narrow / wide:.2f} times that of twice the "
                "width, not about 2: a sparse peak posing as dense?"
            )


def _claim_problems() -> Iterator[str]:
    claims = tables.claims()
    ids = [claim.get("id") for claim in claims]
    if ids != [f"C{number:02d}" for number in range(1, 57)]:
        yield "claims.yaml: the ids are not C01 to C56 in order"
    for claim in claims:
        for key in CLAIM_KEYS:
            if claim.get(key) in (None, "", []):
                yield f"claims.yaml: {claim.get('id')} has no '{key}'"
        if not set(claim.get("how") or []) <= set("DMSR"):
            yield f"claims.yaml: {claim.get('id')}: how is out of D, M, S, R, not {claim['how']}"


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
