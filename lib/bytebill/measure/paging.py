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
from dataclasses import replace
from math import ceil

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.cache.paged import PagedCache, PlacedTokens
from bytebill.engine.graphs import without_launches
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.errors import BytebillError
from bytebill.measure.attention import attending
from bytebill.measure.sizes import sizes_for
from bytebill.measure.timing import Call, Timing, in_turns
from bytebill.models import ModelSpec


def _finds_blocks(spec: ModelSpec, like: torch.Tensor) -> bool:
    """Whether decode attention on this device reads a table of blocks."""
    cache = PagedCache(spec, n_blocks=1, block_size_tokens=16, dtype=like.dtype, device=like.device)
    return cache.decodes_by_table


def attention_by_block_size(
    device: Device, spec: ModelSpec, *, batch_size: int, context_len: int, block_sizes: Sequence[int], repeats: int = 5
) -> dict[int, Timing]:
    """Time of one decode's attention by block size, and of a plain read of as many bytes beside it; nothing where a
    GPU's attention gathers its blocks first, since that copy takes its time whatever their size.

    In fp32 over the layers that `spec` has; on a GPU in bf16, over as many as are beyond its cache.
    """
    uneven = [size for size in block_sizes if context_len % size]
    if uneven:
        raise BytebillError(f"Blocks of {uneven[0]} tokens do not fill a context of {context_len}.")
    size, by_layer = sizes_for(device), 2 * batch_size * context_len * spec.n_kv_heads * spec.d_head
    dtype = PLAIN[size.dtypes[0]]
    spec = replace(spec, n_layers=max(spec.n_layers, ceil(size.beyond_caches_bytes / (by_layer * dtype.itemsize))))
    buffer = torch.ones(spec.n_layers * by_layer, device=device.torch, dtype=dtype)
    if device.kind != "cpu" and not _finds_blocks(spec, buffer):
        return {}

    def attention(block_size: int) -> Call:
        n_each = context_len // block_size
        n_blocks = batch_size * n_each
        cache = PagedCache(
            spec, n_blocks=n_blocks, block_size_tokens=block_size, dtype=buffer.dtype, device=buffer.device
        )
        blocks = random.Random(0).sample(range(n_blocks), n_blocks)
        tables = [blocks[i : i + n_each] for i in range(0, n_blocks, n_each)]
        placement = cache.place([PlacedTokens(blocks=table, start=context_len - 1, n_new=1) for table in tables])
        call = attending(spec, cache, placement, n_rows=batch_size, like=buffer)
        return without_launches(call, kind=device.kind)

    with torch.inference_mode():
        read = without_launches(buffer.sum, kind=device.kind)
        calls, reads = {size: attention(size) for size in block_sizes}, dict.fromkeys(block_sizes, read)
        return in_turns(calls, reads, sync=synchronizer(device), repeats=repeats)
