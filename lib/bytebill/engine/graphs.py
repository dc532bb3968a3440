"""How long does a GPU wait to be told what to do? Not at all, if a decode step is recorded once and replayed.

A step of a 30-layer decoder is some 500 kernels; launching each from Python costs microseconds that a small
model's kernels do not last. A CUDA graph replays them all in one launch. Its shapes are fixed, so the graph
reads `n_slots` cache slots for every sequence and masks those beyond its length (a kernel that finds lengths in a table
reads no more than those); positions live in a tensor that the graph itself moves on by one. Over a paged cache a graph
is recorded for every number of sequences, and tokens, places and blocks come to it in one copy. Ignores prefill, which
is long enough to hide its launches, and experts: their loop asks the device how many tokens each got.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bytebill.engine.cache.latent import SlotCache
from bytebill.engine.cache.paged import PagedCache, PagedPlacement, PlacedTokens
from bytebill.engine.kernels.decode_code import FIRST_BLOCK, NOWHERE
from bytebill.engine.transformer import Transformer
from bytebill.errors import BytebillError


def captured(call: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> Callable[[], Any]:
    """A CUDA graph of a call: its kernels launched as one, so that launch time does not pose as memory time.

    `before` is called before each run of the warm-up; what the graph returns is overwritten by its next replay. A graph
    holds addresses and no tensors, so what it replays holds the call, whose tensors lie there.
    """
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # so that libraries have made their choices before capture
            before()
            call()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        result = call()

    return partial(_replay, graph, result, call)


def without_launches(call: Callable[[], object], *, kind: str) -> Callable[[], Any]:
    """The call as one launch where launches would pose as its time: on a GPU. Elsewhere the call itself."""
    return captured(call) if kind == "cuda" else call


def can_record(model: Transformer) -> bool:
    """Whether a decode step of the model may be recorded: on a GPU, and no expert asks the device."""
    return model.device.type == "cuda" and not model.experts


def _replay(graph: torch.cuda.CUDAGraph, result: object, _held: Callable[[], object]) -> object:
    graph.replay()
    return result


class GraphedDecode:
    """One decode step of every sequence of `cache`, replayed; call it like `Transformer.forward` with T = 1.

    `n_slots` (default: all) bounds the contexts it serves, and is what each step reads.
    """

    def __init__(self, model: Transformer, cache: SlotCache, *, n_slots: int | None = None) -> None:
        if model.device.type != "cuda":
            raise BytebillError(f"CUDA graphs need a CUDA device, and this model is on {model.device.type}.")
        if not can_record(model):
            raise BytebillError(
                f"{model.spec.name} has experts, whose loop asks the device how many tokens each got: such a step "
                "cannot be recorded as a CUDA graph. Call the model itself."
            )
        self.model, self.cache, self.n_slots = model, cache, n_slots or cache.max_len
        self._require_room()
        self._tokens = torch.zeros(cache.batch_size, 1, dtype=torch.long, device=model.device)
        self._positions = torch.zeros_like(self._tokens)
        self._rows = torch.arange(cache.batch_size, device=model.device)
        self._lengths: list[int] = []  # what the graph's positions hold
        with torch.inference_mode():  # the warm-up writes to a slot that no sequence holds yet
            self._replay = captured(self._step, before=lambda: self._positions.fill_(self.n_slots - 1))

    def __call__(self, tokens: Tensor) -> Tensor:
        """tokens [B, 1] -> logits [B, 1, V], overwritten by the next call."""
        self._require_room()
        if self._lengths != self.cache.lengths:
            self._move(self.cache.lengths)
        self._tokens.copy_(tokens)
        self.cache.lengths = [length + 1 for length in self.cache.lengths]
        self._lengths = list(self.cache.lengths)
        return self._replay()

    def _move(self, lengths: list[int]) -> None:
        """Even lengths are filled in on the device: no copy waits, so that a step can be timed again and again."""
        if len(set(lengths)) == 1:
            self._positions.fill_(lengths[0])
        else:
            self._positions.copy_(torch.tensor(lengths)[:, None])

    def _require_room(self) -> None:
        if max(self.cache.lengths) >= min(self.n_slots, self.cache.max_len):
            raise BytebillError(f"This graph is for contexts below {self.n_slots} tokens, and one is not.")

    def _step(self) -> Tensor:
        placement = self.cache.place_at(
            self._positions, n_slots=self.n_slots, n_new=(1,) * self.cache.batch_size, rows=self._rows
        )
        logits = self.model.run(self._tokens, self.cache, placement)
        self._positions.add_(1)
        return logits


class GraphedRows:
    """The likeliest next tokens of n sequences over a paged cache, one new token each: recorded once for each n.

    The cache must decode by table: a graph's shape is then the number of sequences and the longest table there may be.
    """

    def __init__(self, model: Transformer, cache: PagedCache) -> None:
        self.model, self.cache = model, cache
        self._width = 1 + FIRST_BLOCK + -(-cache.max_len // cache.block_size_tokens)  # token, place, read, blocks
        self._recorded: dict[int, tuple[Tensor, Tensor, Callable[[], Any]]] = {}

    def __call__(self, tokens: Sequence[int], spans: Sequence[PlacedTokens]) -> list[int]:
        """One token and one span of each sequence -> the likeliest next token of each."""
        if len(spans) not in self._recorded:
            self._recorded[len(spans)] = self._record(len(spans))
        host, state, replay = self._recorded[len(spans)]
        table = self.cache.table(spans)
        host[:, 0], host[:, 1 : 1 + table.shape[1]] = torch.tensor(tokens), table
        state.copy_(host, non_blocking=True)  # the last step's tokens were waited for, so nobody reads the host's rows
        found: list[int] = replay().tolist()
        return found

    def _record(self, n: int) -> tuple[Tensor, Tensor, Callable[[], Any]]:
        host = torch.zeros(n, self._width, dtype=torch.long, pin_memory=self.model.device.type == "cuda")
        host[:, 1] = NOWHERE  # the warm-up writes to no block
        state = host.to(self.model.device)
        nobody = state[:0, 0]
        placement = PagedPlacement(
            positions=state[:, 1:2], table=state[:, 1:], groups=(), blocks=nobody, slots=nobody
        )  # views: what is copied into `state` is what the graph sees

        def step() -> Tensor:
            return self.model.run_rows(state[:, 0], self.cache, placement).argmax(-1)

        return host, state, captured(step)
