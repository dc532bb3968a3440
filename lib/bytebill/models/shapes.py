"""What does a model store? Its shape, the kinds of its layers, and the one list of matrices that all is counted from.

    n_params = sum of n_in * n_out * copies over `matrices(model)`

Symbols: L `n_layers`, D `d_model`, F `d_ff`, N `n_heads` (query heads), K `n_kv_heads`, H `d_head`. A tied
embedding is stored once, and listed as the output head it also is. A model whose layers are all alike is told by its
sizes; one whose layers differ lists their kinds (`bytebill.models.layers`), and its sizes are those of its attention.
Draft layers (MTP) are listed apart and count for nothing that is served.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

from bytebill.errors import require
from bytebill.models.layers import Expanded, LayerKind, Matrix, TokenCache

NORM_VECTORS = {"none": 0, "rms": 1, "layer": 2}  # a layer norm has a bias beside its scale


@dataclass(frozen=True, kw_only=True)
class MoESpec:
    """Routed experts: each token takes `n_experts_per_token` of `n_experts`, and all shared ones."""

    n_experts: int
    n_experts_per_token: int
    d_ff_expert: int
    n_shared_experts: int = 0
    n_dense_layers: int = 0  # the first layers, which keep one ordinary MLP of width `d_ff`
    router_bias: bool = False

    def __post_init__(self) -> None:
        require(
            0 < self.n_experts_per_token <= self.n_experts,
            "a token goes through at least one expert and at most all of them",
        )


@dataclass(frozen=True, kw_only=True)
class MLASpec:
    """Multi-head latent attention: all heads share the one latent and rotary key cached for a token."""

    q_lora_rank: int
    kv_lora_rank: int
    d_nope: int
    d_rope: int
    d_v: int


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The shape of a decoder. For an MLA model `d_head` is the query head's (d_nope + d_rope)."""

    id: str
    name: str
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    vocab_size: int
    context_len: int
    tied_embeddings: bool = False
    mlp: str = "swiglu"  # "swiglu": gate, up and down; "gelu" and "relu": up and down
    norm: str = "rms"  # "layer" has a bias beside its scale, "none" neither
    norms_per_layer: int = 2
    biases: bool = False  # on every linear layer but the head
    qkv_bias: bool = False  # on the query, key and value projections alone
    qk_norm: bool = False  # one scale of d_head for queries and one for keys, in each layer
    parallel: bool = False  # attention and MLP read the same input and are added (Falcon)
    positions: str = "rope"  # or "learned", a table of n_positions rows
    n_positions: int = 0
    window_len: int | None = None  # sliding window: a token attends to this many at most
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    moe: MoESpec | None = None
    mla: MLASpec | None = None
    layers: tuple[LayerKind, ...] = ()  # where layers differ: their kinds; none: all alike, as told above
    besides: tuple[Matrix, ...] = ()  # what belongs to no layer, and is neither table, head nor last norm
    draft: tuple[LayerKind, ...] = ()  # layers that propose tokens (MTP), which nothing counts unless it says so

    def __post_init__(self) -> None:
        require(
            min(self.n_layers, self.d_model, self.d_ff, self.vocab_size, self.n_heads, self.n_kv_heads, self.d_head)
            >= 1,
            f"{self.id}: every size must be at least 1",
        )
        require(
            self.n_heads % self.n_kv_heads == 0,
            f"{self.id}: {self.n_heads} heads cannot share {self.n_kv_heads} KV heads evenly",
        )
        require(
            self.mlp in ("swiglu", "gelu", "relu") and self.norm in NORM_VECTORS,
            f"{self.id}: unknown mlp '{self.mlp}' or norm '{self.norm}'",
        )
        require(
            (self.positions == "learned") == (self.n_positions > 0),
            f"{self.id}: a table of positions needs n_positions, and rope needs none",
        )
        n_listed = sum(kind.n_layers for kind in self.layers)
        require(n_listed in (0, self.n_layers), f"{self.id}: of {self.n_layers} layers its kinds list {n_listed}")

    @cached_property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kinds of its layers, one where all mix tokens alike.

        >>> from bytebill.models import model
        >>> [(kind.name, kind.n_layers) for kind in model("mistral-7b").kinds]
        [('window', 32)]
        """
        return self.layers or (_only_kind(self),)

    @property
    def queries_per_kv_head(self) -> int:
        """N / K: query heads that share one cached head (1 in MHA, N in MQA)."""
        return self.n_heads // self.n_kv_heads

    @property
    def n_params(self) -> int:
        """Parameters stored.

        >>> from bytebill.models import model
        >>> model("llama-2-13b").n_params, model("mixtral-8x7b").n_params
        (13015864320, 46702792704)
        """
        return sum(matrix.n_params for matrix in matrices(self))

    @property
    def n_active_params(self) -> int:
        """Parameters a token meets: all but the experts it is not routed to (embedding included).

        >>> from bytebill.models import model
        >>> model("mixtral-8x7b").n_active_params
        12879925248
        """
        if self.moe is None:
            return self.n_params
        routed = sum(matrix.n_params for matrix in matrices(self) if matrix.group == "expert")
        return self.n_params - routed * (self.moe.n_experts - self.moe.n_experts_per_token) // self.moe.n_experts

    @property
    def n_embedding_params(self) -> int:
        """Parameters of tables that are looked up by row, a head that is one among them.

        >>> from bytebill.models import model
        >>> model("llama-3-8b").n_embedding_params, model("qwen2.5-0.5b").n_embedding_params
        (525336576, 136134656)
        """
        groups = ("embedding", "head") if self.tied_embeddings else ("embedding",)
        return sum(matrix.n_params for matrix in matrices(self) if matrix.group in groups)

    @property
    def n_sublayers(self) -> int:
        """Parts that add to the residual stream: two a layer where it mixes tokens and feeds them forward.

        >>> from bytebill.models import model
        >>> [model(id).n_sublayers for id in ("llama-3-8b", "nemotron-3-super")]    # 32 * 2; 88 do one each
        [64, 88]
        """
        parts = (("attention", "recurrent"), ("mlp", "expert", "shared_expert"))
        return sum(
            kind.n_layers for kind in self.kinds for part in parts if any(m.group in part for m in kind.matrices)
        )

    @property
    def n_routed_layers(self) -> int:
        """Layers whose tokens go to experts.

        >>> from bytebill.models import model
        >>> [model(id).n_routed_layers for id in ("llama-3-8b", "deepseek-v3", "gpt-oss-120b", "nemotron-3-super")]
        [0, 58, 36, 40]
        """
        if self.moe is None:
            return 0
        return sum(m.copies for m in matrices(self) if (m.group, m.name) == ("expert", "down")) // self.moe.n_experts

    @property
    def n_matmul_params(self) -> int:
        """Parameters a large batch reads in a step: all but the embedding tables, which are looked up by row.

        >>> from bytebill.models import model
        >>> spec = model("llama-3-70b")
        >>> spec.n_params - spec.n_matmul_params == spec.vocab_size * spec.d_model
        True
        """
        return sum(matrix.n_params for matrix in matrices(self) if matrix.group != "embedding")


@cache
def matrices(model: ModelSpec) -> tuple[Matrix, ...]:
    """Everything a model stores, the one list from which parameters, bytes and FLOPs are counted.

    >>> from bytebill.models import model
    >>> [(m.name, m.n_in, m.n_out, m.copies) for m in matrices(model("llama-2-13b")) if m.group == "mlp"]
    [('gate', 5120, 13824, 40), ('up', 5120, 13824, 40), ('down', 13824, 5120, 40)]
    """
    head = Matrix(name="head", group="head", n_in=model.d_model, n_out=model.vocab_size)
    # one norm before the head besides those of the layers
    last_norm = Matrix(name="last_norm", group="norm", n_in=1, n_out=model.d_model, copies=NORM_VECTORS[model.norm])
    layers = (matrix for kind in model.kinds for matrix in kind.matrices)
    return (*_embedding(model), *layers, *model.besides, head, last_norm)


def multi_head(model: ModelSpec) -> ModelSpec:
    """The model with the same weights, as if each of its query heads kept keys and values of its own.

    >>> from bytebill.models import kv_stored_bytes_per_token, model, precision
    >>> [kv_stored_bytes_per_token(multi_head(model(id)), precision=precision("bf16"))
    ...  for id in ("llama-3-8b", "deepseek-v3")]    # 4 * 131,072; 128 * (192 + 128) * 61 * 2
    [524288.0, 4997120.0]
    """
    kinds = (replace(kind, caches=tuple(_own_heads(model, kept) for kept in kind.caches)) for kind in model.kinds)
    return replace(model, layers=tuple(kinds))


def _own_heads(model: ModelSpec, kept: TokenCache) -> TokenCache:
    """What an index keeps beside keys and values, or latents, stays."""
    mla = model.mla
    if not kept.pair_flops or (mla and kept.n_values != mla.kv_lora_rank + mla.d_rope):
        return kept
    n_values = model.n_heads * (mla.d_nope + mla.d_rope + mla.d_v) if mla else kept.pair_flops // 2
    return replace(
        kept, n_values=n_values, n_heads=model.n_heads, pair_flops=2 * n_values, expanded=None, packed_bytes=None
    )


def _only_kind(model: ModelSpec) -> LayerKind:
    """The kind of all layers of a model whose layers mix tokens alike."""
    attention = tuple(
        Matrix(name=name, group="attention", n_in=n_in, n_out=n_out, copies=model.n_layers)
        for name, (n_in, n_out) in _attention_shapes(model).items()
    )
    weights = (*attention, *_mlp(model))
    mla, reach = model.mla, model.window_len
    if mla is None:
        # scores and weighted values, a multiply and an add each
        name = "full" if reach is None else "window"
        kept = TokenCache(
            n_values=2 * model.n_kv_heads * model.d_head,
            n_heads=model.n_kv_heads,
            pair_flops=4 * model.n_heads * model.d_head,
            reach=reach,
        )
    else:  # absorbed: both over the latent, and scores over the rotary key besides
        name = "latent"
        kept = TokenCache(
            n_values=mla.kv_lora_rank + mla.d_rope,
            pair_flops=2 * model.n_heads * (2 * mla.kv_lora_rank + mla.d_rope),
            expanded=Expanded.of(
                model.n_heads, rank=mla.kv_lora_rank, d_nope=mla.d_nope, d_rope=mla.d_rope, d_value=mla.d_v
            ),
            reach=reach,
        )
    return LayerKind(
        name=name,
        n_layers=model.n_layers,
        matrices=(*weights, *_biases(model, weights), *_norms(model)),
        caches=(kept,),
    )


def _embedding(model: ModelSpec) -> Iterator[Matrix]:
    if not model.tied_embeddings:
        yield Matrix(name="embedding", group="embedding", n_in=model.vocab_size, n_out=model.d_model)
    if model.positions == "learned":
        yield Matrix(name="positions", group="embedding", n_in=model.n_positions, n_out=model.d_model)


def _attention_shapes(model: ModelSpec) -> dict[str, tuple[int, int]]:
    """Width in and out by matrix; MLA passes through low-rank latents, and caches the output of `kv_down`."""
    if (mla := model.mla) is not None:
        return {
            "q_down": (model.d_model, mla.q_lora_rank),
            "q_up": (mla.q_lora_rank, model.n_heads * (mla.d_nope + mla.d_rope)),
            "kv_down": (model.d_model, mla.kv_lora_rank + mla.d_rope),
            "kv_up": (mla.kv_lora_rank, model.n_heads * (mla.d_nope + mla.d_v)),
            "o": (model.n_heads * mla.d_v, model.d_model),
        }
    query, keyvalue = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    return {
        "q": (model.d_model, query),
        "k": (model.d_model, keyvalue),
        "v": (model.d_model, keyvalue),
        "o": (query, model.d_model),
    }


def _mlp(model: ModelSpec) -> Iterator[Matrix]:
    moe = model.moe
    n_dense = model.n_layers if moe is None else moe.n_dense_layers
    if n_dense:
        yield from _mlp_matrices(model, group="mlp", d_ff=model.d_ff, copies=n_dense)
    if moe is not None:
        n_sparse, d_ff = model.n_layers - n_dense, moe.d_ff_expert
        yield Matrix(name="router", group="router", n_in=model.d_model, n_out=moe.n_experts, copies=n_sparse)
        yield from _mlp_matrices(model, group="expert", d_ff=d_ff, copies=n_sparse * moe.n_experts)
        if moe.n_shared_experts:
            yield from _mlp_matrices(model, group="shared_expert", d_ff=d_ff, copies=n_sparse * moe.n_shared_experts)


def _mlp_matrices(model: ModelSpec, *, group: str, d_ff: int, copies: int) -> Iterator[Matrix]:
    for name in ("gate", "up") if model.mlp == "swiglu" else ("up",):
        yield Matrix(name=name, group=group, n_in=model.d_model, n_out=d_ff, copies=copies)
    yield Matrix(name="down", group=group, n_in=d_ff, n_out=model.d_model, copies=copies)


def _biases(model: ModelSpec, weights: tuple[Matrix, ...]) -> Iterator[Matrix]:
    """One vector per biased matrix of the layers."""
    return (
        Matrix(name=f"{matrix.name}_bias", group="bias", n_in=1, n_out=matrix.n_out, copies=matrix.copies)
        for matrix in weights
        if model.biases
        or (model.qkv_bias and matrix.name in ("q", "k", "v"))
        or (matrix.group == "router" and model.moe is not None and model.moe.router_bias)
    )


def _norms(model: ModelSpec) -> Iterator[Matrix]:
    n_vectors = model.n_layers * model.norms_per_layer * NORM_VECTORS[model.norm]
    yield Matrix(name="norm", group="norm", n_in=1, n_out=model.d_model, copies=n_vectors)
    if model.qk_norm:
        yield Matrix(name="qk_norm", group="norm", n_in=1, n_out=model.d_head, copies=2 * model.n_layers)
    if model.mla is not None:
        for name, width in (("q_latent_norm", model.mla.q_lora_rank), ("kv_latent_norm", model.mla.kv_lora_rank)):
            yield Matrix(name=name, group="norm", n_in=1, n_out=width, copies=model.n_layers)
