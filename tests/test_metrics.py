"""The numbers of a run against hand calculation, and against every token's time written down."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.errors import BytebillError
from bytebill.serving.continuous import ContinuousScheduler
from bytebill.serving.memory.paged import Paged
from bytebill.serving.metrics import Metrics, mean, quantile
from bytebill.serving.request import Request
from bytebill.serving.schedule import Schedule
from bytebill.serving.static import StaticScheduler
from bytebill.sim.server import simulate
from serving_play import CONSTANT, SCHEDULERS, LinearClock, workloads


def test_two_requests_by_hand() -> None:
    """Steps of a second. 0 arrives at 0 and emits at 1, 2, 3; 1 arrives at 0.5, starts at 1, emits at 2."""
    requests = [
        Request(id=0, n_input_tokens=4, n_output_tokens=3),
        Request(id=1, n_input_tokens=6, n_output_tokens=1, arrival_s=0.5),
    ]
    pool = Paged(n_blocks=5, block_size_tokens=4)
    m = simulate(ContinuousScheduler(pool, max_batch_size=2), requests, CONSTANT).metrics
    assert list(m.columns["id"]) == [1, 0]
    assert (m.ttft_s, m.queueing_s, m.e2e_latency_s) == ([1.5, 1.0], [0.5, 0.0], [1.5, 3.0])
    assert math.isnan(m.tpot_s[0]) and m.tpot_s[1] == 1.0
    assert m.span_s == 3.0 and m.n_steps == 3
    assert m.output_tokens_per_s == pytest.approx(4 / 3) and m.total_tokens_per_s == pytest.approx(14 / 3)
    assert m.mean_running == pytest.approx(4 / 3) and m.slot_utilization == pytest.approx(4 / 6)
    assert m.mean_in_system == pytest.approx((0.5 * 1 + 1.5 * 2 + 1 * 1) / 3)  # one to 0.5 s, two to 2 s, one to 3 s
    assert m.mean_in_queue == pytest.approx(0.5 / 3)
    assert m.kv_utilization == pytest.approx((0 + 4 + 5) / 3 / 20)  # tokens cached before each step
    assert (m.itl_mean_s, m.itl_quantile_s(0.99)) == (1.0, 1.0)


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=20)
@given(requests=workloads())
def test_means_over_the_whole_span_are_counts_at_every_moment(name: str, requests: list[Request]) -> None:
    """Who has arrived and not left, and who has arrived and not begun, counted between events and weighed by time."""
    m = simulate(SCHEDULERS[name](), requests, LinearClock()).metrics
    for leaves, found in (("finish_s", m.mean_in_system), ("scheduled_s", m.mean_in_queue)):
        events = sorted([(t, 1) for t in m.columns["arrival_s"]] + [(t, -1) for t in m.columns[leaves]])
        inside, area = 0, 0.0
        for (t, change), (later, _) in pairwise(events):
            inside += change
            area += inside * (later - t)
        assert found == pytest.approx(area / m.span_s if m.span_s else 0.0)


def test_static_slots_pay_for_the_longest() -> None:
    """Answers of 1 and 4 tokens: 4 steps of 2 slots, 5 of them useful; each user is answered when its own is done."""
    requests = [Request(id=i, n_input_tokens=2 + i, n_output_tokens=n) for i, n in enumerate((1, 4))]
    m = simulate(StaticScheduler(2), requests, CONSTANT).metrics
    assert m.slot_utilization == 5 / 8 and m.e2e_latency_s == [1.0, 4.0]
    assert (m.n_computed_tokens, m.n_padding_tokens) == (2 * 3 + 2 * 3, 1 + 3)
    assert math.isnan(m.kv_utilization)


@pytest.mark.parametrize("n_input_tokens", [1, 4000])
def test_a_static_share_is_the_mean_answer_over_the_longest(n_input_tokens: int) -> None:
    """However long the prompts take: (1 + 4) / 2 / 4."""
    requests = [Request(id=i, n_input_tokens=n_input_tokens, n_output_tokens=n) for i, n in enumerate((1, 4))]
    assert simulate(StaticScheduler(2), requests, LinearClock()).metrics.slot_utilization == 5 / 8


def token_times(schedule: Schedule, n_known: dict[int, int]) -> dict[int, list[float]]:
    """When each request emitted each token, read off the schedule: a prefill emits when it reaches what it knows."""
    times: dict[int, list[float]] = defaultdict(list)
    for row, end_s in zip(schedule.rows, schedule.ends_s, strict=True):
        for id, context, n_new in row.prefills:
            if context + n_new >= n_known[id] + len(times[id]):
                times[id].append(end_s)
        for id, _ in row.decodes:
            times[id].append(end_s)
    return times


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=30)
@given(requests=workloads(), clock=st.sampled_from([CONSTANT, LinearClock()]))
def test_gaps_are_those_between_tokens(name: str, requests: list[Request], clock: LinearClock) -> None:
    run = simulate(SCHEDULERS[name](), requests, clock, schedule=True)
    m = run.metrics
    assert run.schedule is not None
    times = token_times(run.schedule, {request.id: request.n_input_tokens for request in requests})
    assert {id: len(emitted) for id, emitted in times.items()} == {r.id: r.n_output_tokens for r in requests}
    for id, first_s, finish_s in zip(m.columns["id"], m.columns["first_token_s"], m.columns["finish_s"], strict=True):
        assert (times[id][0], times[id][-1]) == (first_s, finish_s)
    gaps = sorted(b - a for emitted in times.values() for a, b in pairwise(emitted))
    pooled = sorted(g for g, n in zip(m.itl_s, m.itl_weight, strict=True) for _ in range(n))
    assert len(pooled) == len(gaps) and sum(pooled) == pytest.approx(sum(gaps))
    near = 1e-9 if clock is CONSTANT else 0.5  # in a run of equal steps the mean stands for each
    assert pooled == pytest.approx(gaps, abs=near)
    assert sum(m.ttft_s) + sum(pooled) == pytest.approx(sum(m.e2e_latency_s))
    assert m.n_emitted_tokens == m.n_output_tokens  # also of those that were preempted
    assert m.slot_utilization == m.n_output_tokens / (m.n_slots * m.n_steps) <= 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1), st.floats(0, 1))
def test_a_weighted_quantile_is_that_of_repeated_values(pairs: list[tuple[int, int]], q: float) -> None:
    values, weights = zip(*pairs, strict=True)
    repeated = [value for value, weight in pairs for _ in range(weight)]
    assert quantile(values, q, weights=weights) == quantile(repeated, q)


def test_quantiles_and_means_leave_nan_out() -> None:
    assert quantile([math.nan, 2.0, 1.0], 1.0) == 2.0 and mean([math.nan, 3.0]) == 3.0
    assert math.isnan(quantile([], 0.5)) and math.isnan(mean([math.nan]))
    with pytest.raises(BytebillError, match="share from 0 to 1"):
        quantile([1.0], 50)


def test_of_a_run_of_nothing_rates_are_zero_and_shares_unknown() -> None:
    m = Metrics(n_slots=2, n_kv_tokens=16)
    assert (m.span_s, m.requests_per_s, m.mean_running, m.mean_in_queue, m.slot_utilization) == (0, 0, 0, 0, 0)
    assert math.isnan(m.kv_utilization) and math.isnan(m.itl_mean_s)
