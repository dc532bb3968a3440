"""What does one step move and multiply? The one cost function, and the terms it is made of.

    bytes = weights + KV read + KV written + activations + logits
    flops = 2 * (parameters met) * T + attention flops

    weights     = fixed + rows * T + head (if logits) + experts(T)
    activations = token * T + head input * logits
    KV          = kv * (context + T)         attention flops = pair * pairs

S tokens of context already cached and T new ones a sequence (`bytebill.roofline.load`), N `n_heads`, K `n_kv_heads`,
H `d_head`.

Weights are read once a step however many tokens share them; of the embedding only the rows looked up; of E
experts the expected number of distinct ones. KV is read once per KV head, not per query head; the keys and
values of new tokens are still on the chip. Attention within a chunk is causal. MLA is counted in its absorbed
form. Ignores skewed routing, softmax and norms. How long it takes: `bytebill.roofline.bounds`.
"""

from dataclasses import dataclass
from functools import cache

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
        return self.weight_bytes + (self.kv_read_bytes + self.kv_write_bytes) + self.activation_bytes + self.logit_bytes

    @property
    def flops(self) -> float:
        return self.linear_flops + self.attention_flops

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs done for each byte moved [FLOP/byte]."""
        return self.flops / self.bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class CostTerms:
    """What one more token, logit, cached token or pair adds to a step of one model in one precision."""

    model: ModelSpec
    fixed_bytes: float  # weights of every step; head and experts come besides
    head_bytes: float  # weights of a step in which somebody wants logits
    expert_bytes: float  # weights of all experts of all layers
    row_bytes: float  # of a token in the tables
    activation_bytes: float  # of a token: each product's input and output, once
    head_input_bytes: float
    logit_bytes: float
    token_flops: float
    logit_flops: float
    kv_bytes: float  # of one cached token
    pair_flops: float

    def weight_bytes(self, n_new_tokens: int, n_logits: int) -> float:
        """Weights that a step reads: every matrix once, experts as far as touched, tables by row."""
        fixed = self.fixed_bytes + self.row_bytes * n_new_tokens + (self.head_bytes if n_logits else 0.0)
        share = touched_share(self.model, n_tokens=n_new_tokens) if self.expert_bytes else 0.0
        return fixed + self.expert_bytes * share

    def linear_bytes(self, n_new_tokens: int, n_logits: int) -> float:
        """Bytes that everything but attention moves: weights, activations and logits."""
        return self.weight_bytes(n_new_tokens, n_logits) + (
            self.activation_bytes * n_new_tokens + (self.head_input_bytes + self.logit_bytes) * n_logits
        )

    def linear_flops(self, n_new_tokens: int, n_logits: int) -> float:
        """FLOPs of everything but attention: a multiply and an add for each parameter that a token meets."""
        return self.token_flops * n_new_tokens + self.logit_flops * n_logits


@cache
def cost_terms(model: ModelSpec, *, precision: Precision) -> CostTerms:
    """The terms of a model's cost, counted over its one list of matrices.

    >>> from bytebill.models import model, precision
    >>> terms = cost_terms(model("llama-3-8b"), precision=precision("bf16"))
    >>> int(terms.kv_bytes), int(terms.pair_flops)    # 2*32*8*128*2 bytes; 4*128 FLOPs in 32 heads of 32 layers
    (131072, 524288)
    """
    params = dict.fromkeys(("embedding", "head", "expert", "rest"), 0)
    for matrix in matrices(model):
        params[matrix.group if matrix.group in params else "rest"] += matrix.n_params
    # a token is multiplied by k of E experts and by all other matrices, but by no table and no vector; head: a logit
    besides = ("embedding", "norm", "bias", "head")
    routed = model.moe.n_experts_per_token / model.moe.n_experts if model.moe else 1.0
    met = [(m, routed if m.group == "expert" else 1.0) for m in matrices(model) if m.group not in besides]
    wide, per_value = precision.bytes_per_weight, float(precision.activation_bytes_per_value)
    # scores and weighted values, a multiply and an add each; MLA absorbed: over the latent, and the rotary key
    per_pair = 4 * model.d_head if model.mla is None else 2 * (2 * model.mla.kv_lora_rank + model.mla.d_rope)
    return CostTerms(
        model=model,
        fixed_bytes=params["rest"] * wide,
        head_bytes=params["head"] * wide,
        expert_bytes=params["expert"] * wide,
        row_bytes=model.d_model * (2 if model.positions == "learned" else 1) * wide,
        activation_bytes=sum((m.n_in + m.n_out) * m.copies * share for m, share in met) * per_value,
        head_input_bytes=model.d_model * per_value,
        logit_bytes=model.vocab_size * per_value,
        token_flops=sum(2 * m.n_params * share for m, share in met),
        logit_flops=2.0 * params["head"],
        kv_bytes=kv_stored_bytes_per_token(model, precision=precision),
        pair_flops=float(model.n_layers * model.n_heads * per_pair),
    )


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
    terms, n_new, n_logits = cost_terms(model, precision=precision), load.checked().n_new_tokens, load.n_logits
    return StepCost(
        weight_bytes=terms.weight_bytes(n_new, n_logits),
        kv_read_bytes=load.kept_tokens(model.window_len) * terms.kv_bytes,
        kv_write_bytes=n_new * terms.kv_bytes,
        activation_bytes=terms.activation_bytes * n_new + terms.head_input_bytes * n_logits,
        logit_bytes=n_logits * terms.logit_bytes,
        linear_flops=terms.linear_flops(n_new, n_logits),
        attention_flops=terms.pair_flops * load.attended_pairs(model.window_len),
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


def touched_share(model: ModelSpec, *, n_tokens: int) -> float:
    """Share of a layer's experts that so many tokens are expected to meet; 1 where there are none to choose from."""
    if (moe := model.moe) is None:
        return 1.0
    return (
        distinct_experts(moe.n_experts, n_experts_per_token=moe.n_experts_per_token, n_tokens=n_tokens) / moe.n_experts
    )
