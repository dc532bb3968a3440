"""What is multiplied after tokens have met? The MLP of a layer, or its router and experts.

Experts are counted with all their copies; shared ones as they are told: so many of an expert's width, or one width.
"""

from collections.abc import Iterator

from bytebill.models.config_json.families import Family
from bytebill.models.config_json.fields import Fields
from bytebill.models.config_json.mixers import holds
from bytebill.models.config_json.parts import Part, linear


def dense(fields: Fields, family: Family, *, wide: int = 1) -> Iterator[Part]:
    """The MLP that every token goes through."""
    width = wide * fields.count(family.dense_width)
    bias = holds(fields, family.mlp_bias)
    yield from _matrices(family, "mlp", fields.count("d_model"), width, "mlp", "gate_proj up_proj down_proj", bias)


def experts(fields: Fields, family: Family) -> Iterator[Part]:
    """A router, its experts, and those that all tokens share."""
    d_model, n_experts = fields.count("d_model"), fields.count("n_experts")
    width, mlp_bias = expert_width(fields, family), holds(fields, family.mlp_bias)
    listed = fields.count("zero_expert_num", 0, least=0) + n_experts  # some are nothing but the identity
    yield from linear("router", "router", d_model, listed, bias=family.router_bias)
    inner = fields.count("moe_latent_size", d_model)
    if inner != d_model:  # experts between two projections that all share
        yield from linear("latent_down", "mlp", d_model, inner, "mlp.fc1_latent_proj", bias=mlp_bias)
        yield from linear("latent_up", "mlp", inner, d_model, "mlp.fc2_latent_proj", bias=mlp_bias)
    yield from _matrices(
        family, "expert", inner, width, "mlp.experts.0", family.experts, family.expert_bias, copies=n_experts
    )
    n_shared, shared_width = _shared(fields, family, width)
    if mlp_bias:  # told as one MLP, whose bias comes once
        n_shared, shared_width = min(n_shared, 1), n_shared * shared_width
    if n_shared:
        where, names = "mlp.shared_experts", "gate_proj up_proj down_proj"
        yield from _matrices(family, "shared_expert", d_model, shared_width, where, names, mlp_bias, copies=n_shared)
    if n_shared and family.shared_gate:
        yield from linear("shared_gate", "router", d_model, 1)


def expert_width(fields: Fields, family: Family) -> int:
    """Width of one routed expert."""
    return fields.count(family.expert_width if fields.get(family.expert_width) is not None else "d_ff")


def _shared(fields: Fields, family: Family, width: int) -> tuple[int, int]:
    if family.shared == "count":
        return fields.count("n_shared_experts", 0, least=0), width
    if not family.shared:
        return 0, width
    n_shared = fields.count("n_shared_experts", 1, least=0)
    told = fields.count(family.shared, 0, least=0)
    return int(bool(n_shared and told)), told * (n_shared if family.shared == "d_ff" else 1)


def _matrices(
    family: Family, group: str, d_model: int, width: int, where: str, names: str, bias: bool, copies: int = 1
) -> Iterator[Part]:
    gate, up, down = (f"{where}.{name}" for name in names.split())
    fused = f"{where}.gate_up_proj"
    if family.mlp == "swiglu":
        yield from linear("gate", group, d_model, width, gate, fused, bias=bias, copies=copies)
    yield from linear("up", group, d_model, width, up, fused, bias=bias, copies=copies)
    yield from linear("down", group, width, d_model, down, bias=bias, copies=copies)


def extras(fields: Fields, family: Family, places: tuple[str, ...]) -> Iterator[Part]:
    """What else a family keeps in such places: a layer, a layer with experts, or the model."""
    for place, name, group, n_in, n_out, copies in family.extras:
        condition, _, where = place.rpartition(" ")
        if where not in places or (condition and not fields.count(condition.removeprefix("if "), 0, least=0)):
            continue
        yield from linear(name, group, fields.size(n_in), fields.size(n_out), copies=fields.size(copies))
