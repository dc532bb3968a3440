"""How is a deployment scheduled? A policy: a kind of scheduler and its settings, as one record.

    policy.scheduler(deployment)      a fresh scheduler over a fresh pool of its blocks

A policy is frozen, compares by value and can be sent to another process, so that a sweep can try many of them; the
scheduler that it makes serves one run. Settings that a kind does not read are left alone.
"""

from dataclasses import dataclass
from typing import Protocol

from bytebill.errors import require, require_known
from bytebill.serving.continuous import ChunkedScheduler, ContinuousScheduler
from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.memory.paged import Counted, Paged
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.scheduler import NEVER_S, Scheduler
from bytebill.serving.static import StaticScheduler
from bytebill.units import BLOCK_SIZE_TOKENS

KINDS_OF_SCHEDULER = ("continuous", "chunked", "static", "dynamic")


class Memory(Protocol):
    """What has room for blocks of cache: a deployment."""

    def n_blocks(self, block_size_tokens: int) -> int:
        """Whole blocks of this size."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A scheduler and its allocator, before either is made.

    >>> chunked = Policy(kind="chunked", n_slots=64, token_budget=512)
    >>> scheduler = chunked.scheduler(1000)
    >>> scheduler.n_slots, scheduler.n_kv_tokens    # 1,000 blocks of 16
    (64, 16000)
    """

    kind: str = "continuous"
    n_slots: int = 256  # most sequences at once; of a static batch, its size
    token_budget: int | None = None  # a step's: in whole prompts ("continuous") or in parts of them ("chunked")
    mixed: bool = True  # prompts and decodes share steps
    preemption: str = "recompute"  # or "swap", to `n_host_blocks`
    watermark: float = 0.0  # share of the blocks left free when a sequence is let in
    pad_input_to: int | None = None  # of static batches
    pad_output_to: int | None = None
    window_s: float = 0.0  # of a dynamic batch
    block_size_tokens: int = BLOCK_SIZE_TOKENS
    n_host_blocks: int = 0
    shares_prefixes: bool = False

    def __post_init__(self) -> None:
        require_known("kind of scheduler", self.kind, KINDS_OF_SCHEDULER)
        counts = (self.n_slots, 1 if self.token_budget is None else self.token_budget, self.block_size_tokens)
        require(all(type(n) is int and n >= 1 for n in counts), "Slots, budgets and blocks count from 1 up, in wholes.")
        require(
            0 <= self.watermark < 1, f"A watermark is a share of the pool, from 0 to below 1, not {self.watermark}."
        )
        require(self.kind != "chunked" or self.token_budget is not None, "Chunks are cut by a token_budget; give one.")

    def pool(self, memory: Memory | int, *, numbered: bool = True) -> Allocator:
        """A fresh allocator of a deployment's blocks, or of so many; without numbers where nobody reads them."""
        n_blocks = memory if isinstance(memory, int) else memory.n_blocks(self.block_size_tokens)
        if not (numbered or self.shares_prefixes or self.n_host_blocks):
            return Counted(n_blocks=n_blocks, block_size_tokens=self.block_size_tokens)
        return (PrefixSharing if self.shares_prefixes else Paged)(
            n_blocks=n_blocks, block_size_tokens=self.block_size_tokens, n_host_blocks=self.n_host_blocks
        )

    def scheduler(self, memory: Memory | int, *, numbered: bool = True) -> Scheduler:
        """A fresh scheduler over a deployment's blocks, or over so many; static ones do not count them."""
        if self.kind in ("static", "dynamic"):
            return StaticScheduler(
                self.n_slots,
                window_s=self.window_s if self.kind == "dynamic" else NEVER_S,
                pad_input_to=self.pad_input_to,
                pad_output_to=self.pad_output_to,
            )
        chunked = self.kind == "chunked"
        return (ChunkedScheduler if chunked else ContinuousScheduler)(
            self.pool(memory, numbered=numbered),
            max_batch_size=self.n_slots,
            token_budget=self.token_budget,
            mixed=self.mixed or chunked,
            preemption=self.preemption,
            watermark=self.watermark,
        )


CONTINUOUS = Policy()
