"""A deployment's statement keeps its limits, its money adds up, and levers do what they say."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import ceil, exp, inf, nan
from statistics import fmean
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bytebill.cli import app
from bytebill.deployment import Deployment
from bytebill.economics.prices import api_price, rent_of
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, accelerator
from bytebill.memory import Footprint
from bytebill.models import MODELS, PUBLISHED, model, precision
from bytebill.programs import program
from bytebill.roofline import Chunk, Load
from bytebill.serving import Poisson, Slo, Workload
from bytebill.serving.memory.paged import Paged
from bytebill.serving.memory.waste import mean_usage
from bytebill.serving.workload.published import quantile_table, sharegpt_like
from bytebill.sim import usable
from bytebill.sim.closed_loop import REQUEST_S, policy_of
from bytebill.sim.constants import calibrated_constants
from bytebill.sim.own_program import OwnProgram
from bytebill.sim.phase_time import phase_time
from bytebill.sim.server import serve_on
from bytebill.sim.steady import SteadyState
from bytebill.sim.usable import usable_share
from bytebill.statement import (
    HELD_SHARE,
    Case,
    Rental,
    as_json,
    bill,
    fill,
    form,
    markdown,
    offers,
    page,
    statement,
    tornado,
)
from bytebill.statement import answer as answering
from bytebill.statement.answer import answer, answer_text, form_of
from bytebill.statement.bill import Statement
from bytebill.statement.fields import FORM_FIELDS, on_sale, read_fields
from bytebill.statement.form import CASE_FIELDS, EXAMPLE, NEEDED, Form
from bytebill.statement.lever_words import ASSUMES, assumed_by, effect_told, times_told
from bytebill.statement.levers import DOLLARS, Lever, LeverEffect, as_filled, effect, ranked, standard_levers
from bytebill.statement.offers import Offer
from bytebill.statement.reverse import CONTRACT, Hosts, hosts_of, levers_of, pays_from, questions
from bytebill.statement.snippet import run_snippet, snippet_text

CHAT = Case(
    name="chat",
    deployment=Deployment(
        model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"), n_devices=4
    ),
    n_input_tokens=1155,
    n_output_tokens=211,
    requests_per_s=40,
    peak_over_mean=1.33,
    ttft_slo_s=2,
    tpot_slo_s=0.05,
    usd_per_device_hour=3.0,
)
VLLM = calibrated_constants("vllm", "h100-sxm")
LEVERS = standard_levers(
    faster=accelerator("h200-sxm"),
    faster_usd_per_hour=4.0,
    contract_usd_per_hour=2.0,
    longest_tokens=8192,
    smaller=model("llama-3-8b"),
)
RESERVED = Rental(terms="contract", replicas=3, usd_per_device_hour=2.0)
SPOT = Rental(terms="spot", replicas=2, usd_per_device_hour=1.5, lost=0.5)
cases = st.builds(
    lambda **changes: replace(CHAT, **changes),
    n_input_tokens=st.integers(1, 6000),
    n_output_tokens=st.integers(1, 2000),
    hit_rate=st.floats(0, 0.9),
    requests_per_s=st.floats(0.1, 1000),
    peak_over_mean=st.floats(1, 10),
    tpot_slo_s=st.floats(0.03, 1),
    ttft_slo_s=st.floats(1, 10),
    max_batch_size=st.sampled_from((1, 32, 4096)),
)


@settings(max_examples=40, deadline=None)
@given(case=cases)
def test_the_batch_is_the_largest_that_keeps_every_limit(case):
    found = statement(case)
    assert 1 <= found.batch_size <= case.memory_batch
    assert found.tpot_s <= case.tpot_slo_s and found.ttft_s <= case.ttft_slo_s
    larger = found.batch_size + 1
    if found.limit == "memory":
        assert larger > case.memory_batch
    elif found.limit == "TPOT":
        assert case.tpot_s(larger) > case.tpot_slo_s
    elif found.limit == "TTFT":
        assert case.ttft_s(larger) > case.ttft_slo_s
    else:
        assert found.limit == "slots" and found.batch_size == case.max_batch_size < case.memory_batch
        assert case.tpot_s(larger) <= case.tpot_slo_s and case.ttft_s(larger) <= case.ttft_slo_s


@settings(max_examples=40, deadline=None)
@given(case=cases, staff=st.floats(0, 1e5), spare=st.integers(0, 2), least=st.integers(1, 4))
def test_money_and_requests_are_conserved(case, staff, spare, least):
    case = replace(case, staff_usd_per_month=staff, spare_replicas=spare, min_replicas=least)
    found = statement(case)
    per_month = case.requests_per_s * 3600 * 730
    assert found.usd_per_month == pytest.approx(sum(found.invoice.values()))
    assert found.usd_per_request * per_month == pytest.approx(found.usd_per_month)
    assert found.usd_per_m_output * case.n_output_tokens / 1e6 == pytest.approx(found.usd_per_request)
    assert found.at_scale_usd_per_request <= found.usd_per_request * (1 + 1e-9)  # whole replicas never cost less
    assert found.replicas >= max(least, found.needed + spare - 1e-6)
    assert found.replicas * found.capacity_per_s >= case.requests_per_s * case.peak_over_mean * 0.999
    assert 0 < found.utilization <= 1 / case.peak_over_mean + 1e-9
    mean, peak = found.in_flight
    assert mean <= peak <= found.batch_size


@settings(max_examples=40, deadline=None)
@given(
    case=cases,
    factor=st.floats(1, 4),
    least=st.integers(1, 5),
    spare=st.integers(0, 2),
    rentals=st.sampled_from([(), (RESERVED,), (RESERVED, SPOT)]),
    idle=st.floats(0, 1.5),
)
@example(case=replace(CHAT, requests_per_s=10), factor=2.0, least=2, spare=0, rentals=(RESERVED,), idle=0.0)
def test_a_bill_never_falls_when_traffic_rent_or_strictness_rise(case, factor, least, spare, rentals, idle):
    """Also where the least number of replicas, and not the traffic, fills a contract."""
    terms = {"min_replicas": least, "spare_replicas": spare, "rentals": rentals, "idle_usd_per_device_hour": idle}
    case = replace(case, **terms)
    usd = statement(case).usd_per_month
    for harder in (
        {"requests_per_s": factor * case.requests_per_s},
        {"usd_per_device_hour": factor * case.usd_per_device_hour},
        {"peak_over_mean": factor * case.peak_over_mean},
        {"tpot_slo_s": case.tpot_slo_s / factor},
        {"ttft_slo_s": case.ttft_slo_s / factor},
        {"fill": case.fill / factor},
        {"spare_replicas": spare + 1},
        {"min_replicas": least + 1},
    ):
        try:
            assert statement(replace(case, **harder)).usd_per_month >= usd * (1 - 1e-9), harder
        except BytebillError as error:
            assert "even alone" in str(error) or "no fleet has more" in str(error)  # nobody could serve that


def test_rentals_are_filled_in_their_order_and_every_device_is_on_one():
    case = replace(CHAT, rentals=(RESERVED, SPOT), peak_over_mean=2.0, hours_per_day=12)
    found, alone = statement(case), statement(replace(CHAT, peak_over_mean=2.0))
    contract, spot, rest = (n for _, n in found.rented)
    assert (contract, spot) == (3, 2)
    assert contract + 0.5 * spot + rest >= alone.needed > contract + 0.5 * spot + rest - 1
    hours = 4 * 730
    assert found.invoice == {
        "3 x 4 H100 SXM5, contract": pytest.approx(3 * 2.0 * hours),
        "2 x 4 H100 SXM5, spot": pytest.approx(2 * 1.5 * hours),
        f"{rest} x 4 H100 SXM5, on demand": pytest.approx(rest * 3.0 * hours / 2),
    }
    assert found.n_devices == 4 * found.replicas == 4 * (5 + rest)


def test_a_small_service_pays_for_whole_replicas():
    """The review's case: a form that priced a tenth of a replica was ten times too cheap."""
    small = statement(replace(CHAT, requests_per_s=0.2))
    assert small.needed < 0.1 and small.replicas == 1
    assert small.usd_per_month == pytest.approx(4 * 3.0 * 730)
    assert small.usd_per_request > 10 * small.at_scale_usd_per_request
    two = statement(replace(CHAT, requests_per_s=0.2, min_replicas=2))
    assert two.usd_per_month == pytest.approx(2 * small.usd_per_month)
    for pulled in ranked(LEVERS, replace(CHAT, requests_per_s=0.2)):
        if pulled.lever.name in ("8-bit cache", "guessing ahead", "devices follow the day", "prefixes found"):
            assert pulled.saved_usd == pytest.approx(0)  # one replica is one replica
    split = {each.lever.name: each for each in ranked(LEVERS, replace(CHAT, requests_per_s=0.2))}["half to Llama-3-8B"]
    assert split.saved_usd < 0  # a second fleet for half of the requests


def test_a_lever_saves_the_difference_of_two_invoices():
    for found in ranked(LEVERS, CHAT):
        usd = [sum(each for one in found.lever.move(CHAT, as_filled) for each in statement(one).invoice.values())]
        usd.insert(1 if found.lever.in_place else 0, sum(statement(CHAT).invoice.values()))
        assert found.saved_usd == pytest.approx(usd[0] - usd[1]), found.lever.name


def test_the_least_and_the_spare_replicas_are_on_a_rental_too_and_money_is_not_lost_between_rentals():
    quiet = replace(CHAT, requests_per_s=0.1, min_replicas=2, spare_replicas=1, rentals=(RESERVED,))
    found = statement(quiet)
    assert found.invoice == {"2 x 4 H100 SXM5, contract": pytest.approx(2 * 4 * 2.0 * 730)}
    with pytest.raises(BytebillError, match="told apart by their terms"):
        replace(quiet, rentals=(RESERVED, RESERVED))
    by_day = replace(RESERVED, hours_per_day=8)
    with pytest.raises(BytebillError, match=r"hold [34][0-9]% of a day's requests"):
        statement(replace(CHAT, rentals=(replace(by_day, replicas=20),), peak_over_mean=1.0))


def test_idle_hours_are_sold_and_staff_is_paid():
    case = replace(CHAT, idle_usd_per_device_hour=1.0, staff_usd_per_month=5000.0)
    found, plain = statement(case), statement(CHAT)
    idle_hours = (1 - found.utilization) * found.n_devices * 730
    assert found.usd_per_month == pytest.approx(plain.usd_per_month + 5000 - idle_hours)


def test_prefixes_that_wait_for_their_turn_take_memory_and_shared_ones_give_some_back():
    plain = replace(CHAT, n_input_tokens=3000, ttft_slo_s=inf, tpot_slo_s=inf)
    shared, waiting = replace(plain, hit_rate=0.5), replace(plain, hit_rate=0.5, prefix_gap_s=60)
    assert shared.memory_batch > plain.memory_batch > waiting.memory_batch > 0
    kept_tokens = waiting.requests_per_s_of_one(waiting.memory_batch) * 60 * 1500 / HELD_SHARE
    held_tokens = waiting.memory_batch * (3000 + 211 / 2) / HELD_SHARE
    room = waiting.served.memory.kv_bytes / waiting.served.memory.kv_bytes_per_token
    assert 0.95 < (kept_tokens + held_tokens) / room <= 1
    at_once = replace(waiting, prefix_gap_s=1e-9)  # waits so short take nothing from anybody
    assert at_once.memory_batch == int(room / ((3000 + 211 / 2) / HELD_SHARE))


def test_a_faster_clock_is_a_smaller_bill_and_the_tornado_is_ordered():
    case = replace(CHAT, program="vllm", ttft_slo_s=inf, n_hidden_tokens=200)
    assert replace(case, speed=2.0).tpot_s(8) == pytest.approx(case.tpot_s(8) / 2)
    rows = tornado(statement(case))
    spans = [high - low for low, high in rows.values()]
    assert spans == sorted(spans, reverse=True)
    assert max(high for _, high in rows.values()) < inf  # hidden tokens are fewer where answers are shorter
    low, high = rows["usd_per_device_hour"]
    assert high / low == pytest.approx(1.3**2)
    assert rows["speed"][0] < statement(case).usd_per_month < rows["speed"][1]
    busy = statement(replace(case, n_hidden_tokens=0, requests_per_s=1000 * case.requests_per_s))
    for name in ("n_input_tokens", "n_output_tokens", "peak_over_mean"):
        value, whole = getattr(busy.case, name), round if name != "peak_over_mean" else float
        ends = [replace(busy.case, **{name: max(1, whole(value * factor))}) for factor in (1 / 1.5, 1.5)]
        assert tornado(busy)[name] == pytest.approx([statement(end).usd_per_month for end in ends])
        assert tornado(busy)[name][0] < busy.usd_per_month < tornado(busy)[name][1]
    assert "hit_rate" not in rows and "no cache" not in markdown(statement(case))


def test_a_hit_rate_swings_by_what_is_missed():
    busy = replace(CHAT, hit_rate=0.7, requests_per_s=1000 * CHAT.requests_per_s)
    ends = [statement(replace(busy, hit_rate=1 - missed)).usd_per_month for missed in (0.2, 0.45)]
    assert tornado(statement(busy))["hit_rate"] == pytest.approx(ends, rel=0.01) and ends[0] < ends[1]
    assert "lengths and peak and what no cache has by 1.5" in markdown(statement(busy))


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


def test_an_api_is_paid_for_what_it_reads_writes_and_computes():
    """The review's case (b): 70% of each prompt cached, billed as cached; fresh where a host lists no such price."""
    case = replace(CHAT, n_input_tokens=30_000, n_output_tokens=800, hit_rate=0.7)
    shared, own = api_price("Claude Sonnet 4.5"), api_price("Llama 3.3 70B", host="Groq")
    by_host = {offer.price.host: offer for offer in offers(case, [shared, own])}
    read, fresh, out = 21_000 * 0.30, 9_000 * 3.0, 800 * 15.0
    assert by_host["Anthropic"].usd_per_request == pytest.approx((read + fresh + out) / 1e6)
    all_fresh = 30_000 * own.input_usd_per_m + 800 * own.output_usd_per_m
    assert by_host["Groq"].cache == "none" and by_host["Groq"].usd_per_request == pytest.approx(all_fresh / 1e6)
    (in_a_day,) = offers(case, [api_price("Claude Sonnet 4.5", tier="batch")])
    plain, half = (
        offers(replace(case, hit_rate=0), [one.price])[0].usd_per_request for one in (by_host["Anthropic"], in_a_day)
    )
    assert half == pytest.approx(plain / 2) and plain == pytest.approx((30_000 * 3.0 + 800 * 15.0) / 1e6)
    thinking = replace(case, n_output_tokens=1600, n_hidden_tokens=800)  # hidden tokens are billed as output
    assert offers(thinking, [shared])[0].usd_per_request == pytest.approx((read + fresh + 2 * out) / 1e6)
    late = replace(case, prefix_gap_s=7200)  # longer than five minutes and an hour: nothing is found, so no cache
    assert offers(late, [shared])[0].cache == "none"
    again = replace(case, prefix_gap_s=1800)
    (kept_an_hour,) = offers(again, [shared])
    assert kept_an_hour.usd_per_request == pytest.approx((read + 9_000 * 6.0 + out) / 1e6)
    assert kept_an_hour.usd_per_month == pytest.approx(kept_an_hour.usd_per_request * 40 * 3600 * 730)


def test_without_limits_all_of_a_replica_is_usable():
    given = {"program_id": "vllm", "constants": CHAT.constants, "n_input_tokens": 100, "n_output_tokens": 10}
    assert usable_share(CHAT.deployment, capacity_per_s=5.0, **given) == 1.0


def late_at(rate_per_s, policy, limits):
    """Share of two draws' answers that are late."""
    lengths = [quantile_table("azure-conv", side).stretched(n) for side, n in (("input", 900), ("output", 50))]
    each = []
    for seed in (0, 3):
        arrivals = Poisson(rate_per_s, seed=seed)
        asked = Workload(50, inputs=lengths[0], outputs=lengths[1], arrivals=arrivals, seed=seed)
        each.append(1 - Slo(**limits).share(serve_on(CHAT.deployment, asked, policy, constants=VLLM).metrics))
    return fmean(each)


@pytest.mark.parametrize(
    ("limits", "settings", "changed"),
    [
        ({"ttft_s": 0.6, "attainment": 0.9}, {}, {}),
        ({"ttft_s": 0.6, "attainment": 0.9}, {"n_slots": 3}, {"n_slots": 3}),
        ({"ttft_s": 0.6, "attainment": 0.8}, {"step_tokens": 256}, {"token_budget": 256}),
        ({"tpot_s": 0.02, "attainment": 0.8}, {"n_slots": 10**6}, {}),
    ],
)
def test_of_a_replica_as_much_is_usable_as_keeps_the_limits(limits, settings, changed):
    policy = replace(policy_of("vllm", CHAT.deployment.accelerator), **changed)
    given = {"program_id": "vllm", "constants": VLLM, "capacity_per_s": 30.0, "n_requests": 50, "seeds": (0, 3)}
    given |= {"n_input_tokens": 900, "n_output_tokens": 50}
    found = usable_share(CHAT.deployment, **given, **limits, **settings)
    assert 0 < found < 1
    assert late_at(30 * found, policy, limits) <= 1 - limits["attainment"] + 1e-9
    assert late_at(30 * found * 1.04, policy, limits) > 1 - limits["attainment"] + 1e-9


def test_the_page_says_its_limits_and_its_times():
    found = statement(replace(CHAT, ttft_slo_s=inf))
    assert f"TPOT {found.tpot_s * 1e3:,.0f} ms (limits: TTFT none, TPOT 50 ms)" in markdown(found)


@pytest.mark.parametrize("n_devices", [4, 8])
def test_a_program_leaves_its_own_room_wherever_a_case_is_moved_to(n_devices):
    case = replace(CHAT, program="vllm").on(n_devices=n_devices)
    left = n_devices * Footprint(deployment=case.deployment, program=program("vllm")).at("value").cache_bytes
    assert case.memory_batch == int(left / case.deployment.user_bytes(case.held_tokens))
    assert replace(case, program="vllm-v0").served == case.deployment  # what that one left is not on file


def test_twice_the_rent_is_twice_the_bill_and_twice_the_traffic_the_same_price():
    once = statement(CHAT)
    dear, busy = statement(replace(CHAT, usd_per_device_hour=6.0)), statement(replace(CHAT, requests_per_s=80))
    assert dear.usd_per_month == pytest.approx(2 * once.usd_per_month)
    assert busy.at_scale_usd_per_request == pytest.approx(once.at_scale_usd_per_request)
    assert busy.needed == pytest.approx(2 * once.needed) and busy.replicas <= 2 * once.replicas


def test_one_replica_serves_what_the_closed_form_says():
    closed = SteadyState(clock=CHAT.clock, concurrency=10, n_input_tokens=1155, n_output_tokens=211)
    assert CHAT.requests_per_s_of_one(10) == pytest.approx(closed.output_tokens_per_s / 211)


def test_a_prompt_that_is_cached_is_attended_to_and_not_computed():
    half, none = replace(CHAT, hit_rate=0.5), CHAT
    assert half.ttft_s(8) < none.ttft_s(8)
    assert half.bytes_per_output_token(8) == none.bytes_per_output_token(8)


def test_drafts_give_the_tokens_that_theory_promises_and_cost_a_longer_step():
    drafted = replace(CHAT, n_draft_tokens=3, acceptance_rate=0.5)
    assert drafted.tokens_per_step == pytest.approx(1 + 0.5 + 0.25 + 0.125)
    assert CHAT.tpot_s(1) / drafted.tokens_per_step < drafted.tpot_s(1) < CHAT.tpot_s(1)
    assert replace(drafted, acceptance_rate=0.0).tpot_s(64) > CHAT.tpot_s(64)
    prompts_alone_s = CHAT.tpot_s(64) - CHAT.clock.step_s(Load.decode(batch_size=64, context_len=1260))
    assert replace(drafted, acceptance_rate=0.99).tpot_s(64) > prompts_alone_s  # no draft computes a prompt


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"usd_per_device_hour": -1}, "A rent is positive"),
        ({"requests_per_s": 0}, "A rate is positive"),
        ({"n_output_tokens": 0}, "at least one input token"),
        ({"n_devices": nan}, "a whole number of them"),
        ({"n_devices": 2.5}, "a whole number of them"),
        ({"hit_rate": 1.0}, "shares from 0 to below 1"),
        ({"hit_rate": -0.01}, "shares from 0 to below 1"),
        ({"acceptance_rate": 1.0}, "shares from 0 to below 1"),
        ({"acceptance_rate": -0.01}, "shares from 0 to below 1"),
        ({"peak_over_mean": 0.5}, "A peak is at least the mean"),
        ({"n_draft_tokens": -1}, "drafts are zero or more tokens"),
        ({"n_hidden_tokens": -1}, "Hidden tokens are part of the output"),
        ({"prefix_gap_s": -1}, "a gap is zero or more seconds"),
        ({"prefix_gap_s": inf}, "a gap is zero or more seconds"),
        ({"hours_per_day": 0}, "for up to 24 hours a day, not 0"),
        ({"hours_per_day": 25}, "for up to 24 hours a day, not 25"),
        ({"reserved_tokens": 1365}, "for its 1,366 tokens at least, not 1365"),
        ({"max_batch_size": 0}, "and slot, in whole numbers"),
        ({"staff_usd_per_month": inf}, "Staff costs nothing or more"),
        ({"idle_usd_per_device_hour": -1}, "An idle hour is worth nothing or more"),
        ({"rentals": (RESERVED,), "idle_usd_per_device_hour": 2.1}, "the least rent that is paid for one, 2 USD"),
        ({"spare_replicas": -1}, "zero or more to spare"),
        ({"min_replicas": 0}, "a replica at least"),
        ({"n_devices": 1}, "there is room for 0 tokens"),
        ({"n_devices": 2, "n_input_tokens": 9000}, "room for 8,827 tokens"),
        ({"tpot_slo_s": 0.001}, "even alone, a request takes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(BytebillError, match=sentence):
        n_devices = changes.pop("n_devices", 4)
        statement(replace(CHAT.on(n_devices=n_devices), **changes))


@pytest.mark.parametrize("requests_per_s", [40, 0.2])
def test_levers_in_place_save_and_the_ranking_is_one(requests_per_s):
    """Of those that save alike, as many do where one replica is enough, the greater factor comes first."""
    found = ranked(LEVERS, replace(CHAT, requests_per_s=requests_per_s))
    order = [(each.saved_usd, each.factor) for each in found]
    assert order == sorted(order, reverse=True)
    assert {each.lever.name for each in found} == {lever.name for lever in LEVERS}
    assert all(each.factor >= 1 - 1e-9 for each in found if each.lever.in_place)


def test_a_cheaper_hour_moves_no_byte_and_a_narrower_weight_does():
    found = {each.lever.name: each for each in ranked(LEVERS, CHAT)}
    assert found["contract for a year"].factor == pytest.approx(1.5)
    for each in found.values():
        if each.lever.term == DOLLARS and each.lever.name != "H200 SXM":
            assert each.bytes_factor == pytest.approx(1)
    assert found["8-bit weights"].bytes_factor > 1.5
    faster = next(lever for lever in LEVERS if lever.name == "H200 SXM")
    assert faster.move(CHAT, as_filled)[0].deployment.accelerator.id == "h200-sxm"


@pytest.mark.parametrize("fills", [{4: 0.9, 2: 0.3, 1: 0.8}, {4: 0.4, 2: 0.9, 1: 0.1}, {4: 1.0, 2: 1.0, 1: 1.0}])
def test_the_cheapest_group_is_found_and_hopeless_ones_are_not_simulated(fills):
    tried = []

    def filled(case):
        tried.append(case.deployment.n_devices)
        return replace(case, fill=fills[case.deployment.n_devices])

    lever = next(each for each in LEVERS if each.name == "4-bit weights")
    (moved,) = lever.move(CHAT, filled)
    n_tried = len(tried)
    assert statement(moved).usd_per_month == min(
        statement(filled(replace(moved.on(n_devices=n), fill=1.0))).usd_per_month for n in (4, 2, 1)
    )
    assert n_tried < 3 or min(fills.values()) < 1  # the last would be dearer even if all of it were usable


def test_a_lever_that_cannot_be_pulled_is_left_out():
    there = CHAT.on(
        model=model("llama-3-8b"), n_devices=1, precision=precision("int4"), accelerator=accelerator("tpu-v5e")
    )
    small = replace(there, ttft_slo_s=inf, tpot_slo_s=inf)
    names = {each.lever.name for each in ranked(LEVERS, small)}
    assert "8-bit weights" not in names  # no fp8 there


def test_a_paged_cache_holds_tokens_in_the_share_of_its_slots_that_a_statement_takes():
    """Chapter 5's pool and chats: what blocks that are not yet full, and the free ones at the end, leave."""
    pool = Paged(n_blocks=15_728 // 16, block_size_tokens=16)
    used = mean_usage(pool, sharegpt_like(None), n_steps=4000, skip_steps=500).shares["used"]
    assert round(used, 2) == HELD_SHARE


def test_a_page_says_when_limits_leave_little_of_a_replica_and_rounds_nobody_to_zero():
    page = markdown(statement(replace(CHAT, requests_per_s=0.01, fill=0.05)))
    assert "5% of a replica is promised, as given (so little: try more devices a replica)" in page
    assert "; 0 at the peak" not in page and " 0.0 on average" not in page
    assert "so little" not in markdown(statement(replace(CHAT, fill=0.5)))


def test_a_fleet_may_be_exactly_as_large_as_its_demand():
    flat = replace(CHAT, peak_over_mean=1.0)
    whole = replace(flat, requests_per_s=3 * statement(flat).capacity_per_s * flat.fill)
    found = statement(whole)
    assert found.replicas == 3 and found.utilization == pytest.approx(flat.fill)


def test_weights_that_leave_room_bring_a_replica_down_to_one_device():
    narrow = next(lever for lever in LEVERS if lever.name == "4-bit weights")
    (there,) = narrow.move(replace(CHAT.on(model=model("llama-3-8b")), requests_per_s=0.1), as_filled)
    assert there.deployment.n_devices == 1


FIELDS = {  # a number: default, low, high, unit, whole, what it says when it is empty; a choice: default, what there is
    "m": ("llama-3.1-70b", [*PUBLISHED, *(id for id in MODELS if id not in PUBLISHED)]),
    "w": ("auto", ["auto", "bf16", "fp8", "int8", "nvfp4", "int4", "mxfp4"]),
    "kv": ("bf16", ["bf16", "fp8"]),
    "gpu": ("h100-sxm", [*ACCELERATORS]),
    "n": ("4", 1, 64, "", True, ""),
    "attn": ("tensor", ["tensor", "data"]),
    "by": ("vllm", ["vllm", "sglang", "trtllm"]),
    "in": ("1155", 1, 1_000_000, "tokens", True, ""),
    "out": ("211", 1, 1_000_000, "tokens", True, ""),
    "hit": ("0", 0, 99, "%", False, ""),
    "load": ("rate", ["rate", "users"]),
    "rps": ("40", 0.0001, 100_000, "", False, ""),
    "users": ("300", 1, 1_000_000, "", True, ""),
    "peak": ("1.33", 1, 100, "", False, ""),
    "ttft": ("2", 0.001, 3600, "s", False, "no limit"),
    "tpot": ("50", 0.1, 100_000, "ms", False, "no limit"),
    "fill": ("60", 0.1, 100, "%", False, ""),
    "found": ("", 0, 4_294_967_295, "", True, "assumed"),
    "rent": ("", 0.01, 1000, "USD/h a device", False, "as on file"),
    "api": ("Claude Sonnet 5", ["", *sorted({each.model_name for each in on_sale() if each.weights == "closed"})]),
    "price": ("", 0.001, 100_000, "USD a million output", False, "none"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_the_form_takes_what_it_says(name):
    field, (default, *rest) = FORM_FIELDS[name], FIELDS[name]
    assert list(FORM_FIELDS) == list(FIELDS) and field.default == default == field.read(default) == field.read("x y")
    if field.options:
        assert sorted(field.options()) == sorted(*rest) and [field.read(each) for each in rest[0]] == rest[0]
        return
    low, high, *_, whole, empty = rest
    assert [field.low, field.high, field.unit, field.whole, field.empty] == rest
    ends = [field.read(f"{each:.17g}") for each in (low, low - 1, high, 2 * high)]
    assert [*map(float, ends)] == [low, low, high, high]
    assert float(field.read(f"{low + 0.75:g}")) == (low + 1 if whole else low + 0.75)
    assert field.read("") == field.read(" ") == ("" if empty else default)


def test_a_number_of_the_form_is_read_up_to_forty_characters_and_what_is_none_is_the_default():
    long = "7".zfill(40)
    assert [FORM_FIELDS["n"].read(each) for each in (long, long + "1")] == ["7", "7"]
    assert [FORM_FIELDS["n"].read(each) for each in ("inf", "nan", "1e400")] == ["4", "4", "4"]
    assert read_fields({"n": 7, "in": None, "hit": "7"}) == read_fields({}) | {"hit": "7"}


def test_times_of_phases_are_of_users_and_tokens_that_there_are():
    counts = {"batch_size": 8, "n_input_tokens": 100, "n_output_tokens": 10}
    assert phase_time(CHAT.clock, **counts).ratio > 0
    for name in counts:
        with pytest.raises(BytebillError, match="count from one"):
            phase_time(CHAT.clock, **counts | {name: 0})


def rows_of(found, section):
    return {row["name"]: row for part in found["sections"] if part["id"] == section for row in part["rows"]}


@pytest.mark.parametrize(
    ("share", "percents"), [(0.0004, "0.1"), (0.0567, "5.7"), (0.0996, "10"), (0.1, "10"), (0.567, "57"), (1.0, "100")]
)
def test_a_fill_is_told_in_whole_percents_or_in_tenths_below_ten(monkeypatch, share, percents):
    monkeypatch.setattr(fill, "usable_of", lambda *_, **__: share)
    assert fill.search_fill(CHAT) == (percents, "")


def test_a_fill_that_no_limit_leaves_is_a_sentence_and_no_number(monkeypatch):
    assert fill.search_fill(replace(CHAT, tpot_slo_s=0.001))[0] == ""

    def none(*_, **__):
        raise BytebillError("None in time; take a lower attainment.")

    monkeypatch.setattr(fill, "usable_of", none)
    share, sentence = fill.search_fill(CHAT)
    assert share == "" and sentence.startswith("None in time; these limits") and "attainment" not in sentence


@pytest.mark.parametrize(
    ("usd_per_s", "at_scale", "once", "always"),
    [
        (1.2341, 0.8, 1.24, 4.94),  # five replicas' price at scale is four's at the host: 4 * 1.2341
        (123.41, 0.5, 124, 124),
        (0.0012341, 0.5, 0.00124, 0.00124),
        (9.991, 0.1, 10, 10),
        (9.99, 0.1, 9.99, 9.99),
        (1.2341, 1.0, 1.2341, None),
    ],
)
def test_rates_from_which_a_replica_pays_are_rounded_up_to_three_digits(usd_per_s, at_scale, once, always):
    assert pays_from(usd_per_s, 1.0, at_scale) == (once, always)


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


def test_the_page_of_the_calculator_says_the_arithmetic_of_a_replica():
    """80 layers keep a key and a value of 8 heads, 128 wide, 2 bytes each, of every token of the 80 at once."""
    found = answer({}, quick=True)
    speed, money = rows_of(found, "speed"), rows_of(found, "money")
    held_bytes = 80 * (1155 + 211 / 2) / HELD_SHARE * 80 * 2 * 8 * 128 * 2 / 4
    assert {part["name"]: part["value"] for part in found["memory"]["parts"]}["cache in use"] == pytest.approx(
        held_bytes
    )
    per_s = speed["That is"]["value"]
    assert speed["A full replica gives"]["value"] == pytest.approx(per_s * 211)
    assert speed["One user gets"]["value"] * speed["Each further one (TPOT)"]["value"] == pytest.approx(1)
    needed = 40 * 1.33 / (per_s * 0.6)
    assert money["… if replicas came in fractions"]["value"] == pytest.approx(needed * 4 * 3.49 / 3600 / 40 / 211 * 1e6)
    assert money["Replicas"]["value"] == ceil(needed) and money["Devices"]["value"] == 4 * ceil(needed)


@pytest.mark.parametrize("hit", ["0", "50"])
def test_a_million_in_and_a_million_out_are_apart_by_the_device_time_that_each_takes(hit):
    case = Form.read(form_of(read_fields({"hit": hit}))).case
    batch_size = statement(case).batch_size
    money = rows_of(answer({"hit": hit}, quick=True), "money")
    each_in, each_out = (
        money[name]["value"] for name in ("Shared by device time: a million in", "… and a million out")
    )
    counts = {"batch_size": batch_size, "n_input_tokens": 1155, "n_output_tokens": 211}
    assert each_out / each_in == pytest.approx(phase_time(case.clock, **counts, hit_rate=float(hit) / 100).ratio)


def test_the_roof_is_the_devices_and_both_steps_stand_under_it():
    found = answer({}, quick=True)["roofline"]
    assert (found["peak"], found["bandwidth"]) == (989.4e12, 3.35e12)
    assert found["ridge"] == pytest.approx(989.4 / 3.35)
    prompt, decode = found["points"]
    assert (
        prompt["bound"] == "compute" and decode["bound"] == "bandwidth" and prompt["x"] > found["ridge"] > decode["x"]
    )
    assert 0.1 * found["peak"] < prompt["y"] < found["peak"] and decode["y"] < decode["x"] * found["bandwidth"]


def test_notes_beside_a_price_come_at_their_bounds():
    near, under = (" ".join(answer({"fill": text}, quick=True)["notes"]) for text in ("90", "89.9"))
    assert "A fill near one" in near and "A fill near one" not in under
    small, large = (rows_of(answer({"rps": text}, quick=True), "money") for text in ("0.1", "1000"))
    assert small["Invoice, a month"]["printed"].endswith("(same fleet at both ends)")
    low, high = large["Invoice, a month"]["printed"].replace(",", "").rstrip(")").split("(")[1].split(" to ")
    assert float(low) < large["Invoice, a month"]["value"] < float(high)


def test_what_is_asked_the_other_way_round_is_the_arithmetic_of_one_replica():
    found = answer({})
    rows = {name.partition(" beats")[0]: row for name, row in rows_of(found, "reverse").items()}
    offer = next(iter(rows_of(found, "offers").values()))["value"] / (40 * 3600 * 730)
    per_s = rows_of(found, "speed")["That is"]["value"]
    share = rows["Utilization from which it"]["value"]
    assert 0 <= share - 4 * 3.49 / 3600 / (per_s * offer) < 0.001 and round(share, 3) == share
    rent = rows["Highest rent that"]["value"]
    invoice = rows_of(found, "money")["Invoice, a month"]["value"]
    assert 0 <= 3.49 * offer * 40 * 3600 * 730 / invoice - rent < 0.01
    none = rows_of(answer({"rps": "0.0001"}), "reverse")
    assert next(row for name, row in none.items() if name.startswith("Highest rent"))["printed"].startswith("none of a")


A_YEAR = rent_of("h100-sxm", terms=CONTRACT).usd_per_gpu_hour
H200, B200 = (accelerator(id).name for id in ("h200-sxm", "b200"))


@pytest.mark.parametrize(
    ("fields", "there", "gone"),
    [
        ({}, {H200, "half to Llama-3.1-8B", "contract for a year"}, {B200}),
        ({"gpu": "h200-sxm"}, {B200}, {H200}),
        ({"gpu": "b200"}, set(), {B200, H200}),
        ({"m": "llama-3.1-8b", "n": "1"}, {H200}, {"half to Llama-3.1-8B"}),
        ({"rent": "0.5"}, {H200}, {"contract for a year"}),
        ({"rent": f"{A_YEAR}"}, {H200}, {"contract for a year"}),
        ({"rent": f"{A_YEAR + 0.01}"}, {H200, "contract for a year"}, set()),
    ],
)
def test_a_lever_that_would_change_nothing_is_no_row(fields, there, gone):
    case = Form.read(form_of(read_fields(fields))).case
    names = {pulled.lever.name for pulled, _ in levers_of(case)}
    assert there <= names and not gone & names


@pytest.mark.parametrize(
    ("usd", "factor", "in_place", "told"),
    [
        (1234.4, 2.0, False, "saves USD 1,234 a month, 2 times cheaper at scale"),
        (0.6, 1.004, False, "saves USD 1 a month, the same at scale"),
        (0.4, 0.996, False, "the same invoice, the same at scale"),
        (-0.4, 0.5, False, "the same invoice, 2 times dearer at scale"),
        (-700.0, 0.99, False, "USD 700 a month more, 1.01 times dearer at scale"),
        (700.0, 4.0, True, "without it USD 700 a month more, 4 times dearer at scale"),
    ],
)
def test_a_levers_effect_is_told_from_half_a_dollar_and_half_a_percent_on(usd, factor, in_place, told):
    lever = replace(LEVERS[0], in_place=in_place)
    assert effect_told(LeverEffect(lever=lever, saved_usd=usd, factor=factor, bytes_factor=1.0)) == told


def test_a_snippet_prints_twenty_thousand_characters_at_most():
    printed = [run_snippet(f"print('x' * {n}, end='')")["printed"] for n in (19_999, 20_000, 20_001)]
    assert [len(each) for each in printed] == [19_999, 20_000, 20_000]


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


def test_a_first_token_waits_for_the_front_end_half_a_step_and_its_own():
    steady = SteadyState(clock=CHAT.clock, concurrency=8, n_input_tokens=1155, n_output_tokens=211)
    assert CHAT.ttft_s(8) == pytest.approx(steady.first_step_s + steady.tpot_s / 2)
    served = replace(CHAT, program="vllm")
    steady = replace(steady, clock=served.clock)
    assert served.ttft_s(8) == pytest.approx(REQUEST_S + steady.first_step_s + steady.tpot_s / 2)
    own = replace(served, own=OwnProgram(like="vllm", constants=served.constants, request_s=0.5))
    assert own.ttft_s(8) - served.ttft_s(8) == pytest.approx(0.5 - REQUEST_S)


def test_users_of_two_replicas_are_paced_between_two_batches():
    flat = replace(CHAT, peak_over_mean=1.0)
    n, pace = statement(flat).batch_size, flat.requests_per_s_of_one
    assert fill.rate_of_users(flat, 1) == pytest.approx(pace(1)) and fill.rate_of_users(flat, n) == pytest.approx(
        pace(n)
    )
    assert fill.rate_of_users(flat, 2 * n - 1) == pytest.approx(pace(n - 1) + pace(n))
    assert fill.rate_of_users(flat, 4 * n - 1) == pytest.approx(3 * pace(n) + pace(n - 1))
    with_peak = replace(flat, peak_over_mean=2.0, fill=0.5)
    assert fill.rate_of_users(with_peak, 3) <= 3 * pace(n) / 4


MOVED = {
    "batching at all": {"max_batch_size": 1},
    "refilling slots": {"refills": False},
    "paging the cache": {"reserved_tokens": 8192},
    "devices follow the day": {"peak_over_mean": 1.0825},
    "prefixes found": {"hit_rate": 0.5},
    "guessing ahead": {"n_draft_tokens": 3},
    "limits twice as long": {"tpot_slo_s": 0.1, "ttft_slo_s": 4},
    "contract for a year": {"usd_per_device_hour": 2.0},
}


@pytest.mark.parametrize("name", MOVED)
def test_a_lever_changes_the_fields_that_it_names(name):
    (there,) = next(lever for lever in LEVERS if lever.name == name).move(CHAT, as_filled)
    assert there == replace(CHAT, **MOVED[name])


def test_a_lever_splits_the_requests_keeps_a_width_or_a_better_hit_rate():
    moves = {lever.name: lever.move for lever in LEVERS}
    large, small = moves["half to Llama-3-8B"](replace(CHAT, staff_usd_per_month=900.0), as_filled)
    assert (large.requests_per_s, small.requests_per_s) == (20, 20)
    assert (large.staff_usd_per_month, small.staff_usd_per_month) == (900, 0)
    (narrow,) = moves["8-bit cache"](CHAT, as_filled)
    assert narrow.deployment.precision == replace(CHAT.deployment.precision, kv_bytes_per_value=1)
    (weights,) = moves["8-bit weights"](narrow, as_filled)
    assert weights.deployment.precision == replace(precision("fp8"), kv_bytes_per_value=1)
    (faster,) = moves["H200 SXM"](CHAT, as_filled)
    assert faster.usd_per_device_hour == 4.0
    (found,) = moves["prefixes found"](replace(CHAT, hit_rate=0.8), as_filled)
    assert found.hit_rate == 0.8


@pytest.mark.parametrize(
    ("changes", "n_tokens"),
    [
        ({"n_input_tokens": 3000, "n_output_tokens": 2}, 3094),  # 3,001 slots, of which 97% hold a token
        ({"n_input_tokens": 100, "n_output_tokens": 1000}, 1100),
        ({"reserved_tokens": 8192}, 8192),
    ],
)
def test_the_smallest_group_holds_a_request_to_its_end(monkeypatch, changes, n_tokens):
    monkeypatch.setattr(Footprint, "fewest_devices", lambda self, n: n)
    assert replace(CHAT, program="vllm", **changes).fewest_devices == n_tokens
    assert replace(CHAT, **changes).fewest_devices is None


def test_fields_are_told_to_a_form_in_its_units():
    given = {"hit": "50", "fill": "70", "tpot": "40", "ttft": "3", "rent": "2", "rps": "7", "peak": "1.5", "out": "9"}
    found = form_of(read_fields(given))
    names = "hit_rate fill tpot_slo_s ttft_slo_s usd_per_device_hour requests_per_s peak_over_mean n_output_tokens"
    assert [found[name] for name in names.split()] == pytest.approx([0.5, 0.7, 0.04, 3, 2, 7, 1.5, 9])
    one = form_of(read_fields({"out": "1", "ttft": ""}))
    assert (one["tpot_slo_s"], one["ttft_slo_s"]) == (None, None)


def test_hosts_are_of_the_model_itself_by_its_own_name_or_another_and_of_one_closed_model():
    for id, names in (("llama-3.1-70b", {"Llama 3.1 70B", "Llama 3.3 70B"}), ("gpt-oss-120b", {"gpt-oss-120b"})):
        found = statement(Form.read(form_of(read_fields({"m": id}))).case)
        assert {offer.price.model_name for offer in hosts_of(found).same} == names, id
        assert hosts_of(found).other == hosts_of(found, closed="Llama 3.3 70B").other == ()
    assert {offer.price.model_name for offer in hosts_of(found, closed="GPT-4o").other} == {"GPT-4o"}


def test_the_verdict_of_hosts_is_their_rows_over_the_invoice():
    found = answer({}, quick=True)
    invoice = rows_of(found, "money")["Invoice, a month"]["value"]
    rows = [row["value"] for name, row in rows_of(found, "offers").items() if not name.startswith("another")]
    *first, last = [f"{usd / invoice:.0%}" for usd in rows]
    told = f"{len(rows)} offers by hosts of this model on file would ask {', '.join(first)} and {last} of this."
    assert first and found["notes"][0] == told and rows == sorted(rows)
    alone = answer({"m": "llama-3-8b", "n": "1"}, quick=True)
    (usd,) = [row["value"] for name, row in rows_of(alone, "offers").items() if not name.startswith("another")]
    share = f"{usd / rows_of(alone, 'money')['Invoice, a month']['value']:.0%}"
    assert alone["notes"][0] == f"1 offer by a host of this model on file would ask {share} of this."


def test_a_token_waits_for_its_step_and_for_others_prompts():
    found = answer({}, quick=True)
    step = rows_of(found, "step")
    beside = step["… others' prompts alone"]["value"] + step["A decode step takes"]["value"]
    assert beside == pytest.approx(rows_of(found, "speed")["Each further one (TPOT)"]["value"])


@pytest.mark.parametrize(("id", "known"), [("h100-sxm", True), ("mi300x", False)])
def test_the_page_of_a_bill_says_whose_kernels_were_not_measured(id, known):
    case = replace(CHAT.on(accelerator=accelerator(id)), program="vllm", ttft_slo_s=inf, tpot_slo_s=inf)
    assert ("kernels of this device were not measured" in markdown(statement(case))) != known


SWINGS = {"a": (1e3, 2e3), "b": (0.4, inf), "c": (1.0, 1234.6), "d": (2.0, 3.0), "e": (4.0, 5.0)}


@pytest.fixture
def typed(monkeypatch):
    """Statements whose batch, times and swings are typed in, and whose replicas have as many at once as a second."""
    monkeypatch.setattr(page, "tornado", lambda found: SWINGS)
    monkeypatch.setattr(Case, "in_flight", lambda self, requests_per_s: requests_per_s)
    numbers = {"batch_size": 1234, "limit": "TPOT", "tpot_s": 0.0404, "ttft_s": 1.2346, "capacity_per_s": 10.0}
    given = {"name": "A | <b>\nchat", "rentals": (RESERVED,), "hit_rate": 0.25, "n_hidden_tokens": 11, "fill": 0.5}
    return lambda **changes: Statement(case=replace(CHAT, **given | changes), **numbers)


PAGE = """\
### A / &lt;b> chat

| | |
|---|---|
| Model | Llama-3-70B |
| Precision | bf16, 4 devices a replica |
| Context | 1,155 tokens in, 25% of it cached, 211 out (11 of them hidden), on average |
| Batch | 1234 at once at most in a replica (limit: TPOT); 5 at the peak, 3.6 on average |
| Fill | 50% of a replica is promised, as given |
| Utilization | 36% of 11 replicas over the day; 10.64 are needed |
| Hardware | 44 x H100 SXM5 at USD 3.00 an hour where no rental says otherwise |
| Traffic | 40 requests/s on average, 1.33 times that at peak |
| Latency, no queue | TTFT 1,235 ms, TPOT 40 ms (limits: TTFT 2,000 ms, TPOT 50 ms) |
| USD a month: 3 x 4 H100 SXM5, contract | 17,520 |
| USD a month: 8 x 4 H100 SXM5, on demand | 70,080 |
| Bill | USD 87,600 a month, 0.83 for a thousand requests |
| Price | USD 3.95 per million output tokens, input included; 4.20 if replicas came in fractions |
| Hangs on | a 1,000 to 2,000; c 1 to 1,235; d 2 to 3 USD a month, with rent off by 1.3, lengths and peak and what no \
cache has by 1.5, at this fill |"""


def test_a_page_has_every_number_of_its_statement(typed):
    """40/s * 1.33 / (10/s * 0.5) = 10.64 replicas; 730 h * 4 * (3 * USD 2 + 8 * USD 3) over 105,120,000 requests."""
    assert markdown(typed()) == PAGE
    dear = markdown(typed(program="vllm"), lengths="azure-conv", attainment=0.995).splitlines()
    assert (
        dear[:-1]
        == PAGE.replace("as given", "X")
        .replace(", X", ": 99.5% of the answers in time, lengths of azure-conv, simulated")
        .splitlines()
    )
    off = f"{exp(VLLM.error) - 1:.0%}"
    assert dear[-1] == f"| Clock | vLLM's, at least eight of ten predictions within {off}; take the bill as a floor |"


@pytest.mark.parametrize(
    ("requests_per_s", "told"), [(1, "1 at the peak, 1.0 on"), (0.5, "0.67 at the peak, 0.5 on"), (0.999, "1 at the")]
)
def test_a_page_tells_few_at_once_in_two_digits(typed, requests_per_s, told):
    assert f"; {told}" in markdown(typed(requests_per_s=requests_per_s))


def test_a_page_leaves_out_what_a_case_has_not(typed):
    plain = markdown(typed(rentals=(), hit_rate=0.0, n_hidden_tokens=0, requests_per_s=0.5, fill=0.1))
    assert "1,155 tokens in, 211 out, on average" in plain and "of 1 replica over" in plain
    assert "at USD 3.00 an hour |" in plain and "lengths and peak by 1.5" in plain and "so little" not in plain
    assert "Clock" not in plain
    one = typed(deployment=replace(CHAT.deployment, model=model("llama-3-8b"), n_devices=1))
    assert "bf16, 1 device a replica" in markdown(one)


NUMBERS = {
    "name": "A | <b>\nchat",
    "model": "llama-3-70b",
    "accelerator": "h100-sxm",
    "precision": "bf16",
    "devices_per_replica": 4,
    "program": None,
    "batch_size": 1234,
    "limit": "TPOT",
    "in_flight_mean": 40 / 11,
    "in_flight_peak": 53.2 / 11,
    "fill": 0.5,
    "replicas_needed": 10.64,
    "replicas": 11,
    "n_devices": 44,
    "utilization": 4 / 11,
    "ttft_s": 1.2346,
    "tpot_s": 0.0404,
    "ttft_slo_s": None,
    "tpot_slo_s": 0.05,
    "requests_per_s_of_a_replica": 10,
    "usd_per_month": 87600,
    "usd_per_request": 1 / 1200,
    "usd_per_m_output": 1e6 / 1200 / 211,
    "at_scale_usd_per_request": 10.64 * 4 * 3 / 3600 / 40,
}


def test_a_statement_as_numbers_is_the_page_unrounded(typed):
    found = as_json(typed(ttft_slo_s=inf))
    assert found.pop("invoice_usd_per_month") == {
        "3 x 4 H100 SXM5, contract": pytest.approx(17520),
        "8 x 4 H100 SXM5, on demand": pytest.approx(70080),
    }
    assert found.pop("tornado_usd_per_month") == {k: [*ends] for k, ends in SWINGS.items()} | {"b": [0.4, None]}
    assert found == pytest.approx(NUMBERS)


@pytest.mark.parametrize(
    ("changes", "name", "ends"),
    [
        ({"peak_over_mean": 1.2}, "peak_over_mean", ({"peak_over_mean": 1.0}, {"peak_over_mean": 1.8})),
        ({"n_output_tokens": 3}, "n_output_tokens", ({"n_output_tokens": 2}, {"n_output_tokens": 4})),
        ({"n_output_tokens": 1}, "n_output_tokens", ({}, {"n_output_tokens": 2})),
        (
            {"n_output_tokens": 3, "n_hidden_tokens": 2},
            "n_output_tokens",
            ({"n_output_tokens": 2, "n_hidden_tokens": 1}, {"n_output_tokens": 4}),
        ),
        ({"n_input_tokens": 1}, "n_input_tokens", ({}, {"n_input_tokens": 2})),
        ({"hit_rate": 0.1}, "hit_rate", ({"hit_rate": 0.0}, {"hit_rate": 0.4})),
        ({"program": "vllm"}, "speed", ({"speed": exp(VLLM.error)}, {"speed": exp(-VLLM.error)})),
    ],
)
def test_what_a_bill_hangs_on_ends_at_the_least_that_there_is(changes, name, ends):
    busy = replace(CHAT, requests_per_s=4e4, ttft_slo_s=inf, tpot_slo_s=1.0, **changes)
    assert tornado(statement(busy))[name] == pytest.approx(
        sorted(statement(replace(busy, **end)).usd_per_month for end in ends)
    )


def test_an_end_that_nobody_can_serve_is_infinite():
    tight = replace(CHAT, tpot_slo_s=CHAT.tpot_s(1) * 1.01, program="vllm", ttft_slo_s=inf)
    tight = replace(tight, tpot_slo_s=tight.tpot_s(1) * 1.01)
    assert tornado(statement(tight))["speed"][1] == inf and "speed" not in markdown(statement(tight))
    assert as_json(statement(tight))["tornado_usd_per_month"]["speed"][1] is None


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [({}, 8), ({"n_draft_tokens": 3, "acceptance_rate": 0.5}, 8 * 1.875), ({"refills": False}, 8 / (761 / 280))],
)
def test_the_bytes_of_a_token_are_those_of_a_step_half_way_through_the_answers(changes, tokens):
    """Eight slots of a batch that is not refilled: 1 + 1/2 + ... + 1/8 = 761/280 times as long as they are used."""
    step = CHAT.deployment.step_cost(Load.decode(batch_size=8, context_len=1155 + 105))
    case = replace(CHAT, **changes)
    assert case.bytes_per_output_token(8) == pytest.approx(step.bytes / tokens)
    assert case.requests_per_s_of_one(8) == pytest.approx(
        (280 / 761 if not case.refills else 1) * 8 / (case.ttft_s(8) - case.tpot_s(8) / 2 + 210 * case.tpot_s(8))
    )


def test_a_step_with_drafts_is_verified_half_way_through_the_answers_too():
    fast = replace(CHAT, n_output_tokens=4000, speed=2.0)
    shape = {"batch_size": 8, "context_len": 1155 + 2000}
    plain_s = CHAT.clock.step_s(Load.decode(**shape))
    verify_s = CHAT.clock.step_s(Load.verify(**shape, n_draft_tokens=3))
    drafted = replace(fast, n_draft_tokens=3, acceptance_rate=0.5)
    assert fast.tpot_s(8) - drafted.tpot_s(8) == pytest.approx((plain_s - verify_s / 1.875) / 2)


def test_a_replica_has_as_many_at_once_as_keep_its_pace():
    pace = CHAT.requests_per_s_of_one
    assert CHAT.in_flight(pace(1) / 4) == pytest.approx(0.25) and CHAT.in_flight(pace(1)) == 1
    assert [CHAT.in_flight(pace(n) * off) for n in (2, 9) for off in (1, 1.0001)] == [2, 3, 9, 10]
    assert CHAT.in_flight(1e9) == CHAT.memory_batch


TAKEN = [
    {"n_hidden_tokens": 210},
    {"hours_per_day": 12, "peak_over_mean": 2},
    {"reserved_tokens": 1366},
    {"usd_per_device_hour": 2.0, "idle_usd_per_device_hour": 2.0},
    {"rentals": (RESERVED,), "idle_usd_per_device_hour": 2.0},
    {"peak_over_mean": 1},
    {"acceptance_rate": 0},
    {"fill": 1},
    {"rentals": (RESERVED,), "hours_per_day": 8},
    {"rentals": (replace(RESERVED, replicas=0, lost=0.0, hours_per_day=24),)},
]


@pytest.mark.parametrize("changes", TAKEN)
def test_a_case_may_be_at_its_bounds(changes):
    assert replace(CHAT, **changes).requests_per_s == 40


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replicas": -1}, "zero or more replicas"),
        ({"hours_per_day": 0}, "up to 24 hours"),
        ({"hours_per_day": 24.1}, "up to 24 hours"),
        ({"lost": -0.1}, "from 0 to below 1"),
        ({"lost": 1}, "from 0 to below 1"),
        ({"usd_per_device_hour": 0}, r"A rent \(contract\) is positive"),
    ],
)
def test_a_rental_that_cannot_be_is_refused(changes, words):
    with pytest.raises(BytebillError, match=words):
        replace(RESERVED, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_input_tokens": 0}, "at least one input token"),
        ({"n_input_tokens": 1.5}, "in whole numbers"),
        ({"speed": 0}, "A speed is positive"),
        ({"hours_per_day": 12, "peak_over_mean": 1.99}, "peak of 2.00 times"),
        ({"ttft_slo_s": 0}, "A limit is a time above zero, not 0 and 0.05"),
        ({"ttft_slo_s": nan}, "A limit is a time above zero"),
        ({"rentals": (replace(RESERVED, terms="on demand"),)}, "is what no rental pays"),
        ({"fill": 1.01}, "above 0"),
    ],
)
def test_a_case_beyond_its_bounds_is_refused(changes, words):
    with pytest.raises(BytebillError, match=words):
        replace(CHAT, **changes)


def printed(section):
    return [row["printed"] for row in section["rows"]]


def test_rows_of_speed_are_a_statements_numbers(typed):
    section = answering._speed(typed())
    assert printed(section) == [
        "1,234 at once in a replica",
        "TPOT",
        "1.23 s",
        "40.4 ms",
        "24.8 tokens/s",
        "2,110 output tokens/s",
        "10 requests/s",
    ]
    values = [row["value"] for row in section["rows"]]
    assert values[0] == 1234 and values[2:] == pytest.approx([1.2346, 0.0404, 1 / 0.0404, 2110, 10])


@pytest.fixture
def money(typed):
    """5.32 replicas, USD 52,560 over 52,560,000 requests; half as fast eleven of them, and at the other end nobody."""
    found = typed(requests_per_s=20, rentals=(), hit_rate=0.0, program="vllm")
    answered = answering._Answered(found)
    answered.__dict__["ends"] = (replace(found, capacity_per_s=5.0), None)
    return answering._money(answered, "50%, as I say")


def test_rows_of_money_are_a_statements_numbers(money):
    told = ["20", "6 (5.32 are needed)", "24", "50%, as I say", "33.3%"]
    assert printed(money)[1:6] == told and printed(money)[7] == "USD 1.00"
    at_scale = 5.32 * 12 / 3600 / 20 / 211 * 1e6
    assert printed(money)[9] == f"USD {at_scale:.2f}"
    values = [row["value"] for row in money["rows"]]
    assert values[:8] == pytest.approx([3, 20, 6, 24, 0.5, 1 / 3, 52560, 1])
    assert values[8:10] == pytest.approx([1e3 / 211, at_scale])


def test_rows_of_money_tell_both_ends_of_the_clocks_error(money):
    clock = replace(CHAT, program="vllm").clock
    ratio = phase_time(clock, batch_size=1234, n_input_tokens=1155, n_output_tokens=211).ratio
    usd_in = 1e3 / (1155 + ratio * 211)
    assert [printed(money)[row] for row in (6, 8)] == [
        "USD 52,560 (96,360 to not within the limits)",
        "USD 4.74 (8.69 to not within the limits)",
    ]
    for row, usd in ((10, usd_in), (11, ratio * usd_in)):
        assert printed(money)[row] == f"USD {usd:.2f} ({usd * 11 / 6:.2f} to not within the limits)"
        assert money["rows"][row]["value"] == pytest.approx(usd)
    assert f"may be {exp(VLLM.error) - 1:.0%} off" in money["note"]


def test_a_headline_says_when_both_ends_need_the_same_fleet(typed):
    answered = answering._Answered(typed())
    answered.__dict__["ends"] = (typed(), typed())
    assert answering._headline(answered) == (
        "Llama-3-70B on 44 x H100 SXM5: USD 87,600 a month, USD 3.95 (same fleet at both ends) per million output "
        "tokens, input included,"
    )


def test_a_clock_is_too_slow_at_one_end_of_its_error_and_too_fast_at_the_other():
    case = replace(CHAT, program="vllm")
    low, high = answering._Answered(statement(case)).ends
    assert [low.case.speed, high.case.speed] == pytest.approx([exp(VLLM.error), exp(-VLLM.error)])
    tight = replace(case, tpot_slo_s=case.tpot_s(1) * 1.01)
    low, high = answering._Answered(statement(tight)).ends
    assert low.tpot_s <= tight.tpot_slo_s and high is None


@pytest.mark.parametrize(
    ("users", "longest", "fewest", "told"),
    [
        ((320, 276, 348), 4716, 4, ["yes", "2.00 GB (1.86 GiB)", "320 (276 to 348)", "4,716 tokens", "4"]),
        (
            (5, 0, 1234),
            0,
            None,
            [
                "perhaps: not if all that is uncertain takes most",
                "2.00 GB (1.86 GiB)",
                "5 (0 to 1,234)",
                "none",
                "no even group of up to 64",
            ],
        ),
        ((0, 0, 3), 0, 8, ["no", "2.00 GB (1.86 GiB)", "0 (0 to 3)", "none", "8"]),
    ],
)
def test_rows_of_what_fits_are_what_a_footprint_says(users, longest, fewest, told):
    at = dict(zip(("value", "high", "low"), users, strict=True))
    served = SimpleNamespace(
        users=lambda n, corner: at[corner] if n == 1366 else None,
        longest_context=lambda n: longest if n == 1 else None,
        weight_bytes=2e9,
    )
    case = SimpleNamespace(n_input_tokens=1155, n_output_tokens=211, fewest_devices=fewest)
    section = answering._fits(served, case)
    assert printed(section) == told
    assert [row["value"] for row in section["rows"]] == [float(users[0] > 0), None, users[0], longest, fewest]
    assert (answering._perhaps(served, case) == "") == (users[1] > 0)


def test_a_cache_in_use_is_no_more_than_there_is_room_for(typed):
    served = Footprint(deployment=CHAT.deployment, program=program("vllm"))
    room = served.at("value").cache_bytes
    for n, held in ((1234, room), (8, 8 * CHAT.deployment.user_bytes((1155 - 288 + 105.5) / HELD_SHARE) / 4)):
        memory = answering._memory(served, replace(typed(), batch_size=n))
        assert [part["value"] for part in memory["parts"][-2:]] == pytest.approx([held, room - held])
    assert [part["value"] for part in answering._memory(served, None)["parts"][-2:]] == pytest.approx([0, room])


def test_a_step_without_others_prompts_waits_for_its_own_longest_part(typed):
    section = answering._step(replace(typed(hit_rate=0.0), tpot_s=0.0, batch_size=1))
    rows = {row["name"]: row for row in section["rows"]}
    assert rows["… others' prompts alone"]["value"] == 0
    assert (
        rows["… and with others' prompts"]["printed"] == rows["Longest part of the step itself"]["printed"] == "weights"
    )


def test_points_under_a_roof_are_a_steps_arithmetic_over_its_bytes_and_its_time():
    case = replace(CHAT, hit_rate=0.5, ttft_slo_s=inf)
    found = statement(case)
    loads = (
        Load(chunks=(Chunk(context_len=577, n_new_tokens=578),)),
        Load.decode(batch_size=found.batch_size, context_len=1260),
    )
    for point, load in zip(answering._roofline(found)["points"], loads, strict=True):
        cost = CHAT.deployment.step_cost(load)
        assert (point["x"], point["y"]) == pytest.approx(
            (cost.flops / cost.bytes, cost.flops / CHAT.clock.step_s(load) / 4)
        )


@pytest.mark.parametrize(
    ("given", "quick", "ids"),
    [
        ({}, True, "fits speed step money offers"),
        ({}, False, "fits speed step money offers reverse levers in-place"),
        ({"n": "1"}, False, "fits"),
        ({"n": "3"}, False, ""),
    ],
)
def test_an_answer_has_the_parts_that_could_be_answered(given, quick, ids):
    found = answer(given, quick=quick)
    assert [part["id"] for part in found["sections"]] == ids.split()
    priced = "money" in ids
    assert (
        (found["refused"] is None) == priced == bool(found["headline"]) == bool(found["yaml"]) == bool(found["notes"])
    )
    assert (found["markdown"] != "") == (priced and not quick) and (found["roofline"] is not None) == priced
    assert (found["memory"] is not None) == bool(ids)


@pytest.mark.parametrize(
    ("usd_per_request", "rent", "share", "traffic"),
    [
        (
            11 / 24_000,
            "USD 1.50 an hour a device",
            "72.8%",
            "at no rate: at this fill and peak, full replicas ask more",
        ),
        (1e-9, "none of a cent or more", "at none: 33333333.4% would be needed", "at no rate"),
        (0.0017734, "USD 5.80 an hour a device", "18.8%", "1.88 requests/s, and always beyond"),
        (
            0.0011083,
            "USD 3.62 an hour a device",
            "30.1%",
            "3.01 requests/s, dearer again at each new replica; always beyond 15.1",
        ),
    ],
)
def test_a_host_is_beaten_by_a_rent_a_utilization_and_a_rate(typed, usd_per_request, rent, share, traffic):
    """A replica costs USD 12 an hour and serves 36,000 requests; eleven of them USD 96,360 for 105,120,000."""
    found = typed(rentals=())
    price = api_price("Llama 3.3 70B", host="Groq")
    month = usd_per_request * 105_120_000
    offer = Offer(price=price, cache="none", usd_per_request=usd_per_request, usd_per_month=month)
    stub = SimpleNamespace(longest_context=lambda n: 7 if n == 1234 else None, users=lambda n: 1000 + n)
    asked = [*questions(found, Hosts(same=(offer,), other=()), stub)]
    told = {name: said for name, said, _ in asked}
    assert [*told.values()][:2] == ["7 tokens", "2,366"]
    at = price.name
    assert (told[f"Highest rent that beats {at}"], told[f"Utilization from which it beats {at}"]) == (rent, share)
    assert told[f"Traffic from which it beats {at}"].startswith(traffic)
    assert (asked[2][2] is None) == rent.startswith("none") and (asked[4][2] is None) == traffic.startswith("at no")


def price_at(batch_size):
    """Of a million output tokens with so many slots and no limit on TPOT, if replicas came in fractions."""
    there = statement(replace(CHAT, tpot_slo_s=inf, max_batch_size=batch_size))
    return there.at_scale_usd_per_request / 211 * 1e6


def limit_for(usd_per_m, **changes):
    served = Footprint(deployment=CHAT.deployment, program=program("vllm"))
    *_, asked = questions(statement(replace(CHAT, **changes)), Hosts(same=(), other=()), served, usd_per_m=usd_per_m)
    return asked


@pytest.mark.parametrize("n", [1, 2, 33, CHAT.memory_batch])
def test_a_price_is_reached_by_the_smallest_batch_whose_price_it_is(n):
    name, said, limit_s = limit_for(price_at(n))
    assert name.startswith(f"TPOT limit for USD {price_at(n):,.2f} a million") and f"a batch of {n:,} (" in said
    assert CHAT.tpot_s(n) <= limit_s <= CHAT.tpot_s(n) * 1.01


@pytest.mark.parametrize(("changes", "most"), [({}, CHAT.memory_batch), ({"max_batch_size": 8}, 8)])
def test_a_price_that_no_batch_reaches_is_answered_with_that_of_the_largest(changes, most):
    _, said, limit_s = limit_for(price_at(most) * 0.999, **changes)
    assert (said, limit_s) == (f"none: without one it is USD {price_at(most):,.2f}", None)


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


RENTS = {"faster": accelerator("h200-sxm"), "faster_usd_per_hour": 4.0, "contract_usd_per_hour": 2.0}


def test_a_lever_makes_a_price_and_a_token_cheaper_by_its_factors():
    """Those of several fleets weighed by their requests, here a quarter of them; of one in place, what it does."""
    quarter = standard_levers(**RENTS, longest_tokens=8192, smaller=model("llama-3-8b"), routed_share=0.25)
    now = statement(CHAT)
    for found in ranked(quarter, CHAT):
        moved = [statement(case) for case in found.lever.move(CHAT, as_filled)]
        shares = [0.75, 0.25] if found.lever.name.startswith("half") else [1.0]
        assert [each.case.requests_per_s for each in moved] == pytest.approx([40 * share for share in shares])
        for name, factor in (
            ("at_scale_usd_per_request", found.factor),
            ("bytes_per_output_token", found.bytes_factor),
        ):
            usd = sum(share * getattr(each, name) for share, each in zip(shares, moved, strict=True))
            ratio = getattr(now, name) / usd
            assert factor == pytest.approx(1 / ratio if found.lever.in_place else ratio), found.lever.name


def test_levers_take_the_shares_that_their_caller_names():
    named = standard_levers(**RENTS, longest_tokens=1, smaller=model("llama-3-8b"), hit_rate=0.2, n_draft_tokens=7)
    moves = {lever.name: lever.move for lever in named}
    assert moves["prefixes found"](CHAT, as_filled) == [replace(CHAT, hit_rate=0.2)]
    assert moves["guessing ahead"](CHAT, as_filled) == [replace(CHAT, n_draft_tokens=7)]
    chapters = [(lever.chapter, lever.in_place) for lever in named]
    assert chapters == [*((n, n < 6) for n in (3, 4, 5, 6, 11, 11, 12, 13, 14, 15, 17, 18, 19))]


def test_a_lever_that_nothing_serves_is_none_and_one_that_breaks_the_limits_too():
    def nowhere(case, filled):
        raise BytebillError("No.")

    assert effect(Lever("x", 1, DOLLARS, nowhere), CHAT) is None
    assert effect(Lever("x", 1, DOLLARS, lambda case, filled: [replace(case, tpot_slo_s=1e-6)]), CHAT) is None
    told = []
    for in_place in (True, False):
        effect(Lever("x", 1, DOLLARS, lambda case, filled: told.append(filled) or [case], in_place), CHAT, max)
    assert told == [as_filled, max]  # a lever in place is priced at the fill that there is


@pytest.mark.parametrize(
    ("code", "printed", "wrong"),
    [
        ("def f():\n    1 / 0\n\nf()", "", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('')", "", "line 2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("print(1)\nNone", "1\n", None),
        ("display(3)", "3\n", None),
        ("x = 3", "", None),
        ("__name__", "'__main__'\n", None),
        ("'a'\n'b'", "'b'\n", None),
        ("'\ud800'", "", "line 1: UnicodeEncodeError: 'utf-8' codec can't encode character"),
    ],
)
def test_a_snippet_shows_its_last_value_or_the_line_that_went_wrong(code, printed, wrong):
    found = run_snippet(code)
    assert found["printed"] == printed and (found["wrong"] or "").startswith(wrong or "")
    assert (found["wrong"] is None) == (wrong is None)


def test_a_snippet_is_asked_and_answered_as_json():
    assert snippet_text(json.dumps("print('é')")) == '{"printed": "é\\n", "wrong": null}'


def test_a_page_asks_for_all_or_quickly_or_for_a_fill(monkeypatch):
    monkeypatch.setattr(answering, "answer", lambda given, quick=False: {"…": [given, quick]})
    monkeypatch.setattr(answering, "fill_of", lambda given: {"fill": given})
    texts = [answer_text(json.dumps({"what": what, "fields": {"n": "4"}})) for what in ("all", "quick", "fill")]
    assert texts == ['{"…": [{"n": "4"}, false]}', '{"…": [{"n": "4"}, true]}', '{"fill": {"n": "4"}}']


def test_a_fill_that_is_found_has_its_mark_and_one_that_is_not_has_that_of_its_limits(monkeypatch):
    fields = {"n": "4", "in": "900"}
    asked = read_fields(fields)
    monkeypatch.setattr(answering, "search_fill", lambda case: ("41", ""))
    marked = {"refused": None, "fill": "41", "found": fill.fill_mark(asked | {"fill": "41"})}
    assert answering.fill_of(fields) == answering.fill_of(fields | {"config": 7}) == marked
    monkeypatch.setattr(answering, "search_fill", lambda case: ("", "No."))
    none = {"refused": "No.", "fill": None, "found": None, "limits": fill.limits_mark(asked)}
    assert answering.fill_of(fields) == none
    assert "split evenly" in answering.fill_of({"n": "3"})["refused"]


def test_a_pasted_model_begins_with_a_brace_and_a_blank_is_none():
    asked = read_fields({})
    assert form_of(asked, "  {}")["model"] == "  {}" and form_of(asked, " \n")["model"] == "llama-3.1-70b"
    with pytest.raises(BytebillError, match="begins with a brace"):
        form_of(asked, "x{}")


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


def test_the_cheapest_host_is_the_first_of_the_same_model():
    found = statement(replace(CHAT, requests_per_s=1.0))
    hosts = hosts_of(found, closed="GPT-4o")
    assert hosts.cheapest == hosts.same[0] and hosts.offers == hosts.same + hosts.other and hosts.other
    usd = [offer.usd_per_month for offer in hosts.same]
    assert usd == sorted(usd) and len(usd) > 1
    assert Hosts(same=(), other=hosts.other).cheapest is None


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ((0.5,), "1 offer by a host of this model on file would ask 50% of this."),
        ((0.0049, 0.006), "2 offers by hosts of this model on file would ask under 1% and 1% of this."),
        ((0.1, 0.2, 12.345), "3 offers by hosts of this model on file would ask 10%, 20% and 1,234% of this."),
        ((), "No host of this model is on file."),
    ],
)
def test_offers_of_hosts_are_told_as_shares_of_the_invoice(typed, shares, told):
    same = tuple(SimpleNamespace(usd_per_month=87_600 * share) for share in shares)
    assert answering._verdict(typed(), Hosts(same=same, other=())) == told


@pytest.mark.parametrize(
    ("id", "fill", "n_out", "tpot", "n_notes"),
    [
        ("h100-sxm", 0.9, 2, "50", 2),
        ("h100-sxm", 0.89, 1, "50", 2),
        ("h100-sxm", 0.89, 1, "", 1),
        ("mi300x", 0.95, 1, "50", 4),
    ],
)
def test_notes_are_as_many_as_there_is_to_know(typed, id, fill, n_out, tpot, n_notes):
    case = typed(fill=fill, n_output_tokens=n_out, n_hidden_tokens=0).case.on(accelerator=accelerator(id))
    notes = answering._notes(replace(typed(), case=case), Hosts(same=(), other=()), {"tpot": tpot})
    assert len(notes) == n_notes and notes[0] == "No host of this model is on file."


@pytest.fixture
def paced(monkeypatch):
    """A server of which so many answers are late, by rate and seed, and what it was asked."""
    tried = []

    def of(late):
        def served(group, policy, constants, inputs, outputs, n_requests, rate_per_s, seed):
            tried.append((round(rate_per_s, 9), seed, n_requests, policy))
            return late(rate_per_s, seed)

        monkeypatch.setattr(usable, "_served", served)
        monkeypatch.setattr(Slo, "share", lambda self, late_share: 1 - late_share)
        usable_share.cache_clear()
        return tried

    yield of
    usable_share.cache_clear()


def usable_of_ten(**given):
    """Of a replica that serves ten a second, on CHAT's devices."""
    asked = {"program_id": "vllm", "constants": VLLM, "capacity_per_s": 10.0, "tpot_s": 1.0}
    return usable_share(CHAT.deployment, **asked | {"n_input_tokens": 900, "n_output_tokens": 50} | given)


@pytest.mark.parametrize("most_per_s", [9.9, 5.0, 1.9, 0.3, 0.005])
def test_a_usable_share_is_found_to_four_percent(paced, most_per_s):
    tried = paced(lambda rate, seed: 0.0 if rate <= most_per_s else 1.0)
    found = usable_of_ten()
    assert most_per_s / 10 / 1.04 <= found <= most_per_s / 10
    kept = [seed for rate, seed, *_ in tried if rate == round(10 * found, 9)]
    assert kept == [0, 1, 2, 3, 4] and {n for _, _, n, _ in tried} == {500}


def test_all_of_a_replica_is_usable_where_its_capacity_is_in_time(paced):
    paced(lambda rate, seed: 0.0 if rate <= 10 else 1.0)
    assert usable_of_ten() == 1.0


@pytest.mark.parametrize(("most_per_s", "refused"), [(0.0033, False), (0.0031, True)])
def test_below_a_thousandth_nothing_is_usable(paced, most_per_s, refused):
    """A fifth of a fifth and so on: the last point is 1 in 3,125."""
    paced(lambda rate, seed: 0.0 if rate <= most_per_s else 0.25)
    if refused:
        with pytest.raises(
            BytebillError, match=r"a replica gives 75\.00% of answers within the limits, and 99\.00% are"
        ):
            usable_of_ten()
    else:
        assert usable_of_ten() == pytest.approx(most_per_s / 10, rel=0.04)


@pytest.mark.parametrize(
    ("late", "attainment", "kept"),
    [
        ({0: 0.05}, 0.99, True),
        ({4: 0.051}, 0.99, False),
        ({0: 0.01, 1: 0.01, 2: 0.01, 3: 0.01, 4: 0.01}, 0.99, True),
        ({0: 0.25, 3: 0.25}, 0.9, True),
        ({0: 0.25, 3: 0.26}, 0.9, False),
    ],
)
def test_answers_of_all_draws_are_counted_together(paced, late, attainment, kept):
    paced(lambda rate, seed: late.get(seed, 0.0) if rate > 9.99 else 0.0)
    given = {} if attainment == 0.99 else {"attainment": attainment}
    assert (usable_of_ten(**given) == 1.0) == kept


@pytest.mark.parametrize(
    ("given", "n_slots", "budget"),
    [({}, 256, 8192), ({"n_slots": 7}, 7, 8192), ({"n_slots": 10**6}, 256, 8192), ({"step_tokens": 512}, 256, 512)],
)
def test_a_replica_is_tried_with_the_slots_and_steps_of_its_program_or_fewer(paced, given, n_slots, budget):
    tried = paced(lambda rate, seed: 0.0)
    usable_of_ten(**given)
    assert {(policy.n_slots, policy.token_budget) for *_, policy in tried} == {(n_slots, budget)}
    with pytest.raises(BytebillError, match="some requests a second, not 0"):
        usable_of_ten(capacity_per_s=0)


def test_a_fleet_may_have_a_million_devices_and_no_more(monkeypatch):
    case = replace(CHAT, spare_replicas=1)
    devices = 4 * (statement(case).needed + 1)
    monkeypatch.setattr(bill, "MOST_DEVICES", devices)
    assert statement(case).n_devices >= devices
    monkeypatch.setattr(bill, "MOST_DEVICES", devices * 0.999)
    with pytest.raises(BytebillError, match="and no fleet has more than"):
        statement(case)


def test_choices_are_labelled_and_what_is_served_today_comes_first():
    labels = {name: field.options() for name, field in FORM_FIELDS.items() if field.options}
    assert list(labels["m"])[: len(PUBLISHED)] == list(PUBLISHED) and labels["m"]["llama-3.1-8b"] == "Llama-3.1-8B"
    assert labels["gpu"]["h100-sxm"] == "H100 SXM5" and labels["by"]["trtllm"] == "TensorRT-LLM"
    assert next(iter(labels["w"].items())) == ("auto", "as published") and labels["kv"] == {
        "bf16": "bf16",
        "fp8": "fp8",
    }
    assert labels["load"] == {"rate": "requests a second", "users": "requests at once"}
    assert labels["attn"] == {"tensor": "devices share heads", "data": "each its own users"}
    assert next(iter(labels["api"].items())) == ("", "none") and labels["api"]["GPT-4o"] == "GPT-4o"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("half to Llama-3.1-8B", "if half of the requests are as well answered by the smaller model"),
        ("contract for a year", "C"),
        ("H200 SXM", "F"),
        ("8-bit cache", "if quality holds"),
        ("limits twice as long", "if users wait twice as long, at the same fill"),
    ],
)
def test_a_lever_says_what_it_takes_for_granted(name, told):
    pulled = LeverEffect(lever=replace(LEVERS[0], name=name), saved_usd=1.0, factor=1.0, bytes_factor=1.0)
    assert assumed_by(pulled, faster="F", contract="C") == told
    plain = {lever.name for lever in LEVERS} - {"half to Llama-3-8B", "contract for a year", "H200 SXM"}
    assert {*ASSUMES} == plain


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (1.004, "the same at scale"),
        (0.996, "the same at scale"),
        (1.006, "1.01 times cheaper at scale"),
        (0.994, "1.01 times dearer at scale"),
        (12.34, "12.3 times cheaper at scale"),
    ],
)
def test_a_factor_is_told_from_half_a_percent_on(factor, told):
    assert times_told(factor) == told


def test_levers_of_the_page_are_at_rents_on_file_and_promise_slots_for_the_longest():
    case = Form.read(form_of(read_fields({}))).case
    told = {pulled.lever.name: (pulled.lever, assumed) for pulled, assumed in levers_of(case)}
    h200_usd = rent_of("h200-sxm").usd_per_gpu_hour
    assert told["contract for a year"][1] == f"at USD {A_YEAR:,.2f} an hour a device, paid all year"
    assert told[H200][1].startswith(f"at USD {h200_usd:,.2f} an hour a device, on the cheapest even group")
    moved = {name: lever.move(case, as_filled)[0] for name, (lever, _) in told.items()}
    assert moved["contract for a year"].usd_per_device_hour == A_YEAR and moved[H200].usd_per_device_hour == h200_usd
    assert moved["paging the cache"].reserved_tokens == case.deployment.model.context_len == 131_072
