"""A config.json read: parameters as transformers counts them, caches and weights as they were published."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from bytebill.models.config_json import load_config, read_config, stored_precision
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
OTHER_NAMES = {"kimi_k2": "deepseek_v3", "deepseek_ref": "deepseek_v4"}


def read(config: Mapping[str, Any], **changes: Any) -> ModelSpec:
    return read_config({**config, **changes}, id="tiny", name="tiny")


def counted(config: Any) -> int:
    """Parameters of the model that transformers builds of its own configuration, none of them in memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return sum(each.numel() for each in AutoModelForCausalLM.from_config(config).parameters())


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
    told = json.loads(json.dumps(config.to_dict(), default=str))
    assert read(told).n_params == counted(config)


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


def test_experts_of_their_own_width() -> None:
    config = CONFIGS["deepseek-v4-pro"]
    stored = PUBLISHED["deepseek-v4-pro"].precision
    by_group = {m.group: stored.formats(m) for m in matrices(PUBLISHED["deepseek-v4-pro"].spec)}
    assert config["expert_dtype"] == "fp4"
    assert by_group["expert"][0][1].name == "mxfp4" and by_group["shared_expert"][0][1].name == "fp8"


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
        ({"model_type": "gpt_oss", "layer_types": ["sliding_attention"] * 2}, "sliding_window|num_local_experts"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "spelt"),
        ({"num_nextn_predict_layers": 10**8}, "draft"),
        ({"text_config": {"text_config": {"text_config": {"text_config": {}}}}}, "model_type|has no"),
    ],
)
def test_what_describes_no_decoder_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    refuses(lambda: read({**TINY, **change}), words)


@pytest.mark.parametrize(
    ("quantized", "words"),
    [
        ({"quant_method": "magic"}, "no quant_method 'magic'"),
        ({"bits": 4}, "quant_method"),
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
    ],
)
def test_a_model_is_found_by_any_name_of_it(text: str, id: str, width: str) -> None:
    spec, stored = find(text)
    assert (spec.id, stored.name, model(text).id) == (id, width, id)


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
