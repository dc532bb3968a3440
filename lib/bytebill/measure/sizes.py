"""How large must something be, and how wide its numbers, to tell of memory and arithmetic on this device?

    too small for    weights, or a cache, that stay on the chip: eight times the last level's bytes are beyond it
    too narrow for   a matrix whose product fills a few of a GPU's multiprocessors
    too wide for     fp32, which a GPU multiplies outside its tensor cores, twenty times below what it is bought for

On a CPU everything here is what the chapters have always taken. Ignores MPS, which is taken for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from bytebill.device import Device

_TIMES_THE_CACHE = 8
_WIDTH = {"fp32": 4, "bf16": 2}  # bytes a weight


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is built to be timed on a device."""

    dtypes: tuple[str, str]  # the one that the device is held against, then the other
    d_model: int  # of a stack
    d_ff: int
    cached_d_model: int  # of a square stack that stays on the chip
    cached_layers: int
    cache_bytes: int  # of the last level; 0: not known, and sizes are large enough for those there are
    memory_bytes: int

    @property
    def beyond_caches_bytes(self) -> int:
        """Bytes that no cache of the device holds in part."""
        return _TIMES_THE_CACHE * self.cache_bytes

    @property
    def pair_bytes(self) -> int:
        """Bytes of one layer of a stack in the first dtype."""
        return 2 * self.d_model * self.d_ff * _WIDTH[self.dtypes[0]]

    def layers(self, multiples: Sequence[int]) -> list[int]:
        """Layers of stacks that grow by these factors: the least beyond the cache, and all of them in half the memory,
        with one more of the largest in the other dtype. A factor that does not fit is left out.

        >>> cpu = Sizes(dtypes=("fp32", "bf16"), d_model=2048, d_ff=5632, cached_d_model=512, cached_layers=2,
        ...             cache_bytes=0, memory_bytes=0)
        >>> cpu.layers((1, 2, 4))
        [1, 2, 4]
        """
        least = max(1, ceil(self.beyond_caches_bytes / self.pair_bytes))
        other = _WIDTH[self.dtypes[1]] / _WIDTH[self.dtypes[0]]
        found = [least * n for n in multiples]
        while self.memory_bytes and len(found) > 2:
            if (sum(found) + other * found[-1]) * self.pair_bytes <= self.memory_bytes / 2:
                break
            found.pop()
        return found


def sizes_for(device: Device) -> Sizes:
    """What is timed on the device at hand."""
    return _on_gpu(device, cache_bytes=_l2_bytes()) if device.kind == "cuda" else _on_cpu(device)


def _on_cpu(device: Device) -> Sizes:
    return Sizes(
        dtypes=("fp32", "bf16") if device.kind == "cpu" else ("bf16", "fp32"),
        d_model=2048,
        d_ff=5632,
        cached_d_model=512,
        cached_layers=2,
        cache_bytes=0,
        memory_bytes=device.memory_bytes,
    )


def _on_gpu(device: Device, *, cache_bytes: int) -> Sizes:
    """Matrices of Llama-3-8B's MLP, 117 MB in bf16; a cached stack is one layer of half the level-2 cache."""
    side = int((cache_bytes / 2 / (2 * _WIDTH["bf16"])) ** 0.5) // 128 * 128
    return Sizes(
        dtypes=("bf16", "fp32"),
        d_model=4096,
        d_ff=14336,
        cached_d_model=max(128, side),
        cached_layers=1,
        cache_bytes=cache_bytes,
        memory_bytes=device.memory_bytes,
    )


def _l2_bytes() -> int:
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size)
