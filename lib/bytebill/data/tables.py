"""Where does a number come from? The only module that reads the files of `data/`.

A table is `data/<name>.csv` with a sidecar `data/<name>.yml` that gives each column its type, unit and
meaning and the table its producer, licence and sha256. Every row names its source (a key of
`book/references.bib`), where in the source it stands, what kind of value it is, under which conditions it
holds, and as of when. `caution` is empty, or "memory" (recalled, not verified) or "read-2nd" (read in a page
that quotes the primary source): print it where the row is used. An empty cell is unknown: it loads as None
and is never guessed. Rules for all this: `bytebill.data.rules`. The environment's BYTEBILL_DATA may name another
folder, or one file that `bytebill.data.bundle` has made of the tables: then there is no YAML to read. BYTEBILL_READS
may name a file to which each one that is read is added: so a refresh knows what a chapter read.
"""

import copy
import csv
import datetime
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from bytebill.data.whole import write_whole
from bytebill.errors import BytebillError, require, require_known

Row = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[3]
REQUIRED = ("source_id", "source_locator", "value_kind", "as_of")
PANELS = "panels.yaml"
_MOST_CHARACTERS, MOST_OF_A_USER = 1 << 26, 1 << 17  # of a file of the book's, and of YAML that somebody wrote
MOST_MERGED = 10_000  # keys of a mapping of YAML, those of the mappings merged into it (`<<`) included
PROVENANCE = (*REQUIRED, "conditions", "caution")


def kept_in() -> Path:
    """What the data are read from: the folder or the bundle that BYTEBILL_DATA names, or the repository's `data/`."""
    return Path(os.environ.get("BYTEBILL_DATA") or REPOSITORY / "data")


def root() -> Path:
    """The data folder; a BytebillError where there is none."""
    folder = kept_in()
    require(folder.is_dir(), f"There is no data folder at {folder}; BYTEBILL_DATA must name the book's data/.")
    return folder


def names() -> tuple[str, ...]:
    """The tables there are.

    >>> "models" in names()
    True
    """
    bundled = (name for name in _bundle(kept_in()) if name != PANELS)
    return tuple(bundled) or tuple(sorted(path.stem for path in root().glob("*.csv")))


def rows(name: str) -> tuple[Row, ...]:
    """The rows of a table, typed by its sidecar; an empty cell is None.

    >>> [row["id"] for row in rows("models") if row["n_layers"] == 61]
    ['deepseek-v3']
    """
    return tuple(dict(row) for row in _table(kept_in(), name))


def grouped(name: str, by: str) -> dict[str, list[Row]]:
    """The rows of a table, those together that have the same in one column; in the order of the table.

    >>> {row["quantity"] for row in grouped("accelerators", "device_id")["h100-sxm"]} >= {"memory", "peak"}
    True
    """
    found = rows(name)
    return {key: [row for row in found if row[by] == key] for key in dict.fromkeys(row[by] for row in found)}


def column_types(name: str) -> dict[str, str]:
    """The type of each column, by its name: str, int, float, bool or date.

    >>> column_types("models")["n_layers"]
    'int'
    """
    _existing(name, ".yml")
    if bundled := _bundle(kept_in()):
        return dict(bundled[name]["types"])
    columns = sidecar(name).get("columns")
    require(
        isinstance(columns, list)
        and all(isinstance(each, dict) and {"name", "type"} <= each.keys() for each in columns),
        f"{name}.yml: no columns, or one without a name and a type.",
    )
    return {column["name"]: column["type"] for column in columns or ()}


def sidecar(name: str) -> dict[str, Any]:
    """What `data/<name>.yml` says of its table: title, producer, license, columns and the rest.

    >>> sidecar("accelerators")["columns"][0]["name"]
    'device_id'
    """
    return dict(_read(_existing(name, ".yml"), _yaml, dict))


def claims() -> list[dict[str, Any]]:
    """The claims on trial, in order (`data/claims.yaml`).

    >>> len(claims()), claims()[0]["id"]
    (56, 'C01')
    """
    return list(article()["claims"])


def article() -> dict[str, Any]:
    """The text on trial, known by its sha256 alone, and its claims (`data/claims.yaml`)."""
    found = dict(_read(root() / "claims.yaml", _yaml, dict))
    whole = isinstance(found.get("article"), dict) and isinstance(found.get("claims"), list)
    require(whole, "claims.yaml needs 'article' and a list of 'claims'.")
    return found


def panels() -> dict[str, Any]:
    """What a claim's reach is judged on: deployments, traces, offers, devices, and their sources (`data/panels.yaml`).

    >>> sorted(panels())
    ['deployments', 'devices', 'offers', 'reference', 'sources', 'traces']
    """
    if bundled := _bundle(kept_in()):
        return dict(bundled[PANELS])
    return dict(_read(root() / PANELS, _yaml, dict))


def measured(name: str) -> dict[str, Any]:
    """A run recorded by this book, with its provenance (`data/measured/<name>.json`)."""
    files = {path.stem: path for path in sorted((root() / "measured").glob("*.json"))}
    require_known("measured run", name, files)
    return dict(_read(files[name], json.loads, dict))


def sha256(path: Path) -> str:
    """The checksum a sidecar records for its table."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rehash() -> None:
    """After editing a table: write its new sha256 into its sidecar, touching nothing else of it."""
    for name in names():
        path = root() / f"{name}.yml"
        renewed = f"sha256: {sha256(path.with_suffix('.csv'))}"
        if (text := re.sub("^sha256:.*", renewed, _read(path), flags=re.MULTILINE)) != _read(path):
            write_whole(path, text)


def typed(cell: Any, kind: str) -> Any:
    """One cell as its sidecar types it, out of a table's text or a bundle.

    >>> typed("61", "int"), typed("", "float"), typed("true", "bool"), typed("2026-11-23", "date").year
    (61, None, True, 2026)
    """
    return None if cell in ("", None) else READERS[kind](cell)


def raw_rows(name: str) -> list[dict[str, Any]]:
    """The rows as text, before typing: what the rules look at."""
    if bundled := _bundle(kept_in()):
        return [dict(zip(bundled[name]["types"], row, strict=True)) for row in bundled[name]["rows"]]
    lines = [line for line in csv.reader(io.StringIO(_read(_existing(name, ".csv")))) if line]
    wrong = [number for number, line in enumerate(lines, start=1) if len(line) != len(lines[0])]
    require(bool(lines) and not wrong, f"{name}.csv: no heading, or not as many cells as that in lines {wrong}.")
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


@cache
def _table(place: Path, name: str) -> tuple[Row, ...]:
    kinds = column_types(name)
    try:
        return tuple({key: typed(cell, kinds[key]) for key, cell in row.items()} for row in raw_rows(name))
    except (KeyError, ValueError):
        raise BytebillError(f"{name}.csv does not fit {name}.yml; python -m bytebill.data says where.") from None


@cache
def _bundle(place: Path) -> dict[str, Any]:
    """The tables of a bundle; none where the data are a folder."""
    return dict(_read(place, json.loads, dict)) if place.is_file() else {}


def _existing(name: str, suffix: str) -> Path:
    require_known("data table", name, names())
    return kept_in() / f"{name}{suffix}"


def _read(
    path: Path, parse: Callable[[str], Any] = str, kind: type = str, *, most_characters: int = _MOST_CHARACTERS
) -> Any:
    """What a file holds; one sentence where it is not there, is damaged, or holds something else."""
    if log := os.environ.get("BYTEBILL_READS"):
        with open(log, "a", encoding="utf-8") as told:
            told.write(f"{path.stem}\n")
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(most_characters + 1)
        if len(text) > most_characters:
            raise ValueError(f"more than {most_characters:,} characters")
        found = parse(text)
    except FileNotFoundError:
        raise BytebillError(f"There is no file {path}.") from None
    except Exception as error:  # each parser has its own kinds
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        if isinstance(error, UnicodeDecodeError):
            why = f"no UTF-8 in line {error.object.count(10, 0, error.start) + 1}"
        raise BytebillError(f"{path.name or path} cannot be read: {why}.") from None
    require(isinstance(found, kind), f"{path.name} holds a {type(found).__name__}, not a {kind.__name__}.")
    return found


def read_yaml(path: Path | str) -> Any:
    """What a user's file of YAML holds, whatever it is. Raises `BytebillError` where it cannot be read."""
    return _read(Path(path), _yaml, object, most_characters=MOST_OF_A_USER)


def _yaml(text: str) -> Any:
    """What `_parsed` makes of a text, for the caller alone to change."""
    return copy.deepcopy(_parsed(text))


@cache  # parsing is slow, and a book asks for a table's file five times
def _parsed(text: str) -> Any:
    """What safe YAML says, where it names each key once; a ValueError with the line where it does not."""
    import yaml  # not in a browser, which reads a bundle

    class EachOnce(yaml.SafeLoader):  # the library has no setting for it
        def compose_mapping_node(self, anchor: Any) -> Any:
            node, names = super().compose_mapping_node(anchor), set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in names:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r:.40} is named twice", problem_mark=key.start_mark)
                names.add(key.value)
            return node

        def flatten_mapping(self, node: Any) -> None:
            n_own = len(node.value)
            super().flatten_mapping(node)
            if len(node.value) > max(n_own, MOST_MERGED):  # a level of merges can be many times as large as the next
                raise yaml.MarkedYAMLError(problem="too many keys are merged here", problem_mark=node.start_mark)

    try:
        return yaml.load(text, EachOnce)
    except yaml.YAMLError as error:
        said = f"{getattr(error, 'context', None) or ''} {getattr(error, 'problem', 'a character that YAML has not')}"
        mark = getattr(error, "problem_mark", None)
        line = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
        raise ValueError(f"{said}, line {line + 1}") from None


def _finite(cell: Any) -> float:
    if not math.isfinite(value := float(cell)):
        raise ValueError(f"{cell} is no number")
    return value


READERS: dict[str, Callable[[Any], Any]] = {
    "str": str,
    "int": int,
    "float": _finite,
    "bool": {"true": True, "false": False, True: True, False: False}.__getitem__,
    "date": datetime.date.fromisoformat,
}
