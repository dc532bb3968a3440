"""How does a GPU multiply by weights of 4 bits? torch's weight-only kernel, on the same grid as this book's panels.

    w = (level - 8) * scale,  level 0 to 15, a bf16 scale for each output and `SCALE_GROUP` inputs; products in bf16

The kernel keeps an offset beside every scale, here zero: 4 + 32 / 64 = 4.5 bits a weight. Ignores 8 bits, for which
torch's kernel on a GPU is far from memory speed, and sizes that fill no tile of the kernel: `refusal` says which.
"""

import torch
from torch import Tensor

from bytebill.engine.kernels.dtypes import SCALE_GROUP

_TILES = 4  # of 16 inputs that lie together: as many as a group of 64 has
_OUTPUTS = 8  # a tile's
EXTRA_BYTES = 2  # of the offset beside each scale


def refusal(n_out: int, n_in: int) -> str | None:
    """Why a matrix of this shape has no such kernel, or None.

    >>> refusal(960, 576), refusal(100, 64)
    (None, 'int4 on a GPU needs outputs in eights and inputs in groups of 64, not 100 and 64.')
    """
    if n_out % _OUTPUTS == 0 and n_in % SCALE_GROUP == 0:
        return None
    return f"int4 on a GPU needs outputs in eights and inputs in groups of {SCALE_GROUP}, not {n_out} and {n_in}."


def levels(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [n_out, n_in] -> levels 0 to 15 [n_out, n_in], scales and offsets [n_in / group, n_out, 2].

    >>> levels(torch.linspace(-7, 7, 64)[None])[0][0, ::21].tolist()
    [1, 6, 10, 15]
    """
    grouped = weight.float().unflatten(1, (-1, SCALE_GROUP))
    scale = (grouped.abs().amax(2) / 7).clamp_min(1e-12).bfloat16()  # [n_out, n_groups]
    found = (grouped / scale.float()[..., None]).round_().clamp_(-8, 7).to(torch.int32) + 8
    return found.flatten(1), torch.stack((scale, torch.zeros_like(scale)), -1).transpose(0, 1).contiguous()


def packed(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The weight as the kernel takes it: packed levels, and scales with offsets."""
    found, scales = levels(weight)
    pairs = (found[:, ::2] << 4 | found[:, 1::2]).to(torch.uint8)
    return torch.ops.aten._convert_weight_to_int4pack(pairs, _TILES), scales


def four_bit_product(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """x [n, n_in] bf16 -> [n, n_out] bf16"""
    return torch.ops.aten._weight_int4pack_mm(x, weight, SCALE_GROUP, scales)
