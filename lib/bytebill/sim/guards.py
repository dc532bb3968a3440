"""What may no prediction ever do? The physics that published tools get wrong, and what stops them here.

    step time            >= bytes / published bandwidth, and >= FLOPs / published peak
    KV read a token       = 2 L K H values: KV heads, not query heads (MLA: the latent and its rotary key)
    resident weights      = all parameters, experts that no token meets included
    weights read, FLOPs   = every matrix and the head, once

Each is counted here from the model's shape, a second way than `roofline` counts it, so that a slip in either
stops the clock instead of speeding it up. Ignores on-chip caches, which can make a small model's step faster than
its bytes.
"""

from math import isclose

from bytebill.models import PRECISIONS, VECTORS, ModelSpec, Precision, matrices
from bytebill.roofline import CostTerms

_DIGITS = 1e-9  # what the order of additions may change in a float


class PhysicsError(RuntimeError):
    """A prediction that no device can keep, or a count that is not the model's."""


def no_faster(seconds: float, *, memory_s: float, compute_s: float) -> float:
    """A time, refused if it is below what bytes or FLOPs take at the published rates."""
    least_s = max(memory_s, compute_s)
    if seconds < least_s * (1 - _DIGITS):
        raise PhysicsError(f"{seconds} s is below the {least_s} s that bytes and FLOPs take")
    return seconds


def counted_once(terms: CostTerms, *, precision: Precision, resident_bytes: float) -> None:
    """Refuse cache, weights in memory, weights read or FLOPs other than those of the model's shape.

    >>> from bytebill.models import model, precision
    >>> from bytebill.roofline import cost_terms
    >>> spec, bf16 = model("mixtral-8x7b"), precision("bf16")
    >>> counted_once(cost_terms(spec, precision=bf16), precision=bf16, resident_bytes=2.0 * spec.n_params)
    """
    model = terms.model
    cached = sum(each.token_bytes for each in terms.caches)
    if not model.layers:
        _same(cached, _kv_values(model) * precision.kv_bytes_per_value, "bytes of a cached token")
    read = terms.fixed_bytes + terms.head_bytes + terms.expert_bytes
    if not precision.exceptions:
        width = precision.bytes_per_weight
        _same(resident_bytes, model.n_params * width, "weights in memory")
        _same(read, model.n_matmul_params * width, "weights read")
    _between(resident_bytes, model.n_params, precision, "weights in memory")
    _between(read, model.n_matmul_params, precision, "weights read")
    flops = sum(each for _, each in (*terms.token_flops, *terms.expert_flops, *terms.logit_flops))
    _same(flops, 2 * _params_met(model), "FLOPs of a token")


def _kv_values(model: ModelSpec) -> int:
    if model.mla is not None:
        return model.n_layers * (model.mla.kv_lora_rank + model.mla.d_rope)
    return 2 * model.n_layers * model.n_kv_heads * model.d_head


def _params_met(model: ModelSpec) -> float:
    """Parameters in the matrices that one token is multiplied by: no table, no vector, k of E experts."""
    looked_up = (model.n_positions + (0 if model.tied_embeddings else model.vocab_size)) * model.d_model
    vectors = sum(matrix.n_params for matrix in matrices(model) if matrix.group in VECTORS)
    return model.n_active_params - looked_up - vectors


def _between(found: float, n_params: int, precision: Precision, what: str) -> None:
    """No model takes less than all of it in its narrowest format, or more than all of it in its widest."""
    widths = [precision.bytes_per_weight, *(PRECISIONS[name].bytes_per_weight for _, _, name in precision.exceptions)]
    if not n_params * min(widths) * (1 - _DIGITS) <= found <= n_params * max(widths) * (1 + _DIGITS):
        raise PhysicsError(f"{what}: {found} bytes of {n_params} parameters in {precision.name}")


def _same(found: float, expected: float, what: str) -> None:
    if not isclose(found, expected, rel_tol=_DIGITS):
        raise PhysicsError(f"{what}: {found}, and the model's shape says {expected}")
