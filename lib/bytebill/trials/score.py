"""How far off is the clock on what you measured? A file of served rows, each beside its prediction.

    program, model, accelerator, n_devices, weights, kv, concurrency, n_input_tokens, n_output_tokens, tpot_ms
    optional: ttft_ms, length_spread, synchronised

`program` is trtllm, vllm or sglang, or a JSON file with constants of your own (`OwnProgram`); `model` an id or a
Hugging Face id of the register, or the path of a config.json; `weights` auto (what the config says), bf16, fp8, int8,
int4, mxfp4 or nvfp4; `kv` bf16 or fp8. `length_spread` 0.2 means lengths uniform from 0.8 of nominal to nominal,
`synchronised` 1 that users start together and stay so. A row is predicted as a closed loop (`bytebill.sim.closed_loop`)
on the constants of its program and device, with the room for caches that the program leaves (`bytebill.memory`). Where
a latent cannot be shared out, the way to spread attention is taken that gives the shorter time, as who runs such a
model would. A row that cannot be predicted says why and stops nothing.
"""

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bytebill.deployment import Deployment, tensor_parallel_sizes
from bytebill.errors import BytebillError, require, require_known
from bytebill.hardware import Accelerator, accelerator
from bytebill.memory import as_served
from bytebill.models import ModelSpec, Precision, checkpoint_precision, find
from bytebill.programs import program
from bytebill.serving import Policy
from bytebill.sim import ClosedLoop, Constants
from bytebill.sim.closed_loop import POLICIES, REQUEST_S, policy_of
from bytebill.sim.constants import calibrated_constants
from bytebill.sim.own_program import own_program

SERVED_COLUMNS = (
    *("program", "model", "accelerator", "n_devices", "weights", "kv"),
    *("concurrency", "n_input_tokens", "n_output_tokens", "tpot_ms"),
)
OPTIONAL = ("ttft_ms", "length_spread", "synchronised")
WEIGHT_FORMATS = ("auto", "bf16", "fp8", "int8", "int4", "mxfp4", "nvfp4")
KV_BYTES = {"bf16": 2.0, "fp8": 1.0}
GROUPS = ("program", "model", "accelerator", "n_devices", "weights", "concurrency")
MOST_ROWS = 1_000_000
SHORTEST_MS, LONGEST_MS = 1e-6, 1e9  # that can be meant
LONGEST_NUMBER = 40  # characters of a cell
MOST_COUNTED = 10**12  # of anything that is counted
MOST_UTILIZATION = 0.98  # that servers have been started with
PARALLEL_ROWS = 64  # from which on it is worth to start processes
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)

Cells = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ServedRow:
    """A measured row beside its prediction, or the reason why there is none."""

    cells: dict[str, Any]  # as the file has them, numbers as numbers
    tpot_pred_ms: float | None = None
    tpot_low_ms: float | None = None
    tpot_high_ms: float | None = None
    ttft_pred_ms: float | None = None
    reason: str | None = None

    @property
    def tpot_error(self) -> float | None:
        """Predicted over measured, minus one."""
        return _error(self.tpot_pred_ms, self.cells.get("tpot_ms"))

    @property
    def ttft_error(self) -> float | None:
        return _error(self.ttft_pred_ms, self.cells.get("ttft_ms"))

    @property
    def in_range(self) -> bool:
        """Whether the measured value lies in the predicted range."""
        if self.tpot_low_ms is None or self.tpot_high_ms is None:
            return False
        return bool(self.tpot_low_ms <= self.cells["tpot_ms"] <= self.tpot_high_ms)

    def to_json(self) -> dict[str, Any]:
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "cells"}
        return {**self.cells, **{name: value for name, value in found.items() if name != "reason" or value}}


def score(path: Path | str) -> list[ServedRow]:
    """Every row of a file beside its prediction. Raises `BytebillError` for a file that is no table of served rows."""
    rows = list(_rows(Path(path)))
    require(bool(rows), f"{Path(path).name} has no row under its header.")
    if len(rows) < PARALLEL_ROWS or (os.cpu_count() or 1) == 1:
        return [predicted(cells) for cells in rows]
    with ProcessPoolExecutor() as pool:
        return list(pool.map(predicted, rows, chunksize=8))


def predicted(cells: Cells) -> ServedRow:
    """One row beside its prediction."""
    kept: dict[str, Any] = {name: _number(value) for name, value in cells.items()}
    try:
        _check_measured(cells)
        loop = loop_of(cells)
        low_s, high_s = loop.tpot_range_s
        times_s = (loop.tpot_s, low_s, high_s, loop.ttft_s)
        require(all(map(math.isfinite, times_s)), "Its constants make a step take no time or for ever.")
    except (BytebillError, RuntimeError, ArithmeticError, TypeError, ValueError) as error:
        # a row's own numbers: beyond a float, beyond physics (RuntimeError), or of a kind that a policy does not take
        return ServedRow(cells=kept, reason=" ".join(str(error).split()))
    tpot_ms, low_ms, high_ms, ttft_ms = (each * 1e3 for each in times_s)
    return ServedRow(cells=kept, tpot_pred_ms=tpot_ms, tpot_low_ms=low_ms, tpot_high_ms=high_ms, ttft_pred_ms=ttft_ms)


def _check_measured(cells: Cells) -> None:
    """What was measured is a time; one of the two may be missing."""
    given = [name for name in ("tpot_ms", "ttft_ms") if cells.get(name)]
    require(bool(given), "It has neither a tpot_ms nor a ttft_ms.")
    for name in given:
        value = _number(cells[name])
        require(
            isinstance(value, (int, float)) and SHORTEST_MS < value < LONGEST_MS,
            f"{name} is '{cells[name][:40]}', not a time in milliseconds.",
        )


def loop_of(cells: Cells) -> ClosedLoop:
    """The closed loop that a row describes, its attention spread so that most users run at once, then fastest.

    Raises `BytebillError` for a row that nobody can run.
    """
    found, reason = [], BytebillError("It has no way to spread its attention.")
    for way in _ways(_group(cells)):
        try:
            found.append(_loop(cells, way))
        except BytebillError as error:
            reason = error
    if not found:
        raise reason
    return min(found, key=lambda each: (-each.n_running, each.steady.tpot_s))


def errors_by_group(rows: Iterable[ServedRow]) -> dict[str, Any]:
    """Errors over all rows that could be predicted, and by what they have in common."""
    rows = list(rows)
    return {
        "n_rows": len(rows),
        "n_not_predicted": sum(row.reason is not None for row in rows),
        **_errors(rows),
        **{f"by_{name}": _by(rows, name) for name in GROUPS},
    }


def as_lines(rows: list[ServedRow]) -> str:
    """Errors over all rows and by what they have in common, for a terminal, and what could not be predicted."""
    found = errors_by_group(rows)
    lines = [_line("all", found)]
    for name in GROUPS:
        lines += [f"by {name}", *(_line(f"  {value}", errors) for value, errors in found[f"by_{name}"].items())]
    reasons = Counter(row.reason for row in rows if row.reason)
    if reasons:
        lines.append(f"not predicted, and in no number above: {found['n_not_predicted']} of {found['n_rows']} rows")
        lines += [f"  {n} for this: {reason}" for reason, n in reasons.most_common()]
    return "\n".join([f"{'TPOT':34} rows   mean  median    bias  in range   TTFT", *lines])


def _line(label: str, errors: dict[str, Any]) -> str:
    names = ("tpot_mean_abs_error", "tpot_median_abs_error", "tpot_bias", "share_in_range", "ttft_mean_abs_error")
    formats = ("{:7.1%}", "{:8.1%}", "{:+8.1%}", "{:10.0%}", "{:7.1%}")
    shown = (
        form.format(errors[name]) if errors[name] is not None else "-".rjust(width)
        for name, form, width in zip(names, formats, (7, 8, 8, 10, 7), strict=True)
    )
    return f"{label[:34]:34} {errors['n']:4}" + "".join(shown)


def _by(rows: list[ServedRow], name: str) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[ServedRow]] = {}
    for row in rows:
        groups.setdefault(str(row.cells.get(name, "")), []).append(row)
    order = sorted(groups, key=lambda value: (float(value) if value.isdigit() else 0.0, value))
    return {value: _errors(groups[value]) for value in order}


def _errors(rows: list[ServedRow]) -> dict[str, Any]:
    tpot = [error for row in rows if (error := row.tpot_error) is not None]
    ttft = [error for row in rows if (error := row.ttft_error) is not None]
    inside = [row.in_range for row in rows if row.tpot_error is not None]
    return {
        "n": len(tpot),
        "tpot_mean_abs_error": fmean(map(abs, tpot)) if tpot else None,
        "tpot_median_abs_error": median(map(abs, tpot)) if tpot else None,
        "tpot_bias": fmean(tpot) if tpot else None,
        "share_in_range": fmean(inside) if inside else None,
        "ttft_mean_abs_error": fmean(map(abs, ttft)) if ttft else None,
    }


def _group(cells: Cells) -> Deployment:
    spec, stored = find(cells["model"])
    return Deployment(
        model=spec,
        accelerator=accelerator(cells["accelerator"]),
        precision=_precision(cells, spec, stored),
        n_devices=_whole(cells, "n_devices"),
    )


def _loop(cells: Cells, attention: str) -> ClosedLoop:
    """The row's closed loop with its attention spread in one way."""
    group = replace(_group(cells), attention=attention)
    like, constants, policy = _program(cells["program"], group.accelerator)
    return served_loop(
        group,
        program_id=like,
        constants=constants,
        policy=policy,
        concurrency=_whole(cells, "concurrency"),
        n_input_tokens=_whole(cells, "n_input_tokens"),
        n_output_tokens=_whole(cells, "n_output_tokens"),
        length_spread=_share(cells, "length_spread"),
        synchronised=_share(cells, "synchronised") > 0,
    )


def served_loop(
    group: Deployment,
    *,
    program_id: str,
    concurrency: int,
    n_input_tokens: int,
    n_output_tokens: int,
    constants: Constants | None = None,
    policy: Policy | None = None,
    length_spread: float = 0.0,
    synchronised: bool = False,
) -> ClosedLoop:
    """The closed loop of users on a group, with the room for caches that a program leaves, or at best can leave.

    Constants and policy are the program's own on this device where none are given.

    >>> from bytebill.models import model, precision
    >>> one = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    >>> loop = served_loop(one, program_id="vllm", concurrency=64, n_input_tokens=1024, n_output_tokens=256)
    >>> loop.n_running, loop.policy.token_budget
    (64, 8192)
    """
    require_known("program", program_id, POLICIES)
    require(n_output_tokens > 1, "A time per output token takes at least two output tokens.")
    served = as_served(group, program(program_id))
    if not served.users(n_input_tokens + n_output_tokens):  # who measured this has asked for more of the memory
        served = as_served(group, program(program_id), utilization=MOST_UTILIZATION)
    return ClosedLoop(
        deployment=served,
        constants=constants or calibrated_constants(program_id, group.accelerator.id),
        policy=policy or policy_of(program_id, group.accelerator),
        concurrency=concurrency,
        n_input_tokens=n_input_tokens,
        n_output_tokens=n_output_tokens,
        length_spread=length_spread,
        synchronised=synchronised,
        request_s=REQUEST_S,
    )


def _precision(cells: Cells, spec: ModelSpec, stored: Precision) -> Precision:
    require_known("format of weights", cells["weights"], WEIGHT_FORMATS)
    require_known("format of the cache", cells["kv"], KV_BYTES)
    weights = stored if cells["weights"] == "auto" else checkpoint_precision(cells["weights"], spec)
    return replace(weights, kv_bytes_per_value=KV_BYTES[cells["kv"]])


def _ways(group: Deployment) -> tuple[str, ...]:
    """How who runs a group may spread its attention: by heads, or by users where a cache would be copied."""
    sizes = tensor_parallel_sizes(group.model, largest=group.n_devices)
    by_users = group.cache_bytes(1) > replace(group, attention="data").cache_bytes(1) and group.model.moe is not None
    ways = tuple(way for way, possible in (("tensor", group.n_devices in sizes), ("data", by_users)) if possible)
    require(
        bool(ways),
        f"The heads of {group.model.name} split evenly over {', '.join(map(str, sizes))} devices, not over "
        f"{group.n_devices}.",
    )
    return ways


def _program(name: str, card: Accelerator) -> tuple[str, Constants, Policy]:
    """The program that one is like, and constants and policy: of a program the book knows, or of a file."""
    if name.endswith(".json"):
        own = own_program(name, card.id)
        return own.like, own.constants, replace(policy_of(own.like, card), **own.policy)
    require_known("program", name, POLICIES)
    return name, calibrated_constants(name, card.id), policy_of(name, card)


def _rows(path: Path) -> Iterator[Cells]:
    """The rows of a CSV file with a header that names all that a prediction needs."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines)
            names = table.fieldnames or []
            require(len(set(names)) == len(names), f"{path.name} has a column twice: {', '.join(names)[:200]}.")
            missing = [name for name in SERVED_COLUMNS if name not in names]
            require(not missing, f"{path.name} has no column {', '.join(missing)}.")
            for number, row in enumerate(table):
                require(number < MOST_ROWS, f"{path.name} has more than {MOST_ROWS:,} rows.")
                require(
                    None not in row and None not in row.values(),
                    f"{path.name} line {table.line_num} has not as many cells as there are columns.",
                )
                yield {name: value.strip() for name, value in row.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BytebillError(f"The table {path} cannot be read: {error}.") from error


def _whole(cells: Cells, name: str) -> int:
    value = _number(cells[name])
    if not isinstance(value, (int, float)) or not 1 <= value <= MOST_COUNTED or not float(value).is_integer():
        raise BytebillError(f"{name} is '{cells[name][:40]}', not a whole number from 1 up.")
    return int(value)


def _share(cells: Cells, name: str) -> float:
    value = _number(cells.get(name, "") or "0")
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise BytebillError(f"{name} is '{cells.get(name)}', not a number from 0 to 1.")
    return float(value)


def _number(text: str) -> int | float | str | None:
    """A cell as a number, where it is one in plain digits; empty: None."""
    if text == "":
        return None
    if len(text) > LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
        return text
    value = float(text)
    if not math.isfinite(value):
        return text
    return int(text) if text.lstrip("+-").isdecimal() else value


def _error(found: float | None, measured: Any) -> float | None:
    if found is None or not isinstance(measured, (int, float)) or measured <= 0:
        return None
    return found / measured - 1
