"""How far off is the clock on hardware that others measured? Calibrated on some points, scored on the rest.

    error = predicted / measured - 1,   in seconds of an output token

| board          | constants               | calibrated on                        | predicted                         |
| trtllm-h100    | both shares, layer_s    | 8 matrix products, 4 attentions      |                                   |
|                | step_s, sequence_s      | Llama-3.1-8B, 8 and 32 users         | 16, 64, 128 users                 |
|                | link_bytes_per_s        | the rate of 8 GPUs                   | the rates of 1, 2, 4 GPUs         |
| vllm-v0-h100   | both shares             | the same kernels                     |                                   |
|                | layer_s, sequence_s     | OPT-1.3B, caps of 1 and 256          | OPT-1.3B's 13 others, OPT-2.7B    |
| gpt-fast-a100  | flops_share             | 8 matrix products                    |                                   |
|                | bandwidth_share, layer_s| Llama-2-7B bf16 on 1 and 8 GPUs      | 2 and 4 GPUs, int8, int4, Mixtral |

No point is both: a `Score` says which it was. One model's points cannot tell a step's constant from its layers', so
the vLLM and gpt-fast boards leave `step_s` at nothing. `python -m bytebill.trials.scoreboard` writes what was found
into `data/constants.csv`, where `calibrated_constants` reads it. A range takes every constant to the same side, which
is wider than likely. Ignores that 8- and 4-bit kernels reach less of the bandwidth than 16-bit ones: those errors
stand.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

from bytebill import data
from bytebill.errors import BytebillError
from bytebill.sim.constants import UNITS, Constants, Estimate
from bytebill.sim.constants import calibrated_constants as calibrated_constants
from bytebill.trials.fit import Observation, calibrate
from bytebill.trials.published import attention_points, batch_points, gemm_points, one_user_points, serving_points

_START = Constants.exact(bandwidth_share=0.85, flops_share=0.8)  # the middle of data/published_gemm.csv
_SOURCES = {  # the source and the tables of the points that a board is calibrated on
    "trtllm-h100": ("aiconfigurator", ("published_gemm", "published_decode_attention", "published_serving")),
    "vllm-v0-h100": ("recasens2025gap", ("published_gemm", "published_max_num_seqs")),
    "gpt-fast-a100": ("gpt-fast", ("published_gemm", "published_decode")),
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One published point beside its prediction, in seconds of an output token of one request."""

    board: str
    name: str
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float
    calibrated: bool  # the constants have seen this point: no prediction

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted_s / self.measured_s - 1

    @property
    def in_range(self) -> bool:
        """Whether the measured value lies in the prediction's range."""
        return self.low_s <= self.measured_s <= self.high_s


@dataclass(frozen=True, kw_only=True)
class Board:
    """The constants of one device under one program, and how they did."""

    name: str
    constants: Constants
    scores: tuple[Score, ...]


def mean_error(scores: Iterable[Score]) -> float:
    """Mean of |predicted / measured - 1| over what was predicted, calibrated points left out.

    >>> three = [Score(board="b", name="p", measured_s=1, predicted_s=predicted, low_s=0, high_s=2, calibrated=seen)
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
    """All boards, from the published points in data/."""
    return (trtllm_h100(), vllm_v0_h100(), gpt_fast_a100())


def trtllm_h100(users: tuple[str, ...] = ("c=8 tp=1", "c=32 tp=1"), gpus: str = "c=64 tp=8 rate") -> Board:
    """Llama-3.1-8B on H100s; `users` and `gpus` name the points that are calibrated on."""
    kernels = calibrate(
        [*gemm_points("h100-sxm"), *attention_points("h100-sxm")],
        start=replace(_START, link_bytes_per_s=Estimate.exact(100e9)),  # where the search for a link begins
        free=["bandwidth_share", "flops_share", "layer_s"],
    )
    free = ["step_s", "sequence_s", "link_bytes_per_s"]
    return _board("trtllm-h100", serving_points(), seen=(*users, gpus), start=kernels, free=free)


def vllm_v0_h100(caps: tuple[str, ...] = ("opt-1.3b cap=1", "opt-1.3b cap=256"), overhead: str = "layer_s") -> Board:
    """OPT-1.3B and OPT-2.7B on a 64 GB H100; `overhead` is the constant that takes what a step costs."""
    start, free = _shares("h100-sxm"), [overhead, "sequence_s"]
    return _board("vllm-v0-h100", batch_points(), seen=caps, start=start, free=free)


def gpt_fast_a100() -> Board:
    """Llama-2-7B and Mixtral-8x7B on A100s, one user."""
    seen, free = ("llama-2-7b bf16 tp=1", "llama-2-7b bf16 tp=8"), ["bandwidth_share", "layer_s"]
    return _board("gpt-fast-a100", one_user_points(), seen=seen, start=_shares("a100-sxm-80"), free=free)


def _shares(device_id: str) -> Constants:
    return calibrate(gemm_points(device_id), start=_START, free=["bandwidth_share", "flops_share"])


def _board(
    name: str, points: Sequence[Observation], *, seen: Sequence[str], start: Constants, free: Sequence[str]
) -> Board:
    """Calibrated on the points of these names, scored on all."""
    known = data.Register("published point", lambda: {point.name: point for point in points})
    constants = calibrate([known[each] for each in seen], start=start, free=free)
    scores = (
        Score(
            board=name,
            name=point.name,
            measured_s=point.measured,
            predicted_s=point.predict(constants),
            low_s=point.predict(constants.fastest),
            high_s=point.predict(constants.slowest),
            calibrated=point.name in seen,
        )
        for point in points
    )
    return Board(name=name, constants=constants, scores=tuple(scores))


def constant_rows() -> list[dict[str, Any]]:
    """The rows of `data/constants.csv`: what each board was calibrated to, constants left at their start omitted."""
    return [
        {
            "board": board.name,
            "quantity": name,
            **{end: getattr(getattr(board.constants, name), end) for end in ("value", "low", "high")},
            "unit": unit,
            "source_id": _SOURCES[board.name][0],
            "source_locator": ", ".join(_SOURCES[board.name][1]),
            "value_kind": "derived",
            "conditions": "least squares over the points that the scoreboard names",
            "as_of": max(row["as_of"] for table in _SOURCES[board.name][1] for row in data.rows(table)),
            "caution": "",
        }
        for board in scoreboard()
        for name, unit in UNITS.items()
        if getattr(board.constants, name).spread
    ]


def main() -> None:
    """Fit again, and write what was found."""
    rows = constant_rows()
    with (data.root() / "constants.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    data.rehash()


if __name__ == "__main__":
    main()
