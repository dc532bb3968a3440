"""What does it cost to find a weight? A table of pages, 512 times shorter where the pages are large.

A stream over weights meets a new 4 KiB page every 64 cache lines, and prefetchers stop at its edge. Linux gives
2 MiB pages to whoever asks for them in whole, aligned stretches; a small model's matrices are shorter than one, so
they share arenas. Ignores other systems: there `in_large_pages` gives its tensor back as it came.
"""

import mmap

import torch
from torch import Tensor

PAGE_BYTES = 2 << 20
_ARENA_BYTES = 64 << 20
_LINE_BYTES = 64  # tensors start at a cache line, as torch's own do


class Arena:
    """A stretch of large pages, handed out from its start; `free` is the rest. It lives as long as any tensor in it."""

    def __init__(self, n_bytes: int) -> None:
        memory = mmap.mmap(-1, n_bytes + PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
        stretch = torch.frombuffer(memory, dtype=torch.uint8)
        self.free = stretch[-stretch.data_ptr() % PAGE_BYTES :][:n_bytes]

    def hold(self, tensor: Tensor) -> Tensor:
        """A copy of the tensor in the arena."""
        taken, self.free = self.free[: tensor.nbytes], self.free[-(-tensor.nbytes // _LINE_BYTES) * _LINE_BYTES :]
        return taken.view(tensor.dtype).view(tensor.shape).copy_(tensor)


_open: list[Arena] = []  # the arena that small tensors go to next


def in_large_pages(tensor: Tensor) -> Tensor:
    """A tensor's values in large pages, where the system has them; otherwise the tensor itself.

    >>> torch.equal(in_large_pages(torch.arange(5)), torch.arange(5))
    True
    """
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return tensor
    try:
        return _arena(tensor.nbytes).hold(tensor)
    except OSError:  # no such pages, or no room for them
        return tensor


def _arena(n_bytes: int) -> Arena:
    if n_bytes >= _ARENA_BYTES:
        return Arena(n_bytes)
    if not _open or n_bytes > len(_open[0].free):
        _open[:] = [Arena(_ARENA_BYTES)]
    return _open[0]
