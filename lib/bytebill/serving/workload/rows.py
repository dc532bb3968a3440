"""What stands in a log? Its rows, one a request, of CSV, of JSON lines or of one JSON document, with the line of each.

What a file is, its content says and not its name: gzip by its first two bytes, JSON by a brace or bracket, anything
else is CSV, whose separator (, ; tab) is the one that the header has most of. CSV and JSON lines are read line by line;
a document is held in memory. Blank lines and lines that begin with # are counted and left out.
"""

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from bytebill.errors import BytebillError
from bytebill.serving.workload.formats import LogRow

MOST_CHARACTERS = 2**30  # of a line, and of a document
BLANK, COMMENTED = "blank", "commented out"
_ANSWERERS = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard"})


def four_characters_each(text: str) -> int:
    """Tokens of a text by the rule of thumb for English, four characters a token, rounded up.

    >>> four_characters_each("How are you?")
    3
    """
    return -(-len(text) // 4)


def rows_of(path: Path, skipped: Counter[str], *, n_tokens_of: Callable[[str], int]) -> Iterator[tuple[str, LogRow]]:
    """(place, columns) of what may be requests; lines without any are counted in `skipped`, by what they are."""
    try:
        with _opened(path) as file:
            yield from _requests(path.name, _parsed(path.name, _Lines(path.name, file, skipped)), n_tokens_of)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BytebillError(f"The trace {path} cannot be read: {error}.") from error


def _opened(path: Path) -> TextIO:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return (gzip.open if is_gzip else open)(path, "rt", encoding="utf-8-sig", newline="")


class _Lines:
    """Lines with something on them, and the number of the last one."""

    def __init__(self, name: str, file: TextIO, skipped: Counter[str]) -> None:
        self.name, self.file, self.skipped, self.number = name, file, skipped, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while line := self.file.readline(MOST_CHARACTERS):
            self.number += 1
            if len(line) == MOST_CHARACTERS:
                raise BytebillError(f"{self.name} line {self.number} is too long to be read.")
            if line.strip() and not line.startswith("#"):
                return line
            self.skipped[COMMENTED if line.strip() else BLANK] += 1
        raise StopIteration


def _parsed(name: str, lines: _Lines) -> Iterator[tuple[str, Any]]:
    first = next(lines, "")
    if first.lstrip()[:1] not in tuple("{["):
        yield from _csv_rows(name, first, lines)
        return
    try:
        is_lines = isinstance(_loaded(first), dict)
    except (ValueError, RecursionError):
        is_lines = False
    if is_lines:
        for line in chain([first], lines):
            place = f"line {lines.number}"
            try:
                yield place, _loaded(line)
            except (ValueError, RecursionError) as error:
                raise BytebillError(f"{name} {place} is not JSON: {error}.") from error
    else:
        yield from _document_rows(name, first, lines)


def _csv_rows(name: str, first: str, lines: _Lines) -> Iterator[tuple[str, Any]]:
    reader = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count))
    columns = [column.strip() for column in next(reader, [])]
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise BytebillError(f"{name} has a column twice: {twice:.60}.")
    for cells in reader:
        place = f"line {lines.number}"
        if not any(cells):
            lines.skipped[BLANK] += 1
        elif len(cells) != len(columns):
            raise BytebillError(f"{name} {place} is no request: {len(cells)} cells under {len(columns)} columns.")
        else:
            yield place, dict(zip(columns, cells, strict=True))


def _document_rows(name: str, first: str, lines: _Lines) -> Iterator[tuple[str, Any]]:
    parts, n_characters = [], 0
    for line in chain([first], lines):
        parts.append(line)
        n_characters += len(line)
        if n_characters > MOST_CHARACTERS:
            raise BytebillError(f"{name} is too long for one JSON document: write it as JSON lines.")
    try:
        document = _loaded("".join(parts))
    except (ValueError, RecursionError) as error:
        raise BytebillError(f"{name} is not JSON: {error}.") from error
    for number, row in enumerate(document if isinstance(document, list) else [document], start=1):
        yield f"entry {number}", row


def _loaded(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are there once each."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def _requests(
    name: str, parsed: Iterable[tuple[str, Any]], n_tokens_of: Callable[[str], int]
) -> Iterator[tuple[str, LogRow]]:
    """A row for each request, also where an object holds several: conversations, and the lists of a benchmark."""
    n_runs = 0
    for place, row in parsed:
        if not isinstance(row, dict):
            raise BytebillError(f"{name} {place} is no request: not an object of names and values.")
        if "conversations" in row:
            for turn in _answers(name, place, row["conversations"], n_tokens_of):
                yield place, turn
        elif isinstance(row.get("input_lens"), list):
            n_runs += 1
            if n_runs > 1:
                raise BytebillError(
                    f"{name} holds several runs of a benchmark, each with a clock of its own: keep one."
                )
            yield from _of_a_run(name, row)
        else:
            yield place, row


def _answers(name: str, place: str, turns: Any, n_tokens_of: Callable[[str], int]) -> Iterator[LogRow]:
    """What each answer of a conversation took in and gave; one row of nothing if there is none."""
    n_before, n_answers = 0, 0
    try:
        for turn in turns:
            n_tokens = n_tokens_of(turn["value"])
            if turn["from"] in _ANSWERERS:
                n_answers += 1
                yield {"conversations[:n]": n_before, "conversations[n]": n_tokens}
            n_before += n_tokens
    except (TypeError, KeyError) as error:
        raise BytebillError(f"{name} {place} is no conversation of turns that have `from` and `value`.") from error
    if not n_answers:
        yield {"conversations[:n]": n_before, "conversations[n]": 0}


def _of_a_run(name: str, row: dict[str, Any]) -> Iterator[tuple[str, LogRow]]:
    lists = {column: row[column] for column in ("input_lens", "output_lens", "start_times") if column in row}
    if not all(isinstance(values, list) and len(values) == len(row["input_lens"]) for values in lists.values()):
        raise BytebillError(f"{name} has {', '.join(lists)} that are no lists of one length.")
    for number, values in enumerate(zip(*lists.values(), strict=True), start=1):
        yield f"request {number}", dict(zip(lists, values, strict=True))
