"""What does one step move and multiply? The one cost function.

    bytes = weights + KV read + KV written + activations + logits
    flops = 2 * (parameters met) * T + attention flops

S tokens of context already cached and T new ones a sequence (`bytebill.roofline.load`), N `n_heads`, K `n_kv_heads`,
H `d_head`.

Weights are read once a step however many tokens share them; of the embedding only the rows looked up; of E
experts the expected number of distinct ones. KV is read once per KV head, not per query head; the keys and
values of new tokens are still on the chip. Attention within a chunk is causal. MLA is counted in its absorbed
form. Ignores skewed routing, softmax and norms. How long it takes: `bytebill.roofline.bounds`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bytebill.models import ModelSpec, Precision, kv_stored_bytes_per_token, matrices
from bytebill.roofline.load import Load
from bytebill.roofline.routing import distinct_experts


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Bytes and FLOPs of a step, by what they are for."""

    weight_bytes: float
    kv_read_bytes: float
    kv_write_bytes: float
    activation_bytes: float
    logit_bytes: float
    linear_flops: float
    attention_flops: float

    @property
    def bytes(self) -> float:
        kv = self.kv_read_bytes + self.kv_write_bytes
        return self.weight_bytes + kv + self.activation_bytes + self.logit_bytes

    @property
    def flops(self) -> float:
        return self.linear_flops + self.attention_flops

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs done for each byte moved [FLOP/byte]."""
        return self.flops / self.bytes


def step_cost(model: ModelSpec, *, load: Load, precision: Precision) -> StepCost:
    """Bytes and FLOPs of one step: the cost function of the book.

    >>> from bytebill.models import model, precision
    >>> cost = step_cost(model("llama-2-13b"), load=Load.decode(batch_size=4, context_len=8192),
    ...                  precision=precision("bf16"))
    >>> round(cost.weight_bytes / 1e9, 2)     # (13,015,864,320 - 32,000 * 5,120) * 2 bytes
    25.7
    >>> round(cost.kv_read_bytes / 1e9, 2)    # 4 sequences of 6.71 GB
    26.84
    """
    per_token = kv_stored_bytes_per_token(model, precision=precision)
    return StepCost(
        weight_bytes=weight_read_params(model, load=load) * precision.bytes_per_weight,
        kv_read_bytes=load.kept_tokens(model.window_len) * per_token,
        kv_write_bytes=load.n_new_tokens * per_token,
        activation_bytes=_activation_values(model, load=load) * precision.activation_bytes_per_value,
        logit_bytes=load.n_logits * model.vocab_size * precision.activation_bytes_per_value,
        linear_flops=_linear_flops(model, load=load),
        attention_flops=_attention_flops(model, load=load),
    )


def decode_cost(model: ModelSpec, *, batch_size: int, context_len: float, precision: Precision) -> StepCost:
    """Bytes and FLOPs of one new token for each of `batch_size` sequences with a mean context of `context_len`.

    >>> from bytebill.models import model, precision
    >>> shape = {"context_len": 2048, "precision": precision("bf16")}
    >>> one, many = (decode_cost(model("llama-3-70b"), batch_size=b, **shape) for b in (1, 64))
    >>> round(many.bytes / one.bytes, 2), round(many.flops / one.flops)    # the weights are read once
    (1.31, 64)
    """
    return step_cost(model, load=Load.decode(batch_size=batch_size, context_len=context_len), precision=precision)


def weight_read_params(model: ModelSpec, *, load: Load) -> float:
    """Parameters a step reads: every matrix once, experts as far as touched, embeddings by row.

    The head is read if any token wants logits; a tied embedding as the head, its looked-up rows again.

    >>> from bytebill.models import model
    >>> one_token = weight_read_params(model("mixtral-8x7b"), load=Load.decode(batch_size=1, context_len=0))
    >>> int(one_token) == model("mixtral-8x7b").n_active_params - 32000 * 4096 + 4096
    True
    """
    total = float(load.n_new_tokens * model.d_model * (2 if model.positions == "learned" else 1))
    for matrix in matrices(model):
        if matrix.group == "expert":
            total += matrix.n_params * touched_share(model, n_tokens=load.n_new_tokens)
        elif matrix.group == "head":
            total += matrix.n_params if load.n_logits else 0
        elif matrix.group != "embedding":
            total += matrix.n_params
    return total


def touched_share(model: ModelSpec, *, n_tokens: int) -> float:
    """Share of a layer's experts that so many tokens are expected to meet; 1 where there are none to choose from."""
    if model.moe is None:
        return 1.0
    n_experts = model.moe.n_experts
    k = model.moe.n_experts_per_token
    return distinct_experts(n_experts, n_experts_per_token=k, n_tokens=n_tokens) / n_experts


def _met_share(model: ModelSpec, group: str) -> float:
    """Share of a group's matrices that one token is multiplied by: k of E experts, all of everything else."""
    if group != "expert" or model.moe is None:
        return 1.0
    return model.moe.n_experts_per_token / model.moe.n_experts


def _linear_flops(model: ModelSpec, *, load: Load) -> float:
    """A multiply and an add for each parameter a token meets; the head for tokens that want logits."""
    total = 0.0
    for matrix in (matrix for matrix in matrices(model) if matrix.is_matmul):
        n_tokens = load.n_logits if matrix.group == "head" else load.n_new_tokens
        total += 2 * n_tokens * matrix.n_params * _met_share(model, matrix.group)
    return total


def _activation_values(model: ModelSpec, *, load: Load) -> float:
    """Each product's input read and output written once; the head's output is counted as logits."""
    inner: Iterable[float] = (
        (matrix.n_in + matrix.n_out) * matrix.copies * _met_share(model, matrix.group)
        for matrix in matrices(model)
        if matrix.is_matmul and matrix.group != "head"
    )
    return load.n_new_tokens * sum(inner) + load.n_logits * model.d_model


def _attention_flops(model: ModelSpec, *, load: Load) -> float:
    """Scores and weighted values, a multiply and an add each: 4 * H per head and pair (MLA: absorbed)."""
    if model.mla is not None:
        per_pair = 2 * ((model.mla.kv_lora_rank + model.mla.d_rope) + model.mla.kv_lora_rank)
    else:
        per_pair = 4 * model.d_head
    pairs = load.attended_pairs(model.window_len)
    return float(model.n_layers * model.n_heads * per_pair * pairs)
