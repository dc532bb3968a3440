"""Where do latents live? One vector for each token and layer, which all heads share, instead of keys and values.

    bytes_per_token = L * (c + r) * bytes_per_value            [bytes/token]

Symbols: L layers, c `kv_lora_rank`, r `d_rope` [numbers]. A token's row is its normed latent, from which every head
makes key and value, and behind it the one rotated key. Rows lie as [L, B, max_len, c + r], so that a sequence's
latents of a layer are one stream. Places, lengths and masks are those of `kv.ContiguousCache`. Ignores paging.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bytebill.engine.cache.contiguous import ContiguousCache, Placement
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec


class LatentCache(ContiguousCache):
    """Latents of `batch_size` sequences, room for `max_len` tokens each."""

    def __init__(
        self, spec: ModelSpec, *, batch_size: int, max_len: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        if spec.mla is None:
            raise BytebillError(f"{spec.name} has no latent attention, so it needs a cache of keys and values.")
        width = spec.mla.kv_lora_rank + spec.mla.d_rope
        # Zeros for the reason `ContiguousCache` has them; `_keys` because the masks ask it for the dtype.
        self._keys = torch.zeros(spec.n_layers, batch_size, max_len, width, dtype=dtype, device=device)
        self._latents, self._kernel = self._keys.unbind(0), None
        self.slots = torch.arange(max_len, device=device)
        self.batch_size, self.max_len = batch_size, max_len
        self.lengths = [0] * batch_size

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self._keys,)

    def append(self, layer: int, rows: Tensor, placement: Placement) -> Tensor:
        """Store the new tokens' rows [B, T, c + r], and give all that attention reads: [B, n_slots, c + r]."""
        latents = self._latents[layer]
        if placement.start is not None:
            latents.narrow(1, placement.start, rows.shape[1]).copy_(rows)
        else:
            assert placement.scatter is not None
            which, slots, tokens = placement.scatter
            flat = rows.flatten(0, 1)
            latents[which, slots] = flat if tokens is None else flat[tokens]
        return latents.narrow(1, 0, placement.n_slots)
