"""Where do latents live? One vector for each token and layer, which all heads share, instead of keys and values.

    bytes_per_token = L * (c + r) * bytes_per_value            [bytes/token]

Symbols: L layers, c `kv_lora_rank`, r `d_rope` [numbers]. A token's row is its normed latent, from which every head
makes key and value, and behind it the one rotated key. Rows lie as [L, B, max_len, c + r], so that a sequence's
latents of a layer are one stream. Ignores paging.
"""

import torch
from torch import Tensor

from bytebill.engine import latents
from bytebill.engine.attention import FEW_TOKENS
from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.cache.places import Placement, SlotMemory
from bytebill.engine.latents import LatentHeads
from bytebill.engine.rotary import Factors, rotate
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec


class LatentCache(SlotMemory):
    """Latents of `batch_size` sequences, room for `max_len` tokens each.

    Attention is absorbed up to `expand_above` new tokens of a sequence, else expanded.
    """

    expand_above = FEW_TOKENS

    def __init__(
        self, spec: ModelSpec, *, batch_size: int, max_len: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        if spec.mla is None:
            raise BytebillError(f"{spec.name} has no latent attention, so it needs a cache of keys and values.")
        self.d_latent = spec.mla.kv_lora_rank
        width = self.d_latent + spec.mla.d_rope
        # Zeros for the reason `ContiguousCache` has them.
        rows = torch.zeros(spec.n_layers, batch_size, max_len, width, dtype=dtype, device=device)
        super().__init__(rows, batch_size=batch_size, max_len=max_len)
        self._layers, self._scale = rows.unbind(0), spec.d_head**-0.5

    def attend(self, layer: int, heads: LatentHeads, factors: Factors, placement: Placement) -> Tensor:
        """Rotate, store the new tokens' rows, and let the queries see all they may -> [B T, N d_v]."""
        new = torch.cat((heads.latent, rotate(heads.key, factors)[:, :, 0]), -1)
        self._append(self._layers[layer], new, placement)
        q = (heads.plain * self._scale, rotate(heads.turned, factors) * self._scale)
        if placement.fresh:
            mixed = latents.expanded(q, new, heads.kv_up, bias=None, causal=True)
        else:
            few = new.shape[1] <= self.expand_above
            seen = self._layers[layer].narrow(1, 0, placement.n_slots)
            mixed = (latents.absorbed if few else latents.expanded)(q, seen, heads.kv_up, bias=placement.bias)
        return mixed.reshape(new.shape[0] * new.shape[1], -1)

    @staticmethod
    def _append(rows: Tensor, new: Tensor, placement: Placement) -> None:
        if placement.scatter is None:
            rows.narrow(1, placement.start, new.shape[1]).copy_(new)
        else:
            which, slots, tokens = placement.scatter
            rows[which, slots] = new.flatten(0, 1) if tokens is None else new.flatten(0, 1)[tokens]


SlotCache = ContiguousCache | LatentCache


def slot_cache(
    spec: ModelSpec, *, batch_size: int, max_len: int, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> SlotCache:
    """The cache of the kind that a model's attention asks for."""
    kind = ContiguousCache if spec.mla is None else LatentCache
    return kind(spec, batch_size=batch_size, max_len=max_len, dtype=dtype, device=device)
