"""What scheduler, server and metrics tests share: every scheduler on small pools, tiny clocks, random requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from bytebill.serving.continuous import ChunkedScheduler, ContinuousScheduler
from bytebill.serving.memory.contiguous import ContiguousMax, ContiguousOracle, ContiguousPow2
from bytebill.serving.memory.paged import Counted, Paged
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.plan import Plan
from bytebill.serving.request import Request
from bytebill.serving.static import StaticScheduler
from bytebill.sim.clock import Segment

BLOCK = 4


def pools() -> dict[str, Callable[[], Any]]:
    """Pools of 48 tokens or so, where three requests meet and not all fit."""
    return {
        "paged": lambda: Paged(n_blocks=12, block_size_tokens=BLOCK, n_host_blocks=7),
        "counted": lambda: Counted(n_blocks=12, block_size_tokens=BLOCK),
        "sharing": lambda: PrefixSharing(n_blocks=12, block_size_tokens=BLOCK, n_host_blocks=7),
        "max": lambda: ContiguousMax(n_slots=96, max_len_tokens=48),
        "pow2": lambda: ContiguousPow2(n_slots=64, max_len_tokens=48),
        "oracle": lambda: ContiguousOracle(n_slots=64, max_len_tokens=48, heap="first-fit"),
    }


def continuous() -> dict[str, Callable[[], Any]]:
    """Continuous schedulers over every pool, and every way to preempt over those that can run out."""
    made: dict[str, Callable[[], Any]] = {}
    for name, pool in pools().items():
        for preemption in ("recompute", "swap") if name in ("paged", "sharing") else ("recompute",):
            where = f"{name}, {preemption}"
            options: dict[str, Any] = {"preemption": preemption, "watermark": 0}
            made[f"mixed, {where}"] = lambda pool=pool, options=options: ContinuousScheduler(
                pool(), max_batch_size=5, **options
            )
            made[f"prompts first, {where}"] = lambda pool=pool, options=options: ContinuousScheduler(
                pool(), max_batch_size=5, mixed=False, token_budget=20, **options
            )
            made[f"chunked, {where}"] = lambda pool=pool, options=options: ChunkedScheduler(
                pool(), token_budget=6, max_batch_size=5, **options
            )
    return made


def schedulers() -> dict[str, Callable[[], Any]]:
    """All of them."""
    return continuous() | {
        "static": lambda: StaticScheduler(3),
        "static, padded": lambda: StaticScheduler(3, pad_input_to=10, pad_output_to=30),
        "static, reserved": lambda: StaticScheduler(4, allocator=pools()["paged"]()),
        "dynamic": lambda: StaticScheduler(3, window_s=2.5),
    }


SCHEDULERS = schedulers()


@st.composite
def workloads(draw: st.DrawFn) -> list[Request]:
    """Up to a dozen requests that fit in the smallest pool alone, arriving in order, some at the same time."""
    now, made = 0.0, []
    for id in range(draw(st.integers(1, 12))):
        now += draw(st.sampled_from([0.0, 0.0, 0.5, 1.0, 7.25]))
        n_input, n_output = draw(st.integers(1, 20)), draw(st.integers(1, 20))
        prefix = tuple(draw(st.lists(st.integers(0, 1), max_size=n_input // BLOCK)))
        made.append(Request(id=id, n_input_tokens=n_input, n_output_tokens=n_output, arrival_s=now, prefix=prefix))
    return made


class LinearClock:
    """A step takes a while, more for each token it computes and for each token cached."""

    def __init__(self, *, step_s: float = 1.0, token_s: float = 0.01, context_s: float = 0.001) -> None:
        self.step_s, self.token_s, self.context_s = step_s, token_s, context_s

    def segment(self, plan: Plan) -> Segment:
        first_s = self.step_s + self.token_s * plan.n_new_tokens + self.context_s * plan.n_context_tokens
        return Segment(first_s, self.context_s * plan.n_decodes, 0.1 * len(plan.swaps))


CONSTANT = LinearClock(token_s=0.0, context_s=0.0)


def poisson(n: int, rate_per_s: float, n_output: Callable[[random.Random], int], *, seed: int) -> Iterator[Request]:
    """Requests of one input token each."""
    rng, now = random.Random(seed), 0.0
    for id in range(n):
        now += rng.expovariate(rate_per_s)
        yield Request(id=id, n_input_tokens=1, n_output_tokens=n_output(rng), arrival_s=now)
