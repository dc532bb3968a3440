"""How wide is a weight to this engine? One table of the formats that its kernels take.

    bytes of a matrix = n_out * n_in * bits / 8 + n_out * n_in / group * scale_bytes

fp32 and bf16 are torch's own types. int8 keeps one fp32 scale for each output, int4 one bf16 scale for each output and
`SCALE_GROUP` inputs: 4 + 16 / 64 = 4.25 bits a weight. Both are symmetric and weight-only. fp8, on a GPU alone, keeps
one fp32 scale for each output and narrows a product's inputs too. Between the layers all three keep bf16.
Ignores the formats of other programs (`bytebill.models.precisions`), whose int4 has other groups.
"""

from dataclasses import dataclass

import torch

from bytebill.errors import require_known

SCALE_GROUP = 64  # inputs that share one int4 scale


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """How a matrix is stored, and what its inputs are kept in between the layers."""

    name: str
    bits: int
    activations: torch.dtype
    plain: torch.dtype | None = None  # torch's own type of the weights; None: they need a kernel of their own
    scale_bytes: int = 0
    scale_group: int | None = None  # inputs that share a scale; None: all of them

    @property
    def bytes_per_weight(self) -> float:
        """Bytes of one weight, its share of the scales left out."""
        return self.bits / 8

    def matrix_bytes(self, n_out: int, n_in: int) -> int:
        """Bytes of a matrix with its scales.

        >>> FORMATS["int4"].matrix_bytes(1, 64), FORMATS["int8"].matrix_bytes(2, 64)    # 32 + 2; 128 + 2 * 4
        (34, 136)
        """
        return int(n_out * n_in * self.bytes_per_weight) + n_out * n_in // (self.scale_group or n_in) * self.scale_bytes


FORMATS = {
    each.name: each
    for each in (
        WeightFormat(name="fp32", bits=32, activations=torch.float32, plain=torch.float32),
        WeightFormat(name="bf16", bits=16, activations=torch.bfloat16, plain=torch.bfloat16),
        WeightFormat(name="fp8", bits=8, activations=torch.bfloat16, scale_bytes=4),
        WeightFormat(name="int8", bits=8, activations=torch.bfloat16, scale_bytes=4),
        WeightFormat(name="int4", bits=4, activations=torch.bfloat16, scale_bytes=2, scale_group=SCALE_GROUP),
    )
}
PLAIN = {name: each.plain for name, each in FORMATS.items() if each.plain is not None}
PLAIN_NAMES = {dtype: name for name, dtype in PLAIN.items()}


def weight_format(dtype: str) -> WeightFormat:
    """The format of this name.

    >>> weight_format("bf16").bytes_per_weight
    2.0
    """
    require_known("weight dtype", dtype, FORMATS)
    return FORMATS[dtype]
