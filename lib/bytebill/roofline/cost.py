"""What does one step move and multiply? The one cost function, and the terms it is made of.

    bytes = weights + KV read + KV written + states + activations + logits
    flops = 2 * (parameters met) * T + attention flops

    weights     = fixed + rows * T + head (if logits) + experts(T)
    activations = token * T + head input * logits
    KV          = sum over caches of entry * (entries read + T / stride)     attention flops = sum of pair * pairs
    states      = 2 * state * sequences          read and written, whatever the context

S tokens of context already cached and T new ones a sequence (`bytebill.roofline.load`), N `n_heads`, K `n_kv_heads`,
H `d_head`.

Weights are read once a step however many tokens share them; of the embedding only the rows looked up; of E
experts the expected number of distinct ones. KV is read once per KV head, not per query head, and once by each device
that must keep a copy; the keys and values of new tokens are still on the chip. Attention within a chunk is causal.
Decodes attend to latents absorbed; a chunk of a prompt does, or expands them, whichever takes fewer FLOPs, and
what is expanded counts as if it stayed on the chip. Products are counted by the dtype that multiplies them. Ignores
skewed routing, softmax and norms. How long it takes: `bytebill.roofline.bounds`.
"""

from dataclasses import dataclass
from functools import cache
from math import inf

from bytebill.models import VECTORS, Expanded, Matrix, ModelSpec, Precision, TokenCache, matrices, state_bytes
from bytebill.roofline.load import Chunk, Load, attended_pairs
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
    state_bytes: float = 0.0  # of recurrent layers, read and written

    @property
    def bytes(self) -> float:
        moved = self.weight_bytes + (self.kv_read_bytes + self.kv_write_bytes) + self.state_bytes
        return moved + self.activation_bytes + self.logit_bytes

    @property
    def flops(self) -> float:
        return self.linear_flops + self.attention_flops

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs done for each byte moved [FLOP/byte]."""
        return self.flops / self.bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheTerm:
    """What a cached token adds to a step, over all layers that keep it alike, and every copy of it."""

    token_bytes: float  # of an entry, by the tokens it stands for
    pair_flops: float  # of a new token and a cached one; of latents, absorbed
    read_reach: int | None  # tokens back to which a new one reads; None: all
    expanded: Expanded | None = None  # of latents: what the other form takes

    def read_bytes(self, load: Load) -> float:
        """Bytes of the cache that a step reads."""
        return load.kept_tokens(self.read_reach) * self.token_bytes

    def flops(self, load: Load) -> float:
        """FLOPs of new tokens over those that they attend to."""
        absorbed = self.pair_flops * load.attended_pairs(self.read_reach)
        return absorbed - sum(map(self.saved_flops, load.chunks)) if self.expanded else absorbed

    def saved_flops(self, chunk: Chunk) -> float:
        """FLOPs that a chunk has less where it expands its latents: pairs cost less, each cached one costs once."""
        if self.expanded is None:
            return 0.0
        n_cached, n_new = chunk.context_len, chunk.n_new_tokens
        n_pairs = attended_pairs(n_cached, n_new, window_len=self.read_reach)
        if self.read_reach is not None:
            n_cached = min(n_cached, self.read_reach)
        fewer = self.pair_flops - self.expanded.pair_flops
        return max(0.0, fewer * n_pairs - self.expanded.entry_flops * n_cached)


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
    token_flops: tuple[tuple[str, float], ...]  # of a token in all but the experts, by the dtype that multiplies
    expert_flops: tuple[tuple[str, float], ...]  # of a token in those it is routed to
    logit_flops: tuple[tuple[str, float], ...]
    state_bytes: float  # of a sequence, read and written
    state_flops: float  # of a token
    caches: tuple[CacheTerm, ...]

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

    def linear_flops(self, n_new_tokens: int, n_logits: int) -> dict[tuple[str, bool], float]:
        """FLOPs of everything but attention, two for each parameter that a token meets: by dtype, experts' apart."""
        found = {(dtype, False): each * n_new_tokens for dtype, each in self.token_flops}
        found |= {(dtype, True): each * n_new_tokens for dtype, each in self.expert_flops}
        for dtype, each in self.logit_flops:
            found[dtype, False] = found.get((dtype, False), 0.0) + each * n_logits
        return found


@cache
def cost_terms(model: ModelSpec, *, precision: Precision, n_sharing: int = 1) -> CostTerms:
    """The terms of a model's cost, counted over its one list of matrices.

    `n_sharing` devices share each layer's attention: more than a cache has KV heads keep copies of it.

    >>> from bytebill.models import model, precision
    >>> terms = cost_terms(model("llama-3-8b"), precision=precision("bf16"))
    >>> [(int(each.token_bytes), int(each.pair_flops)) for each in terms.caches]    # 2*32*8*128*2; 32 * 32 * 4*128
    [(131072, 524288)]
    """
    stored = dict.fromkeys(("embedding", "head", "expert", "rest"), 0.0)
    for matrix in matrices(model):
        stored[matrix.group if matrix.group in stored else "rest"] += precision.weight_bytes(matrix)
    # a token is multiplied by k of E experts and by all other matrices, but by no table and no vector; head: a logit
    besides = ("embedding", "head", *VECTORS)
    routed = model.moe.n_experts_per_token / model.moe.n_experts if model.moe else 1.0
    met = [(m, routed if m.group == "expert" else 1.0) for m in matrices(model) if m.group not in besides]
    tables = [m for m in matrices(model) if m.group == "embedding"]
    if model.tied_embeddings:  # the head is the table
        tables += [m for m in matrices(model) if m.group == "head"]
    per_value = float(precision.activation_bytes_per_value)
    return CostTerms(
        model=model,
        fixed_bytes=stored["rest"],
        head_bytes=stored["head"],
        expert_bytes=stored["expert"],
        # of a table a token takes one row; the head lies the other way round
        row_bytes=sum(precision.weight_bytes(m) / (m.n_out if m.group == "head" else m.n_in) for m in tables),
        activation_bytes=sum((m.n_in + m.n_out) * m.copies * share for m, share in met) * per_value,
        head_input_bytes=model.d_model * per_value,
        logit_bytes=model.vocab_size * per_value,
        token_flops=_flops_by_kind([each for each in met if each[0].group != "expert"], precision),
        expert_flops=_flops_by_kind([each for each in met if each[0].group == "expert"], precision),
        logit_flops=_flops_by_kind([(m, 1.0) for m in matrices(model) if m.group == "head"], precision),
        state_bytes=2 * state_bytes(model),
        state_flops=sum((kind.n_layers * kind.state.token_flops for kind in model.kinds if kind.state), 0.0),
        caches=_cache_terms(model, precision, n_sharing),
    )


def _flops_by_kind(met: list[tuple[Matrix, float]], precision: Precision) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for matrix, share_met in met:
        for share, each in precision.formats(matrix):
            found[each.compute_dtype] = found.get(each.compute_dtype, 0.0) + 2.0 * matrix.n_params * share_met * share
    return tuple(found.items())


def _cache_terms(model: ModelSpec, precision: Precision, n_sharing: int) -> tuple[CacheTerm, ...]:
    """One term for all caches that are read equally far back, the farthest first."""
    found: dict[int | None, tuple[float, ...]] = {}
    for n_layers, kept in ((kind.n_layers, kept) for kind in model.kinds for kept in kind.caches):
        n_bytes = kept.entry_bytes(precision.kv_bytes_per_value) * cache_copies(kept, n_sharing)
        each = (n_bytes, kept.pair_flops, *(kept.expanded or Expanded(0, kept.pair_flops)))
        now = found.get(kept.read_reach, (0.0,) * len(each))
        found[kept.read_reach] = tuple(a + n_layers * b / kept.stride for a, b in zip(now, each, strict=True))
    order = sorted(found, key=lambda reach: inf if reach is None else reach, reverse=True)
    return tuple(
        CacheTerm(token_bytes=n_bytes, pair_flops=pair, read_reach=reach, expanded=Expanded(*rest) if rest[0] else None)
        for reach, (n_bytes, pair, *rest) in ((reach, found[reach]) for reach in order)
    )


def cache_copies(kept: TokenCache, n_sharing: int) -> float:
    """How often devices that share a layer's attention keep a value: once, until they outnumber its KV heads."""
    return max(1.0, n_sharing / kept.n_heads)


def step_cost(model: ModelSpec, *, load: Load, precision: Precision, n_sharing: int = 1) -> StepCost:
    """Bytes and FLOPs of one step: the cost function of the book. `n_sharing` devices share each layer's attention.

    >>> from bytebill.models import model, precision
    >>> cost = step_cost(model("llama-2-13b"), load=Load.decode(batch_size=4, context_len=8192),
    ...                  precision=precision("bf16"))
    >>> round(cost.weight_bytes / 1e9, 2)     # (13,015,864,320 - 32,000 * 5,120) * 2 bytes
    25.7
    >>> round(cost.kv_read_bytes / 1e9, 2)    # 4 sequences of 6.71 GB
    26.84
    """
    terms = cost_terms(model, precision=precision, n_sharing=n_sharing)
    n_new, n_logits = load.checked().n_new_tokens, load.n_logits
    return StepCost(
        weight_bytes=terms.weight_bytes(n_new, n_logits),
        kv_read_bytes=sum(each.read_bytes(load) for each in terms.caches),
        kv_write_bytes=n_new * sum(each.token_bytes for each in terms.caches),
        activation_bytes=terms.activation_bytes * n_new + terms.head_input_bytes * n_logits,
        logit_bytes=n_logits * terms.logit_bytes,
        linear_flops=sum(terms.linear_flops(n_new, n_logits).values()),
        attention_flops=sum(each.flops(load) for each in terms.caches) + terms.state_flops * n_new,
        state_bytes=terms.state_bytes * load.n_sequences,
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
    """Share of a layer's experts that so many tokens are expected to meet; 1 where there are none to choose from.

    >>> from bytebill.models import model
    >>> [touched_share(model(id), n_tokens=1) for id in ("mixtral-8x7b", "llama-3-8b")]
    [0.25, 1.0]
    """
    if (moe := model.moe) is None:
        return 1.0
    return (
        distinct_experts(moe.n_experts, n_experts_per_token=moe.n_experts_per_token, n_tokens=n_tokens) / moe.n_experts
    )
