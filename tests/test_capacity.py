"""What fits: the published minimum groups, and laws of the memory budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.capacity import (
    Limit,
    first_limit,
    kv_budget_bytes,
    kv_copies,
    max_users,
    memory_budget,
    min_devices,
    min_group,
    tensor_parallel_sizes,
)
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, Accelerator, accelerator
from bytebill.models import MODELS, ModelSpec, model, precision

settings.register_profile("book", deadline=None)  # a busy machine is not a failed law
settings.load_profile("book")
BF16 = precision("bf16")
models = st.sampled_from(sorted(MODELS)).map(model)
devices = st.sampled_from(sorted(ACCELERATORS)).map(accelerator)
reserves = st.floats(min_value=0, max_value=0.5)


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
    found = min_devices(
        model(id), accelerator=accelerator(device), precision=precision(width), reserve=reserve
    )
    assert found == expected


def test_two_h100s_leave_room_for_39k_tokens_by_the_drivers_count() -> None:
    """The driver reports 81,559 MiB, 7% over the datasheet's 80 GB: most of what is left for the cache."""
    reported = replace(accelerator("h100-sxm"), memory_bytes=81_559 * 2**20)
    budget = memory_budget(model("llama-3-70b"), accelerator=reported, precision=BF16, n_devices=2)
    assert budget.free_bytes == pytest.approx(12.8e9, abs=0.1e9)
    assert budget.kv_tokens == pytest.approx(39_000, abs=500)


def test_an_oversized_group_copies_the_cache() -> None:
    spec = model("llama-3-70b")
    budgets = {
        n: memory_budget(spec, accelerator=accelerator("h100-sxm"), precision=BF16, n_devices=n)
        for n in (8, 16)
    }
    assert budgets[16].kv_bytes_per_token == 2 * budgets[8].kv_bytes_per_token
    assert kv_copies(model("deepseek-v3"), n_devices=16) == 16


def test_the_real_model_allows_three_ranks_but_not_two() -> None:
    assert tensor_parallel_sizes(model("smollm2-135m")) == (1, 3, 9)
    assert tensor_parallel_sizes(model("falcon-180b")) == (1, 2, 4, 8)


def test_no_even_group_is_no_group() -> None:
    tiny = replace(accelerator("l4"), memory_bytes=1e9)
    assert min_group(model("falcon-180b"), accelerator=tiny, precision=BF16) is None


def test_what_runs_out_first() -> None:
    h100 = accelerator("h100-sxm")

    def limit(id: str, n_devices: int, context_len: int) -> Limit:
        return first_limit(
            model(id), accelerator=h100, precision=BF16, n_devices=n_devices, context_len=context_len
        )

    assert limit("llama-3-70b", 1, 2048) is Limit.WEIGHTS
    assert limit("llama-2-13b", 1, 2048) is Limit.MEMORY
    assert limit("llama-3-8b", 1, 1024) is Limit.CRITICAL_BATCH  # 417 users fit, 295 suffice
    assert limit("llama-3-8b", 1, 8192) is Limit.MEMORY


@given(models, devices, st.integers(1, 64), st.integers(1, 100_000), reserves)
def test_the_users_that_fit_do_fit_and_one_more_does_not(
    spec: ModelSpec, device: Accelerator, n_devices: int, context_len: int, reserve: float
) -> None:
    where = {"accelerator": device, "precision": BF16, "n_devices": n_devices, "reserve": reserve}
    budget = memory_budget(spec, **where)
    users = max_users(spec, context_len=context_len, **where)
    per_user = min(context_len, spec.window_len or context_len) * budget.kv_bytes_per_token
    spent = budget.reserve_bytes + budget.weight_bytes + users * per_user
    if users:
        assert spent <= budget.memory_bytes * (1 + 1e-12)
    assert spent + per_user > budget.memory_bytes * (1 - 1e-12)
    assert kv_budget_bytes(spec, **where) == max(0.0, budget.free_bytes)


@given(models, devices, reserves)
def test_the_minimum_holds_the_weights_and_one_device_less_does_not(
    spec: ModelSpec, device: Accelerator, reserve: float
) -> None:
    needed = min_devices(spec, accelerator=device, precision=BF16, reserve=reserve)
    budgets = [
        memory_budget(spec, accelerator=device, precision=BF16, n_devices=n, reserve=reserve)
        for n in (needed - 1, needed)
    ]
    assert [budget.fits for budget in budgets] == [False, True]


@given(models, devices, st.integers(1, 16), st.integers(1, 50_000))
def test_halving_the_cache_never_fits_fewer_users(
    spec: ModelSpec, device: Accelerator, n_devices: int, context_len: int
) -> None:
    wide, narrow = (
        max_users(
            spec, accelerator=device, precision=precision(p), n_devices=n_devices, context_len=context_len
        )
        for p in ("bf16", "bf16-kv8")
    )
    assert 2 * wide <= narrow <= 2 * wide + 1


@pytest.mark.parametrize("reserve", [-0.1, 1.0])
def test_impossible_reserves_are_refused(reserve: float) -> None:
    with pytest.raises(BytebillError, match="A reserve is a share"):
        memory_budget(
            model("llama-3-8b"), accelerator=accelerator("l4"), precision=BF16, n_devices=1, reserve=reserve
        )


def test_a_user_without_context_is_refused() -> None:
    with pytest.raises(BytebillError, match="at least one token"):
        max_users(
            model("llama-3-8b"), accelerator=accelerator("l4"), precision=BF16, n_devices=1, context_len=0
        )
