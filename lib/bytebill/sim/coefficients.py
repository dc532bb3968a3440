"""How do a step's bytes and FLOPs grow with what is in it? The coefficients of `roofline.step_cost`.

    linear bytes    = fixed + per_token * T + per_logit * logits + head (if logits) + experts(T)
    linear flops    =         per_token * T + per_logit * logits
    attention bytes = kv_bytes * (context + T)        read once per KV head, and written
    attention flops = pair_flops * pairs

T `n_new_tokens`, logits `n_logits`. The coefficients are read off the cost function itself, at steps of one and
two tokens, and checked against it at others, so nothing is counted here a second time. Whole contexts: what a
sliding window forgets is the clock's to subtract.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isclose

from bytebill.models import ModelSpec, Precision, kv_stored_bytes_per_token, matrices, weight_bytes
from bytebill.roofline import Chunk, Load, StepCost, step_cost, touched_share


@dataclass(frozen=True, kw_only=True, slots=True)
class Coefficients:
    """What one more token, logit, cached token or pair adds to a step of one model in one precision."""

    model: ModelSpec
    fixed_bytes: float  # of every step; head and experts come besides
    head_bytes: float
    expert_bytes: float  # of all experts of all layers
    token_bytes: float
    logit_bytes: float
    token_flops: float
    logit_flops: float
    kv_bytes: float  # of one cached token
    pair_flops: float
    resident_bytes: float  # weights in memory, whether a step meets them or not

    def linear_bytes(self, n_new_tokens: int, n_logits: int) -> float:
        """Bytes that everything but attention moves: weights, activations and logits."""
        moved = self.fixed_bytes + self.token_bytes * n_new_tokens + self.logit_bytes * n_logits
        if self.expert_bytes:
            moved += self.expert_bytes * touched_share(self.model, n_tokens=n_new_tokens)
        return moved + self.head_bytes if n_logits else moved

    def linear_flops(self, n_new_tokens: int, n_logits: int) -> float:
        """FLOPs of everything but attention."""
        return self.token_flops * n_new_tokens + self.logit_flops * n_logits


@cache
def coefficients(model: ModelSpec, *, precision: Precision) -> Coefficients:
    """The coefficients of a model, read off the cost function and checked against it.

    >>> from bytebill.models import model, precision
    >>> read = coefficients(model("llama-3-8b"), precision=precision("bf16"))
    >>> int(read.kv_bytes), int(read.pair_flops)    # 2*32*8*128*2 bytes; 4*128 FLOPs in 32 heads of 32 layers
    (131072, 524288)
    """
    experts = sum(m.n_params for m in matrices(model) if m.group == "expert") * precision.bytes_per_weight

    def moved(n_new_tokens: int, n_logits: int) -> float:
        rest = experts * touched_share(model, n_tokens=n_new_tokens) if experts else 0.0
        return _linear(_cost(model, precision, n_new_tokens, n_logits)) - rest

    alone, logit = _cost(model, precision, 1, 0), _cost(model, precision, 1, 1)
    per_token, per_logit = moved(2, 0) - moved(1, 0), moved(2, 2) - moved(2, 1)
    found = Coefficients(
        model=model,
        fixed_bytes=moved(1, 0) - per_token,
        expert_bytes=experts,
        head_bytes=moved(1, 1) - moved(1, 0) - per_logit,
        token_bytes=per_token,
        logit_bytes=per_logit,
        token_flops=alone.linear_flops,
        logit_flops=logit.linear_flops - alone.linear_flops,
        kv_bytes=kv_stored_bytes_per_token(model, precision=precision),
        pair_flops=alone.attention_flops,
        resident_bytes=weight_bytes(model, precision=precision),
    )
    for step in ((3, 0), (7, 7), (640, 5)):
        _check(found, precision=precision, n_new_tokens=step[0], n_logits=step[1])
    return found


def _check(found: Coefficients, *, precision: Precision, n_new_tokens: int, n_logits: int) -> None:
    """Refuse coefficients that do not give the bytes and FLOPs that `roofline.step_cost` counts."""
    cost = _cost(found.model, precision, n_new_tokens, n_logits)
    pairs = [(found.linear_bytes(n_new_tokens, n_logits), _linear(cost))]
    pairs += [(found.linear_flops(n_new_tokens, n_logits), cost.linear_flops)]
    pairs += [(found.kv_bytes * n_new_tokens, cost.kv_write_bytes)]
    if found.model.window_len is None or n_new_tokens <= found.model.window_len:
        pairs += [(found.pair_flops * (n_new_tokens * (n_new_tokens + 1) // 2), cost.attention_flops)]
    for mine, counted in pairs:
        if not isclose(mine, counted, rel_tol=1e-9):
            raise RuntimeError(f"{found.model.id}: the coefficients give {mine}, the cost function {counted}")


def _cost(model: ModelSpec, precision: Precision, n_new_tokens: int, n_logits: int) -> StepCost:
    chunk = Chunk(context_len=0, n_new_tokens=n_new_tokens, n_logits=n_logits)
    return step_cost(model, load=Load(chunks=(chunk,)), precision=precision)


def _linear(cost: StepCost) -> float:
    return cost.weight_bytes + cost.activation_bytes + cost.logit_bytes
