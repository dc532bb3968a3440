"""Does it fit? Free memory of a device, asked before weights are loaded and not after the machine has
stalled.

On Linux the smaller of the kernel's estimate of available memory and what the container's limit leaves; on
a GPU what its driver says. Ignores memory that other programs will ask for later.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from bytebill.errors import BytebillError
from bytebill.models import ModelSpec, precision, weight_bytes
from bytebill.units import si


def require_room(spec: ModelSpec, *, dtype: str, device: torch.device) -> None:
    """Refuse weights that do not fit the device, in one sentence."""
    needed, free = weight_bytes(spec, precision=precision(dtype)), free_bytes(device)
    if needed > free:
        raise BytebillError(
            f"The weights of {spec.name} in {dtype} are {si(needed, 'B')}, and this {device.type} has "
            f"{si(free, 'B')} free; choose a smaller model or a narrower dtype."
        )


def free_bytes(device: torch.device) -> float:
    """Bytes that a new allocation may take on this device now."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return min(_available_bytes(), _container_bytes())


def _available_bytes() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _container_bytes() -> float:
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return float("inf") if limit == "max" else float(limit) - float(used)
    except (OSError, ValueError):
        return float("inf")
