"""What if the batch may change at every step? Continuous batching, with preemption when blocks run out.

A step decodes one token for each running sequence and computes the prompts of those let in. A sequence leaves the
moment it emits its last token, and the next in line takes its place in the next step (Orca's iteration-level
scheduling). Room for the prompt is given at admission and one more block whenever the last is full; if none is
left, the youngest running sequence gives up its room, by

    recompute    its cache is dropped; it goes to the front of the queue and computes prompt and output again
    swap         its blocks move to the host and come back; where the host is full, it is recomputed

First come, first served: nobody is let in while someone older waits, so the eldest always runs and all finish.
`mixed` steps hold prompts and decodes together; without it, steps are one or the other and prompts go first, as in
vLLM's first scheduler. A share of the pool, the `watermark`, is left free at admission, so that a sequence let in is
not the next one preempted. `ChunkedScheduler` (Sarathi) cuts prompts to what a token budget leaves beside the decodes.
"""

from __future__ import annotations

from collections import deque

from bytebill.errors import BytebillError, require
from bytebill.serving.decoding import DecodingSet
from bytebill.serving.memory.paged import Allocator, Paged
from bytebill.serving.plan import NOTHING, Outcome, Plan, PrefillChunk, Swap
from bytebill.serving.request import Request, Sequence, State
from bytebill.serving.scheduler import NEVER_S, kv_tokens, refused

WATERMARK = 0.01  # of a paged pool; what is reserved whole needs none


class ContinuousScheduler:
    """Lets sequences in and out at every step."""

    wakes_at_s = NEVER_S

    def __init__(
        self,
        allocator: Allocator,
        *,
        max_batch_size: int = 256,
        max_tokens_per_step: int | None = None,
        mixed: bool = True,
        preemption: str = "recompute",
        watermark: float | None = None,
    ) -> None:
        """A prompt longer than `max_tokens_per_step` runs as the only prompt of its step."""
        require(max_batch_size >= 1, f"A batch has at least one sequence, not {max_batch_size}.")
        require(preemption in ("recompute", "swap"), f"Preemption is 'recompute' or 'swap', not '{preemption}'.")
        require(max_tokens_per_step is None or max_tokens_per_step >= 1, "A step computes at least one token.")
        self.allocator = allocator
        self.n_slots = max_batch_size
        self.max_tokens_per_step = max_tokens_per_step
        self.mixed, self.preemption = mixed, preemption
        grows = isinstance(allocator, Paged)
        share = watermark if watermark is not None else WATERMARK if grows else 0.0
        self._n_kept_free = int(share * allocator.n_total)
        self._waiting: deque[Sequence] = deque()
        self._swapped: deque[Sequence] = deque()
        self._prefilling: dict[int, Sequence] = {}
        self._decoding = DecodingSet(allocator)
        self._plan: Plan | None = None
        self._step = 0

    @property
    def n_kv_tokens(self) -> int | None:
        return kv_tokens(self.allocator)

    @property
    def n_waiting(self) -> int:
        return len(self._waiting) + len(self._swapped)

    @property
    def n_running(self) -> int:
        return len(self._decoding) + len(self._prefilling)

    def add(self, request: Request) -> Sequence:
        sequence = refused(request, self.allocator)
        if sequence.state is State.WAITING:
            self._waiting.append(sequence)
        return sequence

    def plan(self, now_s: float) -> Plan | None:
        require(self._plan is None, "The last plan has not been advanced.")
        preempted: list[Sequence] = []
        swaps: list[Swap] = []
        prefills = [] if self.mixed else self._prefills(0)
        if not prefills:
            self._make_room(preempted, swaps)
            self._decoding.give_blocks()
            if not preempted:
                self._swap_in(swaps)
            if self.mixed and not preempted:
                prefills = self._prefills(len(self._decoding))
        n_decodes = 0 if prefills and not self.mixed else len(self._decoding)
        if not n_decodes and not prefills:
            if self.n_waiting:
                raise BytebillError("Nothing runs and the first in line finds no room: the pool leaks.")
            return None
        self._plan = self._planned(n_decodes, tuple(prefills), tuple(swaps), tuple(preempted))
        return self._plan

    def advance(self, n_steps: int = 1) -> Outcome:
        plan = self._plan
        if plan is None or not 1 <= n_steps <= plan.n_repeats:
            raise BytebillError(f"There is no plan to advance by {n_steps} steps.")
        self._plan = None
        self._step += n_steps
        done = self._decoding.advance(n_steps) if plan.n_decodes else []
        started: list[Sequence] = []
        for chunk in plan.chunks:
            self._computed(chunk, started, done)
        if not done and not started:
            return NOTHING
        for sequence in done:
            sequence.state = State.FINISHED
            self.allocator.free(sequence.request.id)
        return Outcome(started=tuple(started), finished=tuple(done))

    def lengths(self) -> dict[int, tuple[int, int]]:
        known = {s.request.id: (n, s.request.n_cached_tokens_at_end) for s, n in self._decoding}
        return known | {id: (s.n_cached, s.request.n_cached_tokens_at_end) for id, s in self._prefilling.items()}

    def _planned(
        self,
        n_decodes: int,
        prefills: tuple[PrefillChunk, ...],
        swaps: tuple[Swap, ...],
        preempted: tuple[Sequence, ...],
    ) -> Plan:
        decoding = self._decoding
        n_context = decoding.n_context_tokens
        n_prefilled = sum(s.n_cached for s in self._prefilling.values()) if self._prefilling else 0
        return Plan(
            n_decodes=n_decodes,
            n_context_tokens=n_context if n_decodes else 0,
            chunks=prefills,
            swaps=swaps,
            n_swapped_blocks=sum(len(swap.device_blocks) for swap in swaps),
            preempted=preempted,
            n_repeats=1 if prefills or swaps or preempted else decoding.n_equal_steps(),
            step=self._step,
            n_running=len(decoding) + len(self._prefilling),
            n_cached_tokens=n_context + n_prefilled,
            decodes=decoding if n_decodes else (),
        )

    def _prefills(self, n_decodes: int) -> list[PrefillChunk]:
        """Chunks of prompts for the next step: of those already let in, then of the next in line."""
        limit = self.max_tokens_per_step
        chunks: list[PrefillChunk] = []
        left = None if limit is None else limit - n_decodes
        for sequence in self._prefilling.values():
            left = self._chunk(sequence, left, chunks)
        while self._waiting and not self._swapped and self.n_running < self.n_slots:
            head = self._waiting[0]
            if not self._share(head.n_known_tokens, left, first=not chunks) or not self._let_in(head):
                break
            left = self._chunk(head, left, chunks)
        return chunks

    def _share(self, n_tokens: int, left: int | None, *, first: bool) -> int:
        """How much of so many tokens the step may compute: all or nothing."""
        return n_tokens if left is None or first or n_tokens <= left else 0

    def _chunk(self, sequence: Sequence, left: int | None, chunks: list[PrefillChunk]) -> int | None:
        n_missing = sequence.n_known_tokens - sequence.n_cached
        n_new = self._share(n_missing, left, first=not chunks)
        if n_new:
            emits = n_new == n_missing
            chunks.append(
                PrefillChunk(sequence=sequence, context_len=sequence.n_cached, n_new_tokens=n_new, n_logits=int(emits))
            )
        return None if left is None else left - n_new

    def _let_in(self, sequence: Sequence) -> bool:
        """Room for all that is known of a sequence, or nothing changes."""
        allocator, n_known = self.allocator, sequence.n_known_tokens
        n_kept = self._n_kept_free if self.n_running else 0
        shares = sequence.request.prefix  # what it may find cached needs no room; only trying tells how much
        if not shares and (allocator.n_free - n_kept) * allocator.block_size_tokens < n_known:
            return False
        n_found = allocator.allocate(sequence.request, n_known)
        if n_found is None:
            return False
        if shares and allocator.n_free < n_kept:
            allocator.free(sequence.request.id)
            return False
        self._waiting.popleft()
        sequence.n_cached = min(n_found, n_known - 1)  # the last token is computed: it says what comes next
        sequence.state = State.PREFILLING
        self._prefilling[sequence.request.id] = sequence
        return True

    def _computed(self, chunk: PrefillChunk, started: list[Sequence], done: list[Sequence]) -> None:
        sequence = chunk.sequence
        sequence.n_cached += chunk.n_new_tokens
        self.allocator.computed(sequence.request.id, sequence.n_cached)
        if not chunk.emits:
            return
        del self._prefilling[sequence.request.id]
        sequence.n_emitted += 1
        if sequence.n_emitted == 1:
            started.append(sequence)
        if sequence.n_emitted == sequence.request.n_output_tokens:
            done.append(sequence)
        else:
            sequence.state = State.DECODING
            self._decoding.join(sequence)

    def _make_room(self, preempted: list[Sequence], swaps: list[Swap]) -> None:
        """Preempt the youngest until the next step's blocks are free."""
        while self._decoding.n_blocks_due > self.allocator.n_free:
            if self.n_running == 1:
                raise BytebillError("A sequence that runs alone finds no block: the pool leaks.")
            preempted.append(self._preempt(swaps))

    def _preempt(self, swaps: list[Swap]) -> Sequence:
        if self._prefilling:
            sequence = self._prefilling.popitem()[1]
        else:
            sequence = self._decoding.leave(self._decoding.youngest.request.id)
        sequence.n_preemptions += 1
        id = sequence.request.id
        decoding = sequence.state is State.DECODING
        moved = self.allocator.swap_out(id) if decoding and self.preemption == "swap" else None
        if moved is not None:
            swaps.append(Swap(sequence=sequence, device_blocks=moved[0], host_blocks=moved[1], out=True))
            sequence.state = State.SWAPPED
            self._swapped.appendleft(sequence)
        else:
            self.allocator.free(id)
            sequence.n_cached = 0
            sequence.state = State.WAITING
            self._waiting.appendleft(sequence)
        return sequence

    def _swap_in(self, swaps: list[Swap]) -> None:
        """Bring back who was swapped out, eldest first, while there is room for it and for one more block."""
        allocator = self.allocator
        while self._swapped and self.n_running < self.n_slots:
            sequence = self._swapped[0]
            n_kept = self._n_kept_free if self.n_running else 0
            n_needed = sequence.n_cached // allocator.block_size_tokens + 1  # and the block it writes to next
            if allocator.n_free - n_kept < n_needed:
                return
            moved = allocator.swap_in(sequence.request.id)
            if moved is None:
                return
            self._swapped.popleft()
            swaps.append(Swap(sequence=sequence, device_blocks=moved[0], host_blocks=moved[1], out=False))
            sequence.state = State.DECODING
            self._decoding.join(sequence)
            self._decoding.give_block(sequence.request.id)


class ChunkedScheduler(ContinuousScheduler):
    """Decodes first, then as much of the prompts as a budget of tokens a step leaves."""

    def __init__(
        self,
        allocator: Allocator,
        *,
        token_budget: int,
        max_batch_size: int = 128,
        preemption: str = "recompute",
        watermark: float | None = None,
    ) -> None:
        require(
            max_batch_size <= token_budget,
            f"A budget of {token_budget} tokens a step cannot hold {max_batch_size} decodes.",
        )
        super().__init__(
            allocator,
            max_batch_size=max_batch_size,
            max_tokens_per_step=token_budget,
            preemption=preemption,
            watermark=watermark,
        )

    def _share(self, n_tokens: int, left: int | None, *, first: bool) -> int:
        return n_tokens if left is None else max(0, min(n_tokens, left))
