"""How is a parameter from the command line read? As the kind of its default: text, a number or so many numbers.

A default that is computed in its cell (`RUNTIME_RESERVE`) has no kind; there the text decides. Nothing is run.
"""

from ast import literal_eval
from math import isnan
from typing import Any

from bytebill.errors import BytebillError, require

LONGEST = 1000  # characters: no parameter needs as many, and Python reads no longer numbers
COUNTED = ("_tokens", "_len", "_months", "_month")  # what names that count end in; others begin with n_
SPELLED = {"true": True, "false": False, "null": None, ".inf": float("inf"), "-.inf": float("-inf")}


def like(default: Any, given: Any, *, name: str) -> Any:
    """The value meant by `given`, of the kind of the default; one sentence where it is of another.

    >>> like(2500, "1e2", name="rate"), like("quick", "full", name="profile"), like(None, "true", name="any")
    (100, 'full', True)
    >>> like("2026-11-24", "2026-01-31", name="day"), like((3e6, 7e6), "[1e6, 2e6]", name="volumes")
    ('2026-01-31', [1000000.0, 2000000.0])
    """
    if isinstance(given, str) and len(given) > LONGEST:
        raise BytebillError(f"{name} takes at most {LONGEST:,} characters, not {len(given):,}.")
    if isinstance(default, str):
        return str(given)
    value = _read(given) if isinstance(given, str) else given
    if isinstance(default, bool):
        return _taken(value, isinstance(value, bool), f"{name} takes true or false", given)
    if isinstance(default, (list, tuple)):
        fits = isinstance(value, (list, tuple)) and len(value) == len(default) and all(map(_is_number, value))
        return _taken(value, fits, f"{name} takes {len(default)} numbers, as in {list(default)}", given)
    if isinstance(default, (int, float)):
        return _number(default, value, name=name, given=given)
    return value


def _number(default: float, value: Any, *, name: str, given: Any) -> float:
    """A number like the default; what is counted is whole and not below zero, a price is above it."""
    _taken(value, _is_number(value), f"{name} takes a number, as in {default}", given)
    whole = isinstance(default, int) and float(value).is_integer()
    if isinstance(default, int) and (name.startswith("n_") or name.endswith(COUNTED)):
        _taken(value, whole and value >= 0, f"{name} takes a whole number, zero or more", given)
    if name.startswith("usd_per_"):
        _taken(value, value > 0, f"{name} takes a price above zero", given)
    return int(value) if whole else value


def _taken(value: Any, fits: bool, takes: str, given: Any) -> Any:
    require(fits, f"{takes}, not '{given}'.")
    return value


def default_of(source: str) -> Any:
    """The value of a default as it is written; None where it is computed.

    >>> default_of("15_728"), default_of("RUNTIME_RESERVE")
    (15728, None)
    """
    try:
        return literal_eval(source)
    except (ValueError, SyntaxError):
        return None


def _read(text: str) -> Any:
    """A number, a list of them, true, false or null; otherwise the text itself."""
    for read in (SPELLED.__getitem__, int, float, literal_eval):
        try:
            return read(text)
        except (KeyError, ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not isnan(value)
