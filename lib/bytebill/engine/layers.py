"""What is a layer made of? RMSNorm, rotary positions, attention and a SwiGLU, each in few torch calls.

    norm(x) = x / sqrt(mean(x^2) + eps) * weight
    rotate(x) = x * cos(m f) + swap(x) * sin(m f)             position m, frequencies f_i = base^(-2 i / H)
    swiglu(x) = down(silu(gate(x)) * up(x))

Symbols: D `d_model`, F `d_ff`, N, K and H as in `models`. In decode at batch 1 a small model spends as long
between its matmuls as in them, so query, key and value are one matmul, gate and up another, and rotation is
three calls. Ignores dropout and anything else of training.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

from bytebill.engine.cache.contiguous import Cache, Places
from bytebill.engine.kernels.norm import norm
from bytebill.models import ModelSpec

Linear = Callable[[Tensor], Tensor]  # [..., n_in] -> [..., n_out]
Factors = tuple[Tensor, Tensor]  # cosines and sines, each [B or 1, T, N + 2 K, H]


class RMSNorm:
    """Scale to unit mean square: by the kernel of `norm_kernel` where it serves, else by torch."""

    def __init__(self, weight: Tensor, *, eps: float) -> None:
        self.weight, self.eps = weight, eps
        self._eps = torch.full((1,), eps, dtype=torch.float32, device=weight.device)
        self._fused = weight.device.type != "cpu"
        self._kernel = norm(weight, eps=eps)

    def __call__(self, x: Tensor) -> Tensor:
        if self._kernel is not None and x.dtype == self.weight.dtype:
            return self._kernel(x)
        width = x.shape[-1]
        if self._fused:
            if self.weight.dim() == 1:
                return rms_norm(x, (width,), self.weight, self.eps)
            return rms_norm(x, (width,), None, self.eps) * self.weight  # one weight per head
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.addcmul(self._eps, length, length, value=1 / width).rsqrt_()
        return (x * scale).to(x.dtype).mul_(self.weight)


class Rotary:
    """Turns positions into factors that rotate queries and keys; worked out once a step, for all layers.

    Values pass with factors 1 and 0, and queries take their H**-0.5 along, so that one multiply-add serves
    all heads.
    """

    def __init__(self, spec: ModelSpec, *, frequencies: Tensor, dtype: torch.dtype) -> None:
        heads = (spec.n_heads, spec.n_kv_heads, spec.n_kv_heads)
        device = frequencies.device
        self._frequencies, self._dtype = frequencies.float(), dtype
        self._weight = _per_head((spec.d_head**-0.5, 1.0, 0.0), heads).to(device)  # [N + 2 K, 1]
        self._offset = _per_head((0.0, 0.0, 1.0), heads).to(device)

    def factors(self, positions: Tensor) -> Factors:
        """positions [B or 1, T] -> the factors that `rotate` takes."""
        angles = (positions[..., None] * self._frequencies)[..., None, :]  # [B, T, 1, H/2]
        cos, sin = angles.cos(), angles.sin()
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        cos, sin = torch.addcmul(self._offset, cos, self._weight), sin * self._weight
        return cos.to(self._dtype), sin.to(self._dtype)


def rotate(heads: Tensor, factors: Factors) -> Tensor:
    """Rotate each pair (i, i + H/2) of every head by its position's angle: heads [B, T, N + 2 K, H]."""
    cos, sin = factors
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), sin)


def rope_frequencies(spec: ModelSpec) -> Tensor:
    """Radians per token of each of the H/2 pairs: base^(-2 i / H), H of the part that is rotated."""
    width = spec.d_head if spec.mla is None else spec.mla.d_rope
    exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
    return 1.0 / spec.rope_base**exponents


class Attention:
    """Self-attention with any number of query heads per KV head; the cache stores and attends."""

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
        self._split = [spec.n_heads, spec.n_kv_heads, spec.n_kv_heads]
        self._n_heads, self._d_head = sum(self._split), spec.d_head

    def __call__(self, x: Tensor, factors: Factors, cache: Cache, placement: Places) -> Tensor:
        """x [B T, D] -> [B T, D]"""
        heads = self.qkv(x)
        if self.qkv_bias is not None:
            heads = heads + self.qkv_bias
        n_tokens = placement.positions.shape[1]
        heads = heads.view(-1, n_tokens, self._n_heads, self._d_head)
        if self.qk_norm is not None:
            heads = self._normed(heads, self.qk_norm)
        if placement.fused:
            return self.out(cache.decode(self.layer, heads, factors, placement))
        q, k, v = rotate(heads, factors).split(self._split, 2)
        return self.out(cache.attend(self.layer, q, k, v, placement).reshape(x.shape[0], -1))

    def _normed(self, heads: Tensor, norm: RMSNorm) -> Tensor:
        """Queries and keys normalised head by head, values as they are."""
        values = heads[:, :, -self._split[2] :]
        return torch.cat((norm(heads[:, :, : -self._split[2]]), values), 2)


class SwiGLU:
    """The gated MLP, gate and up projections in one matmul."""

    def __init__(self, *, gate_up: Linear, down: Linear) -> None:
        self.gate_up, self.down = gate_up, down

    def __call__(self, x: Tensor) -> Tensor:
        """x [n, D] -> [n, D]"""
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(silu(gate).mul_(up))


def _per_head(values: tuple[float, ...], counts: tuple[int, ...]) -> Tensor:
    """One value per head, as a column: values[j] for counts[j] heads."""
    return torch.tensor(values).repeat_interleave(torch.tensor(counts))[:, None]
