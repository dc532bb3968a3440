"""What do your requests look like? A trace of your own, in one of the formats of `formats.TRACE_FORMATS`.

    print(TraceFile("qwen_traceA.jsonl").describe())       how it is read, and how much it holds
    for request in TraceFile("log.csv", unit="ms"): ...    prints how it is read, and at the end what was left out

Time 0 is the arrival of the first request, whatever clock the file has. A line that is no request is counted and left
out: blank, a comment, an error, without output tokens (a failure) or without a prompt. A file with more failures than
requests is refused, and so is one with a line that cannot be meant, in a sentence that names the line. Lines stand in
the order of arrival, but for usage logs, which are written when a request ends, and benchmarks: those are sorted, in
memory. Otherwise a file of CSV or JSON lines is read line by line and needs no memory.
"""

import datetime
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bytebill.errors import BytebillError, require, require_known
from bytebill.serving.memory.prefix import block_names
from bytebill.serving.request import Request
from bytebill.serving.workload.formats import PER_SECOND, LogRow, Reading, as_number, fits_blocks, reading_of, value_in
from bytebill.serving.workload.rows import BLANK, COMMENTED, four_characters_each, rows_of
from bytebill.units import BLOCK_SIZE_TOKENS, plain

MOST_TOKENS = 10**9  # of a request that can be meant
MOST_SORTED = 10**6  # requests
_LATEST_S = 10**10  # a time that can be meant: in 2286, if it counts from 1970
_N_LOOKED_AT = 1000  # rows, to tell how a file is read


class _Seen(NamedTuple):
    """A request as its file has it."""

    place: str
    time: Any  # a number, or a date and time
    n_input_tokens: int
    n_output_tokens: int
    hashes: tuple[int, ...]


class _Counts(NamedTuple):
    n_requests: int
    last_s: float
    skipped: Counter[str]

    @property
    def said_skipped(self) -> str:
        n = self.skipped.total()
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        return f"{n:,} line{'s' * (n != 1)} skipped ({reasons})" if n else ""


@dataclass(frozen=True)
class TraceFile:
    """The requests of a file, in the order of their arrival.

    The `unit` of its times ("s", "ms", "us", "ns") and the tokens of a hashed block are detected where they are not
    given. A hashed block becomes several of `block_size_tokens`, or several become one. What is said in conversations
    is counted by `n_tokens_of` a text.
    """

    path: Path | str
    _: KW_ONLY
    block_size_tokens: int = BLOCK_SIZE_TOKENS
    hash_block_tokens: int | None = None
    unit: str | None = None
    n_tokens_of: Callable[[str], int] = four_characters_each

    def __post_init__(self) -> None:
        if self.unit is not None:
            require_known("unit", self.unit, PER_SECOND)
        self._require_blocks(self.block_size_tokens if self.hash_block_tokens is None else self.hash_block_tokens)

    def __iter__(self) -> Iterator[Request]:
        self._say(f"{self._name} is read as {self.reading}.")
        yield from self._requests()
        if self.n_skipped:
            self._say(f"{self._name}: {self._counts.n_requests:,} requests, {self._counts.said_skipped}.")

    @cached_property
    def reading(self) -> Reading:
        """Format, unit and block size, as the first rows tell them."""
        rows = [row for _, row in islice(self._rows(Counter()), _N_LOOKED_AT)]
        require(bool(rows), f"The trace {self._name} holds no requests.")
        found = reading_of(self._name, rows, unit=self.unit, hash_block_tokens=self.hash_block_tokens)
        self._require_blocks(found.hash_block_tokens or self.block_size_tokens)
        return found

    @property
    def n_skipped(self) -> int:
        """Lines that are no requests."""
        return self._counts.skipped.total()

    def describe(self) -> str:
        """How the file is read, how many requests it holds and in how long, and what was left out."""
        counts = self._counts
        within = f" in {plain(counts.last_s)} s" if self.reading.arrival else ""
        said = (str(self.reading), f"{counts.n_requests:,} requests{within}", counts.said_skipped)
        return ", ".join(filter(None, said))

    @property
    def _name(self) -> str:
        return Path(self.path).name

    @cached_property
    def _counts(self) -> _Counts:
        """Of the whole file; kept by whichever pass comes to its end first."""
        deque(self._requests(), maxlen=0)
        return self.__dict__["_counts"]

    @cached_property
    def _said(self) -> set[str]:
        return set()

    def _say(self, sentence: str) -> None:
        """Print it, the first time."""
        if sentence not in self._said:
            self._said.add(sentence)
            print(sentence)

    def _requests(self) -> Iterator[Request]:
        skipped: Counter[str] = Counter()
        id, first, last_s = -1, None, 0.0
        for id, seen in enumerate(self._in_order(self._all(skipped))):
            first = seen.time if first is None else first
            arrival_s = self._seconds(first, seen.time)
            if arrival_s < last_s:
                raise BytebillError(f"{self._name} {seen.place} arrives before the one above it: sort the trace.")
            last_s = arrival_s
            yield Request(
                id=id,
                n_input_tokens=seen.n_input_tokens,
                n_output_tokens=seen.n_output_tokens,
                arrival_s=arrival_s,
                prefix=self._prefix(seen.hashes),
            )
        counts = _Counts(id + 1, last_s, skipped)
        n_failed = skipped.total() - skipped[BLANK] - skipped[COMMENTED]
        require(n_failed <= id + 1, f"{self._name} is no trace: {counts.said_skipped}, {id + 1:,} read.")
        require(id >= 0, f"The trace {self._name} holds no requests.")
        self.__dict__.setdefault("_counts", counts)

    def _in_order(self, seen: Iterator[_Seen]) -> Iterable[_Seen]:
        if self.reading.arrival is None or self.reading.format.in_order:
            return seen
        held = list(islice(seen, MOST_SORTED + 1))
        require(
            len(held) <= MOST_SORTED,
            f"{self._name} holds more than {MOST_SORTED:,} requests to sort: write it in the order of arrival, "
            "with columns arrival_s, n_input_tokens and n_output_tokens.",
        )
        first = held[0].time if held else 0
        return sorted(held, key=lambda each: self._seconds(first, each.time))

    def _seconds(self, first: Any, time: Any) -> float:
        """From the first time to this one."""
        if self.reading.unit in PER_SECOND:
            return (time - first) / PER_SECOND[self.reading.unit]
        try:
            return (time - first).total_seconds() if self.reading.unit else 0.0
        except TypeError as error:
            raise BytebillError(f"{self._name} has dates with a time zone and dates without one.") from error

    def _rows(self, skipped: Counter[str]) -> Iterator[tuple[str, LogRow]]:
        return rows_of(Path(self.path), skipped, n_tokens_of=self.n_tokens_of)

    def _all(self, skipped: Counter[str]) -> Iterator[_Seen]:
        reading = self.reading
        for place, row in self._rows(skipped):
            try:
                seen = _seen(reading, place, row)
            except ValueError as error:
                raise BytebillError(f"{self._name} {place} is no request: {error}.") from error
            if isinstance(seen, str):
                skipped[seen] += 1
            else:
                yield seen

    def _prefix(self, hashes: tuple[int, ...]) -> tuple[int, ...]:
        size, hashed = self.block_size_tokens, self.reading.hash_block_tokens or self.block_size_tokens
        if hashed < size:
            return block_names(hashes, block_size_tokens=size // hashed)
        n_parts = hashed // size
        return tuple(name * n_parts + part for name in hashes for part in range(n_parts))

    def _require_blocks(self, hashed: int) -> None:
        size = self.block_size_tokens
        whole = min(size, hashed) >= 1 and (hashed % size == 0 or size % hashed == 0)
        require(whole, f"Blocks of {size} tokens do not fill blocks of {hashed}.")


def _seen(reading: Reading, place: str, row: LogRow) -> _Seen | str:
    """The request of a row, or why there is none although nothing is wrong with it."""
    columns = (reading.format.n_input, reading.format.n_output)
    n_input, n_output = (value_in(row, column) for column in columns)
    if n_input is None and n_output is None:
        if any("error" in column.lower() and row[column] for column in row):
            return "with an error"
        raise ValueError(f"it has no {columns[0]}")
    if not reading.owns(row):
        raise ValueError(f"it is not of {reading.format.name}, as the lines above are")
    n_output_tokens = 0 if n_output is None else _whole(n_output, columns[1])
    if not n_output_tokens:
        return "without output tokens"
    if not (n_input_tokens := _whole(n_input, columns[0])):
        return "without a prompt"
    hashes = _hashes(row, n_input_tokens, reading.hash_block_tokens)
    return _Seen(place, _time(reading, row), n_input_tokens, n_output_tokens, hashes)


def _whole(value: object, column: str) -> int:
    number = as_number(value)
    if number is None or not 0 <= number <= MOST_TOKENS or number % 1:
        raise ValueError(f"{column} is {_shown(value)}, not a whole number of tokens, at most {MOST_TOKENS:,}")
    return int(number)


def _time(reading: Reading, row: LogRow) -> Any:
    if reading.arrival is None:
        return 0
    value = value_in(row, reading.arrival)
    if reading.unit == "date" and isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    time = as_number(value)
    latest = _LATEST_S * PER_SECOND.get(reading.unit or "", 0)
    if time is None or not 0 <= time < latest or reading.contradicted_by(time):
        raise ValueError(f"{reading.arrival} is {_shown(value)}, not a time as in {reading}")
    return time


def _hashes(row: LogRow, n_input_tokens: int, block_tokens: int | None) -> tuple[int, ...]:
    hashes = row.get("hash_ids") or []
    if not isinstance(hashes, list) or not all(type(name) is int and name >= 0 for name in hashes):
        raise ValueError("hash_ids is no list of whole numbers from 0 up")
    if hashes and not (block_tokens and fits_blocks(len(hashes), n_input_tokens, block_tokens)):
        raise ValueError(f"{len(hashes)} hash_ids are not the blocks of {block_tokens} of {n_input_tokens:,} tokens")
    return tuple(hashes)


def _shown(value: object) -> str:
    return f"{value!r:.60}"
