"""A deployment's statement keeps its limits, its money adds up, and levers do what they say."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.memory import Footprint
from bytebill.models import model, precision
from bytebill.programs import program
from bytebill.roofline import Load
from bytebill.serving.memory.paged import Paged
from bytebill.serving.memory.waste import mean_usage
from bytebill.serving.workload.published import sharegpt_like
from bytebill.sim.steady import SteadyState
from bytebill.statement import HELD_SHARE, Case, markdown, statement
from bytebill.statement.levers import DOLLARS, ranked, standard_levers

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
LEVERS = standard_levers(
    faster=accelerator("h200-sxm"),
    faster_usd_per_hour=4.0,
    contract_usd_per_hour=2.0,
    longest_tokens=8192,
    smaller=model("llama-3-8b"),
)
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
@given(case=cases)
def test_money_and_requests_are_conserved(case):
    found = statement(case)
    per_month = case.requests_per_s * 3600 * 730
    assert found.usd_per_request * per_month <= found.usd_per_month * (1 + 1e-9)  # whole devices cost at least as much
    assert (
        found.n_devices * found.capacity_per_s / case.deployment.n_devices
        >= case.requests_per_s * case.peak_over_mean * 0.999
    )
    assert 0 < found.utilization <= 1 / case.peak_over_mean + 1e-9
    assert found.usd_per_m_output * case.n_output_tokens / 1e6 == pytest.approx(found.usd_per_request)


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
    assert busy.usd_per_request == pytest.approx(once.usd_per_request)
    assert busy.replicas == pytest.approx(2 * once.replicas)


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
        ({"peak_over_mean": 0.5}, "A peak is at least the mean"),
        ({"n_devices": 1}, "there is room for 0 tokens"),
        ({"n_devices": 2, "n_input_tokens": 9000}, "room for 8,827 tokens"),
        ({"tpot_slo_s": 0.001}, "even alone, a request takes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(BytebillError, match=sentence):
        n_devices = changes.pop("n_devices", 4)
        statement(replace(CHAT.on(n_devices=n_devices), **changes))


def test_levers_in_place_save_and_the_ranking_is_one():
    found = ranked(LEVERS, CHAT)
    assert [each.factor for each in found] == sorted((each.factor for each in found), reverse=True)
    assert {each.lever.name for each in found} == {lever.name for lever in LEVERS}
    assert all(each.factor >= 1 - 1e-9 for each in found if each.lever.in_place)


def test_a_cheaper_hour_moves_no_byte_and_a_narrower_weight_does():
    found = {each.lever.name: each for each in ranked(LEVERS, CHAT)}
    assert found["contract for a year"].factor == pytest.approx(1.5)
    for each in found.values():
        if each.lever.term == DOLLARS and each.lever.name != "H200 SXM":
            assert each.bytes_factor == pytest.approx(1)
    assert found["8-bit weights"].bytes_factor > 1.5


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
