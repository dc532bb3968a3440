"""What does attention pay for finding its context in blocks? The same decode over blocks of every size.

    bytes of a call = 2 * L * B * S * K * H * bytes_per_value         keys and values, the same for every block size

One token of each of B sequences attends to S cached tokens, layer after layer, through the engine's own paged cache,
with blocks in random order as in a pool that has been in use; a block as long as the context is a contiguous cache.
All block sizes are timed in turns, and a plain read of as many bytes beside each. Ignores the weights of the
model: nothing but attention is timed.

Symbols: L layers, B sequences, S tokens, K KV heads, H head size [numbers]. Used by chapter 05.
"""

import random
from collections.abc import Sequence

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.cache.paged import PagedCache, PlacedTokens
from bytebill.errors import BytebillError
from bytebill.measure.attention import attending
from bytebill.measure.timing import Call, Timing, in_turns
from bytebill.models import ModelSpec


def attention_by_block_size(
    device: Device, spec: ModelSpec, *, batch_size: int, context_len: int, block_sizes: Sequence[int], repeats: int = 5
) -> dict[int, Timing]:
    """Time of one decode's attention in fp32 by block size, and of a plain read of as many bytes beside it."""
    uneven = [size for size in block_sizes if context_len % size]
    if uneven:
        raise BytebillError(f"Blocks of {uneven[0]} tokens do not fill a context of {context_len}.")
    n_values = 2 * spec.n_layers * batch_size * context_len * spec.n_kv_heads * spec.d_head
    buffer = torch.ones(n_values, device=device.torch)

    def attention(block_size: int) -> Call:
        n_each = context_len // block_size
        n_blocks = batch_size * n_each
        cache = PagedCache(
            spec, n_blocks=n_blocks, block_size_tokens=block_size, dtype=buffer.dtype, device=buffer.device
        )
        blocks = random.Random(0).sample(range(n_blocks), n_blocks)
        tables = [blocks[i : i + n_each] for i in range(0, n_blocks, n_each)]
        placement = cache.place([PlacedTokens(blocks=table, start=context_len - 1, n_new=1) for table in tables])
        return attending(spec, cache, placement, n_rows=batch_size, like=buffer)

    calls, reads = {size: attention(size) for size in block_sizes}, dict.fromkeys(block_sizes, buffer.sum)
    with torch.inference_mode():
        return in_turns(calls, reads, sync=synchronizer(device), repeats=repeats)
