"""How does a query meet the cached keys? The same sum, shaped for few queries (decode) or for many (prefill).

    out[t] = sum over s of softmax_s(q[t] . k[s]) v[s]          s runs over the slots that token t may see

Symbols: B sequences, T new tokens of each, S cache slots read, N query heads, K KV heads, g = N / K, H head
size [numbers]. Queries arrive scaled by H**-0.5 (`Rotary` does it), keys are cached transposed, [B K, H, S]:
the shape a batched matmul of scores takes as it is. Ignores sliding windows (`Transformer.new_cache` refuses them).
"""

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn.functional import scaled_dot_product_attention

from bytebill.engine.kernels import products
from bytebill.engine.kernels.sdpa import without_plans

FEW_TOKENS = 16  # up to here two batched matmuls per KV head beat SDPA on a CPU, by up to four times


def queries(q: Tensor, *, keys: Tensor, values: Tensor, bias: Tensor | None, last: bool = False) -> Tensor:
    """Attention of new tokens over the cache, by their number; the shapes are those of `few_queries`.

    `last`: the new tokens fill the last slots of every sequence, and `bias` says no more than that.
    """
    if q.shape[1] <= FEW_TOKENS or bias is None:
        return few_queries(q, keys=keys, values=values, bias=bias)
    if last and q.is_cuda and _flash_takes(*_by_head(q, keys, values)):
        return later_queries(q, keys=keys, values=values)
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
    scores = products.bmm(q.reshape(n_rows * n_kv_heads, n_tokens * group, d_head), keys)  # [B K, T g, S]
    if bias is not None:
        scores.view(n_rows, n_kv_heads, n_tokens, group, n_slots).add_(bias)
    out = products.bmm(torch.softmax(scores, -1), values)  # [B K, T g, H]
    if n_tokens > 1:
        out = out.view(n_rows, n_kv_heads, n_tokens, group, d_head).transpose(1, 2)
    return out.reshape(n_rows, n_tokens, n_heads, d_head)


def first_queries(q: Tensor, *, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention of tokens with no context: they see each other only. Right padding is never seen.

    q [B, T, N, H], keys and values [B, T, K, H] -> [B, T, N, H]
    """
    with without_plans(q):
        return scaled_dot_product_attention(
            q.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            is_causal=True,
            scale=1.0,
            enable_gqa=q.shape[2] != keys.shape[2],
        ).transpose(1, 2)


def later_queries(q: Tensor, *, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention of tokens that are the last ones of as long a context in all sequences: by flash attention, on a
    GPU, no mask is read, and query heads find their KV head. The shapes are those of `few_queries`.
    """
    from torch.nn.attention.bias import causal_lower_right  # brings torch's compiler along, which takes a second

    n_tokens, n_slots = q.shape[1], keys.shape[2]
    q, keys, values = _by_head(q, keys, values)
    with without_plans(q):
        return scaled_dot_product_attention(
            q,
            keys,
            values,
            attn_mask=causal_lower_right(n_tokens, n_slots),
            scale=1.0,
            enable_gqa=q.shape[1] != keys.shape[1],
        ).transpose(1, 2)


def _by_head(q: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shapes of `few_queries` -> [B, N, T, H], [B, K, S, H] twice."""
    rows = q.shape[0], keys.shape[0] // q.shape[0]  # [B, K]
    return q.transpose(1, 2), keys.transpose(1, 2).unflatten(0, rows), values.unflatten(0, rows)


def _flash_takes(q: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether flash attention takes these, 16 bits wide as it wants them; no other takes heads in groups."""
    return can_use_flash_attention(SDPAParams(q, keys, values, None, 0.0, False, q.shape[1] != keys.shape[1]))


def many_queries(q: Tensor, *, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of a long chunk over cache and chunk; the shapes are those of `few_queries`.

    KV heads are copied out to the query heads: with a mask, SDPA is then up to three times faster on a CPU.
    """
    rows = q.shape[0], q.shape[2]  # [B, N]
    group = q.shape[0] * q.shape[2] // keys.shape[0]
    with without_plans(q):
        return scaled_dot_product_attention(
            q.transpose(1, 2),
            keys.transpose(1, 2).repeat_interleave(group, dim=0).unflatten(0, rows),  # [B, N, S, H]
            values.repeat_interleave(group, dim=0).unflatten(0, rows),
            attn_mask=bias[:, :, :, 0],  # [B or 1, 1, T, S]
            scale=1.0,
        ).transpose(1, 2)
