"""What is rented, and what runs on it? A model on a group of equal devices, in a precision.

    usable      = n_devices * M * (1 - reserve)                                      [bytes]
    free        = usable - weights                                                   [bytes], for everybody's cache
    users       = floor(free / (copies of the cache of context_len tokens + state))
    min_devices = ceil(weight_bytes / (M * (1 - reserve)))

M is the device's `memory_bytes`. The reserve is what a runtime keeps from both weights and cache: context, graphs,
activations, fragmentation. It is not what vLLM's gpu_memory_utilization leaves: activations and graphs must fit inside
that, and `bytebill.memory` counts them one by one. A group of devices shares every layer (tensor parallelism), so its
size must split the heads: a group larger than the number of KV heads keeps copies of them, and MLA's one latent is
copied to every device. Where attention is data-parallel instead, each device holds all of its weights and the caches
of its own users alone. Ignores that a device's capacity by the driver differs from its datasheet's, block padding,
shared prefixes, and pipelines, which split layers and copy nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from math import ceil, floor, inf
from typing import Self

from bytebill.errors import require, require_known
from bytebill.hardware import ACCELERATORS, Accelerator
from bytebill.models import MODELS, ModelSpec, Precision, matrices, state_bytes, weight_bytes
from bytebill.roofline import (
    Load,
    StepCost,
    TimeBounds,
    cache_copies,
    cost_terms,
    critical_batch,
    step_cost,
    step_time_bounds,
)
from bytebill.units import BLOCK_SIZE_TOKENS

RUNTIME_RESERVE = 0.1
CONTEXT_LENS = (2048, 8192, 32_768)


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """Where the memory of a group of devices goes; `free_bytes` below zero: the weights do not fit."""

    memory_bytes: float
    reserve_bytes: float
    weight_bytes: float
    kv_bytes_per_token: float  # of a short context, over the whole group, copies included

    @property
    def free_bytes(self) -> float:
        return self.memory_bytes - self.reserve_bytes - self.weight_bytes

    @property
    def kv_bytes(self) -> float:
        """Bytes for everybody's cache; zero if the weights do not fit."""
        return max(0.0, self.free_bytes)


class Limit(Enum):
    """What a growing batch meets first."""

    WEIGHTS = "weights"  # nothing to grow: they do not fit
    MEMORY = "memory"  # the cache is full while the step still waits for bandwidth
    CRITICAL_BATCH = "critical batch"  # arithmetic, with cache to spare


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model, and the devices that hold it together.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> two = Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"),
    ...                  precision=precision("bf16"), n_devices=2)
    >>> round(two.memory.free_bytes / 1e9, 2), two.kv_tokens    # 2 * 80 * 0.9 - 141.11 GB; / 327,680 B
    (2.89, 8827)
    """

    model: ModelSpec
    accelerator: Accelerator
    precision: Precision
    n_devices: int = 1
    reserve: float = RUNTIME_RESERVE
    attention: str = "tensor"  # every device a share of each layer's heads; "data": every device its own users

    def __post_init__(self) -> None:
        require(
            isinstance(self.reserve, (int, float)) and 0 <= self.reserve < 1,
            f"A reserve is a share of the memory, from 0 to below 1, not {self.reserve}.",
        )
        require(
            isinstance(self.n_devices, int) and self.n_devices >= 1,
            f"A deployment has at least one device, and a whole number of them: {self.n_devices}.",
        )
        require_known("way to spread attention", self.attention, ("tensor", "data"))

    @classmethod
    def smallest(
        cls, *, model: ModelSpec, accelerator: Accelerator, precision: Precision, reserve: float = RUNTIME_RESERVE
    ) -> Self | None:
        """On the smallest tensor-parallel group that holds the weights; None if no even split up to 64 devices does.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> falcon = Deployment.smallest(model=model("falcon-180b"), accelerator=accelerator("h100-sxm"),
        ...                              precision=precision("bf16"))
        >>> falcon.n_devices, falcon.min_devices    # 359 GB over 72: five would do, but heads split over eight
        (8, 5)
        """
        one = cls(model=model, accelerator=accelerator, precision=precision, reserve=reserve)
        sizes = (size for size in tensor_parallel_sizes(model) if size >= one.min_devices)
        return next((replace(one, n_devices=size) for size in sizes), None)

    @property
    def n_sharing(self) -> int:
        """Devices among which the heads of a layer, and the caches of a user, are split."""
        return self.n_devices if self.attention == "tensor" else 1

    def served(self) -> Self:
        """This deployment, if its devices split the model's heads evenly, as programs that serve on them demand."""
        n, model = self.n_devices, self.model
        require(
            self.n_sharing == 1 or n in tensor_parallel_sizes(model, largest=n),
            f"The {model.n_heads} heads of {model.name} and their caches do not split evenly over {n} devices.",
        )
        return self

    @property
    def n_nodes(self) -> int:
        """Nodes that hold the group: within one the fast link joins devices, between them a network.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> [Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"),
        ...             n_devices=n).n_nodes for n in (2, 8, 16)]
        [1, 1, 2]
        """
        return ceil(self.n_devices / self.accelerator.node_devices)

    @cached_property
    def memory(self) -> MemoryBudget:
        """The split of the group's memory into reserve, weights and cache."""
        held = weight_bytes(self.model, precision=self.precision)
        if self.n_sharing < self.n_devices:  # every device holds all weights of the layers that mix tokens
            mixing = (matrix for matrix in matrices(self.model) if matrix.group in ("attention", "recurrent"))
            held += (self.n_devices - 1) * sum(self.precision.weight_bytes(matrix) for matrix in mixing)
        return MemoryBudget(
            memory_bytes=self.n_devices * self.accelerator.memory_bytes,
            reserve_bytes=self.n_devices * self.accelerator.memory_bytes * self.reserve,
            weight_bytes=held,
            kv_bytes_per_token=self.cache_bytes(1),
        )

    def cache_bytes(self, context_len: float) -> float:
        """Bytes that the group keeps of one user's tokens, copies counted, and states not."""
        width = self.precision.kv_bytes_per_value
        return sum(
            kind.n_layers * kept.entries(context_len) * kept.entry_bytes(width) * cache_copies(kept, self.n_sharing)
            for kind in self.model.kinds
            for kept in kind.caches
        )

    def user_bytes(self, context_len: float) -> float:
        """Bytes that the group keeps of one user: caches, and the states of recurrent layers."""
        return self.cache_bytes(context_len) + state_bytes(self.model)

    @property
    def min_devices(self) -> int:
        """Devices of this kind needed to hold the weights alone, before any user.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> llm, bf16 = model("llama-3-70b"), precision("bf16")
        >>> [Deployment(model=llm, accelerator=accelerator(id), precision=bf16).min_devices
        ...  for id in ("a100-sxm-40", "h100-sxm", "mi300x")]    # 141.11 GB over 36, 72 and 172.8 GB
        [4, 2, 1]
        """
        return ceil(self.memory.weight_bytes / (self.accelerator.memory_bytes * (1 - self.reserve)))

    @property
    def group_for_weights(self) -> int | None:
        """Devices of the smallest even group whose memory, by the driver, holds the weights and nothing else.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> llm, bf16 = model("llama-3-70b"), precision("bf16")
        >>> [Deployment(model=llm, accelerator=accelerator(id), precision=bf16).group_for_weights
        ...  for id in ("a100-sxm-40", "h100-sxm", "h200-sxm")]    # 141.11 GB over 42.9, 85.5 and 150.8 GB
        [4, 2, 1]
        """
        held, each = weight_bytes(self.model, precision=self.precision), self.accelerator.driver_bytes
        return next((size for size in tensor_parallel_sizes(self.model) if held <= size * each), None)

    @property
    def kv_tokens(self) -> int:
        """Cached tokens there is room for, over all users, before any window is full."""
        return floor(self.memory.kv_bytes / self.memory.kv_bytes_per_token)

    def n_blocks(self, block_size_tokens: int = BLOCK_SIZE_TOKENS) -> int:
        """Whole blocks of cache there is room for."""
        return int(self.memory.kv_bytes // (block_size_tokens * self.memory.kv_bytes_per_token))

    def users(self, context_len: int) -> int:
        """Sequences of one length that fit at once, their caches full and without padding.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> one = Deployment(model=model("llama-2-13b"), accelerator=accelerator("h100-sxm"),
        ...                  precision=precision("bf16"))
        >>> one.users(8192)    # (72 - 26.03) GB / 6.71 GB
        6
        """
        require(context_len >= 1, f"A user has at least one token of context, not {context_len}.")
        return floor(self.memory.kv_bytes / self.user_bytes(context_len))

    @property
    def critical_batch(self) -> float:
        """Tokens a step must share its weights among before arithmetic takes as long as reading them.

        A group has one device's critical batch, since bandwidth and arithmetic grow alike.
        """
        return critical_batch(self.accelerator, precision=self.precision, model=self.model)

    def limit(self, context_len: int) -> Limit:
        """What runs out first as users of one length are added: memory for their caches, or arithmetic.

        Memory, if fewer users fit than the critical batch of the weights. Ignores that reading the cache moves
        it up, so memory is the answer even more often than this says.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> Deployment(model=model("llama-2-13b"), accelerator=accelerator("h100-sxm"),
        ...            precision=precision("bf16")).limit(2048).value
        'memory'
        """
        if self.n_devices < self.min_devices:
            return Limit.WEIGHTS
        return Limit.CRITICAL_BATCH if self.users(context_len) >= self.critical_batch else Limit.MEMORY

    def step_cost(self, load: Load) -> StepCost:
        """Bytes and FLOPs of a step, over the whole group: caches that it cannot share out are read by each copy."""
        return step_cost(self.model, load=load, precision=self.precision, n_sharing=self.n_sharing)

    def step_bounds(self, load: Load) -> TimeBounds:
        """Memory time and compute time of a step at the group's published rates."""
        bounds = step_time_bounds(
            self.step_cost(load),
            accelerator=self.accelerator,
            dtype=self.accelerator.units(self.precision.compute_dtype),
        )
        return TimeBounds(memory_s=bounds.memory_s / self.n_devices, compute_s=bounds.compute_s / self.n_devices)

    def decode_bounds(self, batch_size: int, context_len: float) -> TimeBounds:
        """Memory time and compute time of a decode step at published rates, each product at those of its own dtype.

        The bytes are those of weights, caches and states: activations and logits of a step stay on chip for the most
        part (`step_bounds` counts them).
        """
        load = Load.decode(batch_size=batch_size, context_len=context_len)
        cost, card = self.step_cost(load), self.accelerator
        linear = cost_terms(self.model, precision=self.precision).linear_flops(batch_size, batch_size)
        compute_s = sum(flops / card.peak(card.units(dtype)) for (dtype, _), flops in linear.items())
        wide = self.precision.compute_dtype in ("fp32", "fp16")
        compute_s += cost.attention_flops / card.peak(self.precision.compute_dtype if wide else "bf16")
        moved = cost.weight_bytes + cost.kv_read_bytes + cost.kv_write_bytes + cost.state_bytes
        return TimeBounds(
            memory_s=moved / card.bandwidth_bytes_per_s / self.n_devices, compute_s=compute_s / self.n_devices
        )

    def turns_at(self, context_len: float) -> float:
        """Users from which decode multiplies for longer than it reads, their caches counted; inf: no number of them.

        B = t_weights / (t_FLOPs - t_bytes)     t of all weights, and of what one more user adds     [users]

        Every user brings arithmetic and bytes; only where the arithmetic takes longer can it catch up with the weights.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> group = Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"),
        ...                    precision=precision("bf16"), n_devices=8)
        >>> [round(group.turns_at(n)) for n in (128, 512)], group.turns_at(2048)    # 295 without a cache
        ([324, 453], inf)
        """
        more_s, weights_s = self._added_s(context_len)
        return weights_s / more_s if more_s > 0 else inf

    @property
    def longest_turning_context(self) -> float:
        """S*, the context from which no number of users makes decode wait for arithmetic; inf if there is none.

        Where all layers keep everything: S* = 2 P / C / (kappa / W - 4 L N H / C)     [tokens]

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> card, bf16 = accelerator("h100-sxm"), precision("bf16")
        >>> [round(Deployment(model=model(id), accelerator=card, precision=bf16).longest_turning_context)
        ...  for id in ("llama-2-13b", "llama-3-8b", "llama-3-70b")]
        [106, 392, 1475]
        """
        if self._added_s(0)[0] <= 0:
            return 0.0
        low, high = 0.0, 2.0**24
        if self._added_s(high)[0] > 0:
            return inf
        while high - low > 0.01:
            middle = (low + high) / 2
            low, high = (middle, high) if self._added_s(middle)[0] > 0 else (low, middle)
        return low

    def _added_s(self, context_len: float) -> tuple[float, float]:
        """Arithmetic less reading that one more user adds, and reading of all weights, once all experts are touched."""
        n = 2**20
        once, twice = (self.decode_bounds(each, context_len) for each in (n, 2 * n))
        more_s = ((twice.compute_s - once.compute_s) - (twice.memory_s - once.memory_s)) / n
        return more_s, 2 * once.memory_s - twice.memory_s

    @property
    def next_larger(self) -> Self | None:
        """The next larger group that splits the heads evenly; with data-parallel attention, the experts.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> two = Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"),
        ...                  precision=precision("bf16"), n_devices=2)
        >>> two.next_larger.n_devices    # three do not divide 64 heads
        4
        """
        most = 4 * self.n_devices
        if self.attention == "tensor":
            sizes = tensor_parallel_sizes(self.model, largest=most)
        else:
            n_experts = self.model.moe.n_experts if self.model.moe else 0
            sizes = tuple(size for size in range(1, most + 1) if n_experts and n_experts % size == 0)
        return next((replace(self, n_devices=size) for size in sizes if size > self.n_devices), None)


def tensor_parallel_sizes(model: ModelSpec, *, largest: int = 64) -> tuple[int, ...]:
    """Group sizes that split the query heads evenly, and the KV heads or whole copies of them.

    >>> from bytebill.models import model
    >>> tensor_parallel_sizes(model("llama-3-70b")), tensor_parallel_sizes(model("smollm2-135m"))
    ((1, 2, 4, 8, 16, 32, 64), (1, 3, 9))
    """
    splits = [model.n_heads, *(kept.n_heads for kind in model.kinds for kept in kind.caches)]
    return tuple(
        size
        for size in range(1, min(largest, model.n_heads) + 1)
        if model.n_heads % size == 0 and all(n % size == 0 or size % n == 0 for n in splits)
    )


def smallest_deployments(
    *, precision: Precision, context_lens: Sequence[int] = CONTEXT_LENS, reserve: float = RUNTIME_RESERVE
) -> list[tuple[Deployment, int]]:
    """Every model of the register on the smallest even group of every device, with each context it was made for.

    A population in which "almost always" and "usually" can be counted. Ignores what deployments are worth: each
    counts once.

    >>> from bytebill.models import precision
    >>> len(smallest_deployments(precision=precision("bf16"), context_lens=(2048,)))    # 16 * 15, less 7 too large
    233
    """
    return [
        (group, n)
        for model in MODELS.values()
        for card in ACCELERATORS.values()
        if (group := Deployment.smallest(model=model, accelerator=card, precision=precision, reserve=reserve))
        for n in context_lens
        if n <= model.context_len
    ]
