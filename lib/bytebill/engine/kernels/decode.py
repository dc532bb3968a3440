"""How does one new token of each sequence meet its context, if every cached value is read only once?

    out = sum over s <= p of softmax_s(q . k[s]) v[s]          the token's place is slot p

One call a layer does what rotation, append and two batched matmuls do in a dozen. Work is cut by (sequence, KV
head): the g query heads that share a KV head meet each key and value while it is in registers, and each sequence
reads its own p + 1 slots and none beyond, however long the others are. Keys and values lie in blocks, [n_blocks,
K, block_size, H], so a head's share of a block is one stream; a table says which blocks a sequence has. A
contiguous cache is the special case of one long block each.

    table [B, 2 + n]: p, slots read (p + 1, or more: padding is read and weighs nothing), blocks in order

Symbols: B sequences, N query heads, K KV heads, g = N / K, H head size [numbers]. Arithmetic is fp32 whatever
the cache holds. Ignores several new tokens at once, head sizes whose half is no whole number of vectors, and any
device but a CPU with `panels.available()`: `decode_attention` then gives None, and torch attends.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bytebill.engine.kernels import openmp, panels
from bytebill.engine.kernels.decode_code import ARGUMENTS, kernel, lanes, scratch_layout

DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
_Args = ctypes.c_int64 * len(ARGUMENTS)


def decode_attention(values: Tensor, *, n_heads: int, max_len: int) -> DecodeAttention | None:
    """The kernel for a cache whose values are [L, n_blocks, K, block_size, H]; None where torch must serve.

    `max_len` is the longest context of a sequence.
    """
    if values.device.type != "cpu" or values.dtype not in DTYPES or not panels.available():
        return None
    if lanes(values.shape[-1]) is None:
        return None
    return DecodeAttention(values, n_heads=n_heads, max_len=max_len)


class DecodeAttention:
    """Append and attend for one new token of each of some sequences; what a call needs is worked out once.

    `keys` is the memory of the keys, shaped like `values`: [L, n_blocks, K, block_size, H].
    """

    def __init__(self, values: Tensor, *, n_heads: int, max_len: int) -> None:
        n_layers, _, n_kv_heads, block_size, d_head = values.shape
        self.keys, self.values = torch.zeros_like(values), values.contiguous()
        self._width, self._dtype, self._n_kv_heads = n_heads * d_head, values.dtype, n_kv_heads
        self._kind = (DTYPES[self._dtype], d_head, n_heads // n_kv_heads)
        score_bytes, scratch_bytes = scratch_layout(d_head, n_heads // n_kv_heads, max_len)
        self._scratch = torch.empty(torch.get_num_threads() * scratch_bytes, dtype=torch.uint8)
        self._n_threads = torch.get_num_threads()
        fixed = {
            "n_kv_heads": n_kv_heads,
            "block_size": block_size,
            "score_bytes": score_bytes,
            "scratch": self._scratch.data_ptr(),
            "scratch_bytes": scratch_bytes,
        }
        self._args = _Args(*(fixed.get(name, 0) for name in ARGUMENTS))
        self._pointer = ctypes.addressof(self._args)
        self._addresses = [(self.keys[i].data_ptr(), self.values[i].data_ptr()) for i in range(n_layers)]

    def __call__(self, layer: int, heads: Tensor, *, factors: tuple[Tensor, Tensor], table: Tensor) -> Tensor:
        """Rotate, append and attend.

        heads [B, 1, N + 2 K, H] before rotation, factors as `blocks.Rotary` makes them, table [B, 2 + n]
        int64 -> [B, N H]
        """
        heads, (cos, sin), n_rows = heads.contiguous(), factors, heads.shape[0]
        out = torch.empty(n_rows, self._width, dtype=self._dtype)
        factor_bytes = cos.stride(0) * cos.element_size() if cos.shape[0] > 1 else 0
        self._args[:10] = [
            heads.data_ptr(),
            out.data_ptr(),
            cos.data_ptr(),
            sin.data_ptr(),
            *self._addresses[layer],
            table.data_ptr(),
            factor_bytes,
            8 * table.stride(0),
            n_rows,
        ]
        n_threads = min(self._n_threads, n_rows * self._n_kv_heads)
        openmp.parallel()(kernel(*self._kind), self._pointer, n_threads, 0)
        return out
