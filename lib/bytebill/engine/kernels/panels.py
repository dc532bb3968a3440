"""How fast can a CPU multiply a handful of vectors by a matrix that lives in memory?

At small batch the answer is the memory's: every weight is read once and used `batch` times. A library matmul
repacks the weights on each call, so its time jumps at batch 2; these kernels read weights that were packed once,
in the order they are used, and the time stays flat until arithmetic takes over.

    panel layout   [n_panels, n_in, panel]        panel consecutive outputs side by side, one row per input
    inner step     acc[panel, g] += w[k, panel] * x[k, g]      g = the sequences of one register group

A panel row is loaded once and multiplied by g broadcast inputs, all in registers. Larger batches run group
after group over a tile of the panel that is still in the level-2 cache.

The code is compiled by numba for the vector unit of this machine and runs on torch's own threads (`openmp`).
Ignores: sparsity, accumulation below fp32. Where numba or libgomp is missing, `available()` says so and
`bytebill.engine.kernels.linear` falls back to torch.
"""

import ctypes
import functools
from typing import Any

import torch

from bytebill.engine.kernels import machine_code, openmp
from bytebill.engine.kernels.dtypes import FORMATS, SCALE_GROUP
from bytebill.engine.kernels.openmp import available as available

_ARGUMENTS = ("weights", "x", "y", "scales", "n_panels", "n_in", "n_groups", "tile", "starts")
_X, _Y, _STARTS = (_ARGUMENTS.index(name) for name in ("x", "y", "starts"))
_TILE_BYTES = 128 << 10  # a tile of a panel that several groups pass over: well inside a level-2 cache


@functools.cache
def register_tile() -> tuple[int, int, int]:
    """(lanes, vectors in a panel row, largest group) that fill this machine's vector registers.

    Accumulators take vectors * group registers; one row of the panel and one input must fit beside them.
    """
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, 4, 6  # 32 registers of 16 floats
    if features.get("avx2"):
        return 8, 2, 5  # 16 registers of 8
    return 4, 4, 5  # 32 registers of 4 (NEON)


def fitting_lanes(width: int) -> int | None:
    """Floats in the widest vector of this machine that fits `width` floats a whole number of times.

    >>> fitting_lanes(10) is None
    True
    """
    return next((n for n in (16, 8, 4) if n <= register_tile()[0] and width % n == 0), None)


def panel_width() -> int:
    """Outputs that lie side by side in a panel."""
    lanes, vectors, _ = register_tile()
    return lanes * vectors


def grouping(batch_size: int) -> tuple[int, int]:
    """(groups, sequences per group): as few groups as fit the registers, of equal size.

    >>> n_groups, group = grouping(1)
    >>> (n_groups, group)
    (1, 1)
    """
    n_groups = -(-batch_size // register_tile()[2])
    return n_groups, -(-batch_size // n_groups)


def _source(dtype: str, group: int, n_abreast: int, lanes: int, vectors: int) -> str:
    """The kernel for one dtype and group size, with its accumulators unrolled into registers."""
    row_bytes = int(lanes * vectors * FORMATS[dtype].bytes_per_weight)
    abreast = range(n_abreast)
    cells = [(p, v, g) for p in abreast for v in range(vectors) for g in range(group)]
    return "\n".join(
        [
            "def region(p):",
            *(f"    {name} = p[{i}]" for i, name in enumerate(_ARGUMENTS)),
            "    rank, n_ranks = thread_num(), num_threads()",
            f"    first = n_panels // {n_abreast} * rank // n_ranks * {n_abreast}",
            f"    last = n_panels // {n_abreast} * (rank + 1) // n_ranks * {n_abreast}",
            f"    for panel in range(first, last, {n_abreast}):",
            "        for start in range(0, n_in, tile):",
            "            stop = min(start + tile, n_in)",
            "            for group in range(n_groups):",
            *(f"                w{p} = weights + ((panel + {p}) * n_in + start) * {row_bytes}" for p in abreast),
            f"                x_k = x + (group * n_in + start) * {4 * group}",
            *(f"                a{p}_{v}_{g} = {_start(dtype, group, g)}" for p, v, g in cells),
            "                for k in range(start, stop):",
            *(line for p in abreast for line in _row_loads(dtype, lanes, vectors, p)),
            *(
                line
                for g in range(group)
                for line in (
                    f"                    broadcast_x = broadcast(x_k + {4 * g})",
                    *(
                        f"                    a{p}_{v}_{g} = fma(w{p}_{v}, broadcast_x, a{p}_{v}_{g})"
                        for p in abreast
                        for v in range(vectors)
                    ),
                )
            ),
            f"                    x_k += {4 * group}",
            *(f"                    w{p} += {row_bytes}" for p in abreast),
            *(line for p in abreast for line in _stores(dtype, group, lanes, vectors, p)),
        ]
    )


def _start(dtype: str, group: int, g: int) -> str:
    """Where a sum starts: at -8 times the inputs of the tile, for nibbles are read as 0 to 15 and mean -8 to 7."""
    tile = f"start // {SCALE_GROUP} * n_groups + group"
    return f"broadcast(starts + (({tile}) * {group} + {g}) * 4)" if dtype == "int4" else "zero()"


def _row_loads(dtype: str, lanes: int, vectors: int, p: int) -> list[str]:
    """Lines that bring a row of one of the panels abreast into fp32 registers."""
    step = int(lanes * FORMATS[dtype].bytes_per_weight)
    loads = (  # low nibbles hold one vector, high nibbles the next
        [f"load_nibbles(w{p} + {v // 2 * lanes}, {4 * (v % 2)})" for v in range(vectors)]
        if dtype == "int4"
        else [f"load_{dtype}(w{p} + {v * step})" for v in range(vectors)]
    )
    return [f"                    w{p}_{v} = {load}" for v, load in enumerate(loads)]


def _stores(dtype: str, group: int, lanes: int, vectors: int, p: int) -> list[str]:
    """Lines that scale the accumulators of one of the panels abreast and add them to the output."""
    pad, width, panel = " " * 16, lanes * vectors, f"(panel + {p})"
    tile = f"{panel} * (n_in // {SCALE_GROUP}) + start // {SCALE_GROUP}"
    scale = {
        "int8": f"load_fp32(scales + ({panel} * {width} + {{}}) * 4)",
        "int4": f"load_bf16(scales + (({tile}) * {width} + {{}}) * 2)",
    }.get(dtype, "")
    stored = "mul(a{p}_{v}_{g}, s_{v})" if scale else "a{p}_{v}_{g}"
    return [
        f"{pad}to = y + (group * {group} * n_panels + {panel}) * {4 * width}",
        *(f"{pad}s_{v} = {scale.format(v * lanes)}" for v in range(vectors) if scale),
        *(
            f"{pad}add_to(to + ({g} * n_panels * {width} + {v * lanes}) * 4, {stored.format(p=p, v=v, g=g)}, start > 0)"
            for v in range(vectors)
            for g in range(group)
        ),
    ]


@functools.cache
def panels_kernel(dtype: str, group: int, n_abreast: int) -> int:
    """Address of the code for `group` sequences and `n_abreast` panels at a time; a quarter of a second where it is
    compiled."""
    lanes, vectors, _ = register_tile()
    shape = dtype, group, n_abreast, lanes, vectors
    return machine_code.address_of(functools.partial(_region, *shape), "panels", *shape)


def _region(dtype: str, group: int, n_abreast: int, lanes: int, vectors: int) -> machine_code.Region:
    from bytebill.engine.kernels import simd

    names: dict[str, Any] = simd.matmul_operations(lanes) | openmp.thread_functions()
    exec(_source(dtype, group, n_abreast, lanes, vectors), names)
    return names["region"]


def abreast(group: int, n_panels: int) -> int:
    """Panels that a small group takes side by side: every sum waits for its last product, and the few sums of one panel
    do not fill that time. The order of each sum stays the same, whatever the group.

    >>> abreast(1, 64), abreast(1, 63)
    (4, 1)
    """
    largest = register_tile()[2]
    return next(n for n in (4, 2, 1) if n * group <= largest and n_panels % n == 0)


class Panels:
    """A packed matrix [n_panels, n_in, panel] with its scales, ready to multiply batches of any size.

    What a call needs besides the two addresses is worked out once per batch size: at batch 1 a small model
    makes a hundred of these calls for each token.
    """

    def __init__(self, dtype: str, packed: torch.Tensor, scales: torch.Tensor | None) -> None:
        self.dtype, self.packed, self.scales = dtype, packed, scales
        self.n_panels, self.n_in = packed.shape[:2]
        self._n_out, self._call = self.n_panels * panel_width(), openmp.parallel()
        self._plans: dict[int, tuple[int, Any, int, int, int]] = {}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, n_in] fp32, contiguous -> [B, n_panels * panel] fp32."""
        batch_size = x.shape[0]
        address, args, pointer, n_groups, group = self._plans.get(batch_size) or self._plan(batch_size)
        if self.dtype == "int4":
            starts = torch.zeros((self.n_in // SCALE_GROUP, n_groups * group))
            torch.sum(x.view(batch_size, -1, SCALE_GROUP), -1, out=starts[:, :batch_size].T).mul_(-8)
            args[_STARTS] = starts.data_ptr()
        if batch_size > 1:
            if n_groups * group != batch_size:
                x = torch.nn.functional.pad(x, (0, 0, 0, n_groups * group - batch_size))
            x = x.view(n_groups, group, self.n_in).transpose(1, 2).contiguous()  # [groups, n_in, g]
        y = torch.empty((n_groups * group, self._n_out))
        args[_X], args[_Y] = x.data_ptr(), y.data_ptr()
        self._call(address, pointer, torch.get_num_threads(), 0)
        return y[:batch_size] if n_groups * group != batch_size else y

    def _plan(self, batch_size: int) -> tuple[int, Any, int, int, int]:
        n_groups, group = grouping(batch_size)
        in_cache = max(64, int(_TILE_BYTES / (panel_width() * FORMATS[self.dtype].bytes_per_weight)))
        tile = SCALE_GROUP if self.dtype == "int4" else in_cache if n_groups > 1 else self.n_in
        scales = self.scales.data_ptr() if self.scales is not None else 0
        args = (ctypes.c_int64 * len(_ARGUMENTS))(
            self.packed.data_ptr(), 0, 0, scales, self.n_panels, self.n_in, n_groups, tile, 0
        )
        kernel = panels_kernel(self.dtype, group, abreast(group, self.n_panels))
        self._plans[batch_size] = kernel, args, ctypes.addressof(args), n_groups, group
        return self._plans[batch_size]
