"""Laws of the cost function, checked on random steps; and the figures it must give back."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, Accelerator, accelerator
from bytebill.models import (
    MODELS,
    Expanded,
    LayerKind,
    ModelSpec,
    MoESpec,
    Precision,
    SequenceState,
    TokenCache,
    kv_stored_bytes_per_token,
    matrices,
    model,
    precision,
)
from bytebill.roofline import (
    Bound,
    CacheTerm,
    Chunk,
    Load,
    StepCost,
    attended_pairs,
    cost_terms,
    critical_batch,
    decode_cost,
    distinct_experts,
    step_cost,
    step_time_bounds,
    useful_share,
)

BF16 = precision("bf16")
models = st.sampled_from(sorted(MODELS)).map(model)
batches = st.integers(min_value=1, max_value=512)
contexts = st.integers(min_value=0, max_value=40_000)
precisions = st.sampled_from(["fp32", "bf16", "fp8", "int8", "int4"]).map(precision)
devices = st.sampled_from(sorted(ACCELERATORS)).map(accelerator)
DENSE = [spec for spec in MODELS.values() if spec.moe is None]
UNBOUNDED = [spec for spec in MODELS.values() if spec.window_len is None]


def decode(spec: ModelSpec, *, batch_size: int, context_len: int) -> StepCost:
    return step_cost(spec, load=Load.decode(batch_size=batch_size, context_len=context_len), precision=BF16)


# ---- published anchors


def test_every_term_of_a_step_is_in_its_sum() -> None:
    cost = StepCost(
        weight_bytes=1,
        kv_read_bytes=2,
        kv_write_bytes=4,
        activation_bytes=8,
        logit_bytes=16,
        state_bytes=32,
        linear_flops=64,
        attention_flops=62,
    )
    assert (cost.bytes, cost.flops, cost.arithmetic_intensity) == (63, 126, 2)


@pytest.mark.parametrize(
    ("id", "ridge"),
    [
        ("h100-sxm", 295.3),
        ("tpu-v5e", 240.5),
        ("a100-sxm-80", 153.0),
        ("a100-sxm-40", 200.6),
        ("tpu-v6e", 560.4),
        ("h200-sxm", 206.1),
        ("h100-pcie", 378.0),
        ("mi300x", 246.7),
        ("l40s", 419.0),
        ("rtx-4090", 163.9),
    ],
)
def test_ridge_points(id: str, ridge: float) -> None:
    assert accelerator(id).ridge_point() == pytest.approx(ridge, abs=0.06)
    assert critical_batch(accelerator(id), precision=BF16) == pytest.approx(ridge, abs=0.06)


def test_narrow_weights_halve_the_critical_batch_unless_the_arithmetic_doubles() -> None:
    v5e = accelerator("tpu-v5e")
    assert critical_batch(v5e, precision=precision("int8")) == pytest.approx(120, abs=0.5)
    assert critical_batch(v5e, precision=precision("w8a8")) == pytest.approx(240, abs=0.5)
    assert critical_batch(accelerator("h100-sxm"), precision=precision("int4-ideal")) == pytest.approx(74, abs=0.5)


def test_experts_raise_the_critical_batch_by_n_over_k() -> None:
    h100 = accelerator("h100-sxm")
    assert critical_batch(h100, precision=BF16, model=model("mixtral-8x7b")) == pytest.approx(1181, abs=1)
    assert critical_batch(h100, precision=BF16, model=model("deepseek-v3")) == pytest.approx(9451, abs=1)


EXPERTS = {
    1: (2.00, 8.0, 8.0),
    2: (3.50, 15.5, 15.8),
    4: (5.47, 29.1, 30.5),
    8: (7.20, 51.6, 57.4),
    16: (7.92, 82.4, 102.0),
    32: (8.00, 111.8, 163.3),
    64: (8.00, 125.9, 222.4),
    128: (8.00, 128.0, 251.6),
    256: (8.00, 128.0, 255.9),
}


@pytest.mark.parametrize("batch_size", EXPERTS)
def test_distinct_experts(batch_size: int) -> None:
    shapes = ((8, 2), (128, 8), (256, 8))
    found = [distinct_experts(n, n_experts_per_token=k, n_tokens=batch_size) for n, k in shapes]
    assert found == pytest.approx(EXPERTS[batch_size], abs=0.051)


def test_batch_64_of_a_70b_adds_a_third_of_its_weights_in_cache() -> None:
    grouped = decode(model("llama-3-70b"), batch_size=64, context_len=2048)
    assert grouped.kv_read_bytes == pytest.approx(43e9, rel=0.01)
    assert grouped.kv_read_bytes / (141.1e9) == pytest.approx(0.30, abs=0.01)
    multihead = decode(model("llama-2-13b"), batch_size=64, context_len=2048)
    assert multihead.kv_read_bytes == pytest.approx(107e9, rel=0.01)


@pytest.mark.parametrize(
    ("id", "intensity"), [("llama-2-13b", 1), ("llama-3-70b", 8), ("llama-3-8b", 4), ("deepseek-v3", 242)]
)
def test_attention_intensity_is_the_heads_that_share_a_cache(id: str, intensity: float) -> None:
    cost = decode(model(id), batch_size=32, context_len=8192)
    assert cost.attention_flops / cost.kv_read_bytes == pytest.approx(intensity, rel=0.002)


def test_published_serving_is_slower_than_its_roofline_and_less_than_twice() -> None:
    """Decode-only bound at the mean context (1,024 in, half of 512 out), without activations, in ms."""
    published = {8: 4.88, 16: 5.28, 32: 6.08, 64: 7.69, 128: 10.89}
    measured = {r["concurrency"]: r["value"] for r in data.rows("published_serving") if r["quantity"] == "tpot"}
    for batch_size, expected_ms in published.items():
        cost = decode(model("llama-3-8b"), batch_size=batch_size, context_len=1280)
        bare_s = (cost.weight_bytes + cost.kv_read_bytes) / accelerator("h100-sxm").bandwidth_bytes_per_s
        assert bare_s * 1e3 == pytest.approx(expected_ms, rel=0.005)
        assert bare_s * 1e3 < measured[batch_size] < 2 * bare_s * 1e3


def test_fp8_weights_double_decode_only_while_the_cache_is_small() -> None:
    def speedup(batch_size: int, context_len: int) -> float:
        step = Load.decode(batch_size=batch_size, context_len=context_len)
        halved = replace(precision("fp8"), exceptions=())  # every weight, as the published arithmetic has it
        wide, narrow = (step_cost(model("llama-3-70b"), load=step, precision=p) for p in (BF16, halved))
        return wide.bytes / narrow.bytes

    assert speedup(1, 2048) == pytest.approx(1.99, abs=0.01)
    assert speedup(64, 2048) == pytest.approx(1.62, abs=0.02)
    assert speedup(64, 8192) == pytest.approx(1.29, abs=0.01)


# ---- terms, by hand

SMALL = ModelSpec(
    id="small",
    name="Small",
    n_layers=2,
    d_model=8,
    d_ff=16,
    n_heads=4,
    n_kv_heads=2,
    d_head=4,
    vocab_size=10,
    context_len=64,
    moe=MoESpec(n_experts=4, n_experts_per_token=1, d_ff_expert=6, n_shared_experts=1, n_dense_layers=1),
)
ATTENTION, DENSE_MLP, ROUTER, SHARED, ROUTED = 2 * 8 * (16 + 8 + 8 + 16), 3 * 8 * 16, 8 * 4, 3 * 8 * 6, 4 * 3 * 8 * 6


def test_terms_of_a_small_mixture() -> None:
    terms = cost_terms(SMALL, precision=BF16)
    assert terms.fixed_bytes == 2 * (ATTENTION + DENSE_MLP + ROUTER + SHARED + 5 * 8)  # and five norms
    assert (terms.head_bytes, terms.expert_bytes, terms.row_bytes) == (2 * 80, 2 * ROUTED, 2 * 8)
    assert terms.activation_bytes == 2 * (2 * (24 + 16 + 16 + 24) + 3 * 24 + 12 + 2 * 3 * 14)
    assert (terms.head_input_bytes, terms.logit_bytes, terms.state_bytes, terms.state_flops) == (16, 20, 0, 0)
    assert terms.caches == (CacheTerm(token_bytes=2 * 16 * 2, pair_flops=2 * 4 * 4 * 4, read_reach=None),)
    assert terms.weight_bytes(3, 0) == terms.fixed_bytes + 3 * 16 + 2 * ROUTED * (1 - 0.75**3)
    assert terms.weight_bytes(3, 1) == terms.weight_bytes(3, 0) + 160
    assert terms.linear_bytes(3, 2) == terms.weight_bytes(3, 2) + 3 * terms.activation_bytes + 2 * (16 + 20)


def test_products_of_a_small_mixture_by_the_units_that_do_them() -> None:
    narrow, wide = (cost_terms(SMALL, precision=precision(id)).linear_flops(3, 2) for id in ("fp8", "bf16"))
    others, routed, logits = 6 * (ATTENTION + DENSE_MLP + SHARED), 6 * ROUTED / 4, 4 * 80
    assert narrow == {("fp8", False): others, ("bf16", False): 6 * ROUTER + logits, ("fp8", True): routed}
    assert wide == {("bf16", False): others + 6 * ROUTER + logits, ("bf16", True): routed}


@pytest.mark.parametrize(
    ("change", "n_values"),
    [
        ({}, 8),
        ({"tied_embeddings": True}, 8),
        ({"positions": "learned", "n_positions": 66}, 2 * 8),
        ({"positions": "learned", "n_positions": 66, "tied_embeddings": True}, 2 * 8),
    ],
)
def test_a_token_takes_a_row_of_each_table_of_one_that_is_the_head_too(change: dict[str, int], n_values: int) -> None:
    assert cost_terms(replace(SMALL, **change), precision=BF16).row_bytes == 2 * n_values


def test_caches_are_told_the_farthest_first_and_a_state_is_read_and_written() -> None:
    near, far = (TokenCache(n_values=4, pair_flops=8, reach=reach, n_heads=2) for reach in (8, None))
    state = SequenceState(n_values=10, n_conv_values=3, token_flops=40)
    kinds = (
        LayerKind(name="window", n_layers=3, matrices=(), caches=(near,), state=state),
        LayerKind(name="full", n_layers=1, matrices=(), caches=(far, replace(far, stride=4))),
    )
    small = replace(SMALL, n_layers=4, layers=kinds)
    terms = cost_terms(small, precision=BF16, n_sharing=6)
    assert terms.caches == (  # six devices share two KV heads: three copies
        CacheTerm(token_bytes=3 * 8 * 1.25, pair_flops=8 * 1.25, read_reach=None),
        CacheTerm(token_bytes=3 * 3 * 8, pair_flops=3 * 8, read_reach=8),
    )
    assert (terms.state_bytes, terms.state_flops) == (2 * 3 * (10 * 4 + 3 * 2), 3 * 40)
    of_five = decode_cost(small, batch_size=5, context_len=7, precision=BF16)
    assert of_five.state_bytes == 5 * 2 * 3 * (10 * 4 + 3 * 2)


@pytest.mark.parametrize(
    ("reach", "n_cached", "saved"),
    [  # 6 FLOPs less a pair, 3 for each cached entry that is read; 5 new tokens
        (None, 100, 6 * (5 * 100 + 15) - 3 * 100),
        (20, 100, 6 * 5 * 20 - 3 * 20),
        (20, 10, 6 * (5 * 10 + 15) - 3 * 10),
        (1, 10**6, 6 * 5 - 3),
    ],
)
def test_what_expanded_latents_save(reach: int | None, n_cached: int, saved: float) -> None:
    chunk = Chunk(context_len=n_cached, n_new_tokens=5)
    term = CacheTerm(token_bytes=1, pair_flops=10, read_reach=reach, expanded=Expanded(3, 4))
    n_pairs = attended_pairs(n_cached, 5, window_len=reach)
    assert term.saved_flops(chunk) == saved
    assert term.flops(Load(chunks=(chunk, chunk))) == 2 * (10 * n_pairs - saved)
    assert replace(term, expanded=Expanded(10**9, 4)).saved_flops(chunk) == 0
    assert replace(term, expanded=None).saved_flops(chunk) == 0


# ---- laws


@given(models, batches, precisions)
def test_intensity_of_the_linears_never_falls_with_the_batch(
    spec: ModelSpec, batch_size: int, width: Precision
) -> None:
    """Dense models. A mixture loads more experts first: see the next test."""
    if spec.moe is not None:
        return
    small, large = (
        step_cost(spec, load=Load.decode(batch_size=size, context_len=0), precision=width)
        for size in (batch_size, batch_size + 1)
    )
    assert large.linear_flops / large.weight_bytes >= small.linear_flops / small.weight_bytes
    assert large.arithmetic_intensity >= small.arithmetic_intensity


@given(st.sampled_from(["mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3"]).map(model), batches)
def test_a_mixture_never_loses_intensity_per_weight_byte(spec: ModelSpec, batch_size: int) -> None:
    small = decode(spec, batch_size=batch_size, context_len=0)
    large = decode(spec, batch_size=batch_size + 1, context_len=0)
    assert large.linear_flops / large.weight_bytes >= small.linear_flops / small.weight_bytes


@given(models, batches, contexts, devices)
def test_a_step_is_never_faster_than_either_bound(
    spec: ModelSpec, batch_size: int, context_len: int, device: Accelerator
) -> None:
    bounds = step_time_bounds(decode(spec, batch_size=batch_size, context_len=context_len), accelerator=device)
    assert max(bounds.memory_s, bounds.compute_s) == bounds.max_s
    assert bounds.bound is (Bound.BANDWIDTH if bounds.memory_s >= bounds.compute_s else Bound.COMPUTE)
    assert 0 <= bounds.compute_idle_share < 1


@given(st.sampled_from(UNBOUNDED), batches, contexts, st.integers(min_value=2, max_value=9))
def test_cache_reads_are_linear_in_context_and_in_batch(
    spec: ModelSpec, batch_size: int, context_len: int, factor: int
) -> None:
    once = decode(spec, batch_size=batch_size, context_len=context_len)
    longer = decode(spec, batch_size=batch_size, context_len=factor * context_len)
    wider = decode(spec, batch_size=factor * batch_size, context_len=context_len)
    assert longer.kv_read_bytes == wider.kv_read_bytes == factor * once.kv_read_bytes
    assert longer.kv_write_bytes == once.kv_write_bytes
    assert once.kv_read_bytes == batch_size * context_len * kv_stored_bytes_per_token(spec, precision=BF16)


@given(models, st.lists(st.integers(min_value=1, max_value=4000), min_size=1, max_size=8))
def test_a_prefill_in_chunks_does_the_same_work_and_only_rereads(spec: ModelSpec, parts: list[int]) -> None:
    whole = step_cost(spec, load=Load.prefill(n_tokens=sum(parts)), precision=BF16)
    starts = [sum(parts[:i]) for i in range(len(parts))]
    last = len(parts) - 1
    chunks = [
        Chunk(context_len=s, n_new_tokens=n, n_logits=int(i == last))
        for i, (s, n) in enumerate(zip(starts, parts, strict=True))
    ]
    costs = [step_cost(spec, load=Load(chunks=(chunk,)), precision=BF16) for chunk in chunks]
    more = sum(cost.flops for cost in costs) / whole.flops
    assert more >= 1 - 1e-12 if spec.mla else more == pytest.approx(1, rel=1e-12)  # latents are expanded again
    assert sum(cost.kv_write_bytes for cost in costs) == whole.kv_write_bytes
    assert sum(cost.logit_bytes for cost in costs) == whole.logit_bytes
    window = spec.window_len or 10**9
    per_token = kv_stored_bytes_per_token(spec, precision=BF16)
    assert sum(cost.kv_read_bytes for cost in costs) == sum(min(s, window) for s in starts) * per_token
    assert sum(cost.weight_bytes for cost in costs) >= whole.weight_bytes * (1 - 1e-12)


@given(models, batches, contexts, st.integers(min_value=0, max_value=8))
def test_verifying_reads_what_decode_reads_and_multiplies_more(
    spec: ModelSpec, batch_size: int, context_len: int, n_draft_tokens: int
) -> None:
    one = decode(spec, batch_size=batch_size, context_len=context_len)
    step = Load.verify(batch_size=batch_size, context_len=context_len, n_draft_tokens=n_draft_tokens)
    many = step_cost(spec, load=step, precision=BF16)
    assert many.kv_read_bytes == one.kv_read_bytes
    assert many.linear_flops == pytest.approx((n_draft_tokens + 1) * one.linear_flops, rel=1e-12)
    assert many.logit_bytes == (n_draft_tokens + 1) * one.logit_bytes
    assert many.weight_bytes >= one.weight_bytes


@given(st.integers(1, 256).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(1, 5000))
def test_distinct_experts_grow_and_never_exceed_their_number(shape: tuple[int, int], n_tokens: int) -> None:
    n_experts, k = shape
    one, few, more = (
        distinct_experts(n_experts, n_experts_per_token=k, n_tokens=t) for t in (1, n_tokens, n_tokens + 1)
    )
    assert one == pytest.approx(k)
    assert few <= more <= n_experts
    assert few <= k * n_tokens * (1 + 1e-12)


@pytest.mark.parametrize("id", ["mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3"])
def test_a_mixture_reads_its_active_experts_alone_and_all_of_them_in_a_crowd(id: str) -> None:
    spec = model(id)
    table = spec.vocab_size * spec.d_model
    alone = decode(spec, batch_size=1, context_len=0).weight_bytes
    assert alone / 2 == pytest.approx(spec.n_active_params - table + spec.d_model, rel=1e-12)
    crowd = 100_000
    everyone = decode(spec, batch_size=crowd, context_len=0).weight_bytes
    assert everyone / 2 == pytest.approx(spec.n_matmul_params + crowd * spec.d_model, rel=1e-9)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 400) | st.none())
def test_attended_pairs_are_the_sum_they_stand_for(context_len: int, n_new_tokens: int, window_len: int | None) -> None:
    spans = range(context_len + 1, context_len + n_new_tokens + 1)
    assert attended_pairs(context_len, n_new_tokens, window_len=window_len) == sum(
        min(n, window_len or n) for n in spans
    )


# ---- what tools get wrong


@pytest.mark.parametrize("spec", DENSE, ids=lambda spec: spec.id)
def test_no_matrix_is_forgotten(spec: ModelSpec) -> None:
    """One token's FLOPs are twice the matmul parameters: all MLP matrices and the head are in."""
    cost = decode(spec, batch_size=1, context_len=0)
    vectors = sum(matrix.n_params for matrix in matrices(spec) if matrix.group in ("norm", "bias"))
    assert cost.linear_flops == 2 * (spec.n_matmul_params - vectors)


def test_a_chunk_that_wants_no_logits_reads_no_head() -> None:
    spec = model("llama-3-8b")
    silent, last = (
        step_cost(spec, load=Load(chunks=(Chunk(context_len=0, n_new_tokens=64, n_logits=n),)), precision=BF16)
        for n in (0, 1)
    )
    assert last.weight_bytes - silent.weight_bytes == 2 * spec.vocab_size * spec.d_model
    assert last.linear_flops - silent.linear_flops == 2 * spec.vocab_size * spec.d_model
    assert silent.logit_bytes == 0


def test_a_sliding_window_bounds_what_a_step_reads_and_attends_to() -> None:
    near, far = (decode(model("mistral-7b"), batch_size=2, context_len=n) for n in (4096, 30_000))
    assert far.kv_read_bytes == near.kv_read_bytes == 2 * 4096 * 131_072
    assert far.attention_flops == near.attention_flops == 2 * 4096 * 32 * 32 * 4 * 128


def test_the_cache_is_read_by_kv_heads_not_by_query_heads() -> None:
    spec = model("llama-3-70b")
    multihead = replace(spec, n_kv_heads=spec.n_heads)
    grouped, full = (decode(s, batch_size=8, context_len=4096) for s in (spec, multihead))
    assert full.kv_read_bytes == 8 * grouped.kv_read_bytes
    assert full.attention_flops == grouped.attention_flops


def test_a_prompt_over_latents_takes_the_form_with_fewer_flops() -> None:
    """DeepSeek-V3: 128 heads of 128 + 64 and 128, latents of 512 + 64; one is expanded at its up-projection's cost."""
    absorbed, expanded, once = (61 * 2 * 128 * n for n in (512 + 64 + 512, 128 + 64 + 128, 512 * (128 + 128)))

    def flops(n_cached: int, n_new: int) -> float:
        load = Load(chunks=(Chunk(context_len=n_cached, n_new_tokens=n_new),))
        return step_cost(model("deepseek-v3"), load=load, precision=BF16).attention_flops

    assert flops(0, 4000) == expanded * 4000 * 4001 / 2
    assert flops(8192, 16) == absorbed * (16 * 8192 + 16 * 17 / 2)
    assert flops(8192, 2048) == expanded * (2048 * 8192 + 2048 * 2049 / 2) + once * 8192
    turn = once / (absorbed - expanded)  # new tokens from which expanding pays, many being cached
    assert round(turn) == 171
    assert flops(50_000, 150) == absorbed * (150 * 50_000 + 150 * 151 / 2)
    assert flops(50_000, 200) < absorbed * (200 * 50_000 + 200 * 201 / 2)


def test_a_step_of_mixed_chunks_is_not_two_steps() -> None:
    """Prefill riding along with decode shares the weights: less is moved than apart, the same is computed."""
    spec, piece = model("llama-3-8b"), Chunk(context_len=512, n_new_tokens=256, n_logits=0)
    alone = Load.decode(batch_size=16, context_len=1024)
    mixed, apart, rider = (
        step_cost(spec, load=s, precision=BF16) for s in (replace(alone, chunks=(piece,)), alone, Load(chunks=(piece,)))
    )
    assert mixed.flops == pytest.approx(apart.flops + rider.flops, rel=1e-12)
    assert mixed.kv_read_bytes == apart.kv_read_bytes + rider.kv_read_bytes
    assert mixed.weight_bytes < apart.weight_bytes + rider.weight_bytes


@pytest.mark.parametrize(
    "chunk",
    [
        {"context_len": -1, "n_new_tokens": 1},
        {"context_len": 0, "n_new_tokens": 0},
        {"context_len": 0, "n_new_tokens": 1, "n_logits": 2},
    ],
)
def test_impossible_chunks_are_refused(chunk: dict[str, int]) -> None:
    with pytest.raises(BytebillError, match="not a chunk"):
        Chunk(**chunk)


def test_an_empty_step_is_refused() -> None:
    with pytest.raises(BytebillError, match="at least one sequence"):
        Load().checked()


def test_a_dtype_without_units_is_refused_not_guessed() -> None:
    with pytest.raises(BytebillError, match="A100 SXM 80 GB has no published fp8 peak"):
        accelerator("a100-sxm-80").ridge_point("fp8")
    with pytest.raises(BytebillError, match=r"nearest: .*h100-sxm"):
        accelerator("h100-sxn")
    with pytest.raises(BytebillError, match="must be positive"):
        replace(accelerator("h100-sxm"), bandwidth_bytes_per_s=0)


def test_accelerators_travel_between_processes() -> None:
    assert pickle.loads(pickle.dumps(accelerator("b200"))) == accelerator("b200")


@given(models, st.lists(st.integers(1, 3000), min_size=1, max_size=6), st.integers(1, 5))
def test_decodes_as_counts_are_decodes_one_by_one(spec: ModelSpec, each: list[int], n_new: int) -> None:
    listed = tuple(Chunk(context_len=n, n_new_tokens=n_new, n_logits=n_new) for n in each)
    counts = Load(n_decodes=len(each), n_context_tokens=sum(each), n_new_each=n_new)
    one_by_one, together = (step_cost(spec, load=s, precision=BF16) for s in (Load(chunks=listed), counts))
    if spec.window_len is None or max(each) + n_new <= spec.window_len:
        assert vars(one_by_one) == pytest.approx(vars(together), rel=1e-12)
    else:  # under a window, counts are an upper bound: equal lengths forget least
        assert together.kv_read_bytes >= one_by_one.kv_read_bytes
        assert together.attention_flops >= one_by_one.attention_flops * (1 - 1e-12)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Load.decode(batch_size=0, context_len=1), "at least one sequence"),
        (lambda: Load.decode(batch_size=1, context_len=-5), "a number of tokens from 0 up, not -5"),
        (lambda: decode_cost(DENSE[0], batch_size=1, context_len=float("nan"), precision=BF16), "a number of tokens"),
        (lambda: decode_cost(DENSE[0], batch_size=1, context_len=float("inf"), precision=BF16), "a number of tokens"),
        (lambda: decode_cost(DENSE[0], batch_size=1.5, context_len=100, precision=BF16), "count in wholes, not 1.5"),
        (lambda: decode_cost(DENSE[0], batch_size=float("nan"), context_len=100, precision=BF16), "count in wholes"),
        (lambda: useful_share(0), "at least one sequence, not 0"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_one_sentence(wrong, says):
    with pytest.raises(BytebillError, match=says):
        wrong()
