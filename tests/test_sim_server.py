"""Skipping is stepping, bit for bit; queues wait as long as theory says; what goes in comes out."""

from __future__ import annotations

import math
import pickle
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.serving.continuous import ChunkedScheduler, ContinuousScheduler
from bytebill.serving.memory.paged import Counted, Paged
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.metrics import mean
from bytebill.serving.plan import Plan
from bytebill.serving.policy import KINDS_OF_SCHEDULER, Policy
from bytebill.serving.request import Request, ServedSequence
from bytebill.serving.slo import Slo
from bytebill.serving.workload import sharegpt_like
from bytebill.serving.workload.source import Source
from bytebill.sim.clock import Clock, Segment
from bytebill.sim.server import serve_on, simulate
from bytebill.trials.replay import ReplayClock
from serving_play import CONSTANT, SCHEDULERS, LinearClock, poisson, workloads

CLOCKS = {"constant": CONSTANT, "linear": LinearClock(), "steep": LinearClock(step_s=0.1, context_s=0.3)}


class Hides:
    """A scheduler whose plans do not tell for how long they hold."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def plan(self, now_s: float) -> Plan | None:
        plan = self._scheduler.plan(now_s)
        return None if plan is None else replace(plan, n_repeats=1 if plan.chunks else -1)


@pytest.mark.parametrize("users", [0, 1.5, math.inf, "a"])
def test_users_come_in_wholes(users: Any) -> None:
    with pytest.raises(BytebillError, match="a whole number of them"):
        Source([], users)


ODD: list[dict[str, Any]] = [
    *({"arrival_s": arrival_s} for arrival_s in (-1.0, math.inf, math.nan, None, "a")),
    *({name: n} for name in ("n_input_tokens", "n_output_tokens") for n in (0, 1.5, math.nan, None, "a")),
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_request_asks_for_whole_tokens_at_some_time(odd: dict[str, Any]) -> None:
    with pytest.raises(BytebillError, match="an arrival"):
        Request(**{"id": 0, "n_input_tokens": 1, "n_output_tokens": 1, **odd})


@pytest.mark.parametrize("n_given_tokens", [-1, 4])
def test_a_request_brings_the_cache_of_some_of_its_prompt(n_given_tokens: int) -> None:
    with pytest.raises(BytebillError, match="not of all"):
        Request(id=0, n_input_tokens=4, n_output_tokens=1, n_given_tokens=n_given_tokens)


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=30)
@given(requests=workloads(), clock=st.sampled_from(list(CLOCKS)), users=st.sampled_from([None, None, 1, 3]))
def test_skipping_is_stepping(name: str, requests: list[Request], clock: str, users: int | None) -> None:
    skipped, stepped = (
        simulate(
            Hides(SCHEDULERS[name]()) if stepwise else SCHEDULERS[name](),
            requests,
            CLOCKS[clock],
            concurrency=users,
            stepwise=stepwise,
            schedule=True,
        )
        for stepwise in (False, True)
    )
    assert skipped.schedule.rows == stepped.schedule.rows
    assert skipped.schedule.ends_s == stepped.schedule.ends_s
    assert skipped.metrics == stepped.metrics
    assert skipped.end_s == stepped.end_s


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=30)
@given(requests=workloads(), clock=st.sampled_from(list(CLOCKS)))
def test_what_goes_in_comes_out_and_littles_law(name: str, requests: list[Request], clock: str) -> None:
    run = simulate(SCHEDULERS[name](), requests, CLOCKS[clock], schedule=True)
    m = run.metrics
    assert m.n_finished == len(requests)
    assert m.n_input_tokens == sum(r.n_input_tokens for r in requests)
    assert m.n_output_tokens == sum(r.n_output_tokens for r in requests)
    assert m.busy_s <= m.span_s * (1 + 1e-9)
    # Little: sequences in service, summed over the time of steps = their times in service, summed over sequences
    in_service = sum(m.e2e_latency_s) - sum(m.queueing_s)
    if m.n_preemptions == 0:
        assert m.slot_s == pytest.approx(in_service)
    assert m.slot_s <= in_service * (1 + 1e-9)
    assert m.n_computed_tokens - m.n_padding_tokens >= sum(r.n_cached_tokens_at_end for r in requests) or (
        "sharing" in name
    )
    rows = m.columns
    order = zip(rows["arrival_s"], rows["scheduled_s"], rows["first_token_s"], rows["finish_s"], strict=True)
    assert all(a <= b < c <= d for a, b, c, d in order)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_of_constant_time_waits_as_m_d_1_does(load: float) -> None:
    """One token each, one at a time: mean wait = rho / (2 (1 - rho)) steps."""
    scheduler = ContinuousScheduler(Paged(n_blocks=4), max_batch_size=1)
    run = simulate(scheduler, poisson(40_000, load, lambda _: 1, seed=5), CONSTANT)
    assert mean(run.metrics.queueing_s) == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert mean(run.metrics.ttft_s) == pytest.approx(1 + mean(run.metrics.queueing_s))


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_one_server_of_exponential_time_waits_as_m_m_1_does(load: float) -> None:
    """Exponential answers of 200 tokens in the mean, one at a time: mean wait = rho / (mu - lambda)."""
    scheduler = ContinuousScheduler(Paged(n_blocks=4000), max_batch_size=1)
    mu = 1 / 200
    answers = lambda rng: 1 + int(rng.expovariate(mu))  # noqa: E731
    run = simulate(scheduler, poisson(40_000, load * mu, answers, seed=6), CONSTANT)
    assert mean(run.metrics.queueing_s) == pytest.approx(load / (mu - load * mu), rel=0.06)


def test_littles_law_counts_everyone_in_the_system() -> None:
    """L = lambda W, with L from walking over arrivals and departures in order of time."""
    scheduler = ContinuousScheduler(Paged(n_blocks=40), max_batch_size=8)
    m = simulate(scheduler, poisson(2_000, 0.2, lambda rng: rng.randint(1, 60), seed=7), LinearClock()).metrics
    events = sorted([(t, 1) for t in m.columns["arrival_s"]] + [(t, -1) for t in m.columns["finish_s"]])
    area, inside, last = 0.0, 0, events[0][0]
    for time_s, change in events:
        area += inside * (time_s - last)
        inside, last = inside + change, time_s
    assert area / m.span_s == pytest.approx(m.requests_per_s * mean(m.e2e_latency_s))
    assert m.mean_running > 4


@pytest.mark.parametrize("users", [1, 4])
def test_a_closed_loop_has_never_more_requests_than_users(users: int) -> None:
    requests = [Request(id=i, n_input_tokens=3, n_output_tokens=1 + i % 5) for i in range(40)]
    scheduler = ContinuousScheduler(Paged(n_blocks=90), max_batch_size=3)
    m = simulate(scheduler, requests, CONSTANT, concurrency=users).metrics
    assert m.n_finished == 40
    events = sorted([(t, 1) for t in m.columns["arrival_s"]] + [(t, -1) for t in m.columns["finish_s"]])
    inside, most = 0, 0
    for _, change in events:
        inside += change
        most = max(most, inside)
    assert most == users
    assert set(m.columns["arrival_s"]) <= {0.0, *m.columns["finish_s"]}


@pytest.mark.parametrize("users", [None, 2])
def test_what_cannot_fit_is_refused_and_the_rest_is_served(users: int | None) -> None:
    requests = [Request(id=i, n_input_tokens=3 if i % 3 else 300, n_output_tokens=4) for i in range(12)]
    m = simulate(ContinuousScheduler(Paged(n_blocks=9)), requests, CONSTANT, concurrency=users).metrics
    assert m.n_finished == 8 and [id for id, _ in m.refusals] == [0, 3, 6, 9]
    assert Slo().share(m) == 8 / 12


def test_requests_out_of_order_are_a_clear_error() -> None:
    requests = [Request(id=i, n_input_tokens=3, n_output_tokens=1, arrival_s=5.0 - i) for i in range(2)]
    with pytest.raises(BytebillError, match="arrives before it"):
        simulate(ContinuousScheduler(Paged(n_blocks=9)), requests, CONSTANT)


class Jitter:
    """An engine of sorts: no two steps take the same time."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def segment(self, plan: Plan) -> Segment:
        return Segment(self._rng.uniform(0.2, 1.5), 0.0)


class Alone(Hides):
    """No plan continues another, so that each step is timed on its own, as an engine times it."""

    def plan(self, now_s: float) -> Plan | None:
        plan = self._scheduler.plan(now_s)
        return None if plan is None else replace(plan, preempted=(*plan.preempted, ServedSequence(NOBODY)))


NOBODY = Request(id=-1, n_input_tokens=1, n_output_tokens=1)


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=20)
@given(requests=workloads(), seed=st.integers(0, 99))
def test_a_replayed_record_gives_the_same_schedule(name: str, requests: list[Request], seed: int) -> None:
    engine = simulate(Alone(SCHEDULERS[name]()), requests, Jitter(seed), stepwise=True, schedule=True).schedule
    rows = [replace(row, preempted=row.preempted[:-1]) for row in engine.rows]
    clock = ReplayClock(engine.begins_s, engine.ends_s)
    for stepwise in (False, True):
        played = simulate(SCHEDULERS[name](), requests, clock, stepwise=stepwise, schedule=True).schedule
        assert played.rows == rows
        assert played.ends_s == pytest.approx(engine.ends_s)


def test_a_record_that_is_too_short_says_so() -> None:
    requests = [Request(id=0, n_input_tokens=3, n_output_tokens=4)]
    with pytest.raises(BytebillError, match="the record has 1"):
        simulate(ContinuousScheduler(Paged(n_blocks=9)), requests, ReplayClock([0.0], [1.0]))


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
@pytest.mark.parametrize("chunked", [False, True])
def test_skipping_is_stepping_on_a_real_clock_with_a_full_cache(preemption: str, chunked: bool) -> None:
    group = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    clock = Clock(group, host_bytes_per_s=50e9)

    def run(stepwise: bool) -> Any:
        pool = Paged(n_blocks=300, n_host_blocks=60)
        options: dict[str, Any] = {"preemption": preemption, "watermark": 0, "max_batch_size": 100}
        scheduler = (
            ChunkedScheduler(pool, token_budget=256, **options) if chunked else ContinuousScheduler(pool, **options)
        )
        rng = random.Random(8)
        requests = (
            Request(id=i, n_input_tokens=rng.randint(1, 300), n_output_tokens=rng.randint(1, 300), arrival_s=i / 50)
            for i in range(300)
        )
        return simulate(scheduler, requests, clock, stepwise=stepwise).metrics

    skipped = run(False)
    assert skipped == run(True)
    assert skipped.n_finished == 300 and skipped.n_preemptions > 20 and skipped.kv_utilization > 0.8


def test_cost_follows_events_and_not_tokens() -> None:
    """Answers ten times as long take ten times the steps and no more plans."""
    plans = {}
    for n_output in (100, 1000):
        seen: list[Plan] = []
        requests = [Request(id=i, n_input_tokens=5, n_output_tokens=n_output + i) for i in range(20)]
        pool = Paged(n_blocks=10_000)
        run = simulate(
            ContinuousScheduler(pool), requests, CONSTANT, observe=lambda _, plan, seen=seen: seen.append(plan)
        )
        plans[n_output] = len(seen)
        assert run.metrics.n_steps == n_output + 19
    assert plans[100] == plans[1000] == 21


@pytest.mark.parametrize("kind", KINDS_OF_SCHEDULER)
def test_a_policy_is_a_record_of_which_schedulers_are_made(kind: str) -> None:
    policy = Policy(kind=kind, n_slots=8, token_budget=64, window_s=1.0)
    sent = pickle.loads(pickle.dumps(policy))
    assert sent == policy and hash(sent) == hash(policy)
    one, other = (simulate(each.scheduler(400), sharegpt_like(20), CONSTANT).metrics for each in (policy, sent))
    assert one == other and one.n_finished == 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "chunky"}, "no kind of scheduler 'chunky'; nearest: chunked"),
        ({"kind": "chunked"}, "token_budget"),
        *(({name: n}, "from 1 up") for name in ("n_slots", "block_size_tokens") for n in (0, 1.5)),
        *(({"token_budget": n}, "from 1 up") for n in (-1, 0, 1.5)),
        *(({"watermark": share}, "share of the pool") for share in (-0.01, 1)),
    ],
)
def test_policies_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BytebillError, match=words):
        Policy(**settings)


def test_the_least_policy_is_one() -> None:
    assert Policy(n_slots=1, token_budget=1, block_size_tokens=1, watermark=0.0).scheduler(1).n_kv_tokens == 1


def test_a_policy_unless_told_is_the_scheduler_unless_told() -> None:
    made, by_hand = Policy().scheduler(9), ContinuousScheduler(Paged(n_blocks=9))
    for name in ("n_slots", "mixed", "preemption", "_budget", "_n_kept_free"):
        assert vars(made)[name] == vars(by_hand)[name], name
    assert made.n_kv_tokens == by_hand.n_kv_tokens == 9 * 16


def test_what_a_policy_says_its_scheduler_does() -> None:
    options: dict[str, Any] = {"n_slots": 7, "token_budget": 90, "watermark": 0.25, "preemption": "swap"}
    policy = Policy(**options, mixed=False, block_size_tokens=8, n_host_blocks=5)
    made = policy.scheduler(100)
    assert isinstance(made, ContinuousScheduler)
    assert (made.n_slots, made.mixed, made.preemption, made.n_kv_tokens) == (7, False, "swap", 800)
    assert (vars(made)["_budget"], vars(made)["_n_kept_free"], made.allocator.n_host_free) == (90, 25, 5)
    assert vars(replace(policy, kind="chunked").scheduler(100))["mixed"], "chunks always go beside decodes"


@pytest.mark.parametrize(("kind", "waits_until_s"), [("dynamic", 3.5), ("static", math.inf)])
def test_a_policy_of_batches_says_how_long_they_wait_and_how_they_are_padded(kind: str, waits_until_s: float) -> None:
    batches = Policy(kind=kind, n_slots=2, window_s=2.5, pad_input_to=10, pad_output_to=30).scheduler(1)
    batches.add(Request(id=0, n_input_tokens=3, n_output_tokens=2, arrival_s=1.0))
    assert batches.wakes_at_s == waits_until_s and batches.n_slots == 2
    plan = batches.plan(math.inf)
    assert plan is not None and plan.chunks[0].n_pad_tokens == 7
    batches.advance()
    assert batches.plan(math.inf).n_repeats == 1
    batches.advance()
    assert batches.plan(math.inf).n_repeats == 28, "padding up to the 30th token"


@pytest.mark.parametrize(
    ("settings", "numbered", "pool"),
    [
        ({}, True, Paged),
        ({}, False, Counted),
        ({"n_host_blocks": 1}, False, Paged),
        ({"shares_prefixes": True}, False, PrefixSharing),
        ({"shares_prefixes": True}, True, PrefixSharing),
    ],
)
def test_blocks_have_numbers_where_somebody_reads_them(settings: dict[str, Any], numbered: bool, pool: type) -> None:
    assert type(Policy(**settings).pool(9, numbered=numbered)) is pool


def test_an_answer_frees_its_user_after_the_delay() -> None:
    source = Source([Request(id=i, n_input_tokens=1, n_output_tokens=1) for i in range(3)], 2, delay_s=0.5)
    assert [source.pop().arrival_s, source.pop().arrival_s, source.next_s] == [0.0, 0.0, math.inf]
    source.answered(5.0)
    source.answered(6.0)
    assert source.next_s == 5.5 and source.pop().arrival_s == 5.5
    assert source.next_s == math.inf, "nobody has anything left to ask"
    with pytest.raises(RuntimeError, match="nobody is due"):
        source.pop()


def test_a_deployment_is_served_in_one_call_as_by_hand() -> None:
    deployment = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    scheduler = ChunkedScheduler(Paged(n_blocks=deployment.n_blocks()), token_budget=512, max_batch_size=40)
    by_hand = simulate(scheduler, sharegpt_like(200), Clock(deployment), concurrency=30)
    policy = Policy(kind="chunked", token_budget=512, n_slots=40)
    assert serve_on(deployment, sharegpt_like(200), policy, concurrency=30).metrics == by_hand.metrics
