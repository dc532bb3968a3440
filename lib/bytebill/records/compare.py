"""What differs between machines? Ceilings, steps over their predictions, and verdicts that come out otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bytebill.display import table
from bytebill.errors import require
from bytebill.records.machines import Machine, StepKey
from bytebill.units import show

SHOWN_DTYPES = ("fp32", "bf16", "fp8")
_PEAKS = tuple(f"{dtype} [FLOP/s]" for dtype in SHOWN_DTYPES)
Verdicts = Mapping[str, Mapping[str, Any]]  # by claim


def side_by_side(machines: Sequence[Machine]) -> dict[str, Any]:
    """Machines, the steps that two of them have in common, and the claims on which their own runs differ."""
    names = [machine.name for machine in machines]
    require(len(names) > 1, "One machine cannot be compared; name two or more.")
    require(len(set(names)) == len(names), f"Two of these have one name ({', '.join(names)}); rename a file or folder.")
    verdicts = {machine.name: machine.verdicts for machine in machines}
    return {
        "machines": [described_machine(machine) for machine in machines],
        "steps": list(common_steps(machines)),
        "judged": judged_twice(verdicts),
        "verdicts": list(differing(verdicts)),
        "warnings": [f"{m.name}: {text}" for m in machines for record in m.records for text in record.warnings],
    }


def described_machine(machine: Machine) -> dict[str, Any]:
    """A machine's own numbers."""
    on_cpu = machine.first.device_kind == "cpu"
    return {
        "name": machine.name,
        "device": machine.first.device,
        "threads": machine.told("threads") if on_cpu else None,
        "memory_bytes": machine.told("total_memory_bytes") or machine.told("memory_bytes"),
        "driver": machine.told("driver"),
        "torch": machine.told("torch"),
        "date": machine.first.provenance.get("date"),
        "read_bytes_per_s": machine.first.read_bytes_per_s,
        "peak_flops_per_s": dict(machine.first.peak_flops_per_s),
    }


def common_steps(machines: Sequence[Machine]) -> Iterator[dict[str, Any]]:
    """Steps that at least two of the machines have timed, in the order of model, dtype, context and batch."""
    steps = {machine.name: machine.steps for machine in machines}
    keys = [key for each in steps.values() for key in each]
    for key in sorted({key for key in keys if keys.count(key) > 1}, key=_in_order):
        model, dtype, context_len, batch = key
        there = {name: each[key] for name, each in steps.items() if key in each}
        yield {
            "model": model,
            "dtype": dtype,
            "context_len": context_len,
            "batch": batch,
            "step_s": {name: step.step_s for name, step in there.items()},
            "over_predicted": {name: step.over_predicted for name, step in there.items()},
        }


def judged_twice(verdicts: Mapping[str, Verdicts]) -> int:
    """Claims that at least two machines have judged."""
    ids = [id for each in verdicts.values() for id in each]
    return sum(ids.count(id) > 1 for id in set(ids))


def differing(verdicts: Mapping[str, Verdicts]) -> Iterator[dict[str, Any]]:
    """Claims whose word, or what became of a part, differs between machines that judged them, with both numbers.

    >>> part = {"key": "p", "text": "a ratio", "found": 3.0, "passed": True}
    >>> other = {"id": "C01", "word": "wrong", "parts": [part | {"found": 1.0, "passed": False}]}
    >>> (row,) = differing({"a": {"C01": {"id": "C01", "word": "safe", "parts": [part]}}, "b": {"C01": other}})
    >>> row["word"], row["parts"][0]["found"]
    ({'a': 'safe', 'b': 'wrong'}, {'a': 3.0, 'b': 1.0})
    """
    for id in sorted({id for each in verdicts.values() for id in each}):
        judged = {name: each[id] for name, each in verdicts.items() if id in each}
        words = {name: content["word"] for name, content in judged.items()}
        parts = [row for row in _parts(judged) if len(set(row["passed"].values())) > 1]
        if len(set(words.values())) > 1 or parts:
            yield {"id": id, "word": words, "parts": parts}


def _parts(judged: Verdicts) -> Iterator[dict[str, Any]]:
    """Each part of a claim, as every machine found it."""
    by_key: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, content in judged.items():
        for part in content["parts"]:
            by_key.setdefault(part["key"], {})[name] = part
    for key, there in by_key.items():
        first = next(iter(there.values()))
        yield {
            "key": key,
            "text": first["text"],
            "unit": first.get("unit") or "",
            "test": first.get("test") or "",
            "found": {name: part["found"] for name, part in there.items()},
            "passed": {name: part["passed"] for name, part in there.items()},
        }


def as_tables(found: Mapping[str, Any]) -> str:
    """The comparison for a terminal."""
    names = [machine["name"] for machine in found["machines"]]
    lines = [str(table("machine", "device", "day", "reads [B/s]", *_PEAKS, rows=map(_machine_row, found["machines"])))]
    rows = [
        [
            f"{row['model']} {row['dtype']}",
            *_at(row),
            *_of_each(row["step_s"], names),
            *_of_each(row["over_predicted"], names),
        ]
        for row in found["steps"]
    ]
    if rows:
        headings = [f"{name} [ms:.2f]" for name in names] + [f"{name} [:.2f]" for name in names]
        lines += ["Steps [ms], and measured over predicted:", str(table("", "context", "batch", *headings, rows=rows))]
    lines += [*verdict_lines(found), *found["warnings"]]
    return "\n\n".join(lines)


def verdict_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Each claim that differs, in lines; a sentence where none does, or nothing can be said."""
    for row in found["verdicts"]:
        words = "; ".join(f"{name}: {word}" for name, word in row["word"].items())
        yield "\n".join([f"{row['id']} {words}", *(f"    {part_line(part)}" for part in row["parts"])])
    if not found["verdicts"]:
        yield (
            f"All {found['judged']} claims that two of them have judged come out alike."
            if found["judged"]
            else "No two of them have judged the same claim; `bytebill run` writes records with verdicts."
        )


def part_line(part: Mapping[str, Any]) -> str:
    """A part as every machine found it."""
    told = ", ".join(
        f"{name} {show(number, unit=part['unit'])} {'✓' if part['passed'][name] else '✗'}"
        for name, number in part["found"].items()
        if number is not None
    )
    return f"{part['text']} ({part['test']}): {told}"


def _machine_row(machine: Mapping[str, Any]) -> list[Any]:
    peaks = [machine["peak_flops_per_s"].get(dtype) for dtype in SHOWN_DTYPES]
    threads = f", {machine['threads']} threads" if machine["threads"] else ""
    return [machine["name"], machine["device"] + threads, machine["date"], machine["read_bytes_per_s"], *peaks]


def _at(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row["context_len"], row["batch"]


def _of_each(there: Mapping[str, float], names: Sequence[str]) -> Iterator[float | None]:
    yield from (there.get(name) for name in names)


def _in_order(key: StepKey) -> tuple[str, str, int, int]:
    model, dtype, context_len, batch = key
    return model, dtype, context_len or 0, batch
