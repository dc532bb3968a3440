"""What shape is that? A plan's layers gathered into kinds, or told by flat sizes where those say as much."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bytebill.errors import BytebillError
from bytebill.models.config_json import feeds, mixers
from bytebill.models.config_json.fields import Fields, told
from bytebill.models.config_json.parts import Part
from bytebill.models.config_json.plan import DecoderPlan, PlannedLayer, plan
from bytebill.models.layers import LayerKind, Matrix
from bytebill.models.shapes import MLASpec, ModelSpec, MoESpec


def read_config(config: Mapping[str, Any], *, id: str, name: str) -> ModelSpec:
    """The shape of the decoder that a `config.json` describes: parameters as `transformers` counts them.

    A model whose layers are alike is told by its sizes, one whose layers differ by its kinds of layers. Of a
    multimodal model the text part; draft layers (MTP) apart. Raises BytebillError in one sentence.

    >>> config = dict(model_type="llama", num_hidden_layers=2, hidden_size=64, intermediate_size=128,
    ...               num_attention_heads=4, vocab_size=100, max_position_embeddings=256)
    >>> spec = read_config(config, id="tiny", name="tiny")
    >>> spec.d_head, spec.n_params, spec.layers
    (16, 95040, ())
    """
    return spec_of(planned(config, name), id=id, name=name)


def planned(config: Mapping[str, Any], name: str) -> DecoderPlan:
    """A config's layers; whatever it has that cannot be, ends in one sentence."""
    try:
        return plan(config)
    except BytebillError as error:
        raise told(name, error) from None
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ZeroDivisionError, OverflowError):
        raise told(name, ValueError("a field of it has a value that no model has")) from None


def spec_of(found: DecoderPlan, *, id: str, name: str) -> ModelSpec:
    """The shape of a plan."""
    try:
        layered = _layered(found, id, name)
        flat = _flat(layered, found)
    except BytebillError as error:
        raise told(name, error) from None
    except (TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
        raise told(name, ValueError("a field of it has a value that no model has")) from None
    return flat or layered


def _layered(found: DecoderPlan, id: str, name: str) -> ModelSpec:
    fields, family = found.fields, found.family
    recurrent = family.full in mixers.RECURRENT
    n_heads = fields.count("mamba_heads", fields.count("d_model")) if recurrent else fields.at(0).count("n_heads")
    d_model = fields.count("d_model")
    d_head = fields.at(0).count("d_head", max(1, d_model // n_heads))
    mla = None
    if family.full in ("latent", "sparse"):
        mla = MLASpec(
            q_lora_rank=fields.count("q_lora_rank", 0, least=0),
            kv_lora_rank=fields.count("kv_lora_rank"),
            d_nope=fields.count("qk_nope_head_dim"),
            d_rope=fields.count("qk_rope_head_dim"),
            d_v=fields.count("v_head_dim"),
        )
        d_head = mla.d_nope + mla.d_rope
    moe = _moe(found)
    learned = family.positions == "learned"
    context_len = fields.count("context_len", 2**20 if recurrent else None)
    return ModelSpec(
        id=id,
        name=name,
        n_layers=len(found.layers),
        d_model=d_model,
        d_ff=fields.at(0).count("d_ff", moe.d_ff_expert if moe else d_model),
        n_heads=n_heads,
        n_kv_heads=n_heads if recurrent or mla else fields.at(0).count("n_kv_heads", n_heads),
        d_head=d_head,
        vocab_size=fields.count("vocab_size"),
        context_len=context_len,
        tied_embeddings=fields.flag("tie_word_embeddings", family.tied),
        mlp=family.mlp if family.mlp != "none" else "swiglu",
        norm=family.norm,
        parallel=family.parallel or fields.flag("use_parallel_residual"),
        positions=family.positions,
        n_positions=context_len + family.more_positions if learned else 0,
        rope_base=_rope_base(fields),
        norm_eps=fields.number("rms_norm_eps", 1e-6),
        moe=moe,
        mla=mla,
        layers=_kinds(found.layers),
        besides=tuple(_merged(found.besides)),
        draft=_kinds(found.draft),
    )


def _flat(layered: ModelSpec, found: DecoderPlan) -> ModelSpec | None:
    """The same model told by its sizes alone; None where they do not say all."""
    if len(layered.layers) != 1 or layered.besides:
        return None
    kind, moe = layered.layers[0], layered.moe
    names = {matrix.name for matrix in kind.matrices}
    sparse = [layer.sparse for layer in found.layers]
    if moe is not None and sparse != sorted(sparse):  # the dense ones come first
        return None
    biases = {"o_bias", "down_bias"} <= names
    flat = replace(
        layered,
        layers=(),
        norms_per_layer=found.family.norms,
        biases=biases,
        qkv_bias="q_bias" in names and not biases,
        qk_norm="qk_norm" in names,
        window_len=next((kept.reach for kept in kind.caches), None),
    )
    same = _sizes(flat.kinds[0].matrices) == _sizes(kind.matrices)
    return flat if same and (flat.kinds[0].caches, kind.state) == (kind.caches, None) else None


def _sizes(matrices: Iterable[Matrix]) -> dict[tuple[str, str, int, int], int]:
    found: Counter[tuple[str, str, int, int]] = Counter()
    for matrix in matrices:
        found[matrix.name, matrix.group, matrix.n_in, matrix.n_out] += matrix.copies
    return {key: copies for key, copies in found.items() if copies}


def _kinds(layers: tuple[PlannedLayer, ...]) -> tuple[LayerKind, ...]:
    """Layers that keep the same of a sequence, together."""
    gathered: dict[tuple[Any, ...], list[PlannedLayer]] = {}
    for layer in layers:
        gathered.setdefault((layer.mixer.name, layer.mixer.caches, layer.mixer.state), []).append(layer)
    return tuple(
        LayerKind(
            name=name,
            n_layers=len(alike),
            matrices=tuple(_merged(part for layer in alike for part in layer.parts)),
            caches=caches,
            state=state,
        )
        for (name, caches, state), alike in gathered.items()
    )


def _merged(parts: Iterable[Part]) -> Iterable[Matrix]:
    return (
        Matrix(name=name, group=group, n_in=n_in, n_out=n_out, copies=copies)
        for (name, group, n_in, n_out), copies in _sizes(part.matrix for part in parts).items()
    )


def _moe(found: DecoderPlan) -> MoESpec | None:
    sparse = [index for index, layer in enumerate(found.layers) if layer.sparse]
    if not sparse:
        return None
    fields, family = found.fields.at(sparse[0]), found.family
    shapes = {
        tuple(part.matrix for part in found.layers[index].parts if part.matrix.group == "expert") for index in sparse
    }
    if len(shapes) > 1:
        raise BytebillError("its layers differ in their experts")
    return MoESpec(
        n_experts=fields.count("n_experts"),
        n_experts_per_token=fields.count("n_experts_per_token"),
        d_ff_expert=feeds.expert_width(fields, family),
        n_shared_experts=fields.count("n_shared_experts", 0, least=0) if family.shared == "count" else 0,
        n_dense_layers=len(found.layers) - len(sparse) if family.sparse != "typed" else 0,
        router_bias=family.router_bias,
    )


def _rope_base(fields: Fields) -> float:
    """The base of the rotary frequencies, of full layers where others have their own."""
    rope = fields.mapping("rope_parameters")
    for part in ("full_attention", "main"):
        if isinstance(rope.get(part), Mapping):
            rope = rope[part]
    value = rope.get("rope_theta", fields.values.get("rope_theta"))
    if isinstance(value, list):
        value = value[0] if value else None
    return Fields({"rope_theta": value}).number("rope_theta", 10_000.0)
