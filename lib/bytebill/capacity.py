"""How many devices before the first user, and how many users on them?

    usable      = n_devices * M * (1 - reserve)                                      [bytes]
    kv budget   = usable - weight_bytes                                              [bytes]
    max users   = floor(kv budget / (context_len * kv_bytes_per_token * kv_copies))
    min devices = ceil(weight_bytes / (M * (1 - reserve)))

M is the device's `memory_bytes`. The reserve is what a runtime keeps from both weights and cache: context,
graphs, activations, fragmentation. vLLM's `gpu_memory_utilization` of 0.9 is a reserve of 0.1. A group of
devices shares every layer (tensor parallelism), so its size must split the heads: a group larger than the
number of KV heads keeps copies of them, and MLA's one latent is copied to every device. Ignores that a
device's capacity by the driver differs from its datasheet's, block padding, shared prefixes, and pipelines,
which split layers and copy nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil, floor

from bytebill.errors import BytebillError
from bytebill.hardware import Accelerator
from bytebill.models import ModelSpec, Precision, kept_context_len, kv_stored_bytes_per_token, weight_bytes
from bytebill.roofline import critical_batch

RUNTIME_RESERVE = 0.1


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """Where the memory of a group of devices goes; `free_bytes` below zero: the weights do not fit."""

    n_devices: int
    memory_bytes: float
    reserve_bytes: float
    weight_bytes: float
    kv_bytes_per_token: float  # over the whole group, copies included

    @property
    def free_bytes(self) -> float:
        return self.memory_bytes - self.reserve_bytes - self.weight_bytes

    @property
    def fits(self) -> bool:
        return self.free_bytes >= 0

    @property
    def kv_tokens(self) -> int:
        """Cached tokens there is room for, over all users."""
        return max(0, floor(self.free_bytes / self.kv_bytes_per_token))


class Limit(Enum):
    """What a growing batch meets first."""

    WEIGHTS = "weights"  # nothing to grow: they do not fit
    MEMORY = "memory"  # the cache is full while the step still waits for bandwidth
    CRITICAL_BATCH = "critical batch"  # arithmetic, with cache to spare


def memory_budget(
    model: ModelSpec,
    *,
    accelerator: Accelerator,
    precision: Precision,
    n_devices: int,
    reserve: float = RUNTIME_RESERVE,
) -> MemoryBudget:
    """The split of a group's memory into reserve, weights and cache.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> budget = memory_budget(model("llama-3-70b"), accelerator=accelerator("h100-sxm"),
    ...                        precision=precision("bf16"), n_devices=2)
    >>> round(budget.free_bytes / 1e9, 2), budget.kv_tokens    # 2 * 80 * 0.9 - 141.11 GB; / 327,680 B
    (2.89, 8827)
    """
    _check_reserve(reserve)
    per_token = kv_stored_bytes_per_token(model, precision=precision)
    return MemoryBudget(
        n_devices=n_devices,
        memory_bytes=n_devices * accelerator.memory_bytes,
        reserve_bytes=n_devices * accelerator.memory_bytes * reserve,
        weight_bytes=weight_bytes(model, precision=precision),
        kv_bytes_per_token=per_token * kv_copies(model, n_devices=n_devices),
    )


def min_devices(
    model: ModelSpec, *, accelerator: Accelerator, precision: Precision, reserve: float = RUNTIME_RESERVE
) -> int:
    """Devices needed to hold the weights alone, before any user: ceil(weights / (M * (1 - reserve))).

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> [min_devices(model("llama-3-70b"), accelerator=accelerator(id), precision=precision("bf16"))
    ...  for id in ("a100-sxm-40", "h100-sxm", "mi300x")]    # 141.11 GB over 36, 72 and 172.8 GB
    [4, 2, 1]
    """
    _check_reserve(reserve)
    return ceil(weight_bytes(model, precision=precision) / (accelerator.memory_bytes * (1 - reserve)))


def _check_reserve(reserve: float) -> None:
    if not (isinstance(reserve, (int, float)) and 0 <= reserve < 1):
        raise BytebillError(f"A reserve is a share of the memory, from 0 to below 1, not {reserve}.")


def tensor_parallel_sizes(model: ModelSpec, *, largest: int = 64) -> tuple[int, ...]:
    """Group sizes that split the query heads evenly, and the KV heads or whole copies of them.

    >>> from bytebill.models import model
    >>> tensor_parallel_sizes(model("llama-3-70b")), tensor_parallel_sizes(model("smollm2-135m"))
    ((1, 2, 4, 8, 16, 32, 64), (1, 3, 9))
    """
    n_kv_heads = model.n_heads if model.mla is not None else model.n_kv_heads
    sizes = (size for size in range(1, largest + 1) if model.n_heads % size == 0)
    return tuple(size for size in sizes if n_kv_heads % size == 0 or size % n_kv_heads == 0)


def min_group(
    model: ModelSpec, *, accelerator: Accelerator, precision: Precision, reserve: float = RUNTIME_RESERVE
) -> int | None:
    """Smallest tensor-parallel group that holds the weights; None if no even split up to 64 devices does.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> min_group(model("falcon-180b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    8
    >>> min_devices(model("falcon-180b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    5
    """
    needed = min_devices(model, accelerator=accelerator, precision=precision, reserve=reserve)
    return next((size for size in tensor_parallel_sizes(model) if size >= needed), None)


def kv_copies(model: ModelSpec, *, n_devices: int) -> float:
    """How many times a tensor-parallel group stores a cached value: once, until devices outnumber KV heads.

    >>> from bytebill.models import model
    >>> [kv_copies(model("llama-3-70b"), n_devices=n) for n in (2, 8, 16)]    # 8 KV heads
    [1.0, 1.0, 2.0]
    >>> kv_copies(model("deepseek-v3"), n_devices=8)    # one latent, which no head split divides
    8.0
    """
    n_shares = 1 if model.mla is not None else model.n_kv_heads
    return max(1.0, n_devices / n_shares)


def kv_budget_bytes(
    model: ModelSpec,
    *,
    accelerator: Accelerator,
    precision: Precision,
    n_devices: int,
    reserve: float = RUNTIME_RESERVE,
) -> float:
    """Bytes left for everybody's cache; zero if the weights do not fit."""
    budget = memory_budget(
        model, accelerator=accelerator, precision=precision, n_devices=n_devices, reserve=reserve
    )
    return max(0.0, budget.free_bytes)


def max_users(
    model: ModelSpec,
    *,
    accelerator: Accelerator,
    precision: Precision,
    n_devices: int,
    context_len: int,
    reserve: float = RUNTIME_RESERVE,
) -> int:
    """Sequences of one length that fit at once, their caches full and without padding.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> max_users(model("llama-2-13b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"),
    ...           n_devices=1, context_len=8192)    # (72 - 26.03) GB / 6.71 GB
    6
    """
    if context_len < 1:
        raise BytebillError(f"A user has at least one token of context, not {context_len}.")
    budget = memory_budget(
        model, accelerator=accelerator, precision=precision, n_devices=n_devices, reserve=reserve
    )
    per_user = kept_context_len(model, context_len) * budget.kv_bytes_per_token
    return max(0, floor(budget.free_bytes / per_user))


def first_limit(
    model: ModelSpec,
    *,
    accelerator: Accelerator,
    precision: Precision,
    n_devices: int,
    context_len: int,
    reserve: float = RUNTIME_RESERVE,
) -> Limit:
    """What runs out first as users of one length are added: memory for their caches, or arithmetic.

    Memory, if fewer users fit than the critical batch of the weights. A group has one device's critical
    batch, since bandwidth and arithmetic grow alike. Ignores that reading the cache moves it up, so memory is
    the answer even more often than this says.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> first_limit(model("llama-2-13b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"),
    ...             n_devices=1, context_len=2048).value
    'memory'
    """
    users = max_users(
        model,
        accelerator=accelerator,
        precision=precision,
        n_devices=n_devices,
        context_len=context_len,
        reserve=reserve,
    )
    needed = min_devices(model, accelerator=accelerator, precision=precision, reserve=reserve)
    if n_devices < needed:
        return Limit.WEIGHTS
    enough = users >= critical_batch(accelerator, precision=precision, model=model)
    return Limit.CRITICAL_BATCH if enough else Limit.MEMORY
