"""Which layers does a config.json describe? PlannedLayer by layer: how tokens meet in it, and what it multiplies.

A type of layer comes from the list that names one for each, or else from the family's rule (every so many layers one
is full). Experts stand in the layers that the config names, or after the first dense ones. Types that no row knows
are refused, for they change a size.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bytebill.errors import BytebillError, require
from bytebill.models.config_json import feeds, mixers
from bytebill.models.config_json.families import FAMILIES, SAME_AS, Family
from bytebill.models.config_json.fields import SPELLINGS, Fields
from bytebill.models.config_json.parts import Mixer, Part, linear, vector
from bytebill.models.config_json.spellings import modern
from bytebill.models.shapes import NORM_VECTORS

TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
TYPES = {
    "full": ("full_attention", "attention", "indexed_attention", "hybrid", "full"),
    "window": ("sliding_attention", "sliding", "sliding_window"),
    "chunk": ("chunked_attention",),
    "linear": ("linear_attention", "mamba", "kda", "recurrent"),
    "conv": ("conv",),
    "mlp": ("mlp",),
    "moe": ("moe",),
}
_KIND_OF = {name: kind for kind, names in TYPES.items() for name in names}
SPARSE_TYPES, DENSE_TYPES = ("sparse", "moe", "hash_moe"), ("dense",)


@dataclass(frozen=True, kw_only=True)
class PlannedLayer:
    """One layer, as its config has it."""

    mixer: Mixer
    parts: tuple[Part, ...]  # all of them, the mixer's among them
    sparse: bool


@dataclass(frozen=True, kw_only=True)
class DecoderPlan:
    """A decoder, layer by layer."""

    family: Family
    fields: Fields
    layers: tuple[PlannedLayer, ...]
    besides: tuple[Part, ...]
    draft: tuple[PlannedLayer, ...]


def plan(config: Mapping[str, Any]) -> DecoderPlan:
    """The layers that a config describes, of the text part where it has several."""
    name, told = text_part(config)
    family = FAMILIES[name]
    fields = Fields(modern(name, _with_defaults(told, family)))
    if name == "falcon":
        family = _falcon(fields, family)
    if family.norms_if[0] and fields.flag(family.norms_if[0]):
        family = replace(family, norms=family.norms_if[1])
    kinds = _kinds(fields, family)
    sparse = [_is_sparse(fields, family, index, kind) for index, kind in enumerate(kinds)]
    n_shared = fields.count("num_kv_shared_layers", 0, least=0)
    layers = tuple(
        _layer(fields.at(index), family, kind, sparse=experts, shared=index >= len(kinds) - n_shared and n_shared > 0)
        for index, (kind, experts) in enumerate(zip(kinds, sparse, strict=True))
    )
    besides = list(feeds.extras(fields, family, ("model",)))
    if mixers.holds(fields, family.head_bias):
        besides.append(vector("head_bias", fields.count("vocab_size"), group="bias"))
    draft = tuple(_draft(fields, family, kinds, sparse))
    return DecoderPlan(family=family, fields=fields, layers=layers, besides=tuple(besides), draft=draft)


def _with_defaults(told: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """What a config says, and a family's defaults for what it says under no spelling."""
    said = {key: told[key] for key in told if told[key] is not None}
    alike = {each: spellings for spellings in SPELLINGS.values() for each in spellings}
    return {
        key: value for key, value in family.defaults.items() if said.keys().isdisjoint(alike.get(key, (key,)))
    } | said


def text_part(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The family of the decoder, and the fields of the text part with what the whole says of it."""
    outer: Mapping[str, Any] = config
    told: Mapping[str, Any] = config
    for _ in range(3):
        inner = next((told[part] for part in TEXT_PARTS if isinstance(told.get(part), Mapping)), None)
        if inner is None:
            break
        shared = {key: told[key] for key in ("tie_word_embeddings", "model_type") if key in told}
        told = {**shared, **inner}
    for kind in (told.get("model_type"), outer.get("model_type")):
        name = SAME_AS.get(kind, kind) if isinstance(kind, str) else kind
        if isinstance(name, str) and name in FAMILIES:
            return name, told
    require(told.get("model_type") is not None, "it has no 'model_type'")
    raise BytebillError(f"nothing is known of its model_type '{str(told['model_type'])[:60]}'")


def _kinds(fields: Fields, family: Family) -> list[str]:
    """What each layer is: full, window, chunk, linear, conv, or no mixing at all (mlp, moe)."""
    n_layers, listed = fields.n_layers, fields.listed("layer_types")
    if listed is not None:
        require(len(listed) >= n_layers, f"its 'layer_types' are {len(listed)} for {n_layers} layers")
        strange = [each for each in listed[:n_layers] if not isinstance(each, str) or each not in _KIND_OF]
        require(not strange, f"it has a layer of type '{str(strange[:1])[2:42]}', which nothing is known of")
        return [_KIND_OF[each] for each in listed[:n_layers]]
    if family.windows == "all":
        return ["window" if _window(fields) else "full"] * n_layers
    if family.windows == "late":
        late = fields.count("max_window_layers", 28, least=0)
        return ["window" if fields.flag("use_sliding_window") and i >= late else "full" for i in range(n_layers)]
    period = family.period if isinstance(family.period, int) else fields.count(family.period, least=0)
    others = family.others if family.others != "window" or _window(fields) else "full"
    return ["full" if period and (i + 1) % period == 0 else others for i in range(n_layers)]


def _window(fields: Fields) -> int:
    return fields.count("sliding_window", 0, least=0) if fields.flag("use_sliding_window", True) else 0


def _is_sparse(fields: Fields, family: Family, index: int, kind: str) -> bool:
    listed = fields.listed("mlp_layer_types")
    if kind in ("mlp", "moe") or family.sparse in ("", "typed"):
        return kind == "moe"
    if listed is not None:
        word = listed[index] if index < len(listed) else None
        require(word in (*SPARSE_TYPES, *DENSE_TYPES), f"the MLP of its layer {index} is of the unknown type '{word}'")
        return word in SPARSE_TYPES
    if family.sparse in ("all", "gemma4"):
        return True
    if family.sparse == "some":
        return fields.count("n_experts", 0, least=0) > 0
    if family.sparse == "interleaved":
        chosen = fields.listed("moe_layers")
        return (index + 1) % fields.count("interleave_moe_layer_step") == 0 if chosen is None else index in chosen
    if family.sparse == "step":
        dense = fields.listed("mlp_only_layers") or []
        step = fields.count("decoder_sparse_step", 1)
        return index not in dense and fields.count("n_experts", 0, least=0) > 0 and (index + 1) % step == 0
    n_dense = fields.count("num_dense_layers", fields.count("first_k_dense_replace", 0, least=0), least=0)
    frequency = fields.get("moe_layer_freq")
    return index >= n_dense and (not isinstance(frequency, int) or frequency < 1 or index % frequency == 0)


def _layer(fields: Fields, family: Family, kind: str, *, sparse: bool, shared: bool) -> PlannedLayer:
    mixer = _mixer(fields, family, kind, shared=shared)
    norm = vector("norm", fields.count("d_model"), group="norm", copies=family.norms * NORM_VECTORS[family.norm])
    feed: list[Part] = []
    if sparse:
        feed += feeds.experts(fields, family)
    if (not sparse or family.beside) and family.mlp != "none" and (kind == "mlp" or family.sparse != "typed"):
        wide = 2 if shared and fields.flag("use_double_wide_mlp") else 1
        feed += feeds.dense(fields, _dense_family(fields, family), wide=wide)
    places = ("layer", "sparse") if sparse else ("layer",)
    if family.twice:
        feed += feeds.dense(fields, family)
        mixer = replace(mixer, parts=2 * mixer.parts, caches=2 * mixer.caches)
    parts = (*mixer.parts, *feed, norm, *feeds.extras(fields, family, places))
    return PlannedLayer(mixer=mixer, parts=parts, sparse=sparse)


def _dense_family(fields: Fields, family: Family) -> Family:
    """A hybrid whose experts are none keeps the MLP that they would have shared."""
    return replace(family, dense_width=family.shared) if family.sparse == "some" else family


def _mixer(fields: Fields, family: Family, kind: str, *, shared: bool) -> Mixer:
    if kind in ("mlp", "moe"):
        return Mixer(name="mlp")
    if kind in ("linear", "conv"):
        return mixers.RECURRENT["conv" if kind == "conv" else family.linear](fields, family)
    reach = None
    if kind == "window":
        reach = fields.count("sliding_window")
    if kind == "chunk":
        reach = fields.count("attention_chunk_size")
    own = family.window_fields if kind == "window" else family.full_fields if kind == "full" else {}
    if own and not fields.overridden:
        fields = fields.over(**{SPELLINGS[name][0]: fields.get(field) for name, field in own.items()})
    if family.full == "compressed":
        return mixers.compressed(fields, family, stride=fields.count("compress_ratios", least=0))
    if family.full in ("latent", "sparse"):
        return mixers.latent(fields, family, name=family.full, reach=reach)
    if family.full in mixers.RECURRENT:
        return mixers.RECURRENT[family.full](fields, family)
    found = mixers.attention(fields, family, name=kind, reach=reach, shared=shared)
    if family.full == "both":  # side by side
        other = mixers.RECURRENT[family.linear](fields, family)
        return Mixer(name=other.name, parts=(*found.parts, *other.parts), caches=found.caches, state=other.state)
    return found


def _draft(fields: Fields, family: Family, kinds: list[str], sparse: list[bool]) -> Iterator[PlannedLayer]:
    """Layers that propose tokens: the last full one again, behind a projection of embedding and state side by side."""
    n_layers, d_model = fields.count("n_draft_layers", 0, least=0), fields.count("d_model")
    require(n_layers <= fields.n_layers, f"it has {n_layers} draft layers, more than layers")
    last = next((i for i in reversed(range(len(kinds))) if kinds[i] == "full"), len(kinds) - 1)
    fed = next((i for i in reversed(range(len(kinds))) if sparse[i] or kinds[i] == "mlp"), last)
    for _ in range(n_layers):
        layer = _layer(fields.at(last), family, kinds[last], sparse=sparse[last], shared=False)
        more = feeds.experts(fields.at(fed), family) if family.sparse == "typed" and sparse[fed] else ()
        before = (*linear("draft_in", "mlp", 2 * d_model, d_model), vector("norm", d_model, group="norm", copies=3))
        yield replace(layer, parts=(*layer.parts, *more, *before))


def _falcon(fields: Fields, family: Family) -> Family:
    """Falcon's norms: two where attention and MLP read different ones, or follow each other."""
    new, parallel = fields.flag("new_decoder_architecture"), fields.flag("parallel_attn", True)
    norms = fields.count("num_ln_in_parallel_attn", 2 if new else 1) if parallel or new else 2
    return replace(family, norms=norms, parallel=parallel)
