"""What did a run of a chapter find on its machine? A record, read off the executed notebook and its kernel's notes.

    parameters            the cell of that name, and what the run was given instead
    device, ceilings      what the kernel noted when it picked the one and measured the others
    verdicts              as they are stored in the outputs, without their sentences

Nothing is measured or judged here. The committed notebooks are the runs of one machine, and count as its record.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bytebill import chapters
from bytebill.chapters.devices import devices_of, threads_of
from bytebill.chapters.parameters import default_of
from bytebill.claims.ledger import verdicts_in
from bytebill.claims.register import COUNTED_KINDS
from bytebill.records.machines import Machine
from bytebill.records.notes import noted
from bytebill.records.origin import cpu_name, provenance, typed_command
from bytebill.records.reading import Record
from bytebill.records.schema import SCHEMA_NAME, write_record

COMMITTED = "committed"
_KEPT = ("key", "kind", "text", "how", "unit", "found", "low", "high", "passed", "test", "samples", "machines")


def write_run(name: str, *, book: chapters.Book, run_s: float) -> Path:
    """Write the record of a chapter that has just run to its end here."""
    executed = book.executed / f"{name}.ipynb"
    return write_record(book.records / f"{name}.json", run_record(executed, run_s=run_s))


def run_record(executed: Path, *, run_s: float) -> dict[str, Any]:
    """An executed notebook as a record."""
    notebook, notes = chapters.stored(executed), noted(chapters.notes_log(executed))
    device = notes["device"]
    return {
        "schema": SCHEMA_NAME,
        "kind": "run",
        "chapter": executed.stem,
        "provenance": provenance(
            device=device.get("name") or cpu_name(),
            device_kind=device.get("kind") or "cpu",
            command=typed_command("bytebill"),
            threads=device.get("n_threads"),
            pinned=device.get("pinned"),
            memory_bytes=device.get("memory_bytes"),
            run_s=round(run_s, 1),
        ),
        "parameters": parameters_of(notebook),
        "ceilings": notes["ceilings"],
        "steps": [],
        "verdicts": [short_verdict(content) for content in verdicts_in(executed)],
    }


def short_verdict(content: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict as a record keeps it: the word, and the parts that count."""
    counted = (part for part in content.get("parts") or () if part.get("kind") in COUNTED_KINDS)
    return {
        **{key: content.get(key) for key in ("id", "word", "edge", "device")},
        "share": (content.get("reach") or {}).get("share"),
        "parts": [{key: part[key] for key in _KEPT if key in part} for part in counted],
    }


def parameters_of(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Names and values of the parameters cell, and over them what papermill put below it.

    >>> cells = [{"source": "n = 2", "metadata": {"tags": ["parameters"]}},
    ...          {"source": "n = 3", "metadata": {"tags": ["injected-parameters"]}}]
    >>> parameters_of({"cells": cells})
    {'n': 3}
    """
    found: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if {"parameters", "injected-parameters"} & set(cell.get("metadata", {}).get("tags", ())):
            found |= dict(_assigned("".join(cell["source"])))
    return found


def committed_machine(book: chapters.Book | None = None) -> Machine:
    """The machine whose runs are committed, with the verdicts that every page shows."""
    book = book or chapters.this_book()
    records = tuple(_committed(path) for path in chapters.in_order(book) if chapters.number(path) is not None)
    return Machine(name=COMMITTED, records=tuple(record for record in records if record.verdicts))


def _committed(path: Path) -> Record:
    notebook = chapters.stored(path)
    threads = next((n for cell in notebook["cells"] for n in threads_of(cell)), None)
    devices = (device for cell in notebook["cells"] for device in devices_of(cell))
    return Record(
        name=path.stem,
        kind="run",
        provenance={
            "device": next(devices, "").split(", ")[0],
            "device_kind": "cpu" if threads else "cuda",
            "threads": threads,
            "date": notebook.get("metadata", {}).get("bytebill", {}).get("outputs_of"),
        },
        parameters=parameters_of(notebook),
        verdicts=tuple(map(short_verdict, verdicts_in(path))),
    )


def _assigned(source: str) -> Iterator[tuple[str, Any]]:
    """What a cell of plain assignments says; a value that it computes is None."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = default_of(ast.unparse(node.value))
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
