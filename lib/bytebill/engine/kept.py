"""Is a folder of the cache still what was put there? It appears whole or not at all, with a checksum of every file.

Work that is killed leaves a folder under another name, which the next one removes after an hour. A disk that
filled, a machine that lost its power, a file that somebody cut: sizes or sums differ, and the folder is made anew. Sums
are CRC-32: they find accidents, and defend against nobody. One process makes, others wait, though not for ever.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from zlib import crc32

from safetensors import SafetensorError

from bytebill.errors import BytebillError, require

SUM_FILE = "sums.json"  # {file: [bytes, CRC-32]}
_ABANDONED_S = 3600  # a temporary folder this old belongs to work that was killed
_PIECE = 1 << 20
_Signature = tuple[tuple[str, int, int], ...]


def cache_folder() -> Path:
    """This user's cache of the book: `$XDG_CACHE_HOME/bytebill`."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bytebill"
    except RuntimeError:  # a user without a home, as in some containers
        raise BytebillError("There is no home for the book's cache; name a folder in XDG_CACHE_HOME.") from None


def kept_folder(
    folder: Path, make: Callable[[Path], None], *, called: str, n_bytes: int, patience_s: float = 600.0
) -> Path:
    """The folder, filled by `make` where it is not there or is no longer what was made; `n_bytes` are free for that.

    Raises `BytebillError` where it cannot be written, and where another process makes it for longer than `patience_s`.
    """
    if not is_as_made(folder):
        with _disk_told(folder.parent, called), _alone(folder.parent, called, patience_s):
            if not is_as_made(folder):  # else another process has made it meanwhile
                _tidy(folder)
                free = shutil.disk_usage(folder.parent).free
                told = f"{called} needs {n_bytes / 1e6:.0f} MB of free disk at {folder.parent}; free some."
                require(free >= n_bytes, told)
                _make(folder, make)
    return folder


def is_as_made(folder: Path) -> bool:
    """Whether every file has the size and the sum that it was made with."""
    try:
        return folder.is_dir() and _agrees(folder, _signature(folder))
    except OSError:  # a file that cannot be read is as good as damaged
        return False


def seal(folder: Path) -> None:
    """Write down the size and the sum of every file, and have the disk take them all."""
    sums = {path.name: [path.stat().st_size, _sum(path)] for path in sorted(folder.iterdir())}
    (folder / SUM_FILE).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


@cache  # by size and time of change: a file is read once in a process, and again where it was touched
def _agrees(folder: Path, signature: _Signature) -> bool:
    try:
        sums = json.loads((folder / SUM_FILE).read_text(encoding="utf-8"))
        sizes = {name: size for name, size, _ in signature if name != SUM_FILE}
        return bool(sizes) and {name: [size, _sum(folder / name)] for name, size in sizes.items()} == sums
    except (OSError, ValueError, RecursionError):
        return False


def _signature(folder: Path) -> _Signature:
    found = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def _sum(path: Path) -> int:
    so_far = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            so_far = crc32(piece, so_far)
    return so_far


def _tidy(folder: Path) -> None:
    """Remove what a killed conversion left, and move a damaged folder away: files that are open stay readable."""
    for old in folder.parent.glob(".unfinished-*"):
        if time.time() - old.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
        folder.rename(aside / folder.name)
        shutil.rmtree(aside, ignore_errors=True)


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    where = folder.parent
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=where, ignore_cleanup_errors=True) as unfinished:
        make(Path(unfinished))
        seal(Path(unfinished))
        Path(unfinished).rename(folder)


@contextmanager
def _disk_told(where: Path, called: str) -> Iterator[None]:
    """What the disk refuses, in one sentence."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, SafetensorError) as error:
        raise BytebillError(f"{called} could not be written into {where}: {error}.") from error


@contextmanager
def _alone(where: Path, called: str, patience_s: float) -> Iterator[None]:
    """One process at a time in this folder; no promise where the system has no such lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(where, os.O_RDONLY)
    try:
        until_s = time.monotonic() + patience_s
        with suppress(OSError):  # a file system without locks
            while not _locked(handle):
                told = f"{called} has been in the making elsewhere for {patience_s:.0f} s; is a process stopped there?"
                require(time.monotonic() < until_s, told)
                time.sleep(0.05)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile holds the handle too
        os.close(handle)


def _locked(handle: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
