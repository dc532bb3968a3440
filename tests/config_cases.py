"""Configs that several tests read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bytebill import data
from bytebill.models import ModelSpec, precision
from bytebill.models.config_json import read_config

BF16, GIB = precision("bf16"), 2**30
CONFIGS: dict[str, dict[str, Any]] = {row["id"]: json.loads(row["config"]) for row in data.rows("model_configs")}
TINY = {
    **{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128},
    **{"num_attention_heads": 4, "vocab_size": 320, "max_position_embeddings": 512},
}


def read(config: Mapping[str, Any], **changes: Any) -> ModelSpec:
    return read_config({**config, **changes}, id="tiny", name="tiny")


MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENTS = {"q_lora_rank": 24, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
STATES = {"mamba_n_heads": 8, "mamba_d_state": 8, "num_key_value_heads": 2}
SIX: dict[str, Any] = {
    **{**TINY, **LATENTS, **MIXTURE, **STATES, "num_hidden_layers": 6, "num_key_value_heads": 4, "head_dim": 24},
    **{"num_local_experts": 4, "sliding_window": 8, "attention_chunk_size": 16, "intermediate_size_mlp": 96},
    **{"linear_num_heads": 2, "linear_head_dim": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2},
    **{"linear_key_head_dim": 16, "linear_value_head_dim": 8, "o_groups": 2, "o_lora_rank": 8, "index_topk": 4},
    **{"index_n_heads": 2, "index_head_dim": 16, "ssm_state_size": 8, "swa_num_key_value_heads": 4},
}
LISTED = {"hybrid_layer_pattern": [0] * 6, "moe_layer_freq": [1] * 6, "compress_ratios": [4] * 6, "n_shared_experts": 1}


def compressed(bits: int, kind: str, *, activations: int | None = None, **weights: Any) -> dict[str, Any]:
    group = {
        "targets": ["Linear"],
        "weights": {"num_bits": bits, "type": kind, **weights},
        "input_activations": activations and {"num_bits": activations, "type": kind},
    }
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head"]}
