"""The clock against what others measured: the promised error, on points that no constant has seen."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.serving.continuous import ContinuousScheduler
from bytebill.serving.memory.paged import Paged
from bytebill.serving.request import Request
from bytebill.sim.clock import Clock
from bytebill.sim.constants import CALIBRATED, NAMES, Constants
from bytebill.sim.server import simulate
from bytebill.sim.steady import SteadyState
from bytebill.trials.fit import BOUNDS, NOISE, Observation, calibrate
from bytebill.trials.published import gemm_points, serving_points
from bytebill.trials.scoreboard import (
    calibrated_constants,
    constant_rows,
    mean_error,
    scoreboard,
    trtllm_h100,
    vllm_v0_h100,
)

BOARDS = {board.name: board for board in scoreboard()}


def test_the_mean_error_of_what_was_predicted_is_under_a_fifth():
    scores = [score for board in BOARDS.values() for score in board.scores]
    assert mean_error(scores) < 0.20
    for board in BOARDS.values():
        assert mean_error(board.scores) < 0.20


def test_tpot_under_load_is_predicted_within_a_tenth():
    tpot = [score for score in BOARDS["trtllm-h100"].scores if "rate" not in score.name]
    assert mean_error(tpot) < 0.10
    assert max(abs(score.error) for score in tpot) < 0.10


def test_no_point_is_calibrated_on_and_scored():
    for board in BOARDS.values():
        seen = [score for score in board.scores if score.calibrated]
        assert 2 <= len(seen) < len(board.scores) / 2
        assert mean_error(board.scores) == fmean(abs(s.error) for s in board.scores if not s.calibrated)
    assert [score.name for score in BOARDS["vllm-v0-h100"].scores if score.calibrated] == [
        "opt-1.3b cap=1",
        "opt-1.3b cap=256",
    ]


def test_the_constants_on_file_are_those_that_a_fit_finds_today():
    assert list(CALIBRATED) == list(BOARDS)
    for board, constants in CALIBRATED.items():
        for name in NAMES:
            kept, fitted = getattr(constants, name), getattr(BOARDS[board].constants, name)
            for end in ("value", "low", "high"):
                assert getattr(kept, end) == pytest.approx(getattr(fitted, end), rel=1e-6), (board, name, end)
    rows = [{name: str(cell) for name, cell in row.items()} for row in constant_rows()]
    names = [name for name in rows[0] if name not in ("value", "low", "high")]
    assert [[row[name] for name in names] for row in rows] == [
        [row[name] for name in names] for row in data.raw_rows("constants")
    ], "run python -m bytebill.trials.scoreboard"


def test_moving_a_predicted_point_moves_no_constant(monkeypatch):
    before = BOARDS["trtllm-h100"].constants
    original = data.rows

    def moved(name):
        rows = original(name)
        for row in rows:
            if name == "published_serving" and row["concurrency"] in (16, 128):
                row["value"] *= 2
        return rows

    monkeypatch.setattr(data, "rows", moved)
    after = trtllm_h100()
    assert after.constants == before
    assert mean_error(after.scores) > 3 * mean_error(BOARDS["trtllm-h100"].scores)


def test_the_choice_of_points_does_not_make_the_result():
    users = [f"c={n} tp=1" for n in (8, 16, 32, 64, 128)]
    errors = [mean_error(trtllm_h100(pair).scores) for pair in combinations(users, 2)]
    assert max(errors) < 0.15
    gpus = [mean_error(trtllm_h100(gpus=f"c=64 tp={n} rate").scores) for n in (2, 4, 8)]
    assert max(gpus) < 0.20
    assert mean_error(vllm_v0_h100(overhead="step_s").scores) < 0.10


def test_every_constant_and_every_prediction_has_a_physical_range():
    for board in BOARDS.values():
        for name, (low, high) in BOUNDS.items():
            estimate = getattr(board.constants, name)
            assert estimate.low <= estimate.value <= estimate.high
            assert low <= estimate.low or estimate.low == 0
            assert estimate.high <= high or name == "link_bytes_per_s"
        for score in board.scores:
            assert score.low_s <= score.predicted_s <= score.high_s
    inside = [score.in_range for board in BOARDS.values() for score in board.scores if not score.calibrated]
    assert 0.8 < fmean(inside) < 1  # the quantized kernels are outside, and shown


def test_low_bit_kernels_are_the_honest_failure():
    """Fewer bytes are not proportionally less time: the clock says 1.8x from int8, gpt-fast measured 1.5x."""
    scores = {score.name: score for score in BOARDS["gpt-fast-a100"].scores}
    assert scores["llama-2-7b int4 tp=1"].error < scores["llama-2-7b int8 tp=1"].error < -0.1
    assert not scores["llama-2-7b int4 tp=1"].in_range


def test_the_prefill_share_is_what_a_decode_only_roofline_lacks():
    """Published reading of the same points: 10.89 ms of decode alone at 128 users, 14.78 with prefills."""
    point = next(point for point in serving_points() if point.name == "c=128 tp=1")
    assert 1e3 * point.predict(Constants()) == pytest.approx(14.78, rel=0.05)
    assert point.error(Constants()) < -0.2


def test_calibration_finds_what_made_the_points():
    true = Constants.exact(bandwidth_share=0.72, flops_share=0.61, step_s=2e-3, sequence_s=3e-5)
    names = ("bandwidth_share", "flops_share", "step_s", "sequence_s")
    made = [
        Observation(name=point.name, measured=point.predict(true), predict=point.predict)
        for point in (*serving_points()[:5], *gemm_points("h100-sxm"))
    ]
    found = calibrate(made, start=Constants.exact(bandwidth_share=0.9, flops_share=0.9), free=names)
    for name in names:
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(true.values()[name], rel=0.03)
        assert estimate.low <= true.values()[name] <= estimate.high
    assert max(abs(point.error(found)) for point in made) < NOISE


def test_what_no_point_speaks_of_stays_where_it_was_with_the_whole_range():
    found = calibrate(
        gemm_points("h100-sxm"), start=Constants.exact(step_s=1e-3), free=["bandwidth_share", "flops_share", "step_s"]
    )
    assert found.step_s.value == pytest.approx(1e-3)
    assert (found.step_s.low, found.step_s.high) == pytest.approx(BOUNDS["step_s"])


def test_a_bound_is_kept_where_points_ask_for_the_impossible():
    fast = [Observation(name="too fast", measured=0.5, predict=lambda c: 1 / c.bandwidth_share.value)]
    assert calibrate(fast, start=Constants(), free=["bandwidth_share"]).bandwidth_share.value == 1.0


def test_unknown_names_are_told():
    with pytest.raises(BytebillError, match="no constant 'bandwith_share'; nearest: bandwidth_share"):
        calibrate(gemm_points("h100-sxm"), start=Constants(), free=["bandwith_share"])
    with pytest.raises(BytebillError, match="no scoreboard 'trtllm'"):
        calibrated_constants("trtllm")
    with pytest.raises(BytebillError, match="no published point 'c=7 tp=1'"):
        trtllm_h100(("c=7 tp=1",))
    with pytest.raises(BytebillError, match="no predicted point"):
        mean_error([])


def test_there_are_at_most_six_constants():
    assert len(NAMES) == len(Constants().values()) <= 6
    assert set(BOUNDS) == set(NAMES)


@pytest.mark.parametrize("n_users", [8, 16, 32, 64, 128])
def test_the_simulator_agrees_with_the_closed_form_and_with_what_was_measured(n_users):
    """The same closed loop served by a scheduler: the first requests' ends are spread, the rest are counted."""
    group = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    clock = Clock(group, calibrated_constants("trtllm-h100"))
    shorter = [max(2, 512 * (i + 1) // n_users) for i in range(n_users)]
    requests = (
        Request(id=i, n_input_tokens=1024, n_output_tokens=(shorter[i] if i < n_users else 512))
        for i in range(5 * n_users)
    )
    scheduler = ContinuousScheduler(Paged(n_blocks=25_000), max_batch_size=n_users, token_budget=8192)
    run = simulate(scheduler, requests, clock, concurrency=n_users)
    closed = SteadyState(clock=clock, concurrency=n_users, n_input_tokens=1024, n_output_tokens=512)
    tpot = fmean(run.metrics.tpot_s[n_users : 4 * n_users])
    assert tpot == pytest.approx(closed.tpot_s, rel=0.05)
    measured = {point.name: point.measured for point in serving_points()}[f"c={n_users} tp=1"]
    assert tpot == pytest.approx(measured, rel=0.20)
