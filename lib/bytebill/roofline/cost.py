"""What does one step move and multiply, and how fast can a device do it? The one cost function.

    step time >= max(bytes / W, flops / peak)       if reading and arithmetic overlap perfectly
    step time <= bytes / W + flops / peak           if they do not overlap at all, both still at full rate

    bytes = weights + KV read + KV written + activations + logits
    flops = 2 * (parameters met) * T + attention flops

S tokens of context already cached and T new ones a sequence (`bytebill.roofline.load`), W `bandwidth_bytes_per_s`
[B/s], peak [FLOP/s], N `n_heads`, K `n_kv_heads`, H `d_head`.

Weights are read once a step however many tokens share them; of the embedding only the rows looked up; of E
experts the expected number of distinct ones. KV is read once per KV head, not per query head; the keys and
values of new tokens are still on the chip. Attention within a chunk is causal. MLA is counted in its absorbed
form. Ignores launch overhead, caches (weights that stay in one make a step faster than its bytes), links
between devices, skewed routing, softmax and norms, and that kernels reach 0.7 to 0.95 of a published rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from bytebill.hardware import Accelerator
from bytebill.models import ModelSpec, Precision, kept_context_len, kv_stored_bytes_per_token, matrices
from bytebill.roofline.load import Step, attended_pairs
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


class Bound(Enum):
    """What a step waits for."""

    BANDWIDTH = "bandwidth"
    COMPUTE = "compute"


@dataclass(frozen=True, kw_only=True)
class TimeBounds:
    """Time to move a step's bytes and time to do its arithmetic; at full rates the truth is between."""

    memory_s: float
    compute_s: float

    @property
    def max_s(self) -> float:
        return max(self.memory_s, self.compute_s)

    @property
    def sum_s(self) -> float:
        return self.memory_s + self.compute_s

    @property
    def bound(self) -> Bound:
        return Bound.BANDWIDTH if self.memory_s >= self.compute_s else Bound.COMPUTE

    @property
    def compute_idle_share(self) -> float:
        """Share of the shortest possible step in which the arithmetic units have nothing to do."""
        return 1 - self.compute_s / self.max_s


def step_cost(model: ModelSpec, *, step: Step, precision: Precision) -> StepCost:
    """Bytes and FLOPs of one step: the cost function of the book.

    >>> from bytebill.models import model, precision
    >>> cost = step_cost(model("llama-2-13b"), step=Step.decode(batch_size=4, context_len=8192),
    ...                  precision=precision("bf16"))
    >>> round(cost.weight_bytes / 1e9, 2)     # (13,015,864,320 - 32,000 * 5,120) * 2 bytes
    25.7
    >>> round(cost.kv_read_bytes / 1e9, 2)    # 4 sequences of 6.71 GB
    26.84
    """
    per_token = kv_stored_bytes_per_token(model, precision=precision)
    kept = sum(kept_context_len(model, chunk.context_len) for chunk in step.chunks)
    return StepCost(
        weight_bytes=weight_read_params(model, step=step) * precision.bytes_per_weight,
        kv_read_bytes=kept * per_token,
        kv_write_bytes=step.n_new_tokens * per_token,
        activation_bytes=_activation_values(model, step=step) * precision.activation_bytes_per_value,
        logit_bytes=step.n_logits * model.vocab_size * precision.activation_bytes_per_value,
        linear_flops=_linear_flops(model, step=step),
        attention_flops=_attention_flops(model, step=step),
    )


def decode_cost(model: ModelSpec, *, batch_size: int, context_len: int, precision: Precision) -> StepCost:
    """Bytes and FLOPs of decoding one token for each of `batch_size` sequences of one length.

    >>> from bytebill.models import model, precision
    >>> cost = decode_cost(model("llama-2-13b"), batch_size=1, context_len=8192, precision=precision("bf16"))
    >>> round(cost.kv_read_bytes / 1e9, 2)
    6.71
    """
    return step_cost(model, step=Step.decode(batch_size=batch_size, context_len=context_len), precision=precision)


def weight_read_params(model: ModelSpec, *, step: Step) -> float:
    """Parameters a step reads: every matrix once, experts as far as touched, embeddings by row.

    The head is read if any token wants logits; a tied embedding as the head, its looked-up rows again.

    >>> from bytebill.models import model
    >>> one_token = weight_read_params(model("mixtral-8x7b"), step=Step.decode(batch_size=1, context_len=0))
    >>> int(one_token) == model("mixtral-8x7b").n_active_params - 32000 * 4096 + 4096
    True
    """
    total = float(step.n_new_tokens * model.d_model * (2 if model.positions == "learned" else 1))
    for matrix in matrices(model):
        if matrix.group == "expert":
            total += matrix.n_params * _touched_share(model, n_tokens=step.n_new_tokens)
        elif matrix.group == "head":
            total += matrix.n_params if step.n_logits else 0
        elif matrix.group != "embedding":
            total += matrix.n_params
    return total


def step_time_bounds(cost: StepCost, *, accelerator: Accelerator, dtype: str = "bf16") -> TimeBounds:
    """Memory time and compute time of a step on a device; `dtype` is what its units multiply in.

    memory_s = bytes / W,  compute_s = flops / peak(dtype)     [s]

    >>> from bytebill.hardware import accelerator
    >>> cost = StepCost(weight_bytes=3.35e9, kv_read_bytes=0, kv_write_bytes=0, activation_bytes=0,
    ...                 logit_bytes=0, linear_flops=3.35e9, attention_flops=0)
    >>> bounds = step_time_bounds(cost, accelerator=accelerator("h100-sxm"))
    >>> round(bounds.memory_s * 1e3, 6), bounds.bound.value
    (1.0, 'bandwidth')
    """
    return TimeBounds(
        memory_s=cost.bytes / accelerator.bandwidth_bytes_per_s, compute_s=cost.flops / accelerator.peak(dtype)
    )


def critical_batch(accelerator: Accelerator, *, precision: Precision, model: ModelSpec | None = None) -> float:
    """Tokens a step must share its weights among before arithmetic takes as long as reading them.

    B = peak * bytes_per_weight / (2 * W)     [tokens], times E/k for routed experts

    In bf16 that is the ridge point; 8-bit weights halve it, unless the arithmetic doubles its rate as well.
    Ignores KV, which only ever raises it, to infinity once attention alone stays under the ridge.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> round(critical_batch(accelerator("tpu-v5e"), precision=precision("bf16")), 1)    # 197e12 / 0.819e12
    240.5
    >>> h100, mixtral = accelerator("h100-sxm"), model("mixtral-8x7b")
    >>> round(critical_batch(h100, precision=precision("bf16"), model=mixtral))    # 295.3 * 8 / 2
    1181
    """
    dense = accelerator.ridge_point(precision.compute_dtype) * precision.bytes_per_weight / 2
    if model is None or model.moe is None:
        return dense
    return dense * model.moe.n_experts / model.moe.n_experts_per_token


def _touched_share(model: ModelSpec, *, n_tokens: int) -> float:
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


def _linear_flops(model: ModelSpec, *, step: Step) -> float:
    """A multiply and an add for each parameter a token meets; the head for tokens that want logits."""
    total = 0.0
    for matrix in (matrix for matrix in matrices(model) if matrix.is_matmul):
        n_tokens = step.n_logits if matrix.group == "head" else step.n_new_tokens
        total += 2 * n_tokens * matrix.n_params * _met_share(model, matrix.group)
    return total


def _activation_values(model: ModelSpec, *, step: Step) -> float:
    """Each product's input read and output written once; the head's output is counted as logits."""
    inner: Iterable[float] = (
        (matrix.n_in + matrix.n_out) * matrix.copies * _met_share(model, matrix.group)
        for matrix in matrices(model)
        if matrix.is_matmul and matrix.group != "head"
    )
    return step.n_new_tokens * sum(inner) + step.n_logits * model.d_model


def _attention_flops(model: ModelSpec, *, step: Step) -> float:
    """Scores and weighted values, a multiply and an add each: 4 * H per head and pair (MLA: absorbed)."""
    if model.mla is not None:
        per_pair = 2 * ((model.mla.kv_lora_rank + model.mla.d_rope) + model.mla.kv_lora_rank)
    else:
        per_pair = 4 * model.d_head
    pairs = sum(attended_pairs(chunk, window_len=model.window_len) for chunk in step.chunks)
    return float(model.n_layers * model.n_heads * per_pair * pairs)
