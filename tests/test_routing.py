"""Routers and bills conserve queries and money: every query is answered once and paid where it was answered."""

from __future__ import annotations

from datetime import date
from math import inf, isclose
from random import Random

import pytest

from bytebill.economics.prices import ApiPrice
from bytebill.economics.routing import (
    Graded,
    as_published,
    at_share,
    bill_share,
    calls_curve,
    calls_of_a_coin,
    coin,
    dearest_cheap_model,
    reaching,
    route,
    share_of_choice,
)
from bytebill.economics.switching import Turns, conversation_usd, fresh_tokens, longest_worth_leaving
from bytebill.errors import BytebillError


def queries(seed: int, n: int = 60) -> list[Graded]:
    rng = Random(seed)
    return [
        Graded(
            cheap_score=rng.choice((0.0, 1.0)),
            dear_score=rng.choice((0.0, 1.0, 1.0)),
            cheap_usd=rng.uniform(0, 0.3),
            dear_usd=rng.uniform(0.2, 2),
            n=rng.randint(1, 4),
            sure=rng.choice((0.1, 0.3, 0.5, 0.7)),
        )
        for _ in range(n)
    ]


def price(name: str, fresh: float, output: float, read: float | None, write: float | None = None) -> ApiPrice:
    return ApiPrice(
        model_name=name,
        vendor=name,
        host=name,
        tier="standard",
        weights="closed",
        input_usd_per_m=fresh,
        output_usd_per_m=output,
        cache_read_usd_per_m=read,
        cache_write_usd_per_m=write,
        as_of=date(2026, 11, 15),
        source_id=None,
        caution=None,
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cheap_first", [False, True])
def test_every_query_is_answered_once_and_paid_where(seed: int, cheap_first: bool) -> None:
    rng, asked = Random(seed), queries(seed)
    sent = [rng.random() < 0.4 for _ in asked]
    done = route(asked, [float(each) for each in sent], cheap_first=cheap_first)
    there = [query for query, each in zip(asked, sent, strict=True) if each]
    here = asked if cheap_first else [query for query, each in zip(asked, sent, strict=True) if not each]
    assert done.n == sum(query.n for query in asked)
    assert done.n_dear == sum(query.n for query in there)
    assert isclose(done.usd, sum(q.n * q.dear_usd for q in there) + sum(q.n * q.cheap_usd for q in here))
    scores = sum(q.n * (q.dear_score if each else q.cheap_score) for q, each in zip(asked, sent, strict=True))
    assert isclose(done.score, scores / done.n)


@pytest.mark.parametrize("seed", range(8))
def test_a_curve_begins_with_none_ends_with_all_and_each_point_is_a_routing(seed: int) -> None:
    asked = queries(seed)
    for cheap_first in (False, True):
        curve = calls_curve(asked, lambda query: query.sure, cheap_first=cheap_first)
        assert (curve[0].n_dear, curve[-1].n_dear) == (0, curve[0].n)
        for threshold, point in zip((0.1, 0.3, 0.5, 0.7), curve[1:], strict=True):
            again = route(asked, [float(q.sure <= threshold) for q in asked], cheap_first=cheap_first)
            assert (point.n_dear, point.n) == (again.n_dear, again.n)
            assert isclose(point.score, again.score) and isclose(point.usd, again.usd)


@pytest.mark.parametrize("seed", range(8))
def test_nobody_beats_the_oracle_and_a_cascade_pays_the_cheap_model_for_what_it_escalates(seed: int) -> None:
    asked = [Graded(cheap_score=q.cheap_score, dear_score=q.dear_score, n=q.n, sure=q.sure) for q in queries(seed)]
    best, sure = (calls_curve(asked, order) for order in (lambda q: -q.gain, lambda q: q.sure))
    n = best[0].n
    for point in sure:
        assert point.score <= max(at_share(best, point.share).score, max(each.score for each in best)) + 1e-12
        assert coin(asked, point.share).score <= at_share(best, point.share).score + 1e-12
        assert at_share(sure, point.share).score == pytest.approx(point.score)
    dearer = [Graded(cheap_score=q.cheap_score, dear_score=q.dear_score, n=q.n, cheap_usd=0.2) for q in asked]
    routed, cascaded = (coin(dearer, 0.3, cheap_first=first) for first in (False, True))
    assert isclose(cascaded.usd - routed.usd, 0.3 * 0.2 * n) and cascaded.score == routed.score


def test_the_coins_share_reaches_its_score() -> None:
    asked = [Graded(cheap_score=0, dear_score=1, n=3), Graded(cheap_score=1, dear_score=1, n=2)]
    share = calls_of_a_coin(cheap_score=0.4, dear_score=1.0, of_dear=0.95)
    assert isclose(coin(asked, share).score, 0.95)
    assert isclose(reaching(calls_curve(asked, lambda _: 0), 0.95).share, share)
    assert calls_of_a_coin(cheap_score=0.96, dear_score=1.0, of_dear=0.95) == 0
    with pytest.raises(BytebillError):
        reaching(calls_curve(asked, lambda _: 0), 1.1)


@pytest.mark.parametrize("seed", range(8))
def test_a_router_is_had_again_from_its_calls_and_its_score(seed: int) -> None:
    asked = queries(seed)
    low, high = coin(asked, 0.0).score, coin(asked, 1.0).score
    for calls, score in ((0.5, low + 0.5 * (high - low)), (0.6, low + 0.65 * (high - low))):
        parts = as_published(asked, calls=calls, score=score)
        sent = calls_curve(parts, lambda query: query.sure)[1]
        assert isclose(sum(part.n for part in parts), sum(query.n for query in asked))
        assert isclose(sent.share, calls) and isclose(sent.score, score)
    everything = calls_curve(as_published(asked, calls=1.0, score=high), lambda query: query.sure)
    assert isclose(everything[1].share, 1.0)
    with pytest.raises(BytebillError):
        as_published(asked, calls=1.2, score=high)


def test_what_choice_adds() -> None:
    assert share_of_choice(0.2, 0.2) == 0 and share_of_choice(0.2, 1.0) == 1
    assert share_of_choice(0.2, 0.1) < 0  # worse than a coin
    for calls, of_coin in ((0.2, 0.5), (0.4, 0.41), (0.3, 0.9)):
        at = dearest_cheap_model(calls, of_coin)
        assert isclose(bill_share(calls, price_ratio=at, cheap_first=True), bill_share(of_coin, price_ratio=at))
    assert dearest_cheap_model(0.6, 0.5) == 0


@pytest.mark.parametrize("seed", range(8))
def test_each_prompt_token_is_read_from_a_cache_or_fresh_and_paid_as_that(seed: int) -> None:
    rng = Random(seed)
    turns = Turns(n_first_tokens=rng.randint(0, 900), n_new_tokens=40, n_output_tokens=30, n_turns=9)
    offers = [price("a", 3, 15, 0.3, 3.75), price("b", 1, 5, 0.1), price("c", 0.5, 1, None)]
    chosen = [rng.choice(offers) for _ in range(9)]
    unread = fresh_tokens(turns, [each.name for each in chosen], keeps_answers=False)
    usd, known = 0.0, {"a": 0, "b": 0, "c": 0}
    for context, fresh, at in zip(turns.contexts(), unread, chosen, strict=True):
        assert 0 <= fresh <= context and context - fresh == known[at.name]
        known[at.name] = context
        usd += (fresh * {"a": 3.75, "b": 1, "c": 0.5}[at.name] + known_read(at, context - fresh)) / 1e6
        usd += 30 * at.output_usd_per_m / 1e6
    assert isclose(conversation_usd(turns, chosen), usd)
    assert sum(fresh_tokens(turns, ["a"] * 9)) == turns.contexts()[-1] - 8 * 30


def known_read(at: ApiPrice, n: int) -> float:
    return n * {"a": 0.3, "b": 0.1, "c": 0.5}[at.name]


def test_a_prefix_exists_from_which_leaving_for_a_turn_costs_more() -> None:
    dear, cheap = price("a", 3, 15, 0.3, 3.75), price("b", 1, 5, 0.1, 1.25)
    longest = longest_worth_leaving(dear, cheap, n_new_tokens=100, n_output_tokens=200)
    assert isclose(longest, (100 * 2.5 + 200 * 10) / (1.25 - 0.3))

    def turn_usd(offer: ApiPrice, warm: bool, length: float) -> float:
        write = offer.cache_write_usd_per_m
        prefix = length * (offer.cache_read_usd_per_m if warm else write)
        return prefix + 100 * write + 200 * offer.output_usd_per_m

    for factor, stays in ((0.9, False), (1.1, True)):
        assert (turn_usd(dear, True, factor * longest) < turn_usd(cheap, False, factor * longest)) is stays
    assert longest_worth_leaving(dear, price("c", 0.2, 1, None), n_new_tokens=1, n_output_tokens=1) == inf
    assert longest_worth_leaving(cheap, dear, n_new_tokens=1, n_output_tokens=1) == 0


@pytest.mark.parametrize(
    ("cheap", "wanted"),
    [
        (price("c", 0.5, 1, 0.1), (100 * 3.25 + 200 * 14) / 0.2),  # no price for a write: 0.50 as fresh
        (price("c", 0.3, 1, 0.1), inf),  # as much as the dear model's read
    ],
)
def test_a_prefix_is_read_again_at_what_the_cheap_model_asks(cheap: ApiPrice, wanted: float) -> None:
    dear = price("a", 3, 15, 0.3, 3.75)
    assert longest_worth_leaving(dear, cheap, n_new_tokens=100, n_output_tokens=200) == pytest.approx(wanted)
    uncached = price("a", 0.2, 15, None)  # its warm prefix costs what fresh input does
    at_none = longest_worth_leaving(uncached, price("c", 0.4, 1, 0.1), n_new_tokens=100, n_output_tokens=200)
    assert at_none == pytest.approx((100 * -0.2 + 200 * 14) / 0.2)


THREE = calls_curve(  # scores of none, one, two and all of four queries: 2/4, 3/4, 3.5/4 and the same
    [
        Graded(cheap_score=0, dear_score=1),
        Graded(cheap_score=0, dear_score=0.5),
        Graded(cheap_score=1, dear_score=1, n=2),
    ],
    lambda query: -query.gain,
)


@pytest.mark.parametrize(("score", "n_dear"), [(0.4, 0), (0.5, 0), (0.625, 0.5), (0.75, 1), (0.8125, 1.5), (0.875, 2)])
def test_a_score_is_reached_by_the_first_point_that_has_it_or_on_the_way_there(score: float, n_dear: float) -> None:
    point = reaching(THREE, score)
    assert (point.n, point.n_dear, point.usd, point.score) == (4, n_dear, n_dear, max(score, 0.5))


@pytest.mark.parametrize(
    ("share", "score"),
    [(0, 0.5), (0.125, 0.625), (0.25, 0.75), (0.375, 0.8125), (0.5, 0.875), (0.75, 0.875), (1, 0.875)],
)
def test_a_share_is_a_point_of_the_curve_or_lies_on_the_way_to_the_next(share: float, score: float) -> None:
    point = at_share(THREE, share)
    assert (point.share, point.usd, point.score) == (share, 4 * share, score)


@pytest.mark.parametrize(
    ("calls", "score", "parts"),
    [
        (0.5, 1.0, [1, 0, 0, 1]),  # the oracle: sent where it gains
        (0.5, 1.5, [1, 0, 0, 1]),  # more than the oracle, cut off
        (0.5, 0.75, [0.5, 0.5, 0.5, 0.5]),  # a coin
        (0.5, 0.5, [0, 1, 1, 0]),  # sent where it gains nothing
        (0.0, 0.5, [0, 1, 0, 1]),
        (1.0, 1.0, [1, 0, 1, 0]),
    ],
)
def test_a_published_router_sends_and_keeps_parts_of_each_kind(calls: float, score: float, parts: list[float]) -> None:
    gains, same = Graded(cheap_score=0, dear_score=1), Graded(cheap_score=1, dear_score=1)
    found = as_published([gains, same], calls=calls, score=score)
    assert [part.n for part in found] == parts and [part.sure for part in found] == [0, 1, 0, 1]
    assert [part.n for part in as_published([gains], calls=0.25, score=9)] == [0.25, 0.75]  # all gain alike: a coin


def test_ratios_at_their_ends() -> None:
    assert share_of_choice(1.0, 1.0) == 0 and dearest_cheap_model(0.0, 0.0) == 0
    assert calls_of_a_coin(cheap_score=0.75, dear_score=1.0, of_dear=0.75) == 0
    assert calls_of_a_coin(cheap_score=0.9, dear_score=0.8, of_dear=1.0) == 0  # the cheap one is the better one


ONE = Graded(cheap_score=0, dear_score=1)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: route([ONE], [1.5]), "between 0 and 1"),
        (lambda: route([ONE, ONE], [0.5, -0.5]), "between 0 and 1"),
        (lambda: route([], []), "nothing to route"),
        (lambda: as_published([ONE], calls=-0.1, score=0.5), "between 0 and 1, not -0.1"),
        (lambda: at_share(THREE, -0.1), "between 0 and 1, not -0.1"),
        (lambda: at_share(THREE, 1.1), "between 0 and 1, not 1.1"),
        (lambda: share_of_choice(0.0, 0.5), "above zero"),
        (lambda: share_of_choice(0.5, 0.0), "above zero"),
        (lambda: calls_of_a_coin(cheap_score=0.5, dear_score=0.5, of_dear=1.5), "the worse one"),
    ],
)
def test_what_is_no_share_and_no_query_is_refused(ask, says: str) -> None:
    with pytest.raises(BytebillError, match=says):
        ask()
