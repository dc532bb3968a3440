"""What does a program of one's own cost a step? Constants in a JSON file, measured by `bytebill probe` or by hand.

    {"like": "vllm", "step_s": 0.004, "sequence_s": [0.0001, 0.0002, 0.0003], "request_s": 0.012, "policy": {...}}

`like` is the program whose constants, memory and scheduling hold for what the file leaves out; a constant is a value,
or low, value and high; `policy` are fields of `bytebill.serving.Policy` that loops of `bytebill score` are scheduled
by, and that a bill refuses; `request_s` is the time of the front end.
`probed` is what a probe writes of where it measured, kept and not read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError, require, require_known
from bytebill.sim.closed_loop import POLICIES, REQUEST_S
from bytebill.sim.constants import NAMES, Constants, Estimate, calibrated_constants
from bytebill.sim.sweep import Sweep

LEAST_CONSTANT, MOST_CONSTANT = 1e-12, 1e12  # in SI units
LONGEST_REQUEST_S = 600.0
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class OwnProgram:
    """A program that the book does not know: whom it is like, and what it costs."""

    like: str
    constants: Constants
    request_s: float = REQUEST_S
    policy: Mapping[str, Any] = field(default_factory=dict)  # fields of a policy; the others are as `like` has them


def own_program(path: Path | str, device_id: str) -> OwnProgram:
    """The program of a file on a device, whose calibrated constants hold where the file has none."""
    path = Path(path)
    try:
        require(not path.exists() or path.is_file(), f"The program {path.name} is no file.")
        require(not path.exists() or path.stat().st_size <= _MOST_BYTES, f"{path.name} is larger than any program.")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BytebillError(f"The program {path.name} cannot be read: {' '.join(str(error).split())}.") from error
    require(isinstance(found, dict), f"{path.name} is no program: not an object of names and values.")
    found.pop("probed", None)
    like, policy, request_s = (
        found.pop("like", "vllm"),
        found.pop("policy", None) or {},
        found.pop("request_s", REQUEST_S),
    )
    require_known("program", str(like), POLICIES)
    policy = _policy(path.name, policy)
    require(
        _is_number(request_s) and 0 <= request_s <= LONGEST_REQUEST_S,
        f"{path.name}: request_s is {str(request_s)[:40]}, not a time in seconds.",
    )
    own: dict[str, Any] = {name: _estimate(path.name, name, value) for name, value in found.items()}
    try:
        constants = replace(calibrated_constants(str(like), device_id), **own)
    except ValueError as error:  # beyond physics
        raise BytebillError(f"{path.name}: {error}.") from error
    return OwnProgram(like=str(like), constants=constants, request_s=float(request_s), policy=policy)


def program_json(program: OwnProgram, *, measured: tuple[str, ...], probed: Mapping[str, Any]) -> dict[str, Any]:
    """A file's object: the constants that were measured, with their ranges, and where."""
    told = {name: getattr(program.constants, name) for name in measured}
    ranges = {name: [each.low, each.value, each.high] for name, each in told.items()}
    return {"like": program.like, **ranges, "request_s": program.request_s, "probed": dict(probed)}


def _estimate(file: str, name: str, value: Any) -> Estimate:
    require_known("constant of a program", name, NAMES)
    ends = value if isinstance(value, list) else [value]
    require(
        len(ends) in (1, 3)
        and all(_is_number(each) and (each == 0 or LEAST_CONSTANT < each < MOST_CONSTANT) for each in ends),
        f"{file}: {name} is {str(value)[:60]}, not a number in SI units, nor low, value and high.",
    )
    require(sorted(ends) == ends, f"{file}: {name} is low, value and high in that order, not {ends}.")
    return Estimate(low=ends[0], value=ends[len(ends) // 2], high=ends[-1])


def _policy(file: str, given: Any) -> dict[str, Any]:
    """The settings of a policy that a file names, held to the kinds that a sweep holds them to."""
    require(isinstance(given, dict), f"{file}: a policy is an object of names and values.")
    kind = given.get("kind")
    require(kind not in ("static", "dynamic"), f"{file}: a server is asked by users who come and go; no {kind} batch.")
    try:
        Sweep(base={"policy": given})
    except BytebillError as error:
        raise BytebillError(f"{file}: {error}") from error
    return {name: value for name, value in given.items() if value is not None}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
