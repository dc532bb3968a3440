"""What a prompt cache finds and what it costs: sessions that come back, hosts' rules, and the bill of a call."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.economics.caching import CachedCall, CacheRule, bill_of_calls, rules_of
from bytebill.economics.prices import API_PRICES, api_price
from bytebill.errors import BytebillError
from bytebill.serving.workload.sessions import Questions, Sessions, Turn, found_tokens

CHAT = Sessions(
    n_sessions=12,
    n_turns=4,
    n_system_tokens=64,
    n_first_tokens=48,
    n_new_tokens=64,
    n_output_tokens=10,
    gap_s=lambda chance: chance.expovariate(0.1),
    block_size_tokens=16,
)
RAG = Questions(
    n_questions=200,
    n_documents=30,
    n_quoted=3,
    skew=1.0,
    n_system_tokens=32,
    n_document_tokens=64,
    n_question_tokens=20,
    n_output_tokens=10,
    block_size_tokens=16,
)


def found(turns: list[Turn], cache_tokens: float = 1e6) -> list[int]:
    return found_tokens(turns, cache_tokens=cache_tokens, block_size_tokens=16)


# ---- who comes back


@pytest.mark.parametrize("seed", range(3))
def test_a_cache_that_forgets_nothing_finds_all_that_came_before(seed: int) -> None:
    turns = list(replace(CHAT, seed=seed))
    assert found(turns) == [turn.n_repeated_tokens for turn in turns]
    assert all(a.request.arrival_s <= b.request.arrival_s for a, b in pairwise(turns))
    assert sum(turn.gap_s == inf for turn in turns) == 12
    assert turns == list(replace(CHAT, seed=seed)) != list(replace(CHAT, seed=seed + 1))


def test_the_same_turns_with_the_stable_part_last_find_nothing() -> None:
    first, last = list(CHAT), list(replace(CHAT, stable_first=False))
    assert [turn.n_repeated_tokens for turn in first] == [turn.n_repeated_tokens for turn in last]
    assert [turn.request.n_input_tokens for turn in first] == [turn.request.n_input_tokens for turn in last]
    assert sum(found(first)) > 0 == sum(found(last))


def test_a_small_cache_finds_less_and_never_what_did_not_come_before() -> None:
    turns = list(replace(CHAT, n_sessions=40))
    sizes = [sum(found(turns, size)) for size in (16, 512, 2048, 8192, 1e6)]
    assert sizes == sorted(sizes) and sizes[0] == 0 < sizes[1] < sizes[-1]
    assert all(n <= turn.n_repeated_tokens for n, turn in zip(found(turns, 2048), turns, strict=True))


def test_documents_are_found_only_in_the_order_of_an_earlier_question() -> None:
    turns = list(RAG)
    got, before = sum(found(turns)), sum(turn.n_repeated_tokens for turn in turns)
    assert 0 < got < 0.7 * before, "each question has an order of its own"
    assert found(one := list(replace(RAG, n_quoted=1))) == [turn.n_repeated_tokens for turn in one]
    assert sum(found(list(replace(RAG, by_rank=True)))) > got


def test_a_turn_begins_with_all_of_the_turn_before_it() -> None:
    turns = list(CHAT)
    for turn in turns:
        before = turn.request.prefix[: turn.n_repeated_tokens // 16]
        if turn.gap_s < inf:
            came_s = turn.request.arrival_s - turn.gap_s
            assert [t for t in turns if t.request.prefix == before and abs(t.request.arrival_s - came_s) < 1e-9]
        else:
            assert turn.request.n_input_tokens == 64 + 48, "system prompt and first question"
        assert turn.n_shared_tokens == (64 if turn.request.id else 0)
        assert turn.request.n_input_tokens == 16 * len(turn.request.prefix)


def test_turns_and_what_they_add_are_spread_by_half_around_their_means() -> None:
    """Turns 2 to 6, mean 4; later ones add 2 to 6 blocks of 16, mean 4; a session a second begins."""
    turns = list(replace(CHAT, n_sessions=300))
    first, later = ([t for t in turns if (t.gap_s == inf) == begins] for begins in (True, False))
    added = [(t.request.n_input_tokens - t.n_repeated_tokens) // 16 for t in later]
    assert (min(added), max(added)) == (2, 6) and sum(added) / len(added) == pytest.approx(4, rel=0.03)
    assert len(turns) / 300 == pytest.approx(4, rel=0.05)
    assert 300 / max(t.request.arrival_s for t in first) == pytest.approx(1, rel=0.1)


def test_a_question_is_instructions_documents_and_what_is_asked() -> None:
    turns = list(RAG)
    assert {turn.request.n_input_tokens for turn in turns} == {32 + 3 * 64 + 20}
    assert {len(turn.request.prefix) for turn in turns} == {2 + 3 * 4}
    assert [turn.n_shared_tokens for turn in turns[:2]] == [0, 32]
    assert {len(t.request.prefix) for t in replace(RAG, n_document_tokens=15)} == {2 + 3}
    assert [t.request.n_input_tokens for t in replace(RAG, n_questions=1, n_question_tokens=0)] == [32 + 3 * 64 + 1]


@pytest.mark.parametrize(("skew", "share"), [(0, 1 / 2), (1, 2 / 3), (2, 4 / 5)])
def test_documents_are_quoted_by_the_weight_of_their_rank(skew: float, share: float) -> None:
    """Of two the first weighs 1 and the second 2 ** -skew."""
    turns = list(replace(RAG, n_questions=2000, n_documents=2, n_quoted=1, skew=skew))
    least = min(turn.request.prefix for turn in turns)
    found = sum(turn.request.prefix == least for turn in turns) / 2000
    assert found == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)


CHATS_NOBODY_HAS = [
    *({name: 0} for name in ("n_sessions", "n_turns", "n_first_tokens", "n_new_tokens", "block_size_tokens")),
    {"n_system_tokens": -1},
]
QUESTIONS_NOBODY_HAS = [{"n_quoted": 31}, *({name: 0} for name in ("n_quoted", "n_questions", "block_size_tokens"))]


@pytest.mark.parametrize("wrong", CHATS_NOBODY_HAS, ids=str)
def test_sessions_that_nobody_can_have_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BytebillError):
        replace(CHAT, **wrong)
    least = {name: n + 1 for name, n in wrong.items()}
    assert list(replace(CHAT, **{"n_sessions": 1, **least}))


@pytest.mark.parametrize("wrong", QUESTIONS_NOBODY_HAS, ids=str)
def test_questions_that_nobody_can_have_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BytebillError):
        replace(RAG, **wrong)
    least = {name: n + 1 if n == 0 else n - 1 for name, n in wrong.items()}
    assert list(replace(RAG, **{"n_questions": 5, **least}))


# ---- what it costs


def test_a_call_by_hand() -> None:
    """Sonnet 5: 2.00 fresh, 0.20 read, 2.50 written, 10.00 out, for a million."""
    price = api_price("Claude Sonnet 5", as_of="2026-11-15")
    rule = rules_of(price)[0]
    call = CachedCall(
        n_input_tokens=9_000,
        n_output_tokens=100,
        n_prefix_tokens=8_000,
        n_repeated_tokens=6_000,
        n_shared_tokens=2_000,
        gap_s=299,
    )
    assert bill_of_calls([call], price, rule) == pytest.approx(1e-6 * (6000 * 0.2 + 2000 * 2.5 + 1000 * 2 + 100 * 10))
    late = replace(call, gap_s=301)
    assert bill_of_calls([late], price, rule) == pytest.approx(1e-6 * (2000 * 0.2 + 6000 * 2.5 + 1000 * 2 + 100 * 10))
    short = replace(call, n_prefix_tokens=1_000, n_repeated_tokens=900, n_shared_tokens=900)
    assert bill_of_calls([short], price, rule) == pytest.approx(1e-6 * (9000 * 2 + 100 * 10)), "too short to be kept"


@given(read=st.floats(0, 0.95), write=st.floats(1, 3), n_reads=st.integers(0, 40))
def test_break_even_is_where_the_bill_turns(read: float, write: float, n_reads: int) -> None:
    rule, price = CacheRule(read=read, write=write, lifetime_s=60), api_price("GPT-4o")
    first = CachedCall(n_input_tokens=5000, n_output_tokens=0, n_prefix_tokens=5000)
    calls = [first, *[replace(first, n_repeated_tokens=5000, gap_s=1)] * n_reads]
    cheaper = bill_of_calls(calls, price, rule) < bill_of_calls(calls, price, CacheRule(read=1))
    if abs(n_reads - rule.break_even_reads) > 1e-6:
        assert cheaper == (n_reads > rule.break_even_reads)


def test_the_share_of_calls_in_time_at_which_a_conversation_breaks_even() -> None:
    rule, price = CacheRule(read=0.1, write=1.25, lifetime_s=300), api_price("GPT-4o")
    call = CachedCall(n_input_tokens=5000, n_output_tokens=0, n_prefix_tokens=5000, n_repeated_tokens=5000, gap_s=1)
    for n_in_time in range(101):
        calls = [call] * n_in_time + [replace(call, gap_s=301)] * (100 - n_in_time)
        cheaper = bill_of_calls(calls, price, rule) < bill_of_calls(calls, price, CacheRule(read=1))
        assert cheaper == (n_in_time / 100 > rule.break_even_share)


@given(
    sizes=st.lists(st.integers(0, 9_000), min_size=4, max_size=4),
    gap_s=st.sampled_from((10.0, 300.0, 301.0, inf)),
    least=st.sampled_from((0, 1024, 4096)),
    read=st.floats(0, 1),
    write=st.floats(1, 3),
)
def test_every_token_is_billed_once(sizes: list[int], gap_s: float, least: int, read: float, write: float) -> None:
    """At one price whatever is found, nothing changes; at others no bill leaves what reading or writing all costs."""
    shared, repeated, prefix, n_input = sorted(sizes)
    call = CachedCall(
        n_input_tokens=n_input,
        n_output_tokens=70,
        n_prefix_tokens=prefix,
        n_repeated_tokens=repeated,
        n_shared_tokens=shared,
        gap_s=gap_s,
    )
    price = api_price("GPT-4o")
    output_usd = 70 * price.output_usd_per_m / 1e6
    fresh_usd = n_input * price.input_usd_per_m / 1e6
    flat = CacheRule(read=1, lifetime_s=300, min_tokens=least)
    assert bill_of_calls([call], price, flat) == pytest.approx(fresh_usd + output_usd)
    rule = CacheRule(read=read, write=write, lifetime_s=300, min_tokens=least)
    usd = bill_of_calls([call], price, rule)
    assert read * fresh_usd - 1e-9 <= usd - output_usd <= write * fresh_usd + 1e-9
    assert bill_of_calls([call, call], price, rule) == pytest.approx(2 * usd)


def test_rules_and_prices_agree_on_what_a_write_costs() -> None:
    """Two lists by different people: writes as multiples in one, in dollars in the other."""
    for row in data.rows("api_prices"):
        if row["cache_write_usd_per_m"] and row["tier"] == "standard" and row["model_name"] != "Claude 3 Haiku":
            assert row["cache_write_usd_per_m"] / row["input_usd_per_m"] == pytest.approx(1.25)
    newest = api_price("Claude Sonnet 5")
    assert [rule.write for rule in rules_of(newest)] == [1.25, 2.0]


def test_every_host_with_a_price_for_reads_has_a_rule_and_no_other() -> None:
    for price in (each for prices in API_PRICES.values() for each in prices):
        rules = rules_of(price)
        assert bool(rules) == (price.cache_read_usd_per_m is not None)
        assert all(0 < rule.read < 1 for rule in rules)


def test_the_four_hosts_of_the_chapter_ask_for_what_their_guides_say() -> None:
    """Guides of November 2026; Google's own table has 4,096 for Gemini 3.1 Pro preview."""
    least = {"Claude Sonnet 5": 1024, "GPT-5.4": 1024, "Gemini 3.1 Pro preview (<=200k)": 4096, "DeepSeek V4 Pro": 64}
    assert {name: rules_of(api_price(name))[0].min_tokens for name in least} == least


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("Gemini 3.1 Pro preview (<=200k)", [("implicit", 1, inf, 4096)]),  # not the one that is paid by the hour
        ("GPT-5.4", [("before GPT-5.6", 1, 300, 1024)]),  # not the one of models that came later
        ("Claude Sonnet 5", [("5 minutes", 1.25, 300, 1024), ("1 hour", 2, 3600, 1024)]),
        ("Kimi K2 0711", [("as listed", 1, inf, 0)]),  # a price for reads, and nothing else on file
    ],
)
def test_a_model_has_the_rules_that_are_meant_for_it(name: str, rules: list[tuple[str, float, float, int]]) -> None:
    price = api_price(name)
    found = rules_of(price)
    assert [(rule.name, rule.write, rule.lifetime_s, rule.min_tokens) for rule in found] == rules
    for rule in found:
        assert rule.read * price.input_usd_per_m == pytest.approx(price.cache_read_usd_per_m)


CALL = CachedCall(n_input_tokens=100, n_output_tokens=0, n_prefix_tokens=80, n_repeated_tokens=50, gap_s=60)


@pytest.mark.parametrize(
    ("changes", "min_tokens", "weighed"),
    [
        ({}, 0, 50 * 0.5 + 30 * 2 + 20),
        ({"gap_s": 61}, 0, 80 * 2 + 20),  # too late: all is written again
        ({}, 50, 50 * 0.5 + 30 * 2 + 20),  # just long enough to be found
        ({}, 51, 80 * 2 + 20),
        ({}, 80, 80 * 2 + 20),  # just long enough to be written
        ({}, 81, 100),
        ({"n_shared_tokens": 20, "gap_s": inf}, 0, 20 * 0.5 + 60 * 2 + 20),
    ],
)
def test_what_is_found_and_what_is_written_by_the_second_and_the_token(changes, min_tokens, weighed) -> None:
    rule, price = CacheRule(read=0.5, write=2, lifetime_s=60, min_tokens=min_tokens), api_price("GPT-4o")
    usd = bill_of_calls([replace(CALL, **changes)], price, rule)
    assert usd == pytest.approx(weighed * price.input_usd_per_m / 1e6, rel=1e-12)


def test_rules_at_their_ends() -> None:
    free, flat, dear = CacheRule(read=0), CacheRule(read=1), CacheRule(read=1, write=1.25)
    assert (free.break_even_reads, free.break_even_share, free.pings) == (0, 0, inf)
    assert (flat.break_even_reads, flat.break_even_share, flat.pings) == (inf, inf, 1)
    assert (dear.break_even_reads, dear.break_even_share) == (inf, inf)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"read": -0.1}, "no more than a write"),
        ({"read": 1.5}, "no more than a write"),
        ({"read": 1.4, "write": 1.3}, "no more than a write"),
        ({"read": 0.1, "write": 0.5}, "a fresh token or more"),
        ({"read": 0.1, "lifetime_s": 0}, "and lasts"),
    ],
)
def test_impossible_rules_are_refused(wrong, says) -> None:
    with pytest.raises(BytebillError, match=says):
        CacheRule(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_shared_tokens": -1},
        {"n_shared_tokens": 81},
        {"n_repeated_tokens": 81},
        {"n_prefix_tokens": 101},
        {"n_prefix_tokens": 49},
        {"n_input_tokens": 79},
    ],
)
def test_impossible_calls_are_refused(wrong) -> None:
    with pytest.raises(BytebillError, match="part of what is kept"):
        replace(CALL, **wrong)
    assert replace(CALL, n_shared_tokens=80, n_repeated_tokens=80, n_input_tokens=80).n_prefix_tokens == 80
