"""How does attention know where a token stands? Every pair of a head's numbers is turned by an angle that grows with
its place.

    rotate(x) = x * cos(m f) + swap(x) * sin(m f)             position m, frequencies f_i = base^(-2 i / H)

Symbols: H size of what is rotated, N and K heads as in `models`. Rotation pairs (i, i + H/2); a checkpoint that pairs
neighbours is reordered when loaded. Ignores the scaling of long contexts, which a checkpoint's `frequencies` bring.
"""

import torch
from torch import Tensor

from bytebill.models import ModelSpec

Factors = tuple[Tensor, Tensor]  # cosines and sines, each [B or 1, T, heads or 1, H]


class Rotary:
    """Turns positions into factors that rotate queries and keys; worked out once a step, for all layers.

    Values pass with factors 1 and 0, and queries take their H**-0.5 along, so that one multiply-add serves
    all heads. Latents rotate a part of every head, all alike.
    """

    def __init__(self, spec: ModelSpec, *, frequencies: Tensor, dtype: torch.dtype) -> None:
        self._frequencies, self._dtype = frequencies.float(), dtype
        kinds = [[1.0], [0.0]] if spec.mla is not None else [[spec.d_head**-0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
        counts = [1] if spec.mla is not None else [spec.n_heads, spec.n_kv_heads, spec.n_kv_heads]
        per_head = torch.tensor(kinds).repeat_interleave(torch.tensor(counts), 1, output_size=sum(counts))
        self._weight, self._offset = per_head[..., None].to(frequencies.device)  # each [N + 2 K, 1]

    def factors(self, positions: Tensor) -> Factors:
        """positions [B or 1, T] -> the factors that `rotate` takes."""
        angles = (positions[..., None] * self._frequencies)[..., None, :]  # [B, T, 1, H/2]
        cos, sin = angles.cos(), angles.sin()
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        return torch.addcmul(self._offset, cos, self._weight).to(self._dtype), (sin * self._weight).to(self._dtype)


def rotate(heads: Tensor, factors: Factors) -> Tensor:
    """Rotate each pair (i, i + H/2) of every head by its position's angle: heads [B, T, N + 2 K, H]."""
    cos, sin = factors
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), sin)


def rope_frequencies(spec: ModelSpec) -> Tensor:
    """Radians per token of each of the H/2 pairs: base^(-2 i / H), H of the part that is rotated."""
    width = spec.d_head if spec.mla is None else spec.mla.d_rope
    return 1.0 / spec.rope_base ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
