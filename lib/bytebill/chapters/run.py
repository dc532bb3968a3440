"""How are the chapters run without touching what is committed? Papermill into `_build/`, never in place.

    run      execute into `_build/executed`; a copy arrives there only when its whole chapter has passed
    refresh  execute everything named afresh, and only if all passed replace the committed notebooks
    stage    lay out `_build/stage`, the book's sources with the executed notebooks in them

A run that is killed, a full disk or a dead kernel leave `notebooks/` as it was: replacing is one rename a
file, of a copy that is already complete. What a stored notebook keeps is decided in `bytebill.chapters.tidy`.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bytebill import data
from bytebill.chapters.execute import UNTOUCHED, execute
from bytebill.chapters.parameters import default_of, like
from bytebill.chapters.tidy import expected_s, notes_log, reads_log, stored, tidied
from bytebill.errors import BytebillError, disk_errors, require, require_known, unknown

CHOICES = {"profile": ("quick", "full"), "device": ("auto", "cpu", "cuda", "mps")}
Watch = Callable[[str, float | None], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True)
class Book:
    """Where the book is, and where its derived files go."""

    root: Path

    @property
    def notebooks(self) -> Path:
        """The committed notebooks."""
        return self.root / "notebooks"

    @property
    def build(self) -> Path:
        """Everything that can be deleted."""
        return self.root / "_build"

    @property
    def executed(self) -> Path:
        """Copies that this machine has run to the end."""
        return self.build / "executed"

    @property
    def records(self) -> Path:
        """What each run on this machine found, one record a chapter."""
        return self.build / "records"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How one chapter's run ended; `error` is None when it passed."""

    name: str
    run_s: float
    error: str | None = None


def this_book() -> Book:
    """This book: the environment's BYTEBILL_ROOT, otherwise the repository the package lies in."""
    root = Path(os.environ.get("BYTEBILL_ROOT") or data.REPOSITORY).resolve()
    require(
        (root / "_toc.yml").is_file(), f"There is no book at {root} (no _toc.yml); set BYTEBILL_ROOT to a clone of it."
    )
    return Book(root=root)


def in_order(book: Book) -> list[Path]:
    """The committed notebooks in the order of `_toc.yml`, the ledger last because it reads the others."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    paths = (book.root / f"{file}.ipynb" for file in parse_toc_yaml(book.root / "_toc.yml"))
    return sorted((path for path in paths if path.is_file()), key=lambda path: path.stem == "ledger")


def named(names: Iterable[str], *, book: Book) -> list[Path]:
    """The notebooks named ('1', '01' or the whole name), in book order; all of them when none is named."""
    paths, wanted = in_order(book), set()
    for name in names:
        given = Path(name).name.removesuffix(".ipynb")
        digits = int(given) if re.fullmatch("[0-9]{1,3}", given) else -1
        found = [path for path in paths if path.stem == given or number(path) == digits]
        if not found:
            raise unknown("chapter", name, [path.stem for path in paths])
        wanted.update(found)
    return [path for path in paths if path in wanted or not wanted]


def number(path: Path) -> int | None:
    """The chapter's number; None for a page that is no chapter.

    >>> number(Path("notebooks/02_the_memory_floor.ipynb")), number(Path("ledger.ipynb"))
    (2, None)
    """
    first = path.stem.split("_")[0]
    return int(first) if first.isdigit() else None


def parameters_for(
    paths: Sequence[Path], *, profile: str | None, device: str | None, parameters: Mapping[str, Any]
) -> dict[Path, dict[str, Any]]:
    """What each notebook is given: of all that was asked for, what its parameters cell has, read as it has it."""
    asked = {name: value for name, value in (("profile", profile), ("device", device)) if value is not None}
    for name, value in asked.items():
        require_known(name, value, CHOICES[name])
    import papermill

    for path in paths:
        stored(path)  # a damaged one ends here in a sentence, and not inside papermill
    found = {path: papermill.inspect_notebook(str(path)) for path in paths}
    known = {path: {k: default_of(of["default"]) for k, of in cell.items()} for path, cell in found.items()}
    for name in parameters:
        require_known("parameter", name, sorted(set().union(*known.values())))
    asked |= parameters
    return {path: {k: like(known[path][k], v, name=k) for k, v in asked.items() if k in known[path]} for path in paths}


def run(
    names: Iterable[str] = (),
    *,
    profile: str | None = None,
    device: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    book: Book | None = None,
    into: Path | None = None,
    watch: Watch | None = None,
) -> Iterator[Ending]:
    """Execute chapters one by one, yielding how each ended; all names are checked before the first starts.

    `watch` is called with a chapter's name and expected time, and its context lasts as long as the chapter.
    """
    book = book or this_book()
    paths = named(names, book=book)
    given = parameters_for(paths, profile=profile, device=device, parameters=parameters or {})
    return _each(paths, given, book=book, into=into or book.executed, watch=watch)


def refresh(names: Iterable[str] = (), *, book: Book | None = None, watch: Watch | None = None) -> Iterator[Ending]:
    """Execute with the committed parameters and, only if all passed, replace the committed notebooks."""
    book = book or this_book()
    with disk_errors(book.build, ending=UNTOUCHED):
        book.build.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(prefix="refreshed-", dir=book.build)
    with scratch as folder:  # of its own: the ledger must not read what ran with other parameters
        fresh: dict[Path, str] = {}
        for outcome in run(names, book=book, into=Path(folder), watch=watch):
            yield outcome
            if outcome.error:
                return
            old = book.notebooks / f"{outcome.name}.ipynb"
            fresh[old] = tidied(Path(folder) / old.name, committed=old, run_s=outcome.run_s)
        _replace(fresh)


def stage(book: Book | None = None) -> Path:
    """The book's sources with the executed notebooks in the place of the committed ones, ready to build."""
    book = book or this_book()
    missing = [path.stem for path in in_order(book) if not (book.executed / path.name).is_file()]
    if missing:
        raise BytebillError(f"{missing[0]} has not been run to its end here; try: bytebill run {missing[0]}")
    target = book.build / "stage"
    with disk_errors(target):
        shutil.rmtree(target, ignore_errors=True)
        for folder in ("book", "data"):
            if (book.root / folder).is_dir():
                shutil.copytree(book.root / folder, target / folder)
        (target / "notebooks").mkdir(parents=True)
        for path in in_order(book):
            shutil.copy(book.executed / path.name, target / "notebooks")
        for name in ("_config.yml", "_toc.yml"):
            shutil.copy(book.root / name, target)
    return target


def _each(
    paths: Sequence[Path], given: Mapping[Path, dict[str, Any]], *, book: Book, into: Path, watch: Watch | None
) -> Iterator[Ending]:
    for path in paths:
        began, target = time.perf_counter(), into / path.name
        for log in (reads_log(target), notes_log(target)):
            log.unlink(missing_ok=True)
        with watch(path.stem, expected_s(path)) if watch else nullcontext():
            error = execute(
                path,
                target,
                parameters=given[path],
                variables={
                    "BYTEBILL_ROOT": str(book.root),
                    "BYTEBILL_NOTEBOOKS": str(into),
                    "BYTEBILL_READS": str(reads_log(target)),
                    "BYTEBILL_NOTES": str(notes_log(target)),
                    "BYTEBILL_PINS": "lenient" if set(given[path]) - set(CHOICES) else "strict",
                },
                scratch=book.build / "running",
            )
        yield Ending(name=path.stem, run_s=time.perf_counter() - began, error=error)


def _replace(texts: Mapping[Path, str]) -> None:
    """Write all the files beside their targets first, then rename: no reader ever sees half a notebook."""
    temporary = {path: path.with_name(f".{path.name}.new") for path in texts}
    try:
        with disk_errors(next(iter(texts)).parent, ending="; 'git status' shows how far it came"):
            for path, text in texts.items():
                temporary[path].write_text(text, encoding="utf-8")
            for path in texts:
                os.replace(temporary[path], path)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
