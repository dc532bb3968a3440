"""How does a run of decode steps cost no more than the blocks it hands out, however many sequences decode?

Every decoding sequence gains one cached token a tick, so what is kept is not a length each but, at its joining,

    offset      = n_cached - tick                  its context at any later tick is offset + tick
    finish tick = tick + tokens still owed         in a heap
    due         = (tick + free slots of its last block) mod block size       in a ring of as many buckets

At a tick the sequences of one bucket need a block, and nobody else does. n ticks touch n buckets and the finish heap's
top: O(blocks handed out + n) and never O(sequences). Sequences are kept in order of joining, so that the youngest is
at hand. Nothing here knows requests that wait.
"""

from collections.abc import Collection, Iterator
from heapq import heappop, heappush

from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.request import ServedSequence


class DecodingSet:
    """Sequences that decode together; iterating gives each with its cached tokens, eldest first."""

    def __init__(self, allocator: Allocator) -> None:
        self.tick = 0
        self.n_context_tokens = 0
        self._allocator = allocator
        # id: sequence, offset, serial, bucket or None
        self._members: dict[int, tuple[ServedSequence, int, int, dict[int, None] | None]] = {}
        self._ring: list[dict[int, None]] = [{} for _ in range(allocator.block_size_tokens)]
        self._n_growing = 0  # sequences that will need another block
        self._finishes: list[tuple[int, int, int]] = []  # tick, serial, id
        self._gone: set[int] = set()  # serials of those that left before their tick
        self._serial = 0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[tuple[ServedSequence, int]]:
        for sequence, offset, _, _ in self._members.values():
            yield sequence, offset + self.tick

    def join(self, sequence: ServedSequence) -> None:
        """A sequence with all it knows but its last token cached, and tokens owed, decodes from the next step on."""
        id, tick = sequence.request.id, self.tick
        n_owed = sequence.request.n_output_tokens - sequence.n_emitted
        n_slots = self._allocator.capacity(id) - sequence.n_cached
        bucket = None
        if n_slots < n_owed:
            bucket = self._ring[(tick + n_slots) % len(self._ring)]
            bucket[id] = None
            self._n_growing += 1
        self._serial += 1
        self._members[id] = (sequence, sequence.n_cached - tick, self._serial, bucket)
        self.n_context_tokens += sequence.n_cached
        heappush(self._finishes, (tick + n_owed, self._serial, id))

    def leave(self) -> ServedSequence:
        """Take the youngest out before it is done."""
        id = next(reversed(self._members))
        self._gone.add(self._members[id][2])
        return self._out(id)

    def _out(self, id: int) -> ServedSequence:
        """A sequence decodes no longer; its counts are brought up to date."""
        sequence, offset, _, bucket = self._members.pop(id)
        if bucket is not None:
            del bucket[id]
            self._n_growing -= 1
        n_cached = offset + self.tick
        sequence.n_emitted += n_cached - sequence.n_cached
        sequence.n_cached = n_cached
        self.n_context_tokens -= n_cached
        return sequence

    @property
    def due(self) -> Collection[int]:
        """Who writes to a new block in the next step; nobody has given it out yet."""
        return self._ring[self.tick % len(self._ring)]

    def give_block(self, id: int) -> None:
        """Hand out the block that a sequence just joined writes to next, if its last one is full."""
        if id in self.due and not self._allocator.extend(id):
            raise RuntimeError(f"no block for sequence {id}, which came back to a full pool")

    def n_equal_steps(self) -> int:
        """Steps from now on, the blocks of the first given out, before one finishes or blocks run out."""
        n_steps = self._next_finish() - self.tick
        if n_steps == 1 or not self._n_growing:
            return n_steps
        ring, size = self._ring, len(self._ring)
        n_free, n_given = self._allocator.n_free, 1
        if n_free >= self._n_growing * -(-(n_steps - 1) // size):  # enough however their last blocks are filled
            return n_steps
        if n_steps > size:
            n_rounds = min((n_steps - 1) // size, n_free // self._n_growing)
            n_given += n_rounds * size
            n_free -= n_rounds * self._n_growing
        while n_given < n_steps:
            n_free -= len(ring[(self.tick + n_given) % size])
            if n_free < 0:
                break
            n_given += 1
        return n_given

    def advance(self, n_steps: int) -> list[ServedSequence]:
        """So many steps have run, the first with its blocks given out: who has emitted its last token."""
        if n_steps > 1 and self._n_growing:
            ring, size = self._ring, len(self._ring)
            if ids := [id for tick in range(self.tick + 1, self.tick + n_steps) for id in ring[tick % size]]:
                self._allocator.extend_each(ids)
        self.tick += n_steps
        self.n_context_tokens += n_steps * len(self._members)
        next_tick = self._next_finish()
        if self.tick < next_tick:
            return []
        if self.tick > next_tick:
            raise RuntimeError("a plan was repeated past the end of a sequence")
        finished = []
        while next_tick == self.tick:
            finished.append(self._out(heappop(self._finishes)[2]))
            next_tick = self._next_finish() if self._members else -1
        return finished

    def _next_finish(self) -> int:
        """The first tick at which somebody is done; there must be somebody."""
        finishes, gone = self._finishes, self._gone
        while finishes[0][1] in gone:
            gone.remove(heappop(finishes)[1])
        return finishes[0][0]
