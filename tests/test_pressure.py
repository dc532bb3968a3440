"""Memory stops a batch where it must, and not where it cannot."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from bytebill.deployment import BLOCK_SIZE_TOKENS, Deployment
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.serving import Request, synthetic
from bytebill.sim.pressure import Flood, arithmetic_over_reading, flood, largest_batch

ON_ONE_H100 = {"accelerator": accelerator("h100-sxm"), "precision": precision("bf16")}
ROOMY = Deployment(model=model("smollm2-135m"), **ON_ONE_H100)  # type: ignore[arg-type]
TIGHT = Deployment(model=model("llama-2-13b"), **ON_ONE_H100)  # type: ignore[arg-type]


def test_the_pool_is_what_the_weights_leave() -> None:
    left = (80e9 * 0.9 - 26_031_728_640) / (16 * 819_200)
    assert TIGHT.n_blocks() == int(left) and BLOCK_SIZE_TOKENS == 16


def test_a_small_model_reaches_the_critical_batch_and_a_large_cache_does_not() -> None:
    assert largest_batch(ROOMY, context_len=2048, n_requests=400) == (296, False)
    most, stopped = largest_batch(TIGHT, context_len=2048, n_requests=400)
    assert stopped and most < 296


@pytest.mark.parametrize("n_requests", [1, 10])
def test_few_users_are_never_stopped(n_requests: int) -> None:
    assert largest_batch(TIGHT, context_len=2048, n_requests=n_requests) == (n_requests, False)


def test_a_larger_reserve_lets_fewer_in() -> None:
    tighter = replace(TIGHT, reserve=0.3)
    assert (
        largest_batch(tighter, context_len=2048, n_requests=400)[0]
        < largest_batch(TIGHT, context_len=2048, n_requests=400)[0]
    )


def test_lengths_are_cut_to_the_context() -> None:
    whole, cut = (largest_batch(TIGHT, context_len=n, n_requests=400) for n in (2048, 64))
    assert whole[0] < cut[0] and whole[1]


def test_arithmetic_over_reading_is_the_median_step() -> None:
    """One request decodes from its prompt to its last token but one; where many wait, only full batches count."""
    (asked,) = synthetic("azure-conv", 1, max_len_tokens=1024, seed=5)
    last = asked.n_input_tokens + asked.n_output_tokens - 2
    bounds = [TIGHT.decode_bounds(1, n) for n in range(asked.n_input_tokens, last + 1)]
    alone = arithmetic_over_reading(TIGHT, max_len_tokens=1024, n_requests=1, seed=5)
    assert alone == pytest.approx(median(each.compute_s / each.memory_s for each in bounds))
    users = TIGHT.n_blocks() * 16 / 400
    full = arithmetic_over_reading(TIGHT, max_len_tokens=1024, n_requests=400)
    assert 0.2 * users * alone < full < 1.5 * users * alone


def test_a_flood_waits_for_room_or_for_seats_and_is_answered() -> None:
    asked = [Request(id=i, n_input_tokens=500, n_output_tokens=500) for i in range(100)]
    full, seated = flood(TIGHT, asked, n_seats=100), flood(TIGHT, asked, n_seats=10)
    assert full.waited and full.n_preempted and full.n_answered == 100
    assert not seated.waited and not seated.n_preempted and seated.n_answered == 100


@pytest.mark.parametrize(("n_requests", "n_seats"), [(3, 10), (12, 10)])
def test_free_seats_alone_are_no_waiting(n_requests: int, n_seats: int) -> None:
    asked = [Request(id=i, n_input_tokens=50, n_output_tokens=5 + 9 * i) for i in range(n_requests)]
    assert flood(TIGHT, asked, n_seats=n_seats) == Flood(waited=False, n_preempted=0, n_answered=n_requests)
