"""How does one new token of each sequence, or a few, meet its context, if every cached value is read only once?

    out = sum over s <= p of softmax_s(q . k[s]) v[s]          the token's place is slot p

One call a layer does what rotation, append and two batched matmuls do in a dozen. Work is cut by (sequence, KV
head): the g query heads that share a KV head meet each key and value while it is in registers, and each sequence
reads its own p + 1 slots and none beyond, however long the others are. Keys and values lie in blocks, [n_blocks,
K, block_size, H], so a head's share of a block is one stream; a table says which blocks a sequence has. A
contiguous cache is the special case of one long block each.

    table [B T, 2 + n]: p, slots read (p + 1, or more: what is behind weighs nothing), blocks in order

Several new tokens of a sequence, T each, go one after the other through the same code as one does, so what is found
for a token is the same to the last bit whether those before it came in the same pass or earlier. Padding behind a
sequence's own tokens has the place `NOWHERE`: it is not written, and gets zeros.
Symbols: B sequences, N query heads, K KV heads, g = N / K, H head size [numbers]. Arithmetic is fp32 whatever
the cache holds. On a GPU another kernel does the same (`decode_gpu`). Ignores head sizes whose half is no whole number
of vectors, and a CPU without `panels.available()`: `decode_attention` then gives None, and torch attends.
"""

import ctypes
import functools

import torch
from torch import Tensor

from bytebill.engine.kernels import decode_code as at
from bytebill.engine.kernels import decode_gpu, openmp, panels
from bytebill.engine.kernels.dtypes import PLAIN_NAMES


class DecodeAttention:
    """Append and attend for T new tokens of each of some sequences; what a call needs is worked out once.

    `keys` is the memory of the keys, shaped like `values`: [L, n_blocks, K, block_size, H].
    """

    def __init__(self, values: Tensor, *, group: at.HeadGroup, max_len: int) -> None:
        _, _, self._n_kv_heads, block_size, d_head = values.shape
        self.keys, self.values, self._group = torch.zeros_like(values), values.contiguous(), group
        self._width, self._dtype = self._n_kv_heads * group.n_heads * d_head, values.dtype
        score_bytes, scratch_bytes = at.scratch_layout(d_head, group.n_heads, max_len)
        self._n_threads = torch.get_num_threads()
        self._scratch = torch.empty(self._n_threads * scratch_bytes, dtype=torch.uint8)
        self._args = (ctypes.c_int64 * at.N_ARGUMENTS)()
        self._args[at.N_KV_HEADS], self._args[at.BLOCK_SIZE] = self._n_kv_heads, block_size
        self._args[at.SCRATCH], self._args[at.SCRATCH_BYTES] = self._scratch.data_ptr(), scratch_bytes
        self._args[at.SCORE_BYTES] = score_bytes
        self._pointer, self._call = ctypes.addressof(self._args), openmp.parallel()
        self._addresses = [(k.data_ptr(), v.data_ptr()) for k, v in zip(self.keys, self.values, strict=True)]

    @functools.cached_property
    def _kernel(self) -> int:
        return at.decode_kernel(self._group)  # compiled when first called: many caches only hold

    def __call__(self, layer: int, heads: Tensor, *, factors: tuple[Tensor, Tensor], table: Tensor) -> Tensor:
        """Rotate, append and attend.

        heads [B, T, N + 2 K, H] before rotation, factors as `Rotary` makes them, table [B T, 2 + n] int64
        -> [B T, N H]
        """
        heads, (cos, sin), args = heads.contiguous(), factors, self._args
        n_sequences, n_each = heads.shape[:2]
        out = torch.zeros(n_sequences * n_each, self._width, dtype=self._dtype)  # and stays so for padding
        args[at.HEADS], args[at.OUT] = heads.data_ptr(), out.data_ptr()
        args[at.COS], args[at.SIN] = cos.data_ptr(), sin.data_ptr()
        args[at.KEYS], args[at.VALUES] = self._addresses[layer]
        args[at.TABLE], args[at.ROW_BYTES] = table.data_ptr(), 8 * table.stride(0)
        args[at.N_SEQUENCES], args[at.N_EACH] = n_sequences, n_each
        args[at.FACTOR_BYTES] = cos.stride(0) * cos.element_size() if cos.shape[0] > 1 else 0
        args[at.NEXT_BYTES] = cos.stride(1) * cos.element_size()
        self._call(self._kernel, self._pointer, min(self._n_threads, n_sequences * self._n_kv_heads), 0)
        return out


def decode_attention(
    values: Tensor, *, n_heads: int, max_len: int
) -> DecodeAttention | decode_gpu.GpuDecodeAttention | None:
    """The kernel for a cache whose values are [L, n_blocks, K, block_size, H]; None where torch must serve.

    `max_len` is the longest context of a sequence.
    """
    if values.device.type == "cuda":
        return decode_gpu.on_gpu(values, n_heads=n_heads, max_len=max_len)
    if values.device.type != "cpu" or values.dtype not in PLAIN_NAMES or not panels.available():
        return None
    d_head = values.shape[-1]
    lanes = panels.fitting_lanes(d_head // 2) if d_head % 2 == 0 else None
    if lanes is None:
        return None
    group = at.HeadGroup(PLAIN_NAMES[values.dtype], d_head, n_heads // values.shape[2], lanes)
    return DecodeAttention(values, group=group, max_len=max_len)
