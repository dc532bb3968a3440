"""Does it fit? Weights are held against the free memory of a device before they are loaded, and not after the
machine has stalled.

    bytes = matrices as this engine packs them (`kernels.dtypes`) + everything else in the dtype of the activations

Panels are filled up with zero rows, and a tied embedding is held twice where its head is packed. Ignores memory that
other programs will ask for later.
"""

from __future__ import annotations

from math import prod

import torch

from bytebill.device import free_bytes
from bytebill.engine.kernels.dtypes import weight_format
from bytebill.engine.kernels.linear import path
from bytebill.engine.kernels.panels import panel_width
from bytebill.engine.weights.names import tensor_shapes
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec
from bytebill.units import si

_PLAIN = ("embedding", "kv_up")  # looked up by row, or multiplied by head after head


def held_bytes(spec: ModelSpec, *, dtype: str, device: str) -> int:
    """Bytes that the engine will hold for a model's weights, before it has them.

    >>> from bytebill.models import model
    >>> held_bytes(model("llama-3-8b"), dtype="bf16", device="cuda") == 2 * model("llama-3-8b").n_params
    True
    """
    shapes, rows = tensor_shapes(spec), 1
    matrices = {name for name, shape in shapes.items() if len(shape) == 2 and not name.endswith(_PLAIN)}
    packed = [shapes[name] for name in matrices]
    if path(dtype, device) == "panels":
        rows = panel_width()
        packed += [shapes["embedding"]] if spec.tied_embeddings else []
    stored = weight_format(dtype)
    rest = sum(prod(shape) for name, shape in shapes.items() if name not in matrices)
    filled = sum(stored.matrix_bytes(-(-n_out // rows) * rows, n_in) for n_out, n_in in packed)
    return filled + rest * stored.activations.itemsize


def require_room(spec: ModelSpec, *, dtype: str, device: torch.device) -> None:
    """Refuse weights that do not fit the device, in one sentence."""
    needed, free = held_bytes(spec, dtype=dtype, device=device.type), free_bytes(device.type)
    if needed > free:
        raise BytebillError(
            f"The weights of {spec.name} in {dtype} are {si(needed, 'B')}, and this {device.type} has "
            f"{si(free, 'B')} free; choose a smaller model or a narrower dtype."
        )
