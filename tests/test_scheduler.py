"""Whoever schedules: every request gets exactly its tokens, no block is lost, nobody starves, everything ends."""

from __future__ import annotations

from collections import Counter
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.errors import BytebillError
from bytebill.serving.continuous import ChunkedScheduler, ContinuousScheduler
from bytebill.serving.memory.contiguous import ContiguousOracle
from bytebill.serving.memory.paged import Paged
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.plan import Plan
from bytebill.serving.request import Request, ServedSequence, State
from bytebill.serving.schedule import Schedule, ScheduledStep
from bytebill.serving.static import StaticScheduler
from bytebill.sim.server import simulate
from serving_play import CONSTANT, SCHEDULERS, continuous, workloads


class Table:
    """Executes plans one by one and counts tokens on its own, as an engine would."""

    def __init__(self, scheduler: Any, requests: list[Request]) -> None:
        self.scheduler, self.requests = scheduler, requests
        self.cached: Counter[int] = Counter()
        self.emitted: Counter[int] = Counter()
        self.preempted_eldest = 0
        self.sequences: dict[int, ServedSequence] = {}
        self.finished: list[int] = []
        self.decoding: set[int] = set()  # in the plan being executed

    def run(self) -> None:
        waiting, now, n_steps = list(self.requests), 0.0, 0
        while True:
            while waiting and waiting[0].arrival_s <= now:
                request = waiting.pop(0)
                self.sequences[request.id] = self.scheduler.add(request)
            plan = self.scheduler.plan(now)
            if plan is None:
                if not waiting and not self.scheduler.n_waiting:
                    return
                wakes = min([self.scheduler.wakes_at_s] + [r.arrival_s for r in waiting[:1]])
                now = max(now, wakes)
                continue
            self.check(plan)
            outcome = self.scheduler.advance()
            self.count(plan, outcome)
            now, n_steps = now + 1.0, n_steps + 1
            assert n_steps < 20_000, "it never ends"

    def check(self, plan: Plan) -> None:
        for sequence in plan.preempted:
            alive = [id for id in self.sequences if id not in self.finished]
            self.preempted_eldest += sequence.request.id == min(alive)
            if sequence.state is not State.SWAPPED:
                self.cached[sequence.request.id] = 0
        contexts = list(plan.live_contexts)
        self.decoding = {s.request.id for s, _ in contexts}
        assert plan.n_decodes == len(contexts) and plan.n_context_tokens == sum(n for _, n in contexts)
        assert plan.n_new_tokens > 0 and plan.n_repeats >= 1
        assert plan.n_running == self.scheduler.n_running <= self.scheduler.n_slots
        if isinstance(self.scheduler, ContinuousScheduler):
            self.check_room(plan, contexts)

    def check_room(self, plan: Plan, contexts: list[tuple[ServedSequence, int]]) -> None:
        pool = self.scheduler.allocator
        writes = [(s, n + 1) for s, n in contexts]
        writes += [(c.sequence, c.context_len + c.n_new_tokens) for c in plan.chunks]
        for sequence, n_tokens in writes:
            assert pool.capacity(sequence.request.id) >= n_tokens
        for sequence, n in contexts:
            assert (
                n
                == self.cached[sequence.request.id]
                == sequence.request.n_input_tokens + (self.emitted[sequence.request.id] - 1)
            )
        lengths = self.scheduler.lengths()
        assert plan.n_cached_tokens == sum(n for n, _ in lengths.values())
        if type(pool) is Paged:
            owned = [block for id in lengths for block in pool.blocks(id)]
            assert len(set(owned)) == len(owned) == pool.n_total - pool.n_free

    def count(self, plan: Plan, outcome: Any) -> None:
        for chunk in plan.chunks:
            id = chunk.sequence.request.id
            self.cached[id] = chunk.context_len + chunk.n_new_tokens
            self.emitted[id] += chunk.emits
        for sequence in outcome.finished:
            self.finished.append(sequence.request.id)
        if plan.n_decodes and not isinstance(self.scheduler, StaticScheduler):
            alone = {c.sequence.request.id for c in plan.chunks}
            for id in self.decoding - alone:
                self.cached[id] += 1
                self.emitted[id] += 1
        for sequence in outcome.finished:
            if not isinstance(self.scheduler, StaticScheduler):
                assert self.emitted[sequence.request.id] == sequence.request.n_output_tokens


@pytest.mark.parametrize("name", SCHEDULERS)
@settings(max_examples=40)
@given(requests=workloads())
def test_every_request_gets_its_tokens_and_every_block_comes_back(name: str, requests: list[Request]) -> None:
    table = Table(SCHEDULERS[name](), requests)
    table.run()
    assert sorted(table.finished) == [request.id for request in requests]
    for sequence in table.sequences.values():
        request = sequence.request
        assert sequence.state is State.FINISHED and sequence.n_emitted == request.n_output_tokens
        assert sequence.n_cached == request.n_cached_tokens_at_end
    pool = table.scheduler.allocator
    if pool is not None:
        assert pool.n_free == pool.n_total
        assert pool.n_host_free == (7 if pool.gives_tables else 0)
    assert table.scheduler.lengths() == {}


@pytest.mark.parametrize("name", [name for name in continuous() if "recompute" in name])
@settings(max_examples=40)
@given(requests=workloads())
def test_the_eldest_is_never_preempted(name: str, requests: list[Request]) -> None:
    table = Table(SCHEDULERS[name](), requests)
    table.run()
    assert table.preempted_eldest == 0


def test_blocks_do_run_out_in_these_tests() -> None:
    requests = [Request(id=i, n_input_tokens=8, n_output_tokens=20) for i in range(6)]
    for preemption in ("recompute", "swap"):
        table = Table(SCHEDULERS[f"mixed, paged, {preemption}"](), requests)
        table.run()
        assert sum(s.n_preemptions for s in table.sequences.values()) > 0


@given(n_output=st.integers(2, 40), block_size=st.integers(1, 9), n_blocks=st.integers(1, 30))
def test_a_plan_says_exactly_how_long_nothing_changes(n_output: int, block_size: int, n_blocks: int) -> None:
    """Two sequences of different age: repeats end where the first ends or where blocks do."""
    pool = Paged(n_blocks=2 + n_blocks, block_size_tokens=block_size)
    scheduler = ContinuousScheduler(pool, watermark=0)
    for id, n in enumerate((n_output, n_output + 3)):
        if scheduler.add(Request(id=id, n_input_tokens=1, n_output_tokens=n)).state is State.REFUSED:
            return
    scheduler.plan(0.0)
    scheduler.advance()
    plan = scheduler.plan(1.0)
    assert plan is not None
    if plan.preempted:  # the first step found no block
        return
    n_fits = min(n_output - 1, pool.n_total // 2 * block_size - 1)
    assert plan.n_repeats >= n_fits
    scheduler.advance(plan.n_repeats)
    after = scheduler.plan(2.0)
    assert after is not None and (after.preempted or after.n_decodes < 2)


def test_a_request_longer_than_memory_is_refused_with_a_reason() -> None:
    scheduler = ContinuousScheduler(Paged(n_blocks=4, block_size_tokens=4))
    fits = scheduler.add(Request(id=0, n_input_tokens=10, n_output_tokens=7))
    too_long = scheduler.add(Request(id=1, n_input_tokens=10, n_output_tokens=8))
    assert (fits.state, too_long.state) == (State.WAITING, State.REFUSED)
    assert "17 tokens" in str(too_long.reason) and scheduler.n_waiting == 1


def test_settings_that_cannot_work_are_refused() -> None:
    pool = Paged(n_blocks=4)
    for make in (
        lambda: ContinuousScheduler(pool, max_batch_size=0),
        lambda: ContinuousScheduler(pool, preemption="hope"),
        lambda: ChunkedScheduler(pool, token_budget=4, max_batch_size=5),
        lambda: StaticScheduler(0),
        lambda: StaticScheduler(2, window_s=-1),
        lambda: ContinuousScheduler(pool, token_budget=0),
        lambda: ContinuousScheduler(pool, watermark=-0.01),
        lambda: ContinuousScheduler(pool, watermark=1),
    ):
        with pytest.raises(BytebillError):
            make()


def test_the_least_settings_are_allowed() -> None:
    pool = Paged(n_blocks=4)
    for scheduler in (
        ContinuousScheduler(pool, max_batch_size=1, token_budget=1, watermark=0.99),
        ChunkedScheduler(pool, token_budget=1, max_batch_size=1),
        StaticScheduler(1, window_s=0),
    ):
        assert scheduler.n_slots == 1


@pytest.mark.parametrize(("prompts", "n_let_in"), [((10, 10), 2), ((10, 11), 1), ((21, 1), 1), ((30,), 1)])
def test_whole_prompts_share_a_step_up_to_its_budget(prompts: tuple[int, ...], n_let_in: int) -> None:
    scheduler = ContinuousScheduler(Paged(n_blocks=9), token_budget=20)
    for id, n in enumerate(prompts):
        scheduler.add(Request(id=id, n_input_tokens=n, n_output_tokens=2))
    plan = scheduler.plan(0.0)
    assert plan is not None and [c.n_new_tokens for c in plan.chunks] == list(prompts[:n_let_in])


@pytest.mark.parametrize("prefix", [(), (1,)])
@pytest.mark.parametrize(("n_input_tokens", "enters"), [(8, True), (9, False)])
def test_a_watermark_stays_free_beside_those_who_run(
    prefix: tuple[int, ...], n_input_tokens: int, enters: bool
) -> None:
    """Of 8 blocks of 4 tokens a quarter, 2, is kept free; 4 are taken, so 2 are to be had, and 3 are not."""
    scheduler = ContinuousScheduler(PrefixSharing(n_blocks=8, block_size_tokens=4), watermark=0.25)
    scheduler.add(Request(id=0, n_input_tokens=16, n_output_tokens=1))
    scheduler.add(Request(id=1, n_input_tokens=n_input_tokens, n_output_tokens=1, prefix=prefix))
    plan = scheduler.plan(0.0)
    assert plan is not None and len(plan.chunks) == 1 + enters
    assert scheduler.n_waiting == 1 - enters


@pytest.mark.parametrize("prefix", [(), (1,)])
def test_who_runs_alone_may_take_what_the_watermark_keeps_free(prefix: tuple[int, ...]) -> None:
    scheduler = ContinuousScheduler(PrefixSharing(n_blocks=8, block_size_tokens=4), watermark=0.25)
    scheduler.add(Request(id=0, n_input_tokens=32, n_output_tokens=1, prefix=prefix))
    assert scheduler.plan(0.0) is not None


def test_steps_are_counted_from_zero() -> None:
    for scheduler in (ContinuousScheduler(Paged(n_blocks=4)), StaticScheduler(1)):
        scheduler.add(Request(id=0, n_input_tokens=3, n_output_tokens=5))
        steps = []
        while (plan := scheduler.plan(0.0)) is not None:
            steps.append(plan.step)
            scheduler.advance(min(2, plan.n_repeats))
        assert steps == [0, 1, 3]


@pytest.mark.parametrize(("pad_to", "n_new"), [(None, 5), (4, 5), (5, 5), (10, 10)])
def test_prompts_are_padded_to_the_longest_or_to_what_was_said(pad_to: int | None, n_new: int) -> None:
    scheduler = StaticScheduler(2, pad_input_to=pad_to)
    for id, n in enumerate((3, 5)):
        scheduler.add(Request(id=id, n_input_tokens=n, n_output_tokens=2))
    plan = scheduler.plan(0.0)
    assert plan is not None
    assert [(c.n_new_tokens, c.n_pad_tokens) for c in plan.chunks] == [(n_new, n_new - 3), (n_new, n_new - 5)]
    scheduler.advance()
    decode = scheduler.plan(1.0)
    assert decode is not None and (decode.n_context_tokens, decode.n_cached_tokens) == (2 * n_new, 3 + 5)


@pytest.mark.parametrize(("n_output_tokens", "n_rows"), [(5, 2), (6, 1)])
def test_a_batch_shrinks_to_the_rows_that_fit(n_output_tokens: int, n_rows: int) -> None:
    """Rows of 4 + 5 - 1 tokens take 2 of 4 blocks of 4, and of one token more 3."""
    pool = Paged(n_blocks=4, block_size_tokens=4)
    scheduler = StaticScheduler(3, allocator=pool)
    for id in range(3):
        scheduler.add(Request(id=id, n_input_tokens=4, n_output_tokens=n_output_tokens))
    plan = scheduler.plan(0.0)
    assert plan is not None and (len(plan.chunks), scheduler.n_waiting) == (n_rows, 3 - n_rows)
    scheduler.advance()
    while scheduler.n_running:
        scheduler.plan(0.0)
        scheduler.advance()
    assert pool.n_free == 4


def test_plan_and_advance_take_turns() -> None:
    scheduler = ContinuousScheduler(Paged(n_blocks=4))
    scheduler.add(Request(id=0, n_input_tokens=3, n_output_tokens=3))
    with pytest.raises(BytebillError, match="no plan"):
        scheduler.advance()
    scheduler.plan(0.0)
    with pytest.raises(BytebillError, match="not been advanced"):
        scheduler.plan(0.0)
    with pytest.raises(BytebillError, match="by 2 steps"):
        scheduler.advance(2)


def test_a_batch_padded_beyond_the_pool_says_so() -> None:
    scheduler = StaticScheduler(2, pad_output_to=500, allocator=Paged(n_blocks=4))
    scheduler.add(Request(id=0, n_input_tokens=3, n_output_tokens=3))
    with pytest.raises(BytebillError, match="pad to less"):
        scheduler.plan(float("inf"))


@pytest.mark.parametrize(
    ("padded_to", "n_output_tokens", "fits"), [(6, 6, True), (6, 7, False), (2, 3, False), (1, 9, True)]
)
def test_an_answer_is_no_longer_than_batches_are_padded_to(padded_to: int, n_output_tokens: int, fits: bool) -> None:
    scheduler, request = (
        StaticScheduler(2, pad_output_to=padded_to),
        Request(id=7, n_input_tokens=3, n_output_tokens=n_output_tokens),
    )
    if fits:
        assert scheduler.add(request).state is State.WAITING
    else:
        with pytest.raises(
            BytebillError, match=f"Request 7 wants {n_output_tokens} tokens.*padded to {padded_to}; set"
        ):
            scheduler.add(request)


def test_a_static_batch_says_what_each_row_has_cached() -> None:
    """Prompts of 3 and 5, answers of 2 and 4: nothing before the prefill, then a token a step until a row's end."""
    scheduler = StaticScheduler(2)
    for id, (n_input, n_output) in enumerate([(3, 2), (5, 4)]):
        scheduler.add(Request(id=id, n_input_tokens=n_input, n_output_tokens=n_output))
    seen = []
    while scheduler.plan(0.0) is not None:
        seen.append([n for n, _ in scheduler.lengths().values()])
        scheduler.advance()
    assert seen == [[0, 0], [3, 5], [4, 6], [4, 7]]


def test_a_window_starts_a_batch_that_is_not_full() -> None:
    scheduler = StaticScheduler(3, window_s=2.0)
    assert scheduler.plan(0.0) is None
    scheduler.add(Request(id=0, n_input_tokens=3, n_output_tokens=1, arrival_s=1.0))
    assert scheduler.plan(2.9) is None and scheduler.wakes_at_s == 3.0
    plan = scheduler.plan(3.0)
    assert plan is not None and len(plan.chunks) == 1


def test_a_shared_prefix_is_not_computed_twice() -> None:
    scheduler = ContinuousScheduler(PrefixSharing(n_blocks=20, block_size_tokens=4))
    for id in range(2):
        scheduler.add(Request(id=id, n_input_tokens=9, n_output_tokens=2, prefix=(7, 8)))
        plan = scheduler.plan(0.0)
        assert plan is not None
        chunk = plan.chunks[0]
        assert (chunk.context_len, chunk.n_new_tokens) == ((0, 9) if id == 0 else (8, 1))
        scheduler.advance()


def test_many_that_decode_cost_one_plan_between_events() -> None:
    """500 equal sequences, 300 steps: admission, then one run."""
    scheduler = ContinuousScheduler(Paged(n_blocks=20_000), max_batch_size=500)
    for id in range(500):
        scheduler.add(Request(id=id, n_input_tokens=1 + id % 16, n_output_tokens=300))
    assert scheduler.plan(0.0) is not None
    scheduler.advance()
    plan = scheduler.plan(1.0)
    assert plan is not None and (plan.n_decodes, plan.n_repeats) == (500, 299)
    assert len(scheduler.advance(299).finished) == 500


FOUR = [(3, 6), (2, 2), (4, 3), (3, 4), (2, 2)]


def text(scheduler: Any, sizes: list[tuple[int, int]]) -> str:
    requests = [Request(id=i, n_input_tokens=n, n_output_tokens=m) for i, (n, m) in enumerate(sizes)]
    trace = simulate(scheduler, requests, CONSTANT, schedule=True).schedule
    assert trace is not None
    return "\n" + trace.text()


def golden(picture: str) -> str:
    return dedent(picture).rstrip()


def test_golden_static() -> None:
    """Two slots; capitals compute a prompt, small letters decode, dots are rows of padding."""
    assert text(StaticScheduler(2), FOUR) == golden("""
        AaaaaaCcc.Ee
        Bb....Dddd
    """)


def test_golden_static_padded_to_the_longest_of_all() -> None:
    assert text(StaticScheduler(2, pad_output_to=6), FOUR) == golden("""
        AaaaaaCcc...Ee....
        Bb....Dddd..
    """)


def test_golden_continuous() -> None:
    """The same requests: B leaves after two steps and C takes its slot in the next."""
    pool = ContiguousOracle(n_slots=64, max_len_tokens=64)
    assert text(ContinuousScheduler(pool, max_batch_size=2), FOUR) == golden("""
        AaaaaaEe
        BbCccDddd
    """)


def test_idle_steps_of_slots_that_are_handed_on() -> None:
    """Static, D takes B's slot after B's four rows of padding and E takes C's after one; refilled, nobody waits."""
    requests = [Request(id=i, n_input_tokens=n, n_output_tokens=m) for i, (n, m) in enumerate(FOUR)]
    pool = ContiguousOracle(n_slots=64, max_len_tokens=64)
    for scheduler, gaps in ((StaticScheduler(2), [0, 4, 1]), (ContinuousScheduler(pool, max_batch_size=2), [0, 0, 0])):
        schedule = simulate(scheduler, requests, CONSTANT, schedule=True).schedule
        assert schedule is not None and schedule.idle_steps() == gaps


def test_golden_prompts_first() -> None:
    """A waits (-) while C's prompt is computed."""
    pool = Paged(n_blocks=64)
    assert text(ContinuousScheduler(pool, max_batch_size=2, mixed=False), FOUR) == golden("""
        Aa-aa-aaEe
        BbCccDdd-d
    """)


def test_golden_chunked() -> None:
    """Three tokens a step: decodes go first, so C and D compute their prompts in two parts."""
    pool = Paged(n_blocks=64)
    assert text(ChunkedScheduler(pool, token_budget=3, max_batch_size=2), FOUR) == golden("""
        AaaaaaDDddd
         BbCCccEe
    """)


def test_golden_preemption() -> None:
    """Four blocks of four tokens: when A needs a third, B has to leave, and computes all again when A is done."""
    pool = Paged(n_blocks=4, block_size_tokens=4)
    assert text(ContinuousScheduler(pool), [(4, 8), (4, 8)]) == golden("""
        AaaaaaaaBbb
        Bbbbb
    """)


def test_golden_swap() -> None:
    """The same with blocks on the host: B goes on where it was."""
    pool = Paged(n_blocks=4, block_size_tokens=4, n_host_blocks=4)
    assert text(ContinuousScheduler(pool, preemption="swap"), [(4, 8), (4, 8)]) == golden("""
        Aaaaaaaabbb
        Bbbbb
    """)


def test_a_static_batch_has_cached_nothing_before_its_first_step() -> None:
    scheduler = StaticScheduler(2)
    scheduler.add(Request(id=0, n_input_tokens=5, n_output_tokens=3))
    seen = []
    while scheduler.plan(float("inf")) is not None:
        seen.append(scheduler.lengths()[0])
        scheduler.advance()
    assert seen == [(0, 7), (5, 7), (6, 7)]


def test_a_picture_is_cut_at_its_width_and_letters_begin_again() -> None:
    assert Schedule().text() == ""
    two = [ScheduledStep(prefills=((26, 0, 4),)), ScheduledStep(decodes=((26, 4),)), ScheduledStep(decodes=((26, 5),))]
    schedule = Schedule(rows=two, begins_s=[0.0, 1.0, 2.0], ends_s=[1.0, 2.0, 3.0])
    assert [schedule.text(), schedule.text(width=2)] == ["Aaa", "Aa"]
