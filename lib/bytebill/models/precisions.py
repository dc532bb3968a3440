"""How wide is a weight? What each number format stores, which units multiply it, and what a checkpoint leaves wider.

    bits_per_weight = weight_bits + (scale_bits + zero_bits) / group_size     [bits]

A weight-only format (int8, int4) stores few bits and multiplies in bf16: it reads less and computes the same.
A format of weights and activations (fp8, w8a8, nvfp4) also multiplies in its own, faster units. Servers leave tables,
head, router and all vectors at 16 bits, and MXFP4 checkpoints attention too: `exceptions` names, by matrix or by
group, the share of the copies that has another format. `int4-ideal` is the arithmetic of 4 bits without any of this.
"""

from dataclasses import dataclass
from math import inf

from bytebill.errors import require, require_known
from bytebill.models.layers import VECTORS, Matrix
from bytebill.units import BITS_PER_BYTE

Exceptions = tuple[tuple[str, float, str], ...]  # (matrix, group, or "group.matrix"; share of its copies; format)

LEFT_WIDE: Exceptions = tuple((group, 1.0, "bf16") for group in ("embedding", "head", "router", *VECTORS))
EXPERTS_ONLY: Exceptions = (
    *LEFT_WIDE,
    *((group, 1.0, "bf16") for group in ("attention", "recurrent", "mlp", "shared_expert")),
)


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
    exceptions: Exceptions = ()

    def __post_init__(self) -> None:
        widths = (self.weight_bits, self.group_size, self.kv_bytes_per_value, self.activation_bytes_per_value)
        require(min(widths) > 0, f"{self.name}: every width must be positive")
        require(
            all(0 <= share <= 1 for _, share, _ in self.exceptions),
            f"{self.name}: an exception holds for a share of a matrix's copies",
        )

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

    def formats(self, matrix: Matrix) -> tuple[tuple[float, "Precision"], ...]:
        """The formats of a matrix's copies, each with its share; the narrowest exception counts.

        >>> from bytebill.models import model, matrices
        >>> head, fp8 = next(m for m in matrices(model("llama-3-8b")) if m.name == "head"), precision("fp8")
        >>> [(share, each.name) for share, each in fp8.formats(head)]
        [(1.0, 'bf16')]
        """
        keys = (f"{matrix.group}.{matrix.name}", matrix.name, matrix.group)
        found = next((hits for key in keys if (hits := [each for each in self.exceptions if each[0] == key])), [])
        others = [(share, PRECISIONS[name]) for _, share, name in found if share]
        left = 1 - sum(share for share, _ in others)
        return (*((left, self) for _ in range(left > 0)), *others)

    def weight_bytes(self, matrix: Matrix) -> float:
        """Bytes that a matrix's copies take."""
        return matrix.n_params * sum(share * each.bytes_per_weight for share, each in self.formats(matrix))


PRECISIONS = {
    each.name: each
    for each in (
        Precision(
            name="fp32", weight_bits=32, compute_dtype="fp32", kv_bytes_per_value=4, activation_bytes_per_value=4
        ),
        Precision(name="bf16", weight_bits=16, compute_dtype="bf16"),
        Precision(name="fp16", weight_bits=16, compute_dtype="fp16"),
        Precision(name="bf16-kv8", weight_bits=16, compute_dtype="bf16", kv_bytes_per_value=1),
        Precision(name="fp8", weight_bits=8, compute_dtype="fp8", exceptions=LEFT_WIDE),
        Precision(name="fp8-kv8", weight_bits=8, compute_dtype="fp8", kv_bytes_per_value=1, exceptions=LEFT_WIDE),
        Precision(name="w8a8", weight_bits=8, compute_dtype="int8", exceptions=LEFT_WIDE),
        Precision(name="int8", weight_bits=8, compute_dtype="bf16", exceptions=LEFT_WIDE),
        Precision(
            name="int4",
            weight_bits=4,
            compute_dtype="bf16",
            group_size=128,
            scale_bits=16,
            zero_bits=16,
            exceptions=LEFT_WIDE,
        ),
        Precision(name="int4-ideal", weight_bits=4, compute_dtype="bf16"),
        Precision(
            name="mxfp4", weight_bits=4, compute_dtype="fp4", group_size=32, scale_bits=8, exceptions=EXPERTS_ONLY
        ),
        Precision(name="nvfp4", weight_bits=4, compute_dtype="fp4", group_size=16, scale_bits=8, exceptions=LEFT_WIDE),
    )
}


def precision(id: str) -> Precision:
    """The precision with this id.

    >>> precision("int8").compute_dtype, precision("w8a8").compute_dtype
    ('bf16', 'int8')
    """
    require_known("precision", id, PRECISIONS)
    return PRECISIONS[id]
