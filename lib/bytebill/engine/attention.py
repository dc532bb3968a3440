"""How does a query meet the cached keys? The same sum, shaped for few queries (decode) or for many (prefill).

    out[t] = sum over s of softmax_s(q[t] . k[s]) v[s]          s runs over the slots that token t may see

Symbols: B sequences, T new tokens of each, S cache slots read, N query heads, K KV heads, g = N / K, H head
size [numbers]. Queries arrive scaled by H**-0.5 (`Rotary` does it), keys are cached transposed, [B K, H, S]:
the shape a batched matmul of scores takes as it is. Ignores sliding windows (`Transformer.new_cache` refuses them).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

FEW_TOKENS = 16  # up to here two batched matmuls per KV head beat SDPA on a CPU, by up to four times


def queries(q: Tensor, *, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of new tokens over the cache, by their number; the shapes are those of `few_queries`."""
    if q.shape[1] <= FEW_TOKENS or bias is None:
        return few_queries(q, keys=keys, values=values, bias=bias)
    return many_queries(q, keys=keys, values=values, bias=bias)


def few_queries(q: Tensor, *, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of a few new tokens over the cache: one matmul per KV head for the scores, one for the sum.

    The g query heads that share a KV head are the rows of one matmul, so each cached value is read once.
    q [B, T, N, H], keys [B K, H, S], values [B K, S, H], bias [B or 1, 1, T, 1, S] -> [B, T, N, H]
    """
    n_rows, n_tokens, n_heads, d_head = q.shape
    n_kv_heads, n_slots = keys.shape[0] // n_rows, keys.shape[2]
    group = n_heads // n_kv_heads
    if n_tokens > 1:
        q = q.unflatten(2, (n_kv_heads, group)).transpose(1, 2)  # [B, K, T, g, H]
    q = q.reshape(n_rows * n_kv_heads, n_tokens * group, d_head)
    scores = torch.bmm(q, keys)  # [B K, T g, S]
    if bias is not None:
        scores.view(n_rows, n_kv_heads, n_tokens, group, n_slots).add_(bias)
    out = torch.bmm(torch.softmax(scores, -1), values)  # [B K, T g, H]
    if n_tokens > 1:
        out = out.view(n_rows, n_kv_heads, n_tokens, group, d_head).transpose(1, 2)
    return out.reshape(n_rows, n_tokens, n_heads, d_head)


def first_queries(q: Tensor, *, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention of tokens with no context: they see each other only. Right padding is never seen.

    q [B, T, N, H], keys and values [B, T, K, H] -> [B, T, N, H]
    """
    q, keys, values = q.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
    shared = q.shape[1] != keys.shape[1]
    out = scaled_dot_product_attention(q, keys, values, is_causal=True, scale=1.0, enable_gqa=shared)
    return out.transpose(1, 2)


def many_queries(q: Tensor, *, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of a long chunk over cache and chunk; the shapes are those of `few_queries`.

    KV heads are copied out to the query heads: with a mask, SDPA is then up to three times faster on a CPU.
    """
    n_rows, _, n_heads, _ = q.shape
    group = n_rows * n_heads // keys.shape[0]
    keys = keys.transpose(1, 2).repeat_interleave(group, dim=0)  # [B N, S, H]
    values = values.repeat_interleave(group, dim=0)
    keys, values = keys.unflatten(0, (n_rows, n_heads)), values.unflatten(0, (n_rows, n_heads))
    mask = bias[:, :, :, 0]  # [B or 1, 1, T, S]
    out = scaled_dot_product_attention(q.transpose(1, 2), keys, values, attn_mask=mask, scale=1.0)
    return out.transpose(1, 2)
