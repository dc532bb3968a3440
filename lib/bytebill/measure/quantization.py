"""What does a model lose by method, bits and group? Each recipe applied, and the result judged on the reference text.

    extra = mean over tokens of -ln p(quantized) + ln p(as it was)        [nats a token], ln of the perplexities' ratio

The model is turned by a random rotation first (`engine.weights.quantized.rotated`): SmolLM2 comes in 4 bits, and on its
own grid rounding to 4 bits would find it again for nothing. Rows of text are judged apart, so that the spread over them
says how sure a difference is. GPTQ sees the end of the text, of which no token is judged; rounding needs none. A cache
is rounded as it is filled, and every query meets the rounded keys and values; it is as wide as before, so this is what
narrow caches cost and not what they save. Ignores tasks, and what quantizing the head would cost.
Used by chapter 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bytebill.device import Device
from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.cache.latent import SlotCache
from bytebill.engine.cache.places import Placement
from bytebill.engine.calibration import PlainLoader, input_products
from bytebill.engine.rotary import Factors, rotate
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights
from bytebill.engine.weights.quantized import Grid, quantized, rotated, rounded
from bytebill.errors import require, require_known
from bytebill.measure.quality import Quality, judged, reference_tokens

METHODS = ("rounding", "GPTQ")
_CALIBRATION_LENGTH = 512


class Recipe(NamedTuple):
    """How weights are quantized."""

    method: str
    bits: int
    group: int


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a recipe cost: by row of the text the extra nats, and over all of it what is left."""

    recipe: Recipe
    seed: int  # of the rotation
    extra_by_row: tuple[float, ...]
    perplexity: float
    perplexity_before: float
    accuracy: float
    agreement: float  # share of tokens whose likeliest one is still the same

    @property
    def extra(self) -> float:
        """Extra nats a token."""
        return sum(self.extra_by_row) / len(self.extra_by_row)


def losses(
    weights: Weights,
    recipes: Sequence[Recipe],
    device: Device,
    *,
    n_rows: int,
    length: int = 128,
    n_calibration: int = 2048,
    seed: int = 0,
) -> tuple[Quality, list[Loss]]:
    """The rotated model on the first rows of the text as it is, and what each recipe costs on the same rows."""
    for each in recipes:
        require_known("method of quantization", each.method, METHODS)
    tokens = reference_tokens()
    n_judged = n_rows * length
    require(
        n_rows >= 1 and n_judged + n_calibration <= len(tokens),
        f"The text has {len(tokens):,} tokens; {n_rows} rows of {length} and {n_calibration:,} to calibrate on are not "
        "in it.",
    )
    turned = rotated(weights, seed=seed)

    def judge(each: Weights) -> Quality:
        model = Transformer(each, dtype="bf16", device=device.torch, loader=PlainLoader)
        return judged(model, tokens[:n_judged], length=length)

    before = judge(turned)
    products = (
        input_products(turned, tokens[-n_calibration:], length=_CALIBRATION_LENGTH)
        if any(each.method == "GPTQ" for each in recipes)
        else None
    )
    found = []
    for recipe in recipes:
        of_inputs = products if recipe.method == "GPTQ" else None
        after = judge(quantized(turned, Grid(recipe.bits, recipe.group), of_inputs))
        found.append(_loss(recipe, seed, before, after))
    return before, found


class _RoundedCache(ContiguousCache):
    """Keys and values on a grid of their own for each token and head, in the width they had."""

    def __init__(self, *place: Any, bits: int, **size: Any) -> None:
        super().__init__(*place, **size)
        self._bits = bits

    def attend(self, layer: int, heads: Tensor, factors: Factors, placement: Placement) -> Tensor:
        q, *kept = rotate(heads, factors).split(self._split, 2)
        k, v = (rounded(each.float(), Grid(self._bits, each.shape[-1])).to(each.dtype) for each in kept)
        self._append(*self._rows[layer], k, v, placement)
        return self._attended(layer, q, k, v, placement).reshape(q.shape[0] * q.shape[1], -1)


class _WithRoundedCache(Transformer):
    bits: int | None = None  # None: a cache as it is

    def new_cache(self, batch_size: int, max_len: int) -> SlotCache:
        if self.bits is None:
            return super().new_cache(batch_size, max_len)
        size: dict[str, Any] = {"dtype": self.activation_dtype, "device": self.device, "bits": self.bits}
        return _RoundedCache(self.spec, batch_size=batch_size, max_len=max_len, **size)


def cache_losses(
    weights: Weights, widths: Sequence[int], device: Device, *, n_rows: int, length: int = 512
) -> list[Loss]:
    """What a cache of so many bits costs the model as it is: each token's keys and values rounded, head by head.

    A head's offset and step make 32 / `d_head` bits more. The weights are not turned: no rotation of the residual
    stream changes a key or a value. Raises `BytebillError` for a model of latents.
    """
    tokens = reference_tokens()
    require(
        n_rows >= 1 and n_rows * length <= len(tokens),
        f"The text has {len(tokens):,} tokens; {n_rows} rows of {length} are not in it.",
    )
    model = _WithRoundedCache(weights, dtype="bf16", device=device.torch, loader=PlainLoader)
    before = judged(model, tokens[: n_rows * length], length=length)
    found = []
    for bits in widths:
        model.bits = bits
        after = judged(model, tokens[: n_rows * length], length=length)
        found.append(_loss(Recipe("rounded cache", bits, weights.spec.d_head), 0, before, after))
    return found


def _loss(recipe: Recipe, seed: int, before: Quality, after: Quality) -> Loss:
    extra = (after.losses.double() - before.losses.double()).mean(-1)
    return Loss(
        recipe=recipe,
        seed=seed,
        extra_by_row=tuple(extra.tolist()),
        perplexity=after.perplexity,
        perplexity_before=before.perplexity,
        accuracy=after.accuracy,
        agreement=float((after.likeliest == before.likeliest).double().mean()),
    )


def largest_change(weights: Weights, grid: Grid) -> float:
    """The most that rounding to a grid moves any weight of the layers, over the root mean square of its matrix.

    Zero where the weights are on that grid already.
    """
    names = [name for name in weights if name.startswith("layers.") and weights[name].dim() == 2]
    matrices = (weights[name].float() for name in names)
    return max(float((rounded(each, grid) - each).abs().max() / each.square().mean().sqrt()) for each in matrices)


def ratio_of_extras(dearer: Loss, cheaper: Loss, *, n: int = 400, seed: int = 0) -> tuple[float, float, float]:
    """Extra nats of one over the other's: the ratio, and the middle 95% of it if rows are drawn anew [nats/nats]."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.tensor([dearer.extra_by_row, cheaper.extra_by_row], dtype=torch.float64)
    drawn = both[:, torch.randint(both.shape[1], (n, both.shape[1]), generator=generator)].mean(-1)
    low, high = (drawn[0] / drawn[1]).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return dearer.extra / cheaper.extra, low, high
