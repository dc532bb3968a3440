"""A published trend comes out of its own points, to the digit, and so does what it does not know."""

from __future__ import annotations

import datetime
from math import inf, log10
from statistics import geometric_mean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.economics.cost import DAYS_PER_YEAR
from bytebill.economics.decline import Decline, fit, pooled
from bytebill.economics.ranges import student_t
from bytebill.errors import BytebillError

FITS = data.rows("price_decline_fits")


def points(row: data.Row) -> list[tuple[datetime.date, float]]:
    level = row["benchmark"], row["capability_of"]
    rows = (each for each in data.rows("price_decline_points") if (each["benchmark"], each["capability_of"]) == level)
    return [(each["price_date"], each["usd_per_m"]) for each in rows]


def refits() -> list[Decline]:
    return [fit(points(row)) for row in FITS]


@pytest.mark.parametrize("row", FITS, ids=lambda row: f"{row['benchmark']} {row['capability_of']}")
def test_every_published_trend_is_refitted_to_its_printed_precision(row):
    found = fit(points(row))
    assert found.n_points == row["n_points"]
    assert found.r_squared == pytest.approx(row["r_squared"], abs=0.005001)
    for ours, printed in (
        (found.factor_per_year, row["factor_per_year"]),
        (found.low, row["ci90_low"]),
        (found.high, row["ci90_high"]),
    ):
        half_a_digit = 0.5 * 10 ** (int(log10(printed) // 1) - 3)  # four figures are printed
        assert ours == pytest.approx(printed, abs=1.1 * half_a_digit)


def test_what_the_trends_say_together():
    found = refits()
    factors = [each.factor_per_year for each in found]
    assert median(factors) == pytest.approx(46.25, abs=0.06)
    assert round(geometric_mean(factors), 1) == pytest.approx(63.6, abs=0.1)
    assert (round(min(factors), 1), round(max(factors))) == (9.2, 851)
    assert sum(not each.excludes_below(10) for each in found) == 15
    prices = {(row["model_name"], row["price_date"], row["usd_per_m"]) for row in data.rows("price_decline_points")}
    assert len(prices) == 36


@pytest.mark.parametrize(
    ("share", "degrees", "table"),
    [
        (0.95, 1, 6.314),
        (0.95, 2, 2.920),
        (0.975, 2, 4.303),
        (0.95, 3, 2.353),
        (0.95, 7, 1.895),
        (0.995, 5, 4.032),
        (0.95, 120, 1.658),
    ],
)
def test_students_quantiles_are_those_of_the_tables(share, degrees, table):
    assert student_t(share, degrees) == pytest.approx(table, abs=0.0006)
    assert student_t(1 - share, degrees) == pytest.approx(-table, abs=0.0006)


@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=12), st.floats(0.1, 100))
def test_scale_changes_no_rate_and_a_wider_level_holds_the_narrower(prices, scale):
    dated = [(datetime.date(2023, 1, 1) + datetime.timedelta(days=90 * i), price) for i, price in enumerate(prices)]
    found, scaled = fit(dated), fit([(day, price * scale) for day, price in dated])
    assert scaled.factor_per_year == pytest.approx(found.factor_per_year, rel=1e-6)
    assert found.low <= found.factor_per_year <= found.high
    wider = fit(dated, level=0.99)
    assert wider.low <= found.low * (1 + 1e-9) and wider.high >= found.high * (1 - 1e-9)


def test_an_exact_fall_has_no_interval():
    start = datetime.date(2023, 1, 1)
    dated = [(start + datetime.timedelta(days=DAYS_PER_YEAR * i), 100 / 7**i) for i in range(4)]
    found = fit(dated)
    assert found.low == pytest.approx(7) and found.high == pytest.approx(7) and found.r_squared == pytest.approx(1)


@pytest.mark.parametrize(
    ("dated", "sentence"),
    [
        ([(datetime.date(2024, 1, 1), 1.0)] * 2, "three prices at least"),
        ([(datetime.date(2024, 1, i), 0.0) for i in (1, 2, 3)], "Prices are positive"),
        ([(datetime.date(2024, 1, 1), 1.0)] * 3, "of one day"),
    ],
)
def test_what_has_no_rate_is_refused(dated, sentence):
    with pytest.raises(BytebillError, match=sentence):
        fit(dated)


@pytest.mark.parametrize(("share", "degrees"), [(1.0, 3), (0.0, 3), (-0.1, 3), (1.1, 3), (0.5, 0)])
def test_a_quantile_of_student_has_a_share_and_a_degree(share, degrees):
    with pytest.raises(BytebillError, match=f"inside 0 to 1: {degrees}, {share}"):
        student_t(share, degrees)


PRICES = [(datetime.date(2021 + i, 1, 1), 64.0 / 4**i) for i in range(4)]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: fit(PRICES, level=0.0), "level of confidence"),
        (lambda: fit(PRICES, level=1.0), "level of confidence"),
        (lambda: fit(PRICES, level=1.5), "level of confidence"),
        (lambda: fit([*PRICES, (datetime.date(2025, 1, 1), inf)]), "Prices are positive"),
        (lambda: pooled([[*PRICES, (datetime.date(2025, 1, 1), 0.0)]]), "Prices are positive"),
        (lambda: pooled([PRICES], n=0), "at least one draw"),
        (lambda: pooled([[(datetime.date(2024, 1, 1), usd) for usd in (1.0, 2.0, 3.0)]]), "of one day"),
    ],
)
def test_a_rate_needs_a_level_prices_draws_and_time(ask, sentence):
    with pytest.raises(BytebillError, match=sentence):
        ask()


def test_the_least_that_has_a_rate_has_one():
    assert fit(PRICES[:3]).n_points == 3 and fit(PRICES[:3]).excludes_below(3.9)
    assert len(pooled([PRICES[:3]], n=1).draws) <= 1
    assert fit([(day, 2.0) for day, _ in PRICES]).r_squared == 1.0  # what never moves leaves nothing unexplained
    assert Decline(n_points=3, factor_per_year=5, low=4, high=6, r_squared=1).excludes_below(4)


def test_a_price_that_does_not_move_falls_by_a_factor_of_one():
    found = pooled([[(day, 2.0) for day, _ in PRICES]], n=20)
    assert found.point == 1 and set(found.draws) == {1.0}


def test_draws_of_a_single_day_know_no_rate_and_are_left_out():
    """Of 27 ways to draw three of three days, three take one day alone: a ninth."""
    found = pooled([PRICES[:3]], n=900)
    assert len(found.draws) == pytest.approx(800, abs=40)
    assert found.draws[0] == pytest.approx(4, rel=0.01) and found.draws[-1] == pytest.approx(4, rel=0.01)


def test_few_wild_points_know_no_upper_end():
    wild = [(datetime.date(2024, 1, i), usd) for i, usd in ((1, 1.0), (2, 1e9), (3, 1.0))]
    assert (fit(wild).low, fit(wild).high) == (0, inf)


def spread(trends, **given):
    found = pooled(trends, **given)
    return found.point, found.quantile(0.05), found.quantile(0.95)


def test_the_same_prices_counted_again_make_a_pooled_rate_no_surer():
    """What 119 points of 36 prices are worth: a trend told three times leaves estimate and interval where they were."""
    trend = points(FITS[0])
    assert spread([trend], n=500) == pytest.approx(spread([trend] * 3, n=500), rel=1e-9)
    assert pooled([trend], n=1).point == pytest.approx(fit(trend).factor_per_year, rel=1e-9)


def test_the_pooled_rate_of_the_published_trends_is_above_ten():
    """By least squares with a level a trend, clustered by price, done by hand: 24.1, 16.8 to 34.5 at 90%."""
    point, low, high = spread([points(row) for row in FITS])
    assert point == pytest.approx(24.1, rel=0.005)
    assert low == pytest.approx(16.8, rel=0.12) and high == pytest.approx(34.5, rel=0.12)
    with pytest.raises(BytebillError, match="three prices at least"):
        pooled([points(FITS[0])[:2]])


def test_the_choice_of_tests_moves_the_pooled_rate_more_than_the_draws_do():
    """By least squares with a level a trend, done by hand: MMLU, behind the ten of others, against all other tests."""
    mmlu = [points(row) for row in FITS if row["benchmark"] == "MMLU"]
    others = [points(row) for row in FITS if row["benchmark"] != "MMLU"]
    assert pooled(mmlu, n=1).point == pytest.approx(13.4, rel=0.005)
    assert pooled(others, n=1).point == pytest.approx(44.9, rel=0.005)


def test_months_without_a_fall_slow_a_rate():
    """By hand: each trend held at its last price until the day its source looked, 17.6 and not 24.1."""
    looked = max(row["as_of"] for row in data.rows("price_decline_points"))
    held = [[*seen, (looked, min(usd for _, usd in seen))] for seen in map(points, FITS)]
    assert pooled(held, n=1).point == pytest.approx(17.6, rel=0.005)
