"""How does a GPU attend for one new token of each sequence, if no cached value is copied first? One Triton kernel.

    out = sum over s <= p of softmax_s(q . k[s]) v[s]          the token's place is slot p

What `decode.DecodeAttention` is on a CPU, with its table and its layout of keys and values; a contiguous cache is the
special case of one long block each. A program takes one row, one KV head and one of some stretches of the context, and
the g query heads that share the KV head meet each tile of keys and values once. Lengths are read from the table, which
lies on the device: so a CUDA graph can hold the calls, and each sequence reads its own slots and none beyond. A second
kernel joins the stretches by their sums of weights. Products are in the cache's own dtype, sums in fp32.

Symbols: B sequences, N query heads, K KV heads, g = N / K, H head size [numbers]. Ignores head sizes that are no power
of two, and devices on which Triton does not compile or is not there: `on_gpu` then gives None, and torch gathers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Any

import torch
from torch import Tensor

from bytebill.engine.kernels.decode_code import FIRST_BLOCK, NOWHERE
from bytebill.engine.kernels.dtypes import PLAIN_NAMES

with suppress(ImportError):  # comes with torch's builds for CUDA
    import triton
    import triton.language as tl

TILE = 64  # slots that a program loads at once
_LEAST_ROWS = 16  # that `tl.dot` takes
_HEAD_SIZES = (16, 32, 64, 128, 256)
_MOST_HEADS = 64  # of a group, in one program's registers
_PROCESSORS = 132  # of an H100; how many stretches fill a card need not be exact


def has_triton() -> bool:
    """Whether Triton is installed; whether it compiles here is found out at the first call."""
    return "triton" in globals()


def _kernel(function: Callable[..., None]) -> Any:
    return triton.jit(function) if has_triton() else function


@_kernel
def _append(  # type: ignore[no-untyped-def]
    heads, keys, values, table, row_stride, n_heads, n_kv_heads,
    block_size: tl.constexpr, d_head: tl.constexpr, nowhere: tl.constexpr, first: tl.constexpr,
):  # fmt: skip
    """The row's key and value go to the slot that the table names; padding goes nowhere."""
    row, head = tl.program_id(0), tl.program_id(1)
    columns = tl.arange(0, d_head)
    place = tl.load(table + row * row_stride)
    if place != nowhere:
        block = tl.load(table + row * row_stride + first + place // block_size)
        slot = ((block * n_kv_heads + head) * block_size + place % block_size) * d_head + columns
        start = heads + row * (n_heads + 2 * n_kv_heads) * d_head + columns
        tl.store(keys + slot, tl.load(start + (n_heads + head) * d_head))
        tl.store(values + slot, tl.load(start + (n_heads + n_kv_heads + head) * d_head))


@_kernel
def _stretch(  # type: ignore[no-untyped-def]
    heads, keys, values, table, mixed_out, total_out, top_out, row_stride, n_heads, n_kv_heads,
    block_size: tl.constexpr, group: tl.constexpr, d_head: tl.constexpr, n_rows: tl.constexpr, tile: tl.constexpr,
    first: tl.constexpr,
):  # fmt: skip
    """One stretch of one row's context for the query heads of one KV head: sum, weight and largest score."""
    row, head, stretch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    n_stretches = tl.num_programs(2)
    members, columns, slots = tl.arange(0, n_rows), tl.arange(0, d_head), tl.arange(0, tile)
    place, n_read = tl.load(table + row * row_stride), tl.load(table + row * row_stride + 1)
    at = (row * (n_heads + 2 * n_kv_heads) + head * group + members[:, None]) * d_head + columns[None, :]
    query = tl.load(heads + at, mask=members[:, None] < group, other=0.0)
    length = tl.cdiv(tl.cdiv(n_read, n_stretches), tile) * tile
    begin = stretch * length
    end = tl.minimum(begin + length, n_read)
    top = tl.full((n_rows,), float("-inf"), tl.float32)
    total = tl.zeros((n_rows,), tl.float32)
    mixed = tl.zeros((n_rows, d_head), tl.float32)
    for start in range(begin, end, tile):
        slot = start + slots
        there = slot < end
        block = tl.load(table + row * row_stride + first + slot // block_size, mask=there, other=0)
        cell = ((block * n_kv_heads + head) * block_size + slot % block_size) * d_head
        key = tl.load(keys + cell[:, None] + columns[None, :], mask=there[:, None], other=0.0)
        score = tl.dot(query, tl.trans(key), input_precision="ieee")
        score = tl.where((there & (slot <= place))[None, :], score, float("-inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        safe = tl.where(higher == float("-inf"), 0.0, higher)  # of a tile in which nothing weighs
        part = tl.exp(score - safe[:, None])
        shrink = tl.exp(top - safe)
        value = tl.load(values + cell[:, None] + columns[None, :], mask=there[:, None], other=0.0)
        mixed = mixed * shrink[:, None] + tl.dot(part.to(value.dtype), value, input_precision="ieee")
        total = total * shrink + tl.sum(part, 1)
        top = higher
    out = ((row * n_kv_heads + head) * n_stretches + stretch) * n_rows + members
    tl.store(mixed_out + out[:, None] * d_head + columns[None, :], mixed)
    tl.store(total_out + out, total)
    tl.store(top_out + out, top)


@_kernel
def _join(  # type: ignore[no-untyped-def]
    mixed_in, total_in, top_in, out, n_heads, n_kv_heads, n_stretches,
    group: tl.constexpr, d_head: tl.constexpr, n_rows: tl.constexpr,
):  # fmt: skip
    """The stretches of one query head, joined; zeros where nothing was seen."""
    row, query_head = tl.program_id(0), tl.program_id(1)
    columns = tl.arange(0, d_head)
    base = (row * n_kv_heads + query_head // group) * n_stretches * n_rows + query_head % group
    top = tl.load(top_in + base)
    for stretch in range(1, n_stretches):
        top = tl.maximum(top, tl.load(top_in + base + stretch * n_rows))
    safe = tl.where(top == float("-inf"), 0.0, top)
    mixed, total = tl.zeros((d_head,), tl.float32), 0.0
    for stretch in range(0, n_stretches):
        at = base + stretch * n_rows
        share = tl.exp(tl.load(top_in + at) - safe)
        mixed += tl.load(mixed_in + at * d_head + columns) * share
        total += tl.load(total_in + at) * share
    mixed = mixed / tl.where(total == 0.0, 1.0, total)
    tl.store(out + (row * n_heads + query_head) * d_head + columns, mixed.to(out.dtype.element_ty))


class GpuDecodeAttention:
    """Append and attend for T new tokens of each of some sequences; called as `decode.DecodeAttention` is, with the
    table on the device.

    `keys` is the memory of the keys, shaped like `values`: [L, n_blocks, K, block_size, H].
    """

    def __init__(self, values: Tensor, *, n_heads: int, max_len: int) -> None:
        self.keys, self.values = torch.zeros_like(values), values
        self._n_heads, self._max_len = n_heads, max_len
        self._n_kv_heads, self._block_size, self._d_head = values.shape[2:]
        self._group = n_heads // self._n_kv_heads
        self._n_rows = max(_LEAST_ROWS, 1 << (self._group - 1).bit_length())

    def __call__(self, layer: int, heads: Tensor, *, factors: tuple[Tensor, Tensor], table: Tensor) -> Tensor:
        """Rotate, append and attend.

        heads [B, T, N + 2 K, H] before rotation, factors as `Rotary` makes them, table [B T, 2 + n] int64
        -> [B T, N H]
        """
        cos, sin = (each[: len(heads)] for each in factors)  # a step's other rows may come behind
        rotated = torch.addcmul(heads * cos, heads.roll(self._d_head // 2, -1), sin).flatten(0, 1).contiguous()
        return self.attend(self.keys[layer], self.values[layer], rotated, table)

    def attend(self, keys: Tensor, values: Tensor, rotated: Tensor, table: Tensor) -> Tensor:
        """rotated [B T, N + 2 K, H], keys and values [n_blocks, K, block_size, H] -> [B T, N H]"""
        n, n_kv, d_head, stride = len(rotated), self._n_kv_heads, self._d_head, table.stride(0)
        counts = (stride, self._n_heads, n_kv)
        _append[(n, n_kv)](
            rotated, keys, values, table, *counts,
            block_size=self._block_size, d_head=d_head, nowhere=NOWHERE, first=FIRST_BLOCK,
        )  # fmt: skip
        n_stretches = stretches(self._max_len, n_pairs=n * n_kv)
        size = (n, n_kv, n_stretches, self._n_rows)
        mixed = rotated.new_empty(*size, d_head, dtype=torch.float32)
        total, top = mixed.new_empty(size), mixed.new_empty(size)
        shape = {"group": self._group, "d_head": d_head, "n_rows": self._n_rows}
        _stretch[(n, n_kv, n_stretches)](
            rotated, keys, values, table, mixed, total, top, *counts,
            block_size=self._block_size, tile=TILE, first=FIRST_BLOCK, **shape,
        )  # fmt: skip
        out = rotated.new_empty(n, self._n_heads * d_head)
        _join[(n, self._n_heads)](mixed, total, top, out, self._n_heads, n_kv, n_stretches, **shape)
        return out


def stretches(max_len: int, *, n_pairs: int) -> int:
    """Into how many parts a context is cut, so that the pairs of sequence and KV head fill a card about twice; none is
    shorter than four tiles. It depends on the longest context there may be, since a graph has one shape.

    >>> stretches(8192, n_pairs=8), stretches(8192, n_pairs=512), stretches(100, n_pairs=1)
    (32, 1, 1)
    """
    return max(1, min(ceil(2 * _PROCESSORS / n_pairs), max_len // (4 * TILE)))


def on_gpu(values: Tensor, *, n_heads: int, max_len: int) -> GpuDecodeAttention | None:
    """The kernel for a cache whose values are [L, n_blocks, K, block_size, H]; None where torch must serve."""
    d_head, group = values.shape[-1], n_heads // values.shape[2]
    fits = d_head in _HEAD_SIZES and group <= _MOST_HEADS and values.dtype in PLAIN_NAMES
    if not (has_triton() and fits and _agrees(values.dtype, d_head, group, values.device)):
        return None
    return GpuDecodeAttention(values, n_heads=n_heads, max_len=max_len)


@functools.cache
def _agrees(dtype: torch.dtype, d_head: int, group: int, device: torch.device) -> bool:
    """Whether the kernel compiles on the device and finds what two products and a softmax do, for a context cut in
    two and one of a single token."""
    try:
        pool = torch.randn(1, 40, 1, 16, d_head, dtype=dtype, device=device)
        kernel = GpuDecodeAttention(pool, n_heads=group, max_len=640)
        kernel.keys.normal_()
        blocks = torch.randperm(40, device=device)
        table = torch.stack([torch.cat((torch.tensor([n - 1, n], device=device), blocks)) for n in (599, 1)])
        heads = torch.randn(2, group + 2, d_head, dtype=dtype, device=device) / d_head**0.5
        found = kernel.attend(kernel.keys[0], pool[0], heads, table)
        for row, n in enumerate((599, 1)):
            k, v = (each[0][blocks, 0].flatten(0, 1)[:n].float() for each in (kernel.keys, pool))
            expected = torch.softmax(heads[row, :group].float() @ k.T, -1) @ v
            if not torch.allclose(found[row].view(group, d_head).float(), expected, atol=0.03, rtol=0.03):
                return False
        return True
    except Exception:  # whatever Triton's compiler or a driver may raise: torch then serves, slower
        return False
