"""How does a Hugging Face folder become our weights? Its config read as a shape, its tensors under our names.

    layers.{i}.qkv = [q_proj; k_proj; v_proj]          layers.{i}.gate_up = [gate_proj; up_proj], and of each expert

Reads `config.json` and `model.safetensors` (or its shards) of the Llama family: Llama 2 and 3, Mistral, Mixtral,
Qwen 2, Qwen 3 with and without experts. Files stay on disk until a tensor is asked for. Ignores the tokenizer, and
pickled checkpoints.
"""

import json
from math import pi
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bytebill.engine.rotary import rope_frequencies
from bytebill.engine.weights.names import Shapes, Weights, require_llama, tensor_shapes
from bytebill.errors import BytebillError, require
from bytebill.models import ModelSpec
from bytebill.models.config_json import read_config
from bytebill.models.config_json.fields import Fields, told

FLOATS = ("F32", "BF16", "F16")
_LLAMA3 = ("low_freq_factor", "high_freq_factor", "factor", "original_max_position_embeddings")
FAMILY = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe")

_OUTSIDE = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight", "head": "lm_head.weight"}
_IN_LAYER = {
    "attention_norm": ("input_layernorm.weight",),
    "qkv": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "qkv_bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "q_norm": ("self_attn.q_norm.weight",),
    "k_norm": ("self_attn.k_norm.weight",),
    "attention_out": ("self_attn.o_proj.weight",),
    "mlp_norm": ("post_attention_layernorm.weight",),
    "gate_up": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "down": ("mlp.down_proj.weight",),
}
_SPARSE = {  # by the name of the tensor under "layers.{i}.", {e} the expert
    "mixtral": {
        "router": ("block_sparse_moe.gate.weight",),
        "gate_up": ("block_sparse_moe.experts.{e}.w1.weight", "block_sparse_moe.experts.{e}.w3.weight"),
        "down": ("block_sparse_moe.experts.{e}.w2.weight",),
    },
    "qwen3_moe": {
        "router": ("mlp.gate.weight",),
        "gate_up": ("mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.up_proj.weight"),
        "down": ("mlp.experts.{e}.down_proj.weight",),
    },
}


def load_llama_folder(path: str | Path) -> Weights:
    """The weights of a model folder in Hugging Face's layout, read tensor by tensor when asked for.

    Every tensor is there, in the shape that the config calls for, before the first is read.
    """
    folder = Path(path).expanduser()
    config = _read_json(folder / "config.json")
    spec = spec_from_config(config, name=folder.name)
    files, kind = _files_by_tensor(folder), config["model_type"]
    wanted = {name: _shapes_of(name, shape, spec, kind) for name, shape in tensor_shapes(spec).items()}
    _require_tensors(folder, files, {source: shape for each in wanted.values() for source, shape in each.items()})
    return Weights(spec, lambda name: _read(files, tuple(wanted[name])), frequencies=_frequencies(spec, config))


def spec_from_config(config: dict[str, Any], *, name: str) -> ModelSpec:
    """The shape that a `config.json` describes, if the engine runs its like.

    >>> config = dict(model_type="llama", num_hidden_layers=2, hidden_size=64, intermediate_size=128,
    ...               num_attention_heads=4, vocab_size=100, max_position_embeddings=256)
    >>> spec_from_config(config, name="tiny").d_head
    16
    """
    _require_family(config, name)
    spec = read_config(config, id=name, name=name)
    require_llama(spec)
    return spec


def _require_family(config: dict[str, Any], name: str) -> None:
    kind = config.get("model_type", "unnamed")
    require(kind in FAMILY, f"{name} is a '{kind}' model; the engine runs the Llama family: {', '.join(FAMILY)}.")
    refused = {
        "quantized weights": bool(config.get("quantization_config")),
        "biases beyond query, key and value": config.get("attention_bias", False) or config.get("mlp_bias", False),
        "an activation other than SiLU": config.get("hidden_act", "silu") != "silu",
        "partly rotated heads": _rope(config, name).get("partial_rotary_factor", 1.0) != 1.0,
        "weights of experts that do not add up to 1": kind == "qwen3_moe" and not config.get("norm_topk_prob", False),
        "dense layers among sparse ones": bool(config.get("mlp_only_layers"))
        or config.get("decoder_sparse_step", 1) != 1,
        "rescaled rotary positions": _rope_type(config, name) not in ("default", "llama3"),
    }
    found = [what for what, present in refused.items() if present]
    require(not found, f"{name} has {' and '.join(found)}, which the engine does not run.")


def _rope(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Rotary parameters, which transformers 4 spread over the config and version 5 gathers."""
    flat = {key: config[key] for key in ("rope_theta", "partial_rotary_factor") if config.get(key) is not None}
    fields = Fields(config)
    try:
        return flat | dict(fields.mapping("rope_scaling")) | dict(fields.mapping("rope_parameters"))
    except BytebillError as error:
        raise told(name, error) from None


def _rope_type(config: dict[str, Any], name: str) -> str:
    rope = _rope(config, name)
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _frequencies(spec: ModelSpec, config: dict[str, Any]) -> Tensor:
    """Rotary frequencies; Llama 3.1 slows down those whose wavelength passes its training context."""
    frequencies = rope_frequencies(spec)
    if _rope_type(config, spec.name) != "llama3":
        return frequencies
    rope = Fields(_rope(config, spec.name))
    try:
        low, high, factor, context = (rope.number(field, 0.0) for field in _LLAMA3)
    except BytebillError as error:
        raise told(spec.name, error) from None
    require(
        0 < low < high and factor > 0 and context > 0,
        f"{spec.name} has positions of Llama 3.1, which need {', '.join(_LLAMA3)}.",
    )
    turns = context * frequencies / (2 * pi)  # in the training context
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / factor)


def _sources(name: str, kind: str = "llama") -> tuple[str, ...]:
    """Hugging Face's names of the tensors that make one of ours.

    >>> _sources("layers.3.gate_up")
    ('model.layers.3.mlp.gate_proj.weight', 'model.layers.3.mlp.up_proj.weight')
    >>> _sources("layers.3.experts.7.down", "mixtral")
    ('model.layers.3.block_sparse_moe.experts.7.w2.weight',)
    """
    if name in _OUTSIDE:
        return (_OUTSIDE[name],)
    _, layer, *path = name.split(".")
    expert = path[1] if path[0] == "experts" else ""
    sources = (_IN_LAYER | _SPARSE.get(kind, {}))[path[-1]]
    return tuple(f"model.layers.{layer}.{source.format(e=expert)}" for source in sources)


def _shapes_of(name: str, shape: tuple[int, ...], spec: ModelSpec, kind: str) -> Shapes:
    """Names and shapes of the tensors that are stacked into one of ours."""
    sources = _sources(name, kind)
    keyvalue = spec.n_kv_heads * spec.d_head
    rows = (spec.n_heads * spec.d_head, keyvalue, keyvalue) if len(sources) == 3 else (shape[0] // len(sources),) * 3
    return {source: (n_rows, *shape[1:]) for source, n_rows in zip(sources, rows, strict=False)}


def _require_tensors(folder: Path, files: dict[str, Path], wanted: Shapes) -> None:
    """Every tensor that a config calls for lies in its file, in its shape and as floating-point numbers."""
    missing = set(wanted) - set(files)
    require(not missing, f"{folder} holds no tensor '{min(missing, default='')}', which its config.json calls for.")
    for file in sorted({files[name] for name in wanted}):
        held = _held_in(file)
        for name in (name for name in wanted if files[name] == file):
            require(name in held, f"{file} holds no tensor '{name}', which the index looks for there.")
            shape, dtype = held[name]
            sizes = [" x ".join(map(str, each)) for each in (shape, wanted[name])]
            require(
                shape == wanted[name],
                f"{folder}: tensor '{name}' is {sizes[0]}, and {sizes[1]} is what its config.json calls for.",
            )
            require(dtype in FLOATS, f"{folder}: tensor '{name}' is stored as {dtype}, not as {', '.join(FLOATS)}.")


def _read(files: dict[str, Path], sources: tuple[str, ...]) -> Tensor:
    """Tensors stacked into one; not a number or infinite is nothing that a weight can be."""
    try:
        parts = [safe_open(files[source], framework="pt").get_tensor(source) for source in sources]
    except (OSError, SafetensorError) as error:
        raise BytebillError(f"The weights can no longer be read: {error}.") from error
    for source, part in zip(sources, parts, strict=True):
        # a sum is one pass over memory; only where it is not finite it matters which value made it so
        finite = bool(part.sum(dtype=torch.float32).isfinite()) or bool(part.isfinite().all())
        require(finite, f"{files[source]}: tensor '{source}' holds values that are no numbers.")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _files_by_tensor(folder: Path) -> dict[str, Path]:
    """Which file holds each tensor, by the index of a sharded model or by asking the single file."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if not index.exists():
        require(single.exists(), f"{folder} has no model.safetensors and no model.safetensors.index.json.")
        return dict.fromkeys(_held_in(single), single)
    named = _read_json(index).get("weight_map")
    require(
        isinstance(named, dict) and all(map(_is_file_name, named.values())),
        f"{index} has no weight_map that names a file of its folder for each tensor.",
    )
    files = {name: folder / file for name, file in (named or {}).items()}
    absent = sorted({file.name for file in files.values() if not file.is_file()})
    require(not absent, f"{folder} lacks {', '.join(absent)}, which its index names.")
    return files


def _is_file_name(name: Any) -> bool:
    """Whether an index names a file beside it, and no place elsewhere.

    >>> [_is_file_name(name) for name in ("model-1.safetensors", "../x", "/etc/passwd", 7)]
    [True, False, False, False]
    """
    return isinstance(name, str) and len(name) < 256 and Path(name).name == name


def _held_in(file: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each tensor that a file holds."""
    try:
        with safe_open(file, framework="pt") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
            return {name: (tuple(each.get_shape()), each.get_dtype()) for name, each in slices.items()}
    except (OSError, SafetensorError) as error:
        raise BytebillError(f"{file} cannot be read as safetensors: {error}.") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BytebillError(f"{file.parent} is not a model folder: it has no {file.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BytebillError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}.") from error
    require(isinstance(found, dict), f"{file} holds no mapping of fields.")
    return dict(found)
