"""How does a GPU multiply by narrow weights? Two kernels of torch's: one for weights of 4 bits, and one for fp8.

    4 bits    w = (level - 8) * scale,  level 0 to 15, a bf16 scale for each output and `SCALE_GROUP` inputs
    fp8       y = (x / a) @ (w / b).T * a * b,  a = max |x| / 448 for each token,  b = max |w| / 448 for each output

The 4 bits are on the same grid as this book's panels and multiplied in bf16; the kernel keeps an offset beside every
scale, here zero: 4 + 32 / 64 = 4.5 bits a weight. fp8 is e4m3, whose largest number is 448, multiplied by tensor cores
as it is, so inputs are narrowed as well; a token's scale is its own, whoever else is in the batch.
Ignores 8-bit integers, for which torch's kernel on a GPU is far from memory speed, and sizes that fill no tile of a
kernel: `refusal` says which.
"""

import functools

import torch
from torch import Tensor

from bytebill.engine.kernels.dtypes import SCALE_GROUP

_FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FP8).max


class FourBits:
    """Weight-only, by torch's tinygemm."""

    extra_bytes = 2  # of the offset beside each scale
    _tiles = 4  # of 16 inputs that lie together: as many as a group of 64 has
    _outputs = 8  # a tile's

    @classmethod
    def refusal(cls, n_out: int, n_in: int) -> str | None:
        """Why a matrix of this shape has no such kernel, or None.

        >>> FourBits.refusal(960, 576), FourBits.refusal(100, 64)
        (None, 'int4 on a GPU needs outputs in eights and inputs in groups of 64, not 100 and 64.')
        """
        if n_out % cls._outputs == 0 and n_in % SCALE_GROUP == 0:
            return None
        return f"int4 on a GPU needs outputs in eights and inputs in groups of {SCALE_GROUP}, not {n_out} and {n_in}."

    @staticmethod
    def levels(weight: Tensor) -> tuple[Tensor, Tensor]:
        """weight [n_out, n_in] -> levels 0 to 15 [n_out, n_in], scales and offsets [n_in / group, n_out, 2].

        >>> FourBits.levels(torch.linspace(-7, 7, 64)[None])[0][0, ::21].tolist()
        [1, 6, 10, 15]
        """
        grouped = weight.float().unflatten(1, (-1, SCALE_GROUP))
        scale = (grouped.abs().amax(2) / 7).clamp_min(1e-12).bfloat16()  # [n_out, n_groups]
        found = (grouped / scale.float()[..., None]).round_().clamp_(-8, 7).to(torch.int32) + 8
        return found.flatten(1), torch.stack((scale, torch.zeros_like(scale)), -1).transpose(0, 1).contiguous()

    @classmethod
    def packed(cls, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weight as the kernel takes it: packed levels, and scales with offsets."""
        found, scales = cls.levels(weight)
        pairs = (found[:, ::2] << 4 | found[:, 1::2]).to(torch.uint8)
        return torch.ops.aten._convert_weight_to_int4pack(pairs, cls._tiles), scales

    @staticmethod
    def product(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        """x [n, n_in] bf16 -> [n, n_out] bf16"""
        return torch.ops.aten._weight_int4pack_mm(x, weight, SCALE_GROUP, scales)


class EightBitFloats:
    """Weights and inputs in fp8, by torch's scaled matmul."""

    _tile = 16  # inputs and outputs come in multiples of it

    @classmethod
    def available(cls) -> bool:
        """Whether there is a GPU that has this kernel: tried once."""
        return torch.cuda.is_available() and cls.multiplies_on("cuda")

    @staticmethod
    @functools.cache
    def multiplies_on(device: str) -> bool:
        """Whether the kernel runs on a device and leaves the rows of a unit matrix as they are."""
        try:
            unit = torch.eye(EightBitFloats._tile, device=device).bfloat16()
            return torch.equal(EightBitFloats.product(unit, *EightBitFloats.packed(unit)), unit)
        except (AssertionError, AttributeError, NotImplementedError, RuntimeError):
            return False

    @classmethod
    def refusal(cls, n_out: int, n_in: int) -> str | None:
        """Why a matrix of this shape has no such kernel, or None.

        >>> EightBitFloats.refusal(960, 576), EightBitFloats.refusal(100, 64)
        (None, 'fp8 needs outputs and inputs in multiples of 16, not 100 and 64.')
        """
        if n_out % cls._tile == 0 and n_in % cls._tile == 0:
            return None
        return f"fp8 needs outputs and inputs in multiples of {cls._tile}, not {n_out} and {n_in}."

    @staticmethod
    def packed(rows: Tensor) -> tuple[Tensor, Tensor]:
        """rows [n, n_in], of a weight or of inputs -> the same in e4m3, and each row's scale [n, 1] fp32.

        >>> narrow, scales = EightBitFloats.packed(torch.tensor([[1.0, -0.5], [8.0, 2.0]]))
        >>> (narrow.float() * scales).tolist()
        [[1.0, -0.5], [8.0, 2.0]]
        """
        scales = rows.abs().amax(1, keepdim=True).float().div_(_LARGEST).clamp_min_(1e-12)
        return (rows / scales).to(_FP8), scales

    @classmethod
    def product(cls, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        """x [n, n_in] bf16 -> [n, n_out] bf16"""
        return cls.narrow_product(*cls.packed(x), weight, scales)

    @staticmethod
    def narrow_product(x: Tensor, x_scales: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        """The same of inputs that are narrow already: x [n, n_in] and weight in e4m3, with the scale of each row."""
        return torch._scaled_mm(
            x, weight.t(), scale_a=x_scales, scale_b=scales.t(), out_dtype=torch.bfloat16, use_fast_accum=True
        )
