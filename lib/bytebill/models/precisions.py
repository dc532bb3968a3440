"""How wide is a weight? What each number format stores, and which units multiply it.

    bits_per_weight = weight_bits + (scale_bits + zero_bits) / group_size     [bits]

A weight-only format (int8, int4) stores few bits and multiplies in bf16: it reads less and computes the same.
A format of weights and activations (fp8, w8a8) also multiplies in its own, faster units. Ignores that
runtimes often leave embeddings, head and norms at 16 bits (up to 3% of a 70B, a third of a 0.5B).
"""

from dataclasses import dataclass
from math import inf

from bytebill.errors import require_known
from bytebill.units import BITS_PER_BYTE


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Widths of everything a decode step moves, and the dtype whose peak bounds its arithmetic."""

    name: str
    weight_bits: float
    compute_dtype: str
    group_size: float = inf  # weights that share one scale and zero point; inf: a scale a row, not counted
    scale_bits: float = 0
    zero_bits: float = 0
    kv_bytes_per_value: float = 2
    activation_bytes_per_value: float = 2

    def __post_init__(self) -> None:
        if min(self.weight_bits, self.group_size, self.kv_bytes_per_value, self.activation_bytes_per_value) <= 0:
            raise ValueError(f"{self.name}: every width must be positive")

    @property
    def bits_per_weight(self) -> float:
        """Stored bits a weight, its share of the group's scale and zero point included.

        >>> precision("int4").bits_per_weight    # 4 + (16 + 16) / 128
        4.25
        """
        return self.weight_bits + (self.scale_bits + self.zero_bits) / self.group_size

    @property
    def bytes_per_weight(self) -> float:
        return self.bits_per_weight / BITS_PER_BYTE


PRECISIONS = {
    each.name: each
    for each in (
        Precision(
            name="fp32", weight_bits=32, compute_dtype="fp32", kv_bytes_per_value=4, activation_bytes_per_value=4
        ),
        Precision(name="bf16", weight_bits=16, compute_dtype="bf16"),
        Precision(name="fp16", weight_bits=16, compute_dtype="fp16"),
        Precision(name="bf16-kv8", weight_bits=16, compute_dtype="bf16", kv_bytes_per_value=1),
        Precision(name="fp8", weight_bits=8, compute_dtype="fp8"),
        Precision(name="fp8-kv8", weight_bits=8, compute_dtype="fp8", kv_bytes_per_value=1),
        Precision(name="w8a8", weight_bits=8, compute_dtype="int8"),
        Precision(name="int8", weight_bits=8, compute_dtype="bf16"),
        Precision(name="int4", weight_bits=4, compute_dtype="bf16", group_size=128, scale_bits=16, zero_bits=16),
        Precision(name="int4-ideal", weight_bits=4, compute_dtype="bf16"),
    )
}


def precision(id: str) -> Precision:
    """The precision with this id.

    >>> precision("int8").compute_dtype, precision("w8a8").compute_dtype
    ('bf16', 'int8')
    """
    require_known("precision", id, PRECISIONS)
    return PRECISIONS[id]
