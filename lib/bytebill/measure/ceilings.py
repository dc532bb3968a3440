"""What are this machine's own two ceilings? Bytes read a second, and FLOPs a second by dtype.

    read_bytes_per_s     a plain read of a buffer far larger than most caches
    peak_flops_per_s     a square matmul large enough to be compute-bound: 2 n^3 / time

They are what a roofline is drawn with when the datasheet is not the machine's. Both are the fastest of several runs:
a bound is what cannot be beaten, and whatever disturbs a run only makes it slower. Ignores writes, and caches.
"""

from math import inf

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.graphs import without_launches
from bytebill.engine.kernels import products, reading
from bytebill.engine.kernels.dtypes import PLAIN, weight_format
from bytebill.engine.kernels.huge_pages import in_large_pages
from bytebill.engine.kernels.linear import PackedLinear, formats
from bytebill.engine.kernels.linear_gpu import EightBitFloats
from bytebill.hardware import Accelerator
from bytebill.measure.timing import Call, in_turns, timed
from bytebill.records.notes import note

_BUFFER_BYTES = {"cpu": 512 << 20, "mps": 512 << 20, "cuda": 4 << 30}
_MATMUL_SIZE = {"cpu": 2048, "mps": 4096, "cuda": 8192}


def read_bytes_per_s(device: Device, *, repeats: int = 9) -> float:
    """Bytes a second of reading memory once, in order, the fastest of several reads [B/s]."""
    fastest = max(read_rates(device, repeats=repeats))
    note(read_bytes_per_s=fastest)
    return fastest


def read_rates(device: Device, *, piece_bytes: float = inf, repeats: int = 9) -> tuple[float, ...]:
    """Bytes a second of several reads of memory in order, in pieces of so many bytes one after another [B/s]."""
    buffer = read_buffer(device)
    pieces = buffer.split(max(1, int(min(piece_bytes, buffer.nbytes) // buffer.itemsize)))

    def read() -> None:
        for piece in pieces:
            reading.read_once(piece)

    samples_s = timed(without_launches(read, kind=device.kind), sync=synchronizer(device), repeats=repeats).samples_s
    return tuple(buffer.nbytes / seconds for seconds in samples_s)


def read_buffer(device: Device) -> torch.Tensor:
    """Numbers to be read, far more than any cache holds, in large pages as the weights are."""
    n_bytes = int(min(_BUFFER_BYTES[device.kind], device.memory_bytes // 8))
    return in_large_pages(torch.ones(n_bytes // 4, device=device.torch))


def peak_flops_per_s(device: Device, *, dtype: str, repeats: int = 7) -> float:
    """FLOPs a second of a large matmul in a dtype, torch's or the packed one, whichever is faster [FLOP/s].

    On a CPU that does not multiply bf16 torch's own would take minutes, and it is left out. Inputs of fp8 are
    narrow before the clock starts.
    """
    size = _MATMUL_SIZE[device.kind]
    a, b = (torch.randn(size, size, device=device.torch).to(weight_format(dtype).activations) for _ in range(2))
    calls: dict[str, Call]
    if dtype == "fp8":
        narrow = (*EightBitFloats.packed(a), *EightBitFloats.packed(b))
        calls = {"torch": lambda: EightBitFloats.narrow_product(*narrow)}
    else:
        packed = PackedLinear(b, dtype=dtype)
        calls = {"packed": lambda: packed(a)}
    if dtype in PLAIN and (device.kind != "cpu" or dtype != "bf16" or products.has_bf16()):
        calls["torch"] = lambda: a @ b
    with torch.inference_mode():
        timings = in_turns(calls, {}, sync=synchronizer(device), repeats=repeats)
    fastest = 2 * size**3 / min(min(timing.samples_s) for timing in timings.values())
    note(peak_flops_per_s={dtype: fastest})
    return fastest


def as_accelerator(device: Device, *, read: float, peaks: dict[str, float]) -> Accelerator:
    """This machine as one of the book's accelerators, with measured ceilings in place of a datasheet's."""
    return Accelerator(
        id="this-machine",
        name=device.name,
        memory_bytes=device.memory_bytes,
        bandwidth_bytes_per_s=read,
        peak_flops_per_s=peaks,
    )


def machine(device: Device, *dtypes: str) -> Accelerator:
    """This machine as an accelerator: what it reads and multiplies in these dtypes is measured now; none named are all
    whose peaks bound its formats."""
    dtypes = dtypes or (*PLAIN, *{"fp8"}.intersection(formats(device.kind)))
    return as_accelerator(
        device, read=read_bytes_per_s(device), peaks={dtype: peak_flops_per_s(device, dtype=dtype) for dtype in dtypes}
    )
