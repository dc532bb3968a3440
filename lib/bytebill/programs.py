"""Which program serves the model, and what does it take for itself? Defaults and costs of vLLM, SGLang, TensorRT-LLM.

Each quantity is a value between the lowest and the highest that versions and devices leave it. The rows and their
sources: `data/programs.csv`. A quantity without a row does not exist for a program: `share_of` says which of three
things its share of the memory is a share of. Quantities are what a server of today does; the low and high ends tell
what older versions did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from bytebill import data
from bytebill.errors import require_known
from bytebill.units import to_si

TITLES = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM"}
CORNERS = ("value", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A serving program: its quantities by name, each as value, low and high."""

    id: str
    name: str
    quantities: Mapping[str, tuple[float, float, float]] = field(hash=False)

    @property
    def share_of(self) -> str:
        """What the program's share of the memory is a share of.

        `utilization`: all that CUDA sees, for everything together (vLLM). `static_share`: the same, for weights and
        cache alone, activations and graphs outside (SGLang). `free_share`: what weights and activations leave free,
        for the cache alone (TensorRT-LLM).

        >>> [program(id).share_of for id in ("vllm", "sglang", "trtllm")]
        ['utilization', 'static_share', 'free_share']
        """
        return next((name for name in ("utilization", "free_share") if name in self.quantities), "static_share")

    def size(self, driver_bytes: float) -> str:
        """What the program takes a device of this memory for: "small", "large", or neither.

        >>> [program("sglang").size(n * 2**30) for n in (24, 80, 180)]
        ['small', '', 'large']
        """
        if driver_bytes < self.quantity("small_below"):
            return "small"
        return "large" if driver_bytes >= self.quantity("large_from", default=inf) else ""

    def quantity(self, name: str, *, corner: str = "value", size: str = "", default: float = 0.0) -> float:
        """A quantity at its value or at an end of its range, that of devices of a size where it has one.

        >>> [program("vllm").quantity("step_tokens", size=size) for size in ("", "small")]
        [8192.0, 2048.0]
        """
        require_known("corner", corner, CORNERS)
        found = self.quantities.get(f"{name}_{size}") or self.quantities.get(name)
        return found[CORNERS.index(corner)] if found else default


def _si(value: float, unit: str) -> float:
    return to_si(value, unit) if unit in ("MiB", "GiB") else value


def _from_rows(id: str, rows: list[data.Row]) -> Program:
    return Program(
        id=id,
        name=TITLES[id],
        quantities={
            row["quantity"]: (
                _si(row["value"], row["unit"]),
                _si(row["low"], row["unit"]),
                _si(row["high"], row["unit"]),
            )
            for row in rows
        },
    )


PROGRAMS = data.Register(
    "program", lambda: {id: _from_rows(id, rows) for id, rows in data.grouped("programs", "program").items()}
)


def program(id: str) -> Program:
    """The program with this id.

    >>> program("trtllm").name
    'TensorRT-LLM'
    """
    return PROGRAMS[id]
