"""Which machines are on record? Files of `data/measured/` by the machine that they are of, and files of one's own.

What a file's name says before the part that was measured is its machine, as in `two-core-epyc` or `h200-b-decode`; a
folder is one machine. A machine's ceilings are those of its first record that has them, of a chapter, which measures
them in passing, only where no other does; a step that several have is the first one's; records that were disturbed come
last.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bytebill import data
from bytebill.errors import BytebillError, require, require_known
from bytebill.records.plausible import checked
from bytebill.records.reading import Record, StepOnRecord

_PARTS = (
    *("attention", "bench", "ceilings", "decode", "engine", "experts", "facts", "gemm", "launch", "llama", "mixed"),
    *("neighbours", "paging", "prefill", "quality", "quantized", "run", "seventy", "smollm2", "utilization"),
)
_PART = re.compile(rf"-(?:{'|'.join(_PARTS)})(?:-.*)?$")
StepKey = tuple[str, str, int | None, int]  # model, dtype, context, batch


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine, and all that is on record of it."""

    name: str
    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The record whose ceilings are taken: the first that has them, a chapter's only where no other does."""
        known = [each for each in self.records if each.read_bytes_per_s] or [*self.records]
        return min(known, key=lambda record: record.kind == "run")

    @property
    def steps(self) -> dict[StepKey, StepOnRecord]:
        """Its decode steps."""
        found: dict[StepKey, StepOnRecord] = {}
        for step in (step for record in self.records for step in record.steps):
            found.setdefault((step.model, step.dtype, step.context_len, step.batch), step)
        return found

    @property
    def verdicts(self) -> dict[str, Any]:
        """The verdicts that its own runs gave, by claim."""
        return {content["id"]: content for record in self.records for content in record.verdicts}

    def told(self, key: str) -> Any:
        """What its records say of it, the first that says it."""
        return next((each.provenance[key] for each in self.records if each.provenance.get(key)), None)


def machine_of(name: str) -> str:
    """The machine that a file's name begins with.

    >>> [machine_of(name) for name in ("two-core-epyc", "h200-b-decode", "h200-experts-grouped", "h200-llama-3-8b")]
    ['two-core-epyc', 'h200-b', 'h200', 'h200']
    """
    return _PART.sub("", name)


def machines_on_record() -> tuple[Machine, ...]:
    """All machines of `data/measured/`, each record checked."""
    place = data.root() / "measured"
    files = sorted(place.glob("*.json"), key=lambda path: machine_of(path.stem))
    by_name = [(name, list(group)) for name, group in groupby(files, key=lambda path: machine_of(path.stem))]
    folders = [(path.name, sorted(path.glob("*.json"))) for path in sorted(place.iterdir()) if path.is_dir()]
    return tuple(_machine(name, paths) for name, paths in (*by_name, *folders))


def find_machine(named: str) -> Machine:
    """A machine by the name of a file or a folder of one's own, or of one in `data/measured/`."""
    path = Path(named)
    try:
        is_folder, is_file = path.is_dir(), path.suffix == ".json" or path.exists()
    except OSError:
        raise BytebillError(f"{named[:80]!r} is no path.") from None
    if is_folder:
        paths = sorted(path.glob("*.json"))
        require(bool(paths), f"There is no record in {path}; `bytebill run` and `bytebill bench` write some.")
        return _machine(path.resolve().name, paths)
    if is_file:
        return _machine(path.stem, [path])
    single = data.root() / "measured" / f"{path.name}.json"
    there = {machine.name: machine for machine in machines_on_record()} if named == path.name else {}
    if named not in there and named == path.name and single.is_file():
        return _machine(named, [single])
    require_known("machine on record", named, there)
    return there[named]


def _machine(name: str, paths: Iterable[Path]) -> Machine:
    records = [checked(path, old=True) for path in paths]
    return Machine(name=name, records=tuple(sorted(records, key=lambda record: bool(record.warnings))))
