"""How much of a full pool holds tokens? Serve a queue that never empties, and look at every step.

    share of a kind = sum over steps of its slots / (steps * slots of the pool)

First come, first served: requests are placed until the first in line does not fit; a step gives each sequence one
token (a new one its whole prompt first); a sequence that gets no block takes it from the youngest, which returns
to the front of the line with what it has so far as its prompt. The first steps, while the pool fills, count too
unless `skip_steps` leaves them out. Ignores time: a step is a step, whatever it holds, so the shares are means
over steps. For time, serve with `bytebill.sim`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from bytebill.errors import BytebillError
from bytebill.serving.memory.allocator import Allocator, Usage
from bytebill.serving.request import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Waste:
    """Mean shares of a pool by kind, the mean number of sequences in it, and how many steps that was seen."""

    shares: dict[str, float]  # as the fields of Usage
    mean_batch_size: float
    n_steps: int
    n_preempted: int

    @property
    def external(self) -> float:
        """Chunk rounding and stranded slots together, as the paper shows them."""
        return self.shares["rounding"] + self.shares["stranded"]


@dataclass(slots=True)
class _Pool:
    """The line, and who is in the pool: id -> (request, tokens cached); ids in order of joining."""

    allocator: Allocator
    line: deque[Request]
    live: dict[int, tuple[Request, int]] = field(default_factory=dict)
    n_preempted: int = 0

    def step(self, requests: Iterator[Request]) -> Usage:
        """One token more for all, then whoever fits; where the slots are then."""
        for id, (request, n_cached) in tuple(self.live.items()):
            if n_cached == request.n_cached_tokens_at_end:
                self.allocator.free(id)
                del self.live[id]
        for id in tuple(self.live):
            if id in self.live:  # not preempted by one before it
                self._decode(id)
        while self._refill(requests) and self._place(self.line[0]):
            self.line.popleft()
        lengths = {id: (n_cached, r.n_cached_tokens_at_end) for id, (r, n_cached) in self.live.items()}
        return self.allocator.usage(lengths, waiting=self.line[0] if self.line else None)

    def _refill(self, requests: Iterator[Request]) -> bool:
        """Whether someone waits."""
        if not self.line:
            self.line.extend(islice(requests, 1))
        return bool(self.line)

    def _place(self, request: Request) -> bool:
        if (reason := self.allocator.refusal(request)) is not None:
            raise BytebillError(reason)
        if self.allocator.allocate(request, request.n_input_tokens) is None:
            return False
        self.allocator.computed(request.id, request.n_input_tokens)
        self.live[request.id] = (request, request.n_input_tokens)
        return True

    def _decode(self, id: int) -> None:
        request, n_cached = self.live[id]
        while n_cached == self.allocator.capacity(id) and not self.allocator.extend(id):
            youngest = next(reversed(self.live))
            self._preempt(youngest)
            if youngest == id:
                return
        self.live[id] = (request, n_cached + 1)

    def _preempt(self, id: int) -> None:
        request, n_cached = self.live.pop(id)
        self.allocator.free(id)
        n_emitted = n_cached + 1 - request.n_input_tokens  # the last of them is known, not cached
        more = dataclasses.replace(
            request,
            n_input_tokens=request.n_input_tokens + n_emitted,
            n_output_tokens=request.n_output_tokens - n_emitted,
        )
        self.line.appendleft(more)
        self.n_preempted += 1


def mean_usage(allocator: Allocator, requests: Iterable[Request], *, n_steps: int, skip_steps: int = 0) -> Waste:
    """Serve until `n_steps` have been seen or the requests run out; mean shares of what was seen.

    >>> from bytebill.serving.memory.paged import Paged
    >>> queue = (Request(id=i, n_input_tokens=6, n_output_tokens=1) for i in range(100))
    >>> mean_usage(Paged(n_blocks=4, block_size_tokens=4), queue, n_steps=9).shares["used"]   # 2 * 6 of 16
    0.75
    """
    pool, source = _Pool(allocator, deque()), iter(requests)
    sums = dict.fromkeys((f.name for f in dataclasses.fields(Usage)), 0)
    n_seen = n_live = 0
    for step in range(skip_steps + n_steps):
        usage = pool.step(source)
        if not pool.line:
            break  # nobody waits: the pool is no longer full
        if step < skip_steps:
            continue
        n_seen += 1
        n_live += len(pool.live)
        for kind in sums:
            sums[kind] += getattr(usage, kind)
    if n_seen == 0:
        raise BytebillError("The queue was empty before a full pool was seen: give more requests.")
    n_slots = n_seen * usage.total
    return Waste(
        shares={kind: count / n_slots for kind, count in sums.items()},
        mean_batch_size=n_live / n_seen,
        n_steps=n_seen,
        n_preempted=pool.n_preempted,
    )
