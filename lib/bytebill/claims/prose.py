"""Does the prose still say what the code finds? Numbers and sentences typed in a chapter, held to this run.

A pin that is right is silent. One that is wrong raises where BYTEBILL_PINS=strict (the book's own runs, with default
parameters); on a reader's run it prints a sentence that says which words were written for other parameters.
"""

import os
from collections.abc import Mapping
from math import isclose
from typing import Any

from bytebill.units import show

_WORDS = (str, type(None))


def pins(numbers: Mapping[str, tuple[Any, Any]], *, rtol: float = 0.005) -> None:
    """Hold the numbers of a section to the computed ones, each (written, found).

    A word, or None for what there is none of, must be the same.

    >>> pins({"ridge point of an H100": (295, 989.4e12 / 3.35e12), "who reaches it": ("nobody", "nobody")})
    """
    wrong = [
        f"the prose says {_said(written)}, this run gives {_said(found)}" + (f" ({what})" if what else "")
        for what, (written, found) in numbers.items()
        if not _agree(written, found, rtol)
    ]
    if wrong and os.environ.get("BYTEBILL_PINS") == "strict":
        raise AssertionError("; ".join(wrong))
    for sentence in wrong:
        print(f"written for the default parameters: {sentence}")


def pin(written: float, found: float, *, rtol: float = 0.005, what: str = "") -> None:
    """Hold one number to the computed one.

    >>> pin(295, 989.4e12 / 3.35e12, what="ridge point of an H100")
    >>> pin(300, 989.4e12 / 3.35e12, rtol=0.02)
    """
    pins({what: (written, found)}, rtol=rtol)


def pin_that(said: str, holds: bool) -> None:
    """Hold what the prose says without a number to this run.

    >>> pin_that("a full step has room for more answers than a user waits for", 160 > 1)
    """
    pins({said: ("so", "so" if holds else "not so")})


def _agree(written: Any, found: Any, rtol: float) -> bool:
    words = isinstance(written, _WORDS) or isinstance(found, _WORDS)
    return bool(written == found) if words else isclose(written, found, rel_tol=rtol)


def _said(value: Any) -> str:
    return str(value) if isinstance(value, _WORDS) else show(float(value))
