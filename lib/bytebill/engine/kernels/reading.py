"""How fast can a CPU read memory? Every byte once, by several streams a core, and nothing is done with it.

One stream leaves a core waiting: it has room for more lines on their way than one row of addresses asks for. With four
a Zen 3 reads a quarter more than torch's sum does, and the decode kernels, which take panels side by side, would
otherwise be faster than the bound that they are held to.

Where the kernels cannot be compiled it is torch's sum. Ignores what is left beyond whole vectors.
"""

import ctypes
import functools
from typing import Any

import torch

from bytebill.engine.kernels import machine_code, openmp, panels

N_STREAMS = 4
_VECTORS = 2  # at a time, of each stream


def read_once(numbers: torch.Tensor) -> None:
    """Read a contiguous tensor once."""
    if numbers.device.type != "cpu" or not openmp.available():
        flat = numbers.view(-1)
        (flat.view(torch.float32) if flat.nbytes % 4 == 0 else flat).sum()
        return
    args = (ctypes.c_int64 * 3)(numbers.data_ptr(), numbers.nbytes, _seen().data_ptr())
    openmp.parallel()(_kernel(), ctypes.addressof(args), torch.get_num_threads(), 0)


@functools.cache
def _seen() -> torch.Tensor:
    """Where each thread leaves what it read, so that no compiler leaves the reading out."""
    return torch.zeros(1024, 64)


@functools.cache
def _kernel() -> int:
    return machine_code.address_of(_region, "read", panels.register_tile()[0])


def _region() -> machine_code.Region:
    from bytebill.engine.kernels import simd

    lanes = panels.register_tile()[0]
    step, streams, vectors = 4 * lanes * _VECTORS, range(N_STREAMS), range(_VECTORS)
    cells = [(s, v) for s in streams for v in vectors]
    source = "\n".join(
        [
            "def region(p):",
            "    base, n_bytes, seen = p[0], p[1], p[2]",
            "    rank, n_ranks = thread_num(), num_threads()",
            f"    each = n_bytes // n_ranks // {step * N_STREAMS} * {step}",
            f"    base += rank * each * {N_STREAMS}",
            *(f"    a{s}_{v} = zero()" for s, v in cells),
            f"    for at in range(base, base + each, {step}):",
            *(f"        a{s}_{v} = either(a{s}_{v}, load_fp32(at + {s} * each + {4 * lanes * v}))" for s, v in cells),
            *(f"    a0_0 = either(a0_0, a{s}_{v})" for s, v in cells),
            "    store_fp32(seen + rank * 256, a0_0)",
        ]
    )
    names: dict[str, Any] = simd.operations(lanes) | openmp.thread_functions()
    exec(source, names)
    return names["region"]
