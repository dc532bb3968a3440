"""Experts against the layers that they must equal, against the bytes they should move, and against routing theory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import isclose

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bytebill.device import pick
from bytebill.engine.experts import DrawnRouter, Experts, Router, Routing
from bytebill.engine.kernels.linear import PackedLinear
from bytebill.engine.layers import SwiGLU
from bytebill.engine.sharding import share_of
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import Weights, random_weights
from bytebill.errors import BytebillError
from bytebill.measure.decoders import hollow
from bytebill.measure.experts import _point, build, dense_twins, sweep_experts
from bytebill.models import ModelSpec, MoESpec, model, precision, weight_bytes
from bytebill.roofline import StepCost, decode_cost
from bytebill.roofline.routing import distinct_experts, distinct_of_shares, tokens_to_touch, zipf_shares

# Widths in whole panels, so that no byte of packing is beside the parameters'.
MIXTRAL_LIKE = ModelSpec(
    id="routed",
    name="Routed",
    n_layers=3,
    d_model=64,
    d_ff=128,
    n_heads=4,
    n_kv_heads=2,
    d_head=16,
    vocab_size=128,
    context_len=128,
    moe=MoESpec(n_experts=64, n_experts_per_token=2, d_ff_expert=64),
)
DEEPSEEK_LIKE = replace(
    MIXTRAL_LIKE,
    id="shared",
    name="Shared",
    moe=MoESpec(
        n_experts=64, n_experts_per_token=4, d_ff_expert=64, n_shared_experts=1, n_dense_layers=1, router_bias=True
    ),
)
SPECS = {"mixtral-like": MIXTRAL_LIKE, "deepseek-like": DEEPSEEK_LIKE}
CLOSE = 1e-4  # absolute, on logits of size one, in fp32


@pytest.fixture(params=SPECS)
def decoder(request: pytest.FixtureRequest) -> Transformer:
    return Transformer(random_weights(SPECS[request.param]), dtype="fp32")


def linear(n_out: int, n_in: int) -> PackedLinear:
    return PackedLinear(torch.randn(n_out, n_in) / n_in**0.5, dtype="fp32")


def mlp(d_ff: int = 64) -> SwiGLU:
    return SwiGLU(gate_up=linear(2 * d_ff, 64), down=linear(64, d_ff))


def rows(n: int) -> Tensor:
    return torch.randn(n, 64, generator=torch.Generator().manual_seed(n))


def tokens(n_rows: int, n_tokens: int) -> Tensor:
    return torch.randint(128, (n_rows, n_tokens), generator=torch.Generator().manual_seed(1))


def one_by_one(block: Experts, x: Tensor) -> Tensor:
    """The layer as its equation has it, token by token."""
    chosen, weights = block.router(x)
    total = [
        sum(w * block.mlps[e](token[None]) for e, w in zip(es.tolist(), ws, strict=True))
        for token, es, ws in zip(x, chosen, weights, strict=True)
    ]
    shared = 0 if block.shared is None else block.shared(x)
    return torch.cat(total) + shared


@pytest.mark.parametrize("n_tokens", [1, 2, 7, 40])
@pytest.mark.parametrize("shared", [False, True])
def test_the_layer_is_its_equation(n_tokens: int, shared: bool) -> None:
    router = Router(linear(8, 64), n_experts_per_token=3)
    block = Experts([mlp() for _ in range(8)], router=router, shared=mlp() if shared else None)
    x = rows(n_tokens)
    assert torch.allclose(block(x), one_by_one(block, x), atol=CLOSE)


def test_equal_experts_are_one_dense_layer() -> None:
    same = mlp()
    block = Experts([same] * 8, router=Router(linear(8, 64), n_experts_per_token=2))
    assert torch.allclose(block(rows(9)), same(rows(9)), atol=CLOSE)


def test_taking_every_expert_is_a_dense_mixture() -> None:
    mlps, gate, x = [mlp() for _ in range(4)], linear(4, 64), rows(9)
    shares = gate(x).softmax(-1)
    mixture = sum(shares[:, e, None] * expert(x) for e, expert in enumerate(mlps))
    assert torch.allclose(Experts(mlps, router=Router(gate, n_experts_per_token=4))(x), mixture, atol=CLOSE)


def test_the_shared_expert_sees_every_token() -> None:
    seen: list[int] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x

    router = DrawnRouter([0.5] * 8)
    silent = SwiGLU(gate_up=lambda x: torch.zeros(len(x), 128), down=lambda x: torch.zeros(len(x), 64))
    block = Experts([silent] * 8, router=router, shared=watched)  # type: ignore[arg-type]
    assert torch.equal(block(rows(11)), rows(11)) and seen == [11]


def test_a_bias_takes_part_in_the_choice_and_not_in_the_weights() -> None:
    gate, x = linear(8, 64), rows(30)
    bias = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0])
    chosen, weights = Router(gate, n_experts_per_token=2, bias=bias)(x)
    assert bool((chosen[:, 0] == 7).all())  # its score, at most 1, plus 5
    scores = gate(x).sigmoid().gather(-1, chosen)
    assert torch.allclose(weights, scores / scores.sum(-1, keepdim=True))


def test_a_batch_gives_what_each_sequence_gives_alone(decoder: Transformer) -> None:
    prompts = tokens(5, 20)
    together = decoder.forward(prompts, decoder.new_cache(5, 20))
    alone = [decoder.forward(prompt[None], decoder.new_cache(1, 20)) for prompt in prompts]
    assert float((together - torch.cat(alone)).abs().max()) < CLOSE


def test_decoding_gives_what_a_pass_over_the_whole_text_gives(decoder: Transformer) -> None:
    text = tokens(3, 24)
    whole = decoder.forward(text, decoder.new_cache(3, 24), last_only=False)
    cache = decoder.new_cache(3, 24)
    found = [decoder.forward(text[:, :20], cache, last_only=False)]
    found += [decoder.forward(text[:, i : i + 1], cache) for i in range(20, 24)]
    assert float((torch.cat(found, 1) - whole).abs().max()) < CLOSE


def test_every_parameter_is_resident(decoder: Transformer) -> None:
    assert decoder.weight_bytes_stored == weight_bytes(decoder.spec, precision=precision("fp32"))


def test_one_token_moves_what_the_roofline_says(decoder: Transformer) -> None:
    decoder.forward(tokens(1, 1), decoder.new_cache(1, 1))
    byte = replace(precision("int8"), exceptions=())  # of every weight, tables and router too
    expected = decode_cost(decoder.spec, batch_size=1, context_len=0, precision=byte).weight_bytes
    row = decoder.spec.d_model  # the embedding's row, which `weight_bytes_touched` leaves out
    assert decoder.weight_bytes_touched == pytest.approx(4 * (expected - row))


def test_a_batch_moves_the_experts_its_tokens_chose(decoder: Transformer) -> None:
    decoder.forward(tokens(3, 1), decoder.new_cache(3, 1))
    moe = decoder.spec.moe
    assert moe is not None
    per_expert = 4 * 3 * 64 * moe.d_ff_expert
    skipped = sum(moe.n_experts - block.n_touched for block in decoder.experts)
    assert decoder.weight_bytes_read - decoder.weight_bytes_touched == skipped * per_expert > 0
    assert all(sum(block.tokens_by_expert) == 3 * moe.n_experts_per_token for block in decoder.experts)


def test_a_dense_model_moves_all_it_has() -> None:
    dense = Transformer(random_weights(replace(MIXTRAL_LIKE, moe=None)), dtype="fp32")
    assert dense.experts == () and dense.weight_bytes_touched == dense.weight_bytes_read


def test_low_precision_experts_run() -> None:
    routed = Transformer(random_weights(MIXTRAL_LIKE), dtype="bf16")
    logits = routed.forward(tokens(4, 3), routed.new_cache(4, 3))
    exact = Transformer(random_weights(MIXTRAL_LIKE), dtype="fp32")
    assert float((logits - exact.forward(tokens(4, 3), exact.new_cache(4, 3))).abs().median()) < 0.05


def test_experts_are_not_shared_out_over_ranks() -> None:
    with pytest.raises(BytebillError, match="Routed has experts, which this tensor parallelism does not share out"):
        share_of(random_weights(MIXTRAL_LIKE), rank=0, n_ranks=2)


def test_weights_are_named_by_expert_and_layer() -> None:
    weights: Weights = random_weights(DEEPSEEK_LIKE)
    assert weights["layers.0.gate_up"].shape == (256, 64)  # the dense layer before the sparse ones
    assert weights["layers.1.experts.63.down"].shape == (64, 64)
    assert weights["layers.2.shared.gate_up"].shape == (128, 64) and "layers.1.gate_up" not in weights


# Routing


shapes = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(shapes, st.floats(0, 3))
def test_shares_add_up_and_fall(shape: tuple[int, int], exponent: float) -> None:
    n, k = shape
    shares = zipf_shares(n, n_experts_per_token=k, exponent=exponent)
    assert len(shares) == n and isclose(sum(shares), k, rel_tol=1e-9)
    assert all(a >= b - 1e-12 for a, b in pairwise(shares)) and max(shares) <= 1 + 1e-9


@given(shapes, st.floats(0, 3), st.integers(1, 300))
def test_uneven_routing_never_touches_more(shape: tuple[int, int], exponent: float, n_tokens: int) -> None:
    n, k = shape
    uneven = distinct_of_shares(zipf_shares(n, n_experts_per_token=k, exponent=exponent), n_tokens=n_tokens)
    uniform = distinct_experts(n, n_experts_per_token=k, n_tokens=n_tokens)
    assert uneven <= uniform + 1e-9
    if exponent == 0:
        assert isclose(uneven, uniform, rel_tol=1e-9)


@given(shapes, st.floats(0, 2), st.integers(0, 1000))
def test_drawn_experts_are_different_and_as_many_as_asked(shape: tuple[int, int], exponent: float, seed: int) -> None:
    n, k = shape
    chosen = DrawnRouter(zipf_shares(n, n_experts_per_token=k, exponent=exponent), seed=seed).draw(20)
    assert chosen.shape == (20, k) and all(len(set(row)) == k for row in chosen.tolist())


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.5])
def test_drawn_experts_have_their_popularity(exponent: float) -> None:
    shares = zipf_shares(16, n_experts_per_token=4, exponent=exponent)
    counts = torch.bincount(DrawnRouter(shares).draw(40_000).view(-1), minlength=16) / 40_000
    assert counts.tolist() == pytest.approx(shares, abs=0.0125)  # five standard errors of a share of a half


@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("batch_size", [1, 4, 16, 64])
def test_a_layer_touches_as_many_experts_as_theory_says(exponent: float, batch_size: int) -> None:
    shares = zipf_shares(32, n_experts_per_token=4, exponent=exponent)
    router, n_steps = DrawnRouter(shares), 400
    drawn = [len(router.draw(batch_size).unique()) for _ in range(n_steps)]
    expected = distinct_of_shares(shares, n_tokens=batch_size)
    # The number touched has a variance below N/4: tokens that avoid one expert crowd onto the others.
    assert sum(drawn) / n_steps == pytest.approx(expected, abs=5 * (32 / 4 / n_steps) ** 0.5)


def test_equal_seeds_draw_equally() -> None:
    first, second, other = (DrawnRouter([0.25] * 16, seed=seed).draw(50) for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_drawn_router_weighs_its_experts_equally() -> None:
    routing: Routing = DrawnRouter([0.25] * 16)(rows(5))
    assert torch.equal(routing[1], torch.full((5, 4), 0.25))


@pytest.mark.parametrize("shares", [[1.5, 0.5], [0.5, 0.4], [-0.5, 0.75, 0.75]])
def test_impossible_shares_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares are between 0 and 1"):
        DrawnRouter(shares)


@given(st.floats(0.01, 0.999), st.tuples(st.integers(2, 256), st.integers(1, 8)))
def test_tokens_to_touch_inverts_distinct_experts(share: float, shape: tuple[int, int]) -> None:
    n, k = shape[0], min(shape[1], shape[0] - 1)
    tokens = tokens_to_touch(share, n_experts=n, n_experts_per_token=k)
    assert isclose(distinct_experts(n, n_experts_per_token=k, n_tokens=tokens) / n, share, rel_tol=1e-6)


def test_no_tokens_touch_nothing() -> None:
    block = Experts([mlp()] * 8, router=DrawnRouter([0.25] * 8))
    assert block(rows(0)).shape == (0, 64) and block.n_touched == 0


def test_one_token_may_take_every_expert() -> None:
    assert tokens_to_touch(0.9, n_experts=8, n_experts_per_token=8) == 1


def test_routing_says_what_it_cannot_do() -> None:
    with pytest.raises(BytebillError, match="1 is never certain; got 1"):
        tokens_to_touch(1, n_experts=8, n_experts_per_token=2)
    with pytest.raises(BytebillError, match="A skew is at least 0"):
        zipf_shares(8, n_experts_per_token=2, exponent=-1)


# The measured sweep, whose times are nobody's test


@pytest.mark.parametrize("name", ["mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3"])
def test_dense_twins_have_the_active_and_the_total_size(name: str) -> None:
    twins, moe = dense_twins(model(name)), model(name).moe
    assert moe is not None
    assert 0.99 < twins["active"].n_params / twins["MoE"].n_active_params <= 1  # a mixture has routers besides
    widened = 1 + moe.n_dense_layers / model(name).n_layers  # layers that are dense in the mixture
    assert 0.99 < twins["total"].n_params / twins["MoE"].n_params < 1.001 * widened


def test_a_dense_model_has_no_twins() -> None:
    with pytest.raises(ValueError, match="has no experts"):
        dense_twins(replace(MIXTRAL_LIKE, moe=None))


def test_a_sweep_counts_what_its_steps_moved() -> None:
    specs = dense_twins(MIXTRAL_LIKE)
    points = sweep_experts(specs, pick("cpu"), dtype="fp32", batches=(1, 50), repeats=3, at_least_s=0)
    by = {(point.kind, point.batch): point for point in points}
    assert set(by) == {(kind, batch) for kind in specs for batch in (1, 50)}
    rows = 4 * 64  # bytes of one embedding row, which the roofline counts and the engine's weights leave out
    for kind, batch in [("active", 1), ("active", 50), ("total", 1), ("total", 50), ("MoE", 1)]:
        assert by[kind, batch].weight_bytes == pytest.approx(by[kind, batch].cost.weight_bytes - batch * rows)
    few, many = by["MoE", 1], by["MoE", 50]
    assert few.weight_bytes < many.weight_bytes == pytest.approx(many.cost.weight_bytes, rel=0.1)
    assert many.cost == decode_cost(MIXTRAL_LIKE, batch_size=50, context_len=16, precision=precision("fp32"))
    assert many.busy_s == many.step_s - many.hollow_s and many.predicted_s > many.hollow_s > 0


def test_skewed_routing_moves_fewer_bytes() -> None:
    shares = {"skewed": zipf_shares(64, n_experts_per_token=2, exponent=1.0)}
    specs = {"uniform": MIXTRAL_LIKE, "skewed": MIXTRAL_LIKE}
    points = sweep_experts(specs, pick("cpu"), dtype="fp32", batches=(40,), shares=shares, repeats=5, at_least_s=0)
    uniform, skewed = points
    assert skewed.weight_bytes < 0.9 * uniform.weight_bytes


def test_layers_of_a_built_model_lie_in_memory_of_their_own() -> None:
    built = build(MIXTRAL_LIKE, pick("cpu"), dtype="fp32")
    first, second = built.experts[0].mlps[:2]
    assert torch.equal(first.down.weight, second.down.weight)  # type: ignore[attr-defined]
    assert len({linear.weight.data_ptr() for linear in built.linears}) == len(built.linears)


def test_a_prediction_is_its_equation() -> None:
    cost = StepCost(
        weight_bytes=3e9,
        kv_read_bytes=0,
        kv_write_bytes=0,
        activation_bytes=0,
        logit_bytes=0,
        linear_flops=8e9,
        attention_flops=0,
    )
    point = _point("MoE", 4, step_s=11.0, hollow_s=0.5, cost=cost, rate=1e9, peak=2e9, moved=3e9)
    assert point.predicted_s == pytest.approx(5.5) and point.error == pytest.approx(-0.5)  # hypot(3, 4) + 0.5, of 11


@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v3"])
def test_a_hollow_twin_has_the_same_routes_and_next_to_no_weights(name: str) -> None:
    spec, twin = model(name), hollow(model(name))
    assert spec.moe is not None and twin.moe is not None
    assert twin.n_layers == spec.n_layers and twin.n_params < 0.01 * spec.n_params
    assert (twin.moe.n_experts, twin.moe.n_experts_per_token) == (spec.moe.n_experts, spec.moe.n_experts_per_token)


def test_layers_draw_apart_and_models_alike() -> None:
    whole, twin = (build(spec, pick("cpu"), dtype="fp32") for spec in (MIXTRAL_LIKE, hollow(MIXTRAL_LIKE)))
    first, second = (block.router.draw(20) for block in whole.experts[:2])  # type: ignore[attr-defined]
    assert not torch.equal(first, second)
    assert torch.equal(first, twin.experts[0].router.draw(20))  # type: ignore[attr-defined]
