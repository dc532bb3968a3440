"""How is a token decoded? A Llama-family decoder in plain torch, few calls a layer, any batch of contexts.

    x = embedding[token];  per layer: x += attention(norm(x)), x += mlp(norm(x));  logits = head(norm(x))

A forward pass takes T new tokens of each of B sequences, whose contexts may differ in length and may be
right-padded, and moves every weight once: `weight_bytes_read`. Weights are fp32, bf16, fp8, or int8 and
int4 (weight-only); the narrow ones have activations in bf16. A layer is any pair of parts with the calls of `Attention`
(or `LatentAttention`) and `SwiGLU` (or `Experts`, of which a pass moves only those that its tokens chose); each builds
itself (`build`).
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from bytebill.engine.build import Loader
from bytebill.engine.cache.latent import SlotCache, slot_cache
from bytebill.engine.cache.places import Cache, Placement, PlacesT
from bytebill.engine.experts import Experts
from bytebill.engine.kernels.norm import RMSNorm
from bytebill.engine.latents import LatentAttention
from bytebill.engine.layers import Attention, SwiGLU
from bytebill.engine.rotary import Factors, Rotary
from bytebill.engine.weights.names import Weights, is_sparse
from bytebill.errors import require


class Layer(NamedTuple):
    """One layer: attention and MLP, each behind its norm."""

    attention_norm: RMSNorm
    attention: Attention | LatentAttention
    mlp_norm: RMSNorm
    mlp: SwiGLU | Experts

    @classmethod
    def from_weights(cls, load: Loader, layer: int) -> Self:
        """The layer of this number, of the kinds that the model's shape names."""
        spec, prefix = load.spec, f"layers.{layer}."
        return cls(
            attention_norm=load.norm(prefix + "attention_norm"),
            attention=Attention.from_weights(load, layer)
            if spec.mla is None
            else LatentAttention.from_weights(load, layer, spec.mla),
            mlp_norm=load.norm(prefix + "mlp_norm"),
            mlp=Experts.from_weights(load, prefix, spec.moe)
            if spec.moe is not None and is_sparse(spec, layer)
            else SwiGLU.from_weights(load, prefix),
        )

    def __call__(self, x: Tensor, factors: Factors, cache: Cache[Any, PlacesT], placement: PlacesT) -> Tensor:
        """x [n, D] -> [n, D]"""
        x = self.attention(self.attention_norm(x), factors, cache, placement).add_(x)
        return self.mlp(self.mlp_norm(x)).add_(x)


class Transformer:
    """A decoder with packed weights on one device.

    `dtype` is that of the weights, a key of `kernels.dtypes.FORMATS`; `loader` brings them (`sharding` has another).
    """

    def __init__(
        self,
        weights: Weights,
        *,
        dtype: str = "bf16",
        device: torch.device | str = "cpu",
        loader: Callable[..., Loader] = Loader,
    ) -> None:
        load = loader(weights, dtype=dtype, device=device)
        self.spec, self.dtype, self.device = load.spec, dtype, load.device
        self.activation_dtype = load.activation_dtype
        self._rotary = Rotary(self.spec, frequencies=load.frequencies, dtype=self.activation_dtype)
        self._layers = [Layer.from_weights(load, layer) for layer in range(self.spec.n_layers)]
        self._final_norm = load.norm("final_norm")
        self._embedding, self._head = load.embedding(), load.head()
        self.linears = tuple(load.linears)  # every packed matrix, the head last: what one step reads, norms apart
        self.weight_bytes_stored = load.bytes_stored
        # What a step moves: all matrices and norms once, embedding rows apart, and all experts.
        self.weight_bytes_read = load.bytes_read

    def new_cache(self, batch_size: int, max_len: int) -> SlotCache:
        """An empty cache with room for `max_len` tokens of each of `batch_size` sequences."""
        self.require_context(max_len)
        return slot_cache(
            self.spec, batch_size=batch_size, max_len=max_len, dtype=self.activation_dtype, device=self.device
        )

    def read_weights(self) -> None:
        """Read every matrix once and do nothing with it: what the time of a step is held against."""
        for linear in self.linears:
            linear.read()

    def first_layers(self, n: int) -> Self:
        """A draft that nobody trained: the first `n` layers under the same head; bytes are not recounted."""
        require(1 <= n <= len(self._layers), f"{self.spec.name} has {len(self._layers)} layers, so not {n} of them.")
        fewer = copy(self)
        fewer.spec, fewer._layers = replace(self.spec, n_layers=n), self._layers[:n]
        return fewer

    def require_context(self, n_tokens: int) -> None:
        """Refuse contexts that the model does not attend to as a whole."""
        limit = min(self.spec.context_len, self.spec.window_len or self.spec.context_len)
        require(n_tokens <= limit, f"{self.spec.name} attends to {limit} tokens, and {n_tokens} were asked for.")

    @torch.inference_mode()
    def forward(
        self, tokens: Tensor, cache: SlotCache, *, n_new: Sequence[int] | None = None, last_only: bool = True
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

    def run(self, tokens: Tensor, cache: SlotCache, placement: Placement, *, last_only: bool = True) -> Tensor:
        """The forward pass on the device alone: no shapes decided, nothing counted. A CUDA graph captures
        this."""
        n_rows, n_tokens = tokens.shape
        ends = None
        if last_only and n_tokens > 1:
            ends = torch.tensor(
                [i * n_tokens + max(n - 1, 0) for i, n in enumerate(placement.n_new)], device=self.device
            )
        return self.run_rows(tokens.reshape(-1), cache, placement, ends=ends).view(n_rows, -1, self.spec.vocab_size)

    def run_rows(
        self, tokens: Tensor, cache: Cache[Any, PlacesT], placement: PlacesT, *, ends: Tensor | None = None
    ) -> Tensor:
        """The forward pass for tokens [n] of any mix of sequences, as the placement has them: logits [n, V], or
        those of the rows `ends` alone."""
        x = self._embedding(tokens)  # [n, D]
        factors = self._rotary.factors(placement.positions)
        for layer in self._layers:
            x = layer(x, factors, cache, placement)
        if ends is not None and not len(ends):
            return x.new_empty(0, self.spec.vocab_size)
        return self._head(self._final_norm(x if ends is None else x[ends]))

    @property
    def experts(self) -> tuple[Experts, ...]:
        """The sparse layers' experts, none for a dense model."""
        return tuple(layer.mlp for layer in self._layers if isinstance(layer.mlp, Experts))

    @property
    def weight_bytes_touched(self) -> int:
        """Bytes of weights that the last step moved: as `weight_bytes_read`, less the experts that no token chose."""
        return self.weight_bytes_read - sum(block.idle_bytes for block in self.experts)
