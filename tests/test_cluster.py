"""Many replicas are one server each; queues wait as theory says; every token is computed once and moved once."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import find, precision
from bytebill.roofline.load import Chunk, Load
from bytebill.serving import Poisson, Policy, Request, RequestRouter, SharedPrefix, Source, sharegpt_like, synthetic
from bytebill.serving.continuous import ContinuousScheduler
from bytebill.serving.memory.contiguous import ContiguousMax
from bytebill.serving.memory.paged import Paged
from bytebill.serving.metrics import mean
from bytebill.serving.plan import NOTHING, Events, Plan
from bytebill.serving.request import ServedSequence
from bytebill.serving.static import StaticScheduler
from bytebill.sim import Cluster, Pool, Transfer, serve_on
from bytebill.sim.clock import Clock
from bytebill.sim.constants import IDEAL, calibrated_constants
from bytebill.sim.fleet import Replicas
from bytebill.sim.handover import SUMS
from bytebill.sim.ranks import LockStep, RankClock, RankPlan, lock_step, rank_policy
from bytebill.sim.replica import Kind
from bytebill.sim.server import simulate
from bytebill.sim.transfer import network_bytes_per_s
from bytebill.trials.transfers import moved_caches
from serving_play import CONSTANT, SCHEDULERS, LinearClock, poisson, workloads


def group(model_id: str = "llama-3-8b", card: str = "h100-sxm", kv: str = "bf16", **fields: Any) -> Deployment:
    return Deployment(model=find(model_id)[0], accelerator=accelerator(card), precision=precision(kv), **fields)


ONE = group()
WINDOWED = "gpt-oss-20b"  # every other layer reads 128 tokens back
BOTH, PREFILL, DECODE = (Pool(deployment=ONE, role=role) for role in ("both", "prefill", "decode"))


def chats(n: int, rate_per_s: float, *, seed: int = 0) -> list[Request]:
    return list(synthetic("azure-conv", n, max_len_tokens=8192, arrivals=Poisson(rate_per_s, seed=seed), seed=seed))


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=30)
@given(requests=workloads(), users=st.sampled_from([None, None, 1, 3]), steep=st.booleans())
def test_a_fleet_of_one_is_the_server(name: str, requests: list[Request], users: int | None, steep: bool) -> None:
    clock = LinearClock(step_s=0.1, context_s=0.3) if steep else LinearClock()
    kind = Kind(scheduler=SCHEDULERS[name], clock=clock, n_replicas=1, size=1.0)
    fleet = Replicas([kind], Source(requests, users), router="least loaded")
    fleet.run()
    alone = simulate(SCHEDULERS[name](), requests, clock, concurrency=users)
    assert fleet.metrics() == alone.metrics and fleet.now_s == alone.end_s


@pytest.mark.parametrize("users", [None, 30])
@pytest.mark.parametrize("policy", [Policy(), Policy(kind="chunked", token_budget=512)])
def test_a_cluster_of_one_is_serve_on_row_for_row(policy: Policy, users: int | None) -> None:
    asked = chats(300, 12.0)
    asked[7] = replace(asked[7], n_input_tokens=10**6)  # refused by both, with one sentence
    served = Cluster(pools=(Pool(deployment=ONE, policy=policy),)).serve(asked, concurrency=users)
    alone = serve_on(ONE, asked, policy, concurrency=users)
    assert served.metrics == alone.metrics and served.end_s == alone.end_s
    assert [id for id, _ in served.metrics.refusals] == [7] and "blocks" in served.metrics.refusals[0][1]


def test_replicas_in_turn_are_servers_of_every_nth_request() -> None:
    asked = chats(400, 40.0)
    served = Cluster(pools=(replace(BOTH, n_replicas=4),), router="round robin").serve(asked)
    rows = {row[4]: row for row in zip(*served.metrics.columns.values(), strict=True)}
    for i in range(4):
        alone = serve_on(ONE, asked[i::4]).metrics
        assert all(rows[row[4]] == row for row in zip(*alone.columns.values(), strict=True))
    finished = list(served.metrics.columns["finish_s"])
    assert finished == sorted(finished) and len(finished) == 400


def md_n_waits(arrivals: list[float], n: int, service_s: float) -> list[float]:
    """First come, first served by n, each of whom takes equally long: the recursion."""
    free, waits = [0.0] * n, []
    for arrival_s in arrivals:
        start_s = max(arrival_s, heapq.heappop(free))
        waits.append(start_s - arrival_s)
        heapq.heappush(free, start_s + service_s)
    return waits


@pytest.mark.parametrize("router", ["round robin", "least loaded"])
@pytest.mark.parametrize(("n", "load"), [(1, 0.7), (2, 0.8), (5, 0.9)])
def test_equal_replicas_of_constant_time_wait_as_m_d_n_does(router: str, n: int, load: float) -> None:
    """One token, one second, one at a time. In turn is M/D/n exactly: equal services end in order of their starts.

    Least loaded counts requests and not what is left of them, so it may wait longer; not in the mean by much.
    """
    asked = list(poisson(20_000, load * n, lambda _: 1, seed=4))
    kind = Kind(
        scheduler=lambda: ContinuousScheduler(Paged(n_blocks=4), max_batch_size=1),
        clock=CONSTANT,
        n_replicas=n,
        size=1.0,
    )
    fleet = Replicas([kind], Source(asked, None), router=router)
    fleet.run()
    m = fleet.metrics()
    found = dict(zip(m.columns["id"], m.queueing_s, strict=True))
    exact = md_n_waits([r.arrival_s for r in asked], n, 1.0)
    if router == "round robin":
        assert [found[r.id] for r in asked] == pytest.approx(exact, abs=1e-6)
    assert mean(m.queueing_s) >= mean(exact) * (1 - 1e-9)
    if n == 1:
        assert mean(exact) == pytest.approx(load / (2 * (1 - load)), rel=0.06)  # Pollaczek and Khinchine
    elif n == 2:
        assert mean(exact) == pytest.approx(md2_mean_wait(load), rel=0.08)


def md2_mean_wait(load: float) -> float:
    """Crommelin's chain of M/D/2, numerically: L at ends of service times, W = Lq / lambda [service times]."""
    rate, size = 2 * load, 200
    arrive = [math.exp(-rate) * rate**k / math.factorial(k) for k in range(100)]
    held = [1.0] + [0.0] * size
    for _ in range(400):
        after = [0.0] * (size + 1)
        for n, share in enumerate(held):
            if share > 1e-13:
                for k, chance in enumerate(arrive):
                    after[min(max(n - 2, 0) + k, size)] += share * chance
        held = after
    return sum(share * max(n - 2, 0) for n, share in enumerate(held)) / rate


def test_a_router_keeps_the_order_of_arrival() -> None:
    served = Cluster(pools=(replace(BOTH, n_replicas=3),), max_outstanding=2).serve(chats(200, 60.0))
    m = served.metrics
    started = [t for _, t in sorted(zip(m.columns["id"], m.columns["scheduled_s"], strict=True))]
    # who is sent later may start a step earlier elsewhere, but nobody is overtaken in the queue by more than a step
    assert m.n_finished == 200 and all(later > now - 0.5 for now, later in pairwise(started))


def test_full_replicas_make_requests_wait_and_then_refuse() -> None:
    asked = [Request(id=i, n_input_tokens=100, n_output_tokens=50) for i in range(20)]
    pools = (replace(BOTH, n_replicas=2),)
    waiting = Cluster(pools=pools, max_outstanding=3).serve(asked).metrics
    assert waiting.n_finished == 20
    times = zip(waiting.columns["scheduled_s"], waiting.columns["finish_s"], strict=True)
    events = sorted(e for a, b in times for e in ((a, 1), (b, -1)))
    inside, most = 0, 0
    for _, change in events:
        inside += change
        most = max(most, inside)
    assert most == 6
    refused = Cluster(pools=pools, max_outstanding=3, max_queue=4).serve(asked).metrics
    assert refused.n_finished == 10 and [id for id, _ in refused.refusals] == list(range(10, 20))
    assert "queue" in refused.refusals[0][1]


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["round robin", "least loaded", "prefix affinity"]),
    sizes=st.lists(st.sampled_from([1.0, 2.0, 3.5]), min_size=1, max_size=6),
    limit=st.sampled_from([1, 3, math.inf]),
    moves=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=300),
)
def test_routers(kind: str, sizes: list[float], limit: float, moves: list[tuple[int, bool]]) -> None:
    """Counts stay within limits, least loaded is least, nobody is left out, affinity is bounded."""
    router, held = RequestRouter(kind, sizes=sizes, limit=limit), Counter[int]()
    for prompt, leaves in moves:
        if leaves and held:
            gone = min(held)
            held[gone] -= 1
            held += Counter()
            router.done(gone)
            continue
        before = list(router.n_outstanding)
        chosen = router.send(Request(id=0, n_input_tokens=9, n_output_tokens=1, prefix=(prompt, 7)))
        if chosen is None:
            assert all(n >= limit for n in before)
            continue
        held[chosen] += 1
        loads = [n / size if n < limit else math.inf for n, size in zip(before, sizes, strict=True)]
        if kind == "least loaded":
            assert loads[chosen] == pytest.approx(min(loads))
        elif kind == "prefix affinity":
            bound = math.ceil(1.25 * (sum(before) + 1) * sizes[chosen] / sum(sizes))
            assert before[chosen] + 1 <= bound or loads[chosen] == pytest.approx(min(loads))
    assert router.n_outstanding == [held[i] for i in range(len(sizes))]


def ask(*prefix: int) -> Request:
    return Request(id=0, n_input_tokens=9, n_output_tokens=1, prefix=prefix)


def test_turns_go_round_past_who_is_full_or_cannot_hold_it() -> None:
    router = RequestRouter("round robin", sizes=[1, 1, 1], limit=2)
    assert [router.send(ask()) for _ in range(4)] == [0, 1, 2, 0]
    assert [router.send(ask(), lambda i: i != 2) for _ in range(2)] == [1, None]
    assert [router.send(ask()) for _ in range(2)] == [2, None]
    for _ in range(2):  # the second time it is the last in turn
        router.done(1)
        assert router.send(ask()) == 1


def test_of_equal_loads_the_first_is_chosen_among_those_that_can_hold_it() -> None:
    router = RequestRouter("least loaded", sizes=[1, 2, 2], limit=2)
    assert [router.send(ask()) for _ in range(4)] == [0, 1, 2, 1], "loads 0 0 0, 1 0 0, 1 .5 0, 1 .5 .5"
    assert router.send(ask(), lambda i: i == 0) == 0
    assert router.send(ask(), lambda i: i < 2) is None
    assert [router.send(ask()) for _ in range(2)] == [2, None]


def test_affinity_stays_until_the_load_is_beyond_its_bound() -> None:
    """A second request makes 2 there, of at most ceil(1.25 * 2 / 2) = 2; a third 3, of ceil(1.25 * 3 / 2) = 2."""
    router = RequestRouter("prefix affinity", sizes=[1, 1])
    assert [router.send(ask(5)) for _ in range(4)] == [0, 0, 1, 1]
    for replica in (0, 0, 1, 1):
        router.done(replica)
    assert router.send(ask(5)) == 1, "who had it last"


def test_the_longest_known_beginning_decides() -> None:
    router = RequestRouter("prefix affinity", sizes=[1, 1, 1])
    for prefix, replica in (((5, 6), 2), ((5,), 1)):
        assert router.send(ask(*prefix), lambda i, replica=replica: i == replica) == replica
        router.done(replica)
    for prefix, replica in (((5, 8), 1), ((5, 6, 7), 2), ((6,), 0)):
        assert router.send(ask(*prefix)) == replica
        router.done(replica)


@pytest.mark.parametrize(("n_remembered", "replica"), [(1, 0), (2, 1)])
def test_the_prompt_unused_for_longest_is_forgotten(n_remembered: int, replica: int) -> None:
    router = RequestRouter("prefix affinity", sizes=[1, 1], n_remembered=n_remembered)
    router.done(router.send(ask(5), lambda i: i == 1) or 0)
    router.done(router.send(ask(6)) or 0)
    assert router.send(ask(5)) == replica


def test_what_a_router_notes_of_loads_does_not_grow() -> None:
    router = RequestRouter("least loaded", sizes=[1, 1])
    for _ in range(500):
        router.done(router.send(ask()) or 0)
    assert len(vars(router)["_loads"]) <= 64 + 4 * 2


def test_affinity_finds_more_than_turns_do() -> None:
    policy = Policy(shares_prefixes=True)
    base = chats(600, 30.0)
    asked = list(SharedPrefix(base, n_shared_tokens=1024, block_size_tokens=16, n_groups=40))
    computed = {
        router: Cluster(pools=(Pool(deployment=ONE, n_replicas=4, policy=policy),), router=router)
        .serve(asked)
        .metrics.n_computed_tokens
        for router in ("round robin", "prefix affinity")
    }
    assert computed["prefix affinity"] < 0.97 * computed["round robin"]


SEATS, GROUPS = (10, 300), (replace(ONE, reserve=0.1), replace(ONE, reserve=0.6))
ROOM = [each.n_blocks(16) * 16 for each in GROUPS]
PAIRS = [
    tuple(
        Pool(deployment=each, policy=Policy(n_slots=n), role=role)
        for each, n, role in zip(GROUPS, SEATS, roles, strict=True)
    )
    for roles in (("both", "both"), ("prefill", "decode"))
]


@pytest.mark.parametrize("pools", PAIRS)
def test_a_cluster_adds_up_its_pools(pools: tuple[Pool, ...]) -> None:
    """Seats are weighed by steps, and room by time at work."""
    served = Cluster(pools=pools).serve(chats(150, 40.0))
    whole, (a, b) = served.metrics, served.pools
    for name in SUMS:
        assert getattr(whole, name) == pytest.approx(getattr(a, name) + getattr(b, name))
    assert whole.end_s == max(a.end_s, b.end_s) == served.end_s
    assert whole.n_slots == round((10 * a.n_steps + 300 * b.n_steps) / (a.n_steps + b.n_steps))
    assert whole.n_kv_tokens == round((ROOM[0] * a.busy_s + ROOM[1] * b.busy_s) / (a.busy_s + b.busy_s))
    assert sum(whole.itl_weight) == whole.n_output_tokens - whole.n_finished


@pytest.mark.parametrize("pools", PAIRS)
def test_idle_pools_count_alike(pools: tuple[Pool, ...]) -> None:
    idle = Cluster(pools=pools).serve([]).metrics
    assert (idle.n_slots, idle.n_kv_tokens) == (155, round(sum(ROOM) / 2))


def test_a_cluster_of_static_batches_counts_no_room() -> None:
    pools = (BOTH, replace(BOTH, policy=Policy(kind="static", n_slots=4)))
    served = Cluster(pools=pools).serve(chats(20, 40.0)).metrics
    assert served.n_finished == 20 and served.n_kv_tokens is None


def test_a_pool_of_twice_the_devices_gets_more() -> None:
    pools = (BOTH, replace(BOTH, deployment=replace(ONE, n_devices=2)))
    served = Cluster(pools=pools).serve(chats(600, 40.0))
    small, large = (m.n_finished for m in served.pools)
    assert small + large == served.metrics.n_finished == 600 and large > 1.3 * small
    assert served.metrics.n_emitted_tokens == served.metrics.n_output_tokens


def test_a_closed_loop_over_replicas_has_its_users() -> None:
    served = Cluster(pools=(replace(BOTH, n_replicas=3),)).serve(chats(200, 1.0), concurrency=7)
    m = served.metrics
    events = sorted(
        e for a, b in zip(m.columns["arrival_s"], m.columns["finish_s"], strict=True) for e in ((a, 1), (b, -1))
    )
    inside, most = 0, 0
    for _, change in events:
        inside += change
        most = max(most, inside)
    assert m.n_finished == 200 and most == 7
    split = Cluster(pools=(PREFILL, DECODE)).serve(chats(100, 1.0), concurrency=7).metrics
    assert split.n_finished == 100


@pytest.mark.parametrize("n_blocks", [None, 700])
def test_every_token_is_prefilled_moved_and_decoded_once(n_blocks: int | None) -> None:
    """With room for all; without it, preempted sequences compute again, which is counted."""
    asked = chats(300, 10.0)
    decode = DECODE if n_blocks is None else replace(DECODE, deployment=replace(ONE, reserve=0.745))
    served = Cluster(pools=(replace(PREFILL, n_replicas=2), decode)).serve(asked)
    prefill, later = served.pools
    m = served.metrics
    n_in, n_out = sum(r.n_input_tokens for r in asked), sum(r.n_output_tokens for r in asked)
    moved = [r for r in asked if r.n_output_tokens > 1]
    assert m.n_finished == 300 and (m.n_input_tokens, m.n_output_tokens) == (n_in, n_out)
    assert (prefill.n_computed_tokens, prefill.n_emitted_tokens) == (n_in, 300)
    assert later.n_emitted_tokens == sum(r.n_output_tokens - 1 for r in moved) and m.n_emitted_tokens == n_out
    assert served.n_moved_tokens == sum(r.n_input_tokens for r in moved)
    assert served.moved_bytes == pytest.approx(served.n_moved_tokens * 131072)
    assert sum(m.itl_weight) == n_out - 300
    if n_blocks is None:
        assert m.n_preemptions == 0 and later.n_computed_tokens == later.n_emitted_tokens
    else:
        assert m.n_preemptions > 0 and later.n_computed_tokens > later.n_emitted_tokens
    for name in ("id", "arrival_s"):
        wanted = [getattr(r, name) for r in asked]
        assert [x for _, x in sorted(zip(m.columns["id"], m.columns[name], strict=True))] == wanted


def test_the_first_gap_holds_transfer_and_queue() -> None:
    asked = [Request(id=0, n_input_tokens=4096, n_output_tokens=3)]
    gaps = []
    for link in (1e9, 1e12):
        cluster = Cluster(pools=(PREFILL, DECODE), link_bytes_per_s=link, link_latency_s=0.01)
        m = cluster.serve(asked).metrics
        (transfer,) = cluster.transfers.values()
        gaps.append(m.itl_s[0] - transfer.seconds(4096))
        assert m.e2e_latency_s[0] == pytest.approx(m.ttft_s[0] + sum(m.itl_s)) and m.itl_s[0] > 0.01
        assert m.ttft_s == serve_on(ONE, [replace(asked[0], n_output_tokens=1)]).metrics.ttft_s
    assert gaps[0] == pytest.approx(gaps[1]) and 0 < gaps[0] < 0.01  # one step of the decode pool


def test_a_link_carries_one_transfer_after_another() -> None:
    asked = [Request(id=i, n_input_tokens=1000, n_output_tokens=2) for i in range(3)]
    cluster = Cluster(pools=(PREFILL, DECODE), link_bytes_per_s=131072 * 1000.0)  # one second a prompt
    m = cluster.serve(asked).metrics
    ends = sorted(m.columns["finish_s"])
    assert [round(b - a, 2) for a, b in pairwise(ends)] == [1.0, 1.0]


def test_ranks_wait_for_the_slowest_and_the_pooled_model_does_not() -> None:
    """DeepSeek-V3 in fp8 on 8 H200s under SGLang's constants: pooling is too fast by what chance makes of the ranks."""
    eight = group("deepseek-v3", "h200-sxm", "fp8", n_devices=8, attention="data")
    constants = calibrated_constants("sglang", "h200-sxm")
    asked = list(synthetic("azure-conv", 600, max_len_tokens=8192))
    policy = Policy(n_slots=256)
    pooled = serve_on(eight, asked, policy, constants=constants, concurrency=128).metrics
    ranks = (
        Cluster(pools=(Pool(deployment=eight, policy=policy, constants=constants),))
        .serve(asked, concurrency=128)
        .metrics
    )
    slower = mean(ranks.tpot_s) / mean(pooled.tpot_s)
    assert ranks.n_finished == pooled.n_finished == 600
    assert 1.04 < slower < 1.2, slower


@pytest.mark.parametrize("model_id", ["llama-3-8b", WINDOWED])
def test_balanced_ranks_are_the_pooled_model(model_id: str) -> None:
    two = group(model_id, n_devices=2, attention="data")
    asked = [Request(id=i, n_input_tokens=500, n_output_tokens=40) for i in range(8)]
    pooled = serve_on(two, asked).metrics
    ranks = Cluster(pools=(Pool(deployment=two),)).serve(asked).metrics
    assert ranks.tpot_s == pytest.approx(pooled.tpot_s) and ranks.ttft_s == pytest.approx(pooled.ttft_s)


@pytest.mark.parametrize("model_id", ["llama-3-8b", WINDOWED])
def test_a_run_of_ranks_is_each_step_on_its_own(model_id: str) -> None:
    """Contexts below, at and above a window: who is slowest changes, and a full window stops growing."""
    clock = RankClock(group(model_id, n_devices=4, attention="data"), IDEAL)
    contexts = [(3, 300), (1, 2000), (5, 20), (2, 250)]

    def step(i: int) -> float:
        ranks = tuple(Plan(n_decodes=n, n_context_tokens=n_context + i * n) for n, n_context in contexts)
        decodes, context = (sum(getattr(r, name) for r in ranks) for name in ("n_decodes", "n_context_tokens"))
        return clock.step_s(RankPlan(n_decodes=decodes, n_context_tokens=context, ranks=ranks))

    ranks = tuple(Plan(n_decodes=n, n_context_tokens=n_context) for n, n_context in contexts)
    run = clock.segment(RankPlan(n_decodes=11, n_context_tokens=2570, ranks=ranks))
    total = 0.0
    for i in range(600):
        total += step(i)
        assert run.seconds(i + 1) == pytest.approx(total, rel=1e-12)
    assert run.then is not None  # the slowest rank changed, or a window was full


def test_a_run_of_ranks_is_the_sum_of_its_steps() -> None:
    """The slowest rank changes as the one with more sequences catches up."""
    four = group("llama-3-8b", n_devices=4, attention="data")
    clock = RankClock(four, IDEAL, block_size_tokens=16)
    rng = random.Random(2)
    asked = [
        Request(id=i, n_input_tokens=rng.choice([10, 4000]), n_output_tokens=rng.randint(50, 300), arrival_s=i * 0.01)
        for i in range(60)
    ]
    runs = [simulate(lock_step(four, Policy()), asked, clock, stepwise=stepwise) for stepwise in (False, True)]
    assert runs[0].metrics == runs[1].metrics and runs[0].metrics.n_finished == 60


@pytest.mark.parametrize(
    "policy",
    [
        Policy(n_slots=6),
        Policy(kind="chunked", n_slots=6, token_budget=512),
        Policy(preemption="swap", n_host_blocks=99),
    ],
)
def test_a_rank_by_itself_is_the_server(policy: Policy) -> None:
    one = group(attention="data")
    asked = chats(60, 20.0)
    asked[7] = replace(asked[7], n_input_tokens=10**6)
    alone = serve_on(one, asked, policy).metrics
    ranks = simulate(lock_step(one, policy), asked, RankClock(one, IDEAL)).metrics
    assert ranks.refusals == alone.refusals and [id for id, _ in ranks.refusals] == [7]
    for name, column in alone.columns.items():
        assert list(ranks.columns[name]) == pytest.approx(list(column), rel=1e-9)
    for name in (*SUMS, "n_slots", "n_kv_tokens", "end_s"):
        assert getattr(ranks, name) == pytest.approx(getattr(alone, name), rel=1e-9)


@pytest.mark.parametrize(
    ("policy", "n_ranks", "share"),
    [
        (Policy(n_slots=8, n_host_blocks=8), 4, Policy(n_slots=2, n_host_blocks=2)),
        (Policy(n_slots=9, n_host_blocks=11), 4, Policy(n_slots=3, n_host_blocks=2)),
        (
            Policy(kind="chunked", n_slots=1, token_budget=2, watermark=0.1),
            4,
            Policy(kind="chunked", n_slots=1, token_budget=1, watermark=0.1),
        ),
        (Policy(token_budget=1001), 8, Policy(token_budget=126, n_slots=32)),
        (Policy(token_budget=1000), 1, Policy(token_budget=1000)),
    ],
)
def test_slots_and_budgets_are_shared_out_upwards_and_blocks_downwards(
    policy: Policy, n_ranks: int, share: Policy
) -> None:
    assert rank_policy(policy, n_ranks) == share


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_ranks_run_no_static_batch(kind: str) -> None:
    with pytest.raises(BytebillError, match=f"cannot run a {kind} batch each"):
        rank_policy(Policy(kind=kind), 2)


def test_ranks_divide_the_pool() -> None:
    four = group(n_devices=4, attention="data")
    n_blocks = four.n_blocks(48)
    assert n_blocks % 4, "else nothing is rounded"
    ranks = lock_step(four, Policy(n_slots=6, block_size_tokens=48))
    assert (ranks.n_slots, ranks.n_kv_tokens) == (8, n_blocks // 4 * 4 * 48)


def dealt() -> LockStep:
    """Four ranks and five users, of whom the first and the last share a rank."""
    ranks = lock_step(group(n_devices=4, attention="data"), Policy())
    for i, (n_in, n_out) in enumerate([(40, 9), (50, 7), (60, 5), (70, 3), (80, 8)]):
        ranks.add(Request(id=i, n_input_tokens=n_in, n_output_tokens=n_out))
    return ranks


def test_a_step_of_ranks_holds_all_of_theirs() -> None:
    ranks = dealt()
    assert (ranks.n_waiting, ranks.n_running) == (5, 0)
    prompts = ranks.plan(0.0)
    assert isinstance(prompts, RankPlan) and [len(each.chunks) for each in prompts.ranks] == [2, 1, 1, 1]
    assert sorted(chunk.n_new_tokens for chunk in prompts.chunks) == [40, 50, 60, 70, 80]
    assert len(ranks.advance().started) == 5 and (ranks.n_waiting, ranks.n_running) == (0, 5)
    decodes = ranks.plan(0.0)
    assert isinstance(decodes, RankPlan)
    assert (decodes.n_decodes, decodes.n_context_tokens, decodes.n_running) == (5, 300, 5)
    assert (decodes.n_repeats, decodes.n_cached_tokens, decodes.step) == (2, 300, 1)
    assert sorted(n for _, n in decodes.live_contexts) == [40, 50, 60, 70, 80]
    assert [each.request.id for each in ranks.advance(2).finished] == [3]
    assert ranks.lengths() == {0: (42, 48), 1: (52, 56), 2: (62, 64), 4: (82, 87)}  # cached, and at the end


def test_who_is_answered_makes_room_at_its_rank() -> None:
    """And who is refused takes none."""
    ranks = dealt()
    for n_steps in (1, 2):
        ranks.plan(0.0)
        ranks.advance(n_steps)
    sizes = [10**7, 30, 31]
    kept = [ranks.add(Request(id=5 + i, n_input_tokens=n, n_output_tokens=9)) for i, n in enumerate(sizes)]
    assert [each.reason is None for each in kept] == [False, True, True]
    plan = ranks.plan(0.0)
    assert isinstance(plan, RankPlan)
    assert [[chunk.n_new_tokens for chunk in each.chunks] for each in plan.ranks] == [[], [31], [], [30]]


@pytest.mark.parametrize("n", [1, 4])
def test_ranks_refuse_what_no_share_of_the_pool_can_hold(n: int) -> None:
    four = group(n_devices=n, attention="data")
    ranks, share = lock_step(four, Policy()), Policy().scheduler(four.n_blocks(16) // n, numbered=False)
    large = Request(id=0, n_input_tokens=10**7, n_output_tokens=2)
    assert ranks.refusal(large) == share.refusal(large) and "blocks" in str(share.refusal(large))
    assert ranks.refusal(Request(id=1, n_input_tokens=9, n_output_tokens=2)) is None


class OneRank:
    """A rank that plans what it is told, and starts and finishes the same."""

    def __init__(self, plan: Plan | None, *, n_kv_tokens: int | None = 100, events: Events = NOTHING) -> None:
        self._plan, self.n_kv_tokens, self._events = plan, n_kv_tokens, events
        self.n_slots, self.n_waiting, self.n_running, self.advanced = 3, 2, 1, 0

    def plan(self, now_s: float) -> Plan | None:
        return self._plan

    def advance(self, n_steps: int) -> Events:
        self.advanced += n_steps
        return self._events


def plan_of(n: int) -> Plan:
    """One whose every number is another function of n."""
    counts = {"n_decodes": n, "n_context_tokens": 10 * n, "n_swapped_blocks": n + 1, "n_repeats": 9 - n}
    told: Any = {"n_running": n + 2, "n_cached_tokens": 20 * n, "preempted": (n,), "swaps": (10 * n,)}
    return Plan(**counts, **told)


def test_a_plan_of_ranks_is_the_sum_of_theirs_and_as_short_as_the_shortest() -> None:
    ranks = LockStep([OneRank(plan_of(2)), OneRank(None), OneRank(plan_of(5))])
    plan = ranks.plan(0.0)
    assert isinstance(plan, RankPlan) and plan.ranks == (plan_of(2), plan_of(5))
    assert (plan.n_decodes, plan.n_context_tokens, plan.n_swapped_blocks, plan.n_repeats) == (7, 70, 9, 4)
    assert (plan.n_running, plan.n_cached_tokens, plan.preempted, plan.swaps) == (11, 140, (2, 5), (20, 50))
    assert ranks.advance(3) is NOTHING and [rank.advanced for rank in ranks._ranks] == [3, 0, 3]
    assert ranks.plan(0.0).step == 3


def test_ranks_have_the_slots_tokens_and_users_of_all() -> None:
    ranks = LockStep([OneRank(None), OneRank(None, n_kv_tokens=None), OneRank(None)])
    assert (ranks.n_slots, ranks.n_waiting, ranks.n_running, ranks.n_kv_tokens) == (9, 6, 3, 200)
    assert ranks.plan(0.0) is None


def test_what_starts_at_a_rank_starts_in_the_step_of_all() -> None:
    a, b = (ServedSequence(Request(id=i, n_input_tokens=9, n_output_tokens=2)) for i in (0, 1))
    started = Events(started=(b,))
    ranks = LockStep([OneRank(Plan(n_decodes=1)), OneRank(Plan(n_decodes=1), events=started)])
    ranks.plan(0.0)
    assert ranks.advance() == started
    ranks = LockStep([OneRank(Plan(n_decodes=1), events=Events(finished=(a,)))])
    ranks._rank_of[0], ranks._outstanding[0] = 0, 1
    ranks.plan(0.0)
    assert ranks.advance() == Events(finished=(a,)) and (ranks._outstanding, ranks._rank_of) == ([0], {})


@pytest.mark.parametrize("prompts", [((900,), (100,)), ((100, 200), (250,)), ((), (64,))])
def test_prompts_of_ranks_wait_for_the_longest(prompts: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Linear layers see everybody's tokens; attention is the slower rank's, who has one device of two for it."""
    two = group(n_devices=2, attention="data")
    ranks, pooled = RankClock(two, IDEAL), Clock(two, IDEAL)
    contexts = (700, 2100)
    parts = [
        Plan(n_decodes=1, n_context_tokens=n, chunks=tuple(Chunk(context_len=0, n_new_tokens=m) for m in each))
        for n, each in zip(contexts, prompts, strict=True)
    ]
    whole = {"n_decodes": 2, "n_context_tokens": sum(contexts), "chunks": (*parts[0].chunks, *parts[1].chunks)}
    every = pooled.step_s(Load(**whole)) - pooled.terms_s(Load(**whole))["cache"]
    slowest = max(pooled.terms_s(each)["cache"] for each in parts)
    assert ranks.step_s(RankPlan(**whole, ranks=tuple(parts))) == pytest.approx(every + 2 * slowest, rel=1e-9)


def test_ranks_pay_for_their_swaps_once() -> None:
    two = group(n_devices=2, attention="data")
    clock = RankClock(two, IDEAL, host_bytes_per_s=1e9)
    parts = tuple(Plan(n_decodes=n, n_context_tokens=1000) for n in (1, 5))
    whole = RankPlan(n_decodes=6, n_context_tokens=2000, ranks=parts)
    extra_s = 3 * 16 * 131072 / 2 / 1e9  # blocks, their tokens, bytes of one, each half over its own link
    for n in (1, 700):
        swapped = clock.segment(replace(whole, n_swapped_blocks=3)).seconds(n)
        assert swapped - clock.segment(whole).seconds(n) == pytest.approx(extra_s, rel=1e-6)
    with pytest.raises(BytebillError, match="each rank's part"):
        clock.segment(Load(n_decodes=1, n_context_tokens=9))


BAD: list[tuple[str, Any]] = [
    ("at least one pool", lambda: Cluster(pools=())),
    ("no decode pool", lambda: Cluster(pools=(PREFILL,))),
    ("no prefill pool", lambda: Cluster(pools=(DECODE, BOTH))),
    ("need one model", lambda: Cluster(pools=(PREFILL, replace(DECODE, deployment=group("llama-2-13b"))))),
    ("different formats", lambda: Cluster(pools=(PREFILL, replace(DECODE, deployment=group(kv="fp32"))))),
    ("at least one replica", lambda: replace(BOTH, n_replicas=0)),
    ("whole number", lambda: replace(BOTH, n_replicas=1.5)),
    ("at least a byte", lambda: Cluster(pools=(PREFILL, DECODE), link_bytes_per_s=0)),
    ("at least a byte", lambda: Cluster(pools=(BOTH,), link_bytes_per_s=-1.0)),
    ("at least a byte", lambda: Transfer(sender=ONE, receiver=ONE, link_bytes_per_s=math.nan)),
    ("latency", lambda: Cluster(pools=(PREFILL, DECODE), link_latency_s=-1.0)),
    ("no router 'least load'; nearest: least loaded", lambda: Cluster(pools=(BOTH,), router="least load")),
    ("no role of a pool", lambda: replace(BOTH, role="prefil")),
    ("static", lambda: replace(DECODE, policy=Policy(kind="static"))),
    *(("from one up", lambda n=n: Cluster(pools=(BOTH,), max_outstanding=n)) for n in (0, 1.5, math.inf, "a")),
    *(("from zero", lambda n=n: Cluster(pools=(BOTH,), max_queue=n)) for n in (-1, 1.5, "a")),
    ("at least a byte", lambda: Cluster(pools=(BOTH,), link_bytes_per_s="a")),
    ("latency", lambda: Cluster(pools=(PREFILL, DECODE), link_latency_s=None)),
    *(("at least one request", lambda n=n: RequestRouter("least loaded", sizes=[1.0], limit=n)) for n in ("a", 0.9)),
    *(("each has a size", lambda sizes=sizes: RequestRouter("least loaded", sizes=sizes)) for sizes in ([], [1, 0])),
]


@pytest.mark.parametrize(("sentence", "make"), BAD)
def test_bad_input_ends_in_one_sentence(sentence: str, make: Any) -> None:
    with pytest.raises(BytebillError, match=sentence) as found:
        make()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("pools", [(BOTH,), (BOTH, BOTH), (PREFILL, DECODE)])
def test_what_no_replica_can_hold_is_refused_with_a_sentence(pools: tuple[Pool, ...]) -> None:
    asked = [Request(id=0, n_input_tokens=10**6, n_output_tokens=2), Request(id=1, n_input_tokens=9, n_output_tokens=2)]
    m = Cluster(pools=pools).serve(asked).metrics
    assert m.n_finished == 1 and [id for id, _ in m.refusals] == [0]
    assert "1000001 tokens" in m.refusals[0][1] or "1000000 tokens" in m.refusals[0][1]


def test_a_prompt_is_handed_only_to_whom_somebody_can_decode() -> None:
    """What is longer than the decode pool holds stays where prompts and decodes share a machine."""
    small = replace(DECODE, deployment=replace(ONE, reserve=0.77))
    n_held = small.deployment.n_blocks(16) * 16
    asked = [Request(id=i, n_input_tokens=n_held - 10 + 20 * (i % 2), n_output_tokens=5) for i in range(20)]
    served = Cluster(pools=(BOTH, PREFILL, small)).serve(asked)
    m = served.metrics
    assert m.n_finished == 20 and 0 < served.n_moved_tokens < sum(r.n_input_tokens for r in asked[::2])
    assert sorted(m.columns["id"]) == list(range(20))


def test_nobody_asks_and_nobody_is_served() -> None:
    served = Cluster(pools=(PREFILL, DECODE)).serve([])
    assert served.metrics.n_finished == 0 and served.end_s == 0.0


def test_cost_is_flat_in_replicas() -> None:
    """Plans a request do not grow with the replicas that do something else."""
    per_request = []
    for n in (4, 64):
        m = Cluster(pools=(replace(BOTH, n_replicas=n),)).serve(sharegpt_like(20 * n)).metrics
        per_request.append(len(m.itl_s) / m.n_finished)
    assert per_request[1] == pytest.approx(per_request[0], rel=0.3)


GIB = 2.0**30
PUBLISHED = [  # Mooncake's documentation, as in evidence A09: sizes of the first three are in GiB
    ("qwen3-8b", 1, 1024, 0.146 * GIB, 1.50e-3),
    ("qwen3-8b", 1, 8192, 1.13 * GIB, 8.84e-3),
    ("qwen3-8b", 1, 32768, 4.50 * GIB, 31.65e-3),
    ("qwen3-235b-a22b", 8, 32768, 12.62e9, 76.8e-3),
]


def test_published_caches_move_by_their_shapes() -> None:
    names = ("model", "tp", "n_tokens", "moved_bytes", "seconds")
    rows = [dict(zip(names, row, strict=True)) | {"link_bytes_per_s": 200e9} for row in PUBLISHED]
    found = moved_caches(rows)
    assert [round(each.bytes_error, 3) for each in found] == [-0.037, -0.004, 0.0, 0.0]
    assert found[1].calibrates and found[1].seconds_error == pytest.approx(0)
    assert [round(each.seconds_error, 2) for each in found] == [-0.26, 0.0, 0.12, 0.20]


def test_heads_that_are_copied_are_moved_as_often() -> None:
    spec = find("qwen3-235b-a22b")[0]
    eight = Deployment(model=spec, accelerator=accelerator("h200-sxm"), precision=precision("bf16"), n_devices=8)
    once = 94 * 4 * 128 * 2 * 2 * 1024  # layers, KV heads, head, K and V, bytes, tokens
    for n_devices, copies in ((4, 1), (8, 2)):
        group_of = replace(eight, n_devices=n_devices)
        assert Transfer(sender=group_of, receiver=group_of).moved_bytes(1024) == copies * once
    assert round(once / 1e6) == 197


@pytest.mark.parametrize(("n_senders", "n_receivers", "copies"), [(4, 8, 2), (8, 4, 1)])
def test_a_cache_moves_as_its_receiver_keeps_it(n_senders: int, n_receivers: int, copies: int) -> None:
    ends = [group("qwen3-235b-a22b", "h200-sxm", n_devices=n) for n in (n_senders, n_receivers)]
    move = Transfer(sender=ends[0], receiver=ends[1], link_bytes_per_s=1e9, share=0.5, latency_s=0.25)
    n_bytes = copies * 94 * 4 * 128 * 2 * 2 * 10  # layers, KV heads, head, K and V, bytes, tokens
    assert move.moved_bytes(10) == n_bytes and move.moved_bytes(0) == 0
    assert move.seconds(10) == pytest.approx(0.25 + n_bytes / (0.5 * 1e9 * 4)) and move.seconds(0) == 0.25
    with pytest.raises(BytebillError, match="from none up, not -1"):
        move.moved_bytes(-1)


@pytest.mark.parametrize(
    ("name", "kept", "refused"),
    [
        ("link_bytes_per_s", (None, 1, 5e10), (0.5, math.inf, math.nan, "1")),
        ("share", (1, 1e-9), (0, -0.1, 1.01, math.nan)),
        ("latency_s", (0, 3.5), (-0.1, math.inf, math.nan, "1")),
    ],
)
def test_a_transfer_is_of_this_world(name: str, kept: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    for value in kept:
        assert Transfer(sender=ONE, receiver=ONE, **{name: value}).seconds(1) > 0
    for value in refused:
        with pytest.raises(BytebillError, match=f"not {value}"):
            Transfer(sender=ONE, receiver=ONE, **{name: value})


def test_the_slower_side_sets_the_rate() -> None:
    four = replace(ONE, n_devices=4)
    rates = [
        Transfer(sender=a, receiver=b, link_bytes_per_s=1e9).bytes_per_s
        for a, b in ((ONE, four), (four, ONE), (four, four), (replace(four, attention="data"), four))
    ]
    assert rates == [1e9, 1e9, 4e9, 1e9]


@pytest.mark.parametrize(("n_senders", "n_receivers"), [(1, 4), (4, 1), (4, 4), (2, 8)])
def test_a_link_of_a_cluster_is_a_replicas_and_a_network_has_a_port_for_each_device(
    n_senders: int, n_receivers: int
) -> None:
    pools = tuple(
        Pool(deployment=replace(ONE, n_devices=n), role=role)
        for n, role in ((n_senders, "prefill"), (n_receivers, "decode"))
    )
    (given_link,) = Cluster(pools=pools, link_bytes_per_s=8e9, link_latency_s=0.5).transfers.values()
    (network,) = Cluster(pools=pools).transfers.values()
    assert given_link.bytes_per_s == pytest.approx(8e9) and given_link.latency_s == 0.5
    assert network.bytes_per_s == pytest.approx(min(n_senders, n_receivers) * network_bytes_per_s())


MENDED: list[tuple[str, Any]] = [
    ("watermark", lambda: ContinuousScheduler(Paged(n_blocks=9), watermark=1.5)),
    ("watermark", lambda: Policy(watermark=1.0)),
    ("side by side", lambda: ContiguousMax(n_slots=40, max_len_tokens=48)),
    (
        "pad_output_to",
        lambda: simulate(
            StaticScheduler(1, pad_output_to=3), [Request(id=0, n_input_tokens=1, n_output_tokens=4)], CONSTANT
        ),
    ),
    ("split evenly", lambda: replace(BOTH, deployment=group(n_devices=3))),
    ("split evenly", lambda: serve_on(group(n_devices=3), [])),
]


@pytest.mark.parametrize(("sentence", "make"), MENDED)
def test_settings_that_cannot_work_say_so(sentence: str, make: Any) -> None:
    with pytest.raises(BytebillError, match=sentence):
        make()
