"""Money month by month: nothing is lost between the months, and who commits is compared with who may leave."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bytebill.economics import months as m
from bytebill.errors import BytebillError

terms, money = st.integers(1, 60), st.floats(0.01, 1e6)


@given(n=terms, devices=st.integers(1, 100), rent=st.floats(0.1, 20))
def test_a_contract_costs_its_months(n, devices, rent):
    months = m.rent_usd(n_months=n, n_devices=devices, usd_per_device_hour=rent)
    spent = list(accumulate(months))
    assert spent == sorted(spent) and spent[-1] == pytest.approx(n * devices * rent * 730)


@given(n=terms, price=money, running=st.floats(0, 1000))
def test_what_is_bought_costs_its_price_and_its_running(n, price, running):
    months = m.buy_usd(n_months=n, price_usd=price, running_usd_per_month=running)
    assert len(months) == n and sum(months) == pytest.approx(price + n * running)


@given(n=st.integers(13, 60), price=money, factor=st.floats(0.2, 100))
def test_an_api_price_is_a_factor_lower_after_a_year(n, price, factor):
    months = m.api_usd(n_months=n, m_tokens_per_month=3.0, usd_per_m=price, factor_per_year=factor)
    assert months[0] == pytest.approx(3 * price) and months[12] == pytest.approx(3 * price / factor)
    assert (months == sorted(months, reverse=True)) == (factor >= 1) or factor == pytest.approx(1)


@given(n=st.integers(2, 48), share=st.floats(0.05, 0.95))
def test_at_the_break_even_fall_both_cost_the_same(n, share):
    commitment = 100.0
    first = commitment * (1 + share * (n - 1))  # between one month's commitment and all of it
    factor = m.break_even_factor(n_months=n, commitment_usd_per_month=commitment, api_usd_first_month=first)
    api = m.api_usd(n_months=n, m_tokens_per_month=1, usd_per_m=first, factor_per_year=factor)
    assert sum(api) == pytest.approx(n * commitment, rel=0.01)


@pytest.mark.parametrize("commitment", [0.55, 0.75, 1.0, 1.1, 1.2])
def test_the_break_even_fall_of_two_months_is_solved_by_hand(commitment):
    """1 + f^(-1/12) = 2 c, so f = (2 c - 1)^-12: above 1 a fall, below 1 a rise."""
    found = m.break_even_factor(n_months=2, commitment_usd_per_month=commitment, api_usd_first_month=1.0)
    assert found == pytest.approx((2 * commitment - 1) ** -12, rel=1.1e-3)


def test_the_longest_term_is_a_century():
    assert len(m.rent_usd(n_months=1200, n_devices=1, usd_per_device_hour=1)) == 1200


def test_a_long_term_has_a_break_even_too():
    assert 1 < m.break_even_factor(n_months=300, commitment_usd_per_month=0.5, api_usd_first_month=1.0) < 2


def test_a_faster_fall_puts_a_commitment_under_water_sooner():
    committed = m.rent_usd(n_months=36, n_devices=1, usd_per_device_hour=1.0)
    when = [
        m.under_water_from(committed, m.api_usd(n_months=36, m_tokens_per_month=1, usd_per_m=2000, factor_per_year=f))
        for f in (1.0, 2.0, 10.0, 50.0)
    ]
    assert when[0] is None
    sunk = [month for month in when if month is not None]
    assert sunk == sorted(sunk, reverse=True)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: m.rent_usd(n_months=0, n_devices=1, usd_per_device_hour=1), "whole number of months from 1"),
        (lambda: m.rent_usd(n_months=12.5, n_devices=1, usd_per_device_hour=1), "whole number of months"),
        (lambda: m.rent_usd(n_months=10**9, n_devices=1, usd_per_device_hour=1), "from 1 to 1,200"),
        (lambda: m.buy_usd(n_months=0, price_usd=1), "whole number of months"),
        (lambda: m.buy_usd(n_months=1, price_usd=0), "A price is positive"),
        (lambda: m.api_usd(n_months=0, m_tokens_per_month=1, usd_per_m=1, factor_per_year=2), "whole number of months"),
        (lambda: m.decided_late([], after=0, commitment_usd_per_month=1), "whole number of months"),
        (
            lambda: m.break_even_factor(n_months=0, commitment_usd_per_month=9, api_usd_first_month=1),
            "whole number of months",
        ),
        (lambda: m.rent_usd(n_months=1, n_devices=0, usd_per_device_hour=1), "at least one device"),
        (lambda: m.rent_usd(n_months=1, n_devices=1, usd_per_device_hour=-1), "A rent is positive"),
        (lambda: m.buy_usd(n_months=1, price_usd=1, running_usd_per_month=-2), "Running costs nothing or more"),
        (
            lambda: m.api_usd(n_months=1, m_tokens_per_month=-1, usd_per_m=1, factor_per_year=2),
            "Tokens are zero or more",
        ),
        (lambda: m.api_usd(n_months=1, m_tokens_per_month=1, usd_per_m=1, factor_per_year=0), "per year is positive"),
        (lambda: m.api_usd(n_months=1, m_tokens_per_month=1, usd_per_m=0, factor_per_year=2), "A price is positive"),
        (lambda: m.rent_usd(n_months=1201, n_devices=1, usd_per_device_hour=1), "from 1 to 1,200"),
        (
            lambda: m.break_even_factor(n_months=1, commitment_usd_per_month=0, api_usd_first_month=1),
            "A commitment is positive",
        ),
        (
            lambda: m.break_even_factor(n_months=1, commitment_usd_per_month=1, api_usd_first_month=0),
            "A month of the API is positive",
        ),
        (lambda: m.under_water_from([1.0], [1.0, 2.0]), "cannot be held against"),
        (lambda: m.break_even_factor(n_months=2, commitment_usd_per_month=1, api_usd_first_month=9), "no fall is fast"),
        (lambda: m.break_even_factor(n_months=2, commitment_usd_per_month=1, api_usd_first_month=2), "no fall is fast"),
    ],
)
def test_what_cannot_be_is_refused(call, sentence):
    with pytest.raises(BytebillError, match=sentence):
        call()


def test_nothing_asked_costs_nothing_and_a_tie_commits_nobody():
    assert m.api_usd(n_months=2, m_tokens_per_month=0, usd_per_m=1, factor_per_year=2) == [0.0, 0.0]
    assert m.under_water_from([2.0, 2.0], [2.0, 2.0]) is None
    assert m.decided_late([8.0, 4.0, 6.0], after=1, commitment_usd_per_month=3.0) == [8.0, 4.0, 6.0]  # 6 against 4 + 2


@given(bills=st.lists(money, min_size=1, max_size=24), after=st.integers(-3, 30), commitment=money)
def test_who_decides_late_pays_one_of_two_bills_and_cannot_see_ahead(bills, after, commitment):
    found = m.decided_late(bills, after=after, commitment_usd_per_month=commitment)
    when = max(0, min(after, len(bills) - 1))
    signed = [*bills[:when], *[commitment] * (len(bills) - when)]
    assert found in (bills, signed)
    assume(bills != signed)
    later = [*bills[: when + 1], *(1e9 for _ in bills[when + 1 :])]  # what comes after does not change his mind
    again = m.decided_late(later, after=after, commitment_usd_per_month=commitment)
    assert again == (signed if found == signed else later)
