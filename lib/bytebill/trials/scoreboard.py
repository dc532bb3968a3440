"""How far off is the clock on hardware that others measured? Calibrated on some points, scored on the rest.

    error = predicted / measured - 1,   in seconds of an output token

| program  | fitted                   | calibrated on                               | predicted                     |
| trtllm   | layer_s, sequence_s      | Llama-3.1-8B on 1 and 8 H100s, 512 out      | 128 and 256 out; 2 and 4      |
| vllm     | layer_s, sequence_s      | Qwen3-32B on 2 and 8 H100s, 1,024 in        | 4,096 in                      |
| sglang   | layer_s, sequence_s      | Qwen3-32B on 2 and 8 H100s, 1,024 in, 512   | 128 out, 4,096 in             |
| vllm-v0  | layer_s, sequence_s      | OPT-1.3B, caps of 1 and 256                 | OPT-1.3B's 13 others, OPT-2.7B|
| gpt-fast | bandwidth_share, layer_s | Llama-2-7B bf16 on 1 and 8 A100s            | 2 and 4, int8, int4, Mixtral  |

No point is both: a `Score` says which it was. What the devices reach is not fitted to any of these: it is read off
measured kernels (`bytebill.trials.kernels`), and so is what routing adds to a layer. One model's points cannot tell a
step's constant from its layers', so `step_s` stays at nothing. `python -m bytebill.trials.scoreboard` writes what was
found into `data/constants.csv`, where `calibrated_constants` reads it. Ignores that 8- and 4-bit kernels reach less of
the bandwidth than 16-bit ones: those errors stand.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO
from math import exp, log, sqrt
from statistics import fmean
from typing import Any

from bytebill import data
from bytebill.economics.ranges import quantile
from bytebill.errors import BytebillError
from bytebill.sim.constants import BETWEEN_NODES, IDEAL, NAMES, UNITS, Constants, Estimate
from bytebill.trials.fit import Observation, calibrate
from bytebill.trials.kernels import device_constants, routed_layers
from bytebill.trials.published import batch_points, one_user_points, served_points

_ROUTED_AS = {"trtllm": "trtllm", "vllm": "vllm", "sglang": "vllm"}  # SGLang's layers of experts were not measured
_NODES = Constants(
    by_kind=(
        ("all_reduce_s", BETWEEN_NODES, Estimate(value=25.2e-6, low=15e-6, high=40e-6)),
        ("link_bytes_per_s", BETWEEN_NODES, Estimate(value=47e9, low=46e9, high=48e9)),
    )
)
_NCCL = ("nccl-threads", "NCCL issue 1453, 128 bytes over four nodes of H100s; nccl-tests issue 290, a 400 Gb/s port")
_SHARE_INSIDE = 0.8  # of predictions, within a program's `error`
_SOURCES = {  # the source and the table of the points that a program is calibrated on
    **dict.fromkeys(_ROUTED_AS, ("aiconfigurator", "serving_calibration, kernel_moe")),
    "vllm-v0": ("recasens2025gap", "published_max_num_seqs"),
    "gpt-fast": ("gpt-fast", "published_decode"),
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One published point beside its prediction, in seconds of an output token of one request."""

    board: str
    name: str
    measured_s: float
    predicted_s: float
    effects: tuple[tuple[float, ...], ...] = ()  # of each fitted constant at its ends, as logarithms
    allowed: float = 0.0  # the program's own error, as a logarithm
    calibrated: bool  # the constants have seen this point: no prediction

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted_s / self.measured_s - 1

    @property
    def low_s(self) -> float:
        """What the measured value should be above: effects are independent, and added in squares."""
        return self.predicted_s * exp(-self._reach(-1))

    @property
    def high_s(self) -> float:
        """What it should be below."""
        return self.predicted_s * exp(self._reach(1))

    def _reach(self, sign: int) -> float:
        squares = (max(0.0, *(sign * each for each in ends)) ** 2 for ends in self.effects)
        return sqrt(self.allowed**2 + sum(squares))

    @property
    def in_range(self) -> bool:
        """Whether the measured value lies in the prediction's range."""
        return self.low_s <= self.measured_s <= self.high_s


@dataclass(frozen=True, kw_only=True)
class Board:
    """The constants of a program on the device it was measured on, and how they did."""

    name: str
    constants: Constants
    scores: tuple[Score, ...]


def mean_error(scores: Iterable[Score]) -> float:
    """Mean of |predicted / measured - 1| over what was predicted, calibrated points left out.

    >>> three = [Score(board="b", name="p", measured_s=1, predicted_s=predicted, calibrated=seen)
    ...          for predicted, seen in ((1.1, False), (0.9, False), (9, True))]
    >>> round(mean_error(three), 3)
    0.1
    """
    errors = [abs(score.error) for score in scores if not score.calibrated]
    if not errors:
        raise BytebillError("There is no predicted point among these scores, only calibrated ones.")
    return fmean(errors)


@cache
def scoreboard() -> tuple[Board, ...]:
    """All programs, from the published points in data/.

    A program that serves is taken to be off by as much as the worst of the three: few points of a single model say
    little about another.
    """
    boards = [served(program) for program in _ROUTED_AS]
    worst = max(board.constants.error for board in boards)
    return (*(_ranged(board, worst) for board in boards), vllm_v0(), gpt_fast())


def served(program: str, seen: Callable[[str], object] | None = None) -> Board:
    """A program that serves on H100s; `seen` says of a point by its name whether it is calibrated on."""
    points = served_points(program)
    start = replace(device_constants()["h100-sxm"], **_routed(program))
    names = [point.name for point in points if (seen or _handful(program))(point.name)]
    return _board(program, points, seen=names, start=start, free=["layer_s", "sequence_s"])


def vllm_v0(caps: tuple[str, ...] = ("opt-1.3b cap=1", "opt-1.3b cap=256"), overhead: str = "layer_s") -> Board:
    """OPT-1.3B and OPT-2.7B on a 64 GB H100; `overhead` is the constant that takes what a step costs."""
    start, free = device_constants()["h100-sxm"], [overhead, "sequence_s"]
    return _board("vllm-v0", batch_points(), seen=caps, start=start, free=free)


def gpt_fast() -> Board:
    """Llama-2-7B and Mixtral-8x7B on A100s, one user."""
    seen, free = ("llama-2-7b bf16 tp=1", "llama-2-7b bf16 tp=8"), ["bandwidth_share", "layer_s"]
    return _board("gpt-fast", one_user_points(), seen=seen, start=device_constants()["a100-sxm-80"], free=free)


def _handful(program: str) -> Callable[[str], object]:
    """Which points a program is calibrated on, by their names."""
    if program == "trtllm":
        return lambda name: name.endswith("/512") and ("tp=1 " in name or "tp=8 " in name)
    return lambda name: name.endswith("1024/512")


def _routed(program: str) -> dict[str, Any]:
    """What routing adds to a layer: by dtype, and for any other dtype as in 16 bits."""
    layers, device = routed_layers(_ROUTED_AS[program]), device_constants()["h100-sxm"]
    own = (("routed_layer_s", dtype, each) for dtype, each in layers.items() if dtype != "bf16")
    return {"routed_layer_s": layers["bf16"], "by_kind": (*own, *device.by_kind)}


def _board(
    name: str, points: Sequence[Observation], *, seen: Sequence[str], start: Constants, free: Sequence[str]
) -> Board:
    """Calibrated on the points of these names, scored on all."""
    known = data.Register("published point", lambda: {point.name: point for point in points})
    constants = calibrate([known[each] for each in seen], start=start, free=free)
    points_s = [(point, point.predict(constants)) for point in points]
    missed = [abs(log(now_s / point.measured)) for point, now_s in points_s if point.name not in seen]
    moved = [[constants.moved(each, end) for end in ("low", "high")] for each in free]
    scores = (
        Score(
            board=name,
            name=point.name,
            measured_s=point.measured,
            predicted_s=now_s,
            effects=tuple(tuple(log(point.predict(each) / now_s) for each in ends) for ends in moved),
            calibrated=point.name in seen,
        )
        for point, now_s in points_s
    )
    board = Board(name=name, constants=constants, scores=tuple(scores))
    return _ranged(board, quantile(missed, _SHARE_INSIDE))


def _ranged(board: Board, error: float) -> Board:
    """A board whose ranges allow for this error of the program."""
    scores = tuple(replace(score, allowed=error) for score in board.scores)
    return replace(board, constants=replace(board.constants, error=error), scores=scores)


def constant_rows() -> list[dict[str, Any]]:
    """The rows of `data/constants.csv`: what kernels of each device reach, and what each program was calibrated to."""
    rows = list(_rows(BETWEEN_NODES, _NODES, source=_NCCL))
    for id, found in device_constants().items():
        rows += _rows(id, found, source=("aiconfigurator", "kernel_gemm, kernel_all_reduce, kernel_moe"))
    for board in scoreboard():
        device = device_constants()["a100-sxm-80" if board.name == "gpt-fast" else "h100-sxm"]
        rows += _rows(board.name, board.constants, source=_SOURCES[board.name], besides=device)
    return rows


def _rows(
    owner: str, found: Constants, *, source: tuple[str, str], besides: Constants = IDEAL
) -> Iterator[dict[str, Any]]:
    """A row for each constant that is the owner's: not as in `besides`."""
    own = [(name, "", getattr(found, name)) for name in NAMES if getattr(found, name) != getattr(besides, name)]
    own += [each for each in found.by_kind if each not in besides.by_kind]
    if found.error:
        own.append(("error", "", Estimate.exact(found.error)))
    for quantity, kind, estimate in own:
        yield {
            "owner": owner,
            "quantity": quantity,
            "kind": kind,
            **{end: getattr(estimate, end) for end in ("value", "low", "high")},
            "unit": UNITS.get(quantity, "fraction"),
            "source_id": source[0],
            "source_locator": source[1],
            "value_kind": "derived",
            "conditions": "read off kernels" if besides is IDEAL else "least squares over a few points; see scoreboard",
            "as_of": "2026-11-26",
            "caution": "",
        }


def main() -> None:
    """Fit again, and write what was found."""
    rows = constant_rows()
    text = StringIO()
    table = csv.DictWriter(text, rows[0], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    data.write_whole(data.root() / "constants.csv", text.getvalue())
    data.rehash()


if __name__ == "__main__":
    main()
