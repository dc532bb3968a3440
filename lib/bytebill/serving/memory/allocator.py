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

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bytebill.errors import BytebillError
from bytebill.serving.request import Request

CachedTokens = Mapping[int, tuple[int, int]]  # request id: tokens cached now, tokens cached at its end
BlocksMoved = tuple[tuple[int, ...], tuple[int, ...]]  # device blocks, host blocks


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
        return sum(dataclasses.astuple(self))


class Allocator(ABC):
    """Gives out and takes back room for sequences, named by their request's id."""

    grows = False  # whether sequences are given room as they grow, so that the pool can run out under them
    gives_tables = False  # whether `blocks` number blocks of a paged cache; else its slots lie side by side

    def __init__(self, *, n_blocks: int, block_size_tokens: int, n_host_blocks: int = 0) -> None:
        self.n_total, self.block_size_tokens = n_blocks, block_size_tokens
        self._tables: dict[int, Any] = {}  # each sequence's blocks in order of position
        self._kept: dict[int, None] = {}  # free blocks that still hold a prompt that may come again
        self._host_tables: dict[int, list[int]] = {}
        self._host_free = list(range(n_host_blocks - 1, -1, -1))  # a stack: the lowest number comes first

    @property
    @abstractmethod
    def n_free(self) -> int:
        """Blocks nobody holds, kept prompts included."""

    @property
    def n_host_free(self) -> int:
        """Blocks on the host that nobody holds."""
        return len(self._host_free)

    @abstractmethod
    def refusal(self, request: Request) -> str | None:
        """Why this request can never be placed, however empty the pool; None if it can."""

    def allocate(self, request: Request, n_tokens: int) -> int | None:
        """Room for the first `n_tokens` of a sequence: how many of them are cached already; None: no room now."""
        if n_tokens < 1 or request.id in self._tables or request.id in self._host_tables:
            raise BytebillError(f"Request {request.id} already has room, or asks for {n_tokens} tokens of it.")
        found = self._found(request, n_tokens)
        if found is None:
            return None
        self._tables[request.id] = self._placed(request, n_tokens, found)
        return len(found) * self.block_size_tokens

    def extend(self, id: int) -> bool:
        """One more block for a sequence; False: none is free, and nothing has changed."""
        return False  # what is reserved whole never grows

    def extend_each(self, ids: Collection[int]) -> None:
        """One more block for each of several sequences; there must be so many."""
        for id in ids:
            if not self.extend(id):
                raise RuntimeError(f"no block for sequence {id}: a plan was repeated too often")

    def computed(self, id: int, n_tokens: int) -> None:
        """The first `n_tokens` of the sequence have been computed: their blocks may be shared from now on."""
        return  # nothing is shared

    def capacity(self, id: int) -> int:
        """Tokens that the sequence's blocks can hold."""
        return len(self._tables[id]) * self.block_size_tokens

    def blocks(self, id: int) -> Sequence[int]:
        """Its blocks in order of position: a live view, to be read only."""
        return self._tables[id]

    def free(self, id: int) -> None:
        """Take back all that the sequence holds, here or on the host."""
        if id in self._host_tables:
            self._host_free += reversed(self._host_tables.pop(id))
        else:
            self._give(self._tables.pop(id))

    def swap_out(self, id: int) -> BlocksMoved | None:
        """Move its blocks to the host; None where the host has no room, or none of it is used."""
        return None

    def swap_in(self, id: int) -> BlocksMoved | None:
        """Move its blocks back; None where the device has no room."""
        return None

    def usage(self, lengths: CachedTokens, *, waiting: Request | None = None) -> Usage:
        """Where all slots are, given each sequence's length and the request that waits first in line."""
        size, (used, useful, given) = self.block_size_tokens, self._filled(lengths)
        cached = len(self._kept) * size
        free = self.n_free * size - cached
        full = waiting is not None and self._found(waiting, waiting.n_input_tokens) is None
        return Usage(
            used=used,
            reservation=useful - used,
            internal=given - useful,
            rounding=self.n_total * size - given - cached - free,
            stranded=free * full,
            cached=cached,
            free=free * (not full),
        )

    @abstractmethod
    def _found(self, request: Request, n_tokens: int) -> list[int] | None:
        """Blocks that hold a prompt's first tokens already; None where there is no room for the rest of them."""

    @abstractmethod
    def _placed(self, request: Request, n_tokens: int, found: list[int]) -> Sequence[int]:
        """The blocks of a sequence for which there is room: those found, and new ones."""

    @abstractmethod
    def _give(self, table: Any) -> None:
        """Take back a sequence's blocks."""

    def _filled(self, lengths: CachedTokens) -> tuple[int, int, int]:
        """Slots that hold a token, those that will at the end of their sequences, and all that were given."""
        given = {id: self.capacity(id) for id in self._tables}
        used = sum(lengths[id][0] for id in given)
        return used, sum(min(n, lengths[id][1]) for id, n in given.items()), sum(given.values())
