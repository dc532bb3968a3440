"""Where does a number come from? The only module that reads the files of `data/`.

A table is `data/<name>.csv` with a sidecar `data/<name>.yml` that gives each column its type, unit and
meaning and the table its producer, licence and sha256. Every row names its source (a key of
`book/references.bib`), where in the source it stands, what kind of value it is, under which conditions it
holds, and as of when. `caution` is empty, or "memory" (recalled, not verified) or "read-2nd" (read in a page
that quotes the primary source): print it where the row is used. An empty cell is unknown: it loads as None
and is never guessed. Rules for all this: `bytebill.data.rules`. The environment's BYTEBILL_DATA may name another
folder, or one file that `bytebill.data.bundle` has made of the tables: then there is no YAML to read.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError, require, unknown

Row = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[3]
REQUIRED = ("source_id", "source_locator", "value_kind", "as_of")
PROVENANCE = (*REQUIRED, "conditions", "caution")


def source() -> Path:
    """What the data are read from: the folder or the bundle that BYTEBILL_DATA names, or the repository's `data/`."""
    return Path(os.environ.get("BYTEBILL_DATA") or REPOSITORY / "data")


def root() -> Path:
    """The data folder; a BytebillError where there is none."""
    folder = source()
    require(folder.is_dir(), f"There is no data folder at {folder}; BYTEBILL_DATA must name the book's data/.")
    return folder


def names() -> tuple[str, ...]:
    """The tables there are.

    >>> "models" in names()
    True
    """
    place = source()
    return tuple(_bundle(place)) if place.is_file() else tuple(sorted(path.stem for path in root().glob("*.csv")))


def table(name: str) -> tuple[Row, ...]:
    """The rows of a table, typed by its sidecar; an empty cell is None.

    >>> [row["id"] for row in table("models") if row["n_layers"] == 61]
    ['deepseek-v3']
    """
    return tuple(dict(row) for row in _table(source(), name))


def column_types(name: str) -> dict[str, str]:
    """The type of each column, by its name: str, int, float, bool or date.

    >>> column_types("models")["n_layers"]
    'int'
    """
    columns = sidecar(name).get("columns", ())
    try:
        return {column["name"]: column["type"] for column in columns}
    except (KeyError, TypeError):
        raise BytebillError(f"{name}.yml: no columns, or one without a name and a type.") from None


def sidecar(name: str) -> dict[str, Any]:
    """What `data/<name>.yml` says of its table: title, producer, license, columns and the rest.

    >>> sidecar("accelerators")["columns"][0]["name"]
    'device_id'
    """
    return dict(_yaml(_existing(name, ".yml"), dict))


def claims() -> list[dict[str, Any]]:
    """The claims on trial, in order (`data/claims.yaml`).

    >>> len(claims()), claims()[0]["id"]
    (56, 'C01')
    """
    return list(_yaml(root() / "claims.yaml", list))


def measured(name: str) -> dict[str, Any]:
    """A run recorded by this book, with its provenance (`data/measured/<name>.json`)."""
    files = {path.stem: path for path in sorted((root() / "measured").glob("*.json"))}
    if name not in files:
        raise unknown("measured run", name, files)
    return _json(files[name])


def sha256(path: Path) -> str:
    """The checksum a sidecar records for its table."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rehash() -> None:
    """After editing a table: write its new sha256 into its sidecar, touching nothing else of it."""
    for name in names():
        path = root() / f"{name}.yml"
        lines = _text(path).splitlines(keepends=True)
        fresh = f"sha256: {sha256(path.with_suffix('.csv'))}\n"
        renewed = (fresh if line.startswith("sha256:") else line for line in lines)
        path.write_text("".join(renewed), encoding="utf-8")


def typed(text: str, kind: str) -> Any:
    """One cell as its sidecar types it.

    >>> typed("61", "int"), typed("", "float"), typed("true", "bool"), typed("2026-11-23", "date").year
    (61, None, True, 2026)
    """
    return None if text == "" else _READERS[kind](text)


def raw_rows(name: str) -> list[dict[str, str]]:
    """The rows as text, before typing: what the rules look at."""
    lines = [line for line in csv.reader(io.StringIO(_text(_existing(name, ".csv")))) if line]
    require(bool(lines), f"{name}.csv is empty.")
    header, *rows = lines
    for number, row in enumerate(rows, start=2):
        require(len(row) == len(header), f"{name}.csv row {number} has {len(row)} cells and its heading {len(header)}.")
    return [dict(zip(header, row, strict=True)) for row in rows]


@cache
def _table(place: Path, name: str) -> tuple[Row, ...]:
    if place.is_file():
        return _unpacked(place, name)
    kinds = column_types(name)
    try:
        return tuple({key: typed(text, kinds[key]) for key, text in row.items()} for row in raw_rows(name))
    except (KeyError, ValueError):
        raise BytebillError(f"{name}.csv does not fit {name}.yml; python -m bytebill.data says where.") from None


def _unpacked(place: Path, name: str) -> tuple[Row, ...]:
    """A table out of a bundle, whose cells have their types but for dates, which JSON does not know."""
    if name not in _bundle(place):
        raise unknown("data table", name, names())
    kinds, rows = _bundle(place)[name]["types"], _bundle(place)[name]["rows"]
    found = (dict(zip(kinds, row, strict=True)) for row in rows)
    return tuple(
        {key: typed(cell, "date") if cell and kinds[key] == "date" else cell for key, cell in row.items()}
        for row in found
    )


@cache
def _bundle(path: Path) -> dict[str, Any]:
    return _json(path)


def _existing(name: str, suffix: str) -> Path:
    if name not in names():
        raise unknown("data table", name, names())
    return root() / f"{name}{suffix}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BytebillError(f"There is no {path.name} in {path.parent}.") from None
    except UnicodeDecodeError:
        raise BytebillError(f"{path.name} is not a text in UTF-8.") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_text(path)))
    except (TypeError, ValueError, RecursionError):
        raise BytebillError(
            f"{path.name} is not a JSON object; make it again, or take it from the repository."
        ) from None


def _yaml(path: Path, kind: type) -> Any:
    import yaml  # not in a browser, which reads a bundle

    try:
        found = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise BytebillError(f"{path.name} is not YAML: {' '.join(str(error).split())}.") from None
    require(isinstance(found, kind), f"{path.name} holds no {kind.__name__}.")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no number")
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": _finite,
    "bool": lambda text: {"true": True, "false": False}[text],
    "date": datetime.date.fromisoformat,
}
