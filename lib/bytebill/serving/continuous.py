"""What if the batch may change at every step? Continuous batching, with preemption when blocks run out.

A step decodes one token for each running sequence and computes the prompts of those let in. A sequence leaves the
moment it emits its last token, and the next in line takes its place in the next step (Orca's iteration-level
scheduling). Room for the prompt is given at admission and one more block whenever the last is full; if none is
left, the youngest running sequence gives up its room, by

    recompute    its cache is dropped; it goes to the front of the queue and computes prompt and output again
    swap         its blocks move to the host and come back; where the host is full, it is recomputed

First come, first served: nobody is let in while someone older waits, so the eldest always runs and all finish.
`mixed` steps hold prompts and decodes together; without it, steps are one or the other and prompts go first, as in
vLLM's first scheduler. A share of the pool, the `watermark`, can be left free at admission, so that a sequence let in
is not the next one preempted: 0.01 in vLLM's first scheduler, nothing in its second. `ChunkedScheduler` (Sarathi) cuts
prompts to what a token budget leaves beside the decodes.
"""

import sys
from collections import deque
from dataclasses import dataclass, field

from bytebill.errors import BytebillError, require
from bytebill.serving.decoding import DecodingSet
from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.plan import NOTHING, Events, Plan, PrefillChunk, Swap
from bytebill.serving.request import ServedSequence, State
from bytebill.serving.scheduler import Scheduler


@dataclass(slots=True)
class _Draft:
    """A step in the making: what it holds so far, and the tokens that are left of its budget."""

    budget: int
    chunks: list[PrefillChunk] = field(default_factory=list)
    swaps: list[Swap] = field(default_factory=list)
    preempted: list[ServedSequence] = field(default_factory=list)


class ContinuousScheduler(Scheduler):
    """Lets sequences in and out at every step."""

    allocator: Allocator
    _in_parts = False  # whether a prompt may be cut

    def __init__(
        self,
        allocator: Allocator,
        *,
        max_batch_size: int = 256,
        token_budget: int | None = None,
        mixed: bool = True,
        preemption: str = "recompute",
        watermark: float = 0.0,
    ) -> None:
        """A prompt for which decodes leave too little of a step's `token_budget` runs as the only one of its step."""
        super().__init__(allocator, n_slots=max_batch_size)
        require(preemption in ("recompute", "swap"), f"Preemption is 'recompute' or 'swap', not '{preemption}'.")
        self.mixed, self.preemption = mixed, preemption
        self._budget = sys.maxsize if token_budget is None else token_budget
        require(self._budget >= 1, "A step computes at least one token.")
        fits = max_batch_size <= self._budget or not self._in_parts
        require(fits, f"A budget of {token_budget} tokens a step cannot hold {max_batch_size} decodes.")
        require(0 <= watermark < 1, f"A watermark is a share of the pool, from 0 to below 1, not {watermark}.")
        self._n_kept_free = int(watermark * allocator.n_total)
        self._swapped: deque[ServedSequence] = deque()
        self._prefilling: dict[int, ServedSequence] = {}
        self._decoding = DecodingSet(allocator)

    @property
    def n_waiting(self) -> int:
        return len(self._waiting) + len(self._swapped)

    @property
    def n_running(self) -> int:
        return len(self._decoding) + len(self._prefilling)

    def plan(self, now_s: float) -> Plan | None:
        """Room for everybody's next token, then prompts in what the budget leaves; not `mixed`: prompts, or tokens."""
        self._no_plan_is_open()
        draft = _Draft(self._budget)
        if not self.mixed:
            self._add_prompts(draft)
        if not draft.chunks:
            self._make_room(draft)
            if not draft.preempted:
                if self._swapped:
                    self._swap_in(draft)
                if self.mixed and (self._waiting or self._prefilling):
                    draft.budget -= len(self._decoding)
                    self._add_prompts(draft)
        n_decoding = len(self._decoding)
        if n_decoding or draft.chunks:
            self._plan = self._planned(draft, n_decoding)
        elif self.n_waiting:
            raise BytebillError("Nothing runs and the first in line finds no room: the pool leaks.")
        return self._plan

    def advance(self, n_steps: int = 1) -> Events:
        plan = self._close_plan(n_steps)
        done = self._decoding.advance(n_steps) if plan.n_decodes else []
        started = []
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if self._absorb(chunk):
                started.append(sequence)
            if sequence.n_emitted == sequence.request.n_output_tokens:
                done.append(sequence)
        if not done and not started:
            return NOTHING
        for sequence in done:
            sequence.state = State.FINISHED
            self.allocator.free(sequence.request.id)
        return Events(started=tuple(started), finished=tuple(done))

    def lengths(self) -> dict[int, tuple[int, int]]:
        known = [*self._decoding, *((s, s.n_cached) for s in self._prefilling.values())]
        return {s.request.id: (n, s.request.n_cached_tokens_at_end) for s, n in known}

    def _planned(self, draft: _Draft, n_decoding: int) -> Plan:
        decoding, prefilling = self._decoding, self._prefilling
        n_decodes = 0 if draft.chunks and not self.mixed else n_decoding
        once = draft.chunks or draft.swaps or draft.preempted
        return Plan(
            n_decodes=n_decodes,
            n_context_tokens=decoding.n_context_tokens if n_decodes else 0,
            chunks=tuple(draft.chunks),
            swaps=tuple(draft.swaps),
            n_swapped_blocks=sum(len(swap.device_blocks) for swap in draft.swaps) if draft.swaps else 0,
            preempted=tuple(draft.preempted),
            n_repeats=1 if once else decoding.n_equal_steps(),
            step=self._step,
            n_running=n_decoding + len(prefilling),
            n_cached_tokens=decoding.n_context_tokens
            + (sum(s.n_cached for s in prefilling.values()) if prefilling else 0),
            live_contexts=decoding if n_decodes else (),
        )

    def _add_prompts(self, draft: _Draft) -> None:
        """Chunks of prompts: of those already let in, then of the next in line."""
        for sequence in self._prefilling.values():
            self._add_chunk(draft, sequence)
        while self._waiting and not self._swapped and self.n_running < self.n_slots:
            head = self._waiting[0]
            if not self._granted(draft, head.n_known_tokens - head.n_given_tokens) or not self._admit(head):
                return
            self._add_chunk(draft, head)

    def _add_chunk(self, draft: _Draft, sequence: ServedSequence) -> None:
        n_missing = sequence.n_known_tokens - sequence.n_cached
        if n_new := self._granted(draft, n_missing):
            n_logits = int(n_new == n_missing)
            draft.budget -= n_new
            draft.chunks.append(
                PrefillChunk(sequence=sequence, context_len=sequence.n_cached, n_new_tokens=n_new, n_logits=n_logits)
            )

    def _granted(self, draft: _Draft, n_tokens: int) -> int:
        """How many of a prompt's tokens the step may compute: in parts what is left, else all or none.

        A step's first prompt is granted whole even where it is longer than the budget, or decodes fill that.
        """
        if self._in_parts:
            return max(0, min(n_tokens, draft.budget))
        return n_tokens if not draft.chunks or n_tokens <= draft.budget else 0

    def _admit(self, sequence: ServedSequence) -> bool:
        """Room for all that is known of a sequence, or nothing changes."""
        allocator, n_known = self.allocator, sequence.n_known_tokens
        n_kept = self._n_kept_free if self.n_running else 0
        has_prefix = bool(sequence.request.prefix)  # what it may find cached needs no room; only trying tells how much
        if not has_prefix and (allocator.n_free - n_kept) * allocator.block_size_tokens < n_known:
            return False
        n_found = allocator.allocate(sequence.request, n_known)
        if n_found is None:
            return False
        if has_prefix and allocator.n_free < n_kept:
            allocator.free(sequence.request.id)
            return False
        self._waiting.popleft()
        sequence.n_cached = min(
            max(n_found, sequence.n_given_tokens), n_known - 1
        )  # the last token is computed: it says what comes next
        sequence.state = State.PREFILLING
        self._prefilling[sequence.request.id] = sequence
        return True

    def _absorb(self, chunk: PrefillChunk) -> bool:
        """A chunk has been computed: whether its sequence has emitted its first token, which may be its last."""
        sequence = chunk.sequence
        sequence.n_cached += chunk.n_new_tokens
        self.allocator.computed(sequence.request.id, sequence.n_cached)
        if not chunk.n_logits:
            return False
        del self._prefilling[sequence.request.id]
        sequence.n_emitted += 1
        sequence.state = State.DECODING
        if sequence.n_emitted < sequence.request.n_output_tokens:
            self._decoding.join(sequence)
        return sequence.n_emitted == 1

    def _make_room(self, draft: _Draft) -> None:
        """Preempt the youngest until the next step's blocks are free, and give them out."""
        while len(due := self._decoding.due) > self.allocator.n_free:
            if self.n_running == 1:
                raise BytebillError("A sequence that runs alone finds no block: the pool leaks.")
            sequence = self._prefilling.popitem()[1] if self._prefilling else self._decoding.leave()
            id = sequence.request.id
            sequence.n_preemptions += 1
            draft.preempted.append(sequence)
            swaps = self.preemption == "swap" and sequence.state is State.DECODING
            if swaps and (moved := self.allocator.swap_out(id)) is not None:
                draft.swaps.append(Swap(sequence=sequence, device_blocks=moved[0], host_blocks=moved[1], out=True))
                sequence.state = State.SWAPPED
                self._swapped.appendleft(sequence)
            else:
                self.allocator.free(id)
                sequence.n_cached, sequence.state = 0, State.WAITING
                self._waiting.appendleft(sequence)
        if due:
            self.allocator.extend_each(due)

    def _swap_in(self, draft: _Draft) -> None:
        """Bring back who was swapped out, eldest first, while there is room for it and for one more block."""
        allocator = self.allocator
        while self._swapped and self.n_running < self.n_slots:
            sequence = self._swapped[0]
            n_needed = sequence.n_cached // allocator.block_size_tokens + 1  # and the block it writes to next
            n_kept = self._n_kept_free if self.n_running else 0
            if allocator.n_free - n_kept < n_needed or (moved := allocator.swap_in(sequence.request.id)) is None:
                return
            self._swapped.popleft()
            draft.swaps.append(Swap(sequence=sequence, device_blocks=moved[0], host_blocks=moved[1], out=False))
            sequence.state = State.DECODING
            self._decoding.join(sequence)
            self._decoding.give_block(sequence.request.id)


class ChunkedScheduler(ContinuousScheduler):
    """Decodes first, then as much of the prompts as a budget of tokens a step leaves."""

    _in_parts = True
