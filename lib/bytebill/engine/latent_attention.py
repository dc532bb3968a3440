"""What does a layer with latents do? It projects a token to one latent and a key, and its heads attend to those.

    q = q_up(norm(down(x)_q)),  latent = norm(down(x)_kv),  key = down(x)_rope          each a part of down(x)

What the cache then does with them is told in `latents`, whose symbols these are. Ignores the scaling of long contexts.
"""

from __future__ import annotations

from torch import Tensor

from bytebill.engine.build import Linear, Loader
from bytebill.engine.cache.places import Cache, PlacesT
from bytebill.engine.kernels.norm import RMSNorm
from bytebill.engine.latents import LatentHeads
from bytebill.engine.rotary import Factors
from bytebill.models import MLASpec


class LatentAttention:
    """Self-attention over one latent a token; the cache rotates, stores and attends."""

    def __init__(
        self,
        mla: MLASpec,
        *,
        layer: int,
        down: Linear,
        q_norm: RMSNorm,
        q_up: Linear,
        kv_norm: RMSNorm,
        kv_up: Tensor,
        out: Linear,
    ) -> None:
        """down [(q_lora_rank + c + d_rope), D] makes the latents of query and token; kv_up is [N, d_nope + d_v, c]."""
        self.layer, self.down, self.q_up, self.out = layer, down, q_up, out
        self.q_norm, self.kv_norm, self.kv_up = q_norm, kv_norm, kv_up
        self._split, self._q_split = [mla.q_lora_rank, mla.kv_lora_rank, mla.d_rope], [mla.d_nope, mla.d_rope]
        self._n_heads, self._d_q, self._d_latent, self._d_rope = len(kv_up), sum(self._q_split), *self._split[1:]

    @classmethod
    def from_weights(cls, load: Loader, layer: int, mla: MLASpec) -> LatentAttention:
        """The attention of one layer."""
        prefix = f"layers.{layer}."
        return cls(
            mla,
            layer=layer,
            down=load.linear(prefix + "latents_down"),
            q_norm=load.norm(prefix + "q_latent_norm"),
            q_up=load.linear(prefix + "q_up"),
            kv_norm=load.norm(prefix + "kv_latent_norm"),
            kv_up=load.vector(prefix + "kv_up").unflatten(0, (load.spec.n_heads, -1)),  # a matmul for each head
            out=load.summed(prefix + "attention_out"),
        )

    def __call__(self, x: Tensor, factors: Factors, cache: Cache[LatentHeads, PlacesT], placement: PlacesT) -> Tensor:
        """x [B T, D] -> [B T, D]"""
        n_tokens = placement.positions.shape[1]
        q_latent, latent, key = self.down(x).split(self._split, -1)
        q = self.q_up(self.q_norm(q_latent.contiguous())).view(-1, n_tokens, self._n_heads, self._d_q)
        latent = self.kv_norm(latent.contiguous()).view(-1, n_tokens, self._d_latent)
        key = key.reshape(-1, n_tokens, 1, self._d_rope)
        plain, turned = q.split(self._q_split, -1)
        heads = LatentHeads(plain, turned, latent, key, self.kv_up)
        return self.out(cache.attend(self.layer, heads, factors, placement))
