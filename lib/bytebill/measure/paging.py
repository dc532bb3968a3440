"""What does attention pay for finding its context in blocks? The same decode over blocks of every size.

    bytes of a call = 2 * L * B * S * K * H * bytes_per_value         keys and values, the same for every block size

One token of each of B sequences attends to S cached tokens, layer after layer, through the engine's own paged cache,
with blocks in random order as in a pool that has been in use; a block as long as the context is a contiguous cache.
All block sizes are timed in turns, and a plain read of as many bytes beside each. Ignores the weights of the
model: nothing but attention is timed.

Symbols: L layers, B sequences, S tokens, K KV heads, H head size [numbers]. Used by chapter 05.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.cache.paged import PagedCache, PlacedTokens
from bytebill.engine.rotary import Rotary, rope_frequencies
from bytebill.errors import BytebillError
from bytebill.measure.timing import Call, Timing, in_turns
from bytebill.models import ModelSpec


def attention_by_block_size(
    device: Device, spec: ModelSpec, *, batch_size: int, context_len: int, block_sizes: Sequence[int], repeats: int = 5
) -> dict[int, Timing]:
    """Time of one decode's attention in fp32 by block size, and of a plain read of as many bytes beside it."""
    uneven = [size for size in block_sizes if context_len % size]
    if uneven:
        raise BytebillError(f"Blocks of {uneven[0]} tokens do not fill a context of {context_len}.")
    loads = {"batch_size": batch_size, "context_len": context_len}
    calls: dict[int, Call] = {size: _attention(device, spec, block_size=size, **loads) for size in block_sizes}
    n_values = 2 * spec.n_layers * batch_size * context_len * spec.n_kv_heads * spec.d_head
    buffer = torch.ones(n_values, device=device.torch)
    return in_turns(calls, dict.fromkeys(block_sizes, buffer.sum), sync=synchronizer(device), repeats=repeats)


def _attention(
    device: Device, spec: ModelSpec, *, batch_size: int, context_len: int, block_size: int
) -> Callable[[], None]:
    per_sequence = context_len // block_size
    cache = PagedCache(
        spec, n_blocks=batch_size * per_sequence, block_size_tokens=block_size, dtype=torch.float32, device=device.torch
    )
    blocks = random.Random(0).sample(range(cache.n_blocks), cache.n_blocks)
    tables = [blocks[i * per_sequence :][:per_sequence] for i in range(batch_size)]
    placement = cache.place([PlacedTokens(blocks=table, start=context_len - 1, n_new=1) for table in tables])
    rotary = Rotary(spec, frequencies=rope_frequencies(spec).to(device.torch), dtype=torch.float32)
    factors = rotary.factors(placement.positions)
    heads = torch.randn(batch_size, 1, spec.n_heads + 2 * spec.n_kv_heads, spec.d_head, device=device.torch)

    @torch.inference_mode()
    def attend() -> None:
        for layer in range(spec.n_layers):
            cache.attend(layer, heads, factors, placement)

    return attend
