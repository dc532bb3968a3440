"""In which widths is it stored? A config's `quantization_config` as a precision, module by module.

    share of a matrix in a format = its parameters in the layers that have it / all its parameters

A checkpoint names what it left at 16 bits by module: whole names, parts of them, `*` patterns, or `re:` expressions.
Tables, routers, convolutions and vectors are left so by all, heads by most. Scales are counted: 32 bits a block of an
8-bit format, what a group shares of a 4-bit one. Ignores biases and scales of activations, and scales a row or tensor.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import translate
from functools import cache
from math import inf, prod
from typing import Any

from bytebill.errors import BytebillError, require, unknown
from bytebill.models.config_json.families import Family
from bytebill.models.config_json.fields import Fields, told
from bytebill.models.config_json.parts import Part
from bytebill.models.config_json.plan import TEXT_PARTS
from bytebill.models.config_json.specs import planned
from bytebill.models.layers import Matrix
from bytebill.models.precisions import LEFT_WIDE, PRECISIONS, Exceptions, Precision
from bytebill.models.shapes import ModelSpec

Format = Callable[[Part, tuple[str, ...]], str]  # of a part and the names of its module, the name of its format
SIXTEEN_BITS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
PLACES = ("model.", "model.language_model.", "language_model.model.", "backbone.")
IGNORED = ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers", "llm_int8_skip_modules")
ALGORITHMS = {
    "FP8": "fp8",
    "FP8_PB_WO": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8",
    "NVFP4": "nvfp4",
    "W4A16_AWQ": "int4",
}
MOST_PATTERNS, LONGEST_PATTERN = 100_000, 400
_REPEATED = re.compile(r"\)\s*[*+?{]|\\\d|\(\?P")  # a group repeated or referred to may keep a short name busy for ever
MOST_STARS = 4  # repeats without end in one expression or pattern, likewise


def stored_precision(config: Mapping[str, Any], spec: ModelSpec) -> Precision:
    """The widths in which the checkpoint of this config stores the model; raises BytebillError in one sentence.

    >>> from bytebill.models.config_json import read_config
    >>> config = dict(model_type="llama", num_hidden_layers=2, hidden_size=64, intermediate_size=128,
    ...               num_attention_heads=4, vocab_size=100, max_position_embeddings=256,
    ...               quantization_config=dict(quant_method="fp8", modules_to_not_convert=["model.layers.0"]))
    >>> found = stored_precision(config, read_config(config, id="tiny", name="tiny"))
    >>> found.name, [each for each in found.exceptions if each[0] == "mlp.up"]
    ('fp8', [('mlp.up', 0.5, 'bf16')])
    """
    try:
        quantized = _quantization(config)
        if not quantized:
            return _unquantized(config)
        base, format_of = _scheme(quantized, _expert_dtype(config, quantized))
        shares = _exceptions(config, spec, base.name, format_of)
        return replace(base, exceptions=shares, kv_bytes_per_value=_kv_bytes(quantized))
    except BytebillError as error:
        raise told(spec.name, error) from None
    except (TypeError, ValueError, AttributeError, KeyError, ZeroDivisionError, OverflowError, re.error):
        raise told(spec.name, ValueError("its 'quantization_config' cannot be read")) from None


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = [config[part] for part in TEXT_PARTS if isinstance(config.get(part), Mapping)]
    found: Any = next((each["quantization_config"] for each in (config, *inner) if each.get("quantization_config")), {})
    require(isinstance(found, Mapping), "its 'quantization_config' is no mapping")
    return {**found, **Fields(found).mapping("quantization")}  # modelopt's own file has it one deeper


def _unquantized(config: Mapping[str, Any]) -> Precision:
    inner = [config[part] for part in TEXT_PARTS if isinstance(config.get(part), Mapping)]
    words = [each.get(key) for each in (config, *inner) for key in ("dtype", "torch_dtype")]
    word = next((each for each in words if each is not None), "bfloat16")
    require(isinstance(word, str), "its 'dtype' is no word")
    name = SIXTEEN_BITS.get(word.removeprefix("torch."))
    require(name is not None, f"its 'dtype' is '{word[:40]}', not one of {', '.join(SIXTEEN_BITS)}")
    return PRECISIONS[str(name)]


def _expert_dtype(config: Mapping[str, Any], quantized: Mapping[str, Any]) -> str | None:
    word = quantized.get("expert_dtype", config.get("expert_dtype"))
    require(word in (None, "fp4", "fp8"), f"its 'expert_dtype' is '{str(word)[:40]}', neither fp4 nor fp8")
    return None if word is None else str(word)


def _scheme(quantized: Mapping[str, Any], expert_dtype: str | None) -> tuple[Precision, Format]:
    """The format of most weights, and how to find that of each."""
    method = quantized.get("quant_method") or ("modelopt" if quantized.get("quant_algo") else None)
    require(method is not None, "its 'quantization_config' has no 'quant_method'")
    readers = {
        "fp8": _fp8,
        "fbgemm_fp8": _fp8,
        "mxfp4": _mxfp4,
        "awq": _grouped,
        "gptq": _grouped,
        "auto-round": _grouped,
        "bitsandbytes": _bitsandbytes,
        "compressed-tensors": _compressed,
        "modelopt": _modelopt,
        "modelopt_fp4": _modelopt,
        "modelopt_mixed": _modelopt,
    }
    if not isinstance(method, str) or method not in readers:
        raise unknown("quant_method", str(method)[:40], readers)
    base, format_of = readers[method](quantized)
    kept = _named(word for key in IGNORED for word in _words(quantized, key))
    heads = method.startswith(("compressed", "modelopt"))  # others leave the head as it is

    def chosen(part: Part, names: tuple[str, ...]) -> str:
        if not names or kept(names) or (part.matrix.group == "head" and not heads):
            return "bf16"
        return "mxfp4" if part.matrix.group == "expert" and expert_dtype == "fp4" else format_of(part, names)

    return base, chosen


def _fp8(quantized: Mapping[str, Any]) -> tuple[Precision, Format]:
    block = Fields(quantized).listed("weight_block_size")
    size = prod(Fields({"weight_block_size": each}).count("weight_block_size") for each in block) if block else inf
    scale = 8 if quantized.get("scale_fmt") == "ue8m0" else 32
    base = replace(PRECISIONS["fp8"], group_size=size, scale_bits=scale if block else 0)
    return base, lambda part, names: base.name


def _mxfp4(quantized: Mapping[str, Any]) -> tuple[Precision, Format]:
    return PRECISIONS["mxfp4"], lambda part, names: "mxfp4" if part.matrix.group == "expert" else "bf16"


def _grouped(quantized: Mapping[str, Any]) -> tuple[Precision, Format]:
    """AWQ, GPTQ and their like: so many bits, a 16-bit scale and a zero point of as many bits for each group."""
    fields = Fields(quantized)
    bits, group = fields.count("bits", 4), fields.count("group_size", 128, least=-1)
    require(bits in (2, 3, 4, 8), f"its weights have {bits} bits, which no kernel reads")
    size = float(group) if group > 0 else inf
    base = replace(PRECISIONS["int4"], name=f"int{bits}", weight_bits=bits, group_size=size, zero_bits=bits)
    return base, lambda part, names: base.name


def _bitsandbytes(quantized: Mapping[str, Any]) -> tuple[Precision, Format]:
    fields = Fields(quantized)
    if fields.flag("load_in_8bit"):
        return PRECISIONS["int8"], lambda part, names: "int8"
    require(fields.flag("load_in_4bit"), "its bitsandbytes weights have neither 4 nor 8 bits")
    scale = 8 + 32 / 256 if fields.flag("bnb_4bit_use_double_quant") else 32
    base = replace(PRECISIONS["int4"], name="nf4", group_size=64, scale_bits=scale, zero_bits=0)
    return base, lambda part, names: "nf4"


def _modelopt(quantized: Mapping[str, Any]) -> tuple[Precision, Format]:
    algorithm = str(quantized.get("quant_algo"))
    if algorithm != "MIXED_PRECISION":
        base = PRECISIONS[_algorithm(algorithm)]
        return base, lambda part, names: base.name
    layers = {
        str(name): _algorithm(str(Fields({"layer": each}).mapping("layer").get("quant_algo")))
        for name, each in Fields(quantized).mapping("quantized_layers").items()
    }
    require(bool(layers), "its 'quantized_layers' name no layer")
    by_format = {
        name: _named(each for each in layers if layers[each] == name) for name in dict.fromkeys(layers.values())
    }
    base = PRECISIONS[Counter(layers.values()).most_common(1)[0][0]]
    return base, lambda part, names: next((name for name, has in by_format.items() if has(names)), "bf16")


def _algorithm(name: str) -> str:
    if name not in ALGORITHMS:
        raise unknown("quant_algo", name[:40], ALGORITHMS)
    return ALGORITHMS[name]


def _compressed(quantized: Mapping[str, Any]) -> tuple[Precision, Format]:
    """Groups of modules, each with its format; the first whose targets a module is among counts."""
    groups = []
    for group in Fields(quantized).mapping("config_groups").values():
        fields = Fields(group)
        weights = fields.mapping("weights")
        if weights:
            targets = _words(group, "targets") or ["Linear"]
            groups.append(
                (_weights(weights, fields.mapping("input_activations")), "Linear" in targets, _named(targets))
            )
    require(bool(groups), "its 'config_groups' quantize no weights")
    base = groups[0][0]

    def format_of(part: Part, names: tuple[str, ...]) -> str:
        found = next((form for form, every, among in groups if every or among(names)), None)
        return "bf16" if found is None else found.name

    require(
        all(form == base or form == PRECISIONS.get(form.name) for form, _, _ in groups),
        "its 'config_groups' mix formats that cannot be told together",
    )
    return base, format_of


def _weights(weights: Mapping[str, Any], activations: Mapping[str, Any]) -> Precision:
    fields, multiplied = Fields(weights), Fields(activations).count("num_bits", 16)
    bits, kind = fields.count("num_bits"), weights.get("type", "int")
    size = fields.get("group_size") or (prod(fields.listed("block_structure") or [0]) or None)
    require(size is None or isinstance(size, int), "its 'group_size' is no whole number")
    per_group = float(size) if size and size > 0 else inf
    if (bits, kind) == (8, "float"):
        form = replace(PRECISIONS["fp8"], group_size=per_group, scale_bits=0 if per_group == inf else 32)
        return form if multiplied == 8 else replace(form, name="fp8-weights", compute_dtype="bf16")
    if (bits, kind) == (4, "float"):
        form = PRECISIONS["mxfp4" if per_group == 32 else "nvfp4"]
        return form if multiplied <= 8 else replace(form, name=f"{form.name}-weights", compute_dtype="bf16")
    require(kind == "int" and bits in (2, 3, 4, 8), f"its weights are of {bits} bits of type '{str(kind)[:20]}'")
    if bits == 8 and multiplied == 8:
        return PRECISIONS["w8a8"]
    zero = 0 if fields.flag("symmetric", True) else bits
    scale = 0 if per_group == inf else 16
    return replace(
        PRECISIONS["int4"], name=f"int{bits}", weight_bits=bits, group_size=per_group, scale_bits=scale, zero_bits=zero
    )


def _kv_bytes(quantized: Mapping[str, Any]) -> float:
    told_as = quantized.get("kv_cache_scheme") or quantized.get("kv_cache_quant_algo")
    if told_as is None:
        return 2
    if isinstance(told_as, Mapping):
        bits = Fields(told_as).count("num_bits")
        require(bits in (4, 8), f"its cache has {bits} bits a value")
        return {4: 4.5 / 8, 8: 1}[bits]
    require(told_as in ("FP8", "INT8", "NVFP4"), f"its cache is of the unknown format '{str(told_as)[:40]}'")
    return 4.5 / 8 if told_as == "NVFP4" else 1  # 4 bits, and 8 of scale for 16 values


def _exceptions(config: Mapping[str, Any], spec: ModelSpec, base: str, format_of: Format) -> Exceptions:
    """What is stored otherwise than most, by matrix and by the share of it."""
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    found = planned(config, spec.name)
    for part, names in _modules(found.family, [layer.parts for layer in found.layers]):
        sizes[f"{part.matrix.group}.{part.matrix.name}"][format_of(part, names)] += part.matrix.n_params
    for part in found.besides:
        sizes[f"{part.matrix.group}.{part.matrix.name}"]["bf16"] += part.matrix.n_params
    head = Part(matrix=Matrix(name="head", group="head", n_in=spec.d_model, n_out=spec.vocab_size))
    by_head = "bf16" if spec.tied_embeddings else format_of(head, tuple(f"{place}lm_head" for place in ("", *PLACES)))
    wide: Exceptions = tuple(each for each in LEFT_WIDE if each[0] != "head" or by_head == "bf16")
    groups = {group for group, _, _ in wide}
    return wide + tuple(
        (key, n / counts.total(), name)
        for key, counts in sizes.items()
        if key.partition(".")[0] not in groups
        for name, n in counts.items()
        if name != base and n
    )


def _modules(family: Family, layers: Iterable[tuple[Part, ...]]) -> Iterator[tuple[Part, tuple[str, ...]]]:
    """Every part of every layer with the names of its module."""
    for index, parts in enumerate(layers):
        for part in parts:
            yield part, tuple(_names(family, index, part))


def _names(family: Family, index: int, part: Part) -> Iterator[str]:
    for path in part.paths:
        root, _, rest = path.partition(".")
        for own in dict.fromkeys((family.modules.get(root, root), root)):
            for place in PLACES:
                yield f"{place}layers.{index}.{own}.{rest}"
                if rest.startswith("shared_experts."):
                    yield f"{place}layers.{index}.{own}.{rest.replace('shared_experts', 'shared_expert', 1)}"


def _words(told_in: Mapping[str, Any], key: str) -> list[str]:
    words = Fields(told_in).listed(key) or []
    require(
        len(words) <= MOST_PATTERNS and all(isinstance(word, str) and len(word) <= LONGEST_PATTERN for word in words),
        f"its '{key}' is no list of names",
    )
    return words


def _named(words: Iterable[str]) -> Callable[[tuple[str, ...]], bool]:
    """Whether one of a module's names is among these: whole or in part, by a pattern or an expression.

    >>> left = _named(["lm_head", "model.layers.*.mlp.gate", "re:.*self_attn.*"])
    >>> [left((name,)) for name in ("lm_head", "model.layers.3.mlp.gate", "model.layers.3.mlp.gate_proj")]
    [True, True, False]
    """
    listed = list(words)
    plain = {word for word in listed if "*" not in word and not word.startswith("re:")}
    expressions = [word.removeprefix("re:") for word in listed if word.startswith("re:")]
    deep = [each for each in expressions if _REPEATED.search(each)]
    deep += [each for each in listed if len(re.findall(r"[*+{]", each)) > MOST_STARS]
    require(not deep, f"it names modules by an expression too deep to try: {(deep or [''])[0][:80]}")
    stars = [each for word in listed if "*" in word and not word.startswith("re:") for each in (word, f"{word}.*")]
    tried = [re.compile(each) for each in (*expressions, *map(translate, stars))]

    @cache
    def among(name: str) -> bool:
        steps = name.split(".")
        runs = (".".join(steps[start:stop]) for start in range(len(steps)) for stop in range(start + 1, len(steps) + 1))
        return any(run in plain for run in runs) or any(each.match(name) for each in tried)

    return lambda names: any(map(among, names))
