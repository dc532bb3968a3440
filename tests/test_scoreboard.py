"""The clock against what others measured: the promised error, on points that no constant has seen."""

from __future__ import annotations

import re
from dataclasses import replace
from math import hypot
from statistics import fmean, median

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
from bytebill.sim.constants import CALIBRATED, NAMES, ROUTED, Constants, calibrated_constants
from bytebill.sim.server import simulate
from bytebill.sim.steady import SteadyState
from bytebill.trials.fit import BOUNDS, NOISE, Observation, calibrate
from bytebill.trials.kernels import device_constants, routed_layers
from bytebill.trials.published import served_points
from bytebill.trials.scoreboard import constant_rows, mean_error, scoreboard, served, vllm_v0

BOARDS = {board.name: board for board in scoreboard()}
PREDICTED = {name: [score for score in board.scores if not score.calibrated] for name, board in BOARDS.items()}


@pytest.mark.parametrize("program", BOARDS)
def test_what_was_predicted_is_within_a_tenth(program):
    errors = [abs(score.error) for score in PREDICTED[program]]
    assert mean_error(BOARDS[program].scores) < 0.10
    assert median(errors) < 0.10


def test_each_regime_is_predicted_within_a_seventh():
    for tp in (1, 2, 4, 8):
        assert fmean(abs(s.error) for s in PREDICTED["trtllm"] if f"tp={tp} " in s.name) < 0.14, tp
    for users in (8, 16, 32, 64):
        assert fmean(abs(s.error) for s in PREDICTED["trtllm"] if f"c={users} " in s.name) < 0.10, users


def test_no_point_is_calibrated_on_and_scored():
    for board in BOARDS.values():
        seen = [score for score in board.scores if score.calibrated]
        assert 2 <= len(seen) <= len(board.scores) / 2
        assert mean_error(board.scores) == fmean(abs(s.error) for s in board.scores if not s.calibrated)
    assert [score.name for score in BOARDS["vllm-v0"].scores if score.calibrated] == [
        "opt-1.3b cap=1",
        "opt-1.3b cap=256",
    ]


def test_the_constants_on_file_are_those_that_a_fit_finds_today():
    assert list(CALIBRATED) == ["nodes", *device_constants(), *BOARDS]
    for found, row in zip(constant_rows(), data.rows("constants"), strict=True):
        for end in ("value", "low", "high"):
            assert row[end] == pytest.approx(found[end], rel=1e-6), (row["owner"], row["quantity"], end)
        same = [name for name in found if name not in ("value", "low", "high", "as_of")]
        assert [row[name] or "" for name in same] == [found[name] for name in same], (
            "run python -m bytebill.trials.scoreboard"
        )


def test_moving_a_predicted_point_moves_no_constant(monkeypatch):
    before = BOARDS["vllm"].constants
    original = data.rows

    def moved(name):
        rows = original(name)
        for row in rows:
            if name == "serving_calibration" and row["n_input_tokens"] == 4096:
                row["tpot_ms"] *= 2
        return rows

    monkeypatch.setattr(data, "rows", moved)
    after = served("vllm")
    assert replace(after.constants, error=0) == replace(before, error=0)
    assert mean_error(after.scores) > 3 * mean_error(BOARDS["vllm"].scores)


def test_the_choice_of_points_does_not_make_the_result():
    for seen in (r"tp=1 .*/128", r"tp=1 .*/256", r"tp=2 .*/512"):
        assert mean_error(served("trtllm", re.compile(f".*{seen}").fullmatch).scores) < 0.12
    assert mean_error(served("vllm", re.compile(".*4096/128").fullmatch).scores) < 0.12
    assert mean_error(vllm_v0(overhead="step_s").scores) < 0.10


def test_every_constant_and_every_prediction_has_a_physical_range():
    for board in BOARDS.values():
        for name, (low, high) in BOUNDS.items():
            estimate = getattr(board.constants, name)
            assert estimate.low <= estimate.value <= estimate.high
            assert low <= estimate.low or estimate.low == 0
            assert estimate.high <= high or name == "link_bytes_per_s"
        for score in board.scores:
            assert score.low_s < score.predicted_s < score.high_s
    inside = [score.in_range for scores in PREDICTED.values() for score in scores]
    assert 0.7 <= fmean(inside) <= 0.9  # as a range of eighty percent should


def test_low_bit_kernels_are_the_honest_failure():
    """Fewer bytes are not proportionally less time: gpt-fast's int4 kernel must unpack what it reads."""
    scores = {score.name: score for score in BOARDS["gpt-fast"].scores}
    assert scores["llama-2-7b int4 tp=1"].error < -0.1
    assert scores["llama-2-7b int4 tp=1"].error < scores["llama-2-7b bf16 tp=2"].error


def test_the_prefill_share_is_what_a_decode_only_roofline_lacks():
    """Published reading of the same points: 10.89 ms of decode alone at 128 users, 14.78 with prefills."""
    point = next(each for each in served_points("trtllm") if each.name == "llama-3-8b tp=1 c=128 1024/512")
    assert 1e3 * point.predict(Constants()) == pytest.approx(14.78, rel=0.05)
    assert point.error(Constants()) < -0.2


def test_constants_of_a_device_are_what_its_kernels_reach():
    """By hand, out of the table: the largest product of one token, and all-reduces of the smallest message."""
    rows = [row for row in data.rows("kernel_gemm") if row["device_id"] == "h100-sxm"]
    best = max(
        2 * (r["n_out"] * r["n_in"] + r["n_tokens"] * (r["n_in"] + r["n_out"])) / (r["time_us"] * 1e-6) / 3.35e12
        for r in rows
        if r["dtype"] == "bf16" and r["n_tokens"] <= 64
    )
    h100 = CALIBRATED["h100-sxm"]
    assert h100.bandwidth_share.value == pytest.approx(best)
    small = [
        row["time_us"] * 1e-6
        for row in data.rows("kernel_all_reduce")
        if row["device_id"] == "h100-sxm" and row["message_bytes"] <= 2**14
    ]
    assert min(small) < h100.all_reduce_s.value < fmean(small)
    assert h100.of("flops_share", "fp8") < h100.of("flops_share", "bf16")  # narrower units are harder to feed
    assert h100.routed_share_of("bf16") < 0.6 * h100.of("flops_share", "bf16")


def test_a_layer_of_experts_is_read_back_from_its_constants():
    """A measured layer that went into the fit lies near what the constants say of it."""
    h100, routed = device_constants()["h100-sxm"], routed_layers("vllm")
    rows = [
        r for r in data.rows("kernel_moe") if (r["program"], r["device_id"], r["dtype"]) == ("vllm", "h100-sxm", "bf16")
    ]
    errors = []
    for r in rows:
        if r["routing"] == "balanced" or r["n_experts"] < 100:
            continue
        k, n, m = r["n_experts_per_token"], r["n_experts"], r["n_tokens"]
        values = 3 * r["d_model"] * r["d_ff_expert"]
        read_s = n * (1 - (1 - k / n) ** m) * values * 2 / (3.35e12 * h100.bandwidth_share.value)
        multiply_s = 2 * m * k * values / (989.4e12 * h100.routed_share_of("bf16"))
        errors.append((routed["bf16"].value + hypot(read_s, multiply_s)) / (r["time_us"] * 1e-6) - 1)
    assert len(errors) == 14 and fmean(map(abs, errors)) < 0.20
    assert ROUTED in {dtype for _, dtype, _ in h100.by_kind}


def test_a_device_without_measured_kernels_takes_the_middle_and_the_whole_range():
    found, known = calibrated_constants("vllm", "mi300x"), device_constants()
    assert found.bandwidth_share == known["other"].bandwidth_share
    assert found.bandwidth_share.low == min(each.bandwidth_share.low for each in known.values())
    assert found.layer_s == CALIBRATED["vllm"].layer_s


def test_calibration_finds_what_made_the_points():
    true = Constants.exact(bandwidth_share=0.72, flops_share=0.61, step_s=2e-3, sequence_s=3e-5)
    names = ("bandwidth_share", "flops_share", "step_s", "sequence_s")
    made = [
        Observation(name=point.name, measured=point.predict(true), predict=point.predict)
        for point in [each for each in served_points("trtllm") if "tp=1 " in each.name]
    ]
    found = calibrate(made, start=Constants.exact(bandwidth_share=0.9, flops_share=0.9), free=names)
    for name in names:
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(true.values()[name], rel=0.03)
        assert estimate.low <= true.values()[name] <= estimate.high
    assert max(abs(point.error(found)) for point in made) < NOISE


def test_what_no_point_speaks_of_stays_where_it_was_with_the_whole_range():
    alone = [each for each in served_points("trtllm") if "tp=1 " in each.name]
    start = Constants.exact(all_reduce_s=1e-5, layer_s=1e-5)
    found = calibrate(alone, start=start, free=["layer_s", "all_reduce_s"])
    assert found.all_reduce_s.value == pytest.approx(1e-5)
    assert (found.all_reduce_s.low, found.all_reduce_s.high) == pytest.approx(BOUNDS["all_reduce_s"])


def test_a_bound_is_kept_where_points_ask_for_the_impossible():
    fast = [Observation(name="too fast", measured=0.5, predict=lambda c: 1 / c.bandwidth_share.value)]
    assert calibrate(fast, start=Constants(), free=["bandwidth_share"]).bandwidth_share.value == 1.0


def test_unknown_names_are_told():
    with pytest.raises(BytebillError, match="no constant 'bandwith_share'; nearest: bandwidth_share"):
        calibrate(served_points("vllm"), start=Constants(), free=["bandwith_share"])
    with pytest.raises(BytebillError, match="no calibrated device or program 'vlm'; nearest: vllm"):
        calibrated_constants("vlm", "h100-sxm")
    with pytest.raises(BytebillError, match="no predicted point"):
        mean_error([])


def test_there_are_at_most_eight_constants():
    assert len(NAMES) == len(Constants().values()) <= 8
    assert set(BOUNDS) == set(NAMES)


@pytest.mark.parametrize("n_users", [8, 16, 32, 64, 128])
def test_the_simulator_agrees_with_the_closed_form_and_with_what_was_measured(n_users):
    """The same closed loop served by a scheduler: the first requests' ends are spread, the rest are counted."""
    group = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    clock = Clock(group, calibrated_constants("trtllm", "h100-sxm"))
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
    measured = {point.name: point.measured for point in served_points("trtllm")}[
        f"llama-3-8b tp=1 c={n_users} 1024/512"
    ]
    assert tpot == pytest.approx(measured, rel=0.20)
