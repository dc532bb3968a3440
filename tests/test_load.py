"""Little's law on every curve: what comes in goes out, more traffic is cheaper by the token, no limit is bent."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bytebill.deployment import Deployment
from bytebill.economics.load import BatchCurve, max_rate, operating_point
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.sim.clock import Clock
from bytebill.sim.steady import SteadyState
from conftest import refuses

# Whole microseconds: a growth that rounding swallows makes a larger batch exactly as fast, and no limit is passed.
GROWTH = st.lists(st.tuples(st.integers(1, 64), st.integers(0, 20_000).map(lambda us: us / 1e6)), max_size=8)
LENGTHS = st.floats(1, 2000)


@st.composite
def curves(draw: st.DrawFn) -> BatchCurve:
    """Step times that never fall, from a batch of 1 up."""
    batch, step_s = 1.0, draw(st.floats(1e-3, 0.1))
    points = [(batch, step_s)]
    for more, slower_s in draw(GROWTH):
        batch, step_s = batch + more, step_s + slower_s
        points.append((batch, step_s))
    return BatchCurve(tuple(points))


@given(curve=curves(), n_output_tokens=LENGTHS, share=st.floats(1e-4, 0.9999))
def test_what_comes_in_goes_out(curve: BatchCurve, n_output_tokens: float, share: float) -> None:
    rate = share * max_rate(curve, n_output_tokens=n_output_tokens)
    point = operating_point(curve, arrival_rate_per_s=rate, n_output_tokens=n_output_tokens)
    assert point.batch_size == pytest.approx(rate * n_output_tokens * point.tpot_s, rel=1e-6)
    assert point.tokens_per_s == pytest.approx(rate * n_output_tokens, rel=1e-6)
    assert point.tpot_s == curve.step_s(point.batch_size)
    assert 0 < point.batch_share <= 1 and 0 < point.token_share <= 1 + 1e-9 and 0 <= point.busy_share <= 1


@given(curve=curves(), n_output_tokens=LENGTHS, share=st.floats(1e-3, 0.9), more=st.floats(1.01, 1.1))
def test_more_traffic_means_more_company_and_fewer_dollars_a_token(
    curve: BatchCurve, n_output_tokens: float, share: float, more: float
) -> None:
    rate = share * max_rate(curve, n_output_tokens=n_output_tokens)
    less, full = (
        operating_point(curve, arrival_rate_per_s=rate * factor, n_output_tokens=n_output_tokens)
        for factor in (1, more)
    )
    assert full.batch_size > less.batch_size and full.tpot_s >= less.tpot_s
    assert full.token_share > less.token_share and full.busy_share >= less.busy_share
    assert 1 / full.tokens_per_s < 1 / less.tokens_per_s  # the rent is the same


@given(curve=curves(), n_output_tokens=LENGTHS, slack=st.floats(1, 3))
def test_the_largest_rate_keeps_the_limit_and_a_larger_one_does_not(
    curve: BatchCurve, n_output_tokens: float, slack: float
) -> None:
    limit_s = curve.points[0][1] * slack
    rate = max_rate(curve, n_output_tokens=n_output_tokens, tpot_slo_s=limit_s)
    kept = operating_point(curve, arrival_rate_per_s=rate * (1 - 1e-6), n_output_tokens=n_output_tokens)
    assert kept.tpot_s <= limit_s * (1 + 1e-6)
    with pytest.raises(BytebillError):
        operating_point(curve, arrival_rate_per_s=rate * 1.001, n_output_tokens=n_output_tokens, tpot_slo_s=limit_s)


@given(curve=curves(), n_output_tokens=LENGTHS, slack=st.floats(1, 3), looser=st.floats(1, 2))
def test_a_looser_limit_never_serves_fewer(
    curve: BatchCurve, n_output_tokens: float, slack: float, looser: float
) -> None:
    limit_s = curve.points[0][1] * slack
    tight, loose = (
        max_rate(curve, n_output_tokens=n_output_tokens, tpot_slo_s=limit_s * factor) for factor in (1, looser)
    )
    assert loose >= tight * (1 - 1e-12)


def test_straight_between_the_points() -> None:
    curve = BatchCurve.of({9: 0.030, 1: 0.010, 5: 0.010})
    times_s = [curve.step_s(batch) for batch in (0, 0.5, 1, 5, 7, 9)]
    assert times_s == pytest.approx([0.010, 0.010, 0.010, 0.010, 0.020, 0.030])
    assert curve.peak_tokens_per_s == 500  # 5 / 0.010, more than 9 / 0.030


@pytest.mark.parametrize(
    ("limit_s", "rate"), [(0.010, 50), (0.020, 50), (0.0199, 50), (0.030, 50), (0.040, 82), (0.080, 160), (inf, 160)]
)
def test_the_largest_rate_is_that_of_the_best_batch_within_the_limit(limit_s, rate) -> None:
    """Five at once are faster than six to nine; at 40 ms 9 + 10 / 50 * 119 = 32.8 sequences; ten tokens a request."""
    curve = BatchCurve.of({1: 0.010, 5: 0.010, 9: 0.030, 128: 0.080})
    assert max_rate(curve, n_output_tokens=10, tpot_slo_s=limit_s) == pytest.approx(rate)


def test_a_limit_that_is_just_met_is_met() -> None:
    curve = BatchCurve.of({1: 0.010, 100: 0.010})
    point = operating_point(curve, arrival_rate_per_s=50, n_output_tokens=100, tpot_slo_s=0.010)
    assert (point.batch_size, point.batch_share, point.token_share) == pytest.approx((50, 0.5, 0.5))


def test_a_rate_that_two_batches_give_is_met_by_the_smaller_one() -> None:
    curve = BatchCurve.of({1: 0.010, 5: 0.010, 9: 0.030})
    point = operating_point(curve, arrival_rate_per_s=40, n_output_tokens=10)
    assert point.batch_size == pytest.approx(4)


def test_a_device_nobody_uses_is_mostly_idle_and_one_in_flight_leaves_it_busy() -> None:
    curve = BatchCurve.of({1: 0.010, 100: 0.010})
    shares = {
        rate: operating_point(curve, arrival_rate_per_s=rate, n_output_tokens=100).busy_share for rate in (0.01, 1, 5)
    }
    assert shares[0.01] == pytest.approx(0.01, rel=0.01)
    assert shares[1] == pytest.approx(1 - 1 / 2.718281828)
    assert shares[5] > 0.99


@given(batch=st.integers(1, 256))
def test_the_simulators_closed_form_is_a_curve(batch: int) -> None:
    group = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    clock = Clock(group)

    def tpot_s(users: int) -> float:
        return SteadyState(clock=clock, concurrency=users, n_input_tokens=512, n_output_tokens=256).tpot_s

    batches = sorted({1, batch, 256})
    curve = BatchCurve.of({b: tpot_s(b) for b in batches})
    assume(batch > 1)
    assert curve.step_s(batch) == pytest.approx(tpot_s(batch))


CURVE = BatchCurve.of({1: 0.010, 100: 0.040})
REFUSED = {
    "no point": (lambda: BatchCurve(()), "begins at a batch of 1"),
    "no first": (lambda: BatchCurve.of({2: 0.01}), "begins at a batch of 1"),
    "no time": (lambda: BatchCurve.of({1: 0.0}), "positive time"),
    "a hole": (lambda: BatchCurve.of({1: nan}), "positive time"),
    "no time for many": (lambda: BatchCurve.of({1: 0.01, 8: 0.0}), "positive time"),
    "endless for many": (lambda: BatchCurve.of({1: 0.01, 8: inf}), "positive time"),
    "a hole for many": (lambda: BatchCurve.of({1: 0.01, 8: nan}), "positive time"),
    "endlessly many": (lambda: BatchCurve(((1, 0.01), (inf, 0.02))), "positive time"),
    "fewer": (lambda: BatchCurve(((1, 0.01), (8, 0.02), (4, 0.02))), "batches of a curve rise"),
    "twice": (lambda: BatchCurve(((1, 0.01), (1, 0.02))), "batches of a curve rise"),
    "faster in company": (lambda: BatchCurve.of({1: 0.02, 8: 0.01}), "never faster"),
    "beyond": (lambda: CURVE.step_s(101), "up to 100"),
    "fewer than nobody": (lambda: CURVE.step_s(-1), "up to 100, not -1"),
    "negative rate": (lambda: operating_point(CURVE, arrival_rate_per_s=-1, n_output_tokens=1), "rate is positive"),
    "no rate": (lambda: operating_point(CURVE, arrival_rate_per_s=0, n_output_tokens=1), "rate is positive"),
    "endless rate": (lambda: operating_point(CURVE, arrival_rate_per_s=inf, n_output_tokens=1), "positive, not inf"),
    "no tokens": (lambda: operating_point(CURVE, arrival_rate_per_s=1, n_output_tokens=0), "at least one output"),
    "endless tokens": (lambda: operating_point(CURVE, arrival_rate_per_s=1, n_output_tokens=inf), "not inf"),
    "no token of a limit": (lambda: max_rate(CURVE, n_output_tokens=0.5), "at least one output"),
    "too much": (
        lambda: operating_point(CURVE, arrival_rate_per_s=26, n_output_tokens=100),
        "No batch serves 2,600 output tokens/s: this device gives at most 2,500",
    ),
    "too slow": (
        lambda: operating_point(CURVE, arrival_rate_per_s=24, n_output_tokens=100, tpot_slo_s=0.03),
        "the limit is 30 ms",
    ),
    "hopeless": (lambda: max_rate(CURVE, n_output_tokens=100, tpot_slo_s=0.009), "cannot be kept"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(name: str) -> None:
    refuses(*REFUSED[name])
