"""Limits on latency: counted by hand, joint and single, and a highest rate that lies in its bracket."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.serving import Metrics, Poisson, Policy, Slo, Workload, max_rate_at_slo, synthetic
from bytebill.serving.slo import (
    e2e_s,
    inclusive_tpot_s,
    mean_itl_s,
    tpot_of_e2e_s,
    tpot_of_inclusive_s,
    user_tokens_per_s,
)
from bytebill.sim import serve_on
from conftest import refuses


def metrics_of(*requests: tuple[float, float, float, int], refused: int = 0) -> Metrics:
    """A run of (arrival, first token, last token, output tokens), and so many that were refused."""
    m = Metrics(n_slots=1, n_kv_tokens=None)
    for id, (arrival_s, first_s, finish_s, n_out) in enumerate(requests):
        row = {"id": id, "arrival_s": arrival_s, "scheduled_s": arrival_s, "first_token_s": first_s}
        row |= {"finish_s": finish_s, "n_input_tokens": 1, "n_output_tokens": n_out, "n_preemptions": 0}
        for name, value in row.items():
            m.columns[name].append(value)
    m.end_s = max(m.columns["finish_s"], default=0.0)
    m.refusals = [(len(requests) + i, "too long") for i in range(refused)]
    return m


RUN = metrics_of(
    (0, 1, 5, 5), (0, 3, 5, 21), (0, 1, 10, 4), (5, 6, 6, 1)
)  # TTFT 1 3 1 1, TPOT 1 .1 3 nan, E2E 5 5 10 1


@pytest.mark.parametrize(
    ("limits", "kept", "tokens"),
    [
        ({}, 4, 31),
        ({"ttft_s": 2}, 3, 10),
        ({"tpot_s": 1}, 3, 27),
        ({"ttft_s": 2, "tpot_s": 1}, 2, 6),
        ({"e2e_s": 4}, 1, 1),
    ],
)
def test_a_request_keeps_all_limits_or_none(limits: dict[str, float], kept: int, tokens: int) -> None:
    """Also one of one token, which has no TPOT to miss; the three goodputs differ as their words say."""
    slo = Slo(**limits)
    assert slo.share(RUN) == kept / 4
    assert slo.goodput_requests_per_s(RUN) == kept / 10
    assert slo.goodput_tokens_per_s(RUN) == tokens / 10


def test_limits_met_one_by_one_may_be_missed_together() -> None:
    slo = Slo(ttft_s=2, tpot_s=1, attainment=0.6)
    assert slo.met(RUN) and slo.share(RUN) == 0.5 < slo.attainment
    assert slo.binding(RUN) == "tpot" and slo.used(RUN) == {"ttft": 0.5, "tpot": 1.0}


def test_one_limit_that_is_missed_is_enough() -> None:
    assert not Slo(ttft_s=0.5, tpot_s=1, attainment=0.6).met(RUN)
    assert not Slo(ttft_s=2, tpot_s=0.5, attainment=0.6).met(RUN)


def test_of_nobody_nothing_is_good() -> None:
    assert (Slo().goodput_requests_per_s(metrics_of()), Slo().goodput_tokens_per_s(metrics_of())) == (0.0, 0.0)


def test_who_is_refused_was_asked_too() -> None:
    refused = metrics_of((0, 1, 5, 5), refused=3)
    slo = Slo(ttft_s=2, attainment=0.5)
    assert slo.share(refused) == 0.25 and not slo.met(refused)
    assert Slo(ttft_s=2, attainment=0.25).met(refused)
    assert math.isnan(slo.share(metrics_of()))


def test_a_gap_counts_among_all_gaps() -> None:
    run = metrics_of((0, 1, 5, 5))
    run.itl_s, run.itl_weight = array("d", [0.1, 2.0]), array("q", [99, 1])
    assert Slo(itl_s=0.1).met(run) and not Slo(itl_s=0.1, attainment=0.999).met(run)


@given(st.floats(0.5, 80), st.floats(0.01, 0.3), st.booleans())
def test_a_rate_lies_in_its_bracket(true_per_s: float, rtol: float, doubled: bool) -> None:
    """Of a server that is in time up to a rate, and never after."""

    def serve(rate_per_s: float, seed: int) -> Metrics:
        return metrics_of((0, 1 if rate_per_s <= true_per_s * (1 + seed / 10) else 9, 10, 2))

    found = max_rate_at_slo(
        serve, Slo(ttft_s=2), seeds=range(3), low_per_s=0.4, high_per_s=None if doubled else 200, rtol=rtol
    )
    for seed, (met, missed) in found.brackets.items():
        assert met <= true_per_s * (1 + seed / 10) < missed <= met * (1 + rtol)
        assert found.by_seed[seed] == met
    assert found.low <= found.value <= found.high


def test_the_interval_is_students() -> None:
    """Rates 9, 10, 11: mean 10, s 1, t(0.975, 2) = 4.3027, so 10 +- 2.484."""

    def serve(rate_per_s: float, seed: int) -> Metrics:
        return metrics_of((0, 1 if rate_per_s <= 9 + seed else 9, 10, 2))

    found = max_rate_at_slo(serve, Slo(ttft_s=2), seeds=range(3), low_per_s=1, high_per_s=20, rtol=1e-9)
    half = 4.302653 / math.sqrt(3)
    assert (found.low, found.value, found.high) == pytest.approx((10 - half, 10, 10 + half))
    alone = max_rate_at_slo(serve, Slo(ttft_s=2), seeds=[0], low_per_s=1, high_per_s=20)
    assert math.isnan(alone.low) and alone.value == pytest.approx(9, rel=0.02)


def test_a_rate_is_looked_for_in_as_few_loads_as_its_bracket_needs() -> None:
    """In time up to 3/s: 1, 2 and 4 double; sqrt(8) is kept; and 4 is within half of it."""
    asked = []

    def serve(rate_per_s: float, seed: int) -> Metrics:
        asked.append(rate_per_s)
        return metrics_of((0, 1 if rate_per_s <= 3 else 9, 10, 2))

    found = max_rate_at_slo(serve, Slo(ttft_s=2), seeds=[7], low_per_s=1, rtol=0.5)
    assert asked == pytest.approx([1, 2, 4, math.sqrt(8)]) and found.n_evaluations == 4
    assert found.brackets == {7: pytest.approx((math.sqrt(8), 4))}


@pytest.mark.parametrize(
    ("limits_per_s", "asked"),
    [  # between 4 and 8, halved once; then up by two ends, and down by three to the lowest
        ([5, 7], [1, 2, 4, 8, 32**0.5, 4, 8, 32**0.5]),
        ([5, 20], [1, 2, 4, 8, 32**0.5, 4, 8, 16, 32, 512**0.5]),
        ([9, 1], [1, 2, 4, 8, 16, 128**0.5, 8, 4, 2, 1, 2**0.5]),
    ],
)
def test_a_seed_begins_between_the_ends_of_the_one_before_it(limits_per_s: list[float], asked: list[float]) -> None:
    tried = []

    def serve(rate_per_s: float, seed: int) -> Metrics:
        tried.append(rate_per_s)
        return metrics_of((0, 1 if rate_per_s <= limits_per_s[seed] else 9, 10, 2))

    found = max_rate_at_slo(serve, Slo(ttft_s=2), seeds=range(2), low_per_s=1, rtol=0.5)
    assert tried == pytest.approx(asked) and found.n_evaluations == len(asked)
    for seed, (met, missed) in found.brackets.items():
        assert met <= limits_per_s[seed] < missed


def test_a_seed_that_is_late_at_the_lowest_rate_or_in_time_at_the_highest_is_refused() -> None:
    def serve(rate_per_s: float, seed: int) -> Metrics:
        return metrics_of((0, 1 if rate_per_s <= (5, 0.9, 99)[seed] else 9, 10, 2))

    refuses(lambda: max_rate_at_slo(serve, Slo(ttft_s=2), seeds=[0, 1], low_per_s=1), "At 1 .* missed already")
    refuses(lambda: max_rate_at_slo(serve, Slo(ttft_s=2), seeds=[0, 1], low_per_s=1, high_per_s=8), "missed already")
    refuses(
        lambda: max_rate_at_slo(serve, Slo(ttft_s=2), seeds=[0, 2], low_per_s=1, high_per_s=8), "At 8 .* end higher"
    )


def test_unless_told_otherwise_99_percent_keep_the_limits_at_five_seeds() -> None:
    def serve(rate_per_s: float, seed: int) -> Metrics:
        return metrics_of((0, 1 if rate_per_s <= 3 else 9, 10, 2))

    found = max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, high_per_s=4.8)
    assert list(found.brackets) == [0, 1, 2, 3, 4] and Slo().attainment == 0.99
    assert all(1.01 < missed / met <= 1.02 for met, missed in found.brackets.values())  # 4.8 ** (1 / 128) = 1.0123


def test_the_rate_of_a_simulated_server_keeps_the_limits_there_and_not_beyond() -> None:
    group = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    slo = Slo(ttft_s=0.5, tpot_s=0.02)

    def serve(rate_per_s: float, seed: int) -> Metrics:
        asked = synthetic("azure-conv", 300, seed=seed)
        workload = Workload(300, inputs=asked.inputs, outputs=asked.outputs, arrivals=Poisson(rate_per_s, seed=seed))
        return serve_on(group, workload, Policy(n_slots=64)).metrics

    singly = max_rate_at_slo(serve, slo, seeds=range(3), low_per_s=0.5, rtol=0.05)
    jointly = max_rate_at_slo(serve, slo, seeds=range(3), low_per_s=0.5, rtol=0.05, jointly=True)
    for seed, (met, missed) in singly.brackets.items():
        assert slo.met(serve(met, seed)) and not slo.met(serve(missed, seed))
        assert jointly.by_seed[seed] <= met * 1.05
    assert singly.n_evaluations >= 3 * 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda serve: Slo(ttft_s=0), "limit on TTFT is a time above zero"),
        (lambda serve: Slo(tpot_s=math.nan), "limit on TPOT is a time above zero"),
        *((lambda serve, share=share: Slo(attainment=share), "share above 0, up to 1") for share in (0, 1.01, 99)),
        (lambda serve: Slo(itl_s=0), "limit on ITL is a time above zero"),
        (lambda serve: Slo(e2e_s=-1), "limit on E2E is a time above zero"),
        (lambda serve: Slo().binding(RUN), "none binds"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=0.5), low_per_s=1), "missed already"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, high_per_s=2), "still kept; end higher"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1), "they limit nothing"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=3, high_per_s=2), "A bracket rises"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=3, high_per_s=3), "A bracket rises"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, rtol=1), "narrow by a share"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=0), "rate is positive"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, rtol=0), "narrow by a share"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, rtol=1e-300), "narrow by a share"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, high_per_s=math.inf), "positive and finite"),
        (lambda serve: max_rate_at_slo(serve, Slo(itl_s=2), low_per_s=1, jointly=True), "belongs to no one request"),
        (lambda serve: e2e_s(ttft_s=-1, tpot_s=1, n_output_tokens=2), "seconds from 0 up"),
        (lambda serve: tpot_of_e2e_s(e2e_s=-5, ttft_s=-6, n_output_tokens=3), "seconds from 0 up"),
        (lambda serve: tpot_of_e2e_s(e2e_s=5, ttft_s=math.inf, n_output_tokens=3), "seconds from 0 up"),
        (lambda serve: mean_itl_s([0.1], [3, 4]), "belongs to an answer"),
        (lambda serve: mean_itl_s([-0.1], [3]), "seconds from 0 up"),
        *(
            (lambda serve, s=s: user_tokens_per_s(tpot_s=s), "above zero")
            for s in (5e-324, 9.9e-13, math.inf, math.nan)
        ),
        (lambda serve: tpot_of_e2e_s(e2e_s=1 - 2e-9, ttft_s=1, n_output_tokens=3), "is longer than"),
        (lambda serve: max_rate_at_slo(serve, Slo(ttft_s=2), low_per_s=1, seeds=()), "for a seed at least"),
        (lambda serve: e2e_s(ttft_s=1, tpot_s=1, n_output_tokens=0), "has a token at least"),
        (lambda serve: tpot_of_inclusive_s(inclusive_s=1, ttft_s=1, n_output_tokens=1), "needs two tokens"),
        (lambda serve: tpot_of_inclusive_s(inclusive_s=1, ttft_s=9, n_output_tokens=2), "is longer than"),
        (lambda serve: tpot_of_e2e_s(e2e_s=1, ttft_s=2, n_output_tokens=3), "is longer than"),
        (lambda serve: mean_itl_s([math.nan], [1]), "need an answer of two tokens"),
        (lambda serve: user_tokens_per_s(tpot_s=0), "is above zero"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(wrong: Callable[[object], object], says: str) -> None:
    with pytest.raises(BytebillError, match=says):
        wrong(lambda rate_per_s, seed: metrics_of((0, 1, 10, 2)))


def test_the_ends_of_what_can_be_are_allowed() -> None:
    assert Slo(attainment=1).share(RUN) == 1
    assert e2e_s(ttft_s=3, tpot_s=0, n_output_tokens=1) == 3
    assert tpot_of_e2e_s(e2e_s=2, ttft_s=2, n_output_tokens=2) == 0
    assert tpot_of_e2e_s(e2e_s=1 - 5e-10, ttft_s=1, n_output_tokens=2) == 0
    assert user_tokens_per_s(tpot_s=1e-12) == 1e12
    assert mean_itl_s([math.nan, 0.5], [1, 2]) == 0.5


def test_a_rate_is_doubled_forty_times_and_no_more() -> None:
    def serve_up_to(most_per_s: float) -> Callable[[float, int], Metrics]:
        return lambda rate_per_s, seed: metrics_of((0, 1 if rate_per_s <= most_per_s else 9, 10, 2))

    found = max_rate_at_slo(serve_up_to(2.0**39), Slo(ttft_s=2), seeds=[0], low_per_s=1, rtol=0.99)
    assert found.by_seed == {0: 2.0**39}
    with pytest.raises(BytebillError, match=r"At 1.1e\+12 requests/s the limits are still kept"):
        max_rate_at_slo(serve_up_to(2.0**40), Slo(ttft_s=2), seeds=[0], low_per_s=1, rtol=0.99)


@given(st.floats(0, 20), st.floats(0, 2), st.integers(2, 5000))
def test_conversions_undo_each_other(ttft_s: float, tpot_s: float, n: int) -> None:
    inclusive = inclusive_tpot_s(ttft_s=ttft_s, tpot_s=tpot_s, n_output_tokens=n)
    assert tpot_of_inclusive_s(inclusive_s=inclusive, ttft_s=ttft_s, n_output_tokens=n) == pytest.approx(
        tpot_s, abs=1e-9
    )


@given(st.floats(0, 20), st.floats(0.001, 2), st.integers(2, 5000))
def test_a_tools_numbers_lead_back_to_the_same_request(ttft_s: float, tpot_s: float, n: int) -> None:
    whole_s = e2e_s(ttft_s=ttft_s, tpot_s=tpot_s, n_output_tokens=n)
    assert tpot_of_e2e_s(e2e_s=whole_s, ttft_s=ttft_s, n_output_tokens=n) == pytest.approx(tpot_s, rel=1e-6)
    inclusive = inclusive_tpot_s(ttft_s=ttft_s, tpot_s=tpot_s, n_output_tokens=n)
    assert inclusive == pytest.approx(tpot_s + (ttft_s - tpot_s) / n, rel=1e-9)
    assert user_tokens_per_s(tpot_s=inclusive) == pytest.approx(n / whole_s)


def test_gaps_weigh_by_answer_in_a_simulated_run_too() -> None:
    """The mean over pooled gaps is that of TPOTs weighted by gaps, and not their mean over requests."""
    group = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    run = serve_on(group, synthetic("azure-conv", 100, seed=1), Policy(n_slots=16)).metrics
    pooled = mean_itl_s(run.tpot_s, run.columns["n_output_tokens"])
    assert pooled == pytest.approx(run.itl_mean_s, rel=1e-9)
    known = [tpot_s for tpot_s in run.tpot_s if tpot_s == tpot_s]
    assert abs(pooled / (sum(known) / len(known)) - 1) > 1e-3
