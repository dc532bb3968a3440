"""What is a layer made of? Attention and a SwiGLU, each behind its norm, in few torch calls.

    norm(x) = x / sqrt(mean(x^2) + eps) * weight
    swiglu(x) = down(silu(gate(x)) * up(x))

Symbols: D `d_model`, N, K and H as in `models`. In decode at batch 1 a small model spends as long between its matmuls
as in them, so query, key and value are one matmul, gate and up another, and rotation is three calls (`rotary`).
Ignores dropout and anything else of training.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu

from bytebill.engine.build import Linear, Loader
from bytebill.engine.cache.places import Cache, PlacesT
from bytebill.engine.kernels.norm import RMSNorm
from bytebill.engine.rotary import Factors
from bytebill.models import ModelSpec


class Attention:
    """Self-attention with any number of query heads per KV head; the cache rotates, stores and attends."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        layer: int,
        qkv: Linear,
        out: Linear,
        qkv_bias: Tensor | None = None,
        qk_norm: RMSNorm | None = None,
    ) -> None:
        self.layer, self.qkv, self.out, self.qkv_bias, self.qk_norm = layer, qkv, out, qkv_bias, qk_norm
        self._n_heads, self._d_head = spec.n_heads + 2 * spec.n_kv_heads, spec.d_head
        self._n_values = spec.n_kv_heads

    @classmethod
    def from_weights(cls, load: Loader, layer: int) -> Attention:
        """The attention of one layer."""
        spec, prefix = load.spec, f"layers.{layer}."
        return cls(
            spec,
            layer=layer,
            qkv=load.linear(prefix + "qkv"),
            out=load.summed(prefix + "attention_out"),
            qkv_bias=load.vector(prefix + "qkv_bias") if spec.qkv_bias else None,
            qk_norm=_norm_by_head(load, prefix) if spec.qk_norm else None,
        )

    def __call__(self, x: Tensor, factors: Factors, cache: Cache[Tensor, PlacesT], placement: PlacesT) -> Tensor:
        """x [B T, D] -> [B T, D]"""
        heads = self.qkv(x)
        if self.qkv_bias is not None:
            heads = heads + self.qkv_bias
        heads = heads.view(-1, placement.positions.shape[1], self._n_heads, self._d_head)
        if self.qk_norm is not None:
            heads = torch.cat((self.qk_norm(heads[:, :, : -self._n_values]), heads[:, :, -self._n_values :]), 2)
        return self.out(cache.attend(self.layer, heads, factors, placement))


def _norm_by_head(load: Loader, prefix: str) -> RMSNorm:
    """One scale per head: the queries' for N heads, then the keys' for K."""
    spec, q, k = load.spec, load.vector(prefix + "q_norm"), load.vector(prefix + "k_norm")
    return RMSNorm(torch.cat((q.expand(spec.n_heads, -1), k.expand(spec.n_kv_heads, -1))), eps=spec.norm_eps)


class SwiGLU:
    """The gated MLP, gate and up projections in one matmul."""

    def __init__(self, *, gate_up: Linear, down: Linear) -> None:
        self.gate_up, self.down = gate_up, down

    @classmethod
    def from_weights(cls, load: Loader, prefix: str) -> SwiGLU:
        """The MLP whose matrices are named behind the prefix."""
        return cls(gate_up=load.linear(prefix + "gate_up"), down=load.summed(prefix + "down"))

    def __call__(self, x: Tensor) -> Tensor:
        """x [n, D] -> [n, D]"""
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(silu(gate).mul_(up))
