"""How do tokens meet in a layer? Each kind of mixer: its matrices, what it caches of tokens, what state it keeps.

    pair_flops  = 4 * N * H  (2 N H for scores, 2 N H_v for values)      of a latent, absorbed: 2 N (2 c + r)
    token_flops = 2 FLOPs for each value of a state that is written, 2 where it is read, 2 more where a delta rule
                  reads it before it writes

Symbols: N query heads, K KV heads, H and H_v widths of a head's key and value, c and r the latent and its rotary key.
Packed entries are those of vLLM: a sparse latent keeps c bytes, 4 bytes of scale for each 128 and r values at 16 bits
(656 bytes at 512 and 64), one of DeepSeek-V4 a byte of scale for each 64 (584 bytes at 448 and 64, one of padding),
an index key its values and 4 bytes of scale (132 at 128).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil

from bytebill.errors import require
from bytebill.models.config_json.families import Family
from bytebill.models.config_json.fields import Fields
from bytebill.models.config_json.parts import Mixer, Part, linear, vector
from bytebill.models.layers import Expanded, SequenceState, TokenCache

STATE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "auto": 2.0}
SCALED, SCALE_BYTES, WIDE_BYTES = 128, 4, 2


def attention(fields: Fields, family: Family, *, name: str, reach: int | None, shared: bool = False) -> Mixer:
    """Queries, keys and values by head; a layer that shares another's cache has neither keys nor values."""
    d_model, n_heads = fields.count("d_model"), fields.count("n_heads")
    n_kv = fields.count("n_kv_heads", n_heads)
    d_head = fields.count("d_head", max(1, d_model // n_heads))
    d_value = fields.count("d_value", d_head) if family.value_width else d_head
    require(n_heads % n_kv == 0, f"its {n_heads} heads cannot share {n_kv} KV heads evenly")
    bias, same = holds(fields, family.qkv_bias), fields.flag("attention_k_eq_v") and name != "window"
    wide = 2 if family.gate == "double" else 1
    parts = list(linear("q", "attention", d_model, wide * n_heads * d_head, *module("q_proj"), bias=bias))
    if not shared:
        parts += linear("k", "attention", d_model, n_kv * d_head, *module("k_proj"), bias=bias)
        parts += () if same else linear("v", "attention", d_model, n_kv * d_value, *module("v_proj"), bias=bias)
    parts += linear("o", "attention", n_heads * d_value, d_model, *module("o_proj"), bias=holds(fields, family.o_bias))
    parts += _gate(fields, family, n_heads * d_value, n_heads)
    if family.qk_norm and (not family.qk_norm_if or fields.flag(family.qk_norm_if)):
        parts += _qk_norms(family.qk_norm, n_heads, 0 if shared else n_kv, d_head)
    if family.sinks == "all" or (family.sinks == "window" and name == "window"):
        parts.append(vector("sinks", n_heads))
    kept = TokenCache(
        n_values=n_kv * (d_head + d_value), n_heads=n_kv, pair_flops=2 * n_heads * (d_head + d_value), reach=reach
    )
    return Mixer(name="shared" if shared else name, parts=tuple(parts), caches=() if shared else (kept,))


def latent(fields: Fields, family: Family, *, name: str, reach: int | None) -> Mixer:
    """Multi-head latent attention, with an index that chooses what it reads where there is one."""
    d_model, n_heads = fields.count("d_model"), fields.count("n_heads")
    rank, d_rope = fields.count("kv_lora_rank"), fields.count("qk_rope_head_dim")
    d_nope, d_value = fields.count("qk_nope_head_dim"), fields.count("v_head_dim")
    q_rank = fields.count("q_lora_rank", 0, least=0)
    bias = holds(fields, family.qkv_bias)
    parts: list[Part] = []
    if q_rank:
        parts += linear("q_down", "attention", d_model, q_rank, *module("q_a_proj", "fused_qkv_a_proj"), bias=bias)
        parts.append(vector("q_latent_norm", q_rank, group="norm"))
        parts += linear("q_up", "attention", q_rank, n_heads * (d_nope + d_rope), *module("q_b_proj"))
    else:
        parts += linear("q", "attention", d_model, n_heads * (d_nope + d_rope), *module("q_proj"))
    down = module("kv_a_proj_with_mqa", "fused_qkv_a_proj")
    parts += linear("kv_down", "attention", d_model, rank + d_rope, *down, bias=bias)
    parts.append(vector("kv_latent_norm", rank, group="norm"))
    parts += linear("kv_up", "attention", rank, n_heads * (d_nope + d_value), *module("kv_b_proj"))
    parts += linear("o", "attention", n_heads * d_value, d_model, *module("o_proj"), bias=holds(fields, family.o_bias))
    sparse = name == "sparse"
    kept = TokenCache(
        n_values=rank + d_rope,
        pair_flops=2 * n_heads * (2 * rank + d_rope),
        expanded=None if sparse else Expanded.of(n_heads, rank=rank, d_nope=d_nope, d_rope=d_rope, d_value=d_value),
        reach=reach,
        top_k=fields.count("index_topk") if sparse else None,
        packed_bytes=rank + SCALE_BYTES * ceil(rank / SCALED) + WIDE_BYTES * d_rope if sparse else None,
    )
    caches = [kept]
    if sparse and fields.get("indexer_types") != "shared":  # an index may serve several layers
        index_parts, index = _index(fields, q_rank)
        parts += index_parts
        caches.append(index)
    return Mixer(name=name, parts=tuple(parts), caches=tuple(caches))


def compressed(fields: Fields, family: Family, *, stride: int) -> Mixer:
    """DeepSeek-V4: one key that is the value too, the last ones in a window, older ones several to an entry."""
    d_model, n_heads, d_head = fields.count("d_model"), fields.count("n_heads"), fields.count("d_head")
    q_rank, window = fields.count("q_lora_rank"), fields.count("sliding_window")
    groups, o_rank = fields.count("o_groups"), fields.count("o_lora_rank")
    parts = [
        vector("sinks", n_heads),
        *linear("q_down", "attention", d_model, q_rank, *module("q_a_proj", "wq_a")),
        vector("q_latent_norm", q_rank, group="norm"),
        *linear("q_up", "attention", q_rank, n_heads * d_head, *module("q_b_proj", "wq_b")),
        *linear("kv", "attention", d_model, d_head, *module("kv_proj", "wkv")),
        vector("kv_norm", d_head, group="norm"),
        *linear("o_down", "attention", n_heads * d_head // groups, groups * o_rank, *module("o_a_proj", "wo_a")),
        *linear("o_up", "attention", groups * o_rank, d_model, *module("o_b_proj", "wo_b")),
    ]
    d_rope = fields.count("qk_rope_head_dim", d_head // 8)
    packed = d_head + d_rope + ceil((d_head - d_rope) / 64) + 1
    kept = TokenCache(n_values=d_head, pair_flops=4 * n_heads * d_head, packed_bytes=packed)
    caches = [replace(kept, reach=window)]
    if stride:
        overlap = 2 if fields.get("index_topk") and stride == least_stride(fields) else 1
        parts += _compressor("", stride, overlap, d_model, d_head)
        top_k = fields.count("index_topk") if overlap == 2 else None
        caches.append(replace(kept, stride=stride, top_k=top_k))
        if overlap == 2:
            n_index, d_index = fields.count("index_n_heads"), fields.count("index_head_dim")
            parts += _compressor("index_", stride, overlap, d_model, d_index)
            parts += linear("index_q", "attention", q_rank, n_index * d_index, *module("compressor.indexer.q_b_proj"))
            parts += linear("index_weights", "attention", d_model, n_index)
            caches.append(_index_cache(n_index, d_index, stride))
    return Mixer(name="compressed" if stride else "window", parts=tuple(parts), caches=tuple(caches))


def least_stride(fields: Fields) -> int:
    """Tokens to an entry where an index chooses among the entries."""
    return int(fields.mapping("compress_rates").get("compressed_sparse_attention", 4))


def gated_delta(fields: Fields, family: Family) -> Mixer:
    """Qwen3-Next's linear attention: a delta rule with a gate, and a convolution before it."""
    d_model, kernel = fields.count("d_model"), fields.count("linear_conv_kernel_dim", 4)
    d_key, d_value = fields.count("linear_key_head_dim"), fields.count("linear_value_head_dim")
    n_value = fields.count("linear_num_value_heads")
    keys, values = fields.count("linear_num_key_heads") * d_key, n_value * d_value
    parts = [
        *linear("in", "recurrent", d_model, 2 * (keys + values), "linear_attn.in_proj_qkvz", "linear_attn.in_proj_qkv"),
        *linear("in_ba", "recurrent", d_model, 2 * n_value, "linear_attn.in_proj_ba", "linear_attn.in_proj_b"),
        *linear("conv", "recurrent", kernel, 2 * keys + values),
        vector("decay", n_value, copies=2),
        vector("out_norm", d_value, group="norm"),
        *linear("out", "recurrent", values, d_model, "linear_attn.out_proj"),
    ]
    state = _state(fields, n_value * d_key * d_value, (kernel - 1) * (2 * keys + values), n_value, reads=2)
    return Mixer(name="linear", parts=tuple(parts), state=state)


def kda(fields: Fields, family: Family) -> Mixer:
    """Kimi's delta attention: a decay for each channel of a key."""
    d_model, n_heads = fields.count("d_model"), fields.count("linear_num_heads")
    d_head, kernel = fields.count("linear_head_dim"), fields.count("linear_conv_kernel_dim", 4)
    width = n_heads * d_head
    parts = [
        *(part for name in "qkv" for part in linear(name, "recurrent", d_model, width, *module(f"{name}_proj"))),
        *linear("conv", "recurrent", kernel, 3 * width),
        *linear("decay_down", "recurrent", d_model, d_head, *module("f_a_proj")),
        *linear("decay_up", "recurrent", d_head, width, *module("f_b_proj")),
        *linear("beta", "recurrent", d_model, n_heads, *module("b_proj")),
        *linear("gate_down", "recurrent", d_model, d_head, *module("g_a_proj")),
        *linear("gate_up", "recurrent", d_head, width, *module("g_b_proj")),
        vector("decay", width + n_heads),
        vector("out_norm", d_head, group="norm"),
        *linear("out", "recurrent", width, d_model, *module("o_proj")),
    ]
    state = _state(fields, n_heads * d_head * d_head, (kernel - 1) * 3 * width, n_heads, reads=2)
    return Mixer(name="linear", parts=tuple(parts), state=state)


def lightning(fields: Fields, family: Family) -> Mixer:
    """MiniMax-01's linear attention, with no convolution and no learnt decay."""
    d_model, n_heads = fields.count("d_model"), fields.count("n_heads")
    d_head = fields.count("d_head", max(1, d_model // n_heads))
    width = n_heads * d_head
    parts = [
        *linear("qkv", "recurrent", d_model, 3 * width, *module("qkv_proj")),
        *linear("out_gate", "recurrent", d_model, width, *module("output_gate")),
        vector("out_norm", width, group="norm"),
        *linear("out", "recurrent", width, d_model, *module("out_proj")),
    ]
    return Mixer(name="linear", parts=tuple(parts), state=_state(fields, n_heads * d_head * d_head, 0, n_heads))


def mamba(fields: Fields, family: Family) -> Mixer:
    """Mamba-2: a state of heads by width by d_state, one B and one C for each group of heads."""
    d_model, n_heads = fields.count("d_model"), fields.count("mamba_heads")
    expanded = fields.count("mamba_expand", 2) * d_model
    d_head = (
        expanded // n_heads
        if fields.get("mamba_d_head") == "auto"
        else fields.count("mamba_d_head", expanded // n_heads)
    )
    width = fields.count("mamba_d_ssm", n_heads * d_head)
    d_state, kernel = fields.count("mamba_d_state"), fields.count("mamba_kernel", 4)
    convolved = width + 2 * fields.count("mamba_groups") * d_state
    bias = fields.flag("mamba_proj_bias")
    out_bias = fields.flag("projectors_bias", bias)
    normed = fields.flag("mamba_rms_norm", family.full != "both")
    parts = [
        *linear("in", "recurrent", d_model, width + convolved + n_heads, "mamba.in_proj", bias=bias),
        *linear("conv", "recurrent", kernel, convolved, bias=fields.flag("mamba_conv_bias")),
        vector("decay", n_heads, copies=3),
        *([vector("out_norm", width, group="norm")] if normed else []),
        *linear("out", "recurrent", width, d_model, "mamba.out_proj", bias=out_bias),
    ]
    return Mixer(
        name="mamba", parts=tuple(parts), state=_state(fields, width * d_state, (kernel - 1) * convolved, n_heads)
    )


def mamba1(fields: Fields, family: Family) -> Mixer:
    """The first Mamba: a state for every channel; a layer that is nothing else may tell its width."""
    d_model = fields.count("d_model")
    width = fields.count("mamba_expand", 2) * d_model
    width = fields.count("d_ff", width) if family.full == "mamba1" else width
    d_state, kernel = fields.count("mamba_d_state", 16), fields.count("mamba_kernel", 4)
    rank_name = "mamba_dt_rank" if fields.get("mamba_dt_rank") is not None else "time_step_rank"
    rank = ceil(d_model / 16) if fields.get(rank_name) in (None, "auto") else fields.count(rank_name)
    bias = fields.flag("mamba_proj_bias")
    parts = [
        *linear("in", "recurrent", d_model, 2 * width, "mamba.in_proj", bias=bias),
        *linear("conv", "recurrent", kernel, width, bias=fields.flag("mamba_conv_bias")),
        *linear("x", "recurrent", width, rank + 2 * d_state, "mamba.x_proj"),
        *linear("step", "recurrent", rank, width, "mamba.dt_proj", bias=True),
        vector("decay", width * (d_state + 1)),
        *([vector("state_norm", rank + 2 * d_state, group="norm")] if family.full == "attention" else []),
        *linear("out", "recurrent", width, d_model, "mamba.out_proj", bias=bias),
    ]
    return Mixer(name="mamba", parts=tuple(parts), state=_state(fields, width * d_state, (kernel - 1) * width, 1))


def convolution(fields: Fields, family: Family) -> Mixer:
    """LFM2's short convolution between two gates."""
    d_model, kernel = fields.count("d_model"), fields.count("conv_L_cache", 3)
    bias = fields.flag("conv_bias")
    parts = [
        *linear("in", "recurrent", d_model, 3 * d_model, "conv.in_proj", bias=bias),
        *linear("conv", "recurrent", kernel, d_model, bias=bias),
        *linear("out", "recurrent", d_model, d_model, "conv.out_proj", bias=bias),
    ]
    return Mixer(name="conv", parts=tuple(parts), state=_state(fields, 0, (kernel - 1) * d_model, 1))


RECURRENT: dict[str, Callable[[Fields, Family], Mixer]] = {
    "gated_delta": gated_delta,
    "kda": kda,
    "lightning": lightning,
    "mamba": mamba,
    "mamba1": mamba1,
    "conv": convolution,
}


def holds(fields: Fields, option: bool | str) -> bool:
    """Whether an option holds: as the family has it, or as its field says."""
    return fields.flag(option) if isinstance(option, str) else option


def module(*names: str) -> tuple[str, ...]:
    """Modules of a layer's attention, the fused ones of some checkpoints among them."""
    fused = ("qkv_proj",) if names[0] in ("q_proj", "k_proj", "v_proj") else ()
    return tuple(f"self_attn.{name}" for name in (*names, *fused))


def _gate(fields: Fields, family: Family, width: int, n_heads: int) -> Iterator[Part]:
    if family.gate in ("head", "full"):
        by_head = family.gate == "head" and (not family.gate_if or fields.flag(family.gate_if))
        n_out = n_heads if by_head else width
        yield from linear("gate_heads", "attention", fields.count("d_model"), n_out, *module("g_proj", "gate_proj"))


def _qk_norms(kind: str, n_heads: int, n_kv: int, d_head: int) -> Iterator[Part]:
    if kind == "width":
        yield vector("qk_norm", (n_heads + n_kv) * d_head, group="norm")
    else:
        yield vector("qk_norm", d_head, group="norm", copies=(2 if n_kv else 1) * (2 if kind == "biased" else 1))


def _index(fields: Fields, q_rank: int) -> tuple[list[Part], TokenCache]:
    d_model, n_index, d_index = fields.count("d_model"), fields.count("index_n_heads"), fields.count("index_head_dim")
    parts = [
        *linear("index_q", "attention", q_rank, n_index * d_index, *module("indexer.wq_b")),
        *linear("index_k", "attention", d_model, d_index, *module("indexer.wk")),
        vector("index_norm", d_index, group="norm", copies=2),
        *linear("index_weights", "attention", d_model, n_index),
    ]
    return parts, _index_cache(n_index, d_index)


def _index_cache(n_index: int, d_index: int, stride: int = 1) -> TokenCache:
    return TokenCache(
        n_values=d_index, pair_flops=2 * n_index * d_index, stride=stride, packed_bytes=d_index + SCALE_BYTES
    )


def _compressor(prefix: str, stride: int, overlap: int, d_model: int, d_head: int) -> Iterator[Part]:
    below = "compressor.indexer" if prefix else "compressor"
    yield vector(f"{prefix}compressor_bias", stride * overlap * d_head)
    for name in ("kv", "gate"):
        yield from linear(
            f"{prefix}compressor_{name}", "attention", d_model, overlap * d_head, *module(f"{below}.{name}_proj")
        )
    yield vector(f"{prefix}compressor_norm", d_head, group="norm")


def _state(fields: Fields, n_values: int, n_conv: int, n_heads: int, *, reads: int = 1) -> SequenceState:
    dtype = fields.get("state_dtype") or "float32"
    require(dtype in STATE_BYTES, f"its state is kept as '{dtype}', which is none of {', '.join(STATE_BYTES)}")
    return SequenceState(
        n_values=n_values,
        n_conv_values=n_conv,
        value_bytes=STATE_BYTES[dtype],
        token_flops=2 * (1 + reads) * n_values,
        n_heads=n_heads,
    )
