"""Of a config.json: which layer does what, how large it is, and what it keeps of a token or a sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bytebill.models import MLASpec, cache_bytes, kv_stored_bytes_per_token, model, state_bytes
from bytebill.models.config_json.families import FAMILIES
from bytebill.models.config_json.specs import planned
from bytebill.models.layers import Expanded, SequenceState, TokenCache
from config_cases import BF16, GIB, LATENTS, LISTED, MIXTURE, SIX, TINY, read
from conftest import refuses

LETTER = {"full": "f", "window": "w", "chunk": "c", "linear": "l", "mamba": "m", "conv": "v", "mlp": "-"}
LETTER |= {"latent": "t", "sparse": "s", "compressed": "z", "shared": "h"}
FIRST_FOUR = {"max_window_layers": 4}


@pytest.mark.parametrize(
    ("kind", "change", "mixing"),
    [
        ("mistral", {}, "wwwwww"),
        ("mistral", {"sliding_window": None}, "ffffff"),
        ("mistral", {"sliding_window": 0}, "ffffff"),
        ("mistral", {"use_sliding_window": False}, "ffffff"),
        ("ministral", {}, "ffffff"),
        ("ministral", {"layer_types": ["full_attention", "sliding_attention"] * 3}, "fwfwfw"),
        *((kind, {}, "wwwwww") for kind in ("mixtral", "phi3", "phimoe", "starcoder2")),
        *((kind, {}, "ffffff") for kind in ("llama", "gemma", "olmo", "olmo2", "olmoe", "glm4", "stablelm", "gptj")),
        *((kind, {}, "ffffff") for kind in ("cohere", "minimax_m2", "falcon", "gpt2", "opt", "bloom", "phi", "jais2")),
        *((kind, {}, "ffffff") for kind in ("qwen2", "qwen3", "dots1", "qwen3_moe", "qwen2_moe", "hy_v3", "laguna")),
        *((kind, {"use_sliding_window": True, **FIRST_FOUR}, "ffffww") for kind in ("qwen2", "qwen3", "dots1")),
        ("qwen2", {"use_sliding_window": True}, "ffffff"),  # from layer 28 on
        ("qwen2", {"use_sliding_window": True, "num_hidden_layers": 30}, 28 * "f" + "ww"),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 0}, "wwwwww"),
        ("mistral", {"layer_types": ["sliding_attention"] * 6 + ["telepathy"]}, "wwwwww"),
        ("qwen3_moe", {"use_sliding_window": True, **FIRST_FOUR}, "ffffff"),
        *((kind, {}, "wfwfwf") for kind in ("gemma2", "vaultgemma", "gpt_oss")),
        *((kind, {}, "wwwfww") for kind in ("olmo3", "cohere2", "exaone4", "exaone_moe", "afmoe")),
        ("olmo3", {"sliding_window": None}, "ffffff"),
        *((kind, {"sliding_window_pattern": 3}, "wwfwwf") for kind in ("cohere2", "exaone4", "gemma3", "gemma4")),
        *((kind, {}, "fwwwfw") for kind in ("cwm", "granite_swa", "granitemoe_swa")),
        ("afmoe", {"global_attn_every_n_layers": 2}, "wfwfwf"),
        ("gemma3", {}, "wwwwwf"),
        ("gemma3", {"sliding_window_pattern": 0}, "wwwwww"),
        ("gemma3", {"sliding_window_pattern": 1}, "ffffff"),
        ("gemma4", {}, "wwwwwf"),
        ("gemma4", {"sliding_window_pattern": 4}, "wwwfwf"),  # the last is always full
        ("gemma4", {"layer_types": ["full_attention"] + ["sliding_attention"] * 5}, "fwwwwf"),
        ("gemma3n", {"num_kv_shared_layers": 2, "sliding_window_pattern": 3}, "wwfwhh"),
        ("gemma3n", {"num_kv_shared_layers": 0}, "wwwwfw"),
        ("llama4", {}, "cccfcc"),
        ("llama4", {"no_rope_layer_interval": 2}, "cfcfcf"),
        *((kind, {}, "lllfll") for kind in ("qwen3_next", "qwen3_5", "qwen3_5_moe", "olmo_hybrid")),
        ("qwen3_next", {"full_attention_interval": 3}, "llfllf"),
        *((kind, {}, "tttttt") for kind in ("deepseek_v2", "deepseek_v3", "youtu", "minicpm3", "longcat_flash")),
        *((kind, {}, "ssssss") for kind in ("deepseek_v32", "glm_moe_dsa")),
        ("deepseek_v4", {"compress_ratios": [0, 4, 128, 4, 128, 0]}, "wzzzzw"),
        ("deepseek_v4", {"layer_types": ["sliding_attention"] * 4 + ["compressed_sparse_attention"] * 2}, "wwwwzz"),
        ("kimi_linear", {}, "lllltl"),
        ("kimi_linear", {"linear_attn_config": {"full_attn_layers": [3, 6]}}, "lltllt"),
        ("minimax", {}, "flflfl"),
        ("minimax", {"attn_type_list": [0, 0, 1, 0, 0, 1]}, "llfllf"),
        ("bamba", {}, "mmmmmm"),
        ("bamba", {"attn_layer_indices": [0, 5]}, "fmmmmf"),
        ("granitemoehybrid", {}, "mmmmmm"),
        ("jamba", {}, "mmmmfm"),
        ("jamba", {"attn_layer_period": 3, "attn_layer_offset": 2}, "mmfmmf"),
        ("nemotron_h", {"hybrid_override_pattern": "M*-EM-"}, "mf--m-"),
        *((kind, {"full_attn_idxs": [1, 4]}, "vfvvfv") for kind in ("lfm2", "lfm2_moe")),
        ("lfm2", {}, "ffffff"),
        ("mimo_v2_flash", {"hybrid_layer_pattern": [0, 1, 1, 0, 1, 1]}, "fwwfww"),
        ("step3p5", {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"] * 2}, "fwwfww"),
        *((kind, {}, "mmmmmm") for kind in ("mamba", "mamba2", "falcon_h1")),
        *((kind, {"layer_types": ["full", "hybrid"] + ["mamba"] * 4}, "ffllll") for kind in ("minimax", "qwen3_next")),
        *((kind, {"layer_types": ["full", "hybrid"] + ["kda"] * 4}, "ffmmmm") for kind in ("jamba", "bamba")),
        ("kimi_linear", {"layer_types": ["full", "hybrid"] + ["recurrent"] * 4}, "ttllll"),
        ("kimi_linear", {"linear_attn_config": {"full_attn_layers": []}}, "llllll"),
        *((kind, {"layer_types": ["conv"] * 5 + ["attention"]}, "vvvvvf") for kind in ("lfm2", "lfm2_moe")),
        *((kind, {"layer_types": ["sliding"] * 5 + ["full"]}, "wwwwwf") for kind in ("cwm", "mimo_v2_flash")),
        ("nemotron_h", {"layers_block_type": ["mamba", "attention", "mlp", "moe"]}, "mf--"),
        ("nemotron_h", {"layer_types": ["mamba", "attention", "mlp"]}, "mf-"),
        ("deepseek_v4", {"layer_types": ["heavily_compressed_attention"] * 5 + ["sliding_attention"]}, "zzzzzw"),
    ],
)
def test_how_tokens_meet_layer_by_layer(kind: str, change: dict[str, Any], mixing: str) -> None:
    layers = planned({**SIX, "model_type": kind, **change}, "tiny").layers
    assert "".join(LETTER[layer.mixer.name] for layer in layers) == mixing


@pytest.mark.parametrize(
    ("kind", "change", "sparse"),
    [
        *((kind, {}, "000000") for kind in ("llama", "qwen3", "gemma3", "gemma4", "lfm2", "bamba", "nemotron")),
        *((kind, {}, "111111") for kind in ("mixtral", "gpt_oss", "olmoe", "minimax", "mellum", "solar_open")),
        *((kind, {}, "111111") for kind in ("qwen3_moe", "qwen2_moe", "llama4", "deepseek_v2", "dots1")),
        *((kind, {}, "011111") for kind in ("glm4_moe", "glm4_moe_lite", "axk1", "kimi_linear", "hy_v3", "laguna")),
        *((kind, {}, "011111") for kind in ("exaone_moe", "afmoe", "ernie4_5_moe")),
        *((kind, {}, "000111") for kind in ("deepseek_v3", "deepseek_v32", "glm_moe_dsa", "step3p5")),
        ("lfm2_moe", {}, "001111"),
        ("deepseek_v3", {"first_k_dense_replace": 0}, "111111"),
        ("deepseek_v3", {"first_k_dense_replace": 1, "moe_layer_freq": 2}, "001010"),
        ("deepseek_v3", {"mlp_layer_types": ["dense", "sparse"] * 3}, "010101"),
        ("deepseek_v3", {"first_k_dense_replace": 1, "moe_layer_freq": 1}, "011111"),
        ("deepseek_v3", {"first_k_dense_replace": 1, "moe_layer_freq": 0}, "011111"),
        ("deepseek_v3", {"mlp_layer_types": ["dense", "moe", "hash_moe"] * 2}, "011011"),
        ("glm4_moe", {"num_dense_layers": 2, "first_k_dense_replace": 4}, "001111"),
        ("llama4", {"interleave_moe_layer_step": 2}, "010101"),
        ("llama4", {"interleave_moe_layer_step": 3}, "001001"),
        ("llama4", {"moe_layers": [0, 5]}, "100001"),
        ("qwen3_moe", {"decoder_sparse_step": 3}, "001001"),
        ("qwen3_moe", {"mlp_only_layers": [0, 4]}, "011101"),
        ("qwen3_moe", {"mlp_only_layers": [2], "decoder_sparse_step": 3}, "000001"),
        ("qwen3_moe", {"num_local_experts": 1}, "111111"),
        ("qwen3_moe", {"num_local_experts": 0}, "000000"),
        ("gemma4", {"enable_moe_block": True}, "111111"),
        ("granitemoehybrid", {}, "111111"),
        ("granitemoehybrid", {"num_local_experts": 0}, "000000"),
        ("jamba", {}, "010101"),
        ("jamba", {"expert_layer_period": 3, "expert_layer_offset": 2}, "001001"),
        ("jamba", {"num_local_experts": 1}, "000000"),
        ("jamba", {"num_local_experts": 2}, "010101"),
        ("nemotron_h", {"hybrid_override_pattern": "M*-EM-"}, "000100"),
        ("ernie4_5_moe", {"moe_layer_interval": 3}, "001001"),
        ("ernie4_5_moe", {"moe_layer_start_index": 3}, "000111"),
        ("ernie4_5_moe", {"moe_layer_start_index": 0, "moe_layer_end_index": 3}, "111100"),
        ("ernie4_5_moe", {"moe_layer_end_index": -1}, "011111"),
        ("ernie4_5_moe", {"moe_layer_start_index": 5, "moe_layer_end_index": 5}, "000001"),
        ("mimo_v2_flash", {"hybrid_layer_pattern": [1] * 6, "moe_layer_freq": [0, 1, 1, 0, 1, 1]}, "011011"),
        ("mimo_v2_flash", {"hybrid_layer_pattern": [1] * 6}, "011111"),
        ("step3p5", {"moe_layers_enum": "1,2, 5"}, "011001"),
        ("step3p5", {"moe_layers_enum": [0, 3]}, "100100"),
        ("step3p5", {"first_k_dense_replace": 1}, "011111"),
        ("step3p5", {"mlp_layer_types": ["sparse", "dense"] * 3}, "101010"),
    ],
)
def test_where_experts_stand_layer_by_layer(kind: str, change: dict[str, Any], sparse: str) -> None:
    layers = planned({**SIX, "model_type": kind, **change}, "tiny").layers
    assert "".join(str(int(layer.sparse)) for layer in layers) == sparse


@pytest.mark.parametrize(
    ("kind", "change", "moe"),
    [  # (experts, of a token, width, shared, dense layers first)
        ("glm4_moe", {"first_k_dense_replace": 2, "n_shared_experts": 3}, (4, 2, 24, 3, 2)),
        ("deepseek_v3", {}, (4, 2, 24, 0, 3)),
        ("mixtral", {}, (4, 2, 128, 0, 0)),
        ("qwen3_moe", {"moe_intermediate_size": None}, (4, 2, 128, 0, 0)),
        ("nemotron_h", {"hybrid_override_pattern": "M*-EM-"}, (4, 2, 24, 0, 0)),
        ("llama4", {"interleave_moe_layer_step": 2, "num_experts_per_tok": 1}, (4, 1, 128, 0, 3)),
    ],
)
def test_the_experts_of_a_mixture(kind: str, change: dict[str, Any], moe: tuple[int, ...]) -> None:
    found = read({**SIX, "model_type": kind, **change}).moe
    names = ("n_experts", "n_experts_per_token", "d_ff_expert", "n_shared_experts", "n_dense_layers")
    assert tuple(getattr(found, name) for name in names) == moe


AS_WIDE = {
    *("mixtral", "gpt_oss", "llama4", "phimoe", "olmoe", "flex_olmo", "minimax", "minimax_m2", "jamba"),
    *("granitemoe", "granitemoeshared", "granitemoe_swa", "granitemoehybrid", "hunyuan_v1_moe"),
}


@pytest.mark.parametrize("kind", [kind for kind, family in FAMILIES.items() if family.sparse])
def test_an_expert_has_a_width_of_its_own_or_the_layers_as_its_family_has_it(kind: str) -> None:
    change = {"hybrid_override_pattern": "E", "enable_moe_block": True, "shared_expert_intermediate_size": 40}
    found = read({**SIX, **LISTED, "first_k_dense_replace": 0, "num_dense_layers": 0, **change}, model_type=kind).moe
    assert found and found.d_ff_expert == (128 if kind in AS_WIDE else 24)


BIASES_ON = dict.fromkeys(("attention_bias", "mlp_bias", "use_bias", "bias", "qkv_bias", "attention_out_bias"), True)


@pytest.mark.parametrize(
    ("kind", "biased"),
    [
        *((kind, "") for kind in ("ministral", "mixtral", "phi3", "exaone4", "minimax_m2", "lfm2")),
        *((kind, "q k v") for kind in ("glm", "glm4", "glm4_moe", "solar_open", "mimo_v2_flash", "qwen2", "qwen2_moe")),
        *((kind, "q k v o") for kind in ("mistral", "qwen3", "gemma3", "cohere", "olmo2", "hunyuan_v1_moe", "laguna")),
        *((kind, "q k v up down") for kind in ("helium",)),
        *((kind, "q k v o up down") for kind in ("llama", "nemotron", "internlm3", "seed_oss", "starcoder2", "falcon")),
    ],
)
def test_which_matrices_have_a_bias_where_a_config_turns_all_on(kind: str, biased: str) -> None:
    config = {**SIX, **LISTED, **BIASES_ON, "model_type": kind, "shared_expert_intermediate_size": 40}
    names = {part.matrix.name for part in planned(config, "tiny").layers[0].parts if part.matrix.group == "bias"}
    assert names - {"gate_bias"} == {f"{name}_bias" for name in biased.split()}


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_a_norm_or_a_bias_is_counted_among_them(kind: str) -> None:
    """But for what DeepSeek-V4 adds to each place of a block."""
    config = {**SIX, **LISTED, **BIASES_ON, "model_type": kind, "hybrid_override_pattern": "M*-E"}
    found = planned({**config, "shared_expert_intermediate_size": 40, "qk_layernorm": True}, "tiny")
    for part in (*found.besides, *(part for layer in found.layers for part in layer.parts)):
        for kind_of in ("norm", "bias"):
            named = part.matrix.name.endswith(kind_of) and not part.matrix.name.endswith("compressor_bias")
            assert named == (part.matrix.group == kind_of), part.matrix


@pytest.mark.parametrize(
    ("kind", "n_shared", "sizes"),
    [
        ("deepseek_v3", None, set()),
        ("deepseek_v3", 2, {(24, 2)}),
        ("laguna", None, {(40, 1)}),
        ("laguna", 0, set()),
        ("nemotron_h", 2, {(40, 1)}),
    ],
)
def test_shared_experts_are_as_many_or_as_wide_as_told(kind: str, n_shared: int | None, sizes: set[Any]) -> None:
    config = {**SIX, "model_type": kind, "n_shared_experts": n_shared, "hybrid_override_pattern": "E" * 6}
    config |= {"shared_expert_intermediate_size": 40, "moe_shared_expert_intermediate_size": 40}
    ups = [part.matrix for part in planned(config, "tiny").layers[-1].parts if part.matrix.name == "up"]
    assert {(matrix.n_out, matrix.copies) for matrix in ups if matrix.group == "shared_expert"} == sizes


@pytest.mark.parametrize(("change", "width"), [({}, 1280), ({"share_expert_dim": 40}, 40)])
def test_the_shared_expert_of_step_is_1280_wide_unless_told(change: dict[str, Any], width: int) -> None:
    config = {**SIX, "model_type": "step3p5", "moe_layers_enum": "0", "layer_types": ["full"] * 6, **change}
    shared = [part.matrix for part in planned(config, "tiny").layers[0].parts if part.matrix.group == "shared_expert"]
    assert {(m.n_in, m.n_out, m.copies) for m in shared} == {(64, width, 1), (width, 64, 1)}


def test_a_mixture_is_told_by_its_sizes_where_dense_layers_come_first() -> None:
    config = {**SIX, "model_type": "deepseek_v3", "head_dim": None}
    dense_first = read(config, mlp_layer_types=["dense", *["sparse"] * 5])
    assert (dense_first.layers, dense_first.moe and dense_first.moe.n_dense_layers) == ((), 1)
    assert read(config, mlp_layer_types=["sparse", *["dense"] * 5]).layers


MLA = MLASpec(q_lora_rank=24, kv_lora_rank=32, d_nope=16, d_rope=8, d_v=16)


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({}, {"n_layers": 2, "d_model": 64, "d_ff": 128, "n_heads": 4, "n_kv_heads": 4, "d_head": 16}),
        ({}, {"vocab_size": 320, "context_len": 512, "norm": "rms", "mlp": "swiglu", "positions": "rope"}),
        ({}, {"layers": (), "norms_per_layer": 2, "tied_embeddings": False, "parallel": False, "n_positions": 0}),
        ({}, {"rope_base": 1e4, "norm_eps": 1e-6, "window_len": None, "qkv_bias": False, "biases": False}),
        ({"rope_theta": 5e5, "rms_norm_eps": 1e-5}, {"rope_base": 5e5, "norm_eps": 1e-5}),
        ({"rope_theta": 5e5, "rope_parameters": {"rope_theta": 1e6}}, {"rope_base": 1e6}),
        ({"rope_theta": 5e5, "rope_parameters": {"rope_type": "yarn"}}, {"rope_base": 5e5}),
        ({"rope_parameters": {"full_attention": {"rope_theta": 7.0}, "main": {"rope_theta": 9.0}}}, {"rope_base": 7}),
        ({"rope_parameters": {"main": {"rope_theta": 9.0}, "compress": {"rope_theta": 3.0}}}, {"rope_base": 9}),
        ({"rope_theta": [5e5, 1e4]}, {"rope_base": 5e5}),
        ({"rope_theta": []}, {"rope_base": 1e4}),
        ({"head_dim": 32, "num_key_value_heads": 2}, {"d_head": 32, "n_kv_heads": 2}),
        ({"model_type": "qwen2"}, {"qkv_bias": True, "biases": False, "qk_norm": False}),
        ({"model_type": "qwen3"}, {"qkv_bias": False, "qk_norm": True, "layers": ()}),
        ({"model_type": "mistral", "sliding_window": 8}, {"window_len": 8, "layers": ()}),
        ({"model_type": "gpt_neox"}, {"biases": True, "qkv_bias": False, "norm": "layer", "mlp": "gelu"}),
        ({"model_type": "gpt_neox", "use_parallel_residual": True}, {"parallel": True, "norms_per_layer": 2}),
        ({"model_type": "stablelm", "use_parallel_residual": True}, {"parallel": True, "norms_per_layer": 1}),
        ({"model_type": "hyperclovax"}, {"norms_per_layer": 4}),
        ({"model_type": "hyperclovax", "use_post_norm": False}, {"norms_per_layer": 2}),
        ({"model_type": "glm4"}, {"norms_per_layer": 4, "qkv_bias": True}),
        ({"model_type": "cohere"}, {"norms_per_layer": 1, "parallel": True, "tied_embeddings": True}),
        ({"model_type": "cohere", "tie_word_embeddings": False}, {"tied_embeddings": False}),
        ({"model_type": "opt"}, {"positions": "learned", "n_positions": 514, "context_len": 512, "mlp": "relu"}),
        ({"model_type": "gpt2"}, {"positions": "learned", "n_positions": 512, "mlp": "gelu", "biases": True}),
        ({"model_type": "olmo"}, {"norm": "none", "layers": ()}),
        *(({"model_type": kind}, {"parallel": True, "norms_per_layer": 1}) for kind in ("cohere", "cohere2")),
        *(({"model_type": kind}, {"parallel": True, "norm": "layer", "mlp": "gelu"}) for kind in ("phi", "gptj")),
        ({"model_type": "mamba2", "num_heads": 8, "state_size": 8}, {"n_heads": 8, "n_kv_heads": 8, "d_head": 8}),
        ({"model_type": "mamba", "max_position_embeddings": None}, {"context_len": 2**20, "n_heads": 64, "d_head": 1}),
        ({**LATENTS, "model_type": "youtu"}, {"d_head": 24, "n_kv_heads": 4, "layers": (), "moe": None}),
        ({**LATENTS, "model_type": "youtu"}, {"mla": MLA}),
        *(
            ({**LATENTS, "model_type": kind, "q_lora_rank": none}, {"mla": replace(MLA, q_lora_rank=0)})
            for kind, none in (("youtu", 0), ("youtu", None), ("minicpm3", 0))
        ),
        (
            {"intermediate_size": [96, 128], "head_dim": [96, 128], "num_attention_heads": [4, 2]},
            {"d_ff": 96, "d_head": 96, "n_heads": 4, "n_kv_heads": 4},
        ),
        ({"num_key_value_heads": [2, 4]}, {"n_kv_heads": 2}),
        ({"model_type": "falcon"}, {"n_kv_heads": 1, "norms_per_layer": 1, "parallel": True}),
        ({"model_type": "falcon", "parallel_attn": False}, {"norms_per_layer": 2, "parallel": False}),
        ({"model_type": "falcon", "new_decoder_architecture": True}, {"n_kv_heads": 4, "norms_per_layer": 2}),
        (
            {"model_type": "falcon", "new_decoder_architecture": True, "num_ln_in_parallel_attn": 1},
            {"norms_per_layer": 1, "parallel": True},
        ),
        ({"model_type": "falcon", "multi_query": False, "num_kv_heads": 2}, {"n_kv_heads": 4}),
        ({"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 2}, {"n_kv_heads": 2}),
        ({"model_type": "mamba2", "num_heads": 8, "state_size": 8, "intermediate_size": None}, {"d_ff": 64}),
        ({"model_type": "mamba2", "num_heads": 8, "state_size": 8}, {"context_len": 512, "mlp": "swiglu"}),
        ({**MIXTURE, "model_type": "mellum", "num_experts": 4, "intermediate_size": None}, {"d_ff": 24}),
        ({"model_type": "lfm2", "intermediate_size": 1000}, {"d_ff": 768}),  # 2/3, up to a multiple of 256
        ({"model_type": "lfm2", "intermediate_size": 1000, "block_multiple_of": 8}, {"d_ff": 672}),
        (  # 2/3 of 100 is 66, half as much again 99
            {"model_type": "lfm2", "intermediate_size": 100, "block_ffn_dim_multiplier": 1.5, "block_multiple_of": 9},
            {"d_ff": 99},
        ),
        ({"model_type": "lfm2", "intermediate_size": 1000, "block_auto_adjust_ff_dim": False}, {"d_ff": 1000}),
    ],
)
def test_a_shape_has_the_sizes_that_its_config_says(change: dict[str, Any], sizes: dict[str, Any]) -> None:
    spec = read({key: value for key, value in {**TINY, **change}.items() if value is not None})
    assert {name: getattr(spec, name) for name in sizes} == sizes


PLAIN = TokenCache(n_values=2 * 2 * 24, n_heads=2, pair_flops=4 * 4 * 24)
LATENT_CACHE = TokenCache(n_values=32 + 8, pair_flops=2 * 4 * (2 * 32 + 8))
TWO_FORMS = replace(LATENT_CACHE, expanded=Expanded(2 * 4 * 32 * (16 + 16), 2 * 4 * (16 + 8 + 16)))
CHOSEN = replace(LATENT_CACHE, top_k=4, packed_bytes=32 + 4 + 2 * 8)
INDEX = TokenCache(n_values=16, pair_flops=2 * 2 * 16, packed_bytes=16 + 4)
ONE_KEY = TokenCache(n_values=24, pair_flops=4 * 4 * 24, packed_bytes=24 + 8 + 1 + 1)
NEAR = replace(ONE_KEY, reach=8)
SPARE = {"model_type": "deepseek_v4", "compress_ratios": [4, 128, 0, 2, 2, 2]}
ONE_OWN = {"per_layer_config": {"5": {"head_dim": 40, "num_key_value_heads": 1}}}


@pytest.mark.parametrize(
    ("change", "layer", "caches"),
    [
        ({"model_type": "llama"}, 0, (PLAIN,)),
        ({"model_type": "llama", "head_dim": None}, 0, (TokenCache(n_values=2 * 2 * 16, n_heads=2, pair_flops=256),)),
        ({"model_type": "mistral"}, 5, (replace(PLAIN, reach=8),)),
        ({"model_type": "llama4"}, 0, (replace(PLAIN, reach=16),)),
        ({"model_type": "llama4"}, 3, (PLAIN,)),
        ({"model_type": "llama", **ONE_OWN}, 4, (PLAIN,)),
        ({"model_type": "llama", **ONE_OWN}, 5, (TokenCache(n_values=2 * 40, n_heads=1, pair_flops=4 * 4 * 40),)),
        ({"model_type": "gemma4", "global_head_dim": 48, **ONE_OWN}, 0, (replace(PLAIN, reach=8),)),
        (
            {"model_type": "gemma4", "global_head_dim": 48, **ONE_OWN},
            5,
            (TokenCache(n_values=2 * 40, n_heads=1, pair_flops=4 * 4 * 40),),
        ),
        ({"model_type": "falcon_h1"}, 0, (PLAIN,)),
        (
            {"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [0, 1] * 3},
            0,
            (replace(PLAIN, n_values=80, pair_flops=320),),
        ),
        (
            {"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [0, 1] * 3, "swa_v_head_dim": 12},
            1,
            (TokenCache(n_values=4 * 36, n_heads=4, pair_flops=2 * 4 * 36, reach=8),),
        ),
        (
            {"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [1] * 6, "swa_num_key_value_heads": None},
            0,
            (TokenCache(n_values=4 * 40, n_heads=4, pair_flops=2 * 4 * 40, reach=8),),
        ),
        ({"model_type": "gemma4", "global_head_dim": 48}, 0, (replace(PLAIN, reach=8),)),
        ({"model_type": "gemma4", "global_head_dim": 48}, 5, (replace(PLAIN, n_values=192, pair_flops=768),)),
        ({"model_type": "gemma4"}, 5, (replace(PLAIN, n_values=2 * 2 * 512, pair_flops=4 * 4 * 512),)),
        (
            {"model_type": "step3p5", "head_dim": None, "layer_types": ["full"] * 6},
            *(0, (replace(PLAIN, n_values=2 * 2 * 128, pair_flops=4 * 4 * 128),)),
        ),
        ({"model_type": "deepseek_v3"}, 0, (TWO_FORMS,)),
        ({"model_type": "longcat_flash"}, 0, (TWO_FORMS, TWO_FORMS)),
        ({"model_type": "deepseek_v32"}, 0, (CHOSEN, INDEX)),
        ({"model_type": "deepseek_v32", "indexer_types": ["full", "shared"] * 3}, 1, (CHOSEN,)),
        (SPARE, 0, (NEAR, replace(ONE_KEY, stride=4, top_k=4), replace(INDEX, stride=4))),
        (SPARE, 1, (NEAR, replace(ONE_KEY, stride=128))),
        (SPARE, 2, (NEAR,)),
        ({**SPARE, "index_topk": None}, 0, (NEAR, replace(ONE_KEY, stride=4))),
        ({**SPARE, "qk_rope_head_dim": None}, 2, (replace(NEAR, packed_bytes=24 + 3 + 1 + 1),)),
        ({**SPARE, "head_dim": 80}, 2, (TokenCache(n_values=80, pair_flops=1280, packed_bytes=91, reach=8),)),
        (
            {**SPARE, "compress_rates": {"compressed_sparse_attention": 2}},
            3,
            (NEAR, replace(ONE_KEY, stride=2, top_k=4), replace(INDEX, stride=2)),
        ),
    ],
)
def test_what_an_attention_layer_keeps(change: dict[str, Any], layer: int, caches: tuple[TokenCache, ...]) -> None:
    config = {**SIX, "num_key_value_heads": 2, **change}
    assert planned(config, "tiny").layers[layer].mixer.caches == caches


def test_a_sparse_latent_of_several_blocks_keeps_a_scale_for_each_128() -> None:
    config = {**SIX, "model_type": "deepseek_v32", "kv_lora_rank": 129}
    assert planned(config, "tiny").layers[0].mixer.caches[0].packed_bytes == 129 + 2 * 4 + 2 * 8


@pytest.mark.parametrize(
    ("change", "n_params"),
    [  # by hand, of one layer of D = 64, 4 heads and 2 KV heads of 24
        (
            {
                **{"model_type": "step3p5", "layer_types": ["sliding_attention"] * 6},
                "attention_other_setting": {"num_attention_heads": 8},
            },
            64 * (2 * 8 * 24 + 2 * 2 * 24) + 64 * 8 + 3 * 64 * 128 + 2 * 64 + 2 * 24,
        ),
        (
            {"model_type": "step3p5", "layer_types": ["sliding_attention"] * 6, "num_sliding_attention_heads": 8},
            64 * (2 * 8 * 24 + 2 * 2 * 24) + 64 * 8 + 3 * 64 * 128 + 2 * 64 + 2 * 24,
        ),
        (
            {"model_type": "step3p5", "layer_types": ["full_attention"] * 6, "num_sliding_attention_heads": 8},
            64 * (2 * 4 * 24 + 2 * 2 * 24) + 64 * 4 + 3 * 64 * 128 + 2 * 64 + 2 * 24,
        ),
        (
            {
                "model_type": "step3p5",
                "layer_types": ["full_attention"] * 6,
                "moe_layers_enum": "0",
                "share_expert_dim": 40,
            },
            64 * (2 * 4 * 24 + 2 * 2 * 24) + 64 * 4 + 3 * 64 * (4 * 24 + 40) + 4 * 64 + 2 * 64 + 2 * 24,
        ),
        (
            {"model_type": "gemma4", "enable_moe_block": True, "hidden_size_per_layer_input": 0},
            64 * (2 * 4 * 24 + 2 * 2 * 24)
            + 3 * 64 * 128
            + 4 * 3 * 64 * 24
            + 4 * 64
            + 64
            + 4
            + 3 * 64
            + 4 * 64
            + 2 * 24,
        ),
        (
            {"model_type": "longcat_flash", "zero_expert_num": 2},
            2 * (64 * 24 + 24 + 24 * 4 * 24 + 64 * 40 + 32 + 32 * 4 * 32 + 4 * 16 * 64 + 3 * 64 * 128 + 2 * 64)
            + 64 * (4 + 2)
            + 4 * 3 * 64 * 24,
        ),
    ],
)
def test_parameters_of_a_layer_by_hand(change: dict[str, Any], n_params: int) -> None:
    layer = planned({**SIX, "num_key_value_heads": 2, **change}, "tiny").layers[0]
    assert sum(part.matrix.n_params for part in layer.parts) == n_params


@pytest.mark.parametrize(
    ("change", "n_values", "n_conv", "flops_each", "n_heads"),
    [  # by hand: values of a state, of its convolution, FLOPs a value and token, heads
        ({"model_type": "bamba", "mamba_d_head": "auto"}, 128 * 8, 3 * (128 + 2 * 8), 4, 8),
        *(
            ({"model_type": kind, "mamba_d_head": "auto"}, 128 * 8, 3 * (128 + 2 * 8), 4, 8)
            for kind in ("granitemoehybrid", "falcon_h1")
        ),
        ({"model_type": "bamba", "mamba_d_head": 12}, 96 * 8, 3 * (96 + 2 * 8), 4, 8),
        ({"model_type": "bamba", "mamba_expand": 3, "mamba_d_conv": 3}, 192 * 8, 2 * (192 + 2 * 8), 4, 8),
        ({"model_type": "bamba", "mamba_expand": 4, "head_dim": None}, 256 * 8, 3 * (256 + 2 * 8), 4, 8),
        ({"model_type": "mamba2", "head_dim": None}, 128 * 8, 3 * (128 + 2 * 8 * 8), 4, 8),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M"}, 192 * 8, 3 * (192 + 2 * 8 * 8), 4, 8),
        ({"model_type": "falcon_h1", "mamba_d_ssm": 72, "mamba_n_groups": 3}, 72 * 8, 3 * (72 + 6 * 8), 4, 8),
        ({"model_type": "jamba", "mamba_expand": 3, "attn_layer_offset": 7}, 192 * 8, 3 * 192, 4, 1),
        ({"model_type": "mamba", "intermediate_size": 96}, 96 * 8, 3 * 96, 4, 1),
        ({"model_type": "mamba", "intermediate_size": None}, 128 * 8, 3 * 128, 4, 1),
        ({"model_type": "mamba", "mamba_d_state": None, "ssm_state_size": None}, 128 * 16, 3 * 128, 4, 1),
        ({"model_type": "qwen3_next"}, 4 * 16 * 8, 3 * (2 * 32 + 32), 6, 4),
        ({"model_type": "kimi_linear", "layer_types": ["linear_attention"] * 6}, 2 * 16 * 16, 3 * 3 * 32, 6, 2),
        (
            {"model_type": "kimi_linear", "linear_attn_config": {"full_attn_layers": [], "short_conv_kernel_size": 3}},
            *(2 * 16 * 16, 2 * 3 * 32, 6, 2),
        ),
        ({"model_type": "qwen3_next", "linear_conv_kernel_dim": 2}, 4 * 16 * 8, 2 * 32 + 32, 6, 4),
        ({"model_type": "minimax", "attn_type_list": [0] * 6}, 4 * 24 * 24, 0, 4, 4),
        ({"model_type": "minimax", "attn_type_list": [0] * 6, "head_dim": None}, 4 * 16 * 16, 0, 4, 4),
        ({"model_type": "lfm2", "full_attn_idxs": [], "conv_L_cache": 5}, 0, 4 * 64, 4, 1),
        ({"model_type": "lfm2", "full_attn_idxs": []}, 0, 2 * 64, 4, 1),
    ],
)
def test_what_a_recurrent_layer_keeps(
    change: dict[str, Any], n_values: int, n_conv: int, flops_each: int, n_heads: int
) -> None:
    state = planned({**SIX, "mamba_n_heads": 8, **change}, "tiny").layers[0].mixer.state
    assert state == SequenceState(
        n_values=n_values, n_conv_values=n_conv, value_bytes=4, token_flops=flops_each * n_values, n_heads=n_heads
    )


@pytest.mark.parametrize(
    ("change", "rank"),
    [
        ({}, 4),
        ({"hidden_size": 72}, 5),
        ({"time_step_rank": 7}, 7),
        ({"time_step_rank": "auto"}, 4),
        ({"mamba_dt_rank": 3, "time_step_rank": 7}, 3),
    ],
)
def test_the_rank_of_a_first_mambas_step_is_a_sixteenth_or_as_told(change: dict[str, Any], rank: int) -> None:
    parts = planned({**SIX, "model_type": "mamba", **change}, "tiny").layers[0].mixer.parts
    widths = {part.matrix.name: (part.matrix.n_in, part.matrix.n_out) for part in parts}
    assert (widths["step"][0], widths["x"][1]) == (rank, rank + 2 * 8)


def test_layers_that_share_a_cache_may_have_an_mlp_twice_as_wide() -> None:
    config = {**SIX, "model_type": "gemma4", "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 0}
    for wide, last in ((False, 128), (True, 256)):
        layers = planned({**config, "use_double_wide_mlp": wide}, "tiny").layers
        sizes = [{part.matrix.name: part.matrix for part in layer.parts} for layer in layers]
        assert [each["up"].n_out for each in sizes] == [128] * 4 + [last] * 2
        assert [each["qk_norm"].copies for each in sizes] == [2] * 4 + [1] * 2


@pytest.mark.parametrize(("dtype", "n_bytes"), [("float32", 4), ("bfloat16", 2), ("float16", 2), ("auto", 2)])
def test_a_state_is_as_wide_as_its_config_says(dtype: str, n_bytes: int) -> None:
    config = {**SIX, "model_type": "bamba", "mamba_ssm_dtype": dtype}
    assert planned(config, "tiny").layers[0].mixer.state.value_bytes == n_bytes
    refuses(lambda: read(config, mamba_ssm_dtype="float8"), "kept as 'float8'")


def test_caches_as_published() -> None:
    """unslothai/unsloth PR 4757; of GLM-5 its 78 layers' latents, index keys apart (the PR counts its draft layer too);
    alvarobartt/hf-mem PR 70 for gpt-oss."""
    whole = {
        "deepseek-v3.1": (163_840, 10.72),
        "kimi-k2.5": (262_144, 17.16),
        "qwen3-0.6b": (40_960, 4.38),
        "gemma-3-27b": (131_072, 10.41),
        "qwen3.5-27b": (262_144, 16.0),
    }
    for id, (context, gib) in whole.items():
        assert cache_bytes(model(id), context, precision=BF16) / GIB == pytest.approx(gib, abs=0.006), id
    assert 32 * cache_bytes(model("gpt-oss-20b"), 8192, precision=BF16) / GIB == pytest.approx(6.09, abs=0.006)
    (kind,) = model("glm-5").kinds
    latent, index = (kind.n_layers * kept.entries(202_752) * kept.entry_bytes(2) / GIB for kept in kind.caches)
    assert (latent, index) == (pytest.approx(16.97, abs=0.005), pytest.approx(78 * 202_752 * 256 / GIB))


def test_cache_of_a_token_as_published() -> None:
    assert kv_stored_bytes_per_token(model("deepseek-v3.1"), precision=BF16) == 70_272
    assert kv_stored_bytes_per_token(model("qwen3-next-80b-a3b"), precision=BF16) == 24_576
    (kind,) = model("deepseek-v3.2").kinds
    packed = [61 * kept.entry_bytes(1) for kept in kind.caches]
    assert packed == [
        40_016,
        61 * 132,
    ]  # 656 bytes a latent (spark-arena/sparkrun PR 247), and an index key and its scale
    window, compressed = model("deepseek-v4-pro").kinds[0].caches
    assert window.entry_bytes(1) == compressed.entry_bytes(1) == 584  # vLLM PR 56893


@pytest.mark.parametrize(
    ("id", "n_bytes"),
    [  # heads * key * value * 4 bytes and a convolution of (kernel - 1) * channels * 2, by hand
        ("qwen3-next-80b-a3b", 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)),
        ("nemotron-h-56b", 54 * (256 * 64 * 256 * 4 + 3 * (16_384 + 2 * 8 * 256) * 2)),
        ("llama-3.1-8b", 0),
    ],
)
def test_state_of_a_sequence(id: str, n_bytes: int) -> None:
    assert state_bytes(model(id)) == n_bytes


def test_layers_that_share_a_cache_have_none() -> None:
    sizes = {"num_hidden_layers": 35, "hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 2}
    gemma = read({**TINY, **sizes}, model_type="gemma3n_text", vocab_size=262_400)
    assert {kind.name: (kind.n_layers, len(kind.caches)) for kind in gemma.kinds}["shared"] == (15, 0)
    assert kv_stored_bytes_per_token(gemma, precision=BF16) == 20 * 2 * 2 * 256 * 2


def test_a_layer_whose_values_are_its_keys_still_keeps_both() -> None:
    full = next(kind for kind in model("gemma-4-26b-a4b").kinds if kind.name == "full")
    assert full.caches[0].n_values == 2 * 2 * 512
    assert "v" not in {matrix.name for matrix in full.matrices}


def test_a_draft_layer_is_the_last_full_one_behind_a_projection() -> None:
    """By hand: the layer's own parameters, 2 D * D of the projection and three norms."""
    spec = read(TINY, num_nextn_predict_layers=1)
    drawn = sum(matrix.n_params for kind in spec.draft for matrix in kind.matrices)
    assert drawn == 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64 + 2 * 64 * 64 + 3 * 64


@pytest.mark.parametrize(
    ("change", "mixing", "sparse"),
    [
        ({"model_type": "deepseek_v3", "first_k_dense_replace": 1}, "latent", True),
        ({"model_type": "deepseek_v3", "mlp_layer_types": ["sparse", "dense"]}, "latent", False),
        ({"model_type": "cohere2", "layer_types": ["full_attention", "sliding_attention"]}, "full", False),
        ({"model_type": "cohere2", "layer_types": ["sliding_attention"] * 2}, "window", False),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M*-E"}, "full", True),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "E*"}, "full", True),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "ME*-"}, "full", False),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "EM"}, "mamba", True),
    ],
)
def test_a_draft_repeats_the_last_full_layer_and_feeds_it_as_the_last_one(
    change: dict[str, Any], mixing: str, sparse: bool
) -> None:
    config = {**SIX, "num_hidden_layers": 2, "num_nextn_predict_layers": 1, **change}
    (draft,) = planned(config, "tiny").draft
    assert (draft.mixer.name, "expert" in {part.matrix.group for part in draft.parts}) == (mixing, sparse)


@pytest.mark.parametrize("kind", ["bamba", "granitemoehybrid"])
def test_layers_that_a_config_lists_are_taken_before_those_that_follow_from_it(kind: str) -> None:
    from transformers import CONFIG_MAPPING

    config = {**CONFIG_MAPPING[kind](num_hidden_layers=4).to_dict(), "attn_layer_indices": [0]}
    kept = [
        cache_bytes(read(config, layer_types=types), 1000, precision=BF16)
        for types in (["full_attention"] * 4, ["full_attention", *["linear_attention"] * 3])
    ]
    assert kept[0] > 2 * kept[1]
