"""How do the families of models differ? A row of options for each `model_type`, and no branch anywhere else.

An option that names a field holds where the field is true (`qkv_bias="attention_bias"`). `defaults` are what a
config.json may leave out, by the field's own name. Families that differ in names alone share a row (`SAME_AS`).
Sources: the configurations and models of `transformers` 5.23, which the tests count against.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Extra = tuple[str, str, str, int | str, int | str, int | str]  # (where, name, group, n_in, n_out, copies)


@dataclass(frozen=True, kw_only=True)
class Family:
    """The options of one family; the plainest is Llama."""

    # which layers
    full: str = "attention"  # what a layer that the config calls full mixes with: attention, latent, sparse, both
    linear: str = "gated_delta"  # what one that it calls linear mixes with: gated_delta, mamba, mamba1, kda, lightning
    period: int | str = 1  # every so many layers one is full, or the field that says how many; 1: all
    others: str = "window"  # what the rest are
    windows: str = "typed"  # sliding_window holds in layers of that type; all: in every layer; late: from a layer on
    # attention
    qkv_bias: bool | str = False
    o_bias: bool | str = False
    qk_norm: str = ""  # head: a scale of d_head each; width: of all heads; biased: of d_head with a bias
    qk_norm_if: str = ""  # the field that decides
    gate: str = ""  # double: queries are twice as wide; head: a gate a head; full: a gate of their width
    gate_if: str = ""  # the field that decides that; false: full
    sinks: str = ""  # all, or window: a number a head
    value_width: bool = False  # keys and values differ in width
    full_fields: Mapping[str, str] = field(default_factory=dict)  # sizes of full layers under fields of their own
    window_fields: Mapping[str, str] = field(default_factory=dict)
    # norms
    norm: str = "rms"
    norms: int = 2
    norms_if: tuple[str, int] = ("", 0)  # the field that decides, and how many they are then
    # feed-forward
    mlp: str = "swiglu"
    mlp_bias: bool | str = False
    dense_width: str = "d_ff"
    sparse: str = ""  # which layers have experts; none: no layer
    expert_width: str = "d_ff_expert"
    expert_bias: bool = False
    router_bias: bool = False
    shared: str = ""  # count: as many as n_shared_experts; else the field that tells their width
    shared_gate: bool = False
    beside: bool = False  # the MLP stays beside the experts
    twice: bool = False  # attention and MLP come twice in a layer
    # the rest
    tied: bool = False
    positions: str = "rope"
    more_positions: int = 0
    parallel: bool = False
    head_bias: bool | str = False
    extras: tuple[Extra, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)  # self_attn and mlp under other names
    experts: str = "gate_proj up_proj down_proj"


_QWEN2 = Family(qkv_bias=True, windows="late")
_QWEN3 = Family(qkv_bias="attention_bias", o_bias="attention_bias", qk_norm="head", windows="late")
_QWEN_MOE = replace(_QWEN3, sparse="step", windows="typed")
_QWEN_NEXT = replace(
    _QWEN3,
    windows="typed",
    period="full_attention_interval",
    others="linear",
    gate="double",
    defaults={"full_attention_interval": 4, "head_dim": 256},
)
_SHARED_GATE: dict[str, Any] = {"sparse": "step", "shared": "shared_expert_intermediate_size", "shared_gate": True}
_LLAMA = Family(qkv_bias="attention_bias", o_bias="attention_bias", mlp_bias="mlp_bias")
_PLAIN = Family(qkv_bias="attention_bias", o_bias="attention_bias")
_GEMMA2 = replace(_PLAIN, norms=4, tied=True, period=2, defaults={"head_dim": 256})
_GEMMA3 = replace(
    _GEMMA2,
    period="sliding_window_pattern",
    qk_norm="head",
    defaults={
        "sliding_window_pattern": 6,
        "head_dim": 256,
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
)
_ALTUP: tuple[Extra, ...] = (
    ("layer", "altup_scale", "vector", 1, "d_model", 1),
    ("layer", "altup_correction", "mlp", "altup_num_inputs", "altup_num_inputs", 1),
    ("layer", "altup_prediction", "mlp", "altup_num_inputs", "altup_num_inputs*altup_num_inputs", 1),
    ("layer", "altup_router", "router", "d_model", "altup_num_inputs", 1),
    ("layer", "laurel_left", "mlp", "d_model", "laurel_rank", 1),
    ("layer", "laurel_right", "mlp", "laurel_rank", "d_model", 1),
    ("layer", "altup_norm", "norm", 1, "d_model", 2),
    ("model", "altup", "mlp", "d_model", "d_model", "2*altup_num_inputs-1"),
)
_PER_LAYER: tuple[Extra, ...] = (
    ("layer", "layer_input_gate", "mlp", "d_model", "hidden_size_per_layer_input", 1),
    ("layer", "layer_input_up", "mlp", "hidden_size_per_layer_input", "d_model", 1),
    ("layer", "layer_input_norm", "norm", 1, "d_model", 1),
    ("model", "layer_table", "embedding", "vocab_size_per_layer_input", "n_layers*hidden_size_per_layer_input", 1),
    ("model", "layer_table_in", "mlp", "d_model", "n_layers*hidden_size_per_layer_input", 1),
    ("model", "layer_table_norm", "norm", 1, "hidden_size_per_layer_input", 1),
)
_GEMMA4 = replace(
    _GEMMA3,
    full_fields={"d_head": "global_head_dim", "n_kv_heads": "num_global_key_value_heads"},
    sparse="gemma4",
    beside=True,
    extras=(
        *(("if hidden_size_per_layer_input " + extra[0], *extra[1:]) for extra in _PER_LAYER),
        ("sparse", "router_scale", "vector", 1, "d_model", 1),
        ("sparse", "expert_scale", "vector", 1, "n_experts", 1),
        ("sparse", "expert_norm", "norm", 1, "d_model", 3),
    ),
    defaults={
        "sliding_window_pattern": 6,
        "head_dim": 256,
        "global_head_dim": 512,
        "vocab_size": 262144,
        "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256,
        "sliding_window": 512,
    },
)
_DEEPSEEK = replace(_PLAIN, full="latent", sparse="first", shared="count", defaults={"first_k_dense_replace": 3})
_SPARSE = replace(_DEEPSEEK, full="sparse")
_HC: tuple[Extra, ...] = (
    ("layer", "residual_mix", "mlp", "hc_mult*d_model", "hc_mult*hc_mult+2", 2),
    ("layer", "residual_base", "vector", 1, "hc_mult*hc_mult+2", 2),
    ("layer", "residual_scale", "vector", 1, 3, 2),
    ("model", "residual_mix", "mlp", "hc_mult*d_model", "hc_mult", 1),
    ("model", "residual_base", "vector", 1, "hc_mult+1", 1),
)
_GPT2 = Family(norm="layer", mlp="gelu", qkv_bias=True, o_bias=True, mlp_bias=True, tied=True, positions="learned")
_MAMBA = Family(full="mamba", norms=1, mlp="none", defaults={"use_conv_bias": True})
_GRANITE_MOE = replace(
    _PLAIN, sparse="all", expert_width="d_ff", shared="shared_intermediate_size", modules={"mlp": "block_sparse_moe"}
)
_GLM4 = Family(qkv_bias="attention_bias", norms=4, defaults={"attention_bias": True})

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "arcee": replace(_LLAMA, mlp="relu"),
    "cwm": replace(_LLAMA, defaults={"sliding_window": 8192}),
    "smollm3": replace(_LLAMA, tied=True),
    "hyperclovax": replace(_LLAMA, norms_if=("use_post_norm", 4), defaults={"use_post_norm": True}),
    "mistral": replace(_PLAIN, windows="all"),
    "ministral": replace(_PLAIN, qkv_bias=False, o_bias=False),
    "helium": replace(_PLAIN, mlp_bias="mlp_bias", o_bias=False),
    "internlm3": replace(_LLAMA, qkv_bias="qkv_bias", o_bias="bias", mlp_bias="bias"),
    "granite": _LLAMA,
    "mixtral": replace(
        _PLAIN,
        qkv_bias=False,
        o_bias=False,
        windows="all",
        sparse="all",
        expert_width="d_ff",
        modules={"mlp": "block_sparse_moe"},
        experts="w1 w3 w2",
    ),
    "qwen2": _QWEN2,
    "qwen2_moe": replace(
        _QWEN_MOE, qkv_bias="qkv_bias", o_bias=False, qk_norm="", defaults={"qkv_bias": True}, **_SHARED_GATE
    ),
    "qwen3": _QWEN3,
    "qwen3_moe": _QWEN_MOE,
    "qwen3_next": replace(_QWEN_NEXT, **_SHARED_GATE),
    "qwen3_5": _QWEN_NEXT,
    "qwen3_5_moe": replace(_QWEN_NEXT, **_SHARED_GATE),
    "gemma": replace(_PLAIN, tied=True, defaults={"head_dim": 256}),
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "gemma3n": replace(
        _GEMMA3,
        extras=(*_ALTUP, *_PER_LAYER),
        defaults={
            **{"sliding_window_pattern": 5, "head_dim": 256, "vocab_size": 262400, "sliding_window": 512},
            **{"num_kv_shared_layers": 15, "altup_num_inputs": 4, "laurel_rank": 64},
            **{"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144},
        },
    ),
    "gemma4": _GEMMA4,
    "gemma4_unified": replace(
        _GEMMA4, defaults={**_GEMMA4.defaults, "hidden_size_per_layer_input": 0, "sliding_window": 1024}
    ),
    "vaultgemma": replace(_GEMMA2, norms=2),
    "gpt_oss": Family(
        qkv_bias="attention_bias",
        o_bias="attention_bias",
        sinks="all",
        period=2,
        sparse="all",
        expert_width="d_ff",
        expert_bias=True,
        router_bias=True,
        defaults={"attention_bias": True},
    ),
    "llama4": replace(
        _PLAIN,
        period="no_rope_layer_interval",
        others="chunk",
        sparse="interleaved",
        expert_width="d_ff",
        dense_width="intermediate_size_mlp",
        shared="d_ff",
        modules={"mlp": "feed_forward"},
        defaults={"no_rope_layer_interval": 4, "interleave_moe_layer_step": 1, "attention_chunk_size": 8192},
    ),
    "phi": Family(
        norm="layer",
        norms=1,
        parallel=True,
        mlp="gelu",
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        head_bias=True,
        qk_norm="biased",
        qk_norm_if="qk_layernorm",
    ),
    "phi3": Family(windows="all"),
    "phimoe": replace(_PLAIN, norm="layer", windows="all", sparse="all", expert_width="d_ff", head_bias="lm_head_bias"),
    "olmo": replace(_PLAIN, norm="none"),
    "olmo2": replace(_PLAIN, qk_norm="width"),
    "olmo3": replace(_PLAIN, qk_norm="width", period=4),
    "olmoe": replace(_PLAIN, qk_norm="width", sparse="all", expert_width="d_ff"),
    "flex_olmo": replace(_PLAIN, qk_norm="width", sparse="all", expert_width="d_ff"),
    "glm": replace(_GLM4, norms=2),
    "glm4": _GLM4,
    "glm4_moe": replace(
        _PLAIN,
        o_bias=False,
        qk_norm="head",
        qk_norm_if="use_qk_norm",
        sparse="first",
        shared="count",
        defaults={"first_k_dense_replace": 1, "n_shared_experts": 1},
    ),
    "solar_open": replace(_PLAIN, o_bias=False, sparse="all", shared="count"),
    "glm4_moe_lite": replace(_DEEPSEEK, defaults={"first_k_dense_replace": 1}),
    "glm_moe_dsa": _SPARSE,
    "deepseek_v2": replace(_DEEPSEEK, mlp_bias="mlp_bias", defaults={"first_k_dense_replace": 0}),
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v32": _SPARSE,
    "deepseek_v4": Family(
        full="compressed",
        sinks="all",
        mlp_bias="mlp_bias",
        sparse="all",
        shared="d_ff_expert",
        extras=_HC,
        defaults={"hc_mult": 4},
    ),
    "youtu": replace(_PLAIN, full="latent", tied=True),
    "minicpm3": replace(_LLAMA, full="latent", tied=True),
    "axk1": replace(
        _DEEPSEEK, defaults={"first_k_dense_replace": 1}, extras=(("sparse", "expert_norm", "norm", 1, "d_model", 1),)
    ),
    "kimi_linear": replace(_DEEPSEEK, linear="kda", defaults={"first_k_dense_replace": 1, "num_shared_experts": 1}),
    "longcat_flash": replace(_PLAIN, full="latent", norms=4, sparse="all", beside=True, twice=True),
    "minimax": Family(
        linear="lightning", sparse="all", expert_width="d_ff", modules={"mlp": "block_sparse_moe"}, experts="w1 w3 w2"
    ),
    "minimax_m2": Family(
        qk_norm="width", sparse="all", expert_width="d_ff", modules={"mlp": "block_sparse_moe"}, experts="w1 w3 w2"
    ),
    "cohere": replace(_PLAIN, norms=1, parallel=True, tied=True, qk_norm="width", qk_norm_if="use_qk_norm"),
    "cohere2": replace(
        _PLAIN,
        norms=1,
        parallel=True,
        tied=True,
        period="sliding_window_pattern",
        defaults={"sliding_window_pattern": 4},
    ),
    "granitemoe": _GRANITE_MOE,
    "granitemoeshared": _GRANITE_MOE,
    "granite_swa": replace(_LLAMA, sinks="all", tied=True, defaults={"sliding_window": 128}),
    "granitemoe_swa": replace(_GRANITE_MOE, sinks="all", defaults={"sliding_window": 128}),
    "granitemoehybrid": replace(
        _GRANITE_MOE,
        linear="mamba",
        sparse="some",
        defaults={"shared_intermediate_size": 1024, "mamba_conv_bias": True, "mamba_n_groups": 1},
    ),
    "nemotron": replace(_LLAMA, norm="layer", mlp="relu"),
    "nemotron_h": Family(
        mlp_bias="mlp_bias",
        linear="mamba",
        norms=1,
        mlp="relu",
        sparse="typed",
        shared="moe_shared_expert_intermediate_size",
        modules={"self_attn": "mixer", "mlp": "mixer", "mamba": "mixer"},
        defaults={"use_conv_bias": True, "n_groups": 8},
    ),
    "falcon": Family(norm="layer", mlp="gelu", qkv_bias="bias", o_bias="bias", mlp_bias="bias", tied=True),
    "falcon_h1": replace(
        _LLAMA,
        full="both",
        linear="mamba",
        modules={"mlp": "feed_forward"},
        defaults={"mamba_conv_bias": True, "mamba_n_groups": 1},
    ),
    "bamba": replace(_LLAMA, linear="mamba", defaults={"mamba_conv_bias": True, "mamba_n_groups": 1}),
    "jamba": Family(
        linear="mamba1",
        sparse="period",
        expert_width="d_ff",
        defaults={
            **{"attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2, "expert_layer_offset": 1},
            "mamba_conv_bias": True,
        },
    ),
    "mamba2": replace(_MAMBA, defaults={**_MAMBA.defaults, "n_groups": 8}),
    "mamba": replace(_MAMBA, full="mamba1", tied=True),
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "opt": replace(
        _GPT2,
        mlp="relu",
        qkv_bias="enable_bias",
        o_bias="enable_bias",
        mlp_bias="enable_bias",
        more_positions=2,
        defaults={"enable_bias": True},
    ),
    "gpt_neox": Family(
        norm="layer",
        mlp="gelu",
        qkv_bias="attention_bias",
        o_bias="attention_bias",
        mlp_bias=True,
        defaults={"attention_bias": True},
    ),
    "gptj": Family(norm="layer", norms=1, mlp="gelu", mlp_bias=True, head_bias=True, parallel=True),
    "starcoder2": Family(
        norm="layer",
        mlp="gelu",
        qkv_bias="use_bias",
        o_bias="use_bias",
        mlp_bias="use_bias",
        tied=True,
        windows="all",
        defaults={"use_bias": True},
    ),
    "stablelm": Family(
        norm="layer",
        norms_if=("use_parallel_residual", 1),
        qkv_bias="use_qkv_bias",
        qk_norm="width",
        qk_norm_if="qk_layernorm",
    ),
    "ernie4_5": Family(
        qkv_bias="use_bias", o_bias="use_bias", mlp_bias="use_bias", tied=True, defaults={"head_dim": 128}
    ),
    "ernie4_5_moe": Family(
        qkv_bias="use_bias",
        o_bias="use_bias",
        mlp_bias="use_bias",
        head_bias="use_bias",
        tied=True,
        sparse="ernie",
        router_bias=True,
        shared="count",
        defaults={"moe_layer_start_index": 1, "moe_layer_interval": 1, "moe_num_shared_experts": 2},
    ),
    "hunyuan_v1_dense": replace(_PLAIN, qk_norm="head"),
    "hunyuan_v1_moe": replace(_PLAIN, qk_norm="head", sparse="all", expert_width="d_ff", shared="d_ff"),
    "hy_v3": replace(_LLAMA, qk_norm="head", sparse="first", shared="count", defaults={"first_k_dense_replace": 1}),
    "exaone4": Family(qk_norm="head", period="sliding_window_pattern", defaults={"sliding_window_pattern": 4}),
    "exaone_moe": Family(
        qk_norm="head",
        period="sliding_window_pattern",
        sparse="first",
        shared="count",
        defaults={"sliding_window_pattern": 4, "first_k_dense_replace": 1, "num_shared_experts": 1},
    ),
    "seed_oss": Family(
        qkv_bias="attention_bias", o_bias="attention_out_bias", mlp_bias="mlp_bias", defaults={"attention_bias": True}
    ),
    "apertus": replace(_PLAIN, qk_norm="head", mlp="relu", extras=(("layer", "activation", "vector", 1, 2, 1),)),
    "afmoe": replace(
        _PLAIN,
        qk_norm="head",
        gate="full",
        norms=4,
        period="global_attn_every_n_layers",
        sparse="first",
        router_bias=True,
        shared="count",
        defaults={"global_attn_every_n_layers": 4, "num_dense_layers": 1},
    ),
    "dots1": replace(_PLAIN, qk_norm="head", sparse="first", shared="count", windows="late"),
    "laguna": replace(
        _PLAIN,
        qk_norm="head",
        gate="head",
        gate_if="gating",
        sparse="first",
        router_bias=True,
        shared="shared_expert_intermediate_size",
        defaults={"first_k_dense_replace": 1, "gating": True},
    ),
    "mellum": replace(_PLAIN, qk_norm="head", sparse="all"),
    "mimo_v2_flash": replace(
        _PLAIN,
        o_bias=False,
        sinks="window",
        value_width=True,
        sparse="first",
        defaults={"first_k_dense_replace": 1},
        window_fields={"n_kv_heads": "swa_num_key_value_heads", "d_head": "swa_head_dim", "d_value": "swa_v_head_dim"},
    ),
    "step3p5": replace(
        _PLAIN,
        qk_norm="head",
        gate="head",
        sparse="step3",
        shared="share_expert_dim",
        window_fields={"n_heads": "num_sliding_attention_heads"},
        defaults={"share_expert_dim": 1280, "head_dim": 128},
    ),
    "lfm2": Family(qk_norm="head", tied=True, modules={"mlp": "feed_forward"}, experts="w1 w3 w2"),
    "lfm2_moe": Family(
        qk_norm="head",
        tied=True,
        sparse="first",
        modules={"mlp": "feed_forward"},
        experts="w1 w3 w2",
        defaults={"num_dense_layers": 2},
    ),
    "persimmon": Family(
        norm="layer",
        mlp="relu",
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        qk_norm="biased",
        qk_norm_if="qk_layernorm",
        defaults={"qk_layernorm": True},
    ),
    "bitnet": replace(
        _PLAIN,
        extras=(("layer", "attention_norm", "norm", 1, "d_model", 1), ("layer", "mlp_norm", "norm", 1, "d_ff", 1)),
    ),
    "nanochat": replace(_PLAIN, norm="none", mlp="relu"),
    "jais2": replace(_LLAMA, norm="layer", mlp="relu", defaults={"attention_bias": True, "mlp_bias": True}),
    "bloom": Family(
        norm="layer",
        mlp="gelu",
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        tied=True,
        extras=(("model", "embedding_norm", "norm", 1, "d_model", 2),),
        defaults={"max_position_embeddings": 2048},
    ),
    "olmo_hybrid": replace(_PLAIN, qk_norm="width", period=4, others="linear"),
}

SAME_AS = {  # another name for the same shape; of a multimodal model, its text part
    **{name: "llama" for name in ("iquestcoder", "yi", "deepseek", "internlm2", "aquila", "exaone_llama")},
    **{name: "mistral" for name in ("ministral3", "mistral3", "mistral4_text")},
    "mimo": "qwen2",
    **{name: "qwen3" for name in ("qwen3_vl", "qwen3_vl_text")},
    **{name: "qwen3_moe" for name in ("qwen3_vl_moe", "qwen3_vl_moe_text")},
    **{name: "qwen2" for name in ("qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text")},
    **{f"{name}_text": name for name in ("qwen3_5", "qwen3_5_moe", "gemma3", "gemma3n", "gemma4", "llama4")},
    **{name: "deepseek_v3" for name in ("kimi_k2", "kimi_k25")},
    "falcon_mamba": "mamba",
    "gemma4_unified_text": "gemma4_unified",
    "deepseek_ref": "deepseek_v4",
    "granite_moe_hybrid": "granitemoehybrid",
    **{name: "step3p5" for name in ("step3p7", "step3p7_text")},
    "minimax_text_01": "minimax",
    "minimax_m1": "minimax",
    "glm4v_moe_text": "glm4_moe",
}
