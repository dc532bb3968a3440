"""How do heads attend if a token keeps one latent instead of keys and values? Absorbed or expanded, equal sums.

    expanded    k_n[s] = (U_n l[s], r[s]),  v_n[s] = V_n l[s]          keys and values of every head, then as ever
    absorbed    q_n . k_n[s] = (U_n' q_n) . l[s] + q_rope . r[s]       the up-projection moves to the query,
                sum_s w[s] v_n[s] = V_n (sum_s w[s] l[s])              and behind the sum

A layer makes them of its input x:

    q = q_up(norm(down(x)_q)),  latent = norm(down(x)_kv),  key = down(x)_rope          each a part of down(x)

Symbols: l[s] latent of a token (c numbers), r[s] its one rotated key, U_n, V_n the parts of `kv_up` that belong to
head n. Absorbed, all N heads meet each latent while it is loaded: 2 N (2 c + d_rope) FLOPs for c + d_rope numbers
read, which is decode. Expanded costs 2 N c (d_nope + d_v) FLOPs for each cached token, but less for each pair, which
is prefill. Ignores sparse attention on top of latents, and the scaling of long contexts.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bytebill.engine.build import Linear, Loader
from bytebill.engine.cache.places import Cache, PlacesT
from bytebill.engine.kernels import products
from bytebill.engine.kernels.norm import RMSNorm
from bytebill.engine.kernels.sdpa import without_plans
from bytebill.engine.rotary import Factors
from bytebill.models import MLASpec

Queries = tuple[Tensor, Tensor]  # [B, T, N, d_nope] and, rotated, [B, T, N, d_rope]; both scaled


class LatentHeads(NamedTuple):
    """What a layer makes of its new tokens, before rotation."""

    plain: Tensor  # [B, T, N, d_nope] the part of the queries that has no place
    turned: Tensor  # [B, T, N, d_rope] the part that is rotated
    latent: Tensor  # [B, T, c]
    key: Tensor  # [B, T, 1, d_rope]
    kv_up: Tensor  # [N, d_nope + d_v, c] from latents to keys and values


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
        self._split = [mla.q_lora_rank, mla.kv_lora_rank, mla.d_rope]
        self._q_split = [mla.d_nope, mla.d_rope]
        self._n_heads, self._d_q = len(kv_up), mla.d_nope + mla.d_rope
        self._d_latent, self._d_rope = mla.kv_lora_rank, mla.d_rope

    @classmethod
    def from_weights(cls, load: Loader, layer: int, mla: MLASpec) -> Self:
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
        plain, turned = q.split(self._q_split, -1)
        heads = LatentHeads(
            plain,
            turned,
            self.kv_norm(latent.contiguous()).view(-1, n_tokens, self._d_latent),
            key.reshape(-1, n_tokens, 1, self._d_rope),
            self.kv_up,
        )
        return self.out(cache.attend(self.layer, heads, factors, placement))


def absorbed(q: Queries, seen: Tensor, kv_up: Tensor, *, bias: Tensor | None) -> Tensor:
    """seen [B, S, c + d_rope], bias [B or 1, 1, T, 1, S] -> [B, T, N, d_v]"""
    plain, turned = q
    shape, d_nope = plain.shape[:3], plain.shape[-1]
    moved = products.bmm(plain.flatten(0, 1).transpose(0, 1), kv_up[:, :d_nope]).transpose(0, 1)  # [B T, N, c]
    both = torch.cat((moved.view(*shape, -1), turned), -1)
    mixed = attend_latents(both, seen, bias=bias, d_latent=kv_up.shape[-1])  # [B, T, N, c]
    return (
        products.bmm(mixed.flatten(0, 1).transpose(0, 1), kv_up[:, d_nope:].transpose(1, 2))
        .transpose(0, 1)
        .reshape(*shape, -1)
    )


def expanded(q: Queries, seen: Tensor, kv_up: Tensor, *, bias: Tensor | None, causal: bool = False) -> Tensor:
    """From the keys and values of every head, made from the latents; `causal`: `seen` are the new tokens themselves.

    The shapes are those of `absorbed`.
    """
    plain, turned = q
    latent, key = seen.split([kv_up.shape[-1], turned.shape[-1]], -1)
    made = products.multiplied(latent, kv_up.flatten(0, 1)).unflatten(-1, kv_up.shape[:2])  # [B, S, N, ...]
    keys, values = made.tensor_split([plain.shape[-1]], -1)
    with without_plans(plain):
        return scaled_dot_product_attention(
            torch.cat(q, -1).transpose(1, 2),
            torch.cat((keys, key[:, :, None].expand(-1, -1, plain.shape[2], -1)), -1).transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=None if bias is None else bias[:, :, :, 0],  # [B or 1, 1, T, S]
            is_causal=causal,
            scale=1.0,
        ).transpose(1, 2)


def attend_latents(q: Tensor, seen: Tensor, *, bias: Tensor | None, d_latent: int) -> Tensor:
    """Decode attention over latents: two matmuls a sequence, whose rows are all heads, so each latent is read for all.

    q [B, T, N, c + d_rope], scaled, seen [B, S, c + d_rope], bias [B or 1, 1, T, 1, S] -> [B, T, N, c]
    """
    n_rows, n_tokens, n_heads, _ = q.shape
    scores = products.bmm(q.flatten(1, 2), seen.transpose(1, 2))  # [B, T N, S]
    if bias is not None:
        scores.view(n_rows, n_tokens, n_heads, -1).add_(bias[:, 0])
    return products.bmm(torch.softmax(scores, -1), seen[..., :d_latent]).view(n_rows, n_tokens, n_heads, d_latent)
