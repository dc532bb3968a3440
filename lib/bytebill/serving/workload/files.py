"""What do your requests look like? A trace of your own: a CSV file with a header, or JSON lines.

A line is a request. Columns go by our names or by those of the published traces (Azure's CSV, Mooncake's JSON lines):

    n_input_tokens     or input_length,  ContextTokens
    n_output_tokens    or output_length, GeneratedTokens
    arrival_s [s]      or timestamp [ms], or TIMESTAMP (dates and times; the first is time 0); none: all at once
    hash_ids           names of the prompt's blocks of `hash_block_tokens`, of JSON lines only

Files are read line by line, so a long trace needs no memory. A line that is no request is named in the error.
"""

import csv
import datetime
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError, require
from bytebill.serving.request import Request
from bytebill.units import BLOCK_SIZE_TOKENS

N_INPUT = ("n_input_tokens", "input_length", "ContextTokens")
N_OUTPUT = ("n_output_tokens", "output_length", "GeneratedTokens")
MOST_TOKENS = 10**9  # of a request that can be meant

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class TraceFile:
    """The requests of a `.csv` or `.jsonl` file, in its order, which must be that of arrival.

    A hashed block of `hash_block_tokens` becomes several of `block_size_tokens`, each with a name of its own.
    """

    path: Path | str
    _: KW_ONLY
    block_size_tokens: int = BLOCK_SIZE_TOKENS
    hash_block_tokens: int = 512

    def __post_init__(self) -> None:
        size, hashed = self.block_size_tokens, self.hash_block_tokens
        require(
            Path(self.path).suffix in (".csv", ".jsonl"),
            f"A trace is a .csv or a .jsonl file, not {Path(self.path).name}.",
        )
        require(
            min(size, hashed) >= 1 and hashed % size == 0, f"Blocks of {size} tokens do not fill blocks of {hashed}."
        )

    def __iter__(self) -> Iterator[Request]:
        path, n_blocks_per_hash = Path(self.path), self.hash_block_tokens // self.block_size_tokens
        first_date: datetime.datetime | None = None
        last_s, id = 0.0, -1
        for id, (line, row) in enumerate(_rows(path)):
            try:
                date = datetime.datetime.fromisoformat(row["TIMESTAMP"]) if "TIMESTAMP" in row else None
                first_date = first_date or date
                arrival_s = _arrival_s(row) if date is None else (date - (first_date or date)).total_seconds()
                request = _request(id, row, arrival_s, n_blocks_per_hash)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                reason = error.args[0] if error.args else type(error).__name__
                raise BytebillError(f"{path.name} line {line} is no request: {reason}.") from error
            if arrival_s < last_s:
                raise BytebillError(f"{path.name} line {line} arrives before the line above it: sort the trace.")
            last_s = arrival_s
            yield request
        require(id >= 0, f"The trace {path.name} holds no requests.")


def _rows(path: Path) -> Iterator[tuple[int, _Row]]:
    """(line number, its cells)."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from _json_rows(path, lines) if path.suffix == ".jsonl" else _csv_rows(path, lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BytebillError(f"The trace {path} cannot be read: {error}.") from error


def _csv_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, _Row]]:
    reader = csv.reader(lines)
    names = next(reader, [])
    require(len(set(names)) == len(names), f"{path.name} has a column twice: {', '.join(names)}.")
    for cells in filter(None, reader):
        if len(cells) != len(names):
            raise BytebillError(
                f"{path.name} line {reader.line_num} is no request: {len(cells)} cells under {len(names)} columns."
            )
        yield reader.line_num, dict(zip(names, cells, strict=True))


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, _Row]]:
    for number, line in filter(lambda each: each[1].strip(), enumerate(lines, start=1)):
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise BytebillError(f"{path.name} line {number} is not JSON: {error}.") from error
        require(isinstance(row, dict), f"{path.name} line {number} is no request: not an object of names and values.")
        yield number, row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are there once each."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def _request(id: int, row: _Row, arrival_s: float, n_blocks_per_hash: int) -> Request:
    hashes = row.get("hash_ids") or []
    if not isinstance(hashes, list) or not all(type(name) is int and name >= 0 for name in hashes):
        raise ValueError("hash_ids is no list of whole numbers from 0 up")
    return Request(
        id=id,
        n_input_tokens=_whole(row, N_INPUT),
        n_output_tokens=_whole(row, N_OUTPUT),
        arrival_s=arrival_s,
        prefix=tuple(name * n_blocks_per_hash + part for name in hashes for part in range(n_blocks_per_hash)),
    )


def _arrival_s(row: _Row) -> float:
    arrival_s = float(row["arrival_s"]) if "arrival_s" in row else float(row.get("timestamp", 0)) / 1e3
    if not arrival_s < math.inf:
        raise ValueError("its time of arrival is not a time")
    return arrival_s


def _whole(row: _Row, names: tuple[str, ...]) -> int:
    """A count under the first of its names that the row has."""
    name = next((name for name in names if name in row), None)
    if name is None:
        raise KeyError(f"there is no column {' or '.join(names)}")
    value = float(row[name])
    if isinstance(row[name], bool) or value != int(value) or not 1 <= value <= MOST_TOKENS:
        raise ValueError(f"{name} is {row[name]}, not a whole number of at least one token and at most {MOST_TOKENS:,}")
    return int(value)
