"""How does compiled code run on torch's own threads? Through the OpenMP runtime that torch loaded.

A kernel is a function of one pointer, `region(p)`, that every thread of a team runs; it asks for its number
and takes its share. `GOMP_parallel` starts the team, so no second pool of threads fights for the cores. Ignores
other runtimes: where torch came with another OpenMP (macOS, Windows), `available()` is false.
"""

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

SWITCH = "BYTEBILL_KERNELS"  # set to "torch", it leaves these kernels out: nothing to compile, torch's speed


@functools.cache
def _libgomp() -> ctypes.CDLL:
    """The OpenMP runtime that torch itself uses, where it is no other one (macOS, Windows)."""
    root = Path(torch.__file__).parent
    for path in [*root.glob("lib/libgomp*"), *root.parent.glob("torch.libs/libgomp*"), "libgomp.so.1"]:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(path))
    raise RuntimeError("no OpenMP runtime of torch's to run kernels on: ask available() first")


@functools.cache
def available() -> bool:
    """Whether kernels can be compiled and run here. numba is looked for and not imported: most kernels are compiled
    already."""
    if os.environ.get(SWITCH) == "torch" or find_spec("numba") is None:
        return False
    try:
        return bool(_libgomp())
    except RuntimeError:
        return False


@functools.cache
def team_symbols() -> dict[str, str]:
    """The symbols by which code finds `thread_num` and `num_threads`, known to the linker from now on."""
    from llvmlite import binding

    symbols = {name: f"bytebill_{name}" for name in ("thread_num", "num_threads")}
    for name, symbol in symbols.items():
        address = ctypes.cast(getattr(_libgomp(), f"omp_get_{name}"), ctypes.c_void_p).value
        binding.add_symbol(symbol, address)
    return symbols


def thread_functions() -> dict[str, Any]:
    """`thread_num()` and `num_threads()`, for the code of a region."""
    from numba import types

    return {name: types.ExternalFunction(symbol, types.int32()) for name, symbol in team_symbols().items()}


def part(function: Callable[..., Any]) -> Any:
    """Compile a function that regions call, without the wrappers that would let Python call it."""
    from numba import njit

    return njit(**PLAINLY)(function)


# Options of numba's: no checks for division by zero, and nothing by which Python could call.
PLAINLY: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@functools.cache
def parallel() -> Callable[[int, int, int, int], None]:
    """`call(address, pointer, n_threads, 0)` runs a compiled region on a team of threads."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    return call(("GOMP_parallel", _libgomp()))
