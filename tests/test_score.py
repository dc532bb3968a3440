"""The clock against a table of anybody's: rows, errors, ranges, and what cannot be predicted."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from math import exp, hypot, log
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bytebill import data
from bytebill.cli import app
from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, accelerator
from bytebill.models import MODELS, PUBLISHED, find, model, precision
from bytebill.programs import program
from bytebill.roofline import Chunk, Load, step_time_bounds
from bytebill.serving import Policy
from bytebill.sim import IDEAL, Clock, ClosedLoop, SteadyState
from bytebill.sim.closed_loop import POLICIES
from bytebill.sim.constants import Constants, Estimate, calibrated_constants
from bytebill.sim.own_program import own_program
from bytebill.statement.form import Form
from bytebill.trials import score

ROW = {
    **{"program": "vllm", "model": "llama-3.1-8b", "accelerator": "h100-sxm", "n_devices": 1, "weights": "bf16"},
    **{"kv": "bf16", "concurrency": 8, "n_input_tokens": 1024, "n_output_tokens": 256, "tpot_ms": 8.0},
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        table.writeheader()
        table.writerows(rows)
    return path


def scored(tmp_path: Path, *changes: dict[str, Any]) -> list[score.ServedRow]:
    return score.score(written(tmp_path / "rows.csv", [{**ROW, **change} for change in changes]))


# ---- what it is for


def test_the_rows_that_were_calibrated_on_come_back_close(tmp_path: Path) -> None:
    rows = [
        {
            **{name: row[name] for name in ("program", "n_devices", "concurrency", "n_input_tokens")},
            **{name: row[name] for name in ("n_output_tokens", "tpot_ms", "weights", "synchronised")},
            **{"model": row["model_id"], "accelerator": row["device_id"], "kv": "bf16"},
        }
        for row in data.rows("serving_calibration")
    ]
    found = score.score(written(tmp_path / "calibration.csv", rows))
    errors = score.errors_by_group(found)
    assert errors["n"] == len(rows) and errors["n_not_predicted"] == 0
    assert errors["tpot_mean_abs_error"] < 0.08
    for each in errors["by_program"].values():
        assert each["tpot_mean_abs_error"] < 0.08


def test_rows_that_nothing_was_calibrated_on_are_predicted_within_their_ranges() -> None:
    found = score.score(data.root() / "published_inferencex.csv")
    errors = score.errors_by_group(found)
    assert errors["n"] == 12
    assert errors["tpot_mean_abs_error"] < 0.10 and errors["ttft_mean_abs_error"] < 0.20
    assert 0.7 <= errors["share_in_range"] <= 0.9
    assert errors["by_model"]["llama-3.1-70b"]["tpot_mean_abs_error"] < 0.10
    assert errors["by_accelerator"]["b200"]["tpot_mean_abs_error"] < 0.10
    assert errors["by_model"]["deepseek-v3.1"]["tpot_mean_abs_error"] < 0.18


def test_the_bare_roofline_would_not_have_done(tmp_path: Path) -> None:
    """The same rows without any constant: what the clock adds to the roofline is what makes it useful."""
    errors = []
    for row in score.score(data.root() / "published_inferencex.csv"):
        if row.tpot_error is None:
            continue
        spec, stored = find(row.cells["model"])
        width = stored if row.cells["weights"] == "auto" else precision(row.cells["weights"])
        card = accelerator(row.cells["accelerator"])
        group = Deployment(model=spec, accelerator=card, precision=width, n_devices=row.cells["n_devices"])
        loop = {name: row.cells[name] for name in ("concurrency", "n_input_tokens", "n_output_tokens")}
        bare = SteadyState(clock=Clock(group, IDEAL), **loop)
        errors.append(bare.tpot_s * 1e3 / row.cells["tpot_ms"] - 1)
    assert fmean(errors) < -0.3


# ---- JSON and bad input


def test_the_command_prints_rows_and_a_summary(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", [{**ROW, "note": "mine"}, {**ROW, "model": "llama-9"}])
    done = CliRunner().invoke(app, ["score", str(path), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    good, bad = found["rows"]
    assert good["note"] == "mine" and good["tpot_low_ms"] < good["tpot_pred_ms"] < good["tpot_high_ms"]
    assert good["ttft_pred_ms"] > 0 and "reason" not in good
    assert bad["tpot_pred_ms"] is None and "There is no model 'llama-9'" in bad["reason"]
    assert found["summary"]["n_rows"] == 2 and found["summary"]["n_not_predicted"] == 1
    text = CliRunner().invoke(app, ["score", str(path)]).stdout
    assert "by accelerator" in text and "not predicted, and in no number above: 1 of " in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"program": "vlm"}, "no program 'vlm'; nearest: vllm"),
        ({"accelerator": "h100"}, "no accelerator 'h100'"),
        ({"n_devices": 0}, "n_devices is '0', not a whole number"),
        ({"n_devices": "two"}, "n_devices is 'two'"),
        ({"n_devices": 3}, "split evenly"),
        ({"concurrency": 1.5}, "concurrency is '1.5'"),
        ({"concurrency": ""}, "concurrency is ''"),
        ({"weights": "fp3"}, "no format of weights 'fp3'"),
        ({"kv": "int4"}, "no format of the cache 'int4'"),
        ({"length_spread": 2}, "length_spread is '2'"),
        ({"length_spread": 1}, "Lengths spread over a share"),
        ({"model": "llama-3.1-405b"}, "hold no user"),
        ({"model": "no.json"}, "no.json"),
        ({"program": "no.json"}, "no.json"),
        ({"n_output_tokens": 1}, "at least two output tokens"),
        ({"n_input_tokens": 10**9}, "hold no user"),
        ({"n_input_tokens": 10**30}, "not a whole number"),
        ({"concurrency": "1" + "0" * 400}, "not a whole number"),
        ({"concurrency": "²"}, "not a whole number"),
        ({"concurrency": "1_0"}, "not a whole number"),
        ({"tpot_ms": "nan"}, "tpot_ms is 'nan'"),
        ({"tpot_ms": -5}, "tpot_ms is '-5'"),
        ({"tpot_ms": "5e-324"}, "tpot_ms is '5e-324'"),
        ({"tpot_ms": ""}, "neither a tpot_ms nor a ttft_ms"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why_and_stops_nothing(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    bad, good = scored(tmp_path, change, {})
    assert bad.reason is not None and sentence in bad.reason and "\n" not in bad.reason
    assert bad.tpot_pred_ms is None and good.tpot_pred_ms is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "has no column program"),
        (b"program,model\nvllm,llama\n", "has no column accelerator"),
        (b"\xff\xfe\x00", "cannot be read"),
        ((",".join(score.SERVED_COLUMNS) + "\n").encode(), "no row under its header"),
        ((",".join((*score.SERVED_COLUMNS, "tpot_ms")) + "\n").encode(), "has a column twice"),
        ((",".join(score.SERVED_COLUMNS) + "\n" + "1," * 10 + "5\n").encode(), "line 2 has not as many cells"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(tmp_path: Path, text: bytes, sentence: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(text)
    with pytest.raises(BytebillError, match=sentence):
        score.score(path)


def test_a_program_of_ones_own_is_a_file(tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    own.write_text(json.dumps({"like": "vllm", "layer_s": 1e-3, "policy": {"kind": "continuous"}}))
    slow, usual = scored(tmp_path, {"program": str(own)}, {})
    assert slow.tpot_pred_ms is not None and usual.tpot_pred_ms is not None
    assert slow.tpot_pred_ms - usual.tpot_pred_ms == pytest.approx(32 * (1 - 0.064), rel=0.02)  # 32 layers
    for text in (
        "[]",
        "{",
        json.dumps({"layer": 1}),
        json.dumps({"layer_s": "x"}),
        json.dumps({"policy": {"kind": 3}}),
    ):
        own.write_text(text)
        assert scored(tmp_path, {"program": str(own)})[0].reason


def test_a_policy_of_ones_own_is_scheduled_by_and_no_bill_passes_it_over(tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    own.write_text(json.dumps({"like": "vllm", "policy": {"n_slots": 96, "mixed": None}}))
    assert own_program(own, "h100-sxm").policy == {"n_slots": 96}
    assert scored(tmp_path, {"program": str(own)})[0].tpot_pred_ms == scored(tmp_path, {})[0].tpot_pred_ms
    own.write_text(json.dumps({"like": "vllm", "policy": {"token_budget": 512, "kind": "continuous", "mixed": False}}))
    mine, usual = scored(tmp_path, {"program": str(own)}, {})
    assert mine.tpot_pred_ms != usual.tpot_pred_ms
    asked = {"model": "llama-3.1-8b", "accelerator": "h100-sxm", "n_input_tokens": 500, "n_output_tokens": 100}
    asked |= {"requests_per_s": 0.01, "usd_per_device_hour": 3, "fill": 0.5, "program": str(own)}
    with pytest.raises(BytebillError, match="names a policy, which no bill reads"):
        Form.read(asked)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"kind": "x"}, "kind of scheduler"),
        ({"kind": "static"}, "no static batch"),
        ({"slots": 3}, "no field of policy"),
        ({"n_slots": "3"}, "a whole number"),
        ({"watermark": "3"}, "a number"),
        ({"preemption": 7}, "a text"),
        ({"mixed": "no"}, "true or false"),
        ([1], "an object"),
    ],
)
def test_a_wrong_policy_names_its_file(policy: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"policy": policy}))
    with pytest.raises(BytebillError, match=f"mine.json: .*{said}"):
        own_program(tmp_path / "mine.json", "h100-sxm")


def test_lengths_of_one_token_do_not_spoil_a_summary(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", [{**ROW, "n_output_tokens": 2, "length_spread": 0.9}])
    found = json.loads(CliRunner().invoke(app, ["score", str(path), "--json"]).stdout)
    assert found["summary"]["n"] == 1 and found["rows"][0]["tpot_pred_ms"] > 0


def test_many_rows_come_back_in_their_order(tmp_path: Path) -> None:
    users = [1 + i % 7 for i in range(score.PARALLEL_ROWS + 5)]
    found = scored(tmp_path, *({"concurrency": n} for n in users))
    assert [row.cells["concurrency"] for row in found] == users
    assert len({row.tpot_pred_ms for row in found}) == 7


# ---- laws


def test_a_row_that_was_measured_had_room(tmp_path: Path) -> None:
    """At a default share of the memory the first has no room; the second runs all users if devices share attention."""
    tight, mixture = scored(
        tmp_path,
        {"model": "llama-3.1-70b", "weights": "fp8", "kv": "fp8"},
        {"model": "qwen3-235b-a22b", "n_devices": 8, "n_input_tokens": 100_000, "concurrency": 8},
    )
    assert tight.tpot_pred_ms is not None and mixture.tpot_pred_ms is not None
    loop = score.loop_of({name: str(value) for name, value in {**ROW, **mixture.cells}.items()})
    assert loop.deployment.attention == "tensor"


def test_who_finds_no_room_waits(tmp_path: Path) -> None:
    """Little's law: all users over the rate of answers is how long one takes from asking to the last token."""
    long = {"n_input_tokens": 8000, "n_output_tokens": 1000}
    few, many = scored(tmp_path, {"concurrency": 32, **long}, {"concurrency": 1024, **long})
    assert few.ttft_pred_ms is not None and many.ttft_pred_ms is not None and many.tpot_pred_ms is not None
    assert many.ttft_pred_ms > 100 * few.ttft_pred_ms
    spread = scored(tmp_path, {"concurrency": 1024, "length_spread": 0.06, **long})[0]
    assert spread.ttft_pred_ms == pytest.approx(many.ttft_pred_ms, rel=0.15)


def test_users_who_stay_together_wait_longer_for_a_first_token(tmp_path: Path) -> None:
    apart, together = scored(tmp_path, {"program": "sglang"}, {"program": "sglang", "synchronised": 1})
    assert apart.ttft_pred_ms is not None and together.ttft_pred_ms is not None
    assert together.ttft_pred_ms > 1.5 * apart.ttft_pred_ms


def test_a_spread_of_nothing_is_the_steady_state_and_a_small_one_is_near_it() -> None:
    group = Deployment(model=model("llama-3.1-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    shape = {"concurrency": 32, "n_input_tokens": 512, "n_output_tokens": 256}
    constants = calibrated_constants("vllm", "h100-sxm")
    alike, spread = (
        ClosedLoop(deployment=group, constants=constants, policy=POLICIES["vllm"], length_spread=x, **shape)
        for x in (0.0, 0.2)
    )
    state = SteadyState(clock=Clock(group, constants), **shape)
    assert alike.tpot_s == state.tpot_s and alike.ttft_s == state.first_step_s
    assert spread.tpot_s == pytest.approx(replace(state, n_input_tokens=461, n_output_tokens=230).tpot_s, rel=0.05)


EIGHT_B = Deployment(model=model("llama-3.1-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
WIDE = Constants(
    step_s=Estimate(value=0.01, low=0.01, high=0.03), bandwidth_share=Estimate(value=0.8, low=0.4, high=0.8)
)


def test_users_who_stay_together_prefill_and_decode_in_turn() -> None:
    """Five at once, though the policy seats two: a step of five prompts, then nine of five decodes."""
    clock = Clock(EIGHT_B, WIDE)
    shape = {"concurrency": 5, "n_input_tokens": 50, "n_output_tokens": 10}
    policy = Policy(n_slots=2)
    loop = ClosedLoop(deployment=EIGHT_B, constants=WIDE, policy=policy, synchronised=True, request_s=0.5, **shape)
    decodes_s = sum(clock.step_s(Load(n_decodes=5, n_context_tokens=5 * n)) for n in range(50, 59))
    assert loop.ttft_s == pytest.approx(0.5 + clock.step_s(Load(chunks=(Chunk(context_len=0, n_new_tokens=50),) * 5)))
    assert loop.tpot_s == pytest.approx(decodes_s / 9)


def test_users_who_drift_wait_for_a_step_under_way_and_for_room() -> None:
    """Front end, half a step, those who are served before, the prompt's own step; without a front end no half step."""
    tight = replace(EIGHT_B, reserve=0.7)
    shape = {"n_input_tokens": 4000, "n_output_tokens": 1001}
    n_running = int((80e9 * 0.3 - 2 * tight.model.n_params) / (131_072 * 4500))
    state = SteadyState(clock=Clock(tight, WIDE), concurrency=n_running, **shape)
    served_s = state.first_step_s + 1000 * state.tpot_s
    for users, queue_s in ((n_running, 0.0), (3 * n_running, 2 * served_s)):
        for request_s, half_s in ((0.0, 0.0), (0.25, state.tpot_s / 2)):
            loop = ClosedLoop(deployment=tight, constants=WIDE, concurrency=users, request_s=request_s, **shape)
            assert loop.n_running == n_running and loop.tpot_s == state.tpot_s
            assert loop.ttft_s == pytest.approx(request_s + half_s + queue_s + state.first_step_s)


def test_a_first_round_counts_as_one_of_ten() -> None:
    loop = ClosedLoop(deployment=EIGHT_B, concurrency=1, n_input_tokens=9, n_output_tokens=9)
    assert loop._mean_of_all([6.0, 1.0, 2.0, 8.0, 3.0], [True, False, False, True, False]) == pytest.approx(2.5)


def test_a_range_adds_in_squares_what_each_constant_and_the_program_may_be_off() -> None:
    """Each of the two constants can only make a step slower; the program's error goes both ways."""
    shape = {"concurrency": 4, "n_input_tokens": 400, "n_output_tokens": 50}
    loop = ClosedLoop(deployment=EIGHT_B, constants=replace(WIDE, error=0.1), **shape)
    now_s, dear_s, slow_s = (
        SteadyState(clock=Clock(EIGHT_B, constants), **shape).tpot_s
        for constants in (WIDE, WIDE.moved("step_s", "high"), WIDE.moved("bandwidth_share", "low"))
    )
    low, high = loop.tpot_range_s
    assert low == pytest.approx(now_s * exp(-0.1))
    assert high == pytest.approx(now_s * exp(hypot(log(dear_s / now_s), log(slow_s / now_s), 0.1)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"concurrency": 0}, "has a user"),
        ({"n_input_tokens": 0}, "a token asked"),
        ({"n_output_tokens": 0}, "a token answered"),
        ({"length_spread": 1}, "below 1, not 1"),
        ({"length_spread": -0.1}, "below 1, not -0.1"),
        ({"n_input_tokens": 10**6}, "hold no user of 1,000,001 tokens beside Llama-3.1-8B"),
    ],
)
def test_a_closed_loop_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    least = {"deployment": EIGHT_B, "concurrency": 1, "n_input_tokens": 1, "n_output_tokens": 1}
    assert ClosedLoop(**least).tpot_s > 0
    with pytest.raises(BytebillError, match=said):
        ClosedLoop(**least | wrong)


def test_a_range_holds_the_prediction_and_widens_with_the_programs_error() -> None:
    group = Deployment(model=model("llama-3.1-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    constants = calibrated_constants("vllm", "h100-sxm")
    ends = []
    for error in (0.0, 0.3):
        loop = ClosedLoop(
            deployment=group,
            constants=replace(constants, error=error),
            concurrency=8,
            n_input_tokens=512,
            n_output_tokens=64,
        )
        low, high = loop.tpot_range_s
        assert low < loop.tpot_s < high
        ends.append(high / low)
    assert ends[1] > ends[0] > 1


LIMITS = {"concurrency": st.integers(1, 64), "n_devices": st.sampled_from([1, 2, 4, 8, 16])}


@settings(max_examples=60, deadline=None)
@given(
    id=st.sampled_from([*MODELS, *PUBLISHED]),
    card=st.sampled_from(list(ACCELERATORS)),
    by=st.sampled_from(list(POLICIES)),
    weights=st.sampled_from(["bf16", "fp8", "int4", "mxfp4", "nvfp4"]),
    **LIMITS,
)
def test_no_prediction_anywhere_is_faster_than_the_devices(
    id: str, card: str, by: str, weights: str, concurrency: int, n_devices: int
) -> None:
    """The whole register on every device under every program: a step takes its bytes and its FLOPs at least."""
    group = Deployment(
        model=model(id), accelerator=accelerator(card), precision=precision(weights), n_devices=n_devices
    )
    if group.memory.free_bytes <= 0 or (weights in ("fp8", "mxfp4", "nvfp4") and accelerator(card).vendor != "NVIDIA"):
        return
    clock, load = Clock(group, calibrated_constants(by, card)), Load.decode(batch_size=concurrency, context_len=1000)
    rates = accelerator(card)
    cost = group.step_cost(load)
    peak = max(rates.peak_flops_per_s.values())
    least_s = max(cost.bytes / rates.bandwidth_bytes_per_s, cost.flops / peak) / n_devices
    assert clock.step_s(load) >= least_s
    fewer = clock.step_s(Load.decode(batch_size=concurrency, context_len=500))
    assert fewer <= clock.step_s(load)
    if "bf16" in rates.peak_flops_per_s and weights == "bf16":
        assert clock.step_s(load) >= step_time_bounds(cost, accelerator=rates).max_s / n_devices
    assert program(by).id == by
