"""How did a family once say it? Fields of older and of published files, told as the newest ones say them.

The first `transformers` release of a family is seldom the last word on its config.json: Nemotron-H spells its layers
as a word (`M*-E`), Kimi counts them from one, MiniMax writes 0 and 1, DeepSeek-V4 lists how many tokens an entry is.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bytebill.errors import require
from bytebill.models.config_json.fields import Fields

Config = Mapping[str, Any]
_LETTERS = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}


def modern(family: str, config: Config) -> dict[str, Any]:
    """A config with what its family once said otherwise said anew."""
    fields = Fields(config)
    for field in ("layer_types", "mlp_layer_types"):
        fields.listed(field)
    return {
        **config,
        **{key: value for key, value in _REWRITE.get(family, _as_it_is)(fields).items() if value is not None},
    }


def _as_it_is(fields: Fields) -> dict[str, Any]:
    return {}


def _nemotron_h(fields: Fields) -> dict[str, Any]:
    word = fields.get("hybrid_override_pattern")
    types = fields.listed("layers_block_type")
    if types is None and word is not None:
        require(isinstance(word, str) and set(word) <= set(_LETTERS), f"its layers are spelt with {'/'.join(_LETTERS)}")
        types = [_LETTERS[letter] for letter in word]
    require(types is not None or fields.listed("layer_types") is not None, "it has no 'hybrid_override_pattern'")
    n_layers = len(types or fields.listed("layer_types") or ())
    return {"layer_types": types, "num_hidden_layers": n_layers, "mamba_proj_bias": fields.get("use_bias")}


def _kimi_linear(fields: Fields) -> dict[str, Any]:
    told = Fields(fields.mapping("linear_attn_config"))
    n_layers, listed = fields.n_layers, told.listed("full_attn_layers")  # counted from one
    full = list(range(5, n_layers + 1, 4)) if listed is None else listed  # as transformers has it
    types = ["full_attention" if i + 1 in full else "linear_attention" for i in range(n_layers)]
    return {
        "layer_types": fields.listed("layer_types") or types,
        "linear_num_heads": told.get("num_heads"),
        "linear_head_dim": told.get("head_dim"),
        "linear_conv_kernel_dim": told.get("short_conv_kernel_size"),
    }


def _minimax(fields: Fields) -> dict[str, Any]:
    told = fields.listed("attn_type_list")
    types = [("linear_attention", "full_attention")[i % 2 == 0] for i in range(fields.n_layers)]
    if told is not None:
        types = ["full_attention" if each else "linear_attention" for each in told]
    return {"layer_types": fields.listed("layer_types") or types}


def _bamba(fields: Fields) -> dict[str, Any]:
    full = fields.listed("attn_layer_indices") or []
    types = ["full_attention" if i in full else "linear_attention" for i in range(fields.n_layers)]
    return {"layer_types": fields.listed("layer_types") or types}


def _granite_hybrid(fields: Fields) -> dict[str, Any]:
    return {"layer_types": fields.listed("layer_types") or ["linear_attention"] * fields.n_layers}


def _jamba(fields: Fields) -> dict[str, Any]:
    period, offset = fields.count("attn_layer_period"), fields.count("attn_layer_offset", least=0)
    types = ["full_attention" if i % period == offset else "linear_attention" for i in range(fields.n_layers)]
    period, offset = fields.count("expert_layer_period"), fields.count("expert_layer_offset", least=0)
    many = fields.count("n_experts") > 1
    sparse = ["sparse" if many and i % period == offset else "dense" for i in range(fields.n_layers)]
    return {"layer_types": fields.listed("layer_types") or types, "mlp_layer_types": sparse}


def _every_fourth(fields: Fields) -> dict[str, Any]:
    """The first layer is full, and every fourth after it."""
    types = ["sliding_attention" if i % 4 else "full_attention" for i in range(fields.n_layers)]
    return {"layer_types": fields.listed("layer_types") or types}


def _falcon(fields: Fields) -> dict[str, Any]:
    n_heads, new = fields.count("n_heads"), fields.flag("new_decoder_architecture")
    n_kv = fields.count("n_kv_heads", n_heads) if new else 1 if fields.flag("multi_query", True) else n_heads
    return {"num_key_value_heads": n_kv, **_four_times(fields)}


def _gpt(fields: Fields) -> dict[str, Any]:
    narrow = fields.values.get("model_type") == "gpt_bigcode" and fields.flag("multi_query", True)
    return {**_four_times(fields), "num_key_value_heads": 1 if narrow else fields.count("n_heads")}


def _four_times(fields: Fields) -> dict[str, Any]:
    return {"intermediate_size": fields.count("d_ff", 4 * fields.count("d_model"))}


def _opt(fields: Fields) -> dict[str, Any]:
    width = fields.count("word_embed_proj_dim", fields.count("d_model"))
    require(width == fields.count("d_model"), "its 'word_embed_proj_dim' differs from its 'hidden_size'")
    require(fields.flag("do_layer_norm_before", True), "its 'do_layer_norm_before' is false")
    return {}


def _lfm2(fields: Fields) -> dict[str, Any]:
    full = fields.listed("full_attn_idxs")
    types = ["full_attention" if full is None or i in full else "conv" for i in range(fields.n_layers)]
    told = {"layer_types": fields.listed("layer_types") or types, "tie_word_embeddings": fields.get("tie_embedding")}
    if fields.values.get("model_type") != "lfm2" or not fields.flag("block_auto_adjust_ff_dim", True):
        return told
    width = int(fields.number("block_ffn_dim_multiplier", 1.0) * int(2 * fields.count("d_ff") / 3))
    step = fields.count("block_multiple_of", 256)
    return {**told, "intermediate_size": step * -(-width // step)}


def _mimo_v2(fields: Fields) -> dict[str, Any]:
    windows, experts = fields.listed("hybrid_layer_pattern"), fields.listed("moe_layer_freq")
    require(windows is not None or fields.listed("layer_types") is not None, "it has no 'hybrid_layer_pattern'")
    return {
        "layer_types": windows and ["sliding_attention" if each else "full_attention" for each in windows],
        "mlp_layer_types": experts and ["sparse" if each else "dense" for each in experts],
        "swa_num_key_value_heads": fields.get("swa_num_key_value_heads") or 2 * fields.count("n_kv_heads"),
    }


def _step(fields: Fields) -> dict[str, Any]:
    told = fields.get("moe_layers_enum")
    try:
        listed = told.split(",") if isinstance(told, str) else told
        sparse = None if listed is None else {int(each) for each in listed}
    except (TypeError, ValueError):
        require(False, "its 'moe_layers_enum' is no list of layers")
    first = fields.count("first_k_dense_replace", 3, least=0)
    types = ["sparse" if (i >= first if sparse is None else i in sparse) else "dense" for i in range(fields.n_layers)]
    return {
        "mlp_layer_types": fields.listed("mlp_layer_types") or types,
        "num_sliding_attention_heads": fields.get("num_sliding_attention_heads")
        or fields.mapping("attention_other_setting").get("num_attention_heads"),
    }


def _deepseek_v4(fields: Fields) -> dict[str, Any]:
    strides = fields.listed("compress_ratios")
    rates = fields.mapping("compress_rates")
    named = {
        "sliding_attention": 0,
        "compressed_sparse_attention": rates.get("compressed_sparse_attention", 4),
        "heavily_compressed_attention": rates.get("heavily_compressed_attention", 128),
    }
    if strides is None:
        types = fields.listed("layer_types") or []
        require(all(each in named for each in types), f"its layers are of the types {', '.join(named)}")
        strides = [named[each] for each in types]
    require(len(strides) >= fields.n_layers, "its 'compress_ratios' are fewer than its layers")
    return {"compress_ratios": strides, "layer_types": ["full_attention"] * fields.n_layers}


def _ernie(fields: Fields) -> dict[str, Any]:
    first, every = fields.count("moe_layer_start_index", least=0), fields.count("moe_layer_interval")
    last = fields.count("moe_layer_end_index", fields.n_layers - 1, least=-1)
    last = fields.n_layers - 1 if last == -1 else last
    return {
        "mlp_layer_types": [
            "sparse" if first <= i <= last and (i + 1) % every == 0 else "dense" for i in range(fields.n_layers)
        ]
    }


def _gemma4(fields: Fields) -> dict[str, Any]:
    every = fields.count("sliding_window_pattern")
    types = fields.listed("layer_types") or [
        "sliding_attention" if (i + 1) % every else "full_attention" for i in range(fields.n_layers)
    ]
    ends = [*types[:-1], "full_attention"]  # as transformers has it
    gated = fields.values.get("model_type") != "gemma4_unified_text"
    narrow = None if not gated or fields.flag("attention_k_eq_v") else fields.get("n_kv_heads")
    sparse = ["sparse" if fields.flag("enable_moe_block") else "dense"] * fields.n_layers
    return {"layer_types": ends, "num_global_key_value_heads": narrow, "mlp_layer_types": sparse}


_REWRITE: dict[str, Callable[[Fields], dict[str, Any]]] = {
    "nemotron_h": _nemotron_h,
    "kimi_linear": _kimi_linear,
    "minimax": _minimax,
    "bamba": _bamba,
    "granitemoehybrid": _granite_hybrid,
    "jamba": _jamba,
    "cwm": _every_fourth,
    "granite_swa": _every_fourth,
    "granitemoe_swa": _every_fourth,
    "falcon": _falcon,
    "gpt2": _gpt,
    "gpt_bigcode": _gpt,
    "gptj": _four_times,
    "bloom": _four_times,
    "opt": _opt,
    "lfm2": _lfm2,
    "lfm2_moe": _lfm2,
    "mimo_v2_flash": _mimo_v2,
    "step3p5": _step,
    "deepseek_v4": _deepseek_v4,
    "ernie4_5_moe": _ernie,
    "gemma4": _gemma4,
    "gemma4_unified": _gemma4,
}
