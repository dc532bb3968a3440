"""Where does a number come from? The only module that reads the files of `data/`.

A table is `data/<name>.csv` with a sidecar `data/<name>.yml` that gives each column its type, unit and
meaning and the table its producer, licence and sha256. Every row names its source (a key of
`book/references.bib`), where in the source it stands, what kind of value it is, under which conditions it
holds, and as of when. `caution` is empty, or "memory" (recalled, not verified) or "read-2nd" (read in a page
that quotes the primary source): print it where the row is used. An empty cell is unknown: it loads as None
and is never guessed. Rules for all this: `bytebill.data.rules`.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bytebill.errors import BytebillError, unknown

Row = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[3]

_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text],
    "date": datetime.date.fromisoformat,
}


def root() -> Path:
    """The data folder: the environment's BYTEBILL_DATA, otherwise the repository's `data/`."""
    folder = Path(os.environ.get("BYTEBILL_DATA") or REPOSITORY / "data")
    if not folder.is_dir():
        raise BytebillError(f"There is no data folder at {folder}; BYTEBILL_DATA must name the book's data/.")
    return folder


def names() -> tuple[str, ...]:
    """The tables there are.

    >>> "models" in names()
    True
    """
    return tuple(sorted(path.stem for path in root().glob("*.csv")))


def table(name: str) -> tuple[Row, ...]:
    """The rows of a table, typed by its sidecar; an empty cell is None.

    >>> [row["id"] for row in table("models") if row["n_layers"] == 61]
    ['deepseek-v3']
    """
    return tuple(dict(row) for row in _table(root(), name))


def sidecar(name: str) -> dict[str, Any]:
    """What `data/<name>.yml` says of its table: title, producer, license, columns and the rest.

    >>> sidecar("accelerators")["columns"][0]["name"]
    'device_id'
    """
    return _yaml(_existing(name, ".yml"))


def claims() -> list[dict[str, Any]]:
    """The claims on trial, in order (`data/claims.yaml`).

    >>> len(claims()), claims()[0]["id"]
    (56, 'C01')
    """
    return list(_yaml(root() / "claims.yaml"))


def measured(name: str) -> dict[str, Any]:
    """A run recorded by this book, with its provenance (`data/measured/<name>.json`)."""
    path = root() / "measured" / f"{name}.json"
    if not path.is_file():
        raise unknown("measured run", name, sorted(p.stem for p in path.parent.glob("*.json")))
    return dict(json.loads(path.read_text(encoding="utf-8")))


def sha256(path: Path) -> str:
    """The checksum a sidecar records for its table."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rehash() -> None:
    """After editing a table: write its new sha256 into its sidecar, touching nothing else of it."""
    for name in names():
        path = root() / f"{name}.yml"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
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
    with _existing(name, ".csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@cache
def _table(folder: Path, name: str) -> tuple[Row, ...]:
    kinds = {column["name"]: column["type"] for column in sidecar(name)["columns"]}
    return tuple({key: typed(text, kinds[key]) for key, text in row.items()} for row in raw_rows(name))


def _existing(name: str, suffix: str) -> Path:
    if name not in names():
        raise unknown("data table", name, names())
    return root() / f"{name}{suffix}"


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
