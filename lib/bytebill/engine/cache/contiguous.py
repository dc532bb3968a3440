"""Where do the keys and values live? One contiguous stretch of `max_len` slots for each sequence.

    bytes_per_token = 2 * L * K * H * bytes_per_value          [bytes/token]

Symbols: L layers, K KV heads, H head size [numbers]. Keys lie as [L, B K, H, max_len], values [L, B K,
max_len, H]: the two layouts that the batched matmuls of `attention` stream fastest. On a GPU, and where this book's
kernel decodes (`kernels.decode`), keys lie in memory as values do, and the same shape is a view. Ignores paging: see
`paged`.
"""

import torch
from torch import Tensor

from bytebill.engine import attention
from bytebill.engine.cache.places import Placement, SlotMemory
from bytebill.engine.kernels.decode import decode_attention
from bytebill.engine.rotary import Factors, rotate
from bytebill.errors import require
from bytebill.models import ModelSpec


class ContiguousCache(SlotMemory):
    """Keys and values of `batch_size` sequences, room for `max_len` tokens each."""

    def __init__(
        self, spec: ModelSpec, *, batch_size: int, max_len: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        require_keys_and_values(spec)
        rows, heads = (batch_size, spec.n_kv_heads), (spec.n_layers, batch_size * spec.n_kv_heads)
        # Zeros, not empty: a slot not yet written gets weight 0, and 0 * nan would still be nan.
        values = torch.zeros(*heads, max_len, spec.d_head, dtype=dtype, device=device)
        self._kernel = decode_attention(values.unflatten(1, rows), n_heads=spec.n_heads, max_len=max_len)
        if self._kernel is not None:
            keys = self._kernel.keys.flatten(1, 2).transpose(-1, -2)
        elif values.is_cuda:  # rows of heads: the longest context, which may be odd, is then no stride
            keys = torch.zeros_like(values).transpose(-1, -2)
        else:
            keys = torch.zeros(*heads, spec.d_head, max_len, dtype=dtype, device=device)
        super().__init__(keys, values, batch_size=batch_size, max_len=max_len, by_table=self._kernel is not None)
        # The same memory twice: as the matmuls read it, and by row [L, B, K, ...] as tokens are written.
        self._layers = list(zip(keys.unbind(0), values.unbind(0), strict=True))
        self._rows = [(keys.unflatten(0, rows), values.unflatten(0, rows)) for keys, values in self._layers]
        self._split = [spec.n_heads, spec.n_kv_heads, spec.n_kv_heads]

    def attend(self, layer: int, heads: Tensor, factors: Factors, placement: Placement) -> Tensor:
        """Rotate, store the new keys and values, and let the queries see all they may.

        heads [B, T, N + 2 K, H] before rotation -> [B T, N H]
        """
        if self._kernel is not None and placement.table is not None:
            return self._kernel(layer, heads, factors=factors, table=placement.table)
        q, k, v = rotate(heads, factors).split(self._split, 2)
        self._append(*self._rows[layer], k, v, placement)
        return self._attended(layer, q, k, v, placement).reshape(q.shape[0] * q.shape[1], -1)

    def _attended(self, layer: int, q: Tensor, k: Tensor, v: Tensor, placement: Placement) -> Tensor:
        """q [B, T, N, H], k and v [B, T, K, H] -> [B, T, N, H]"""
        if placement.fresh:
            return attention.first_queries(q, keys=k, values=v)
        keys, values = self._layers[layer]
        keys, values = keys.narrow(2, 0, placement.n_slots), values.narrow(1, 0, placement.n_slots)
        last = placement.scatter is None
        return attention.queries(q, keys=keys, values=values, bias=placement.bias, last=last)

    @staticmethod
    def _append(keys: Tensor, values: Tensor, k: Tensor, v: Tensor, placement: Placement) -> None:
        if placement.scatter is None:
            keys.narrow(3, placement.start, k.shape[1]).copy_(k.permute(0, 2, 3, 1))
            values.narrow(2, placement.start, v.shape[1]).copy_(v.transpose(1, 2))
        else:
            rows, slots, tokens = placement.scatter
            k, v = k.flatten(0, 1), v.flatten(0, 1)  # [B T, K, H]
            keys[rows, :, :, slots] = k if tokens is None else k[tokens]
            values[rows, :, slots] = v if tokens is None else v[tokens]


def require_keys_and_values(spec: ModelSpec) -> None:
    """Refuse a model that keeps latents."""
    require(spec.mla is None, f"{spec.name} has latent attention, so it needs a cache of latents.")
