"""A result is as sure as its inputs: ranges hold their points, order is kept, and a seed is a result."""

from __future__ import annotations

import random
from math import inf, isnan, nan
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.economics.cost import usd_per_million_tokens
from bytebill.economics.ranges import Range, Spread, monte_carlo, quantile
from bytebill.errors import BytebillError

values = st.floats(0.01, 1e6)
ranges = st.builds(
    lambda three, ratio: Range(low=three[0], point=three[1], high=three[2], ratio=ratio),
    st.tuples(values, values, values).map(sorted),
    st.booleans(),
)


@given(given_range=ranges, seed=st.integers(0, 1000))
def test_a_draw_lies_in_its_range(given_range, seed):
    drawn = given_range.draw(random.Random(seed))
    assert given_range.low * (1 - 1e-9) <= drawn <= given_range.high * (1 + 1e-9)


@given(rent=ranges, rate=ranges)
def test_a_monotone_function_stays_between_what_its_corners_give_and_holds_its_point(rent, rate):
    found = monte_carlo(
        lambda rent, rate: usd_per_million_tokens(usd_per_hour=rent, tokens_per_s=rate),
        inputs={"rent": rent, "rate": rate},
        n=200,
    )
    least = usd_per_million_tokens(usd_per_hour=rent.low, tokens_per_s=rate.high)
    most = usd_per_million_tokens(usd_per_hour=rent.high, tokens_per_s=rate.low)
    assert least * (1 - 1e-6) <= found.draws[0] <= found.draws[-1] <= most * (1 + 1e-6)
    assert found.range.low <= found.point <= found.range.high
    assert found.quantile(0.05) <= found.quantile(0.5) <= found.quantile(0.95)


def test_a_seed_is_a_result_and_numbers_without_a_range_have_none():
    inputs = {"a": Range(low=1, point=2, high=4), "b": 3.0}
    first, again, other = (monte_carlo(lambda a, b: a + b, inputs=inputs, n=500, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    sure = monte_carlo(lambda b: b, inputs={"b": 3.0}, n=10)
    assert set(sure.draws) == {3.0} == {sure.point}


def test_a_triangle_has_the_mean_of_its_corners():
    found = monte_carlo(lambda a: a, inputs={"a": Range(low=0, point=3, high=6)}, n=20_000)
    assert sum(found.draws) / len(found.draws) == pytest.approx(3, abs=0.03)
    skewed = monte_carlo(lambda a: a, inputs={"a": Range(low=0, point=0, high=9)}, n=20_000)
    assert sum(skewed.draws) / len(skewed.draws) == pytest.approx(3, abs=0.06)


def test_factors_are_drawn_alike_to_both_sides():
    found = monte_carlo(lambda a: a, inputs={"a": Range.within(10.0, 4.0)}, n=20_000)
    assert found.quantile(0.5) == pytest.approx(10, rel=0.03)
    assert fmean(draw > 10.0 for draw in found.draws) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("values", "q", "weights", "wanted"),
    [
        ([3, 1, 2], 0, None, 1),
        ([3, 1, 2], 1, None, 3),
        ([3, 1, 2], 1 / 3, None, 1),
        ([3, nan, 1], 0.5, None, 1),
        ([3, 1, 2], 0, [1, 0, 1], 2),  # what weighs nothing is not there
        ([3, 1, 2], 0.5, [2, 1, 1], 2),
        ([3, 1, 2], 0.51, [2, 1, 1], 3),
        ([nan, 1, 2], 0.5, [9, 1, 1], 1),
    ],
)
def test_a_quantile_is_a_value_that_is_there_and_weighs_something(values, q, weights, wanted):
    assert quantile(values, q, weights=weights) == wanted


def test_of_nothing_there_is_no_quantile():
    assert all(map(isnan, (quantile([nan], 0.5), quantile([], 0.5, weights=[]), quantile([1], 0.5, weights=[0]))))


def test_a_range_of_one_value_is_that_value_and_draws_nothing():
    chance, untouched = random.Random(1), random.Random(1)
    same = Range.within(5.0, 1)
    assert (same.low, same.draw(chance), same.high) == (5, 5, 5) and chance.random() == untouched.random()


def test_a_result_reaches_from_its_lowest_to_its_highest_twentieth_and_to_its_point():
    draws = tuple(float(i) for i in range(1, 101))
    ends = {point: Spread(point=point, draws=draws).range for point in (50, 0, 99)}
    assert {point: (each.low, each.high) for point, each in ends.items()} == {50: (5, 95), 0: (0, 95), 99: (5, 99)}
    assert not any(each.ratio for each in ends.values())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Range(low=2, point=1, high=3), "A range holds its point"),
        (lambda: Range(low=1, point=4, high=3), "A range holds its point"),
        (lambda: Range(low=0, point=1, high=inf), "A range holds its point"),
        (lambda: Range(low=-inf, point=1, high=2), "A range holds its point"),
        (lambda: Range(low=0, point=nan, high=2), "A range holds its point"),
        (lambda: Range(low=0, point=1, high=2, ratio=True), "begins above zero"),
        (lambda: Range(low=-1, point=1, high=2, ratio=True), "begins above zero"),
        (lambda: Range.within(1, 0.5), "a factor of at least 1"),
        (lambda: monte_carlo(lambda: 1.0, inputs={}, n=0), "at least one draw"),
        (lambda: Spread(point=1, draws=(1.0,)).quantile(2), "share from 0 to 1"),
        (lambda: quantile([1.0], 1.01), "share from 0 to 1"),
        (lambda: quantile([1.0], -0.01), "share from 0 to 1"),
        (lambda: quantile([1.0], nan, weights=[1.0]), "share from 0 to 1"),
    ],
)
def test_what_is_no_range_is_refused(make, sentence):
    with pytest.raises(BytebillError, match=sentence):
        make()
