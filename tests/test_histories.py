"""What was asked for the same thing day after day: nothing is invented between the lists, and no alias is an offer."""

from __future__ import annotations

from datetime import date, timedelta
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.economics import histories as h
from bytebill.economics.prices import listed
from bytebill.errors import BytebillError

days = st.lists(st.integers(0, 1500), min_size=2, max_size=8, unique=True).map(sorted)
usd = st.floats(0.01, 100)


@st.composite
def made(draw) -> h.History:
    return tuple((date(2023, 1, 1) + timedelta(days=day), draw(usd)) for day in draw(days))


@given(history=made(), n=st.integers(1, 30), in_steps=st.booleans())
def test_a_term_lies_within_what_is_known_and_its_prices_within_those_seen(history, n, in_steps):
    found = h.years(history, n_months=n, in_steps=in_steps)
    known = (history[-1][0] - history[0][0]).days
    assert len(found) == max(0, int(known / (365 / 12) + 1e-9) + 2 - n)
    low, high = min(p for _, p in history), max(p for _, p in history)
    for prices in found:
        assert prices[0] == 1 and len(prices) == n
        assert all(low / high * (1 - 1e-9) <= each <= high / low * (1 + 1e-9) for each in prices)


def test_between_two_lists_a_price_moves_evenly_and_a_cheapest_one_in_steps():
    history = ((date(2024, 1, 1), 16.0), (date(2024, 12, 31), 1.0))
    (even,), (steps,) = h.years(history, n_months=13), h.years(history, n_months=13, in_steps=True)
    assert even[3::3] == pytest.approx([0.5, 0.25, 0.125, 0.0625], rel=0.01) and steps == [1.0] * 12 + [1 / 16]
    assert h.factor_per_year(history) == pytest.approx(16)
    with pytest.raises(BytebillError, match="at least one month, not 0"):
        h.years(history, n_months=0)


def test_after_the_last_list_a_price_stays_what_it_was():
    history = ((date(2024, 1, 1), 16.0), (date(2024, 2, 1), 1.0))
    (prices,) = h.years(history, n_months=5, until=date(2024, 5, 2))
    assert prices[2:] == [1 / 16] * 3


@given(history=made())
def test_the_cheapest_so_far_never_rises(history):
    falls = [price for _, price in h.so_far(history)]
    assert falls == sorted(falls, reverse=True) and falls[-1] == min(price for _, price in history)


def test_offers_are_seen_twice_and_weights_count_aliases_only_for_what_they_stood_for():
    offers, weights, chained = h.repriced(), h.of_weights(), h.of_weights(chained=True)
    assert all(len({price.as_of for price in of_name}) > 1 for of_name in offers.values())
    first = {(price.model_name, price.as_of): price for price in listed() if price.alias_of}
    chat = first["DeepSeek V3 (deepseek-chat)", date(2025, 3, 1)].costs.blended_usd_per_m(h.BLEND)
    assert dict(weights["DeepSeek V3"])[date(2025, 3, 1)] == pytest.approx(chat)  # an alias of V3 then
    assert dict(weights["DeepSeek V3"])[date(2026, 11, 15)] == pytest.approx((3 * 0.32 + 0.89) / 4)  # of V3.2 since
    assert len(weights["DeepSeek V3"]) == 2  # what the name stood for in between no list tells
    assert not {"DeepSeek V3 (deepseek-chat)", "Mistral Large (latest)"} & set(weights)
    assert set(weights) == set(chained)
    for name, history in chained.items():  # hosts that came between two lists lower the one and not the other
        assert h.factor_per_year(history) <= h.factor_per_year(weights[name]) * 1.1, name


def test_a_chain_is_the_product_of_what_stayed():
    """gpt-oss-120b: DeepInfra was the cheapest of the same four hosts on both days, (3 * 0.05 + 0.45) / 4 and after."""
    chain = h.of_weights(chained=True)["gpt-oss-120b"]
    assert prod(index for _, index in chain) == pytest.approx((3 * 0.037 + 0.17) / (3 * 0.05 + 0.45))
