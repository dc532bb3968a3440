"""How fast does a real model decode, and where does the time go that is not the weights'?

    predicted step time = sqrt((weights / W)^2 + (flops / peak)^2) + hollow step
                          reading and multiplying the weights        everything else, measured

The hollow model (`hollow`) has the same layers, heads and context with next to nothing in its matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.graphs import GraphedDecode, captured
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import Weights, random_weights
from bytebill.engine.weights.smollm2 import smollm2
from bytebill.errors import BytebillError
from bytebill.measure.hollow import hollow
from bytebill.measure.timing import Timing, timed
from bytebill.models import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A model at a fixed context, ready to decode the same step again and again."""

    model: Transformer
    device: Device
    context_len: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that one step must read."""
        return self.model.weight_bytes_read

    def step(self, batch_size: int) -> Callable[[], object]:
        """One decode step of `batch_size` sequences of `context_len` cached tokens."""
        cache = self.model.new_cache(batch_size, self.context_len + 1)
        cache.occupy(self.context_len)
        tokens = torch.zeros(batch_size, 1, dtype=torch.long, device=self.device.torch)

        def run() -> object:
            cache.set_lengths(self.context_len)
            return self.model(tokens, cache)

        if self.device.kind != "cuda":
            return run
        graph = GraphedDecode(self.model, cache)

        def replay() -> object:
            cache.set_lengths(self.context_len)
            return graph(tokens)

        return replay

    def time(self, batch_size: int, *, repeats: int = 5, at_least_s: float = 0.0) -> Timing:
        """A step's time beside that of reading its weights."""
        read = self.model.read_weights
        reference = captured(read) if self.device.kind == "cuda" else read
        sync = synchronizer(self.device)
        return timed(self.step(batch_size), sync=sync, reference=reference, repeats=repeats, at_least_s=at_least_s)


def decoder(weights: Weights, device: Device, *, dtype: str, context_len: int) -> Decoder:
    """A model with its weights packed on a device."""
    if context_len < 0:
        raise BytebillError(f"A cache holds zero or more tokens, not {context_len}.")
    model = Transformer(weights, dtype=dtype, device=device.torch)
    return Decoder(model=model, device=device, context_len=context_len)


def smollm2_decoder(device: Device, *, dtype: str, context_len: int) -> Decoder:
    """The real model, SmolLM2-135M."""
    return decoder(smollm2(), device, dtype=dtype, context_len=context_len)


def hollow_decoder(spec: ModelSpec, device: Device, *, dtype: str, context_len: int) -> Decoder:
    """The same layers, heads and context with next to no weights: what a step costs besides them."""
    return decoder(random_weights(hollow(spec)), device, dtype=dtype, context_len=context_len)
