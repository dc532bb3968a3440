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

from abc import abstractmethod
from bisect import insort

from bytebill.errors import require
from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.request import Request


def power_of_two_at_least(n: int) -> int:
    """The smallest power of two that is at least n.

    >>> [power_of_two_at_least(n) for n in (1, 2, 25, 32, 33)]
    [1, 2, 32, 32, 64]
    """
    return 1 << (n - 1).bit_length()


class FirstFit:
    """Chunks of exactly the slots asked for, from the first hole that is long enough.

    `fits` says whether a chunk for so many slots is free, `take` gives its first slot and its size, and `give` takes it
    back.

    >>> heap = FirstFit(10)
    >>> heap.take(4), heap.take(4)
    ((0, 4), (4, 4))
    >>> heap.give(0, 4)
    >>> heap.fits(4), heap.fits(5)          # six slots are free, but not side by side
    (True, False)
    """

    def __init__(self, n_slots: int) -> None:
        self._holes = [(0, n_slots)]  # (start, size), ascending

    def rounded(self, n_slots: int) -> int:
        """Slots that are lost to others where so many are asked for."""
        return n_slots

    def fits(self, n_slots: int) -> bool:
        return self.rounded(n_slots) <= max((size for _, size in self._holes), default=0)

    def take(self, n_slots: int) -> tuple[int, int]:
        start, size = hole = next(hole for hole in self._holes if hole[1] >= n_slots)
        self._holes.remove(hole)
        if size > n_slots:
            insort(self._holes, (start + n_slots, size - n_slots))
        return start, n_slots

    def give(self, start: int, size: int) -> None:
        joined = [(start, size), *(hole for hole in self._holes if sum(hole) == start or hole[0] == start + size)]
        self._holes = [hole for hole in self._holes if hole not in joined]
        insort(self._holes, (min(joined)[0], sum(n for _, n in joined)))


class Buddy(FirstFit):
    """Chunks of 2^k slots: split in halves when needed, joined with the other half when both are free.

    >>> heap = Buddy(15728)
    >>> heap.take(1500)                     # the 2048 left of the pool's first 8192 + 4096
    (12288, 2048)
    >>> sum(heap.fits(2048) and bool(heap.take(2048)) for _ in range(10))
    6
    """

    def __init__(self, n_slots: int) -> None:
        sizes = (1 << k for k in reversed(range(n_slots.bit_length())) if n_slots >> k & 1)
        self._holes = [(n_slots // (2 * size) * 2 * size, size) for size in sizes]

    def rounded(self, n_slots: int) -> int:
        return power_of_two_at_least(n_slots)

    def take(self, n_slots: int) -> tuple[int, int]:
        wanted = self.rounded(n_slots)
        size, start = min((size, start) for start, size in self._holes if size >= wanted)
        self._holes.remove((start, size))
        while size > wanted:
            size //= 2
            insort(self._holes, (start + size, size))
        return start, size

    def give(self, start: int, size: int) -> None:
        while (buddy := (start ^ size, size)) in self._holes:
            self._holes.remove(buddy)
            start, size = min(start, buddy[0]), 2 * size
        insort(self._holes, (start, size))


class _Contiguous(Allocator):
    """One chunk a request. A subclass says how many slots it reserves; a slot is a block of one token."""

    def __init__(self, *, n_slots: int, max_len_tokens: int, heap: str = "buddy") -> None:
        require(
            n_slots >= 1 and max_len_tokens >= 1,
            f"A pool needs slots and a model a longest sequence: {n_slots}, {max_len_tokens}.",
        )
        require(heap in ("buddy", "first-fit"), f"A heap is 'buddy' or 'first-fit', not '{heap}'.")
        super().__init__(n_blocks=n_slots, block_size_tokens=1)
        self.max_len_tokens = max_len_tokens
        kind = Buddy if heap == "buddy" else FirstFit
        self._heap, self._empty = kind(n_slots), kind(n_slots)
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
        return (
            None
            if self._empty.fits(self.reserved(request))
            else (
                f"Request {request.id} reserves {self.reserved(request)} slots side by side; a pool of "
                f"{self.n_total} never has a chunk that long."
            )
        )

    def _found(self, request: Request, n_tokens: int) -> list[int] | None:
        return [] if self._heap.fits(self.reserved(request)) else None

    def _placed(self, request: Request, n_tokens: int, found: list[int]) -> range:
        start, size = self._heap.take(self.reserved(request))
        self._n_free -= size
        return range(start, start + self.reserved(request))

    def _give(self, table: range) -> None:
        size = self._heap.rounded(len(table))
        self._heap.give(table.start, size)
        self._n_free += size


class ContiguousMax(_Contiguous):
    """Reserve the longest sequence the model allows."""

    def __init__(self, *, n_slots: int, max_len_tokens: int, heap: str = "buddy") -> None:
        super().__init__(n_slots=n_slots, max_len_tokens=max_len_tokens, heap=heap)
        require(
            self._empty.fits(max_len_tokens),
            f"A pool of {n_slots} slots never has {max_len_tokens} side by side, which every request reserves.",
        )

    def reserved(self, request: Request) -> int:
        return self.max_len_tokens


class ContiguousPow2(_Contiguous):
    """Reserve the prompt and the output rounded up to a power of two, within the model's longest sequence.

    >>> pool = ContiguousPow2(n_slots=4096, max_len_tokens=2048)
    >>> pool.reserved(Request(id=0, n_input_tokens=100, n_output_tokens=25))
    132
    """

    def reserved(self, request: Request) -> int:
        return min(request.n_input_tokens + power_of_two_at_least(request.n_output_tokens), self.max_len_tokens)


class ContiguousOracle(_Contiguous):
    """Reserve exactly what will be cached, as only an oracle could."""

    def reserved(self, request: Request) -> int:
        return request.n_cached_tokens_at_end
