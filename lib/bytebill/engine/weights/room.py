"""Does it fit? Weights are held against the free memory of a device before they are loaded, and not after the
machine has stalled. Ignores memory that other programs will ask for later.
"""

from __future__ import annotations

import torch

from bytebill.device import free_bytes
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec, precision, weight_bytes
from bytebill.units import si


def require_room(spec: ModelSpec, *, dtype: str, device: torch.device) -> None:
    """Refuse weights that do not fit the device, in one sentence."""
    needed, free = weight_bytes(spec, precision=precision(dtype)), free_bytes(device.type)
    if needed > free:
        raise BytebillError(
            f"The weights of {spec.name} in {dtype} are {si(needed, 'B')}, and this {device.type} has "
            f"{si(free, 'B')} free; choose a smaller model or a narrower dtype."
        )
