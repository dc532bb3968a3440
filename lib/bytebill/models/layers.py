"""What does a layer hold and keep? Kinds of layers: their matrices, what they cache of tokens, what of a sequence.

    kept entries of a cache  = min(context, reach) / stride
    read entries             = min(context, reach, top_k * stride) / stride

A layer lets tokens meet in one of two ways. It keeps an entry for every token, or for every `stride` tokens: all of
them (full attention), those that a window or a chunk still reaches, or all and reads the best `top_k`. Or it folds
them into a state of fixed size (linear attention, gated delta, Mamba-2, KDA) with the last inputs of its convolution.
A layer may do several: attention over an index first, then over what the index chose. A chunk counts as a window of
its length, which is what it holds at its end. A layer that shares another's cache has none of its own.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from bytebill.errors import require

VECTORS = ("norm", "bias", "vector")  # groups that nothing is multiplied with as a matrix


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """`copies` equal matrices [n_out, n_in] of one group.

    Groups: embedding, attention, recurrent, mlp, expert, shared_expert, router, head; norm, bias and vector hold
    vectors.
    """

    name: str
    group: str
    n_in: int
    n_out: int
    copies: int = 1

    @property
    def n_params(self) -> int:
        return self.n_in * self.n_out * self.copies


class Expanded(NamedTuple):
    """Latents made keys and values of every head before a prompt attends to them: fewer FLOPs a pair."""

    entry_flops: float  # of a cached entry; that of a new token is in its matrices
    pair_flops: float

    @classmethod
    def of(cls, n_heads: int, *, rank: int, d_nope: int, d_rope: int, d_value: int) -> Self:
        """Of one layer: 2 N c (d_nope + d_v) for each cached latent, 2 N (d_nope + d_rope + d_v) for each pair.

        >>> Expanded.of(128, rank=512, d_nope=128, d_rope=64, d_value=128)    # DeepSeek-V3
        Expanded(entry_flops=33554432, pair_flops=81920)
        """
        return cls(2 * n_heads * rank * (d_nope + d_value), 2 * n_heads * (d_nope + d_rope + d_value))


@dataclass(frozen=True, kw_only=True)
class TokenCache:
    """What one layer keeps of the tokens of a sequence."""

    n_values: int  # of an entry: keys and values of all KV heads, or a latent and its rotary key, or an index key
    n_heads: int = 1  # KV heads that devices can share an entry out by; 1: every device keeps a copy
    pair_flops: int = 0  # FLOPs of a new token and an entry it attends to, all query heads; of a latent, absorbed
    expanded: Expanded | None = None  # the other form of the same sums, for latents
    reach: int | None = None  # tokens back to which a new one attends: a window, or a chunk
    stride: int = 1  # tokens that one entry stands for
    top_k: int | None = None  # entries that a new token reads at most
    packed_bytes: float | None = None  # of an entry as servers pack it in 8 bits, scales and all, where published

    def __post_init__(self) -> None:
        least = min(self.n_values, self.n_heads, self.stride, self.reach or 1, self.top_k or 1)
        require(least >= 1 and self.pair_flops >= 0, f"A cache counts from 1 up: {self}.")

    @property
    def read_reach(self) -> int | None:
        """Tokens back to which a new one reads, None: all of them."""
        limits = (self.reach, self.top_k and self.top_k * self.stride)
        return min((limit for limit in limits if limit is not None), default=None)

    def entries(self, context_len: float) -> float:
        """Entries kept of a context of so many tokens.

        >>> TokenCache(n_values=128, reach=4096).entries(10_000), TokenCache(n_values=128, stride=4).entries(10_000)
        (4096, 2500.0)
        """
        kept = context_len if self.reach is None else min(context_len, self.reach)
        return kept if self.stride == 1 else kept / self.stride

    def entry_bytes(self, kv_bytes_per_value: float) -> float:
        """Bytes of an entry whose values have this width."""
        if self.packed_bytes is not None and kv_bytes_per_value == 1:
            return self.packed_bytes
        return self.n_values * float(kv_bytes_per_value)


@dataclass(frozen=True, kw_only=True)
class SequenceState:
    """What one layer keeps of a sequence, however long it is."""

    n_values: int  # of the recurrent state
    n_conv_values: int = 0  # the last inputs of its convolution
    value_bytes: float = 4  # of a value of the state; the convolution's have two
    token_flops: float = 0  # of a new token that meets the state
    n_heads: int = 1  # that devices can share it out by

    @property
    def bytes(self) -> float:
        return self.n_values * self.value_bytes + self.n_conv_values * 2.0


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """Layers that are alike: how many, what all of them together store, and what each keeps of a sequence.

    Names: full, window, chunk, latent, sparse, compressed, linear, mamba, conv, shared, mlp (no mixing at all).
    """

    name: str
    n_layers: int
    matrices: tuple[Matrix, ...]  # copies counted over all of these layers
    caches: tuple[TokenCache, ...] = ()
    state: SequenceState | None = None
