"""How does an engine do what a scheduler decided? One plan, one pass over the weights.

    rows of a pass = one token of each decoding sequence + n_new_tokens of each prefill chunk

All rows go through the linears together, each sequence attends to its own blocks, and only rows whose logits are
wanted meet the head: every decode, and the last token of a chunk that emits. The next token is the likeliest
(greedy), so texts do not depend on who else was in the batch. Where blocks of one size are given out
(`allocator`), its tables say where tokens go; where a reservation is no list of such blocks, or nobody counts
memory, the runner places tokens in blocks of its own, since what a step costs does not depend on where they lie.

Padding is computed for real: a padded prompt's tail lies behind its tokens (the plan counts it in front, which
costs the same), decodes read as many slots as the plan's context says, and a finished row of a static batch
computes its last token again. On a GPU a step of decodes alone is one CUDA graph (`graphs.GraphedRows`); a step with a
prompt in it is launched kernel by kernel. Ignores sampling and stop tokens: a request gets the tokens it asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from bytebill.engine.cache.paged import PagedCache, PlacedTokens
from bytebill.engine.graphs import GraphedRows, can_record
from bytebill.engine.transformer import Transformer
from bytebill.errors import BytebillError, require
from bytebill.serving import Allocator, Plan, PrefillChunk, Request, Scheduler
from bytebill.units import BLOCK_SIZE_TOKENS

_MOST_RECORDED = 128  # sequences of a step that is recorded: a graph for each number of them is held in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One sequence's share of a pass."""

    id: int
    span: PlacedTokens
    tokens: list[int]
    end: int | None  # which of them wants logits
    emits: bool


def _nobodys(n_tokens: int, *, start: int = 0) -> _Part:
    """A prompt, or for one token a decode, in the pool's first blocks."""
    blocks = range(start + n_tokens)  # as many as there may be need of
    span = PlacedTokens(blocks=blocks, start=start, n_new=n_tokens)
    return _Part(id=-1, span=span, tokens=[0] * n_tokens, end=n_tokens - 1, emits=False)


class Runner:
    """Executes plans with a model, and knows every request's tokens."""

    def __init__(
        self,
        model: Transformer,
        *,
        n_blocks: int,
        block_size_tokens: int = BLOCK_SIZE_TOKENS,
        n_host_blocks: int = 0,
        allocator: Allocator | None = None,
    ) -> None:
        """`allocator` is the one whose block numbers the plans use; None: the runner gives out its blocks."""
        self.model, self._allocator = model, allocator
        self.cache = PagedCache(
            model.spec,
            n_blocks=n_blocks,
            block_size_tokens=block_size_tokens,
            n_host_blocks=n_host_blocks,
            dtype=model.activation_dtype,
            device=model.device,
        )
        by_graph = can_record(model) and self.cache.decodes_by_table
        self._graphed = GraphedRows(model, self.cache) if by_graph else None
        self._free = list(range(n_blocks - 1, -1, -1))
        self._tables: dict[int, list[int]] = {}  # of the runner's own blocks
        self._requests: dict[int, Request] = {}
        self._tokens: dict[int, list[int]] = {}  # prompt, then emitted
        self._met: set[int] = set()  # lengths of prompts whose kernels were loaded

    @classmethod
    def of(cls, model: Transformer, scheduler: Scheduler, *, max_len: int | None = None) -> Runner:
        """A runner with the memory that a scheduler counts on; without an allocator, `max_len` for each slot."""
        allocator = scheduler.allocator
        if allocator is not None and allocator.gives_tables:
            return cls(
                model,
                n_blocks=allocator.n_total,
                block_size_tokens=allocator.block_size_tokens,
                n_host_blocks=allocator.n_host_free,
                allocator=allocator,
            )
        if allocator is not None:  # blocks of one slot: as many of ours, and the last of each sequence half full
            return cls(model, n_blocks=-(-allocator.n_total // BLOCK_SIZE_TOKENS) + scheduler.n_slots)
        if max_len is None:
            raise BytebillError("A scheduler that counts no memory needs `max_len` tokens for each of its slots.")
        return cls(model, n_blocks=scheduler.n_slots * -(-max_len // BLOCK_SIZE_TOKENS))

    def add(self, request: Request, prompt: Sequence[int]) -> None:
        """Hold the prompt of a request that a plan may name."""
        require(
            len(prompt) == request.n_input_tokens,
            f"Request {request.id} says {request.n_input_tokens} tokens and its prompt has {len(prompt)}.",
        )
        self.model.require_context(request.n_cached_tokens_at_end)
        self._requests[request.id], self._tokens[request.id] = request, list(prompt)

    def output(self, id: int) -> list[int]:
        """The tokens that a request has been given so far."""
        return self._tokens[id][self._requests[id].n_input_tokens :]

    @torch.inference_mode()
    def warm_up(self, *, n_rows: int = 16) -> None:
        """Compile, pack and record what passes of up to so many rows need, before anything is served and timed."""
        for n in range(1, n_rows + 1):
            self._chosen([_nobodys(1)] * n)
        self.meet_prompts(())

    @torch.inference_mode()
    def meet_prompts(self, lengths: Iterable[int]) -> None:
        """On a GPU, pass once through prompts of these lengths and of every power of two, alone and beside a decode:
        the first pass of a shape loads and chooses kernels, for up to half a second. Only before anything is served,
        since the tokens go to blocks that belong to nobody yet."""
        if self.model.device.type != "cuda" or self._requests:
            return
        powers = (2**i for i in range(1, self.cache.max_len.bit_length()))
        for n in sorted({n for n in (*powers, *lengths) if 1 < n <= self.cache.max_len} - self._met):
            self._chosen([_nobodys(n)])
            self._chosen([_nobodys(1), _nobodys(n)])
            if n + self.cache.block_size_tokens <= self.cache.max_len:
                self._chosen([_nobodys(n, start=self.cache.block_size_tokens)])
            self._met.add(n)

    @torch.inference_mode()
    def execute(self, plan: Plan) -> dict[int, int]:
        """Run the plan's first repeat: the token that each emitting request gets, by its id."""
        for swap in plan.swaps:
            self.cache.swap(device_blocks=swap.device_blocks, host_blocks=swap.host_blocks, out=swap.out)
        self._release(plan)
        parts = [self._decode(sequence.request.id, n) for sequence, n in plan.live_contexts]
        parts += [self._prefill(chunk) for chunk in plan.chunks]
        if len(plan.chunks) and min(chunk.n_new_tokens for chunk in plan.chunks) == 1:
            parts.sort(key=lambda part: part.span.n_new > 1)
        ending = [part for part in parts if part.end is not None]
        emitted = {part.id: token for part, token in zip(ending, self._chosen(parts), strict=True) if part.emits}
        for id, token in emitted.items():
            self._tokens[id].append(token)
        return emitted

    def _chosen(self, parts: list[_Part]) -> list[int]:
        """The likeliest next token of each part that wants logits."""
        if (
            self._graphed
            and len(parts) <= _MOST_RECORDED
            and all(part.end == 0 == len(part.tokens) - 1 for part in parts)
        ):
            return self._graphed([part.tokens[0] for part in parts], [part.span for part in parts])
        starts = accumulate((len(part.tokens) for part in parts), initial=0)
        ends = [start + part.end for start, part in zip(starts, parts, strict=False) if part.end is not None]
        device = self.model.device
        tokens = torch.tensor([token for part in parts for token in part.tokens], device=device)
        rows = None if len(ends) == len(tokens) else torch.tensor(ends, dtype=torch.long, device=device)
        placement = self.cache.place([part.span for part in parts])
        return self.model.run_rows(tokens, self.cache, placement, ends=rows).argmax(-1).tolist()

    def _decode(self, id: int, context_len: int) -> _Part:
        tokens = self._tokens[id]
        place = min(len(tokens) - 1, context_len)
        return _Part(
            id=id,
            span=self._span(id, place, 1, n_padding=context_len - place),
            tokens=[tokens[-1]],
            end=0,
            emits=not self._is_done(id),
        )

    def _prefill(self, chunk: PrefillChunk) -> _Part:
        id, start, n_pad = chunk.sequence.request.id, chunk.context_len, chunk.n_pad_tokens
        n_real = chunk.n_new_tokens - n_pad
        return _Part(
            id=id,
            span=self._span(id, start, chunk.n_new_tokens),
            tokens=self._tokens[id][start : start + n_real] + [0] * n_pad,
            end=n_real - 1 if chunk.emits else None,
            emits=chunk.emits,
        )

    def _span(self, id: int, start: int, n_new: int, *, n_padding: int = 0) -> PlacedTokens:
        n_read = start + n_new + n_padding
        blocks = self._own_blocks(id, n_read) if self._allocator is None else self._allocator.blocks(id)
        return PlacedTokens(blocks=blocks, start=start, n_new=n_new, n_padding=n_padding)

    def _own_blocks(self, id: int, n_tokens: int) -> list[int]:
        table = self._tables.setdefault(id, [])
        while len(table) * self.cache.block_size_tokens < n_tokens:
            if not self._free:
                raise BytebillError(f"The runner's {self.cache.n_blocks} blocks are full; give it more.")
            table.append(self._free.pop())
        return table

    def _release(self, plan: Plan) -> None:
        """Take back own blocks of requests that are done and computed no more, not even as padding."""
        done = [id for id in self._tables if self._is_done(id)]
        running = {sequence.request.id for sequence, _ in plan.live_contexts} if done else set()
        for id in done:
            if id not in running:
                self._free += reversed(self._tables.pop(id))

    def _is_done(self, id: int) -> bool:
        request = self._requests[id]
        return len(self._tokens[id]) >= request.n_input_tokens + request.n_output_tokens
