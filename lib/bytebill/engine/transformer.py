"""How is a token decoded? A Llama-family decoder in plain torch, few calls a layer, any batch of contexts.

    x = embedding[token];  per layer: x += attention(norm(x)), x += mlp(norm(x));  logits = head(norm(x))

A forward pass takes T new tokens of each of B sequences, whose contexts may differ in length and may be
right-padded, and moves every weight once: `weight_bytes_read`. Weights are fp32, bf16, or int8 and int4
(weight-only, activations in bf16). A layer is any pair of blocks with the calls of `Attention` (or `LatentAttention`)
and `SwiGLU` (or `Experts`, of which a pass moves only those that its tokens chose).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bytebill.engine.cache.contiguous import Cache, ContiguousCache, Placement, Places
from bytebill.engine.cache.latent import LatentCache
from bytebill.engine.experts import Experts, Router
from bytebill.engine.kernels.linear import PackedLinear
from bytebill.engine.latent_attention import LatentAttention, LatentRotary
from bytebill.engine.layers import Attention, Factors, Linear, RMSNorm, Rotary, SwiGLU, rope_frequencies
from bytebill.engine.weights.names import Weights, is_sparse, require_llama
from bytebill.engine.weights.room import require_room
from bytebill.errors import BytebillError, unknown
from bytebill.models import MoESpec

ACTIVATIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16, "int4": torch.bfloat16}


class Layer(NamedTuple):
    """One layer: attention and MLP, each behind its norm."""

    attention_norm: RMSNorm
    attention: Attention | LatentAttention
    mlp_norm: RMSNorm
    mlp: SwiGLU | Experts


class Transformer:
    """A decoder with packed weights on one device.

    `dtype` is that of the weights, a key of `ACTIVATIONS`. Sharded models override `_summed`, `embed` and
    `logits`.
    """

    def __init__(self, weights: Weights, *, dtype: str = "bf16", device: torch.device | str = "cpu") -> None:
        if dtype not in ACTIVATIONS:
            raise unknown("weight dtype", dtype, ACTIVATIONS)
        require_llama(weights.spec)
        require_room(weights.spec, dtype=dtype, device=torch.device(device))
        self.spec, self.dtype, self.device = weights.spec, dtype, torch.device(device)
        self.activation_dtype = ACTIVATIONS[dtype]
        self._linears: list[PackedLinear] = []
        self._vectors: list[Tensor] = []
        frequencies = rope_frequencies(self.spec) if weights.frequencies is None else weights.frequencies
        self._rotary = self._build_rotary(frequencies.to(self.device))
        self._layers = [self._build_layer(weights, layer) for layer in range(self.spec.n_layers)]
        self._final_norm = self._norm(weights["final_norm"])
        self._embedding = self._on_device(weights["embedding"])
        self._head = self._linear(weights.get("head", self._embedding))

    def new_cache(self, batch_size: int, max_len: int) -> ContiguousCache:
        """An empty cache with room for `max_len` tokens of each of `batch_size` sequences."""
        self.require_context(max_len)
        kind = ContiguousCache if self.spec.mla is None else LatentCache
        return kind(self.spec, batch_size=batch_size, max_len=max_len, dtype=self.activation_dtype, device=self.device)

    def require_context(self, n_tokens: int) -> None:
        """Refuse contexts that the model does not attend to as a whole."""
        limit = min(self.spec.context_len, self.spec.window_len or self.spec.context_len)
        if n_tokens > limit:
            raise BytebillError(f"{self.spec.name} attends to {limit} tokens, and {n_tokens} were asked for.")

    @torch.inference_mode()
    def forward(
        self, tokens: Tensor, cache: ContiguousCache, *, n_new: Sequence[int] | None = None, last_only: bool = True
    ) -> Tensor:
        """Logits after the new tokens, which the cache then holds.

        tokens [B, T], of which the first `n_new[b]` of row b are real (default: all) -> [B, 1, V], the
        logits after each row's last real token, or with `last_only=False` [B, T, V], where those of padding
        mean nothing.
        """
        placement = cache.place(tokens.shape[0], tokens.shape[1], n_new)
        logits = self.run(tokens, cache, placement, last_only=last_only)
        cache.commit(placement)
        return logits

    __call__ = forward

    def run(self, tokens: Tensor, cache: ContiguousCache, placement: Placement, *, last_only: bool = True) -> Tensor:
        """The forward pass on the device alone: no shapes decided, nothing counted. A CUDA graph captures
        this."""
        n_rows, n_tokens = tokens.shape
        ends = None
        if last_only and n_tokens > 1:
            last = [row * n_tokens + max(n - 1, 0) for row, n in enumerate(placement.n_new)]
            ends = torch.tensor(last, device=self.device)
        return self.run_rows(tokens.reshape(-1), cache, placement, ends=ends).view(n_rows, -1, self.spec.vocab_size)

    def run_rows(self, tokens: Tensor, cache: Cache, placement: Places, *, ends: Tensor | None = None) -> Tensor:
        """The same for tokens [n] of any mix of sequences, as the placement has them: logits [n, V], or those
        of the rows `ends` alone."""
        x = self.embed(tokens)  # [n, D]
        factors = self._rotary.factors(placement.positions)
        for layer in self._layers:
            x = self._run_layer(layer, x, factors, cache, placement)
        if ends is not None and not len(ends):
            return x.new_empty(0, self.spec.vocab_size)
        return self.logits(self._final_norm(x if ends is None else x[ends]))

    @staticmethod
    def _run_layer(layer: Layer, x: Tensor, factors: Factors, cache: Cache, placement: Places) -> Tensor:
        x = layer.attention(layer.attention_norm(x), factors, cache, placement).add_(x)
        return layer.mlp(layer.mlp_norm(x)).add_(x)

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens [n] -> [n, D]"""
        return self._embedding[tokens.to(self.device)]

    def logits(self, x: Tensor) -> Tensor:
        """x [n, D], normed -> [n, V]"""
        return self._head(x)

    @property
    def linears(self) -> tuple[PackedLinear, ...]:
        """Every packed matrix, the head last: what one step reads, norms apart."""
        return tuple(self._linears)

    @property
    def weight_bytes_stored(self) -> int:
        """Bytes held for weights. Packing copies a tied embedding, which is then stored twice and read
        once."""
        vectors = sum(vector.nbytes for vector in self._vectors)
        shared = getattr(self._head, "weight", None) is self._embedding
        table = 0 if shared else self._embedding.nbytes
        return sum(linear.stored_bytes for linear in self._linears) + vectors + table

    @property
    def weight_bytes_read(self) -> int:
        """Bytes of weights that one step must move: every matrix and norm once, embedding rows apart. With experts
        this is what a step moves that touches them all; see `weight_bytes_touched`."""
        return sum(linear.stored_bytes for linear in self._linears) + sum(v.nbytes for v in self._vectors)

    @property
    def experts(self) -> tuple[Experts, ...]:
        """The sparse layers' experts, none for a dense model."""
        return tuple(layer.mlp for layer in self._layers if isinstance(layer.mlp, Experts))

    @property
    def weight_bytes_touched(self) -> int:
        """Bytes of weights that the last step moved: as `weight_bytes_read`, less the experts that no token chose."""
        skipped = sum(
            mlp.gate_up.stored_bytes + mlp.down.stored_bytes  # type: ignore[attr-defined]
            for block in self.experts
            for mlp, n_tokens in zip(block.mlps, block.tokens_by_expert, strict=True)
            if not n_tokens
        )
        return self.weight_bytes_read - skipped

    def _build_layer(self, weights: Weights, layer: int) -> Layer:
        prefix = f"layers.{layer}."
        return Layer(
            attention_norm=self._norm(weights[prefix + "attention_norm"]),
            attention=self._build_attention(weights, layer),
            mlp_norm=self._norm(weights[prefix + "mlp_norm"]),
            mlp=self._build_experts(weights, prefix, self.spec.moe)
            if self.spec.moe is not None and is_sparse(self.spec, layer)
            else self._build_mlp(weights, prefix),
        )

    def _build_mlp(self, weights: Weights, prefix: str) -> SwiGLU:
        return SwiGLU(gate_up=self._linear(weights[prefix + "gate_up"]), down=self._summed(weights[prefix + "down"]))

    def _build_experts(self, weights: Weights, prefix: str, moe: MoESpec) -> Experts:
        return Experts(
            [self._build_mlp(weights, f"{prefix}experts.{expert}.") for expert in range(moe.n_experts)],
            router=Router(
                self._linear(weights[prefix + "router"]),
                n_experts_per_token=moe.n_experts_per_token,
                bias=self._vector(weights[prefix + "router_bias"]) if moe.router_bias else None,
            ),
            shared=self._build_mlp(weights, prefix + "shared.") if moe.n_shared_experts else None,
        )

    def _build_rotary(self, frequencies: Tensor) -> Rotary | LatentRotary:
        if self.spec.mla is not None:
            return LatentRotary(frequencies=frequencies, dtype=self.activation_dtype)
        return Rotary(self.spec, frequencies=frequencies, dtype=self.activation_dtype)

    def _build_attention(self, weights: Weights, layer: int) -> Attention | LatentAttention:
        prefix, spec = f"layers.{layer}.", self.spec
        if spec.mla is not None:
            return self._build_latent_attention(weights, layer)
        norms = (weights[prefix + "q_norm"], weights[prefix + "k_norm"]) if spec.qk_norm else None
        return Attention(
            spec,
            layer=layer,
            qkv=self._linear(weights[prefix + "qkv"]),
            out=self._summed(weights[prefix + "attention_out"]),
            qkv_bias=self._vector(weights[prefix + "qkv_bias"]) if spec.qkv_bias else None,
            qk_norm=self._qk_norm(*norms) if norms else None,
        )

    def _build_latent_attention(self, weights: Weights, layer: int) -> LatentAttention:
        prefix = f"layers.{layer}."
        return LatentAttention(
            self.spec,
            layer=layer,
            down=self._linear(weights[prefix + "latents_down"]),
            q_norm=self._norm(weights[prefix + "q_latent_norm"]),
            q_up=self._linear(weights[prefix + "q_up"]),
            kv_norm=self._norm(weights[prefix + "kv_latent_norm"]),
            kv_up=self._vector(weights[prefix + "kv_up"]),  # a batched matmul by head: in the activations' dtype
            out=self._summed(weights[prefix + "attention_out"]),
        )

    def _linear(self, weight: Tensor) -> PackedLinear:
        linear = PackedLinear(weight.to(self.device), dtype=self.dtype)
        self._linears.append(linear)
        return linear

    def _summed(self, weight: Tensor) -> Linear:
        """A linear whose inputs a sharded model splits over ranks, so that its outputs must be summed."""
        return self._linear(weight)

    def _norm(self, weight: Tensor) -> RMSNorm:
        return RMSNorm(self._vector(weight), eps=self.spec.norm_eps)

    def _qk_norm(self, q_norm: Tensor, k_norm: Tensor) -> RMSNorm:
        """One scale per head: the queries' for N heads, then the keys' for K."""
        self._vectors += [self._on_device(q_norm), self._on_device(k_norm)]
        rows = (q_norm.expand(self.spec.n_heads, -1), k_norm.expand(self.spec.n_kv_heads, -1))
        return RMSNorm(self._on_device(torch.cat(rows)), eps=self.spec.norm_eps)

    def _vector(self, vector: Tensor) -> Tensor:
        vector = self._on_device(vector)
        self._vectors.append(vector)
        return vector

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.activation_dtype)
