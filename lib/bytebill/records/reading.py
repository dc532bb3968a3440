"""What does a record say, whatever shape it was written in? One reader, and one kind of answer.

    bytebill-record/1     as `bytebill.records.schema` has it
    bytebill-gpukit/1     a kit of one GPU day: `points` with every sample, ceilings from its own first part
    a bench               `bytebill bench --json` as it was, alone or with a provenance
    a decode              `python -m bytebill.trials.record` as it was: device and steps at the top

The last three are of data/measured/ alone, which is never rewritten; what is sent is read as the first.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError, require
from bytebill.records.schema import KIT_NAME, parsed_record, schema_faults

BENCH_CONTEXT_LEN = 256  # of SmolLM2 in benches that did not say it
_SWEPT = {"stack": None, "smollm2": BENCH_CONTEXT_LEN}
_WIDTHS = {"fp32": 4, "bf16": 2, "fp16": 2}  # bytes of a weight, where there are no scales beside
_KIT_STEPS = ("step", "decode step")


@dataclass(frozen=True, kw_only=True)
class StepOnRecord:
    """One decode step of a machine: what it took, and what was predicted."""

    model: str
    dtype: str
    batch: int
    context_len: int | None = None
    step_s: float
    predicted_s: float
    n_bytes: float | None = None  # that it cannot do without reading
    n_weights: float | None = None  # that it multiplies each sequence with, where that is known
    tokens_per_s: float | None = None
    samples_s: tuple[float, ...] = ()

    @property
    def over_predicted(self) -> float:
        """Measured over predicted.

        >>> StepOnRecord(model="a", dtype="bf16", batch=1, step_s=3.0, predicted_s=2.0).over_predicted
        1.5
        """
        return self.step_s / self.predicted_s


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one file says."""

    name: str
    kind: str
    provenance: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    read_bytes_per_s: float | None = None
    peak_flops_per_s: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[StepOnRecord, ...] = ()
    verdicts: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    old: bool = False  # of a shape before the schema, which asked for less

    @property
    def device(self) -> str:
        """The device's name, as its driver or its system says it."""
        return str(self.provenance.get("device") or "")

    @property
    def device_kind(self) -> str:
        """cpu, cuda or mps; those old records that do not say it are of GPUs."""
        return str(self.provenance.get("device_kind") or "cuda")


def read_record(path: Path, *, old: bool = False) -> Record:
    """A file as a record; one sentence where it is none. With `old` the shapes before the schema are read as well."""
    found = parsed_record(path)
    if old and found.get("schema") in (None, KIT_NAME):
        try:
            return _old(found, name=path.stem)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BytebillError(f"{path.name} is no record of this book: {error!r:.120}.") from None
    wrong = next(schema_faults(found), None)
    require(wrong is None, f"{path.name} is no record: {wrong}.")
    return of_schema(found, name=path.stem)


def of_schema(found: Mapping[str, Any], *, name: str) -> Record:
    """What the schema allows, as a record."""
    ceilings = found["ceilings"] or {}
    return Record(
        name=name,
        kind=found["kind"],
        provenance=found["provenance"],
        parameters=found["parameters"],
        read_bytes_per_s=ceilings.get("read_bytes_per_s"),
        peak_flops_per_s=ceilings.get("peak_flops_per_s") or {},
        steps=tuple(_step(row, model=row["model"], context_len=row.get("context_len")) for row in found["steps"]),
        verdicts=tuple(found["verdicts"]),
        warnings=_warnings(found.get("found") or {}),
    )


def _old(found: Mapping[str, Any], *, name: str) -> Record:
    if found.get("schema") == KIT_NAME:
        return _of_kit(found, name=name)
    told = dict(found.get("provenance") or found)
    told.setdefault("threads", found.get("threads", found.get("n_threads")))
    told["device_kind"] = told.get("device_kind") or told.get("kind") or ("cuda" if "nvidia_smi" in told else "cpu")
    provenance = {key: value for key, value in told.items() if not isinstance(value, list | dict)}
    read = found.get("read_bytes_per_s")
    return Record(
        name=name,
        kind="decode" if "steps" in found else "bench",
        provenance=provenance,
        read_bytes_per_s=read if isinstance(read, float) else None,
        peak_flops_per_s=found.get("peak_flops_per_s") or {},
        steps=tuple(_old_steps(found)),
        warnings=_warnings(found),
        old=True,
    )


def _old_steps(found: Mapping[str, Any]) -> Iterator[StepOnRecord]:
    model = str(found.get("model_id", "")).removesuffix("-135m")
    yield from (_step(row, model=model, context_len=found.get("context_len")) for row in found.get("steps") or ())
    for part, context_len in _SWEPT.items():
        yield from (_step(row, model=part, context_len=context_len) for row in found.get(part) or ())


def _step(row: Mapping[str, Any], *, model: str, context_len: int | None) -> StepOnRecord:
    n_bytes, width = row.get("weight_bytes"), _WIDTHS.get(row["dtype"])
    return StepOnRecord(
        model=model,
        dtype=row["dtype"],
        batch=row["batch"],
        context_len=context_len,
        step_s=row["step_s"],
        predicted_s=row["predicted_s"],
        n_bytes=n_bytes,
        n_weights=n_bytes / width if n_bytes and width else None,
        tokens_per_s=row.get("tokens_per_s"),
        samples_s=tuple(row.get("samples_s") or ()),
    )


def _of_kit(found: Mapping[str, Any], *, name: str) -> Record:
    """A part of the kit; its first part has its ceilings at the top, the others under their own name."""
    ceilings, conditions = found.get("ceilings") or found, found.get("conditions") or {}
    return Record(
        name=name,
        kind="kit",
        provenance=found["provenance"] | {"device_kind": "cuda"},
        parameters=conditions,
        read_bytes_per_s=ceilings.get("read_bytes_per_s"),
        peak_flops_per_s=ceilings.get("peak_flops_per_s") or {},
        steps=tuple(_kit_steps(found.get("points") or (), conditions)),
        warnings=tuple(map(str, found.get("errors") or ())),
        old=True,
    )


def _kit_steps(points: Iterable[Mapping[str, Any]], conditions: Mapping[str, Any]) -> Iterator[StepOnRecord]:
    for row in points:
        if row.get("what") in _KIT_STEPS and row.get("predicted_s") and row.get("samples_s"):
            yield StepOnRecord(
                model=str(conditions.get("model", "")),
                dtype=str(row.get("dtype") or conditions.get("dtype") or ""),
                batch=row["batch_size"],
                context_len=row.get("context_len"),
                step_s=row["median_s"],
                predicted_s=row["predicted_s"],
                n_bytes=row.get("n_bytes"),
                tokens_per_s=row.get("tokens_per_s"),
                samples_s=tuple(row["samples_s"]),
            )


def _warnings(found: Mapping[str, Any]) -> tuple[str, ...]:
    told = found.get("warnings")
    return tuple(str(each) for each in told if each) if isinstance(told, list) else ()
