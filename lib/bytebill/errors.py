"""Errors that a reader can act on: one clear sentence, no traceback in the command line."""

import errno
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

FEW = 24  # names that one sentence can list


class BytebillError(Exception):
    """Something the reader asked for cannot be done; the message says what and what to do instead."""


class UnknownNameError(BytebillError, KeyError):
    """A name that does not exist; a lookup in a mapping may fail with it."""

    __str__ = Exception.__str__  # a KeyError would show its sentence in quotation marks


def require(condition: bool, sentence: str) -> None:
    """Refuse what the reader asked for, with this sentence, unless the condition holds.

    >>> require(1 > 0, "One is above zero.")
    """
    if not condition:
        raise BytebillError(sentence)


def unknown(kind: str, given: str, known: Iterable[str], *, where: str = "") -> UnknownNameError:
    """The error for a name that does not exist: names near it, else all, or, if they are many, `where` they stand.

    >>> print(unknown("model", "llama-3-8", ["llama-3-8b", "opt-13b"]))
    There is no model 'llama-3-8'; nearest: llama-3-8b.
    >>> print(unknown("page", "x", map(str, range(900)), where="the book"))
    There is no page 'x'; there are 900, such as 0, 1, 2: see the book.
    """
    names = [str(name) for name in known]
    in_small = {name.lower(): name for name in names}
    near = [in_small[each] for each in get_close_matches(str(given)[:80].lower(), in_small, n=3)]
    few = f"{'nearest' if near else 'there are'}: {', '.join(near or names)}"
    many = f"there are {len(names)}, such as {', '.join(names[:3])}{where and f': see {where}'}"
    return UnknownNameError(f"There is no {kind} {str(given)[:80]!r}; {few if near or len(names) <= FEW else many}.")


def require_known(kind: str, given: str, known: Collection[str], *, where: str = "") -> None:
    """Refuse a name that is not among those that there are, as `unknown` says it.

    >>> require_known("model", "opt-13b", ["llama-3-8b", "opt-13b"])
    """
    if given not in known:
        raise unknown(kind, given, known, where=where)


@contextmanager
def disk_errors(path: Path, *, ending: str = "") -> Iterator[None]:
    """Say in one sentence why `path` could not be written while the block runs."""
    try:
        yield
    except OSError as error:  # copying a tree collects its errors into one without a number
        full = isinstance(error, shutil.Error) or error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else error.strerror or str(error)
        raise BytebillError(f"{path} could not be written ({why}){ending}.") from error
