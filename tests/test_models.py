"""Counts that were published, to the last parameter, and the errors that a counter makes."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from bytebill.errors import BytebillError
from bytebill.models import (
    MODELS,
    MoESpec,
    Precision,
    cache_bytes,
    kv_stored_bytes_per_token,
    matrices,
    model,
    multi_head,
    precision,
    state_bytes,
    summary,
    weight_bytes,
    weights_by_width,
)
from bytebill.models.layers import LayerKind, Matrix, SequenceState, TokenCache
from bytebill.models.precisions import EXPERTS_ONLY, LEFT_WIDE, PRECISIONS

BF16 = precision("bf16")

PARAMETERS = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "yi-34b": 34_388_917_248,
    "opt-13b": 12_853_473_280,
    "opt-2.7b": 2_651_596_800,
    "opt-1.3b": 1_315_758_080,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-30b-a3b": 30_532_122_624,
    "smollm2-135m": 134_515_008,
}
ROUNDED = {"falcon-180b": 178.56e9, "deepseek-v3": 671.03e9}
ACTIVE = {"mixtral-8x7b": 12_879_925_248, "qwen3-30b-a3b": 3_353_032_704}
KV_BYTES = {
    "llama-2-7b": 524_288,
    "llama-2-13b": 819_200,
    "llama-2-70b": 327_680,
    "llama-3-8b": 131_072,
    "llama-3-70b": 327_680,
    "mistral-7b": 131_072,
    "mixtral-8x7b": 131_072,
    "falcon-180b": 163_840,
    "yi-34b": 245_760,
    "opt-13b": 819_200,
    "opt-2.7b": 327_680,
    "opt-1.3b": 196_608,
    "qwen2.5-0.5b": 12_288,
    "qwen3-30b-a3b": 98_304,
    "deepseek-v3": 70_272,
    "smollm2-135m": 23_040,
}


def test_every_model_has_an_anchor() -> None:
    assert set(PARAMETERS) | set(ROUNDED) == set(MODELS) == set(KV_BYTES)


@pytest.mark.parametrize("id", PARAMETERS)
def test_parameter_count(id: str) -> None:
    assert model(id).n_params == PARAMETERS[id]


@pytest.mark.parametrize("id", ROUNDED)
def test_parameter_count_published_rounded(id: str) -> None:
    assert model(id).n_params == pytest.approx(ROUNDED[id], abs=0.005e9)


@pytest.mark.parametrize("id", ACTIVE)
def test_active_parameters(id: str) -> None:
    assert model(id).n_active_params == ACTIVE[id]


def test_deepseek_active_parameters() -> None:
    assert model("deepseek-v3").n_active_params == pytest.approx(37.55e9, abs=0.005e9)


def test_an_untied_falcon_is_larger_by_one_table() -> None:
    untied = replace(model("falcon-180b"), tied_embeddings=False)
    assert untied.n_params - model("falcon-180b").n_params == 65_024 * 14_848
    assert untied.n_params == pytest.approx(179.5e9, abs=0.05e9)


@pytest.mark.parametrize("id", KV_BYTES)
def test_kv_bytes_per_token(id: str) -> None:
    assert kv_stored_bytes_per_token(model(id), precision=BF16) == KV_BYTES[id]


def test_the_cache_of_one_long_request() -> None:
    per_token = kv_stored_bytes_per_token(model("llama-2-13b"), precision=BF16)
    assert 8192 * per_token == 6_710_886_400
    assert 3 * 8192 * per_token < weight_bytes(model("llama-2-13b"), precision=BF16) < 4 * 8192 * per_token


@pytest.mark.parametrize(("n_kv_heads", "kv_bytes"), [(64, 2_621_440), (8, 327_680), (1, 40_960)])
def test_fewer_kv_heads_cache_less(n_kv_heads: int, kv_bytes: int) -> None:
    spec = replace(model("llama-3-70b"), n_kv_heads=n_kv_heads)
    assert kv_stored_bytes_per_token(spec, precision=BF16) == kv_bytes
    assert spec.queries_per_kv_head == 64 // n_kv_heads


def test_weight_bytes_by_precision() -> None:
    spec = model("llama-3-70b")
    gigabytes = {id: weight_bytes(spec, precision=precision(id)) / 1e9 for id in ("bf16", "int4-ideal")}
    assert gigabytes == pytest.approx({"bf16": 141.11, "int4-ideal": 35.28}, abs=0.005)
    tables = 2 * spec.vocab_size * spec.d_model  # embedding and head, which servers leave at 16 bits
    narrow = spec.n_params - tables
    assert weight_bytes(spec, precision=precision("int4")) == pytest.approx(narrow * 4.25 / 8 + tables * 2, rel=1e-3)


def test_weights_as_a_server_reported_them() -> None:
    """vLLM PR 12569, Llama-3.1-70B w8a8: 'model weights take 67.72GiB'."""
    assert weight_bytes(model("llama-3-70b"), precision=precision("w8a8")) / 2**30 == pytest.approx(67.7229, rel=1e-3)


def test_an_exception_may_hold_for_a_share_of_the_layers_alone() -> None:
    spec, half = model("llama-3-8b"), replace(precision("fp8"), exceptions=(("gate", 0.5, "bf16"),))
    gate = next(matrix for matrix in matrices(spec) if matrix.name == "gate")
    assert half.weight_bytes(gate) == 1.5 * gate.n_params
    assert half.weight_bytes(replace(gate, name="up")) == gate.n_params


def test_every_matrix_is_counted_once_and_named_apart() -> None:
    for spec in MODELS.values():
        listed = [(matrix.group, matrix.name) for matrix in matrices(spec)]
        assert len(listed) == len(set(listed)), spec.id
        assert sum(matrix.n_params for matrix in matrices(spec)) == spec.n_params


def test_reading_leaves_out_tables_alone() -> None:
    untied, tied, learned = model("llama-3-8b"), model("qwen2.5-0.5b"), model("opt-1.3b")
    assert untied.n_params - untied.n_matmul_params == untied.vocab_size * untied.d_model
    assert tied.n_matmul_params == tied.n_params  # the one table is the head, which is read whole
    assert learned.n_params - learned.n_matmul_params == learned.n_positions * learned.d_model


def test_a_sliding_window_keeps_no_more_than_it_reaches() -> None:
    kept = [cache_bytes(model("mistral-7b"), n, precision=BF16) / 131_072 for n in (100, 4096, 32_768)]
    assert kept == [100, 4096, 4096]
    assert cache_bytes(model("llama-3-8b"), 32_768, precision=BF16) == 32_768 * 131_072


@pytest.mark.parametrize(
    "change",
    [
        *({name: 0} for name in ("n_layers", "d_model", "d_ff", "vocab_size", "n_heads", "n_kv_heads", "d_head")),
        {"n_kv_heads": 3},
        {"layers": (LayerKind(name="full", n_layers=31, matrices=()),)},
        {"mlp": "tanh"},
        {"norm": "batch"},
        {"positions": "learned"},
        {"n_positions": 5},
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BytebillError, match="llama-3-8b"):
        replace(model("llama-3-8b"), **change)


def test_impossible_experts_and_widths_are_refused() -> None:
    assert MoESpec(n_experts=8, n_experts_per_token=8, d_ff_expert=1)
    for n in (0, 9):
        with pytest.raises(BytebillError, match="at least one expert"):
            MoESpec(n_experts=8, n_experts_per_token=n, d_ff_expert=1)
    for width in ("weight_bits", "group_size", "kv_bytes_per_value", "activation_bytes_per_value"):
        with pytest.raises(BytebillError, match="positive"):
            Precision(**{"name": "none", "weight_bits": 8, "compute_dtype": "bf16", width: 0})


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(BytebillError, match=r"nearest: .*llama-3-8b"):
        model("llama-3-8")
    with pytest.raises(BytebillError, match=r"nearest: .*int4"):
        precision("int5")


def test_specs_travel_between_processes() -> None:
    assert pickle.loads(pickle.dumps(model("deepseek-v3"))) == model("deepseek-v3")


def test_checkpoints_of_few_bits_leave_the_same_matrices_wide():
    """All but MXFP4, whose makers pack the experts alone, and a kind that is arithmetic and no checkpoint."""
    left = {id: each.exceptions for id, each in PRECISIONS.items() if each.weight_bits < 16}
    assert left.pop("mxfp4") == EXPERTS_ONLY and left.pop("int4-ideal") == ()
    assert len(left) >= 6 and set(left.values()) == {LEFT_WIDE}


def test_a_cache_counts_from_one_up_and_an_exception_holds_for_a_share():
    for odd in ({"n_values": 0}, {"n_heads": 0}, {"stride": 0}, {"reach": -1}, {"top_k": -1}, {"pair_flops": -1}):
        with pytest.raises(BytebillError, match="counts from 1 up"):
            TokenCache(**{"n_values": 8, **odd})
    for share in (1.5, -0.5):
        with pytest.raises(BytebillError, match="share of a matrix's copies"):
            Precision(name="odd", weight_bits=4, compute_dtype="bf16", exceptions=(("mlp", share, "bf16"),))


@pytest.mark.parametrize(
    ("reach", "top_k", "stride", "read_reach", "entries"),
    [
        (None, None, 1, None, 100),
        (8, None, 1, 8, 8),
        (None, 4, 1, 4, 100),
        (8, 4, 1, 4, 8),
        (8, 16, 1, 8, 8),
        (None, 4, 4, 16, 25),
        (40, 4, 4, 16, 10),
        (12, 4, 4, 12, 3),
    ],
)
def test_a_token_reads_as_far_back_as_its_nearest_limit(reach, top_k, stride, read_reach, entries):
    kept = TokenCache(n_values=8, reach=reach, top_k=top_k, stride=stride)
    assert (kept.read_reach, kept.entries(100)) == (read_reach, entries)


@pytest.mark.parametrize("id", ["llama-3-8b", "mistral-7b", "deepseek-v3", "deepseek-v3.2", "nemotron-3-super"])
def test_with_heads_of_their_own_each_query_head_keeps_a_key_and_a_value(id):
    """An index keeps what it kept; entries and the reach of a cache stay, its heads and values are the queries'."""
    spec = model(id)
    width = spec.n_heads * (192 + 128 if spec.mla else 2 * spec.d_head)
    for kind, own in zip(spec.kinds, multi_head(spec).kinds, strict=True):
        assert len(kind.caches) == len(own.caches) and kind.state == own.state
        for place, (kept, alone) in enumerate(zip(kind.caches, own.caches, strict=True)):
            changed = replace(
                kept, n_values=width, n_heads=spec.n_heads, pair_flops=2 * width, expanded=None, packed_bytes=None
            )
            assert alone == (changed if place == 0 else kept)


def test_a_cache_that_nothing_attends_to_stays_with_heads_of_their_own():
    kind = LayerKind(name="full", n_layers=32, matrices=(), caches=(TokenCache(n_values=8),))
    assert multi_head(replace(model("llama-3-8b"), layers=(kind,))).kinds == (kind,)


@pytest.mark.parametrize(
    ("exceptions", "shares"),
    [
        ((), [(1, "fp8")]),
        ((("mlp", 0.0, "bf16"),), [(1, "fp8")]),
        ((("mlp", 0.25, "bf16"), ("mlp", 0.5, "int4")), [(0.25, "fp8"), (0.25, "bf16"), (0.5, "int4")]),
        ((("mlp", 1.0, "bf16"), ("up", 0.5, "int4")), [(0.5, "fp8"), (0.5, "int4")]),
        ((("up", 1.0, "bf16"), ("mlp.up", 1.0, "int4")), [(1, "int4")]),
        ((("mlp.gate", 1.0, "bf16"), ("expert", 1.0, "int4")), [(1, "fp8")]),
    ],
)
def test_the_narrowest_exception_of_a_matrix_counts(exceptions, shares):
    up = Matrix(name="up", group="mlp", n_in=2, n_out=3)
    stored = replace(precision("fp8"), exceptions=exceptions)
    assert [(share, each.name) for share, each in stored.formats(up)] == shares


@pytest.mark.parametrize(
    ("name", "bits", "units", "kv_bytes", "activation_bytes"),
    [
        ("fp32", 32, "fp32", 4, 4),
        ("bf16", 16, "bf16", 2, 2),
        ("bf16-kv8", 16, "bf16", 1, 2),
        ("fp8-kv8", 8, "fp8", 1, 2),
        ("w8a8", 8, "int8", 2, 2),
        ("int8", 8, "bf16", 2, 2),
        ("int4", 4 + 32 / 128, "bf16", 2, 2),
        ("int4-ideal", 4, "bf16", 2, 2),
        ("mxfp4", 4 + 8 / 32, "fp4", 2, 2),
        ("nvfp4", 4 + 8 / 16, "fp4", 2, 2),
    ],
)
def test_the_widths_of_a_format(name, bits, units, kv_bytes, activation_bytes):
    found = precision(name)
    assert (found.bits_per_weight, found.compute_dtype) == (bits, units)
    assert (found.kv_bytes_per_value, found.activation_bytes_per_value) == (kv_bytes, activation_bytes)


@pytest.mark.parametrize(
    ("context_len", "shown"),
    [(4096, [4096]), (8192, [8192]), (8193, [8192, 8193]), (131_073, [8192, 131_072, 131_073])],
)
def test_a_summary_shows_the_usual_contexts_below_the_longest(context_len, shown):
    found = summary(replace(model("llama-3-8b"), context_len=context_len), precision=BF16)
    assert found["cache_bytes"] == [{"context": n, "bytes": 131_072 * n} for n in shown]


def test_a_summary_counts_contexts_from_one_to_a_billion():
    for n in (1, 10**9):
        assert summary(model("llama-3-8b"), precision=BF16, context_lens=[n])["cache_bytes"][0]["context"] == n
    for n in (0, 10**9 + 1):
        with pytest.raises(BytebillError, match=rf"not \[{n}\]"):
            summary(model("llama-3-8b"), precision=BF16, context_lens=[1, n])


def test_weights_by_width_are_all_of_them():
    spec, half = model("llama-3-8b"), replace(precision("int4"), exceptions=(("gate", 0.5, "fp8"),))
    found = weights_by_width(spec, precision=half)
    gate = next(each for each in matrices(spec) if each.name == "gate").n_params
    assert found["mlp", "fp8"] == gate / 2
    assert found["mlp", "int4"] == (2.5 * gate) * 4.25 / 8
    assert sum(found.values()) == weight_bytes(spec, precision=half)


def test_state_and_cache_of_layers_are_counted_for_each_of_them():
    """By hand: 3 layers of 10 values in 4 bytes and 5 in 2; caches of 8 values in a window, of 4 for every second."""
    state = SequenceState(n_values=10, n_conv_values=5)
    kept = (TokenCache(n_values=8, reach=6), TokenCache(n_values=4, stride=2, packed_bytes=7))
    kinds = (
        LayerKind(name="mamba", n_layers=3, matrices=(), state=state),
        LayerKind(name="full", n_layers=29, matrices=(), caches=kept),
    )
    spec = replace(model("llama-3-8b"), layers=kinds)
    assert state_bytes(spec) == 3 * (10 * 4 + 5 * 2)
    assert cache_bytes(spec, 10, precision=BF16) == 29 * (6 * 8 + 5 * 4) * 2
    assert cache_bytes(spec, 10, precision=precision("bf16-kv8")) == 29 * (6 * 8 + 5 * 7)
