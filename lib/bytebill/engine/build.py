"""How do stored weights become parts that run? A loader gives each part its tensors by name, and keeps the books.

    bytes read a step = matrices as packed, with their scales, + vectors             embedding rows apart
    bytes stored      = bytes read + the table of embeddings, where it is not the head's own memory

Panels are filled up with zero rows, and a tied embedding is held twice where its head is packed. Weights are held
against the free memory of a device before they are loaded, and not after the machine has stalled.

Every part builds itself (`from_weights(load, ...)`) out of what it asks of the loader. Whoever wants other weights in
the same parts, a share of each (`sharding`) or narrower ones, writes another loader. Ignores what the parts compute,
and memory that other programs will ask for later.
"""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from bytebill.device import free_bytes
from bytebill.engine.kernels.dtypes import SCALE_GROUP, weight_format
from bytebill.engine.kernels.linear import PackedLinear, path
from bytebill.engine.kernels.linear_gpu import FourBits
from bytebill.engine.kernels.norm import RMSNorm
from bytebill.engine.kernels.panels import panel_width
from bytebill.engine.weights.names import Weights, tensor_shapes
from bytebill.errors import require
from bytebill.models import ModelSpec
from bytebill.units import si

Linear = Callable[[Tensor], Tensor]  # [..., n_in] -> [..., n_out]
_PLAIN = ("embedding", "kv_up")  # matrices looked up by row, or multiplied by head after head


class Loader:
    """A model's tensors by name, each brought to the device in the form that its part runs."""

    packs = True  # whether matrices are laid out for this book's kernels, where there are any

    def __init__(self, weights: Weights, *, dtype: str, device: torch.device | str) -> None:
        self.spec, self.dtype, self.device = weights.spec, dtype, torch.device(device)
        self.activation_dtype = weight_format(dtype).activations
        needed, free = held_bytes(self.spec, dtype=dtype, device=self.device.type), free_bytes(self.device.type)
        require(
            needed <= free,
            f"The weights of {self.spec.name} in {dtype} are {si(needed, 'B')}, and this {self.device.type} has "
            f"{si(free, 'B')} free; choose a smaller model or a narrower dtype.",
        )
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
        return self.bytes_read + self._table.nbytes * all(linear.weight is not self._table for linear in self.linears)

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
        self.linears.append(PackedLinear(weight, dtype=self.dtype, packs=self.packs))
        return self.linears[-1]

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.activation_dtype)


def held_bytes(spec: ModelSpec, *, dtype: str, device: str) -> int:
    """Bytes that the engine will hold for a model's weights, before it has them.

    >>> from bytebill.models import model
    >>> held_bytes(model("llama-3-8b"), dtype="bf16", device="cuda") == 2 * model("llama-3-8b").n_params
    True
    """
    shapes, stored, by = tensor_shapes(spec), weight_format(dtype), path(dtype, device)
    matrices = {name for name, shape in shapes.items() if len(shape) == 2 and not name.endswith(_PLAIN)}
    packed = [*matrices, "embedding"] if by != "torch" and spec.tied_embeddings else [*matrices]
    rows = panel_width() if by == "panels" else 1
    filled = sum(stored.matrix_bytes(-(-shapes[name][0] // rows) * rows, shapes[name][1]) for name in packed)
    if by == "tinygemm":
        filled += sum(FourBits.extra_bytes * prod(shapes[name]) // SCALE_GROUP for name in packed)
    rest = sum(prod(shape) for name, shape in shapes.items() if name not in matrices)
    return filled + rest * stored.activations.itemsize
