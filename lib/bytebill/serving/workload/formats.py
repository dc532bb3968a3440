"""Whose log is this? The formats of traces that are read, and what a file says of its own units.

Every format has an input and an output column, by which it is told, and at most one of arrivals. The unit of an
arrival, by the first of these that settles it:

    text such as 2024-05-10 00:00:00.5   a date and time
    the format's unit                    which the value may not contradict
    the digits of a time since 1970      10 before the point are seconds, 13 milliseconds, 16 us, 19 ns

and of a hashed block: the size that the format states, if len(hash_ids) is n_input_tokens / size, rounded up or down,
in every line looked at; else the only power of two for which it is. A file whose names and numbers leave its unit
open, as Mooncake's columns with fractions of a millisecond or with blocks of 16 tokens do, is refused and asks for it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from bytebill.errors import BytebillError

LogRow = Mapping[str, Any]

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_IN_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "date": "dates and times"}
_DIGITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}  # of a time since 1970, from 2001 to 2286
_BLOCKS = tuple(2**power for power in range(3, 13))  # tokens, where the format does not state it


@dataclass(frozen=True)
class TraceFormat:
    """Columns of a published log; a dot leads into a nested object. `unit`: "s", "ms", "date" or "since 1970"."""

    name: str
    n_input: str
    n_output: str
    arrival: tuple[str, ...]  # the first that is there
    unit: str = "s"
    _: KW_ONLY
    mark: str = ""  # a column that tells it from another format with the same names
    hash_block_tokens: int | None = None
    in_order: bool = True  # otherwise it is sorted by arrival
    note: str = ""

    def fits(self, row: LogRow) -> bool:
        """Whether a row has the columns of this format."""
        needed = filter(None, (self.n_input, self.n_output, self.mark))
        return all(_find(row, column)[0] for column in needed)


_TIMED = re.compile(
    r"arriv|timestamp|^(start|send|sent)_?(time|at)|^time$", re.IGNORECASE
)  # what looks like an arrival
_WHEN = ("startTime", "created", "created_at", "timestamp")

TRACE_FORMATS = (
    TraceFormat("The Byte Bill", "n_input_tokens", "n_output_tokens", ("arrival_s",)),
    # github.com/Azure/AzurePublicDataset: AzureLLMInferenceDataset2023.md, AzureLLMInferenceDataset2024.md
    TraceFormat("Azure", "ContextTokens", "GeneratedTokens", ("TIMESTAMP",), "date"),
    # github.com/alibaba-edu/qwen-bailian-usagetraces-anon: README.md
    TraceFormat("Bailian", "input_length", "output_length", ("timestamp",), mark="chat_id", hash_block_tokens=16),
    # github.com/kvcache-ai/Mooncake: FAST25-release/README.md
    TraceFormat("Mooncake", "input_length", "output_length", ("timestamp",), "ms", hash_block_tokens=512),
    # github.com/HPMLL/BurstGPT: README.md
    TraceFormat("BurstGPT", "Request tokens", "Response tokens", ("Timestamp",)),
    # github.com/microsoft/vidur: data/processed_traces, trace_replay_request_generator.py
    TraceFormat("Vidur", "num_prefill_tokens", "num_decode_tokens", ("arrived_at",)),
    # github.com/Mutinifni/splitwise-sim: README.md, whose times are in seconds
    TraceFormat("splitwise-sim", "prompt_size", "token_size", ("arrival_timestamp",)),
    # `vllm bench serve --save-detailed`: when it was sent; `sglang.bench_serving --output-details`: no times
    TraceFormat("bench serve", "input_lens", "output_lens", ("start_times",), in_order=False),
    # ShareGPT_V3_unfiltered_cleaned_split.json, as vllm/benchmarks/datasets reads it: turns with `from` and `value`
    TraceFormat("ShareGPT", "conversations[:n]", "conversations[n]", (), note="an answer's prompt is all before it"),
    # written when a request ends: answers of OpenAI's API, the output of its Batch API, LiteLLM's spend logs
    TraceFormat("usage log", "usage.prompt_tokens", "usage.completion_tokens", _WHEN, "since 1970", in_order=False),
    TraceFormat(
        "usage log",
        "response.body.usage.prompt_tokens",
        "response.body.usage.completion_tokens",
        ("response.body.created",),
        "since 1970",
        in_order=False,
    ),
    TraceFormat("usage log", "prompt_tokens", "completion_tokens", _WHEN, "since 1970", in_order=False),
)
_MARKED = tuple(form for form in TRACE_FORMATS if form.mark)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is read. No arrival column: all at time 0."""

    format: TraceFormat
    arrival: str | None
    unit: str | None
    settled_by: str  # what gave the unit: "you", "format" or "digits"
    hash_block_tokens: int | None

    def __str__(self) -> str:
        said = (
            _IN_WORDS[self.unit] + " since 1970" * (self.settled_by == "digits") if self.unit else "all at time 0",
            f"{self.hash_block_tokens}-token blocks" if self.hash_block_tokens else "",
            "sorted by arrival" if self.arrival and not self.format.in_order else "",
            self.format.note,
        )
        return f"{self.format.name}: {', '.join(filter(None, said))}"

    def contradicted_by(self, time: float) -> bool:
        """Whether this time is in another unit than the file's first ones."""
        if self.settled_by == "digits":
            return unit_by_digits(time) != self.unit
        return self.settled_by == "format" and self.unit == "ms" and time % 1 != 0

    def owns(self, row: LogRow) -> bool:
        """Whether a row has the mark of this format, and not that of another one with the same columns."""
        rivals = (form for form in _MARKED if form.n_input == self.format.n_input)
        return all((value_in(row, form.mark) is not None) == (form is self.format) for form in rivals)


def reading_of(name: str, rows: Sequence[LogRow], *, unit: str | None, hash_block_tokens: int | None) -> Reading:
    """How the file of this name is read, by its first rows. A unit or block size that is given is believed."""
    form = next((form for row in rows for form in TRACE_FORMATS if form.fits(row)), None)
    if form is None:
        raise _unknown(name, rows[0] if rows else {})
    rows = [row for row in rows if form.fits(row)]
    block = hash_block_tokens or _block_tokens(name, form, rows)
    arrival = next((column for row in rows for column in form.arrival if value_in(row, column) is not None), None)
    found, settled_by = unit, "you"
    if arrival is None:
        timed = next((column for column in rows[0] if _TIMED.search(column)), None)
        if timed is not None:
            raise BytebillError(
                f"{name} has a time in '{timed[:40]}', which is none of {form.name}'s columns: call it "
                f"{(form.arrival or ('arrival_s',))[0]}, in its unit."
            )
        found = None
    elif unit is None:
        times = [time for row in rows if (time := value_in(row, arrival)) is not None]
        found, settled_by = _unit(name, form, times)
        if form.hash_block_tokens and block not in (None, form.hash_block_tokens):
            raise _open(name, f"{form.name}'s columns but blocks of {block} tokens")
    return Reading(format=form, arrival=arrival, unit=found, settled_by=settled_by, hash_block_tokens=block)


def value_in(row: LogRow, column: str) -> Any:
    """What stands in a column; None if nothing does.

    >>> value_in({"usage": {"prompt_tokens": 7}}, "usage.prompt_tokens"), value_in({"n": ""}, "n")
    (7, None)
    """
    value = _find(row, column)[1]
    return None if value == "" else value


def unit_by_digits(time: float) -> str | None:
    """The unit of a time since 1970; None if it is none.

    >>> unit_by_digits(1_700_000_000.5), unit_by_digits(1_700_000_000_500), unit_by_digits(61.1)
    ('s', 'ms', None)
    """
    return _DIGITS.get(len(str(int(time)))) if math.isfinite(time) else None


def fits_blocks(n_hashes: int, n_tokens: int, block_tokens: int) -> bool:
    """Whether a prompt of so many tokens has so many blocks, its last one named or not."""
    return n_hashes in (n_tokens // block_tokens, -(-n_tokens // block_tokens))


def as_number(value: object) -> float | None:
    """A number, also one that is written as text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = int(value) if isinstance(value, str) else value  # a time in ns has more digits than a float
    except ValueError:
        try:
            number = float(value)
        except ValueError:
            return None
    return number if isinstance(number, float) or abs(number) < 10**20 else math.inf


def _find(row: LogRow, column: str) -> tuple[bool, Any]:
    """Whether there is such a column, and what stands in it."""
    if column in row:
        return True, row[column]
    outer, dot, inner = column.partition(".")
    return _find(row[outer], inner) if dot and isinstance(row.get(outer), Mapping) else (False, None)


def _unit(name: str, form: TraceFormat, times: Sequence[Any]) -> tuple[str, str]:
    """The unit of a file's arrivals, and what settles it."""
    numbers = [number for time in times if (number := as_number(time)) is not None]
    if as_number(times[0]) is None:
        return "date", "format"
    said = unit_by_digits(numbers[0])
    if form.unit not in PER_SECOND:
        if said is None:
            raise _open(name, f"the time {times[0]!r:.60}, which is neither a date nor a time since 1970")
        return said, "digits"
    if said not in (None, form.unit):
        raise _open(name, f"{form.name}'s columns but the time {times[0]!r:.60}")
    if form.unit == "ms" and (fraction := next((number for number in numbers if number % 1), None)) is not None:
        raise _open(name, f"{form.name}'s columns but the time {fraction}, no whole millisecond")
    return form.unit, "format"


def _block_tokens(name: str, form: TraceFormat, rows: Sequence[LogRow]) -> int | None:
    hashed = [
        (len(hashes), int(n_input))
        for row in rows
        if isinstance(hashes := row.get("hash_ids"), list)
        and hashes
        and (n_input := as_number(value_in(row, form.n_input))) is not None
        and math.isfinite(n_input)
    ]
    if not hashed:
        return None
    fitting = [size for size in _BLOCKS if all(fits_blocks(*each, size) for each in hashed)]
    stated, (n_hashes, n_input) = form.hash_block_tokens, hashed[0]
    if stated and (stated in fitting or (not fitting and fits_blocks(n_hashes, n_input, stated))):
        return stated  # and a line that it does not fit is refused when it comes
    if len(fitting) != 1:
        raise BytebillError(
            f"{name} does not tell the size of its hashed blocks ({n_hashes} for {n_input} tokens): "
            "say it, as in hash_block_tokens=16."
        )
    return fitting[0]


def _open(name: str, has: str) -> BytebillError:
    return BytebillError(f"{name} has {has}: say what its times are in, as in unit='s' or unit='ms'.")


def _unknown(name: str, row: LogRow) -> BytebillError:
    if "total_input_tokens" in row and "input_lens" not in row:
        return BytebillError(
            f"{name} sums up a benchmark and holds none of its requests: "
            "run it with --save-detailed (vLLM) or --output-details (SGLang)."
        )
    columns = ", ".join(str(column) for column in row)
    return BytebillError(
        f"{name} is no trace that is known here, by its columns {columns[:200]!r}: "
        "call them n_input_tokens, n_output_tokens and arrival_s."
    )
