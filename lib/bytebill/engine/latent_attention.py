"""How do heads attend if a token keeps one latent instead of keys and values? Absorbed or expanded, equal sums.

    expanded    k_n[s] = (U_n l[s], r[s]),  v_n[s] = V_n l[s]          keys and values of every head, then as ever
    absorbed    q_n . k_n[s] = (U_n' q_n) . l[s] + q_rope . r[s]       the up-projection moves to the query,
                sum_s w[s] v_n[s] = V_n (sum_s w[s] l[s])              and behind the sum

Symbols: l[s] latent of a token (c numbers), r[s] its one rotated key, U_n, V_n the parts of `kv_up` that belong to
head n. Absorbed, all N heads meet each latent while it is loaded: 2 N (2 c + d_rope) FLOPs for c + d_rope numbers
read, which is decode. Expanded costs 2 N c (d_nope + d_v) FLOPs for each cached token, but less for each pair, which
is prefill. Rotation pairs (i, i + d_rope / 2); a checkpoint that pairs neighbours is reordered when loaded.
Ignores sparse attention on top of latents, and the scaling of long contexts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bytebill.engine.attention import FEW_TOKENS
from bytebill.engine.cache.contiguous import Cache, Placement, Places
from bytebill.engine.cache.latent import LatentCache
from bytebill.engine.layers import Factors, Linear, RMSNorm, rotate
from bytebill.errors import BytebillError
from bytebill.models import MLASpec, ModelSpec


class LatentRotary:
    """Positions to the factors that rotate one head of width d_rope; the same for queries and the shared key."""

    def __init__(self, *, frequencies: Tensor, dtype: torch.dtype) -> None:
        self._frequencies, self._dtype = frequencies.float(), dtype

    def factors(self, positions: Tensor) -> Factors:
        """positions [B or 1, T] -> cosines and sines [B or 1, T, 1, d_rope], as `blocks.rotate` takes them."""
        angles = (positions[..., None] * self._frequencies)[..., None, :]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), -1).to(self._dtype), torch.cat((-sin, sin), -1).to(self._dtype)


class LatentAttention:
    """Attention over a `LatentCache`: absorbed up to `expand_above` new tokens of a sequence, else expanded."""

    expand_above = FEW_TOKENS

    def __init__(
        self,
        spec: ModelSpec,
        *,
        layer: int,
        down: Linear,
        q_norm: RMSNorm,
        q_up: Linear,
        kv_norm: RMSNorm,
        kv_up: Tensor,
        out: Linear,
    ) -> None:
        """down [(q_lora_rank + c + d_rope), D] makes the latents of query and token; kv_up is [N (d_nope + d_v), c]."""
        self.layer, self.down, self.q_up, self.out = layer, down, q_up, out
        self.q_norm, self.kv_norm, self._mla = q_norm, kv_norm, _latent(spec)
        self._kv_up = kv_up.view(spec.n_heads, -1, kv_up.shape[1])  # [N, d_nope + d_v, c]
        self._n_heads, self._scale = spec.n_heads, spec.d_head**-0.5
        self._split = [self._mla.q_lora_rank, self._mla.kv_lora_rank, self._mla.d_rope]

    def __call__(self, x: Tensor, factors: Factors, cache: Cache, placement: Places) -> Tensor:
        """x [B T, D] -> [B T, D]"""
        if not isinstance(cache, LatentCache) or not isinstance(placement, Placement):
            raise BytebillError("Latent attention runs over its own contiguous cache alone.")
        n_tokens = placement.positions.shape[1]
        q_latent, latent, key = self.down(x).split(self._split, -1)
        q = self.q_up(self.q_norm(q_latent.contiguous())).view(-1, n_tokens, self._n_heads, self._q_width)
        key = rotate(key.reshape(-1, n_tokens, 1, self._mla.d_rope), factors)[:, :, 0]
        new = torch.cat((self.kv_norm(latent.contiguous()).view(-1, n_tokens, latent.shape[-1]), key), -1)
        plain, turned = q.split([self._mla.d_nope, self._mla.d_rope], -1)
        seen = cache.append(self.layer, new, placement)
        fresh = placement.fresh and n_tokens > 1
        pair = (plain * self._scale, rotate(turned, factors) * self._scale)
        if n_tokens > self.expand_above or fresh:
            mixed = self._expanded(pair, new if fresh else seen, None if fresh else placement.bias, causal=fresh)
        else:
            mixed = self._absorbed(pair, seen, placement.bias)
        return self.out(mixed.reshape(x.shape[0], -1))

    @property
    def _q_width(self) -> int:
        return self._mla.d_nope + self._mla.d_rope

    def _absorbed(self, q: tuple[Tensor, Tensor], seen: Tensor, bias: Tensor | None) -> Tensor:
        """q [B, T, N, d_nope] and [B, T, N, d_rope], seen [B, S, c + d_rope] -> [B, T, N, d_v]"""
        plain, turned = q
        shape, d_nope = plain.shape[:3], self._mla.d_nope
        per_head = plain.flatten(0, 1).transpose(0, 1)  # [N, B T, d_nope]
        moved = torch.bmm(per_head, self._kv_up[:, :d_nope]).transpose(0, 1)  # [B T, N, c]
        both = torch.cat((moved.view(*shape, -1), turned), -1)
        mixed = attend(both, seen, bias=bias, d_latent=self._mla.kv_lora_rank)  # [B, T, N, c]
        mixed = mixed.flatten(0, 1).transpose(0, 1)
        return torch.bmm(mixed, self._kv_up[:, d_nope:].transpose(1, 2)).transpose(0, 1).reshape(*shape, -1)

    def _expanded(self, q: tuple[Tensor, Tensor], seen: Tensor, bias: Tensor | None, *, causal: bool) -> Tensor:
        """The same from the keys and values of every head, made from the latents."""
        latent, key = seen.split([self._mla.kv_lora_rank, self._mla.d_rope], -1)
        made = (latent @ self._kv_up.flatten(0, 1).T).unflatten(-1, self._kv_up.shape[:2])  # [B, S, N, ...]
        keys, values = made.split([self._mla.d_nope, self._mla.d_v], -1)
        shared = key[:, :, None].expand(-1, -1, self._n_heads, -1)
        q_all, k_all = torch.cat(q, -1).transpose(1, 2), torch.cat((keys, shared), -1).transpose(1, 2)
        mask = None if bias is None else bias[:, :, :, 0]  # [B or 1, 1, T, S]
        out = scaled_dot_product_attention(
            q_all, k_all, values.transpose(1, 2), attn_mask=mask, is_causal=causal, scale=1.0
        )
        return out.transpose(1, 2)


def attend(q: Tensor, seen: Tensor, *, bias: Tensor | None, d_latent: int) -> Tensor:
    """Decode attention over latents: two matmuls a sequence, whose rows are all heads, so each latent is read for all.

    q [B, T, N, c + d_rope], scaled, seen [B, S, c + d_rope], bias [B or 1, 1, T, 1, S] -> [B, T, N, c]
    """
    n_rows, n_tokens, n_heads, _ = q.shape
    scores = torch.bmm(q.flatten(1, 2), seen.transpose(1, 2))  # [B, T N, S]
    if bias is not None:
        scores.view(n_rows, n_tokens, n_heads, -1).add_(bias[:, 0])
    mixed = torch.bmm(torch.softmax(scores, -1), seen[..., :d_latent])
    return mixed.view(n_rows, n_tokens, n_heads, d_latent)


def _latent(spec: ModelSpec) -> MLASpec:
    if spec.mla is None:
        raise BytebillError(f"{spec.name} has no latent attention.")
    return spec.mla
