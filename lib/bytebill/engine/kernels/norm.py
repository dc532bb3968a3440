"""How is a vector scaled to unit mean square? In one call: two passes over each row while it is in the cache.

    y = x / sqrt(mean(x^2) + eps) * weight          sums in fp32

Five torch calls take 8 us where this takes 2, sixty times a token of a small model. Ignores rows whose width
is no whole number of vectors, one weight per head, and any machine without `openmp.available()`: `norm` then gives
None, and torch serves.
"""

import ctypes
import functools
from collections.abc import Callable
from math import sqrt
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from bytebill.engine.kernels import machine_code, openmp, panels
from bytebill.engine.kernels.dtypes import PLAIN, PLAIN_NAMES

_X, _Y, _WEIGHT, _N_ROWS = range(4)  # arguments of a call, each at its place
_ROWS_PER_THREAD = 16  # below this a second thread costs more than it saves


class RMSNorm:
    """Scale to unit mean square: by this book's kernel where it serves, else by torch."""

    def __init__(self, weight: Tensor, *, eps: float) -> None:
        self.weight, self.eps = weight, eps
        self._eps = torch.full((1,), eps, dtype=torch.float32, device=weight.device)
        self._fused = weight.device.type != "cpu"
        self._kernel = norm(weight, eps=eps)

    def __call__(self, x: Tensor) -> Tensor:
        if self._kernel is not None and x.dtype == self.weight.dtype:
            return self._kernel(x)
        width = x.shape[-1]
        if self._fused:
            if self.weight.dim() == 1:
                return rms_norm(x, (width,), self.weight, self.eps)
            return rms_norm(x, (width,), None, self.eps) * self.weight  # one weight per head
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.addcmul(self._eps, length, length, value=1 / width).rsqrt_()
        return (x * scale).to(x.dtype).mul_(self.weight)


def norm(weight: Tensor, *, eps: float) -> Callable[[Tensor], Tensor] | None:
    """`x [..., D] -> [..., D]` for rows of the weight's dtype; None where torch must serve. Keep the weight: it is read
    where it lies."""
    if weight.device.type != "cpu" or weight.dtype not in PLAIN_NAMES or weight.dim() != 1 or not openmp.available():
        return None
    width, lanes = len(weight), panels.fitting_lanes(len(weight))
    if lanes is None:
        return None
    address, call = _kernel(PLAIN_NAMES[weight.dtype], width, lanes, eps), openmp.parallel()
    args = (ctypes.c_int64 * 4)()
    args[_WEIGHT], pointer = weight.data_ptr(), ctypes.addressof(args)

    def scaled(x: Tensor) -> Tensor:
        if x.shape[-1] != width:  # what is left of a row would be whatever the memory held
            raise ValueError(f"a norm of {width} values was given rows of {x.shape[-1]}")
        x = x.contiguous()
        y = torch.empty_like(x)
        n_rows = x.numel() // width
        args[_X], args[_Y], args[_N_ROWS] = x.data_ptr(), y.data_ptr(), n_rows
        call(address, pointer, 1 if n_rows <= _ROWS_PER_THREAD else torch.get_num_threads(), 0)
        return y

    return scaled


@functools.cache
def _kernel(dtype: str, width: int, lanes: int, eps: float) -> int:
    """Address of the code; a quarter of a second where it is compiled."""
    return machine_code.address_of(
        functools.partial(_region, dtype, width, lanes, eps), "norm", dtype, width, lanes, eps
    )


def _region(dtype: str, width: int, lanes: int, eps: float) -> machine_code.Region:
    from bytebill.engine.kernels import simd

    names = (f"load_{dtype}", f"store_{dtype}", "zero", "fma", "mul", "sum_lanes", "spread")
    load, store, zero, fma, mul, sum_lanes, spread = itemgetter(*names)(simd.operations(lanes))
    thread_num, num_threads = openmp.thread_functions().values()
    step, row_bytes = lanes * PLAIN[dtype].itemsize, width * PLAIN[dtype].itemsize

    def region(p: Any) -> None:
        n_rows, rank, n_ranks = p[_N_ROWS], thread_num(), num_threads()
        for row in range(n_rows * rank // n_ranks, n_rows * (rank + 1) // n_ranks):
            x, y, squares = p[_X] + row * row_bytes, p[_Y] + row * row_bytes, zero()
            for at in range(0, row_bytes, step):
                value = load(x + at)
                squares = fma(value, value, squares)
            scale = spread(1.0 / sqrt(sum_lanes(squares) / width + eps))
            for at in range(0, row_bytes, step):
                store(y + at, mul(mul(load(x + at), scale), load(p[_WEIGHT] + at)))

    return region
