"""What can be timed while it decodes? A real model, its hollow twin, or bare weights, at any batch.

    stack      d_model -> d_ff -> d_model -> ...     2 * d_model * d_ff weights a layer, random, in memory of its own
    hollow     the layers of a model, and none of its bytes

One pass over a stack is a decode step with everything but the weights taken away, so its time is bytes / bandwidth
until 2 * batch * weights / peak takes over. A hollow twin has the same layers, heads, routes and context with next to
nothing in its matrices: what its step takes is the time of some hundreds of small operations and of attention over the
cache. In a 135M model that is a large term, so it is named and measured by itself rather than hidden in an efficiency.
Used by chapters 01, 03 and 16 and `bytebill bench`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.cache.latent import SlotCache
from bytebill.engine.graphs import GraphedDecode, can_record, without_launches
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.kernels.linear import PackedLinear
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, random_weights
from bytebill.errors import require
from bytebill.measure.sizes import sizes_for
from bytebill.measure.timing import Call, Timing, in_turns
from bytebill.models import ModelSpec

_HOLLOW_WIDTH = 64  # of everything that a matrix has as a side


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Something that decodes the same step again and again, and the weights that each step must read."""

    device: Device
    dtype: str
    linears: tuple[PackedLinear, ...]
    weight_bytes: int
    n_weights: int  # that a token is multiplied with
    step: Callable[[int], Call]  # one step of so many sequences, ready to be timed

    def read(self) -> None:
        """Read as many bytes and do nothing with them: the reference that a step is held against.

        On a GPU in one piece: a hundred small reads would take longer to start than the bytes take to arrive.
        """
        if self.device.kind == "cuda":
            self.in_one_piece.sum()
        else:
            self.read_matrices()

    def read_matrices(self) -> None:
        """Read the weights matrix by matrix and do nothing with them."""
        for linear in self.linears:
            linear.read()

    @cached_property
    def in_one_piece(self) -> torch.Tensor:
        """As many bytes as the weights have, in one piece."""
        return one_piece(self.weight_bytes, self.device)

    def time(self, batch_size: int, *, repeats: int = 5, at_least_s: float = 0.0) -> Timing:
        """A step's time beside that of reading its weights."""
        return time_in_turns([self], [batch_size], repeats=repeats, at_least_s=at_least_s)[0]

    def sweep(self, batches: Sequence[int], *, repeats: int = 5) -> dict[int, Timing]:
        """A step's time at each batch, taken in turns, each beside that of reading the weights."""
        return dict(zip(batches, time_in_turns([self], batches, repeats=repeats), strict=True))


def one_piece(n_bytes: int, device: Device) -> torch.Tensor:
    """So many bytes, whose `sum` is one read of them."""
    return torch.ones(max(1, n_bytes // 4), device=device.torch)


def time_in_turns(
    decoders: Sequence[Decoder], batches: Sequence[int] = (1,), *, repeats: int = 5, at_least_s: float = 0.0
) -> list[Timing]:
    """The step of every decoder at every batch, taken in turns, each beside that of reading its own weights."""
    kind, sync = decoders[0].device.kind, synchronizer(decoders[0].device)
    reads = [without_launches(decoder.read, kind=kind) for decoder in decoders for _ in batches]
    steps = dict(enumerate(decoder.step(batch) for decoder in decoders for batch in batches))
    return list(in_turns(steps, dict(enumerate(reads)), sync=sync, repeats=repeats, at_least_s=at_least_s).values())


def build_stack(
    device: Device, *, dtype: str, n_layers: int, d_model: int | None = None, d_ff: int | None = None, seed: int = 0
) -> Decoder:
    """A stack of `n_layers` pairs, packed, as wide as the device calls for (`sizes`); layers hold the same values in
    memory of their own."""
    size = sizes_for(device)
    d_model, d_ff = d_model or size.d_model, d_ff or size.d_ff
    drawn: dict[str, Any] = {"device": device.kind if device.kind == "cuda" else "cpu"}
    drawn["generator"] = torch.Generator(drawn["device"]).manual_seed(seed)
    weights = [torch.randn(shape, **drawn) / shape[1] ** 0.5 for shape in ((d_ff, d_model), (d_model, d_ff))]
    pair = [PackedLinear(weight.to(device.torch), dtype=dtype) for weight in weights]
    linears = tuple(linear.twin() for _ in range(n_layers) for linear in pair)

    def step(batch_size: int) -> Call:
        fed = PLAIN.get(dtype, torch.float32 if device.kind == "cpu" else torch.bfloat16)
        x = torch.randn(batch_size, d_model, device=device.torch).to(fed)

        @torch.inference_mode()
        def run() -> torch.Tensor:
            y = x
            for linear in linears:
                y = linear(y)
            return y

        return without_launches(run, kind=device.kind)

    n_bytes, n_weights = sum(linear.stored_bytes for linear in linears), 2 * n_layers * d_model * d_ff
    return Decoder(device=device, dtype=dtype, linears=linears, weight_bytes=n_bytes, n_weights=n_weights, step=step)


def decoder(weights: Weights, device: Device, *, dtype: str, context_len: int) -> Decoder:
    """A model with its weights packed on a device; every sequence has the same context."""
    require(context_len >= 0, f"A cache holds zero or more tokens, not {context_len}.")
    model = Transformer(weights, dtype=dtype, device=device.torch)
    return Decoder(
        device=device,
        dtype=dtype,
        linears=model.linears,
        weight_bytes=model.weight_bytes_read,
        n_weights=weights.spec.n_matmul_params,
        step=lambda batch_size: cached_step(model, batch_size, context_len)[1],
    )


def cached_step(model: Transformer, batch_size: int, context_len: int) -> tuple[SlotCache, Call]:
    """A cache of `batch_size` sequences of `context_len` tokens, and the decode step over it, to be repeated; recorded
    as a graph where that can be done."""
    cache = model.new_cache(batch_size, context_len + 1)
    cache.occupy(context_len)
    tokens = torch.zeros(batch_size, 1, dtype=torch.long, device=model.device)
    forward = GraphedDecode(model, cache) if can_record(model) else partial(model, cache=cache)

    def run() -> object:
        cache.set_lengths(context_len)
        return forward(tokens)

    return cache, run


def hollow_decoder(spec: ModelSpec, device: Device, *, dtype: str, context_len: int) -> Decoder:
    """A model's layers, heads and context with next to no weights: what a step costs besides them."""
    return decoder(random_weights(hollow(spec)), device, dtype=dtype, context_len=context_len)


def hollow(spec: ModelSpec) -> ModelSpec:
    """The shape with next to no weights.

    >>> from bytebill.models import model
    >>> small = model("smollm2-135m")
    >>> hollow(small).n_layers == small.n_layers, hollow(small).n_params < 0.07 * small.n_params
    (True, True)
    """
    moe, width = spec.moe and replace(spec.moe, d_ff_expert=_HOLLOW_WIDTH), _HOLLOW_WIDTH
    return replace(spec, id=f"{spec.id}-hollow", moe=moe, d_model=width, d_ff=width, vocab_size=width)
