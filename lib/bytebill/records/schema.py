"""What is a record, and what is a file that only looks like one? The schema, and how a file is read and written.

    {"schema": "bytebill-record/1", "kind": "run" of a chapter, "bench" or "decode" of one model,
     "provenance": {...}, "parameters": {...}, "ceilings": {"read_bytes_per_s": , "peak_flops_per_s": {dtype: }},
     "steps": [...], "verdicts": [...], "found": {...}}

Quantities are SI, names end in their units. A file comes from a stranger: it may be huge, nested a hundred thousand
deep, or hold numbers that are none; whatever is wrong ends in one sentence. A record is written beside its place first
and renamed, so that nobody ever reads half of one.
"""

import json
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from bytebill.data import write_whole
from bytebill.errors import BytebillError, disk_errors, require

SCHEMA_NAME = "bytebill-record/1"
KIT_NAME = "bytebill-gpukit/1"  # of files of data/measured/ that are older than the schema
MOST_RECORD_BYTES = 4_000_000
MOST_DEPTH = 16
KINDS_OF_RECORD = ("run", "bench", "decode")

_NO_NAME = {"type": "string", "pattern": r"[<>\x00-\x1f\x7f-\x9f]"}  # HTML, and what drives a terminal
_NAME = {"type": "string", "minLength": 1, "maxLength": 200, "not": _NO_NAME}
_OPTIONAL_NAME = {"anyOf": [_NAME, {"type": "null"}]}
_NO_TEXT = {"type": "string", "pattern": r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"}
_TEXT = {"type": ["string", "null"], "maxLength": 5000, "not": _NO_TEXT}
_NUMBER = {"type": ["number", "null"]}
_ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 1}
_SAMPLES = {"type": "array", "maxItems": 10_000, "items": {"type": "number"}}


def _of(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON object with these keys, and others of any kind."""
    return {"type": "object", "required": list(required), "properties": required | (optional or {})}


def _by_name(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": _NAME, "maxProperties": 200, "additionalProperties": values}


_PROVENANCE = _of(
    {
        "device": _NAME,
        "device_kind": {"enum": ["cpu", "cuda", "mps"]},
        "date": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "command": _TEXT,
        "bytebill": _NAME,
        "python": _NAME,
        "torch": _OPTIONAL_NAME,
        "commit": _OPTIONAL_NAME,
    },
    {"threads": _OPTIONAL_COUNT, "memory_bytes": _NUMBER, "driver": _OPTIONAL_NAME, "host_cpu": _NAME},
)
_CEILINGS = _of({"read_bytes_per_s": {"anyOf": [_ABOVE_ZERO, {"type": "null"}]}, "peak_flops_per_s": _by_name(_NUMBER)})
_STEP = _of(
    {"model": _NAME, "dtype": _NAME, "batch": _COUNT, "step_s": _ABOVE_ZERO, "predicted_s": _ABOVE_ZERO},
    {"context_len": {"type": ["integer", "null"], "minimum": 0}, "samples_s": _SAMPLES, "weight_bytes": _NUMBER},
)
_PART = _of(
    {"key": _NAME, "kind": _NAME, "text": _TEXT, "found": _NUMBER, "passed": {"type": "boolean"}},
    {"low": _NUMBER, "high": _NUMBER, "samples": _SAMPLES, "machines": _by_name(_NUMBER), "how": _NAME, "test": _TEXT},
)
_VERDICT = _of(
    {"id": _NAME | {"pattern": r"^C[0-9]{2}$"}, "word": _NAME, "parts": {"type": "array", "items": _PART}},
    {"edge": _TEXT, "device": _OPTIONAL_NAME},
)
RECORD_SCHEMA = _of(
    {
        "schema": {"const": SCHEMA_NAME},
        "kind": {"enum": list(KINDS_OF_RECORD)},
        "provenance": _PROVENANCE,
        "parameters": _by_name({}),
        "ceilings": {"anyOf": [_CEILINGS, {"type": "null"}]},
        "steps": {"type": "array", "maxItems": 5000, "items": _STEP},
        "verdicts": {"type": "array", "maxItems": 200, "items": _VERDICT},
    },
    {"chapter": _OPTIONAL_NAME, "found": {"type": "object"}},
)


def parsed_record(path: Path) -> dict[str, Any]:
    """What a file of JSON holds, none of it believed yet; one sentence where that is nothing to go on with."""
    odd: list[str] = []
    try:
        require(path.is_file(), f"There is no file {path}.")
        n_bytes, most = path.stat().st_size, MOST_RECORD_BYTES
        require(n_bytes <= most, f"{path.name} has {n_bytes:,} bytes; a record has at most {most:,}.")
        text = path.read_text(encoding="utf-8")
        found = json.loads(text, parse_constant=odd.append, parse_float=_number, parse_int=_whole)
    except RecursionError:
        raise BytebillError(f"{path.name} is nested too deep for a record.") from None
    except (OSError, ValueError) as error:
        raise BytebillError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    require(isinstance(found, dict), f"{path.name} holds a {type(found).__name__}, not a record.")
    require(not odd or found.get("schema") == KIT_NAME, f"{path.name} cannot be read: {odd and odd[0]} is no number.")
    require(depth_of(found) <= MOST_DEPTH, f"{path.name} is nested too deep for a record.")
    return dict(found)


def schema_faults(found: dict[str, Any]) -> Iterator[str]:
    """What keeps this from being a record of the schema, the most telling first."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    version = str(found.get("schema"))
    name, _, number = version.partition("/")
    if name == SCHEMA_NAME.partition("/")[0] and number.isdigit() and version != SCHEMA_NAME:
        yield f"it is of the schema {version:.40}, and this book knows {SCHEMA_NAME}: update the book"
        return
    if error := best_match(Draft202012Validator(RECORD_SCHEMA).iter_errors(found)):
        where = " ".join(error.json_path.removeprefix("$.").removeprefix("$").split())
        yield f"{where:.80}: {_said(error)}" if where else _said(error)


def write_record(path: Path, record: dict[str, Any]) -> Path:
    """Write a record, whole or not at all; what is no number is written as null."""
    wrong = next(schema_faults(record := _finite(record)), None)
    require(wrong is None, f"The record is not written, {wrong}.")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def depth_of(found: Any) -> int:
    """How deep lists and objects lie in each other, found without going down by calls.

    >>> depth_of(1), depth_of({"a": [1, {}]})
    (0, 3)
    """
    level, deepest = [found], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        deepest += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return deepest


def _said(error: Any) -> str:
    """What the library says, cut to what fits a sentence; of a pattern, what it means."""
    if error.validator in ("not", "pattern"):
        return f"{str(error.instance)[:40]!r} is not allowed here (names hold no '<', '>' or line break)"
    return " ".join(str(error.message).split())[:160]


def _finite(found: Any) -> Any:
    if isinstance(found, dict):
        return {str(key): _finite(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(value) for value in found]
    return None if isinstance(found, float) and not isfinite(found) else found


def _number(text: str) -> float:
    if not isfinite(value := float(text)):
        raise ValueError(f"{text:.20} is no number")
    return value


def _whole(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"{text:.20}… is no number of anything")
    return int(text)
