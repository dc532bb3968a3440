"""How do stored weights become parts that run? A loader gives each part its tensors by name, and keeps the books.

    bytes read a step = matrices as packed, with their scales, + vectors             embedding rows apart
    bytes stored      = bytes read + the table of embeddings, where it is not the head's own memory

Every part builds itself (`from_weights(load, ...)`) out of what it asks of the loader. Whoever wants other weights in
the same parts, a share of each (`sharding`) or narrower ones, writes another loader. Ignores what the parts compute.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bytebill.engine.kernels.dtypes import weight_format
from bytebill.engine.kernels.linear import PackedLinear
from bytebill.engine.kernels.norm import RMSNorm
from bytebill.engine.weights.names import Weights
from bytebill.engine.weights.room import require_room

Linear = Callable[[Tensor], Tensor]  # [..., n_in] -> [..., n_out]


class Loader:
    """A model's tensors by name, each brought to the device in the form that its part runs."""

    def __init__(self, weights: Weights, *, dtype: str, device: torch.device | str) -> None:
        self.spec, self.dtype, self.device = weights.spec, dtype, torch.device(device)
        self.activation_dtype = weight_format(dtype).activations
        require_room(self.spec, dtype=dtype, device=self.device)
        self.frequencies = weights.frequencies.to(self.device)
        self.linears: list[PackedLinear] = []  # in the order of their reading
        self.vectors: list[Tensor] = []
        self._weights = weights
        self._table = self._on_device(weights["embedding"])

    @property
    def bytes_read(self) -> int:
        """Bytes that one step must move: every matrix and vector once."""
        return sum(linear.stored_bytes for linear in self.linears) + sum(vector.nbytes for vector in self.vectors)

    @property
    def bytes_stored(self) -> int:
        """Bytes held. Packing copies a tied embedding, which is then stored twice and read once."""
        shared = any(linear.weight is self._table for linear in self.linears)
        return self.bytes_read + (0 if shared else self._table.nbytes)

    def linear(self, name: str) -> PackedLinear:
        """A matrix, packed."""
        return self._packed(self._weights[name].to(self.device))

    def summed(self, name: str) -> Linear:
        """A matrix whose inputs several ranks may share, so that its outputs must be summed."""
        return self.linear(name)

    def vector(self, name: str) -> Tensor:
        """A tensor in the dtype of the activations: a vector, or a matrix that is not multiplied by as a whole."""
        self.vectors.append(self._on_device(self._weights[name]))
        return self.vectors[-1]

    def norm(self, name: str) -> RMSNorm:
        """A norm with its weights."""
        return RMSNorm(self.vector(name), eps=self.spec.norm_eps)

    def embedding(self) -> Linear:
        """The table of embeddings: tokens [n] -> [n, D]."""
        table = self._table
        return lambda tokens: table[tokens.to(table.device)]

    def head(self) -> Linear:
        """What turns a normed x [n, D] into logits [n, V]; a tied one is the embedding."""
        return self._packed(self._table) if self.spec.tied_embeddings else self.linear("head")

    def _packed(self, weight: Tensor) -> PackedLinear:
        self.linears.append(PackedLinear(weight, dtype=self.dtype))
        return self.linears[-1]

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.activation_dtype)
