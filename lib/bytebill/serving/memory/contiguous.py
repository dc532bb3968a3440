"""What if a sequence's slots must lie side by side? One chunk a request, reserved before its first token.

How long the answer will be must be guessed, and the guess is kept to the end:

    ContiguousMax      n_reserved = max_len_tokens                               whatever is asked
    ContiguousPow2     n_reserved = n_input + 2^ceil(log2 n_output)              at most twice the output
    ContiguousOracle   n_reserved = n_input + n_output - 1                       as if it were known

`Buddy` gives out chunks of 2^k slots, aligned to their size, and rounds a reservation up to one; `FirstFit` gives
out exactly the slots asked for, from the first hole that is long enough. The PagedAttention paper's baselines
are the three reservations with a buddy allocator. A pool whose size is no power of two starts as several
chunks: 15,728 = 8192 + 4096 + 2048 + 1024 + 256 + 64 + 32 + 16. The last token emitted is never
cached; only the oracle knows which one that is. Ignores swapping: what is reserved never runs out.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, insort
from collections.abc import Sequence

from bytebill.errors import BytebillError, require
from bytebill.serving.memory.allocator import Allocator, CachedTokens, Usage
from bytebill.serving.request import Request


def power_of_two_at_least(n: int) -> int:
    """The smallest power of two that is at least n.

    >>> [power_of_two_at_least(n) for n in (1, 2, 25, 32, 33)]
    [1, 2, 32, 32, 64]
    """
    return 1 << (n - 1).bit_length()


class Buddy:
    """Chunks of 2^k slots: split in halves when needed, joined with the other half when both are free.

    `fits` says whether a chunk for so many slots is free (or would be, were the whole pool), `take` gives its first
    slot and its size, and `give` takes it back.

    >>> heap = Buddy(15728)
    >>> heap.take(1500)                     # the 2048 left of the pool's first 8192 + 4096
    (12288, 2048)
    >>> sum(heap.fits(2048) and bool(heap.take(2048)) for _ in range(10))
    6
    """

    def __init__(self, n_slots: int) -> None:
        self._holes: dict[int, list[int]] = {}  # size: starts, ascending
        start = 0
        for size in (1 << k for k in reversed(range(n_slots.bit_length()))):
            if n_slots & size:
                self._holes[size] = [start]
                start += size
        self._largest = max(self._holes)

    def fits(self, n_slots: int, *, when_empty: bool = False) -> bool:
        largest = self._largest if when_empty else max((s for s, at in self._holes.items() if at), default=0)
        return power_of_two_at_least(n_slots) <= largest

    def take(self, n_slots: int) -> tuple[int, int]:
        wanted = power_of_two_at_least(n_slots)
        size = min(size for size, starts in self._holes.items() if starts and size >= wanted)
        start = self._holes[size].pop(0)
        while size > wanted:
            size //= 2
            insort(self._holes.setdefault(size, []), start + size)
        return start, size

    def give(self, start: int, size: int) -> None:
        while (buddy := start ^ size) in (holes := self._holes.setdefault(size, [])):
            holes.remove(buddy)
            start, size = min(start, buddy), 2 * size
        insort(holes, start)


class FirstFit:
    """Chunks of exactly the slots asked for, from the first hole that is long enough.

    >>> heap = FirstFit(10)
    >>> heap.take(4), heap.take(4)
    ((0, 4), (4, 4))
    >>> heap.give(0, 4)
    >>> heap.fits(4), heap.fits(5)          # six slots are free, but not side by side
    (True, False)
    """

    def __init__(self, n_slots: int) -> None:
        self._n_slots = n_slots
        self._holes = [(0, n_slots)]  # (start, size), ascending

    def fits(self, n_slots: int, *, when_empty: bool = False) -> bool:
        largest = self._n_slots if when_empty else max((size for _, size in self._holes), default=0)
        return n_slots <= largest

    def take(self, n_slots: int) -> tuple[int, int]:
        index = next(index for index, (_, size) in enumerate(self._holes) if size >= n_slots)
        start, size = self._holes.pop(index)
        if size > n_slots:
            self._holes.insert(index, (start + n_slots, size - n_slots))
        return start, n_slots

    def give(self, start: int, size: int) -> None:
        index = bisect_left(self._holes, (start, size))
        if index < len(self._holes) and start + size == self._holes[index][0]:
            size += self._holes.pop(index)[1]
        if index and sum(self._holes[index - 1]) == start:
            index -= 1
            before, before_size = self._holes.pop(index)
            start, size = before, before_size + size
        self._holes.insert(index, (start, size))


class _Contiguous(Allocator):
    """One chunk a request. A subclass says how many slots it reserves; a slot is a block of one token."""

    block_size_tokens = 1

    def __init__(self, *, n_slots: int, max_len_tokens: int, heap: str = "buddy") -> None:
        sane = n_slots >= 1 and max_len_tokens >= 1
        require(sane, f"A pool needs slots and a model a longest sequence: {n_slots}, {max_len_tokens}.")
        require(heap in ("buddy", "first-fit"), f"A heap is 'buddy' or 'first-fit', not '{heap}'.")
        self.n_total = n_slots
        self.max_len_tokens = max_len_tokens
        self._heap = Buddy(n_slots) if heap == "buddy" else FirstFit(n_slots)
        self._chunks: dict[int, tuple[int, int, int]] = {}  # id: first slot, slots reserved, chunk size
        self._n_free = n_slots

    @abstractmethod
    def reserved(self, request: Request) -> int:
        """Slots reserved for a request that fits in `max_len_tokens`."""

    @property
    def n_free(self) -> int:
        return self._n_free

    def refusal(self, request: Request) -> str | None:
        if request.n_input_tokens + request.n_output_tokens > self.max_len_tokens:
            return (
                f"Request {request.id} is {request.n_input_tokens + request.n_output_tokens} tokens long; the longest "
                f"sequence allowed is {self.max_len_tokens}."
            )
        if not self._heap.fits(self.reserved(request), when_empty=True):
            return (
                f"Request {request.id} reserves {self.reserved(request)} slots side by side; a pool of "
                f"{self.n_total} never has a chunk that long."
            )
        return None

    def allocate(self, request: Request, n_tokens: int) -> int | None:
        n_slots = self.reserved(request)
        if request.id in self._chunks or n_tokens < 1:
            raise BytebillError(f"Request {request.id} already has room, or asks for {n_tokens} tokens of it.")
        if not self._heap.fits(n_slots):
            return None
        start, size = self._heap.take(n_slots)
        self._chunks[request.id] = (start, n_slots, size)
        self._n_free -= size
        return 0

    def extend(self, id: int) -> bool:
        """Never: the slots behind a chunk belong to another."""
        return False

    def capacity(self, id: int) -> int:
        return self._chunks[id][1]

    def start(self, id: int) -> int:
        """The sequence's first slot."""
        return self._chunks[id][0]

    def blocks(self, id: int) -> Sequence[int]:
        start, n_slots, _ = self._chunks[id]
        return range(start, start + n_slots)

    def free(self, id: int) -> None:
        start, _, size = self._chunks.pop(id)
        self._heap.give(start, size)
        self._n_free += size

    def usage(self, lengths: CachedTokens, *, waiting: Request | None = None) -> Usage:
        used = reservation = internal = rounding = 0
        for id, (_, n_slots, size) in self._chunks.items():
            n_cached, n_final = lengths[id]
            used += n_cached
            reservation += min(n_slots, n_final) - n_cached
            internal += n_slots - min(n_slots, n_final)
            rounding += size - n_slots
        full = waiting is not None and not self._heap.fits(self.reserved(waiting))
        counts = {"used": used, "reservation": reservation, "internal": internal, "rounding": rounding}
        return Usage(**counts, stranded=self._n_free * full, free=self._n_free * (not full))


class ContiguousMax(_Contiguous):
    """Reserve the longest sequence the model allows."""

    def reserved(self, request: Request) -> int:
        return self.max_len_tokens


class ContiguousPow2(_Contiguous):
    """Reserve the prompt and the output rounded up to a power of two, within the model's longest sequence.

    >>> pool = ContiguousPow2(n_slots=4096, max_len_tokens=2048)
    >>> pool.reserved(Request(id=0, n_input_tokens=100, n_output_tokens=25))
    132
    """

    def reserved(self, request: Request) -> int:
        n_slots = request.n_input_tokens + power_of_two_at_least(request.n_output_tokens)
        return min(n_slots, self.max_len_tokens)


class ContiguousOracle(_Contiguous):
    """Reserve exactly what will be cached, as only an oracle could."""

    def reserved(self, request: Request) -> int:
        return request.n_cached_tokens_at_end
