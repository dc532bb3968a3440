"""What does a committed notebook keep? What a reader needs, and nothing that changes from run to run.

Dropped: papermill's and Jupyter's execution metadata, the cell of injected parameters, the version of Python.
Added: the tag `nbval-ignore-output`, which is nbval's, to every cell tagged `measured` or `filled`, which are ours (one
styles the cell, in the other's place cells further down show something), the running time, which the progress bar of
the next run shows as expected, the memory that its kernel held at most, the files of `data/` that the run read, and its
day, where something was measured.
"""

import datetime
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError, require
from bytebill.records.notes import noted
from bytebill.units import MB

KEPT = ("bytebill", "kernelspec", "language_info")
FORMAT = 4
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ABOUT_RIGHT = 0.25


def tidied(executed: Path, *, committed: Path, run_s: float) -> str:
    """The text to commit for a notebook that ran to its end; raises if it is no valid notebook."""
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    tidy(notebook)
    before, peak_bytes = facts(committed), noted(notes_log(executed))["peak_bytes"]
    notebook.metadata["bytebill"] = {"run_s": settled(before.get("run_s"), run_s)}
    if peak_bytes:
        notebook.metadata["bytebill"]["peak_mb"] = settled(before.get("peak_mb"), peak_bytes / MB)
    if reads_log(executed).is_file():
        read = reads_log(executed).read_text(encoding="utf-8").split()
        notebook.metadata["bytebill"]["reads"] = sorted(set(read))
    if any("measured" in _tags(cell) for cell in notebook.cells):
        notebook.metadata["bytebill"]["outputs_of"] = datetime.date.today().isoformat()
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def reads_log(target: Path) -> Path:
    """Where a run to `target` writes which files of `data/` its kernel reads."""
    return target.with_suffix(".reads")


def notes_log(target: Path) -> Path:
    """Where a run to `target` writes what its kernel learns of the machine (`bytebill.records.notes`)."""
    return target.with_suffix(".notes")


def stored(path: Path) -> dict[str, Any]:
    """A notebook as it lies on the disk; a damaged one is one sentence."""
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(cell, dict) for cell in found["cells"]) and isinstance(found.get("metadata", {}), dict):
            kind = found.get("nbformat", FORMAT)
            require(kind == FORMAT, f"{path} is a notebook of format {kind!r:.20}; this version reads format {FORMAT}.")
            return dict(found)
    again = "delete it, and a run makes it again" if "_build" in path.parts else "`git checkout` brings it back"
    raise BytebillError(f"{path} is damaged and no notebook; {again}.")


def facts(path: Path) -> dict[str, Any]:
    """What the last refresh noted of a notebook's run: `run_s`, `peak_mb`, `reads`, `outputs_of`; {} without one."""
    return dict(stored(path).get("metadata", {}).get("bytebill", {}))


def expected_s(path: Path) -> float | None:
    """How long the last refresh took for this notebook."""
    return facts(path).get("run_s")


def tidy(notebook: Any) -> None:
    """Drop what a run leaves behind, in place."""
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in _tags(cell)]
    for key in set(notebook.metadata) - set(KEPT):
        del notebook.metadata[key]
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not _tags(cell):
            cell.metadata.pop("tags", None)  # papermill gives every cell an empty list
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        _code(cell, count)


def settled(before: float | None, now: float) -> int:
    """A whole number, and that of the last refresh if it is still about right: fewer lines change.

    >>> settled(None, 12.3), settled(12, 13.9), settled(12, 30.2), settled(2, 1)
    (12, 12, 30, 2)
    """
    if before and abs(now - before) <= max(2, ABOUT_RIGHT * before):
        return int(before)
    return max(1, round(now))


def _code(cell: Any, count: int) -> None:
    tags = _tags(cell)
    if {"measured", "filled"} & set(tags) and "nbval-ignore-output" not in tags:
        cell.metadata["tags"] = [*tags, "nbval-ignore-output"]
    cell.execution_count = count  # without the injected cell the later counts would be off by one
    for output in cell.outputs:
        if "execution_count" in output:
            output.execution_count = count


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", ()))
