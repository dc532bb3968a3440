"""Weights on coarse grids: what rounding may change at most, and what not; a rotation that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bytebill.device import pick
from bytebill.engine.calibration import PlainLoader, input_products
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, random_weights
from bytebill.engine.weights.quantized import Grid, gptq, quantized, rotated, rounded
from bytebill.errors import BytebillError
from bytebill.measure.quality import judged
from bytebill.measure.quantization import (
    Loss,
    Recipe,
    _RoundedCache,
    cache_losses,
    largest_change,
    losses,
    ratio_of_extras,
)
from bytebill.models import MoESpec, model

TINY = replace(
    model("smollm2-135m"), n_layers=2, d_model=48, d_ff=80, n_heads=4, n_kv_heads=2, d_head=12, vocab_size=90
)
SPARSE = replace(TINY, moe=MoESpec(n_experts=4, n_experts_per_token=2, d_ff_expert=32, n_shared_experts=1), d_ff=32)
TOKENS = torch.randint(0, TINY.vocab_size, (256,), generator=torch.Generator().manual_seed(1)).tolist()


def with_gains(spec=TINY) -> Weights:
    """Random weights whose norms are not all 1, as a trained model's are not."""
    plain = random_weights(spec)

    def read(name: str) -> Tensor:
        gains = torch.linspace(0.5, 2.0, plain[name].shape[-1])
        return gains if name.endswith("norm") else plain[name]

    return Weights(spec, read)


def loss_of_outputs(kept: Tensor, weight: Tensor, inputs: Tensor) -> float:
    return float(((kept - weight) @ inputs.T).square().sum())


@given(bits=st.integers(1, 8), group=st.integers(1, 70), n_in=st.integers(1, 70), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_rounding_moves_no_weight_by_more_than_half_a_step(bits: int, group: int, n_in: int, seed: int) -> None:
    weight = torch.randn(3, n_in, generator=torch.Generator().manual_seed(seed))
    found = rounded(weight, Grid(bits, group))
    assert found.shape == weight.shape
    for start in range(0, n_in, group):  # the last group may be shorter
        part, kept = weight[:, start : start + group], found[:, start : start + group]
        width = part.amax(-1) - part.amin(-1)
        held = part.abs().amax(-1) * 2**-9  # offset and step have the eleven bits of a 16-bit number
        assert bool(((part - kept).abs().amax(-1) <= width / (2**bits - 1) / 2 + held + 1e-4).all())
        assert all(len(set(row.tolist())) <= 2**bits for row in kept)


@given(bits=st.integers(1, 8), group=st.sampled_from((5, 16, 24, 100)), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_what_is_on_the_grid_stays_there(bits: int, group: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 2**bits, (4, 48), generator=generator).float()
    levels[:, ::group], levels[:, 1::group] = (
        0,
        2**bits - 1,
    )  # each group, the last short one too, uses all of its range
    weight = 0.25 * levels - 0.5
    assert torch.equal(rounded(weight, Grid(bits, group)), weight)


def test_a_wider_grid_loses_less_and_a_constant_nothing() -> None:
    weight = torch.randn(8, 96, generator=torch.Generator().manual_seed(0))
    errors = [float((rounded(weight, Grid(bits, 32)) - weight).square().mean()) for bits in range(1, 9)]
    assert errors == sorted(errors, reverse=True)
    assert torch.equal(rounded(torch.full((2, 10), 0.5), Grid(2, 4)), torch.full((2, 10), 0.5))


@pytest.mark.parametrize("wrong", [(0, 32), (9, 32), (4, 0)])
def test_grids_that_do_not_exist_are_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(BytebillError, match=r"not"):
        Grid(*wrong)


@pytest.mark.parametrize("grid", [Grid(4, 32), Grid(3, 24), Grid(2, 70), Grid(4, 500)])
def test_gptq_stays_on_its_grid_and_changes_outputs_less_than_rounding(grid: Grid) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(16, 96, generator=generator)
    inputs = torch.randn(400, 96, generator=generator) @ torch.randn(96, 96, generator=generator)  # correlated
    found = gptq(weight, inputs.T @ inputs, grid)
    for start in range(0, 96, grid.group):
        assert all(len(set(row.tolist())) <= 2**grid.bits for row in found[:, start : start + grid.group])
    assert loss_of_outputs(found, weight, inputs) < 0.7 * loss_of_outputs(rounded(weight, grid), weight, inputs)


def test_gptq_with_independent_inputs_is_rounding() -> None:
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(4))
    assert torch.equal(gptq(weight, torch.eye(40) * 7, Grid(3, 16)), rounded(weight, Grid(3, 16)))


def test_gptq_takes_matrices_together_or_one_by_one() -> None:
    generator = torch.Generator().manual_seed(5)
    weights, inputs = torch.randn(2, 6, 32, generator=generator), torch.randn(2, 90, 32, generator=generator)
    products = inputs.transpose(1, 2) @ inputs
    together = gptq(weights, products, Grid(3, 16))
    for one, alone in zip(together, map(gptq, weights, products, [Grid(3, 16)] * 2), strict=True):
        assert torch.allclose(one, alone, atol=1e-5)


def test_the_products_are_those_of_the_inputs() -> None:
    weights = with_gains()
    found = input_products(weights, TOKENS[:20], length=10, dtype="fp32")
    rows = torch.cat([weights["embedding"][TOKENS[:10]], weights["embedding"][TOKENS[10:20]]])
    normed = rows * (rows.square().mean(-1, keepdim=True) + TINY.norm_eps).rsqrt() * weights["layers.0.attention_norm"]
    assert torch.allclose(found["layers.0.qkv"], normed.T @ normed, rtol=1e-4, atol=1e-4)
    assert set(found) == {
        f"layers.{i}.{each}" for i in range(2) for each in ("qkv", "attention_out", "gate_up", "down")
    }


@pytest.mark.parametrize("method", ["rounding", "gptq"])
def test_only_the_matrices_of_the_layers_are_quantized(method: str) -> None:
    weights = with_gains()
    products: Mapping[str, Tensor] | None = (
        input_products(weights, TOKENS, length=64, dtype="fp32") if method == "gptq" else None
    )
    found = quantized(weights, Grid(2, 16), products)
    changed = {name for name in weights if not torch.equal(found[name], weights[name])}
    assert changed == {name for name in weights if name.startswith("layers") and weights[name].dim() == 2}


def test_gptq_without_the_products_of_a_matrix_is_refused() -> None:
    with pytest.raises(BytebillError, match=r"layers\.0"):
        quantized(with_gains(), Grid(4, 16), {})


@pytest.mark.parametrize("spec", [TINY, replace(TINY, tied_embeddings=False), SPARSE], ids=["tied", "untied", "sparse"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rotation_leaves_the_function_as_it_is(spec, seed: int) -> None:
    weights = with_gains(spec)
    turned = rotated(weights, seed=seed)
    before, after = (judged(Transformer(each, dtype="fp32"), TOKENS, length=64) for each in (weights, turned))
    assert torch.equal(before.likeliest, after.likeliest)
    assert torch.allclose(before.losses, after.losses, atol=2e-3)
    assert not torch.allclose(weights["layers.0.qkv"], turned["layers.0.qkv"], atol=0.1)


def test_rotation_takes_a_checkpoint_off_its_grid() -> None:
    plain = random_weights(TINY)
    stored = quantized(plain, Grid(4, 16))  # as a checkpoint of 4 bits comes
    again, turned = quantized(stored, Grid(4, 16)), rotated(stored)
    for name in ("layers.0.qkv", "layers.1.down"):
        assert torch.equal(again[name], stored[name])
        assert not torch.allclose(quantized(turned, Grid(4, 16))[name], turned[name], atol=1e-3)


def test_a_plain_model_says_what_a_packed_one_says() -> None:
    weights = with_gains()
    packed, plain = (
        judged(Transformer(weights, dtype="fp32", **how), TOKENS, length=32) for how in ({}, {"loader": PlainLoader})
    )
    assert torch.equal(packed.likeliest, plain.likeliest)
    assert torch.allclose(packed.losses, plain.losses, atol=1e-3)


def test_quality_counts_as_written() -> None:
    quality = judged(Transformer(with_gains(), dtype="fp32"), TOKENS, length=50)
    assert quality.losses.shape == (5, 49)  # five whole rows of 256 tokens
    assert quality.targets.tolist()[1] == TOKENS[51:100]
    assert quality.perplexity == pytest.approx(float(quality.losses.double().mean().exp()))
    assert quality.accuracy == float((quality.likeliest == quality.targets).double().mean())
    chosen = quality.right  # where the target is the likeliest, its probability is that of the loss
    assert torch.allclose(quality.confidence[chosen], (-quality.losses[chosen]).exp(), atol=1e-5)
    assert bool((quality.confidence >= (-quality.losses).exp() - 1e-6).all())
    with pytest.raises(BytebillError, match=r"fill no row"):
        judged(Transformer(with_gains(), dtype="fp32"), TOKENS[:9], length=10)


def lost(*extra: float) -> Loss:
    return Loss(
        recipe=Recipe("rounding", 4, 16),
        seed=0,
        extra_by_row=extra,
        perplexity=2.0,
        perplexity_before=1.0,
        accuracy=0.5,
        agreement=0.5,
    )


def test_a_ratio_of_losses_has_an_interval_of_its_rows() -> None:
    ratio, low, high = ratio_of_extras(lost(0.4, 0.2, 0.6), lost(0.1, 0.1, 0.1))
    assert ratio == pytest.approx(4) and 2 <= low < 4 < high <= 6
    same = ratio_of_extras(lost(0.4, 0.2, 0.6), lost(0.2, 0.1, 0.3))  # row by row twice as much
    assert same == pytest.approx((2, 2, 2))


def test_weights_on_a_grid_do_not_move() -> None:
    stored = quantized(random_weights(TINY), Grid(4, 16))
    assert largest_change(stored, Grid(4, 16)) == 0
    assert largest_change(stored, Grid(4, 24)) > 0 and largest_change(rotated(stored), Grid(4, 16)) > 0


@pytest.mark.parametrize(
    ("recipe", "n_rows", "said"),
    [(Recipe("guessing", 4, 64), 2, "guessing"), (Recipe("GPTQ", 4, 64), 9999, "are not in")],
)
def test_what_cannot_be_judged_is_refused(recipe: Recipe, n_rows: int, said: str) -> None:
    with pytest.raises(BytebillError, match=said):
        losses(random_weights(TINY), [recipe], pick("cpu"), n_rows=n_rows)


def test_a_rounded_cache_holds_its_grid_and_nothing_else_of_the_model_changes() -> None:
    model, tokens = Transformer(with_gains(), dtype="fp32"), torch.tensor([TOKENS[:24], TOKENS[24:48]])
    size = {"batch_size": 2, "max_len": 24, "dtype": torch.float32}
    said, caches = {}, {}
    for bits in (2, 8):
        caches[bits] = _RoundedCache(TINY, **size, bits=bits)
        said[bits] = model.forward(tokens[:, :20], caches[bits], last_only=False)
        one_more = model.forward(tokens[:, 20:21], caches[bits])  # a decode step reads the rounded ones, too
        assert bool(torch.isfinite(one_more).all())
        for keys, values in caches[bits]._layers:
            for each in (keys.transpose(-1, -2)[:, :21].flatten(0, 1), values[:, :21].flatten(0, 1)):
                assert max(len(set(row.tolist())) for row in each) <= min(2**bits, TINY.d_head)
    whole = model.forward(tokens[:, :20], model.new_cache(2, 24), last_only=False)
    errors = {bits: float((each - whole).abs().mean()) for bits, each in said.items()}
    assert 0 < errors[8] < errors[2] / 20  # 255 steps to 3
    # Nothing before the first token: it sees its own value alone, and a narrow grid moves that, too.
    assert not torch.equal(said[2][:, 0], whole[:, 0])


def test_a_cache_of_fewer_bits_costs_more() -> None:
    spec = replace(TINY, vocab_size=model("smollm2-135m").vocab_size)
    eight, two = cache_losses(with_gains(spec), (8, 2), pick("cpu"), n_rows=2, length=24)
    assert eight.recipe == ("rounded cache", 8, spec.d_head) and len(eight.extra_by_row) == 2
    assert abs(eight.extra) < abs(two.extra) and two.agreement < eight.agreement
    with pytest.raises(BytebillError, match="are not in it"):
        cache_losses(with_gains(spec), (8,), pick("cpu"), n_rows=10**6)
