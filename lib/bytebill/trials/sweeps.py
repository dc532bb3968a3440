"""Who runs a sweep's points, and what is left if that stops? Processes here or on a cluster, and a journal.

    run(sweep, out=...)    journal out.part: a line for each point that is done; at the end the table, and no journal

A point is one task, sent by joblib: in this process (`jobs=1`), to local processes, or to a Dask cluster. Rows are
written to the journal as they come, flushed to the disk, so that a run that was killed, or whose disk was full, goes on
with what is missing; the table holds them in the order of the sweep, so it is the same whoever ran it and however
often it was stopped. A worker that dies loses nothing either: Dask sends its points to another, and of local processes
those that are missing are started again. The journal begins with a hash of the sweep; one of another sweep is not
touched.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from hashlib import sha256
from io import BytesIO, StringIO
from pathlib import Path
from typing import Self, TextIO

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bytebill.data import Row, write_whole
from bytebill.economics.prices import rent_of
from bytebill.errors import BytebillError, disk_errors, require
from bytebill.sim.sweep import Sweep, point_id, row_of
from bytebill.trials.panels import DEVICES

MOST_RESTARTS = 3  # of local processes, after one of them died
CONNECT_S = 10


def run(
    sweep: Sweep,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    out: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Rows of all points in the sweep's order, written to `out` (.csv or .parquet) if that is given.

    `jobs` are local processes (None: as many as there are cores), `dask` the address of a scheduler instead of them.
    `progress(done, all)` is called at the start and with every row.
    """
    require(jobs is None or jobs >= 1, f"A sweep runs in at least one process, not {jobs}.")
    points = [_priced(point) for point in sweep.points()]
    target = None if out is None else Path(out)
    _can_write(target)
    with ExitStack() as stack:
        journal = stack.enter_context(_Journal(target, points))
        missing = [point for point in points if point_id(point) not in journal.rows]
        tell = progress or (lambda done, n: None)
        tell(len(points) - len(missing), len(points))
        for row in _rows(missing, jobs=jobs, dask=dask, stack=stack):
            journal.add(row)
            tell(len(journal.rows), len(points))
        rows = [journal.rows[point_id(point)] for point in points]
        if target is not None:
            write_table(rows, target)
            journal.remove()
    return rows


def write_table(rows: list[Row], target: Path) -> None:
    """A table of rows: .parquet where pyarrow is there, else CSV. Either whole or not at all."""
    content = _as_parquet(rows) if target.suffix == ".parquet" else as_csv(rows)
    write_whole(target, content, otherwise="its rows are kept")


def as_csv(rows: list[Row]) -> str:
    """Rows under one header; what is not known is left empty."""
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _as_parquet(rows: list[Row]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    try:
        table = pyarrow.Table.from_pylist(rows)
    except (pyarrow.ArrowException, OverflowError) as error:
        raise BytebillError(f"Parquet cannot hold these rows ({error}); name a .csv.") from error
    file = BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _priced(point: Row) -> Row:
    """A point with the rent that the book tells bills in, where the sweep names none and one is on file."""
    if point["usd_per_gpu_hour"] is None and point["accelerator"] in DEVICES:
        try:
            return point | {"usd_per_gpu_hour": rent_of(point["accelerator"]).usd_per_gpu_hour}
        except BytebillError:
            return point
    return point


def _one(point: Row) -> Row:
    """A task: it carries its point's id."""
    return {"point": point_id(point), **row_of(point)}


def _rows(points: list[Row], *, jobs: int | None, dask: str | None, stack: ExitStack) -> Iterator[Row]:
    """Rows as they come, in any order."""
    if dask is not None:
        yield from _on_dask(points, dask, stack)
        return
    left = {point_id(point): point for point in points}
    for _ in range(MOST_RESTARTS + 1):
        try:
            parallel = joblib.Parallel(
                n_jobs=min(jobs or -1, len(left) or 1), return_as="generator_unordered", batch_size=1
            )
            for row in parallel(joblib.delayed(_one)(point) for point in list(left.values())):
                del left[row["point"]]
                yield row
            return
        except TerminatedWorkerError:
            continue
    raise BytebillError(
        f"Processes of this sweep were killed {MOST_RESTARTS + 1} times, perhaps for want of memory; "
        f"{len(left)} points are left. The same command goes on with them; take fewer jobs."
    )


def _on_dask(points: list[Row], address: str, stack: ExitStack) -> Iterator[Row]:
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise BytebillError("For --dask install distributed: pip install dask distributed.") from None
    try:
        get_address_host_port(address)  # a client would wait for its end with an address that is none
        client = stack.enter_context(Client(address, timeout=CONNECT_S, set_as_default=False))
    except (OSError, ValueError, TypeError) as error:
        raise BytebillError(f"No Dask scheduler answers at {address} ({type(error).__name__}).") from error
    n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
    require(n_workers > 0, f"The Dask scheduler at {address} has no workers.")
    with joblib.parallel_config(backend="dask", client=client):
        parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_one)(point) for point in points)


class _Journal:
    """Rows of a sweep that are done, in a file beside its table; in memory alone where there is no table."""

    def __init__(self, target: Path | None, points: list[Row]) -> None:
        self.rows: dict[str, Row] = {}
        self._path = None if target is None else target.with_name(target.name + ".part")
        ids = [point_id(point) for point in points]
        self._head = json.dumps({"sweep": sha256("".join(ids).encode()).hexdigest()[:16]})
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                with disk_errors(self._path):
                    self._open(self._path)
            except UnicodeDecodeError as error:
                raise BytebillError(f"{self._path} is no journal of a sweep; move it away.") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # of a full disk: what was flushed is there
                self._file.close()

    def _open(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        require(
            not lines or lines[0] == self._head,
            f"{path} holds rows of another sweep; move it away, or name another table.",
        )
        whole = list(_whole(lines[1:]))
        self.rows = {row["point"]: row for row in whole}
        kept = "".join(f"{line}\n" for line in (self._head, *map(json.dumps, whole)))
        write_whole(path, kept)  # anew, without the half of a line that a kill can leave
        self._file = path.open("a", encoding="utf-8")

    def add(self, row: Row) -> None:
        self.rows[row["point"]] = row
        if self._path is not None:
            kept = f"; {len(self.rows) - 1} rows are in it, and the same command goes on with the others"
            with disk_errors(self._path, ending=kept):
                self._put([json.dumps(row)])

    def _put(self, lines: list[str]) -> None:
        if self._file is not None:
            self._file.write("".join(f"{line}\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _whole(lines: Iterable[str]) -> Iterator[Row]:
    """Rows of the lines that were written to their end."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            return
        if not isinstance(row, dict) or "point" not in row:
            return
        yield row


def _can_write(target: Path | None) -> None:
    if target is None:
        return
    require(target.suffix in (".csv", ".parquet"), f"A table is a .csv or a .parquet, not '{target.name}'.")
    require(target.parent.is_dir() and not target.is_dir(), f"There is no folder for {target}.")
    if target.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise BytebillError("For .parquet install pyarrow, or name a .csv.") from None
