"""How much of a full pool holds tokens? Serve a queue that never empties, and look at every step.

    share of a kind = sum over steps of its slots / (steps * slots of the pool)

Served by a `ContinuousScheduler` that keeps nothing free and preempts by recomputing. The first steps, while the pool
fills, count too unless `skip_steps` leaves them out. Somebody waits at every step that counts and has just found no
room, so all free slots are stranded. Prompts that enter in one step share no blocks yet. Ignores time: a step is a
step, whatever it holds, so the shares are means over steps. For time, serve with `bytebill.sim`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import chain, islice

from bytebill.errors import require
from bytebill.serving.continuous import ContinuousScheduler
from bytebill.serving.memory.allocator import Allocator, Usage
from bytebill.serving.request import Request

_LONGEST_LINE = 4096  # of requests drawn ahead: more than a step lets in, unless a large pool is empty


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


def mean_usage(allocator: Allocator, requests: Iterable[Request], *, n_steps: int, skip_steps: int = 0) -> Waste:
    """Serve until `n_steps` have been seen or the requests run out; mean shares of what was seen.

    >>> from bytebill.serving.memory.paged import Paged
    >>> queue = (Request(id=i, n_input_tokens=6, n_output_tokens=1) for i in range(100))
    >>> mean_usage(Paged(n_blocks=4, block_size_tokens=4), queue, n_steps=9).shares["used"]   # 2 * 6 of 16
    0.75
    """
    scheduler = ContinuousScheduler(allocator, max_batch_size=allocator.n_total, watermark=0)
    source, line_len = iter(requests), min(allocator.n_total + 1, _LONGEST_LINE)
    usages: list[Usage] = []
    n_live = n_preempted = 0
    for step in range(skip_steps + n_steps):
        for request in islice(source, max(0, line_len - scheduler.n_waiting)):
            sequence = scheduler.add(request)
            require(sequence.reason is None, f"{sequence.reason}")
        more_may_come = scheduler.n_waiting >= line_len
        plan = scheduler.plan(0.0)
        if plan is None or not (scheduler.n_waiting or more_may_come):
            break  # nobody waits: the pool is no longer full
        n_preempted += len(plan.preempted)
        if step >= skip_steps and scheduler.n_waiting:
            decoding = ((s.request, n + 1) for s, n in plan.live_contexts)
            started = ((c.sequence.request, c.context_len + c.n_new_tokens) for c in plan.chunks)
            lengths = {r.id: (n, r.n_cached_tokens_at_end) for r, n in chain(decoding, started)}
            usages.append(allocator.usage(lengths))
            n_live += plan.n_running
        scheduler.advance()
    n_seen = len(usages)
    require(n_seen > 0, "The queue was empty before a full pool was seen: give more requests.")
    n_slots = allocator.n_total * allocator.block_size_tokens * n_seen
    shares = {kind.name: sum(getattr(usage, kind.name) for usage in usages) / n_slots for kind in fields(Usage)}
    return Waste(
        shares=shares | {"stranded": shares["free"], "free": 0.0},
        mean_batch_size=n_live / n_seen,
        n_steps=n_seen,
        n_preempted=n_preempted,
    )
