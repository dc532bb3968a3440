"""What was asked for the same thing day after day: nothing is invented between the lists, and no alias is an offer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.economics import histories as h
from bytebill.economics.prices import ApiPrice, listed
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


DAYS = [date(2025, 1, day) for day in (1, 2, 3)]


def offer(day: int, usd: float, host: str = "A", **others) -> ApiPrice:
    """So much for input and output, on one of three days."""
    given = {"model_name": "W", "vendor": "V", "host": host, "weights": "open", "as_of": DAYS[day]}
    plain = {"alias_of": None, "withdrawn": None, "input_usd_per_m": usd, "output_usd_per_m": usd}
    return replace(listed()[0], **{**given, **plain, **others})


def of_weights(monkeypatch, *offers: ApiPrice) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Prices by weights of those three days, the cheapest and chained; None for a day without one."""
    monkeypatch.setattr(h, "listed", lambda: offers)
    found = (h.of_weights(chained=chained) for chained in (False, True))
    first, second = ({name: [dict(of).get(day) for day in DAYS] for name, of in each.items()} for each in found)
    return first, second


def test_a_price_is_blended_three_to_one_and_offers_are_in_order_of_their_days():
    old, new, once = offer(0, 1.0, output_usd_per_m=5.0), offer(2, 1.0), offer(1, 9.0, host="B")
    assert h.repriced([new, once, old]) == {"W, A": (old, new)}
    assert h.of_offer([old, new]) == ((DAYS[0], 2.0), (DAYS[2], 1.0))
    assert h.factor_per_year(((DAYS[0], 1.0), (DAYS[0] + timedelta(days=730), 4.0))) == 0.5  # it rose


def test_a_chain_passes_over_a_day_on_which_no_host_is_left(monkeypatch):
    offers = [offer(2, 0.5, "C"), offer(2, 0.1, "A"), offer(0, 4.0, "A"), offer(0, 8.0, "B"), offer(1, 1.0, "C")]
    assert of_weights(monkeypatch, *offers) == ({"W": [4.0, 1.0, 0.1]}, {"W": [1.0, None, 0.5]})


def test_a_day_on_which_a_name_stood_for_nobody_knows_what_counts_for_the_chain_alone(monkeypatch):
    moving = [offer(0, 3.0, "L", model_name="L", alias_of="W"), offer(1, 0.1, "L", model_name="L", alias_of="not told")]
    found = of_weights(monkeypatch, offer(0, 4.0), offer(1, 2.0), offer(2, 1.0), *moving)
    assert found == ({"W": [3.0, None, 1.0]}, {"W": [1.0, 0.5, 0.25]})


def test_only_open_weights_on_sale_on_two_days_have_a_history(monkeypatch):
    gone = [offer(day, 0.1, "B", withdrawn=DAYS[0]) for day in (0, 1)]
    shut = [offer(day, 1.0, model_name="K", weights="closed") for day in (0, 1)]
    leaves = [offer(day, 1.0, "C", withdrawn=DAYS[1]) for day in (0, 1)]
    found, _ = of_weights(
        monkeypatch, offer(0, 4.0), offer(1, 2.0), offer(0, 1.0, model_name="N"), *gone, *shut, *leaves
    )
    assert found == {"W": [1.0, 2.0, None]}


def test_a_chain_is_the_product_of_what_stayed():
    """gpt-oss-120b: DeepInfra was the cheapest of the same four hosts on both days, (3 * 0.05 + 0.45) / 4 and after."""
    chain = h.of_weights(chained=True)["gpt-oss-120b"]
    assert prod(index for _, index in chain) == pytest.approx((3 * 0.037 + 0.17) / (3 * 0.05 + 0.45))
