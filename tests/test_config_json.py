"""A config.json read: parameters as transformers counts them, caches and weights as they were published."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bytebill import data
from bytebill.cli import app
from bytebill.engine.weights.names import require_llama
from bytebill.errors import BytebillError
from bytebill.models import (
    MODELS,
    PUBLISHED,
    MLASpec,
    ModelSpec,
    cache_bytes,
    find,
    kv_stored_bytes_per_token,
    matrices,
    model,
    precision,
    state_bytes,
    weight_bytes,
)
from bytebill.models.config_json import load_config, pasted_config, read_config, stored_precision
from bytebill.models.config_json.families import FAMILIES
from bytebill.models.config_json.fields import Fields
from bytebill.models.config_json.specs import planned
from bytebill.models.layers import Expanded, SequenceState, TokenCache
from bytebill.models.register import checkpoint_precision
from conftest import refuses

BF16, GIB = precision("bf16"), 2**30
CONFIGS: dict[str, dict[str, Any]] = {row["id"]: json.loads(row["config"]) for row in data.rows("model_configs")}
TINY = {
    **{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128},
    **{"num_attention_heads": 4, "vocab_size": 320, "max_position_embeddings": 512},
}
# Families whose default configuration in transformers is counted; some defaults cannot be built at all.
DEFAULTS = (
    *("afmoe", "apertus", "arcee", "axk1", "bamba", "bitnet", "bloom", "cohere", "cohere2", "cwm", "deepseek_v3"),
    *("deepseek_v32", "deepseek_v4", "ernie4_5", "ernie4_5_moe", "exaone4", "exaone_moe", "falcon", "falcon_h1"),
    *("flex_olmo", "gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "glm"),
    *("glm4", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "gptj"),
    *("granite", "granite_swa", "granitemoe", "granitemoe_swa", "granitemoehybrid", "helium", "hy_v3", "hyperclovax"),
    *("internlm3", "jais2", "jamba", "kimi_linear", "laguna", "lfm2", "llama", "llama4_text", "mamba", "mamba2"),
    *("mellum", "mimo_v2_flash", "minicpm3", "minimax", "minimax_m2", "ministral3", "mistral", "mixtral", "nanochat"),
    *("nemotron_h", "olmo", "olmo2", "olmo3", "olmo_hybrid", "olmoe", "opt", "persimmon", "phi", "phi3", "phimoe"),
    *("qwen2", "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_moe", "qwen3_next", "seed_oss"),
    *("smollm3", "solar_open", "stablelm", "starcoder2", "vaultgemma", "youtu"),
)
# Fields that a config may leave out: of every family, or of those that are named.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("layer_types", "mlp_layer_types", "attention_bias", "mlp_bias", "qkv_bias", "use_bias"), DEFAULTS),
    **dict.fromkeys(("qk_layernorm", "gating", "conv_L_cache", "conv_kernel", "hc_mult", "n_groups"), DEFAULTS),
    **dict.fromkeys(("altup_num_inputs", "laurel_rank", "num_kv_shared_layers", "attention_chunk_size"), DEFAULTS),
    **dict.fromkeys(("hidden_size_per_layer_input", "vocab_size_per_layer_input", "global_head_dim"), DEFAULTS),
    **dict.fromkeys(("attn_layer_offset", "attn_layer_period", "expert_layer_offset", "expert_layer_period"), DEFAULTS),
    **dict.fromkeys(("interleave_moe_layer_step", "no_rope_layer_interval", "num_dense_layers"), DEFAULTS),
    **dict.fromkeys(("moe_layer_interval", "moe_layer_start_index", "global_attn_every_n_layers"), DEFAULTS),
    **dict.fromkeys(("mamba_conv_bias", "mamba_d_conv", "mamba_expand", "expand", "mamba_n_groups"), DEFAULTS),
    **dict.fromkeys(("use_conv_bias", "enable_bias", "use_post_norm", "shared_intermediate_size"), DEFAULTS),
    "tie_word_embeddings": DEFAULTS,
    "head_dim": (
        *("gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "ernie4_5"),
        *("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "llama", "qwen3_moe"),
    ),
    "vocab_size": ("gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text"),
    "num_attention_heads": ("gemma3_text",),
    "num_key_value_heads": ("gemma3_text", "llama"),
    "max_position_embeddings": ("gemma3_text",),
    "sliding_window": (
        *("gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text"),
        *("cwm", "granite_swa", "granitemoe_swa"),
    ),
    "mamba_d_state": ("jamba",),
    "n_shared_experts": ("glm4_moe",),
    "num_shared_experts": ("kimi_linear", "exaone_moe"),
    "moe_num_shared_experts": ("ernie4_5_moe",),
}
NEVER_LEFT_OUT = {("deepseek_v4", "layer_types"), ("mimo_v2_flash", "layer_types")}
FLAGS = (
    *("attention_bias", "mlp_bias", "use_bias", "bias", "qkv_bias", "use_qkv_bias", "attention_out_bias"),
    *("lm_head_bias", "enable_bias", "mamba_proj_bias", "mamba_conv_bias", "use_conv_bias", "conv_bias"),
    *("projectors_bias", "mamba_rms_norm", "use_qk_norm", "qk_layernorm", "gating", "use_post_norm"),
    *("tie_word_embeddings", "use_parallel_residual", "parallel_attn", "multi_query", "new_decoder_architecture"),
    *("attention_k_eq_v", "use_double_wide_mlp", "block_auto_adjust_ff_dim"),
)
# What transformers builds of no value but one, or as published checkpoints do not have it.
UNTURNED = {
    *(("kimi_linear", "tie_word_embeddings"), ("nemotron_h", "tie_word_embeddings"), ("nemotron_h", "mamba_proj_bias")),
    *(("gemma3n_text", flag) for flag in FLAGS),
    *(("internlm3", flag) for flag in ("bias", "qkv_bias", "attention_bias", "mlp_bias")),
}
OTHER_NAMES = {"kimi_k2": "deepseek_v3", "deepseek_ref": "deepseek_v4"}


def read(config: Mapping[str, Any], **changes: Any) -> ModelSpec:
    return read_config({**config, **changes}, id="tiny", name="tiny")


def counted(config: Any) -> int:
    """Parameters of the model that transformers builds of its own configuration, none of them in memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return sum(each.numel() for each in AutoModelForCausalLM.from_config(config).parameters())


def as_told(config: Any) -> dict[str, Any]:
    """What transformers writes of a configuration."""
    return dict(json.loads(json.dumps(config.to_dict(), default=str)))


def of_transformers(config: Mapping[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING

    inner = config.get("text_config", {})
    shared = {key: config[key] for key in ("tie_word_embeddings",) if key in config}
    told = {key: value for key, value in ({**shared, **inner} if inner else config).items()}
    told.pop("quantization_config", None)
    kind = OTHER_NAMES.get(told["model_type"], told["model_type"])
    return CONFIG_MAPPING[kind](**{key: value for key, value in told.items() if key != "model_type"})


# ---- parameters


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_familys_default_has_the_parameters_that_transformers_counts(kind: str) -> None:
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind]()
    assert read(as_told(config)).n_params == counted(config)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_a_config_leaves_out_is_taken_as_transformers_takes_it(kind: str) -> None:
    from transformers import CONFIG_MAPPING

    told = as_told(CONFIG_MAPPING[kind]())
    out = {field for field, kinds in LEFT_OUT.items() if kind in kinds and (kind, field) not in NEVER_LEFT_OUT}
    assert read({key: told[key] for key in told if key not in out}) == read(told)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_flag_turned_counts_as_in_transformers(kind: str) -> None:
    from transformers import CONFIG_MAPPING

    told = as_told(CONFIG_MAPPING[kind]())
    for flag in (each for each in FLAGS if isinstance(told.get(each), bool) and (kind, each) not in UNTURNED):
        config = CONFIG_MAPPING[kind](num_hidden_layers=4, **{flag: not told[flag]})
        assert read(as_told(config)).n_params == counted(config), flag


@pytest.mark.parametrize("id", CONFIGS)
def test_a_row_of_the_register_has_the_parameters_that_transformers_counts(id: str) -> None:
    assert PUBLISHED[id].spec.n_params == counted(of_transformers(CONFIGS[id]))


@pytest.mark.parametrize(
    ("id", "n_params"),
    [  # totals of the published checkpoints, text parts
        ("qwen3-235b-a22b", 235_093_634_560),
        ("gemma-3-27b", 27_009_346_304),
        ("llama-4-scout", 107_769_861_120),
        ("glm-4.5", 352_797_814_784),
        ("phi-4", 14_659_507_200),
        ("qwen3-next-80b-a3b", 79_674_391_296),
        ("glm-5", 743_911_199_232),
    ],
)
def test_parameters_as_published(id: str, n_params: int) -> None:
    assert model(id).n_params == n_params


SIZES = {
    "num_hidden_layers": st.sampled_from([2, 4, 6]),
    "num_key_value_heads": st.sampled_from([1, 2, 4]),
    "head_dim": st.sampled_from([16, 32]),
    "tie_word_embeddings": st.booleans(),
    "attention_bias": st.booleans(),
    "mlp_bias": st.booleans(),
}
EXPERTS = {
    "num_experts": st.sampled_from([4, 8]),
    "num_experts_per_tok": st.just(2),
    "moe_intermediate_size": st.sampled_from([24, 40]),
    "decoder_sparse_step": st.sampled_from([1, 2]),
}
LATENT = {
    **{"kv_lora_rank": st.just(32), "qk_nope_head_dim": st.just(16), "qk_rope_head_dim": st.just(8)},
    **{"v_head_dim": st.sampled_from([16, 24]), "n_routed_experts": st.just(4), "num_experts_per_tok": st.just(2)},
    **{"moe_intermediate_size": st.just(24), "n_shared_experts": st.sampled_from([1, 2])},
}
DELTA = {
    **{"linear_num_value_heads": st.sampled_from([4, 8]), "linear_num_key_heads": st.just(2)},
    **{"linear_key_head_dim": st.just(16), "linear_value_head_dim": st.sampled_from([8, 16])},
    **{"linear_conv_kernel_dim": st.sampled_from([3, 4]), "shared_expert_intermediate_size": st.just(40)},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "llama": SIZES,
    "mistral": {key: SIZES[key] for key in ("num_hidden_layers", "num_key_value_heads", "head_dim")},
    "qwen2": {"num_key_value_heads": SIZES["num_key_value_heads"], "tie_word_embeddings": st.booleans()},
    "qwen3": {key: SIZES[key] for key in SIZES if key != "mlp_bias"},
    "qwen3_moe": {**{key: SIZES[key] for key in SIZES if key != "mlp_bias"}, **EXPERTS},
    "qwen3_next": {**{key: SIZES[key] for key in SIZES if key != "mlp_bias"}, **EXPERTS, **DELTA},
    "gemma3_text": {**{key: SIZES[key] for key in SIZES if key != "mlp_bias"}, "sliding_window": st.just(64)},
    "glm4_moe": {
        **{key: SIZES[key] for key in SIZES if key != "mlp_bias"},
        **{"n_routed_experts": st.just(4), "num_experts_per_tok": st.just(2), "moe_intermediate_size": st.just(24)},
        **{"first_k_dense_replace": st.sampled_from([0, 1, 2]), "use_qk_norm": st.booleans()},
        "n_shared_experts": st.sampled_from([1, 2]),
    },
    "deepseek_v3": {
        **{key: SIZES[key] for key in ("num_hidden_layers", "tie_word_embeddings", "attention_bias")},
        **LATENT,
        **{"q_lora_rank": st.sampled_from([None, 24]), "first_k_dense_replace": st.sampled_from([0, 1, 2])},
    },
    "gpt_oss": {
        **{key: SIZES[key] for key in ("num_hidden_layers", "num_key_value_heads", "head_dim", "attention_bias")},
        **{"num_local_experts": st.just(4), "num_experts_per_tok": st.just(2)},
    },
    "cohere": {key: SIZES[key] for key in ("num_key_value_heads", "attention_bias")},
    "falcon": {
        **{
            "num_kv_heads": st.just(2),
            "ffn_hidden_size": st.just(128),
            "new_decoder_architecture": st.booleans(),
            "multi_query": st.booleans(),
        },
        **{"parallel_attn": st.booleans(), "bias": st.booleans(), "tie_word_embeddings": st.booleans()},
    },
}


@pytest.mark.parametrize("kind", OPTIONS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_options_of_a_family_count_as_in_transformers(kind: str, data: Any) -> None:
    from transformers import CONFIG_MAPPING

    told = {**TINY, "pad_token_id": 0, **{key: data.draw(value, label=key) for key, value in OPTIONS[kind].items()}}
    told = {key: value for key, value in told.items() if value is not None or key == "q_lora_rank"} | {
        "model_type": kind
    }
    config = CONFIG_MAPPING[kind](**{key: value for key, value in told.items() if key != "model_type"})
    if told.get("q_lora_rank", 0) is None:
        told["q_lora_rank"] = 0
    assert read(told).n_params == counted(config)


MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENTS = {"q_lora_rank": 24, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
STATES = {"mamba_n_heads": 8, "mamba_d_state": 8, "num_key_value_heads": 2}
OLD_SIZES = {"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "n_positions": 32, "vocab_size": 320}
SHORT = {**TINY, "num_key_value_heads": 2}
TINIES: tuple[dict[str, Any], ...] = (  # families whose default cannot be built, and what no default says
    {**SHORT, **LATENTS, **MIXTURE, "model_type": "deepseek_v2", "n_routed_experts": 4, "n_shared_experts": 2}
    | {"num_key_value_heads": 4, "first_k_dense_replace": 1, "mlp_bias": True, "attention_bias": True},
    {**TINY, **LATENTS, **MIXTURE, "model_type": "deepseek_v32", "n_routed_experts": 4, "n_shared_experts": 1}
    | {"first_k_dense_replace": 1, "index_topk": 4, "index_n_heads": 2, "index_head_dim": 16},
    {**SHORT, **MIXTURE, "model_type": "dots1", "n_routed_experts": 4, "n_shared_experts": 1, "attention_bias": True},
    {**SHORT, "model_type": "granitemoeshared", "num_local_experts": 4, "num_experts_per_tok": 2}
    | {"shared_intermediate_size": 40, "attention_bias": True},
    {**SHORT, "model_type": "hunyuan_v1_dense", "attention_bias": True, "head_dim": 32},
    {**SHORT, "model_type": "hunyuan_v1_moe", "num_experts": 4, "moe_topk": 2, "head_dim": 16, "attention_bias": True},
    {**SHORT, **MIXTURE, "model_type": "lfm2_moe", "num_experts": 4, "num_dense_layers": 1}
    | {"layer_types": ["conv", "full_attention"]},
    {**SHORT, "model_type": "ministral", "head_dim": 32},
    {**SHORT, "model_type": "nemotron", "attention_bias": True, "mlp_bias": True},
    {**TINY, "model_type": "falcon_mamba", "state_size": 8, "intermediate_size": 192, "time_step_rank": 5},
    {**TINY, "model_type": "mamba", "state_size": 8, "expand": 3, "intermediate_size": None},
    {**TINY, "model_type": "mamba2", "num_heads": 8, "head_dim": 16, "n_groups": 2, "state_size": 8},
    {**SHORT, "model_type": "internlm3", "qkv_bias": True, "bias": True, "head_dim": 16},
    {**TINY, "model_type": "opt", "ffn_dim": 128, "word_embed_proj_dim": 64, "intermediate_size": None},
    {**SHORT, "model_type": "llama4_text", "num_local_experts": 4, "num_experts_per_tok": 1, "head_dim": 16}
    | {"intermediate_size_mlp": 96, "interleave_moe_layer_step": 2},
    {**SHORT, "model_type": "llama4_text", "num_local_experts": 4, "num_experts_per_tok": 1, "head_dim": 16}
    | {"intermediate_size_mlp": 96, "moe_layers": [0]},
    {**SHORT, **MIXTURE, "model_type": "qwen2_moe", "num_experts": 4, "shared_expert_intermediate_size": 40}
    | {"mlp_only_layers": [0], "num_hidden_layers": 3},
    {**SHORT, **MIXTURE, "model_type": "ernie4_5_moe", "moe_num_experts": 4, "moe_k": 2, "num_hidden_layers": 6}
    | {"moe_layer_start_index": 1, "moe_layer_end_index": 3, "moe_layer_interval": 2, "use_bias": True},
    {**SHORT, **STATES, "model_type": "granitemoehybrid", "num_local_experts": 0, "shared_intermediate_size": 40}
    | {"mamba_d_head": 16, "layer_types": ["linear_attention", "full_attention"]},
    {**SHORT, **STATES, "model_type": "bamba", "mamba_d_head": "auto", "mamba_expand": 3, "mamba_n_heads": 12}
    | {"attn_layer_indices": [1], "mamba_n_groups": 2},
    {**SHORT, **STATES, "model_type": "bamba", "mamba_d_head": 16, "attn_layer_indices": [0]},
    {**SHORT, **STATES, "model_type": "falcon_h1", "mamba_d_ssm": 64, "mamba_d_head": 8, "mamba_n_groups": 2}
    | {"mamba_rms_norm": True, "projectors_bias": True},
    {**SHORT, "model_type": "lfm2", "block_ff_dim": 100, "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.5}
    | {"intermediate_size": None, "full_attn_idxs": [1], "conv_bias": True},
    {**SHORT, "model_type": "nemotron_h", "hybrid_override_pattern": "ME*-", "mamba_num_heads": 8, "head_dim": 16}
    | {"mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 2, "n_routed_experts": 4, "use_conv_bias": False}
    | {"moe_shared_expert_intermediate_size": 40, "moe_latent_size": 16, "n_shared_experts": 2, "mlp_bias": True}
    | MIXTURE,
    {**SHORT, "model_type": "minimax", "num_local_experts": 4, "num_experts_per_tok": 2, "attn_type_list": [0, 1]}
    | {"head_dim": 32},
    {**TINY, **LATENTS, **MIXTURE, "model_type": "kimi_linear", "num_experts": 4, "num_shared_experts": 2}
    | {"num_hidden_layers": 3, "head_dim": 16}
    | {"linear_attn_config": {"full_attn_layers": [2], "kda_layers": [1, 3], "num_heads": 2, "head_dim": 16}},
    {**SHORT, "model_type": "jamba", "num_experts": 4, "num_experts_per_tok": 2, "mamba_dt_rank": 5}
    | {"attn_layer_period": 3, "attn_layer_offset": 1, "expert_layer_period": 3, "expert_layer_offset": 2}
    | {"num_hidden_layers": 7, "mamba_d_state": 8},
    {**SHORT, "model_type": "jamba", "num_experts": 1, "mamba_dt_rank": "auto", "mamba_d_conv": 3},
    {**OLD_SIZES, "model_type": "gpt_bigcode", "n_inner": 100},
    {**OLD_SIZES, "model_type": "gpt_bigcode", "multi_query": False},
    OLD_SIZES,
    {**OLD_SIZES, "model_type": "bloom", "hidden_size": 64},
    {**SHORT, **MIXTURE, "model_type": "mimo_v2_flash", "n_routed_experts": 4, "num_hidden_layers": 3}
    | {"hybrid_layer_pattern": [0, 1, 1], "moe_layer_freq": [0, 1, 1], "swa_num_key_value_heads": 4, "head_dim": 24}
    | {"v_head_dim": 16, "swa_head_dim": 24, "swa_v_head_dim": 16, "sliding_window": 8},
    {**SHORT, "model_type": "gemma4_text", "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2}
    | {"moe_intermediate_size": 24, "head_dim": 16, "global_head_dim": 32, "attention_k_eq_v": True}
    | {"num_global_key_value_heads": 1, "hidden_size_per_layer_input": 0},
    {**TINY, **LATENTS, "model_type": "longcat_flash", "num_layers": 3, "ffn_hidden_size": 128, "moe_topk": 2}
    | {"expert_ffn_hidden_size": 24, "n_routed_experts": 4, "zero_expert_num": 0}
    | {"intermediate_size": None, "num_hidden_layers": None},
)


@pytest.mark.parametrize("config", TINIES, ids=lambda config: config["model_type"])
def test_a_tiny_config_counts_as_in_transformers(config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    told = {key: value for key, value in config.items() if value is not None}
    made = CONFIG_MAPPING[told["model_type"]](pad_token_id=0, **{key: told[key] for key in told if key != "model_type"})
    assert read(told).n_params == counted(made)


# ---- layer by layer

SIX: dict[str, Any] = {
    **{**TINY, **LATENTS, **MIXTURE, **STATES, "num_hidden_layers": 6, "num_key_value_heads": 4, "head_dim": 24},
    **{"num_local_experts": 4, "sliding_window": 8, "attention_chunk_size": 16, "intermediate_size_mlp": 96},
    **{"linear_num_heads": 2, "linear_head_dim": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2},
    **{"linear_key_head_dim": 16, "linear_value_head_dim": 8, "o_groups": 2, "o_lora_rank": 8, "index_topk": 4},
    **{"index_n_heads": 2, "index_head_dim": 16, "ssm_state_size": 8, "swa_num_key_value_heads": 4},
}
LISTED = {"hybrid_layer_pattern": [0] * 6, "moe_layer_freq": [1] * 6, "compress_ratios": [4] * 6, "n_shared_experts": 1}
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


# ---- sizes


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


# ---- caches and states


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


# ---- widths


def test_weights_as_published() -> None:
    """OpenAI: checkpoints of 60.8 and 12.8 GiB."""
    for id, gib in (("gpt-oss-120b", 60.8), ("gpt-oss-20b", 12.8)):
        assert weight_bytes(model(id), precision=PUBLISHED[id].precision) / GIB == pytest.approx(gib, abs=0.05)


def test_a_checkpoint_that_leaves_attention_and_two_layers_wide() -> None:
    """vLLM issue 6746: Llama-3.1-405B-Instruct-FP8 takes 57.752 GiB on each of 8 GPUs; at first it had 16 KV heads."""
    left = [f"model.layers.{i}.self_attn.{name}_proj" for i in range(126) for name in "qkvo"]
    left += [f"model.layers.{i}.mlp.{name}_proj" for i in (0, 125) for name in ("gate", "up", "down")]
    config = {
        **CONFIGS["llama-3.1-405b"],
        "num_key_value_heads": 16,
        "quantization_config": {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head", *left]},
    }
    spec = read(config)
    stored = stored_precision(config, spec)
    assert weight_bytes(spec, precision=stored) / 8 / GIB == pytest.approx(57.752, rel=2e-3)
    shares = {name: share for name, share, _ in stored.exceptions}
    assert (shares["attention.q"], shares["mlp.up"]) == (1, 2 / 126)


def test_w8a8_as_a_server_reported_it() -> None:
    """vLLM PR 12569."""
    config = {**CONFIGS["llama-3.1-70b"], "quantization_config": compressed(8, "int", activations=8)}
    spec = read(config)
    assert weight_bytes(spec, precision=stored_precision(config, spec)) / GIB == pytest.approx(67.7229, rel=1e-3)


def compressed(bits: int, kind: str, *, activations: int | None = None, **weights: Any) -> dict[str, Any]:
    group = {
        "targets": ["Linear"],
        "weights": {"num_bits": bits, "type": kind, **weights},
        "input_activations": activations and {"num_bits": activations, "type": kind},
    }
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head"]}


@pytest.mark.parametrize(
    ("quantized", "name", "bits_per_weight"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8 + 32 / 16_384),
        ({"quant_method": "fp8"}, "fp8", 8),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}, "nvfp4", 4.5),
        ({"quant_algo": "FP8", "kv_cache_scheme": "FP8", "ignore": ["lm_head"]}, "fp8", 8),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4", 4 + 20 / 128),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "int8", 8),
        (compressed(4, "int", strategy="group", group_size=32, symmetric=True), "int4", 4.5),
        (compressed(8, "float", activations=8), "fp8", 8),
        (compressed(4, "float", activations=4, group_size=16), "nvfp4", 4.5),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4", 4.5),
    ],
)
def test_formats_of_checkpoints(quantized: dict[str, Any], name: str, bits_per_weight: float) -> None:
    config = {**TINY, "quantization_config": quantized}
    stored = stored_precision(config, read(config))
    assert (stored.name, stored.bits_per_weight) == (name, pytest.approx(bits_per_weight))
    assert stored.kv_bytes_per_value == (1 if "kv_cache_scheme" in quantized else 2)
    assert next(m for m in matrices(read(config)) if m.name == "head").n_params * 2 == pytest.approx(
        stored.weight_bytes(next(m for m in matrices(read(config)) if m.name == "head"))
    )


@pytest.mark.parametrize(
    ("quantized", "name", "bits_per_weight", "units"),
    [
        ({"quant_method": "fbgemm_fp8"}, "fp8", 8, "fp8"),
        ({"quant_method": "fp8", "weight_block_size": [64, 32], "scale_fmt": "ue8m0"}, "fp8", 8 + 8 / 2048, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4", 4 + 8 / 32, "fp4"),
        ({"quant_method": "gptq"}, "int4", 4 + (16 + 4) / 128, "bf16"),
        ({"quant_method": "auto-round", "bits": 3, "group_size": 64}, "int3", 3 + (16 + 3) / 64, "bf16"),
        ({"quant_method": "awq", "bits": 2, "group_size": 1}, "int2", 2 + 16 + 2, "bf16"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8", 8, "bf16"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            *("nf4", 4 + (8 + 32 / 256) / 64, "bf16"),
        ),
        ({"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}, "fp8", 8, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"}, "fp8", 8, "fp8"),
        ({"quant_method": "modelopt_fp4", "quant_algo": "NVFP4"}, "nvfp4", 4 + 8 / 16, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, "int4", 4 + 32 / 128, "bf16"),
        ({"quantization": {"quant_algo": "NVFP4"}}, "nvfp4", 4 + 8 / 16, "fp4"),
        (compressed(8, "int", activations=8), "w8a8", 8, "int8"),
        (compressed(8, "int"), "int8", 8, "bf16"),
        (compressed(8, "int", group_size=64, symmetric=False), "int8", 8 + (16 + 8) / 64, "bf16"),
        (compressed(4, "int", activations=8, group_size=128), "int4", 4 + 16 / 128, "bf16"),
        (compressed(3, "int", group_size=-1), "int3", 3, "bf16"),
        (compressed(8, "float"), "fp8-weights", 8, "bf16"),
        (compressed(8, "float", activations=16), "fp8-weights", 8, "bf16"),
        (compressed(4, "float", activations=16, group_size=32), "mxfp4-weights", 4 + 8 / 32, "bf16"),
        (compressed(8, "int", activations=4), "int8", 8, "bf16"),
        (compressed(8, "int", block_structure=[8, 8]), "int8", 8 + 16 / 64, "bf16"),
        (compressed(8, "float", group_size=-1), "fp8-weights", 8, "bf16"),
        ({"quant_method": "gptq", "group_size": 0}, "int4", 4, "bf16"),
        (compressed(8, "float", activations=8, block_structure=[128, 64]), "fp8", 8 + 32 / 8192, "fp8"),
        (compressed(4, "float", activations=4, group_size=32), "mxfp4", 4 + 8 / 32, "fp4"),
        (compressed(4, "float", activations=8, group_size=16), "nvfp4", 4 + 8 / 16, "fp4"),
        (compressed(4, "float", group_size=16), "nvfp4-weights", 4 + 8 / 16, "bf16"),
    ],
)
def test_formats_and_the_units_that_multiply_them(
    quantized: dict[str, Any], name: str, bits_per_weight: float, units: str
) -> None:
    config = {**TINY, "quantization_config": quantized}
    stored = stored_precision(config, read(config))
    assert (stored.name, stored.bits_per_weight, stored.compute_dtype) == (name, pytest.approx(bits_per_weight), units)


@pytest.mark.parametrize(
    ("told", "kv_bytes"),
    [
        ({}, 2),
        *(({key: word}, 1) for key in ("kv_cache_scheme", "kv_cache_quant_algo") for word in ("FP8", "INT8")),
        ({"kv_cache_quant_algo": "NVFP4"}, 4.5 / 8),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float"}}, 1),
        ({"kv_cache_scheme": {"num_bits": 4}}, 4.5 / 8),
    ],
)
def test_the_width_of_a_checkpoints_cache(told: dict[str, Any], kv_bytes: float) -> None:
    config = {**TINY, "quantization_config": {"quant_method": "fp8", **told}}
    assert stored_precision(config, read(config)).kv_bytes_per_value == kv_bytes


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({}, "bf16"),
        ({"dtype": "float16"}, "fp16"),
        ({"torch_dtype": "torch.float32"}, "fp32"),
        ({"dtype": "bfloat16", "torch_dtype": "float32"}, "bf16"),
        ({"text_config": {**TINY, "dtype": "float16"}}, "fp16"),
        ({"text_config": {**TINY, "dtype": "float16"}, "torch_dtype": "float32"}, "fp32"),
        ({"text_config": {**TINY, "quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"text_config": {**TINY, "quantization_config": {"quant_method": "fp8"}}, "dtype": "float32"}, "fp8"),
    ],
)
def test_where_a_config_says_how_wide_its_weights_are(told: dict[str, Any], name: str) -> None:
    config = {**TINY, **told}
    assert stored_precision(config, read(config)).name == name


def test_the_first_group_that_targets_a_module_tells_its_format() -> None:
    narrow, wide = (compressed(8, kind, activations=8)["config_groups"]["group_0"] for kind in ("float", "int"))
    groups = {"a": {**narrow, "targets": ["re:.*mlp.*"]}, "b": {**wide, "targets": ["re:.*(q|up)_proj"]}}
    config = {**TINY, "quantization_config": {"quant_method": "compressed-tensors", "config_groups": groups}}
    found = {key: (share, name) for key, share, name in stored_precision(config, read(config)).exceptions}
    assert "mlp.up" not in found and "mlp.down" not in found
    assert (found["attention.q"], found["attention.k"]) == ((1, "w8a8"), (1, "bf16"))


def test_a_checkpoint_of_several_formats_is_the_most_frequent_one_and_16_bits_where_it_names_none() -> None:
    layers = {
        **{f"model.layers.{i}.mlp.{name}_proj": {"quant_algo": "NVFP4"} for i in (0, 1) for name in ("gate", "up")},
        **{f"model.layers.{i}.self_attn.q_proj": {"quant_algo": "FP8"} for i in (0, 1)},
    }
    quantized = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    config = {**TINY, "quantization_config": quantized}
    stored = stored_precision(config, read(config))
    found = {key: (share, name) for key, share, name in stored.exceptions}
    assert stored.name == "nvfp4" and "mlp.up" not in found and "mlp.gate" not in found
    assert (found["attention.q"], found["attention.k"], found["mlp.down"]) == ((1, "fp8"), (1, "bf16"), (1, "bf16"))


@pytest.mark.parametrize(
    "key", ["modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers", "llm_int8_skip_modules"]
)
@pytest.mark.parametrize("place", ["model.", "model.language_model.", "language_model.model.", "backbone."])
def test_wherever_a_checkpoint_names_what_it_left_wide(key: str, place: str) -> None:
    quantized = {"quant_method": "fp8", key: [f"{place}layers.0.mlp.up_proj"]}
    config = {**TINY, "quantization_config": quantized}
    assert ("mlp.up", 0.5, "bf16") in stored_precision(config, read(config)).exceptions


ALL_LINEAR = {"layer_types": ["linear_attention"] * 6, "first_k_dense_replace": 0}


@pytest.mark.parametrize(
    ("kind", "module", "matrix"),
    [
        *(("llama", f"self_attn.{name}_proj", f"attention.{name}") for name in "qkvo"),
        ("llama", "self_attn.qkv_proj", "attention.q"),
        ("llama", "mlp.gate_up_proj", "mlp.gate"),
        ("llama", "mlp.gate_up_proj", "mlp.up"),
        ("llama", "mlp.down_proj", "mlp.down"),
        ("mixtral", "block_sparse_moe.experts.0.w1", "expert.gate"),
        ("mixtral", "block_sparse_moe.experts.0.w3", "expert.up"),
        ("minimax_m2", "block_sparse_moe.experts.0.w2", "expert.down"),
        ("qwen3_moe", "mlp.experts.0.up_proj", "expert.up"),
        ("dots1", "mlp.shared_experts.down_proj", "shared_expert.down"),
        ("llama4", "feed_forward.shared_expert.down_proj", "shared_expert.down"),
        ("lfm2_moe", "feed_forward.experts.0.w1", "expert.gate"),
        *(("longcat_flash", f"self_attn.{name}", "attention.q_down") for name in ("q_a_proj", "fused_qkv_a_proj")),
        *(("youtu", f"self_attn.{name}_b_proj", f"attention.{name}_up") for name in ("q", "kv")),
        ("youtu", "self_attn.kv_a_proj_with_mqa", "attention.kv_down"),
        ("deepseek_v32", "self_attn.indexer.wq_b", "attention.index_q"),
        ("deepseek_v32", "self_attn.indexer.wk", "attention.index_k"),
        *(("deepseek_v4", f"self_attn.{name}", "attention.kv") for name in ("wkv", "kv_proj")),
        *(("deepseek_v4", f"self_attn.{name}", "attention.o_up") for name in ("wo_b", "o_b_proj")),
        ("deepseek_v4", "self_attn.compressor.kv_proj", "attention.compressor_kv"),
        ("deepseek_v4", "self_attn.compressor.indexer.gate_proj", "attention.index_compressor_gate"),
        ("qwen3_next", "linear_attn.in_proj_qkvz", "recurrent.in"),
        ("qwen3_next", "linear_attn.out_proj", "recurrent.out"),
        ("kimi_linear", "self_attn.f_a_proj", "recurrent.decay_down"),
        ("minimax", "self_attn.output_gate", "recurrent.out_gate"),
        ("bamba", "mamba.in_proj", "recurrent.in"),
        ("jamba", "mamba.x_proj", "recurrent.x"),
        *(("nemotron_h", f"mixer.{name}_proj", f"recurrent.{name}") for name in ("in", "out")),
        *((kind, "feed_forward.up_proj", "mlp.up") for kind in ("falcon_h1", "lfm2")),
        *((kind, "block_sparse_moe.experts.0.up_proj", "expert.up") for kind in ("granitemoe", "granitemoe_swa")),
        ("minimax", "block_sparse_moe.experts.0.w2", "expert.down"),
        ("laguna", "self_attn.g_proj", "attention.gate_heads"),
    ],
)
def test_a_matrix_is_found_by_the_name_of_its_module(kind: str, module: str, matrix: str) -> None:
    quantized = {"quant_method": "fp8", "modules_to_not_convert": [f"model.layers.0.{module}"]}
    listed = ALL_LINEAR if matrix.startswith("recurrent") else {"first_k_dense_replace": 0, "num_dense_layers": 0}
    config = {**SIX, **LISTED, **listed, "model_type": kind, "quantization_config": quantized}
    shares = {key: share for key, share, _ in stored_precision(config, read(config)).exceptions}
    assert shares[matrix] == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("left", "share"),
    [
        (["model.layers.0"], 0.5),
        (["model.layers.1.mlp.up_proj"], 0.5),
        (["re:.*mlp.*"], 1),
        (["model.layers.*.mlp"], 1),
        (["model.language_model.layers.0.mlp*"], 0.5),
        (["up_proj"], 1),
        (["up", "model.layers", "layers.01"], 1),  # "model.layers" is all of them
        (["model.layers.0.self_attn"], 0),
    ],
)
def test_what_a_checkpoint_left_wide_is_found_by_its_name(left: list[str], share: float) -> None:
    config = {**TINY, "quantization_config": {"quant_method": "fp8", "modules_to_not_convert": left}}
    stored = stored_precision(config, read(config))
    assert sum(each for key, each, width in stored.exceptions if key == "mlp.up" and width == "bf16") == share


FP8 = {"quant_method": "fp8"}
PACKED = {**compressed(8, "float", activations=8), "ignore": []}


@pytest.mark.parametrize(
    ("quantized", "tied", "bits"),
    [
        *((quantized, False, 16) for quantized in (FP8, {"quant_method": "awq"}, compressed(8, "int", activations=8))),
        *((quantized, False, 8) for quantized in (PACKED, {"quant_method": "modelopt", "quant_algo": "FP8"})),
        (PACKED, True, 16),
        *(({**PACKED, "ignore": [name]}, False, 16) for name in ("model.lm_head", "backbone.lm_head", "re:.*head")),
    ],
)
def test_a_head_is_narrow_where_its_checkpoint_narrows_heads(quantized: dict[str, Any], tied: bool, bits: int) -> None:
    config = {**TINY, "tie_word_embeddings": tied, "quantization_config": quantized}
    head = next(matrix for matrix in matrices(read(config)) if matrix.name == "head")
    assert stored_precision(config, read(config)).weight_bytes(head) == head.n_params * bits / 8


@pytest.mark.parametrize(
    ("of_all", "of_weights", "width"), [(None, None, "fp8"), ("fp4", None, "mxfp4"), ("fp4", "fp8", "fp8")]
)
def test_the_width_of_experts_is_told_with_the_weights_or_else_by_the_config(
    of_all: str | None, of_weights: str | None, width: str
) -> None:
    told = {"expert_dtype": of_weights} if of_weights else {}
    config = {**SIX, "model_type": "mixtral", "expert_dtype": of_all, "quantization_config": {**FP8, **told}}
    stored = stored_precision(config, read(config))
    expert = next(matrix for matrix in matrices(read(config)) if matrix.group == "expert")
    assert [each.name for _, each in stored.formats(expert)] == [width]


def test_experts_of_their_own_width() -> None:
    config = CONFIGS["deepseek-v4-pro"]
    stored = PUBLISHED["deepseek-v4-pro"].precision
    by_group = {m.group: stored.formats(m) for m in matrices(PUBLISHED["deepseek-v4-pro"].spec)}
    assert config["expert_dtype"] == "fp4"
    assert by_group["expert"][0][1].name == "mxfp4" and by_group["shared_expert"][0][1].name == "fp8"


ODD = {"quant_method": "fp8", "modules_to_not_convert": ["x" * 400, "re:" + ".*" * 3 + "X", "*x*y*z*a"]}
NESTED = {"text_config": {"llm_config": {"thinker_config": TINY}}}


@pytest.mark.parametrize(
    ("most", "more", "words"),
    [
        ({"vocab_size": 10**9}, {"vocab_size": 10**9 + 1}, "vocab_size"),
        ({"hidden_size": 64.0}, {"hidden_size": 64.5}, "hidden_size"),
        ({"rms_norm_eps": 1e-300}, {"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"num_hidden_layers": 2000}, {"num_hidden_layers": 2001}, "2,001 layers"),
        ({"intermediate_size": [8, 16]}, {"intermediate_size": [8]}, "1 values for more layers"),
        ({"layer_types": ["full_attention"] * 2}, {"layer_types": ["full_attention"]}, "1 for 2 layers"),
        ({"num_nextn_predict_layers": 2}, {"num_nextn_predict_layers": 3}, "3 draft layers"),
        (NESTED, {"text_config": {**NESTED, "model_type": "nobody"}}, "model_type"),
        ({"quantization_config": ODD}, {"quantization_config": {**ODD, "ignore": ["x" * 401]}}, "no list of names"),
        (
            {"quantization_config": {**ODD, "ignore": ["x"] * 100_000}},
            {"quantization_config": {**ODD, "ignore": ["x"] * 100_001}},
            "no list of names",
        ),
    ],
)
def test_the_largest_that_is_read(most: dict[str, Any], more: dict[str, Any], words: str) -> None:
    def read_whole(change: dict[str, Any]) -> None:
        told = {**TINY, **change} if "text_config" not in change else change
        stored_precision(told, read(told))

    read_whole(most)
    refuses(lambda: read_whole(more), words)


def test_a_pasted_config_may_be_so_long_and_so_deep() -> None:
    for text, words in (("{}" + " " * (2**20 - 2), "model_type"), (" " + "{}" + " " * (2**20 - 2), "larger than any")):
        refuses(lambda text=text: pasted_config(text), words)
    for deep, words in ((63, "model_type"), (64, "nests deeper")):
        refuses(lambda deep=deep: pasted_config('{"a": ' + "[" * deep + "]" * deep + "}"), words)


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


TEXT = {key: TINY[key] for key in TINY if key != "model_type"}


@pytest.mark.parametrize(
    ("config", "tied", "qkv_bias"),
    [
        ({"model_type": "qwen2", "text_config": TEXT}, False, True),
        ({"model_type": "qwen2", "text_config": {**TEXT, "model_type": "llama"}}, False, False),
        ({"model_type": "qwen2", "text_config": {**TEXT, "model_type": "nobody"}}, False, True),
        ({"model_type": "qwen2", "text_config": TEXT, "tie_word_embeddings": True}, True, True),
        (
            {"model_type": "qwen2", "text_config": {**TEXT, "tie_word_embeddings": False}, "tie_word_embeddings": True},
            *(False, True),
        ),
    ],
)
def test_a_text_part_is_read_first_and_then_the_whole(config: dict[str, Any], tied: bool, qkv_bias: bool) -> None:
    spec = read(config)
    assert (spec.tied_embeddings, spec.qkv_bias) == (tied, qkv_bias)


@pytest.mark.parametrize("kind", ["bamba", "granitemoehybrid"])
def test_layers_that_a_config_lists_are_taken_before_those_that_follow_from_it(kind: str) -> None:
    from transformers import CONFIG_MAPPING

    config = {**CONFIG_MAPPING[kind](num_hidden_layers=4).to_dict(), "attn_layer_indices": [0]}
    kept = [
        cache_bytes(read(config, layer_types=types), 1000, precision=BF16)
        for types in (["full_attention"] * 4, ["full_attention", *["linear_attention"] * 3])
    ]
    assert kept[0] > 2 * kept[1]


# ---- laws


@pytest.mark.parametrize("id", CONFIGS)
def test_a_longer_context_never_keeps_less(id: str) -> None:
    kept = [cache_bytes(model(id), n, precision=BF16) for n in (1, 100, 128, 1000, 10_000, 10_001, 500_000)]
    assert kept == sorted(kept) and kept[0] > 0


@pytest.mark.parametrize("id", CONFIGS)
def test_no_checkpoint_is_larger_than_its_model_at_16_bits(id: str) -> None:
    spec, stored = PUBLISHED[id].spec, PUBLISHED[id].precision
    assert 0 < weight_bytes(spec, precision=stored) <= weight_bytes(spec, precision=BF16)


@given(window=st.integers(1, 5000), context=st.integers(1, 5000))
def test_a_window_longer_than_the_context_is_full_attention(window: int, context: int) -> None:
    config = {**TINY, "model_type": "mistral", "num_key_value_heads": 2}
    windowed, full = read(config, sliding_window=window), read(config)
    kept = [cache_bytes(spec, context, precision=BF16) for spec in (windowed, full)]
    assert kept[0] == kept[1] if window >= context else kept[0] == kept[1] * window / context


def test_a_hybrid_of_one_kind_is_that_kind() -> None:
    gemma = {**TINY, "model_type": "cohere2", "sliding_window": 64}
    full = read(gemma, layer_types=["full_attention"] * 2)
    window = read(gemma, layer_types=["sliding_attention"] * 2)
    assert (full.layers, window.layers, full.window_len, window.window_len) == ((), (), None, 64)
    mixed = read(gemma, layer_types=["sliding_attention", "full_attention"])
    halves = [cache_bytes(spec, 500, precision=BF16) / 2 for spec in (full, window)]
    assert cache_bytes(mixed, 500, precision=BF16) == sum(halves)


def test_draft_layers_are_apart() -> None:
    with_draft, without = model("deepseek-v3.1"), read(CONFIGS["deepseek-v3.1"], num_nextn_predict_layers=0)
    assert with_draft.n_params == without.n_params and len(with_draft.draft) == 1 and not without.draft


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "nobody"}, "nothing is known of its model_type 'nobody'"),
        ({"model_type": None}, "model_type"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"num_hidden_layers": 10**9}, "1,000,000,000 layers"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": 10**30}, "hidden_size"),
        ({"hidden_size": {"a": {}}}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": [1] * 9}, "vocab_size"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"rope_theta": "far"}, "rope_theta"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": ["full_attention", "telepathy"]}, "telepathy"),
        ({"layer_types": [3, None]}, "layer of type"),
        ({"layer_types": "full"}, "layer_types"),
        ({"per_layer_config": {"x": 1}}, "per_layer_config"),
        ({"model_type": "deepseek_v3"}, "has no '"),
        ({"model_type": "deepseek_v4", "layer_types": ["sliding_attention", "full_attention"]}, "are of the types"),
        ({"model_type": "gpt_oss", "layer_types": ["sliding_attention"] * 2}, "sliding_window|num_local_experts"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "spelt"),
        ({"num_nextn_predict_layers": 10**8}, "draft"),
        ({"text_config": {"text_config": {"text_config": {"text_config": {}}}}}, "model_type|has no"),
    ],
)
def test_what_describes_no_decoder_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    refuses(lambda: read({**TINY, **change}), words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "deepseek_v3", "mlp_layer_types": ["sparse"] * 5}, "layer 5 is of the unknown type 'None'"),
        ({"model_type": "deepseek_v3", "mlp_layer_types": ["sparse", "odd"] * 3}, "layer 1 is of the unknown type"),
        ({"model_type": "deepseek_v3", "moe_intermediate_size": [24] * 5 + [40]}, "differ in their experts"),
        ({"model_type": "nemotron_h"}, "no 'hybrid_override_pattern'"),
        ({"model_type": "mimo_v2_flash"}, "no 'hybrid_layer_pattern'"),
        ({"model_type": "deepseek_v4", "compress_ratios": [4] * 5}, "fewer than its layers"),
        ({"model_type": "deepseek_v4", "compress_ratios": [-1] * 6}, "compress_ratios"),
        ({"model_type": "opt", "word_embed_proj_dim": 32}, "differs from its 'hidden_size'"),
        ({"model_type": "opt", "do_layer_norm_before": False}, "'do_layer_norm_before' is false"),
        *(({"model_type": "step3p5", "moe_layers_enum": odd}, "no list of layers") for odd in (3, "1,x", [None])),
        *(({"per_layer_config": odd}, "no mapping by layer") for odd in ({"1": 3}, {"-1": {}})),
    ],
)
def test_layers_that_cannot_be_told_apart_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    refuses(lambda: read({**SIX, **change}), words)


@pytest.mark.parametrize(
    ("kind", "field", "least"),
    [
        ("qwen2", "max_window_layers", 0),
        ("mistral", "sliding_window", 0),
        ("gemma3n", "num_kv_shared_layers", 0),
        ("gemma3", "sliding_window_pattern", 0),
        ("gemma4", "hidden_size_per_layer_input", 0),
        *(("jamba", field, 0) for field in ("attn_layer_offset", "expert_layer_offset")),
        *(("jamba", field, 1) for field in ("attn_layer_period", "expert_layer_period")),
        *((kind, "first_k_dense_replace", 0) for kind in ("deepseek_v3", "step3p5")),
        *(("glm4_moe", field, 0) for field in ("num_dense_layers", "n_shared_experts")),
        ("laguna", "shared_expert_intermediate_size", 0),
        ("laguna", "n_shared_experts", 0),
        *((kind, "num_local_experts", 0) for kind in ("qwen3_moe", "granitemoehybrid")),
        ("longcat_flash", "zero_expert_num", 0),
        ("youtu", "q_lora_rank", 0),
        ("llama", "num_nextn_predict_layers", 0),
        ("ernie4_5_moe", "moe_layer_start_index", 0),
        ("ernie4_5_moe", "moe_layer_interval", 1),
        ("ernie4_5_moe", "moe_layer_end_index", -1),
        ("llama4", "interleave_moe_layer_step", 1),
        ("qwen3_moe", "decoder_sparse_step", 1),
        ("lfm2", "block_multiple_of", 1),
        *(("bamba", field, 1) for field in ("mamba_n_groups", "mamba_expand", "mamba_d_conv", "mamba_d_state")),
    ],
)
def test_a_number_of_layers_or_experts_begins_where_it_can(kind: str, field: str, least: int) -> None:
    config = {**SIX, "model_type": kind, "use_sliding_window": True, "shared_expert_intermediate_size": 40}
    assert read({**config, field: least}).n_params
    refuses(lambda: read({**config, field: least - 1}), f"its '{field}' is {least - 1}, no whole number")


@pytest.mark.parametrize(
    ("quantized", "words"),
    [
        ({"quant_method": "magic"}, "no quant_method 'magic'"),
        ({"bits": 4}, "quant_method"),
        ({"quant_method": "bitsandbytes"}, "neither 4 nor 8 bits"),
        ({"quant_method": "fp8", "expert_dtype": "int4"}, "expert_dtype"),
        ({"quant_method": "awq", "group_size": -2}, "group_size"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "name no layer"),
        (compressed(5, "int"), "5 bits of type 'int'"),
        (compressed(8, "complex"), "8 bits of type 'complex'"),
        (compressed(4, "int", group_size="x"), "group_size"),
        ({"quant_method": ["fp8"]}, "quant_method"),
        ([1], "no mapping"),
        ({"quant_method": "awq", "bits": 5}, "5 bits"),
        ({"quant_method": "awq", "bits": "four"}, "bits"),
        ({"quant_method": "fp8", "weight_block_size": [128, "x"]}, "weight_block_size"),
        ({"quant_method": "fp8", "modules_to_not_convert": [1]}, "modules_to_not_convert"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["re:(a+)+$"]}, "expression"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["re:(?:.|.)*X"]}, "expression"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["re:(([a-z_.0-9])+.)+X"]}, "expression"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["re:" + ".*" * 12 + "X"]}, "expression"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["*x*y*z*a*b"]}, "expression"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["re:("]}, "cannot be read"),
        ({"quant_method": "modelopt", "quant_algo": "FP1"}, "no quant_algo 'FP1'"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "quantize no weights"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "wide": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}},
                    "narrow": {"targets": ["re:.*up_proj"], "weights": {"num_bits": 3, "type": "int"}},
                },
            },
            "cannot be told together",
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": 3}}, "quantization_config"),
        ({"quant_method": "fp8", "kv_cache_scheme": "FP1"}, "unknown format"),
        ({"quant_method": "fp8", "kv_cache_scheme": {"num_bits": 16}}, "16 bits a value"),
    ],
)
def test_widths_that_are_not_known_are_refused_by_name(quantized: Any, words: str) -> None:
    config = {**TINY, "quantization_config": quantized}
    refuses(lambda: stored_precision(config, read(config)), words)


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "id", ["llama-3.1-8b", "gpt-oss-20b", "deepseek-v4-pro", "nemotron-3-super", "gemma-4-26b-a4b"]
)
@settings(max_examples=60, derandomize=True)
@given(data=st.data())
def test_whatever_a_field_says_the_answer_is_a_shape_or_a_sentence(id: str, data: Any) -> None:
    config = dict(CONFIGS[id].get("text_config", CONFIGS[id]))
    changed = {**config, data.draw(st.sampled_from(sorted(config))): data.draw(ANYTHING)}
    try:
        stored_precision(changed, read(changed))
    except BytebillError as error:
        assert str(error).endswith(".") and "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, "\0", '{"model_type": 1}', "NaN"])
def test_a_file_that_is_no_config_is_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(text, encoding="utf-8")
    refuses(lambda: load_config(file), "config.json")
    refuses(lambda: load_config(tmp_path / "nowhere.json"), "no file")


def test_a_folder_and_modelopts_file_beside_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    spec, stored = find(str(tmp_path))
    assert (spec.name, stored.name) == (tmp_path.name, "fp8")


def test_the_config_itself_counts_before_the_file_beside_it_and_a_file_gives_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({**TINY, "quantization_config": {"quant_method": "gptq"}}))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    spec, stored = load_config(tmp_path / "mine.json")
    assert (spec.id, spec.name, stored.name) == ("mine", "mine", "int4")


def test_a_file_of_sixteen_megabytes_is_the_largest_that_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for n_bytes, words in ((2**24, "model_type"), (2**24 + 1, "larger than any")):
        file.write_text("{}".ljust(n_bytes))
        refuses(lambda: load_config(file), words)


def test_a_pasted_config_is_read_as_a_file_is() -> None:
    spec, stored = find(f" {json.dumps({**TINY, 'quantization_config': {'quant_method': 'fp8'}})}")
    assert (spec.n_params, spec.id, stored.name) == (read(TINY).n_params, "the pasted model", "fp8")


@pytest.mark.parametrize("text", ["[" * 99, '\\"' + "[" * 99, "]" * 99 + "[" * 99])
def test_brackets_in_a_pasted_string_nest_nothing(text: str) -> None:
    refuses(lambda: pasted_config('{"a": "' + text + '"}'), "model_type")


# ---- fields


@pytest.mark.parametrize(
    ("values", "name", "found"),
    [
        ({"hidden_size": 4, "n_embd": 8}, "d_model", 4),
        ({"hidden_size": None, "n_embd": 8}, "d_model", 8),
        ({"n_embd": None}, "d_model", 7),
        ({"head_dim": 16.0}, "d_head", 16),
        ({"head_dim": [2, 4]}, "d_head", 4),
        ({"head_dim": [2, None], "attention_head_dim": 6}, "d_head", 6),
        ({"head_dim": [2, None]}, "d_head", 7),
        ({"per_layer_config": {"1": {"head_dim": 3}}, "head_dim": 2}, "d_head", 3),
        ({"per_layer_config": {"0": {"head_dim": 3}}, "head_dim": 2}, "d_head", 2),
    ],
)
def test_the_first_spelling_that_says_a_number_counts(values: dict[str, Any], name: str, found: int) -> None:
    assert Fields(values).at(1).count(name, 7) == found


@pytest.mark.parametrize(
    ("read_field", "words"),
    [
        (lambda: Fields({"x": 0}).count("x"), "'x' is 0, no whole number from 1 to 1,000,000,000"),
        (lambda: Fields({"x": -1}).count("x", least=0), "no whole number from 0"),
        (lambda: Fields({"x": True}).count("x"), "'x' is True, no whole number"),
        (lambda: Fields({"n_embd": "x"}).count("d_model"), "'n_embd' is 'x'"),
        (lambda: Fields({}).count("d_model"), "it has no 'hidden_size'"),
        (lambda: Fields({"x": 1.0}).flag("x"), "'x' is 1.0, not true or false"),
        *((lambda odd=odd: Fields({"x": odd}).number("x", 1), "no positive number") for odd in (0, True, "1", 1e999)),
        (lambda: Fields({"x": {}}).listed("x"), "not a list"),
        (lambda: Fields({"x": []}).mapping("x"), "not a mapping"),
        (lambda: Fields({"x": [1]}).at(1).get("x"), "'x' has 1 values for more layers"),
        (lambda: Fields({"x": "y" * 38}).count("x"), f"'{'y' * 38}', no"),
        (lambda: Fields({"x": "y" * 39}).count("x"), f"'{'y' * 36}..., no"),
    ],
)
def test_a_field_of_another_kind_is_refused_by_its_name(read_field: Callable[[], Any], words: str) -> None:
    with pytest.raises(BytebillError, match=re.escape(words)):
        read_field()


def test_fields_that_say_nothing_are_taken_as_their_defaults() -> None:
    fields = Fields({"off": 0, "on": 1, "zero": 0, "two": 2, "none": None, "hidden_size": None, "n_embd": [3]})
    assert [fields.flag(name, name == "none") for name in ("off", "on", "none", "absent")] == [False, True, True, False]
    assert (fields.count("zero", 5, least=0), fields.number("two", 1), fields.number("none", 1.5)) == (0, 2, 1.5)
    assert (fields.listed("none"), fields.listed("d_model"), fields.mapping("none")) == (None, [3], {})
    assert [fields.size(text) for text in (7, "7", "two", "two*two-1", "2*two+3*two")] == [7, 7, 2, 2, 20]


# ---- names, the engine and the command
# ---- names, the engine and the command


@pytest.mark.parametrize(
    ("text", "id", "width"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b", "bf16"),
        ("qwen/QWEN3-32B", "qwen3-32b", "bf16"),
        ("deepseek-ai/DeepSeek-R1", "deepseek-v3.1", "fp8"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2", "fp8"),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b", "fp8"),
        ("nvidia/Qwen3-235B-A22B-NVFP4", "qwen3-235b-a22b", "nvfp4"),
        ("gpt-oss-120b", "gpt-oss-120b", "mxfp4"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3.1", "fp8"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b", "bf16"),
        ("Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b", "bf16"),
        ("llama-2-7b", "llama-2-7b", "bf16"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b", "bf16"),
        ("TheBloke/Llama-2-7B-Chat-AWQ", "llama-2-7b", "int4"),
        ("RedHatAI/Llama-3.1-70B-Instruct-FP8-dynamic", "llama-3.1-70b", "fp8"),
        ("RedHatAI/Llama-3.1-70B-FP8-Instruct-W8A8", "llama-3.1-70b", "w8a8"),
    ],
)
def test_a_model_is_found_by_any_name_of_it(text: str, id: str, width: str) -> None:
    spec, stored = find(text)
    assert (spec.id, stored.name, model(text).id) == (id, width, id)


@pytest.mark.parametrize(
    ("id", "name", "expert_alone"),
    [
        *(("qwen3-235b-a22b", name, True) for name in ("int4", "nvfp4")),
        *(("qwen3-235b-a22b", name, False) for name in ("fp8", "w8a8", "int8")),
        *(("llama-3.1-8b", name, False) for name in ("int4", "nvfp4", "fp8")),
    ],
)
def test_four_bits_of_a_mixture_are_its_experts_alone(id: str, name: str, expert_alone: bool) -> None:
    stored = checkpoint_precision(name, model(id))
    (_, attention), *_ = stored.formats(next(each for each in matrices(model(id)) if each.group == "attention"))
    assert attention.name == ("bf16" if expert_alone else name)


def test_a_name_of_nobody_tells_the_nearest() -> None:
    refuses(lambda: find("Qwen/Qwen3-33B"), "nearest: .*qwen3-32b")


@pytest.mark.parametrize(
    "text", ["", "-", "/", "x" * 5000, "x" * 5000 + ".json", "~nobody/config.json", "a\0b", "\0.json"]
)
def test_a_name_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(BytebillError):
        find(text)


def test_no_model_stands_in_both_tables() -> None:
    assert not set(MODELS) & set(PUBLISHED)
    names = [name for each in PUBLISHED.values() for name in set(each.names)]
    assert len(names) == len(set(names))


def test_the_engine_says_what_it_cannot_run() -> None:
    require_llama(model("llama-3.1-8b"))
    refuses(lambda: require_llama(model("gpt-oss-20b")), "layers of 2 kinds")
    refuses(lambda: require_llama(model("qwen3-next-80b-a3b")), "layers of 2 kinds")


def test_the_command_prints_the_agreed_keys() -> None:
    ran = CliRunner().invoke(app, ["model", "qwen3.5-27b", "--context", "1000", "--context", "262144", "--json"])
    found = json.loads(ran.stdout)
    keys = ("n_params", "n_active_params", "n_embedding_params", "weight_bytes", "cache_bytes", "state_bytes", "layers")
    assert tuple(found) == keys
    assert found["cache_bytes"] == [{"context": n, "bytes": 65_536.0 * n} for n in (1000, 262_144)]
    assert found["layers"] == {"linear": 48, "full": 16} and found["n_embedding_params"] == 248_320 * 5120


def test_the_command_shows_a_table_and_what_the_engine_cannot_run() -> None:
    ran = CliRunner().invoke(app, ["model", "gpt-oss-20b"])
    assert "20,914,757,184" in ran.stdout and "layers of 2 kinds" in ran.stdout
