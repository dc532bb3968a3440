"""What if a sequence's slots may lie anywhere? Blocks of a fixed size, given one at a time as it grows.

    blocks of n tokens = ceil(n / block size)                    waste: in last blocks only

Blocks may move to a host that has room for them, and back. Who holds what is a stack and a table a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

from bytebill.errors import BytebillError, require
from bytebill.serving.memory.allocator import Allocator, BlocksMoved, CachedTokens, Usage
from bytebill.serving.request import Request
from bytebill.units import BLOCK_SIZE_TOKENS


class Paged(Allocator):
    """Blocks of a fixed size anywhere in the pool, one at a time: no rounding, waste in last blocks only."""

    grows = gives_tables = True

    def __init__(self, *, n_blocks: int, block_size_tokens: int = BLOCK_SIZE_TOKENS, n_host_blocks: int = 0) -> None:
        sane = n_blocks >= 1 and block_size_tokens >= 1 and n_host_blocks >= 0
        require(sane, f"A pool needs blocks and a block needs slots: {n_blocks} x {block_size_tokens}.")
        self.block_size_tokens = block_size_tokens
        self.n_total = n_blocks
        self._free = list(range(n_blocks - 1, -1, -1))  # a stack: the lowest number comes first
        self._tables: dict[int, list[int]] = {}
        self._host_free = list(range(n_host_blocks - 1, -1, -1))
        self._host_tables: dict[int, list[int]] = {}

    @property
    def n_free(self) -> int:
        return len(self._free)

    @property
    def n_host_free(self) -> int:
        return len(self._host_free)

    def n_blocks_for(self, n_tokens: int) -> int:
        """Blocks that hold this many tokens.

        >>> [Paged(n_blocks=9, block_size_tokens=16).n_blocks_for(n) for n in (1, 16, 17)]
        [1, 1, 2]
        """
        return -(-n_tokens // self.block_size_tokens)

    def refusal(self, request: Request) -> str | None:
        n_needed = self.n_blocks_for(request.n_cached_tokens_at_end)
        if n_needed <= self.n_total:
            return None
        return (
            f"Request {request.id} caches {request.n_cached_tokens_at_end} tokens at its end: {n_needed} blocks of "
            f"{self.block_size_tokens}, and there are {self.n_total}."
        )

    def allocate(self, request: Request, n_tokens: int) -> int | None:
        n_blocks = -(-n_tokens // self.block_size_tokens)
        self._check_new(request, n_tokens)
        if n_blocks > len(self._free):
            return None
        self._tables[request.id] = self._take(n_blocks)
        return 0

    def extend(self, id: int) -> bool:
        if not self._free:
            return False
        self._tables[id].append(self._free.pop())
        return True

    def capacity(self, id: int) -> int:
        return len(self._tables[id]) * self.block_size_tokens

    def blocks(self, id: int) -> Sequence[int]:
        return self._tables[id]

    def free(self, id: int) -> None:
        if id in self._host_tables:
            self._host_free += reversed(self._host_tables.pop(id))
        else:
            self._give(self._tables.pop(id))

    def host_blocks(self, id: int) -> Sequence[int]:
        """The host's blocks of a sequence that was swapped out."""
        return self._host_tables[id]

    def swap_out(self, id: int) -> BlocksMoved | None:
        table = self._tables[id]
        if len(table) > len(self._host_free):
            return None
        host = _pop(self._host_free, len(table))
        self._host_tables[id] = host
        self._give(self._tables.pop(id))
        return tuple(table), tuple(host)

    def swap_in(self, id: int) -> BlocksMoved | None:
        host = self._host_tables[id]
        if len(host) > self.n_free:
            return None
        table = self._take(len(host))
        self._tables[id] = table
        self._host_free += reversed(self._host_tables.pop(id))
        return tuple(table), tuple(host)

    def usage(self, lengths: CachedTokens, *, waiting: Request | None = None) -> Usage:
        used = reservation = internal = 0
        for id, table in self._tables.items():
            n_cached, n_final = lengths[id]
            n_slots = len(table) * self.block_size_tokens
            n_useful = min(n_slots, n_final)
            used += n_cached
            reservation += n_useful - n_cached
            internal += n_slots - n_useful
        free = self.n_free * self.block_size_tokens
        full = waiting is not None and self.n_blocks_for(waiting.n_input_tokens) > self.n_free
        return Usage(
            used=used, reservation=reservation, internal=internal, stranded=free * full, free=free * (not full)
        )

    def _take(self, n_blocks: int) -> list[int]:
        return _pop(self._free, n_blocks)

    def _give(self, table: list[int]) -> None:
        self._free += reversed(table)  # so that they come out again in the same order

    def _check_new(self, request: Request, n_tokens: int) -> None:
        if n_tokens < 1 or request.id in self._tables or request.id in self._host_tables:
            raise BytebillError(f"Request {request.id} already has room, or asks for {n_tokens} tokens of it.")


def _pop(stack: list[int], n: int) -> list[int]:
    taken = stack[: -n - 1 : -1]
    del stack[len(stack) - n :]
    return taken
