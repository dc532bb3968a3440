"""How do heads attend if a token keeps one latent instead of keys and values? Absorbed or expanded, equal sums.

    expanded    k_n[s] = (U_n l[s], r[s]),  v_n[s] = V_n l[s]          keys and values of every head, then as ever
    absorbed    q_n . k_n[s] = (U_n' q_n) . l[s] + q_rope . r[s]       the up-projection moves to the query,
                sum_s w[s] v_n[s] = V_n (sum_s w[s] l[s])              and behind the sum

Symbols: l[s] latent of a token (c numbers), r[s] its one rotated key, U_n, V_n the parts of `kv_up` that belong to
head n. Absorbed, all N heads meet each latent while it is loaded: 2 N (2 c + d_rope) FLOPs for c + d_rope numbers
read, which is decode. Expanded costs 2 N c (d_nope + d_v) FLOPs for each cached token, but less for each pair, which
is prefill. Ignores sparse attention on top of latents.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Queries = tuple[Tensor, Tensor]  # [B, T, N, d_nope] and, rotated, [B, T, N, d_rope]; both scaled


class LatentHeads(NamedTuple):
    """What a layer makes of its new tokens, before rotation."""

    plain: Tensor  # [B, T, N, d_nope] the part of the queries that has no place
    turned: Tensor  # [B, T, N, d_rope] the part that is rotated
    latent: Tensor  # [B, T, c]
    key: Tensor  # [B, T, 1, d_rope]
    kv_up: Tensor  # [N, d_nope + d_v, c] from latents to keys and values


def absorbed(q: Queries, seen: Tensor, kv_up: Tensor, *, bias: Tensor | None) -> Tensor:
    """seen [B, S, c + d_rope], bias [B or 1, 1, T, 1, S] -> [B, T, N, d_v]"""
    plain, turned = q
    shape, d_nope = plain.shape[:3], plain.shape[-1]
    per_head = plain.flatten(0, 1).transpose(0, 1)  # [N, B T, d_nope]
    moved = torch.bmm(per_head, kv_up[:, :d_nope]).transpose(0, 1)  # [B T, N, c]
    both = torch.cat((moved.view(*shape, -1), turned), -1)
    mixed = attend_latents(both, seen, bias=bias, d_latent=kv_up.shape[-1])  # [B, T, N, c]
    mixed = mixed.flatten(0, 1).transpose(0, 1)
    return torch.bmm(mixed, kv_up[:, d_nope:].transpose(1, 2)).transpose(0, 1).reshape(*shape, -1)


def expanded(q: Queries, seen: Tensor, kv_up: Tensor, *, bias: Tensor | None, causal: bool = False) -> Tensor:
    """From the keys and values of every head, made from the latents; `causal`: `seen` are the new tokens themselves.

    The shapes are those of `absorbed`.
    """
    plain, turned = q
    latent, key = seen.split([kv_up.shape[-1], turned.shape[-1]], -1)
    made = (latent @ kv_up.flatten(0, 1).T).unflatten(-1, kv_up.shape[:2])  # [B, S, N, ...]
    keys, values = made.tensor_split([plain.shape[-1]], -1)
    shared = key[:, :, None].expand(-1, -1, plain.shape[2], -1)
    q_all, k_all = torch.cat(q, -1).transpose(1, 2), torch.cat((keys, shared), -1).transpose(1, 2)
    mask = None if bias is None else bias[:, :, :, 0]  # [B or 1, 1, T, S]
    out = scaled_dot_product_attention(
        q_all, k_all, values.transpose(1, 2), attn_mask=mask, is_causal=causal, scale=1.0
    )
    return out.transpose(1, 2)


def attend_latents(q: Tensor, seen: Tensor, *, bias: Tensor | None, d_latent: int) -> Tensor:
    """Decode attention over latents: two matmuls a sequence, whose rows are all heads, so each latent is read for all.

    q [B, T, N, c + d_rope], scaled, seen [B, S, c + d_rope], bias [B or 1, 1, T, 1, S] -> [B, T, N, c]
    """
    n_rows, n_tokens, n_heads, _ = q.shape
    scores = torch.bmm(q.flatten(1, 2), seen.transpose(1, 2))  # [B, T N, S]
    if bias is not None:
        scores.view(n_rows, n_tokens, n_heads, -1).add_(bias[:, 0])
    mixed = torch.bmm(torch.softmax(scores, -1), seen[..., :d_latent])
    return mixed.view(n_rows, n_tokens, n_heads, d_latent)
