"""No fleet falls short, no device is lost, no token is priced twice: fleets under any day of demand."""

from __future__ import annotations

from itertools import islice
from math import inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bytebill import data
from bytebill.economics.fleets import Day, Fleet, autoscaled, fixed, shared
from bytebill.errors import BytebillError
from bytebill.serving.workload import Poisson
from conftest import refuses

DAYS = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=30).filter(
    lambda demand: max(demand) > 1e-3
)
RATES = st.floats(0.5, 1e4)


def day_of(demand: list[float]) -> Day:
    return Day(demand_per_s=tuple(demand))


sizings = st.fixed_dictionaries({"per_device_per_s": RATES, "unit": st.integers(1, 30)})


@given(demand=DAYS, sizing=sizings, lag=st.integers(0, 40), least=st.integers(0, 50))
def test_no_fleet_ever_has_fewer_devices_than_the_load_needs(demand, sizing, lag, least) -> None:
    day = day_of(demand)
    fleets = (
        fixed(day, **sizing),
        autoscaled(day, lag=lag, least=least, **sizing),
        shared(autoscaled(day, lag=lag, least=least, **sizing)),
    )
    for fleet in fleets:
        for serving, asked in zip(fleet.serving, day.demand_per_s, strict=True):
            assert serving * sizing["per_device_per_s"] >= asked * (1 - 1e-6)


@given(demand=DAYS, sizing=sizings, lag=st.integers(0, 5))
def test_following_the_day_never_costs_more_hours_than_its_peak_all_day(demand, sizing, lag) -> None:
    day = day_of(demand)
    follows, stays = autoscaled(day, lag=lag, **sizing), fixed(day, **sizing)
    assert follows.device_hours <= stays.device_hours
    assert follows.load_factor >= stays.load_factor * (1 - 1e-9)
    assert autoscaled(day, lag=lag + 1, **sizing).device_hours >= follows.device_hours
    assert autoscaled(day, lag=len(demand), **sizing).held == stays.held


@given(demand=DAYS, sizing=sizings, lag=st.integers(0, 5))
def test_devices_are_conserved(demand, sizing, lag) -> None:
    fleet = shared(autoscaled(day_of(demand), lag=lag, **sizing))
    for held, serving, lent in zip(fleet.held, fleet.serving, fleet.lent, strict=True):
        assert held == serving + lent and lent >= 0
    follows = autoscaled(fleet.day, lag=lag, **sizing)
    assert fleet.device_hours == pytest.approx(follows.device_hours + fleet.lent_device_hours)
    assert fleet.device_hours == fixed(fleet.day, **sizing).device_hours


@given(demand=DAYS, sizing=sizings)
def test_work_is_conserved(demand, sizing) -> None:
    day = day_of(demand)
    for fleet in (fixed(day, **sizing), autoscaled(day, **sizing), shared(autoscaled(day, **sizing))):
        serving_hours = fleet.device_hours - fleet.lent_device_hours
        done = fleet.load_factor * serving_hours * 3600 * sizing["per_device_per_s"]
        assert done == pytest.approx(day.work, rel=1e-6)
        assert fleet.load_factor <= 1 + 1e-6
        assert fleet.usd_per_million(usd_per_device_hour=2.0) * day.work / 1e6 == pytest.approx(
            fleet.usd(usd_per_device_hour=2.0)
        )


@given(demand=DAYS, sizing=sizings, rent=st.floats(0.1, 20), share=st.floats(0, 1))
def test_lending_lies_between_a_fixed_and_an_autoscaled_fleet(demand, sizing, rent, share) -> None:
    day = day_of(demand)
    lent = shared(autoscaled(day, **sizing)).usd(usd_per_device_hour=rent, usd_per_lent_hour=share * rent)
    low, high = (fleet(day, **sizing).usd(usd_per_device_hour=rent) for fleet in (autoscaled, fixed))
    assert low * (1 - 1e-9) <= lent <= high * (1 + 1e-9)


@given(demand=DAYS, per_device_per_s=RATES, flatter=st.floats(0.1, 0.9))
def test_the_fuller_the_cheaper(demand, per_device_per_s, flatter) -> None:
    day = day_of(demand)
    flat = day_of([day.mean_per_s + flatter * (each - day.mean_per_s) for each in demand])
    assume(min(flat.demand_per_s) >= 0)
    usd, flat_usd = (fixed(each, per_device_per_s=per_device_per_s).usd(usd_per_device_hour=1) for each in (day, flat))
    assert flat.work == pytest.approx(day.work) and flat.load_factor >= day.load_factor * (1 - 1e-9)
    assert flat_usd <= usd


AWAKE = st.lists(st.floats(1, 1e6), min_size=1, max_size=30)


@given(demand=AWAKE, interval_s=st.floats(1, 3600), share=st.floats(0, 2.5), more=st.floats(0, 1))
def test_time_passes_as_work_is_asked_for(demand, interval_s, share, more) -> None:
    day = Day(demand_per_s=tuple(demand), interval_s=interval_s)
    early, late = day.when(share * day.work), day.when((share + more) * day.work)
    assert 0 <= early <= late * (1 + 1e-9)
    assert day.when(day.work) <= len(demand) * interval_s * (1 + 1e-9)
    assert day.when(1.5 * day.work) == pytest.approx(len(demand) * interval_s + day.when(0.5 * day.work))


def test_arrivals_follow_the_day() -> None:
    day = Day(demand_per_s=(5.0, 0.0, 20.0), interval_s=400)
    times = [day.when(each) for each in islice(Poisson(1.0, seed=7), round(day.work))]
    counts = [sum(400 * i <= time < 400 * (i + 1) for time in times) for i in range(3)]
    assert counts[1] == 0
    assert counts[0] == pytest.approx(2000, abs=200) and counts[2] == pytest.approx(8000, abs=400)


def test_a_flat_day_is_full_and_nothing_is_saved_by_following_it() -> None:
    day = day_of([300.0] * 24)
    assert day.load_factor == day.peak_to_trough == 1
    assert autoscaled(day, per_device_per_s=100).device_hours == fixed(day, per_device_per_s=100).device_hours == 72


@pytest.mark.parametrize(("work", "seconds"), [(0, 0), (5, 5), (10, 10), (25, 25), (40, 30), (50, 40), (80, 60)])
def test_work_is_asked_for_by_the_end_of_the_interval_that_asks_for_it(work, seconds) -> None:
    """10 in the first ten seconds, none in the next, 30 in the last: nobody waits through the idle ones."""
    assert Day(demand_per_s=(1.0, 0.0, 3.0), interval_s=10).when(work) == seconds


def test_a_day_in_which_somebody_sleeps_has_no_trough_to_divide_by() -> None:
    assert day_of([0.0, 2.0]).peak_to_trough == inf and day_of([0.5, 2.0]).peak_to_trough == 4


def test_the_last_interval_is_ready_for_the_first_of_the_next_day() -> None:
    day = day_of([95.0, 10.0, 20.0])
    assert [autoscaled(day, per_device_per_s=10, lag=lag).held for lag in (0, 1)] == [(10, 1, 2), (10, 2, 10)]


def test_a_demand_of_exactly_so_many_devices_needs_no_more() -> None:
    """A tenth of a billionth above is rounding, of any demand; two billionths are a shortage."""
    for scale in (1e-3, 1.0, 1e6):
        near = [day_of([scale * 1000 * (1 + share)]) for share in (0.0, 1e-10)]
        assert [autoscaled(day, per_device_per_s=100 * scale).held for day in near] == [(10,), (10,)]
        with pytest.raises(BytebillError, match="10 devices serve"):
            Fleet(day=day_of([scale * 1000 * (1 + 2e-9)]), per_device_per_s=100 * scale, held=(10,), serving=(10,))


def test_units_are_counted_from_what_is_always_held() -> None:
    assert fixed(day_of([10.0, 69.0]), per_device_per_s=1, unit=30).held == (90, 90)
    fleet = autoscaled(day_of([10.0, 69.0, 99.0]), per_device_per_s=1, unit=30, least=68)
    assert fleet.held == (68, 98, 128)


def test_the_published_nodes_of_deepseek_carry_their_own_demand() -> None:
    rows = data.rows("deepseek_hourly")
    day = Day.shaped([row["income_usd"] for row in rows], peak_per_s=278)
    assert round(day.peak_to_trough, 1) == 4.9 and round(day.load_factor, 3) == 0.754
    steps = autoscaled(day, per_device_per_s=1, unit=30, least=68)
    published = sum(row["average_nodes"] for row in rows)
    assert published == 5442
    assert steps.device_hours == pytest.approx(published, rel=0.03)
    assert fixed(day, per_device_per_s=1).device_hours == 278 * 24


DAY = Day(demand_per_s=(100.0, 950.0))
REFUSED = {
    "empty": (lambda: Day(demand_per_s=()), "empty"),
    "negative": (lambda: Day(demand_per_s=(1.0, -1.0)), "zero or more per second, not -1"),
    "unknown": (lambda: Day(demand_per_s=(1.0, nan)), "not nan"),
    "endless": (lambda: Day(demand_per_s=(inf,)), "not inf"),
    "nobody": (lambda: Day(demand_per_s=(0.0, 0.0)), "Nobody asks"),
    "no shape": (lambda: Day.shaped((), peak_per_s=1.0), "empty"),
    "no end": (lambda: Day(demand_per_s=(1.0,), interval_s=inf), "positive time"),
    "no time": (lambda: Day(demand_per_s=(1.0,), interval_s=0), "positive time"),
    "negative work": (lambda: DAY.when(-1), "zero or more"),
    "endless work": (lambda: DAY.when(inf), "zero or more"),
    "no device": (lambda: fixed(DAY, per_device_per_s=0), "rate is positive"),
    "negative device": (lambda: autoscaled(DAY, per_device_per_s=-1), "rate is positive"),
    "unit": (lambda: fixed(DAY, per_device_per_s=100, unit=0), "units of at least one"),
    "lag": (lambda: autoscaled(DAY, per_device_per_s=100, lag=-1), "lag"),
    "least": (lambda: autoscaled(DAY, per_device_per_s=100, least=-1), "least number of devices"),
    "price": (lambda: fixed(DAY, per_device_per_s=100).usd(usd_per_device_hour=-2), "price"),
    "earning": (lambda: fixed(DAY, per_device_per_s=100).usd(usd_per_device_hour=2, usd_per_lent_hour=-1), "price"),
    "endless price": (lambda: fixed(DAY, per_device_per_s=100).usd(usd_per_device_hour=inf), "price"),
    "fewer than none": (
        lambda: Fleet(day=Day(demand_per_s=(0.0, 1.0)), per_device_per_s=1, held=(1, 1), serving=(-1, 1)),
        "-1 cannot serve",
    ),
    "half a day": (lambda: Fleet(day=DAY, per_device_per_s=100, held=(1, 10), serving=(10,)), "2 intervals"),
    "short": (
        lambda: Fleet(day=DAY, per_device_per_s=100, held=(1, 9), serving=(1, 9)),
        "9 devices serve 900 a second",
    ),
    "more than held": (lambda: Fleet(day=DAY, per_device_per_s=100, held=(1, 10), serving=(2, 10)), "cannot serve"),
    "another day's": (lambda: Fleet(day=DAY, per_device_per_s=100, held=(10,), serving=(10,)), "2 intervals"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(name: str) -> None:
    refuses(*REFUSED[name])
