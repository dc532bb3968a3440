"""What machine is this, and is it fit to be measured on?

A device is a CPU, a CUDA GPU or Apple's MPS, with the memory that a chapter may use. On a CPU the OpenMP threads
must be pinned to cores before torch loads: unpinned threads can share one core for a scheduler slice, and every
small operation then costs milliseconds. Importing `bytebill` before torch pins them; `Device.pinned` says whether
that worked. This module, `engine/` and `measure/` are the only ones that import torch.
"""

import ctypes
import math
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from bytebill.errors import require, require_known
from bytebill.records.notes import note
from bytebill.records.origin import cpu_name

_LEAST_SAMPLE_S = 2e-3  # on a GPU: a wait is then a hundredth of it
_LIMITS = {  # of a control group, by whether it is of version 1: limit, use, and what of it can be dropped
    False: ("memory.max", "memory.current", "inactive_file"),
    True: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
DEVICE_KINDS = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that the chapters can run on: its name, and the bytes of memory free on it now."""

    kind: str
    name: str
    memory_bytes: int
    n_threads: int
    pinned: bool  # whether OpenMP was told to keep each thread on its core

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.kind)

    def __str__(self) -> str:
        threads = f", {self.n_threads} threads{'' if self.pinned else ' (not pinned)'}" * (self.kind == "cpu")
        return f"{self.name}{threads}, {self.memory_bytes / 1e9:.0f} GB free, torch {torch.__version__}"


def pick(kind: str = "auto") -> Device:
    """The device to run on: CUDA, then MPS, then the CPU for "auto"; a BytebillError where it is absent."""
    require_known("device", kind, DEVICE_KINDS)
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(name for name, there in present.items() if there) if kind == "auto" else kind
    require(present[kind], f"This machine has no {kind} device; use --device auto or --device cpu.")
    device = Device(
        kind=kind,
        name={"cuda": torch.cuda.get_device_name, "mps": lambda: f"Apple {platform.machine()} (MPS)", "cpu": cpu_name}[
            kind
        ](),
        memory_bytes=free_bytes(kind),
        n_threads=torch.get_num_threads(),
        pinned=os.environ.get("OMP_PROC_BIND", "false").lower() not in ("", "false"),
    )
    note(device=asdict(device))
    return device


def free_bytes(kind: str) -> int:
    """Bytes that a new allocation may take now: by the driver, with what torch keeps and does not use, or the least of
    what system and container leave."""
    if kind == "cuda":
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + kept
    if kind == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return int(max(0, min(psutil.virtual_memory().available, container_bytes(), _address_bytes())))


def container_bytes(*, groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that the limits of this process's control groups leave, its own and those above it; inf where none has one.

    Pages of files count as free where they can be dropped. Read as version 2 has it, and as version 1.
    """
    left = math.inf
    with suppress(OSError):  # no Linux
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if "memory" in kinds.split(",") or not kinds:
                top = mounted / "memory" if kinds else mounted
                own = top / path.strip("/")
                left = min(left, *(_left_bytes(each, _LIMITS[bool(kinds)]) for each in (own, *own.parents)))
    return left


def _left_bytes(group: Path, names: tuple[str, str, str]) -> float:
    """What one control group leaves: its limit, less what it uses and cannot drop."""
    limit, used, droppable = names
    with suppress(OSError, ValueError, KeyError):  # no such group, or no limit ("max")
        lines = (line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
        kept = int((group / used).read_text()) - int(dict(lines)[droppable])
        return int((group / limit).read_text()) - kept
    return math.inf


def _address_bytes() -> float:
    """What `ulimit -v` leaves of addresses; inf without a limit."""
    with suppress(ImportError, AttributeError, ValueError):  # a system without it
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            return limit - int(psutil.Process().memory_info().vms)
    return math.inf


def used_memory_bytes(device: Device) -> int:
    """Bytes this process holds now: what torch has taken on the device, or resident memory.

    On glibc freed memory goes back to the system first, so that what is taken next is not served from it, unseen.
    """
    return {"cuda": torch.cuda.memory_allocated, "mps": torch.mps.current_allocated_memory, "cpu": _resident_bytes}[
        device.kind
    ]()


def _resident_bytes() -> int:
    with suppress(AttributeError, OSError):  # not a glibc
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class Synchronizer:
    """Waits until everything queued on a device has finished.

    Waiting takes some 20 us on a GPU, so what is timed between two waits should last `least_sample_s` at least.
    """

    wait: Callable[[], None]
    least_sample_s: float = 0.0

    def __call__(self) -> None:
        """Wait."""
        self.wait()


def synchronizer(device: Device) -> Synchronizer:
    """What waits until everything queued on the device has finished."""
    if device.kind == "cuda":
        return Synchronizer(torch.cuda.synchronize, least_sample_s=_LEAST_SAMPLE_S)
    return Synchronizer(torch.mps.synchronize if device.kind == "mps" else _nothing)


def _nothing() -> None:
    """What there is to wait for on a CPU."""
