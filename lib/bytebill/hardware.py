"""How many bytes and FLOPs a second does a device allow? Accelerators as published, one record each.

    ridge point  I* = peak / W      [FLOP/byte]: below it a kernel waits for memory, above it for arithmetic

Symbols: peak `peak_flops_per_s` [FLOP/s], dense (datasheets also print twice that, with 2:4 sparsity), W
`bandwidth_bytes_per_s` [B/s], M `memory_bytes` [B]. The rows and their sources: `data/accelerators.csv`.
Ignores what a kernel reaches in practice (about 0.7 to 0.95 of both: `data/published_gemm.csv`), links
between devices, clocks and power limits. `memory_bytes` is the capacity the datasheet prints, `driver_bytes` what
nvidia-smi or rocm-smi reports as total, from 1 to 7% more: labels count in other gigabytes than memory does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bytebill import data
from bytebill.errors import require
from bytebill.units import to_si


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One device: what it holds, how fast it reads it, how fast it multiplies, by dtype.

    >>> card = Accelerator(id="toy", name="Toy", memory_bytes=80e9, bandwidth_bytes_per_s=2e12,
    ...                    peak_flops_per_s={"bf16": 400e12})
    >>> card.ridge_point()
    200.0
    """

    id: str
    name: str
    vendor: str = ""
    memory_bytes: float
    bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float] = field(hash=False)
    cautions: tuple[str, ...] = ()
    node_devices: int = 8  # that the fast link joins; more of them are several nodes
    reported_bytes: float | None = None  # in all, by the driver; None: as on the label

    def __post_init__(self) -> None:
        rates = (self.memory_bytes, self.bandwidth_bytes_per_s, *self.peak_flops_per_s.values())
        require(
            len(rates) > 2 and min(rates) > 0, f"{self.id}: memory, bandwidth and at least one peak must be positive"
        )

    @property
    def driver_bytes(self) -> float:
        """Memory in all as the driver reports it.

        >>> accelerator("h100-sxm").driver_bytes / 2**20, accelerator("tpu-v5e").driver_bytes
        (81559.0, 16000000000.0)
        """
        return self.memory_bytes if self.reported_bytes is None else self.reported_bytes

    def peak(self, dtype: str = "bf16") -> float:
        """Dense peak for a dtype [FLOP/s]; a dtype the device has no units for is an error, never a guess."""
        require(
            dtype in self.peak_flops_per_s,
            f"{self.name} has no published {dtype} peak; it has {', '.join(self.peak_flops_per_s)}.",
        )
        return self.peak_flops_per_s[dtype]

    def units(self, dtype: str) -> str:
        """The dtype whose units multiply values of this dtype here: its own, or 16 bits where there are kernels, those
        of NVIDIA's devices, that unpack narrow weights as they read them.

        >>> accelerator("b200").units("fp4"), accelerator("h100-sxm").units("fp4")    # unpacked, as weights of 4 bits
        ('fp4', 'bf16')
        """
        unpacked = dtype in ("fp4", "fp8") and dtype not in self.peak_flops_per_s and self.vendor == "NVIDIA"
        return "bf16" if unpacked else dtype

    def ridge_point(self, dtype: str = "bf16") -> float:
        """FLOPs the device can do in the time it reads one byte: peak / bandwidth [FLOP/byte].

        >>> round(accelerator("h100-sxm").ridge_point(), 1)    # 989.4e12 / 3.35e12
        295.3
        """
        return self.peak(dtype) / self.bandwidth_bytes_per_s


def _from_rows(id: str, rows: list[data.Row]) -> Accelerator:
    figures = {(row["quantity"], row["dtype"]): to_si(row["value"], row["unit"]) for row in rows}
    return Accelerator(
        id=id,
        name=rows[0]["name"],
        vendor=rows[0]["vendor"],
        memory_bytes=figures["memory", None],
        reported_bytes=figures["driver_memory", None],
        bandwidth_bytes_per_s=figures["bandwidth", None],
        peak_flops_per_s={str(dtype): rate for (quantity, dtype), rate in figures.items() if quantity == "peak"},
        cautions=tuple(sorted({row["caution"] for row in rows if row["caution"]})),
    )


ACCELERATORS = data.Register(
    "accelerator", lambda: {id: _from_rows(id, rows) for id, rows in data.grouped("accelerators", "device_id").items()}
)


def accelerator(id: str) -> Accelerator:
    """The accelerator with this id, as other tools spell it too.

    >>> accelerator("h200-sxm").memory_bytes, accelerator("b200_sxm").id
    (141000000000.0, 'b200')
    """
    spelled = id.lower().replace("_", "-")
    short = spelled.removesuffix("-sxm")
    return ACCELERATORS[next((each for each in (spelled, short) if each in ACCELERATORS), id)]
