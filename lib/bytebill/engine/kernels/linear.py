"""Linear layers whose weights were packed once: the one home of packed kernels.

    y [..., n_out] = x [..., n_in] @ weight.T

On a CPU a plain `F.linear` streams weights near memory speed at batch 1 and repacks them on every call from
batch 2, so a sweep over the batch shows the library's cliff and not the memory's. `PackedLinear` packs once:

    fp32, bf16, int8, int4    this book's panel kernels (`bytebill.engine.kernels.panels`), fp32 accumulation
    bf16, large batches       oneDNN's packed product, from the batch at which it is the faster one here
    int4, on a GPU            torch's weight-only kernel (`linear_gpu`)
    fp8, on a GPU             torch's kernel for tensor cores that take 8-bit floats (likewise)
    anything, elsewhere       `F.linear` (CUDA, MPS, or a CPU without numba): plain weights, 16 or 32 bits

What each dtype stores is said in `dtypes`. The batch from which oneDNN serves bf16 is measured once a process
(`onednn_from`); where a CPU does not multiply bf16, there is none.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable
from math import inf

import torch
from torch.nn import functional

from bytebill.engine.kernels import panels, products, reading
from bytebill.engine.kernels.dtypes import FORMATS, PLAIN, SCALE_GROUP, weight_format
from bytebill.engine.kernels.huge_pages import in_large_pages
from bytebill.engine.kernels.linear_gpu import EightBitFloats, FourBits
from bytebill.errors import BytebillError, require

_TRIED = (7, 13, 25, 49, 97)  # batches: each is one group of the panels' registers more than a full one, of AVX-512's
_ON_GPU: dict[str, type[FourBits | EightBitFloats]] = {"int4": FourBits, "fp8": EightBitFloats}
_TRIED_SHAPE = 2048, 2048  # of the matrix that both multiply: beyond a level-2 cache, as a model's are


def path(dtype: str, device: str) -> str:
    """Which code runs a dtype on a device: 'panels', 'tinygemm', 'scaled' or 'torch', which takes no narrow dtype.

    >>> path("bf16", "cuda"), path("int4", "cuda")
    ('torch', 'tinygemm')
    """
    weight_format(dtype)  # refuses a name that is none
    found = _path(dtype, device)
    if found is None:
        *others, last = formats(device)
        raise BytebillError(f"{dtype} weights have no kernel on {device} here; use {', '.join(others)} or {last}.")
    return found


def formats(device: str) -> tuple[str, ...]:
    """The weight dtypes that have a kernel on a device, the widest first."""
    return tuple(dtype for dtype in FORMATS if _path(dtype, device))


def _path(dtype: str, device: str) -> str | None:
    if device == "cpu" and dtype != "fp8" and panels.available():
        return "panels"
    if device == "cuda" and dtype == "int4":
        return "tinygemm"
    if device == "cuda" and dtype == "fp8" and EightBitFloats.available():
        return "scaled"
    return "torch" if dtype in PLAIN else None


def arithmetic(dtype: str, *, batch_size: int, device: str) -> str:
    """The dtype whose peak bounds a step: panels multiply in fp32 registers, whatever the weights are, and a GPU's
    kernel for 4 bits in bf16.

    >>> arithmetic("bf16", batch_size=1, device="cuda"), arithmetic("int4", batch_size=1, device="cuda")
    ('bf16', 'bf16')
    """
    by = path(dtype, device)
    if by == "tinygemm":
        return "bf16"
    return dtype if by != "panels" or (dtype == "bf16" and batch_size >= onednn_from()) else "fp32"


class PackedLinear:
    """A weight matrix [n_out, n_in] in the form its kernel wants; call it with x [..., n_in].

    `stored_bytes` counts weights and scales as packed: what one decode step reads.
    """

    def __init__(self, weight: torch.Tensor, *, dtype: str, packs: bool = True) -> None:
        """`packs=False` leaves a plain one to torch: quicker for a matrix that meets many tokens a few times."""
        self.dtype, (self.n_out, self.n_in) = dtype, weight.shape
        self.path = path(dtype, weight.device.type) if packs or dtype not in PLAIN else "torch"
        self._whole = False  # whether the panels' outputs are the layer's, with none to cut off
        self._panels: panels.Panels | None = None
        self._scales: torch.Tensor | None = None  # of a GPU's kernel
        self._onednn: torch.Tensor | None = None
        if self.path == "torch":
            self.weight = weight.to(PLAIN[dtype]).contiguous()
            return
        if self.path != "panels":
            refused = _ON_GPU[dtype].refusal(self.n_out, self.n_in)
            require(refused is None, refused or "")
            self.weight, self._scales = _ON_GPU[dtype].packed(weight)
            return
        require(
            dtype != "int4" or self.n_in % SCALE_GROUP == 0,
            f"int4 needs inputs in groups of {SCALE_GROUP}; got {self.n_in}.",
        )
        packed, scales = pack(weight, dtype)
        self.weight = in_large_pages(packed)
        self._panels = panels.Panels(dtype, self.weight, scales)
        self._whole = self.n_out % panels.panel_width() == 0

    @property
    def stored_bytes(self) -> int:
        """Bytes of weights and scales that one call reads."""
        scales = self._panels.scales if self._panels else self._scales
        return self.weight.nbytes + (scales.nbytes if scales is not None else 0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., n_in] -> [..., n_out], in the dtype of x."""
        if self._whole and x.dtype is torch.float32 and x.dim() == 2 and x.is_contiguous():
            return self._panels(x)  # type: ignore[misc]
        if self._scales is not None:
            y = _ON_GPU[self.dtype].product(x.reshape(-1, self.n_in).bfloat16(), self.weight, self._scales)
            return y.to(x.dtype).reshape(*x.shape[:-1], self.n_out)
        if self._panels is None:
            return products.multiplied(x.to(self.weight.dtype), self.weight).to(x.dtype)
        flat = x if x.dim() == 2 else x.reshape(-1, self.n_in)
        large = self.dtype == "bf16" and flat.shape[0] >= _TRIED[0] and flat.shape[0] >= onednn_from()
        y = self.by_onednn(flat) if large else self.by_panels(flat)
        y = y if y.dtype == x.dtype else y.to(x.dtype)
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], self.n_out)

    def read(self) -> None:
        """Read every weight once and do nothing with it: what the time of a step is held against."""
        reading.read_once(self.weight)

    def twin(self) -> PackedLinear:
        """A copy whose values lie in memory of their own."""
        twin = copy.copy(self)
        twin.weight, twin._onednn = in_large_pages(self.weight.clone()), None
        twin._scales = None if self._scales is None else self._scales.clone()
        if self._panels:
            scales = self._panels.scales
            twin._panels = panels.Panels(self.dtype, twin.weight, None if scales is None else scales.clone())
        return twin

    def by_panels(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, n_in] -> [B, n_out] fp32."""
        y: torch.Tensor = self._panels(x.to(torch.float32).contiguous())  # type: ignore[misc]
        return y if self._whole else y[:, : self.n_out]

    def by_onednn(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, n_in] -> [B, n_out] in the dtype of the weights."""
        if self._onednn is None:  # a second copy, made only where large batches or prompts need it
            self._onednn = torch.ops.mkldnn._reorder_linear_weight(unpack(self.weight, self.n_out), x.shape[0])
        return torch.ops.mkldnn._linear_pointwise(x.to(self.weight.dtype), self._onednn, None, "none", [], "")


def pack(weight: torch.Tensor, dtype: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """weight [n_out, n_in] -> (panels [n_panels, n_in, width], scales or None), zero rows filling the last panel."""
    width, (n_out, n_in) = panels.panel_width(), weight.shape
    filled = functional.pad(weight, (0, 0, 0, -n_out % width)) if n_out % width else weight  # a pad of none copies too
    tiles = filled.reshape(-1, width, n_in).transpose(1, 2)
    if dtype in PLAIN:
        return torch.empty(tiles.shape, dtype=PLAIN[dtype]).copy_(tiles), None
    tiles = tiles.float()
    if dtype == "int8":
        scale = (tiles.abs().amax(dim=1) / 127).clamp_min(1e-12)  # [n_panels, width]
        return (tiles / scale[:, None]).round_().to(torch.int8).contiguous(), scale.contiguous()
    grouped = tiles.reshape(tiles.shape[0], -1, SCALE_GROUP, width)
    scale = (grouped.abs().amax(dim=2) / 7).clamp_min(1e-12).bfloat16()  # [n_panels, groups, width]
    levels = (grouped / scale.float()[:, :, None]).round_().clamp_(-8, 7).to(torch.int16) + 8
    low, high = levels.reshape(*tiles.shape[:2], -1, 2, panels.register_tile()[0]).unbind(3)  # one vector, and the next
    return (low | (high << 4)).to(torch.uint8).flatten(2).contiguous(), scale.contiguous()


def unpack(packed: torch.Tensor, n_out: int) -> torch.Tensor:
    """The weight [n_out, n_in] back from fp32 or bf16 panels."""
    return packed.transpose(1, 2).reshape(-1, packed.shape[1])[:n_out].contiguous()


@functools.cache
def onednn_from() -> float:
    """The smallest batch tried from which on oneDNN's packed bf16 product is faster than the panels here.

    Infinite where there is none: without oneDNN's operators (they are private and may change), where they do not agree
    with `F.linear`, or on a CPU that does not multiply bf16.
    """
    if not _onednn_agrees():
        return inf
    tried = PackedLinear(torch.randn(_TRIED_SHAPE), dtype="bf16")
    first = inf
    for batch in reversed(_TRIED):
        x = torch.randn(batch, _TRIED_SHAPE[1]).bfloat16()
        if _fastest_s(tried.by_onednn, x) >= _fastest_s(tried.by_panels, x):
            break
        first = batch
    return first


def _fastest_s(call: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *, tries: int = 4) -> float:
    """Seconds of the fastest call after a first one."""
    times_s = []
    for _ in range(1 + tries):
        start = time.perf_counter()
        call(x)
        times_s.append(time.perf_counter() - start)
    return min(times_s[1:])


def _onednn_agrees() -> bool:
    """Whether oneDNN's packed bf16 product exists here and agrees with `F.linear`."""
    try:
        x, weight = torch.randn(32, 64).bfloat16(), torch.randn(96, 64).bfloat16()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 32)
        y = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "").float()
        return bool(torch.allclose(y, functional.linear(x, weight).float(), atol=0.5, rtol=0.05))
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
