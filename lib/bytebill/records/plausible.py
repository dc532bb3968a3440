"""Can these numbers be true? What is checked of a record before it is shown, a sentence a doubt.

    a step          takes time, and not less than its bytes and FLOPs do at the record's own ceilings
    samples         are above zero, and their median is the number that is reported
    tokens/s        are the batch over the step
    ceilings        are not above the datasheet of a GPU that the register knows, nor above what cores can issue
    the day         has come; the device has a name

On `SLACK`: two readings of one machine may differ by as much before the book calls it disturbed
(`measure.timing.DRIFT_LIMIT`), and a step's bytes partly lie in a cache. Ceilings get none but a label's rounding.
A core issues at most `_LOADED_BYTES` of loads and `_VECTOR_FLOPS` in two vector units of 512 bits, or `_MATRIX_FLOPS`
where it has a matrix unit, each cycle, as Intel's optimization manual counts them for AVX-512 and AMX. `_CLOCK_HZ` is
a fifth above the 6.2 GHz at which the fastest core on sale ran as sold when this was looked up (Core i9-14900KS, Ars
Technica, 15 March 2024), for what is newer and for who overclocks. They are bounds and not expectations: a real core
reads a tenth of that from memory.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from bytebill.errors import require
from bytebill.hardware import ACCELERATORS, Accelerator
from bytebill.records.reading import Record, StepOnRecord, read_record

SLACK = 1.25
_LABEL = 1.02  # a datasheet prints two or three digits
_SAME = 0.01  # of two numbers that are computed from one another
_CLOCK_HZ = 7.5e9
_LOADED_BYTES, _VECTOR_FLOPS, _MATRIX_FLOPS = 128, 64, 1024
_OF_VECTORS = ("fp32", "tf32", "fp64")
_X86 = ("AMD", "Intel")


def checked(path: Path, *, old: bool = False) -> Record:
    """A file that may be shown, as a record; one sentence where it may not."""
    record = read_record(path, old=old)
    wrong = next(doubts(record), None)
    require(wrong is None, f"{path.name} is not shown: {wrong}.")
    return record


def doubts(record: Record, *, today: date | None = None) -> Iterator[str]:
    """All that cannot be, in the order of the module's text."""
    for step in record.steps:
        yield from (f"{_named(step)}: {text}" for text in _of_step(step, record))
    yield from _of_ceilings(record)
    if not record.device.strip():
        yield "it names no device"
    if not record.old and record.device_kind == "cpu" and record.peak_flops_per_s and not _threads(record):
        yield "it does not say how many threads ran"
    yield from _of_day(record, today=today or datetime.now(UTC).date())


def datasheets(device: str) -> tuple[Accelerator, ...]:
    """The accelerators of the register that a driver's name may mean: it does not always say the form.

    >>> [each.id for each in datasheets("NVIDIA H200")], datasheets("AMD EPYC")
    (['h200-sxm'], ())
    """
    words = set(re.split(r"[^a-z0-9]+", device.lower()))
    return tuple(each for id, each in ACCELERATORS.items() if _model_of(id) in words)


def _model_of(id: str) -> str:
    """The word of an id that names the model: its first with a digit."""
    return next((word for word in id.split("-") if re.search(r"\d", word)), id)


def _named(step: StepOnRecord) -> str:
    return f"{step.model} in {step.dtype} at batch {step.batch}"


def _of_step(step: StepOnRecord, record: Record) -> Iterator[str]:
    if min(step.step_s, step.predicted_s, *step.samples_s) <= 0:
        yield "a time of zero or less"
        return
    if step.samples_s and abs(median(step.samples_s) / step.step_s - 1) > _SAME:
        yield f"the median of its samples is {median(step.samples_s):.4g} s, not the {step.step_s:.4g} s it reports"
    if step.tokens_per_s is not None and abs(step.tokens_per_s * step.step_s / step.batch - 1) > _SAME:
        yield f"{step.tokens_per_s:.4g} tokens/s are not its batch over its time"
    read = record.read_bytes_per_s
    if read and step.n_bytes and step.n_bytes / step.step_s > SLACK * read:
        yield (
            f"it reads {step.n_bytes / step.step_s / 1e9:,.0f} GB/s, over {SLACK} times the {read / 1e9:,.0f} GB/s "
            "that this machine reads by its own record; perhaps something else ran then"
        )
    peak = max((each for each in record.peak_flops_per_s.values() if each), default=0.0)
    if peak and step.n_weights and 2 * step.batch * step.n_weights / step.step_s > SLACK * peak:
        yield f"it multiplies faster than {SLACK} times the highest peak of its own record, {peak:.3g} FLOP/s"


def _of_ceilings(record: Record) -> Iterator[str]:
    read, peaks = record.read_bytes_per_s, record.peak_flops_per_s
    if any(rate is not None and rate <= 0 for rate in (read, *peaks.values())):
        yield "a ceiling of zero or less"
        return
    sheets, threads = datasheets(record.device), _threads(record)
    if sheets:
        whose = f"the datasheet of the {' or '.join(each.name for each in sheets)}"
        yield from _above("memory", read, max(each.bandwidth_bytes_per_s for each in sheets), whose, "B/s")
        for dtype, rate in peaks.items():
            most = max(each.peak_flops_per_s.get(dtype, 0.0) for each in sheets)
            yield from _above(dtype, rate, most, whose, "FLOP/s")
    elif record.device_kind == "cpu" and threads:
        whose = f"what {threads} threads can issue at {_CLOCK_HZ / 1e9} GHz"
        yield from _above("memory", read, threads * _CLOCK_HZ * _LOADED_BYTES, whose, "B/s")
        for dtype, rate in peaks.items():
            vectors = dtype in _OF_VECTORS and record.device.startswith(_X86)
            a_cycle = _VECTOR_FLOPS if vectors else _MATRIX_FLOPS
            yield from _above(dtype, rate, threads * _CLOCK_HZ * a_cycle, whose, "FLOP/s")


def _above(what: str, rate: float | None, most: float, whose: str, unit: str) -> Iterator[str]:
    if rate and most and rate > _LABEL * most:
        yield f"its ceiling of {what}, {rate:.3g} {unit}, is above {whose}, {most:.3g} {unit}"


def _of_day(record: Record, *, today: date) -> Iterator[str]:
    told = str(record.provenance.get("date") or "")
    try:
        day = date.fromisoformat(told)
    except ValueError:
        yield f"its date {told[:20]!r} is no day" if told else "it has no date"
        return
    if day > today + timedelta(days=1):  # it may be tomorrow where it was measured
        yield f"its date, {told}, has not come yet"


def _threads(record: Record) -> int | None:
    told = record.provenance.get("threads")
    return told if isinstance(told, int) else None
