"""A deployment's statement keeps its limits, its money adds up, and levers do what they say."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bytebill.economics.prices import api_price
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.memory import Footprint
from bytebill.models import model, precision
from bytebill.programs import program
from bytebill.roofline import Load
from bytebill.serving.memory.paged import Paged
from bytebill.serving.memory.waste import mean_usage
from bytebill.serving.workload.published import sharegpt_like
from bytebill.sim.closed_loop import REQUEST_S
from bytebill.sim.own_program import OwnProgram
from bytebill.sim.phase_time import phase_time
from bytebill.sim.steady import SteadyState
from bytebill.statement import HELD_SHARE, Rental, as_json, bill, fill, markdown, offers, statement, tornado
from bytebill.statement.levers import DOLLARS, Lever, as_filled, effect, ranked, standard_levers
from bytebill.statement.reverse import Hosts, questions
from statement_cases import CHAT, LEVERS, RESERVED, VLLM

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


def test_a_fleet_may_be_exactly_as_large_as_its_demand():
    flat = replace(CHAT, peak_over_mean=1.0)
    whole = replace(flat, requests_per_s=3 * statement(flat).capacity_per_s * flat.fill)
    found = statement(whole)
    assert found.replicas == 3 and found.utilization == pytest.approx(flat.fill)


def test_weights_that_leave_room_bring_a_replica_down_to_one_device():
    narrow = next(lever for lever in LEVERS if lever.name == "4-bit weights")
    (there,) = narrow.move(replace(CHAT.on(model=model("llama-3-8b")), requests_per_s=0.1), as_filled)
    assert there.deployment.n_devices == 1


def test_times_of_phases_are_of_users_and_tokens_that_there_are():
    counts = {"batch_size": 8, "n_input_tokens": 100, "n_output_tokens": 10}
    assert phase_time(CHAT.clock, **counts).ratio > 0
    for name in counts:
        with pytest.raises(BytebillError, match="count from one"):
            phase_time(CHAT.clock, **counts | {name: 0})


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


def test_a_fleet_may_have_a_million_devices_and_no_more(monkeypatch):
    case = replace(CHAT, spare_replicas=1)
    devices = 4 * (statement(case).needed + 1)
    monkeypatch.setattr(bill, "MOST_DEVICES", devices)
    assert statement(case).n_devices >= devices
    monkeypatch.setattr(bill, "MOST_DEVICES", devices * 0.999)
    with pytest.raises(BytebillError, match="and no fleet has more than"):
        statement(case)
