"""What may not be in `data/`? The rules behind `tables.validate()`: a function a rule, a sentence a problem.

A table needs a sidecar with every key and the right sha256; a row needs a source that the bibliography knows,
a place in it, a kind, an ISO date, and values inside the sidecar's `range` or `choices`. Long tables give
range and unit per quantity (`quantities`). One rule is physics: 2:4 sparsity doubles a datasheet's peak, so
an 8-bit peak that is not about twice the bf16 peak means that one of the two is not dense.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
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
CAUTIONS = ("memory", "read-2nd")
CLAIM_KEYS = ("id", "chapter", "statement", "how", "section")


def validate(*, checksums: bool = True) -> list[str]:
    """All problems of all tables and of the claims, in the order of the files; the checksums can be left out."""
    known = _bibliography()
    of_tables = (_told(f"{name}.yml", _table_problems(name, known, checksums)) for name in tables.names())
    return list(chain(*of_tables, _told("claims.yaml", _claim_problems())))


def _told(file: str, problems: Iterator[str]) -> Iterator[str]:
    """The problems of a file, and the sentence where it cannot be read any further."""
    try:
        yield from problems
    except BytebillError as error:
        yield str(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        yield f"{file} says something that no rule can read: {error!r}"


def _table_problems(name: str, known: set[str], checksums: bool) -> Iterator[str]:
    kinds, sidecar, rows = tables.column_types(name), tables.sidecar(name), tables.raw_rows(name)
    yield from (f"{name}.yml: {text}" for text in _sidecar_problems(name, sidecar, checksums))
    header = list(rows[0]) if rows else list(kinds)
    if header != list(kinds):
        yield f"{name}.csv: columns {sorted(set(header) ^ set(kinds)) or 'in another order'} differ from the sidecar's"
        return  # whatever else is wrong follows from it
    yield from (f"{name}.csv: no column '{column}'" for column in tables.PROVENANCE if column not in header)
    yield from (
        f"{name}.csv line {line}: {text}"
        for line, row in enumerate(rows, start=2)
        for text in _row_problems(sidecar, row, known)
    )
    yield from (f"{name}.csv line {line}: repeats line {first}" for line, first in _repeated(rows))
    if name == "accelerators":
        yield from (f"{name}.csv: {text}" for text in _sparse_problems(rows))


def _repeated(rows: list[dict[str, str]]) -> Iterator[tuple[int, int]]:
    """Lines that say in every cell what an earlier one says, and that one."""
    seen: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        if (first := seen.setdefault(tuple(row.values()), line)) != line:
            yield line, first


def _bibliography() -> set[str]:
    """Keys of the bibliography beside the data folder, or of the repository's own if there is none."""
    places = (place / "book" / "references.bib" for place in (tables.root().parent, tables.REPOSITORY))
    path = next(path for path in places if path.is_file())
    return set(re.findall(r"^@\w+\{\s*([^,\s]+)\s*,", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def _sidecar_problems(name: str, sidecar: dict[str, Any], checksums: bool) -> Iterator[str]:
    yield from (f"missing key '{key}'" for key in SIDECAR_KEYS if sidecar.get(key) in (None, ""))
    columns = sidecar["columns"]
    yield from (f"column '{each['name']}' has no '{key}'" for each in columns for key in COLUMN_KEYS if key not in each)
    yield from (
        f"column '{each['name']}' is of type {each['type']}, not of {', '.join(tables.READERS)}"
        for each in columns
        if each["type"] not in tables.READERS
    )
    if checksums and sidecar.get("sha256") and sidecar["sha256"] != tables.sha256(tables.root() / f"{name}.csv"):
        yield "sha256 is not that of the table (edit on purpose? run python -m bytebill.data)"
    dates = {key: str(sidecar[key]) for key in ("date_published", "date_accessed") if sidecar.get(key)}
    yield from (f"{key} '{text}' is not an ISO date" for key, text in dates.items() if not _is_date(text))


def _row_problems(sidecar: dict[str, Any], row: dict[str, str], known: set[str]) -> Iterator[str]:
    yield from (f"missing {name}" for name in tables.REQUIRED if not row.get(name))
    allowed = {"source_id": known, "value_kind": VALUE_KINDS, "caution": CAUTIONS}
    yield from (f"unknown {key} '{row[key]}'" for key, words in allowed.items() if row.get(key, "") not in ("", *words))
    yield from chain.from_iterable(_cell_problems(column, row[column["name"]]) for column in sidecar["columns"])
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
    rule = quantities.get(row["quantity"])
    if rule is None:
        yield f"unknown quantity '{row['quantity']}'"
        return
    if row["unit"] != rule["unit"]:
        yield f"{row['quantity']} is in {rule['unit']}, not in '{row['unit']}'"
    name = f"{row['quantity']} [{row['unit']}]"
    yield from _cell_problems({"name": name, "type": "float", "range": rule["range"]}, row["value"])


def _sparse_problems(rows: list[dict[str, str]]) -> Iterator[str]:
    """A sparse peak posing as dense: see the module's text."""
    peaks = [row for row in rows if row["quantity"] == "peak"]
    yield from (
        f"{row['device_id']}: a peak must be dense, this one says '{row['sparsity']}'"
        for row in peaks
        if row["sparsity"] != "dense"
    )
    for device in dict.fromkeys(row["device_id"] for row in peaks):
        with suppress(ValueError):  # the column's own type rule has said so
            by_kind = {row["dtype"]: float(row["value"]) for row in peaks if row["device_id"] == device}
            yield from _peak_ratio_problems(device, by_kind)


def _peak_ratio_problems(device: str, peaks: dict[str, float]) -> Iterator[str]:
    eight_bit = peaks.get("fp8", peaks.get("int8"))
    pairs = (("8-bit", eight_bit, peaks.get("bf16")), ("fp4", peaks.get("fp4"), eight_bit))
    ratios = {name: narrow / wide for name, narrow, wide in pairs if narrow and wide}
    yield from (
        f"{device}: the {name} peak is {ratio:.2f} times that of twice the width, not about 2: a sparse peak posing as "
        "dense?"
        for name, ratio in ratios.items()
        if not 1.9 <= ratio <= 2.1
    )


def _claim_problems() -> Iterator[str]:
    claims = tables.claims()
    if not all(isinstance(claim, dict) for claim in claims):
        yield "claims.yaml: a claim is a mapping"
        return
    if [claim.get("id") for claim in claims] != [f"C{number:02d}" for number in range(1, 57)]:
        yield "claims.yaml: the ids are not C01 to C56 in order"
    yield from (
        f"claims.yaml: {claim.get('id')} has no '{key}'"
        for claim in claims
        for key in CLAIM_KEYS
        if claim.get(key) in (None, "", [])
    )
    yield from (
        f"claims.yaml: {claim.get('id')}: how is out of D, M, S, R, not {claim['how']}"
        for claim in claims
        if not set(map(str, claim.get("how") or [])) <= set("DMSR")
    )


def _is_date(text: str) -> bool:
    """A day, a month or a year: what is known of when something was published.

    >>> [_is_date(text) for text in ("2026-11-23", "2026-11", "2026", "23 Nov 2026")]
    [True, True, True, False]
    """
    with suppress(ValueError):
        return bool(tables.typed(text + "-01" * (2 - text.count("-")), "date"))
    return False
