"""What fits: the published minimum groups, and laws of the memory budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.deployment import Deployment, Limit, tensor_parallel_sizes
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, Accelerator, accelerator
from bytebill.models import MODELS, ModelSpec, model, precision
from bytebill.roofline import Load

BF16 = precision("bf16")
models = st.sampled_from(sorted(MODELS)).map(model)
devices = st.sampled_from(sorted(ACCELERATORS)).map(accelerator)
reserves = st.floats(min_value=0, max_value=0.5)


def on(device: str | Accelerator, id: str | ModelSpec, **more: Any) -> Deployment:
    """A model on a device in 16 bits, if not told otherwise."""
    spec = model(id) if isinstance(id, str) else id
    card = accelerator(device) if isinstance(device, str) else device
    return Deployment(**{"model": spec, "accelerator": card, "precision": BF16} | more)


@pytest.mark.parametrize(
    ("id", "device", "width", "reserve", "expected"),
    [
        ("llama-3-70b", "h100-sxm", "bf16", 0.0, 2),
        ("llama-3-70b", "h100-sxm", "bf16", 0.1, 2),
        ("llama-3-70b", "a100-sxm-40", "bf16", 0.1, 4),
        ("llama-3-70b", "a100-sxm-40", "int4-ideal", 0.1, 1),
        ("llama-3-70b", "a100-sxm-40", "int4", 0.1, 2),  # group scales: 37.5 GB into 36
        ("llama-3-70b", "h200-sxm", "bf16", 0.0, 2),  # 141.11 GB into 141
        ("llama-3-70b", "b200", "bf16", 0.1, 1),
        ("llama-3-70b", "mi300x", "bf16", 0.1, 1),
        ("mixtral-8x7b", "h100-sxm", "bf16", 0.0, 2),
        ("mixtral-8x7b", "h100-sxm", "int8", 0.1, 1),
        ("llama-2-7b", "tpu-v5e", "bf16", 0.1, 1),
    ],
)
def test_minimum_devices(id: str, device: str, width: str, reserve: float, expected: int) -> None:
    assert on(device, id, precision=precision(width), reserve=reserve).min_devices == expected


def test_two_h100s_leave_room_for_39k_tokens_by_the_drivers_count() -> None:
    """The driver reports 81,559 MiB, 7% over the datasheet's 80 GB: most of what is left for the cache."""
    reported = replace(accelerator("h100-sxm"), memory_bytes=81_559 * 2**20)
    two = on(reported, "llama-3-70b", n_devices=2)
    assert two.memory.free_bytes == pytest.approx(12.8e9, abs=0.1e9)
    assert two.kv_tokens == pytest.approx(39_000, abs=500)


def test_an_oversized_group_copies_the_cache() -> None:
    eight, sixteen = (on("h100-sxm", "llama-3-70b", n_devices=n).memory.kv_bytes_per_token for n in (8, 16))
    assert sixteen == 2 * eight


def test_the_real_model_allows_three_ranks_but_not_two() -> None:
    assert tensor_parallel_sizes(model("smollm2-135m")) == (1, 3, 9)
    assert tensor_parallel_sizes(model("falcon-180b")) == (1, 2, 4, 8)


def test_no_even_group_is_no_group() -> None:
    tiny = replace(accelerator("l4"), memory_bytes=1e9)
    assert Deployment.smallest(model=model("falcon-180b"), accelerator=tiny, precision=BF16) is None


def test_what_runs_out_first() -> None:
    assert on("h100-sxm", "llama-3-70b").limit(2048) is Limit.WEIGHTS
    assert on("h100-sxm", "llama-2-13b").limit(2048) is Limit.MEMORY
    assert on("h100-sxm", "llama-3-8b").limit(1024) is Limit.CRITICAL_BATCH  # 417 users fit, 295 suffice
    assert on("h100-sxm", "llama-3-8b").limit(8192) is Limit.MEMORY


@pytest.mark.parametrize(
    ("id", "n", "attention", "expected"),
    [
        ("llama-3-70b", 2, "tensor", 4),
        ("smollm2-135m", 1, "tensor", 3),  # nine query heads, three KV heads
        ("smollm2-135m", 9, "tensor", None),
        ("deepseek-v3", 8, "data", 16),  # 256 experts
        ("llama-3-8b", 1, "data", None),  # nothing to spread
    ],
)
def test_the_next_larger_group(id: str, n: int, attention: str, expected: int | None) -> None:
    larger = on("h100-sxm", id, n_devices=n, attention=attention).next_larger
    assert (larger and larger.n_devices) == expected


@given(models, devices, st.integers(1, 64), st.integers(1, 100_000), reserves)
def test_the_users_that_fit_do_fit_and_one_more_does_not(
    spec: ModelSpec, device: Accelerator, n_devices: int, context_len: int, reserve: float
) -> None:
    group = on(device, spec, n_devices=n_devices, reserve=reserve)
    budget, users = group.memory, group.users(context_len)
    per_user = min(context_len, spec.window_len or context_len) * budget.kv_bytes_per_token
    spent = budget.reserve_bytes + budget.weight_bytes + users * per_user
    if users:
        assert spent <= budget.memory_bytes * (1 + 1e-12)
    assert spent + per_user > budget.memory_bytes * (1 - 1e-12)
    assert budget.kv_bytes == max(0.0, budget.free_bytes)
    assert group.n_blocks() * 16 <= group.kv_tokens < (group.n_blocks() + 1) * 16


@given(models, devices, reserves)
def test_the_minimum_holds_the_weights_and_one_device_less_does_not(
    spec: ModelSpec, device: Accelerator, reserve: float
) -> None:
    one = on(device, spec, reserve=reserve)
    fits = [
        replace(one, n_devices=n).memory.free_bytes >= 0
        for n in range(max(1, one.min_devices - 1), one.min_devices + 1)
    ]
    assert fits == ([False, True] if one.min_devices > 1 else [True])


@given(models, devices, st.integers(1, 16), st.integers(1, 50_000))
def test_halving_the_cache_never_fits_fewer_users(
    spec: ModelSpec, device: Accelerator, n_devices: int, context_len: int
) -> None:
    wide, narrow = (
        on(device, spec, precision=precision(p), n_devices=n_devices).users(context_len) for p in ("bf16", "bf16-kv8")
    )
    assert 2 * wide <= narrow <= 2 * wide + 1


@pytest.mark.parametrize("reserve", [-0.1, 1.0])
def test_impossible_reserves_are_refused(reserve: float) -> None:
    with pytest.raises(BytebillError, match="A reserve is a share"):
        on("l4", "llama-3-8b", reserve=reserve)


def test_a_user_without_context_is_refused() -> None:
    with pytest.raises(BytebillError, match="at least one token"):
        on("l4", "llama-3-8b").users(0)


def test_a_group_steps_n_times_as_fast_as_one_device_at_its_published_rates() -> None:
    load = Load.decode(batch_size=4, context_len=1000)
    one, four = (on("h200-sxm", "llama-3-8b", n_devices=n).step_bounds(load) for n in (1, 4))
    assert (one.memory_s, one.compute_s) == pytest.approx((4 * four.memory_s, 4 * four.compute_s))
    assert on("h200-sxm", "llama-3-8b").critical_batch == pytest.approx(989.4e12 / 4.8e12)


def test_a_group_without_devices_is_refused() -> None:
    with pytest.raises(BytebillError, match="at least one device"):
        on("l4", "llama-3-8b", n_devices=0)


def test_a_group_reads_every_copy_of_the_cache() -> None:
    load = Load.decode(batch_size=4, context_len=1000)
    eight, sixteen = (on("h200-sxm", "llama-3-70b", n_devices=n).step_cost(load) for n in (8, 16))
    assert sixteen.kv_read_bytes == 2 * eight.kv_read_bytes and sixteen.weight_bytes == eight.weight_bytes
