"""A form is read as a case, and what it cannot mean is one sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
import yaml
from typer.testing import CliRunner

from bytebill.cli import app
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.statement import as_json, form, statement
from bytebill.statement.form import CASE_FIELDS, EXAMPLE, NEEDED, Form
from statement_cases import CHAT, VLLM

FORM = {
    "model": "llama-3-70b",
    "accelerator": "h100-sxm",
    "devices": 4,
    "weights": "bf16",
    "n_input_tokens": 1155,
    "n_output_tokens": 211,
    "requests_per_s": 10,
    "ttft_slo_s": 2,
    "tpot_slo_s": 0.05,
    "usd_per_device_hour": 3.0,
}


def test_a_form_says_what_a_case_says_and_finds_its_fill_anew_for_other_limits():
    form = Form.read({**FORM, "fill": 0.5})
    assert form.case == replace(
        CHAT, name=form.case.name, program="vllm", requests_per_s=10, peak_over_mean=1.0, fill=0.5
    )
    assert form.filled() is form.case
    auto = Form.read(FORM)
    strict = auto.filled(n_requests=300)
    loose = auto.filled(replace(auto.case, tpot_slo_s=0.2, ttft_slo_s=20.0), n_requests=300)
    assert 0 < strict.fill < loose.fill <= 1
    assert as_json(auto.statement(n_requests=300))["fill"] == strict.fill


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"modle": "x"}, "nearest: model"),
        ({"model": "llama-3-71b"}, "There is no model"),
        ({"devices": 3}, "split evenly"),
        ({"devices": 1, "fill": 0.5}, "take 4 devices"),
        ({"tpot_slo_s": 0}, "A limit is a time above zero"),
        ({"requests_per_s": "many"}, "requests_per_s is a number"),
        ({"requests_per_s": True}, "requests_per_s is a number"),
        ({"n_input_tokens": 1.5}, "whole number"),
        ({"n_input_tokens": float("nan")}, "is a number"),
        ({"usd_per_device_hour": -3}, "A rent is positive"),
        ({"fill": 0}, "Utilization is a share above 0"),
        ({"fill": 1.5}, "Utilization is a share above 0"),
        ({"lengths": "azure"}, "There is no trace"),
        ({"rentals": "spot"}, "Rentals are a list"),
        ({"rentals": [{"terms": "spot"}]}, "A rental needs replicas"),
        ({"rentals": [{"terms": "spot", "replicas": 1, "usd_per_device_hour": 1, "lost": 1}]}, "lost for a share"),
        ({"hours_per_day": 8, "fill": 0.5}, "peak of 3.00 times"),
        ({"n_hidden_tokens": 211}, "of which a user sees one"),
        ({"ttft_slo_s": 0.105, "attainment": 1.0}, "of answers within the limits"),
        ({"usd_per_device_hour": None}, "A case needs usd_per_device_hour"),
        ({"requests_per_s": 10**400}, "requests_per_s is a number"),
        ({"peak_over_mean": inf}, "peak_over_mean is a number"),
        ({"requests_per_s": 1e9, "fill": 1}, "no fleet has more than 1,000,000"),
        ({"staff_usd_per_month": -1}, "Staff costs nothing or more"),
        ({"idle_usd_per_device_hour": 3.5}, "up to the least rent"),
        ({"reserved_tokens": 1000}, "promised slots for its 1,366 tokens"),
        ({"n_input_tokens": 8000, "fill": 1}, "longer than the 8,192 that Llama-3-70B"),
        ({"hit_rate": 0.9, "prefix_gap_s": 1e6}, "a shorter prefix_gap_s"),
        ({"rentals": [{"terms": "spot", "replicas": 1, "usd_per_device_hour": 1, "lost": "half"}]}, "lost is a number"),
        ({"accelerator": 100}, "a name or a device"),
        ({"accelerator": {"name": "Mine"}}, "A device needs memory_gb, bandwidth_gb_per_s, tflops too"),
    ],
)
def test_a_form_that_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(BytebillError, match=sentence):
        Form.read({**FORM, **changes}).statement(n_requests=200)


def test_the_example_has_every_field_and_its_second_half_the_defaults():
    example = yaml.safe_load(EXAMPLE)
    assert {*example, "name"} == {*CASE_FIELDS}
    first = yaml.safe_load(EXAMPLE.partition("\n\n")[0])
    assert {*NEEDED} <= {*first} < {*example} and Form.read(first) == Form.read(example)


def test_a_device_of_ones_own_is_priced_as_the_same_on_file():
    card = accelerator("mi300x")
    own = {
        "name": card.name,
        "vendor": card.vendor,
        "memory_gb": card.driver_bytes / 1e9,
        "bandwidth_gb_per_s": card.bandwidth_bytes_per_s / 1e9,
        "tflops": {dtype: rate / 1e12 for dtype, rate in card.peak_flops_per_s.items()},
    }
    on_file, described = (Form.read({**FORM, "accelerator": by, "fill": 1}).statement() for by in (card.id, own))
    assert described.invoice == on_file.invoice and described.tpot_s == pytest.approx(on_file.tpot_s)


@pytest.mark.parametrize("changes", [{}, {"n_draft_tokens": 3}, {"hit_rate": 0.5, "prefix_gap_s": 5}])
def test_a_bill_never_falls_with_stricter_limits_where_the_fill_is_simulated(changes):
    """Other draws leave other fills; the same draws never leave stricter limits more, nor a draft all of a replica."""
    form, needed = Form.read({**FORM, **changes}), []
    for times in (2, 1.2, 1.1, 1.05, 1, 0.95, 0.9, 0.6, 0.4):
        there = replace(form.case, ttft_slo_s=2 * times, tpot_slo_s=0.05 * times)
        with suppress(BytebillError):
            needed.append(statement(form.filled(there, n_requests=100, seeds=(0, 1))).needed)
    assert all(late >= soon * (1 - 1e-9) for soon, late in pairwise(needed)) and len(needed) >= 8
    asked = replace(form.case, requests_per_s=40, usd_per_device_hour=9.0)
    assert form.filled(asked, n_requests=100).fill == form.filled(n_requests=100).fill  # belongs to limits alone


def test_the_command_prints_the_page_and_the_same_numbers_as_json(tmp_path):
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump({**FORM, "fill": 0.5, "min_replicas": 3, "name": "a | b"}))
    page, numbers = (CliRunner().invoke(app, ["price", "--case", str(path), *how]).stdout for how in ([], ["--json"]))
    found = json.loads(numbers)
    assert f"| Bill | USD {found['usd_per_month']:,.0f} a month," in page and found["replicas"] >= 3
    assert sum(found["invoice_usd_per_month"].values()) == pytest.approx(found["usd_per_month"])
    assert CliRunner().invoke(app, ["price"]).stdout == EXAMPLE


@pytest.mark.parametrize("asked", [None, [], "model: x", 3])
def test_what_is_no_form_is_refused(asked):
    with pytest.raises(BytebillError, match="gives fields their values"):
        Form.read(asked)


def test_a_program_of_ones_own_is_priced_on_a_device_on_file_and_on_a_described_one(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"like": "sglang", "step_s": 0.02, "request_s": 0.5}))
    card = {"name": "Mine", "memory_gb": 85, "bandwidth_gb_per_s": 3350, "tflops": {"bf16": 989}}
    for device in ("h100-sxm", card):
        asked = FORM | {"accelerator": device, "fill": 0.5, "ttft_slo_s": None, "tpot_slo_s": None}
        mine, plain = (Form.read(asked | {"program": name}).case for name in (str(path), "sglang"))
        assert mine.program == "sglang" and mine.constants.step_s.value == 0.02 > plain.constants.step_s.value
        added_s = 0.02 - plain.constants.step_s.value
        assert mine.tpot_s(8) - plain.tpot_s(8) >= added_s * 0.99
    path.write_text(json.dumps({"policy": {"n_slots": 4}}))
    with pytest.raises(BytebillError, match="names a policy, which no bill reads"):
        Form.read(FORM | {"program": str(path)})


@pytest.mark.parametrize("limits", [{}, {"max_batch_size": 8, "tpot_slo_s": 0.2}])
def test_a_fill_is_sought_at_the_limits_of_a_server_that_is_as_fast_as_its_clock(monkeypatch, limits):
    """A server twice as fast is simulated at its clock's pace: at twice the TPOT, and its TTFT later by as much."""
    asked = {}
    monkeypatch.setattr(form, "usable_share", lambda *_, **given: asked.update(given) or 0.5)
    fast = replace(CHAT, program="vllm", speed=2.0, **limits)
    share = form.usable_of(fast, "azure-conv")
    plain, free = replace(fast, speed=1.0), replace(fast, ttft_slo_s=inf, tpot_slo_s=inf)
    assert share == pytest.approx(0.5 * statement(free).capacity_per_s / statement(fast).capacity_per_s)
    assert asked["tpot_s"] == pytest.approx(2 * fast.tpot_slo_s)
    assert asked["ttft_s"] == pytest.approx(2 + plain.ttft_s(1) - fast.ttft_s(1))
    assert asked["n_slots"] == min(fast.max_batch_size, fast.memory_batch)


CARD = {"name": "Mine", "memory_gb": 85, "bandwidth_gb_per_s": 3350, "tflops": {"bf16": 989}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"requests_per_s": "auto"}, "The field requests_per_s is a number, not 'auto'"),
        ({"refills": 1}, "The field refills is true or false, not 1"),
        ({"program": 3}, "The field program is a name, not 3"),
        ({"rentals": [3]}, "A rental gives terms, replicas, usd_per_device_hour"),
        ({"rentals": [{"terms": "spot", "price": 1}]}, "There is no field of a rental 'price'"),
        ({"accelerator": CARD | {"tflops": 989}}, "The field tflops gives dense rates"),
        ({"accelerator": CARD | {"tflops": {"bf61": 1}}}, "There is no dtype 'bf61'"),
        ({"accelerator": CARD | {"tflops": {"bf16": "many"}}}, "The field tflops is a number"),
        ({"accelerator": CARD | {"colour": "red"}}, "There is no field of a device 'colour'"),
        ({"accelerator": CARD | {"vendor": "AMD"}, "program": "trtllm"}, "not on AMD's"),
        ({"n_output_tokens": 1e12}, "The field n_output_tokens is a whole number"),
        ({"requests_per_s": inf}, "The field requests_per_s is a number"),
        ({"n_input_tokens": None, "n_output_tokens": None}, "A case needs n_input_tokens, n_output_tokens too"),
    ],
)
def test_a_field_that_is_of_another_kind_is_named(changes, sentence):
    with pytest.raises(BytebillError, match=sentence):
        Form.read(FORM | changes)


def test_what_a_form_leaves_out_is_as_its_example_says():
    plain = Form.read(FORM)
    assert (plain.lengths, plain.attainment, plain.case.name) == ("azure-conv", 0.99, "Llama-3-70B on H100 SXM5")
    assert (plain.case.program, plain.case.fill, plain.case.rentals) == ("vllm", 1.0, ())
    free = Form.read(FORM | {"ttft_slo_s": None, "tpot_slo_s": inf, "step_tokens": None, "spare_replicas": None}).case
    assert (free.ttft_slo_s, free.tpot_slo_s, free.step_tokens, free.spare_replicas) == (inf, inf, None, 0)
    asked = Form.read(FORM | {"lengths": "azure-code", "attainment": 0.9, "name": "x", "fill": "auto"})
    assert (asked.lengths, asked.attainment, asked.case.name) == ("azure-code", 0.9, "x")
    assert Form.read(FORM | {"accelerator": CARD, "program": "trtllm"}).case.deployment.accelerator.vendor == ""
    with pytest.raises(BytebillError, match="a fill is found for a program"):
        form.usable_of(CHAT, "azure-conv")


def test_a_fill_is_sought_for_what_a_cache_has_not_and_without_drafts(monkeypatch):
    asked = {}
    monkeypatch.setattr(form, "usable_share", lambda group, **given: asked.update(given, group=group) or 0.9)
    case = replace(CHAT, program="vllm", hit_rate=0.5, n_draft_tokens=3, acceptance_rate=0.9, step_tokens=2048)
    share = form.usable_of(case, "azure-code", attainment=0.95)
    plain = replace(CHAT, program="vllm", n_input_tokens=578, step_tokens=2048, ttft_slo_s=inf, tpot_slo_s=inf)
    plain = replace(plain, max_batch_size=case.memory_batch)
    assert asked["capacity_per_s"] == pytest.approx(statement(plain).capacity_per_s)
    told = {"program_id": "vllm", "constants": VLLM, "n_input_tokens": 578, "n_output_tokens": 211}
    told |= {"trace_id": "azure-code", "attainment": 0.95, "step_tokens": 2048, "n_slots": case.memory_batch}
    assert {name: asked[name] for name in told} == told and asked["group"] == plain.served
    free = statement(replace(case, ttft_slo_s=inf, tpot_slo_s=inf))
    assert share == pytest.approx(min(1.0, 0.9 * free.capacity_per_s / statement(case).capacity_per_s))


@pytest.mark.parametrize("between", [0.0, 0.25, 0.75])
def test_a_limit_on_drafted_tokens_is_the_plain_one_at_the_same_batch(between):
    plain = replace(CHAT, tpot_slo_s=inf)
    at_s, next_s = (replace(CHAT, n_draft_tokens=3).tpot_s(n) for n in (8, 9))
    case = replace(CHAT, n_draft_tokens=3, tpot_slo_s=at_s + between * (next_s - at_s))
    there = plain.tpot_s(8) + between * (plain.tpot_s(9) - plain.tpot_s(8))
    assert form._tpot_of_same_batch_s(case, plain) == pytest.approx(there)
    few = replace(plain, max_batch_size=8)
    beyond = replace(case, tpot_slo_s=1.5 * at_s)
    assert form._tpot_of_same_batch_s(beyond, few) == pytest.approx(1.5 * plain.tpot_s(8))
