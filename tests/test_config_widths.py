"""Of a config.json: in which formats a checkpoint holds its weights and its cache."""

from __future__ import annotations

from typing import Any

import pytest

from bytebill.models import PUBLISHED, matrices, model, weight_bytes
from bytebill.models.config_json import stored_precision
from config_cases import CONFIGS, GIB, LISTED, SIX, TINY, compressed, read
from conftest import refuses


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
