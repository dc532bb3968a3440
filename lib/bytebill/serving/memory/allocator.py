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
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
        return sum(getattr(self, field.name) for field in dataclasses.fields(self))


class Allocator(ABC):
    """Gives out and takes back room for sequences, named by their request's id."""

    block_size_tokens: int
    n_total: int  # blocks
    grows = False  # whether sequences are given room as they grow, so that the pool can run out under them
    gives_tables = False  # whether `blocks` number blocks of a paged cache; else its slots lie side by side

    @property
    @abstractmethod
    def n_free(self) -> int:
        """Blocks nobody holds, kept prompts included."""

    @property
    def n_host_free(self) -> int:
        """Blocks on the host that nobody holds."""
        return 0

    @abstractmethod
    def refusal(self, request: Request) -> str | None:
        """Why this request can never be placed, however empty the pool; None if it can."""

    @abstractmethod
    def allocate(self, request: Request, n_tokens: int) -> int | None:
        """Room for the first `n_tokens` of a sequence: how many of them are cached already; None: no room now."""

    @abstractmethod
    def extend(self, id: int) -> bool:
        """One more block for a sequence; False: none is free, and nothing has changed."""

    def computed(self, id: int, n_tokens: int) -> None:
        """The first `n_tokens` of the sequence have been computed: their blocks may be shared from now on."""
        return  # nothing is shared

    @abstractmethod
    def capacity(self, id: int) -> int:
        """Tokens that the sequence's blocks can hold."""

    @abstractmethod
    def blocks(self, id: int) -> Sequence[int]:
        """Its blocks in order of position: a live view, to be read only."""

    @abstractmethod
    def free(self, id: int) -> None:
        """Take back all that the sequence holds, here or on the host."""

    def swap_out(self, id: int) -> BlocksMoved | None:
        """Move its blocks to the host; None where the host has no room, or none of it is used."""
        return None

    def swap_in(self, id: int) -> BlocksMoved | None:
        """Move its blocks back; None where the device has no room."""
        return None

    @abstractmethod
    def usage(self, lengths: CachedTokens, *, waiting: Request | None = None) -> Usage:
        """Where all slots are, given each sequence's length and the request that waits first in line."""
