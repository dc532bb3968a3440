"""A config.json read: parameters as transformers counts them, caches and weights as they were published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bytebill.cli import app
from bytebill.engine.weights.names import require_llama
from bytebill.errors import BytebillError
from bytebill.models import MODELS, PUBLISHED, cache_bytes, find, matrices, model, weight_bytes
from bytebill.models.register import checkpoint_precision
from config_cases import BF16, CONFIGS, LATENTS, MIXTURE, STATES, TINY, read
from conftest import refuses

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
