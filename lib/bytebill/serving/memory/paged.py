"""What if a sequence's slots may lie anywhere? Blocks of a fixed size, given one at a time as it grows.

    blocks of n tokens = ceil(n / block size)                    waste: in last blocks only

Blocks may move to a host that has room for them, and back. Who holds what is a stack and a table a sequence.
"""

from collections.abc import Collection, Sequence
from typing import Any

from bytebill.errors import require
from bytebill.serving.memory.allocator import Allocator, BlocksMoved
from bytebill.serving.request import Request
from bytebill.units import BLOCK_SIZE_TOKENS


class Paged(Allocator):
    """Blocks of a fixed size anywhere in the pool, one at a time: no rounding, waste in last blocks only."""

    grows = gives_tables = True

    def __init__(self, *, n_blocks: int, block_size_tokens: int = BLOCK_SIZE_TOKENS, n_host_blocks: int = 0) -> None:
        require(
            n_blocks >= 1 and block_size_tokens >= 1 and n_host_blocks >= 0,
            f"A pool needs blocks and a block needs slots: {n_blocks} x {block_size_tokens}.",
        )
        super().__init__(n_blocks=n_blocks, block_size_tokens=block_size_tokens, n_host_blocks=n_host_blocks)
        self._free = list(range(n_blocks - 1, -1, -1))  # a stack, as the host's

    @property
    def n_free(self) -> int:
        return len(self._free)

    def n_blocks_for(self, n_tokens: int) -> int:
        """Blocks that hold this many tokens.

        >>> [Paged(n_blocks=9, block_size_tokens=16).n_blocks_for(n) for n in (1, 16, 17)]
        [1, 1, 2]
        """
        return -(-n_tokens // self.block_size_tokens)

    def refusal(self, request: Request) -> str | None:
        n_needed = self.n_blocks_for(request.n_cached_tokens_at_end)
        return (
            None
            if n_needed <= self.n_total
            else (
                f"Request {request.id} caches {request.n_cached_tokens_at_end} tokens at its end: {n_needed} blocks of "
                f"{self.block_size_tokens}, and there are {self.n_total}."
            )
        )

    def extend(self, id: int) -> bool:
        if not self._free:
            return False
        self._tables[id].append(self._free.pop())
        return True

    def extend_each(self, ids: Collection[int]) -> None:
        tables, free = self._tables, self._free
        if len(free) < len(ids):
            raise RuntimeError(f"{len(free)} blocks for {len(ids)} sequences: a plan was repeated too often")
        for id in ids:
            tables[id].append(free.pop())

    def swap_out(self, id: int) -> BlocksMoved | None:
        table = self._tables[id]
        if len(table) > len(self._host_free):
            return None
        host = self._host_tables[id] = _pop(self._host_free, len(table))
        self._give(self._tables.pop(id))
        return tuple(table), tuple(host)

    def swap_in(self, id: int) -> BlocksMoved | None:
        host = self._host_tables[id]
        if len(host) > self.n_free:
            return None
        self._tables[id] = self._take(len(host))
        self._host_free += reversed(self._host_tables.pop(id))
        return tuple(self._tables[id]), tuple(host)

    def _found(self, request: Request, n_tokens: int) -> list[int] | None:
        return [] if self.n_blocks_for(n_tokens) <= len(self._free) else None

    def _placed(self, request: Request, n_tokens: int, found: list[int]) -> Sequence[int]:
        return [*found, *self._take(self.n_blocks_for(n_tokens) - len(found))]

    def _take(self, n_blocks: int) -> list[int]:
        return _pop(self._free, n_blocks)

    def _give(self, table: list[int]) -> None:
        self._free += reversed(table)  # so that they come out again in the same order


class Counted(Paged):
    """Paged blocks that have no numbers, for whoever keeps no tensor: the same counts for less work. No host."""

    gives_tables = False
    n_free = 0

    def __init__(self, *, n_blocks: int, block_size_tokens: int = BLOCK_SIZE_TOKENS) -> None:
        super().__init__(n_blocks=1, block_size_tokens=block_size_tokens)
        require(n_blocks >= 1, f"A pool needs blocks and a block needs slots: {n_blocks} x {block_size_tokens}.")
        self.n_total = self.n_free = n_blocks

    def extend(self, id: int) -> bool:
        if not self.n_free:
            return False
        self.extend_each((id,))
        return True

    def extend_each(self, ids: Collection[int]) -> None:
        if self.n_free < len(ids):
            raise RuntimeError(f"{self.n_free} blocks for {len(ids)} sequences: a plan was repeated too often")
        self.n_free -= len(ids)
        tables = self._tables
        for id in ids:
            tables[id] += 1

    def capacity(self, id: int) -> int:
        return int(self._tables[id] * self.block_size_tokens)

    def blocks(self, id: int) -> Sequence[int]:
        return range(self._tables[id])

    def swap_out(self, id: int) -> BlocksMoved | None:
        return None

    def _found(self, request: Request, n_tokens: int) -> list[int] | None:
        return [] if self.n_blocks_for(n_tokens) <= self.n_free else None

    def _placed(self, request: Request, n_tokens: int, found: list[int]) -> Any:
        n_blocks = self.n_blocks_for(n_tokens)
        self.n_free -= n_blocks
        return n_blocks

    def _give(self, table: Any) -> None:
        self.n_free += table


def _pop(stack: list[int], n: int) -> list[int]:
    taken = stack[: -n - 1 : -1]
    del stack[len(stack) - n :]
    return taken
