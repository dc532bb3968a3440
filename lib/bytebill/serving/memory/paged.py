"""Who holds which memory? Allocators of the key-value cache behind one interface, and where its slots go.

A slot keeps one token's keys and values; a block is `block_size_tokens` slots side by side. A sequence with
`capacity` slots, `n_cached` of them filled, that will have cached `n_final` when it ends, holds

    used        = n_cached
    reservation = min(capacity, n_final) - n_cached       slots that it will fill later
    internal    = capacity - min(capacity, n_final)       slots that it was given and will never fill
    rounding    = chunk - capacity                        slots lost because chunks come in powers of two

and outside all sequences lie `cached` slots (prompts of finished requests, kept for sharing, given up on
demand) and free ones. Free slots are `stranded` if a next request waits and cannot be placed in them: too few,
or not side by side. The kinds are those of Fig. 2 of the PagedAttention paper, whose "external fragmentation"
is what is known before a request is served to hold no token of it: rounding + stranded. All kinds add up to
the pool. Knows no tensor: `bytebill.engine` keeps the tensors these numbers index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bytebill.errors import BytebillError
from bytebill.serving.request import Request

CachedTokens = Mapping[int, tuple[int, int]]  # request id: tokens cached now, tokens cached at its end
Moved = tuple[tuple[int, ...], tuple[int, ...]]  # device blocks, host blocks


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Slots of a pool by what they are good for [tokens]; they add up to the pool."""

    used: int = 0
    reservation: int = 0
    internal: int = 0
    rounding: int = 0
    stranded: int = 0
    cached: int = 0
    free: int = 0

    @property
    def external(self) -> int:
        """What the paper calls external fragmentation: chunk rounding, and free slots no one can be placed in."""
        return self.rounding + self.stranded

    @property
    def total(self) -> int:
        """All slots of the pool.

        >>> Usage(used=3, reservation=2, internal=1, stranded=10).total
        16
        """
        return sum(getattr(self, field.name) for field in dataclasses.fields(self))


class Allocator(Protocol):
    """Gives out and takes back room for sequences, named by their request's id."""

    block_size_tokens: int
    n_total: int  # blocks

    @property
    def n_free(self) -> int:
        """Blocks nobody holds, kept prompts included."""

    def refusal(self, request: Request) -> str | None:
        """Why this request can never be placed, however empty the pool; None if it can."""

    def allocate(self, request: Request, n_tokens: int) -> int | None:
        """Room for the first `n_tokens` of a sequence: how many of them are cached already; None: no room now."""

    def extend(self, id: int, n_blocks: int = 1) -> bool:
        """More blocks for a sequence; False: too few are free, and nothing has changed."""

    def computed(self, id: int, n_tokens: int) -> None:
        """The first `n_tokens` of the sequence have been computed: their blocks may be shared from now on."""

    def capacity(self, id: int) -> int:
        """Tokens that the sequence's blocks can hold."""

    def blocks(self, id: int) -> Sequence[int]:
        """Its blocks in order of position: a live view, to be read only."""

    def free(self, id: int) -> None:
        """Take back all that the sequence holds, here or on the host."""

    def swap_out(self, id: int) -> Moved | None:
        """Move its blocks to the host: (device blocks, host blocks), or None where the host has no room."""

    def swap_in(self, id: int) -> Moved | None:
        """Move its blocks back: (device blocks, host blocks), or None where the device has no room."""

    def usage(self, lengths: CachedTokens, *, waiting: Request | None = None) -> Usage:
        """Where all slots are, given each sequence's length and the request that waits first in line."""


class Paged:
    """Blocks of a fixed size anywhere in the pool, one at a time: no rounding, waste in last blocks only."""

    def __init__(self, *, n_blocks: int, block_size_tokens: int = 16, n_host_blocks: int = 0) -> None:
        if n_blocks < 1 or block_size_tokens < 1 or n_host_blocks < 0:
            raise BytebillError(f"A pool needs blocks and a block needs slots: {n_blocks} x {block_size_tokens}.")
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
        """Blocks on the host that nobody holds."""
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

    def extend(self, id: int, n_blocks: int = 1) -> bool:
        free = self._free
        if n_blocks > len(free):
            return False
        if n_blocks == 1:
            self._tables[id].append(free.pop())
        else:
            self._tables[id] += self._take(n_blocks)
        return True

    def computed(self, id: int, n_tokens: int) -> None:
        """Nothing to do: nothing is shared."""

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

    def swap_out(self, id: int) -> Moved | None:
        table = self._tables[id]
        if len(table) > len(self._host_free):
            return None
        host = _pop(self._host_free, len(table))
        self._host_tables[id] = host
        self._give(self._tables.pop(id))
        return tuple(table), tuple(host)

    def swap_in(self, id: int) -> Moved | None:
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
