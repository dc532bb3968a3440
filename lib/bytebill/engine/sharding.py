"""What does each of several devices hold? Tensor parallelism: heads, MLP width and vocabulary cut into
equal shares.

    rank r holds rows r of qkv, gate_up, embedding and head, and columns r of attention_out and down
    bytes all-reduced a step = (2 L + 1) * B * D * bytes_per_value     (two sums a layer, one for the embedding)

Symbols: L `n_layers`, B batch size, D `d_model`. After the column-cut matmuls each rank has a part of the
sum, which an all-reduce completes; logits are gathered. Norms are held by every rank, and so are embedding
and head where the vocabulary does not divide. Ignores overlap of communication and matmuls.
"""

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor

from bytebill.engine.build import Linear, Loader
from bytebill.engine.weights.names import Weights
from bytebill.errors import require
from bytebill.models import ModelSpec


class Ranks:
    """The processes that hold one model, and a count of what they said to each other."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.reduced_bytes = self.gathered_bytes = 0

    def all_reduce(self, x: Tensor) -> Tensor:
        """The sum of every rank's x, in place."""
        self.reduced_bytes += x.nbytes
        dist.all_reduce(x)
        return x

    def all_gather(self, x: Tensor) -> Tensor:
        """Every rank's x [n, m], side by side: [n, m * size]."""
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous())
        self.gathered_bytes += x.nbytes * self.size
        return torch.cat(parts, -1)


class ShardLoader(Loader):
    """One rank's share of a decoder, whose parts say to the other ranks what they must; every rank runs alike, and
    every rank gets all logits."""

    def __init__(self, weights: Weights, *, ranks: Ranks, dtype: str, device: torch.device | str) -> None:
        super().__init__(share_of(weights, rank=ranks.rank, n_ranks=ranks.size), dtype=dtype, device=device)
        self.ranks, self._cuts_vocabulary = ranks, weights.spec.vocab_size % ranks.size == 0

    def summed(self, name: str) -> Linear:
        """A matrix cut by columns: each rank has a part of the sum."""
        part = super().summed(name)
        return lambda x: self.ranks.all_reduce(part(x))

    def embedding(self) -> Linear:
        """Each rank looks up the tokens it holds, and the sum has them all."""
        lookup, n_held = super().embedding(), self._table.shape[0]
        if not self._cuts_vocabulary:
            return lookup

        def embed(tokens: Tensor) -> Tensor:
            index = tokens.to(self.device) - self.ranks.rank * n_held
            held = (index >= 0) & (index < n_held)
            return self.ranks.all_reduce(lookup(index.clamp(0, n_held - 1)) * held[:, None])

        return embed

    def head(self) -> Linear:
        """Each rank's part of the vocabulary, gathered."""
        part = super().head()
        return (lambda x: self.ranks.all_gather(part(x))) if self._cuts_vocabulary else part


def require_even_shares(spec: ModelSpec, n_ranks: int) -> None:
    """Refuse a number of ranks that cannot share heads and MLP width evenly, naming those that can."""
    require(spec.moe is None, f"{spec.name} has experts, which this tensor parallelism does not share out.")
    good = [n for n in range(1, spec.n_kv_heads + 1) if spec.n_kv_heads % n == 0 and spec.d_ff % n == 0]
    require(
        n_ranks in good,
        f"{spec.name} has {spec.n_kv_heads} KV heads and an MLP of width {spec.d_ff}, which {n_ranks} ranks cannot "
        f"share evenly; ranks that can: {', '.join(map(str, good))}.",
    )


def share_of(weights: Weights, *, rank: int, n_ranks: int) -> Weights:
    """The weights of one rank: a narrower model, whose tensors are cut from the whole when asked for.

    >>> from bytebill.engine.weights.names import random_weights
    >>> from bytebill.models import model
    >>> share = share_of(random_weights(model("smollm2-135m")), rank=0, n_ranks=3)
    >>> share.spec.n_kv_heads, tuple(share["layers.0.down"].shape)    # 1536 / 3 columns
    (1, (576, 512))
    """
    spec = weights.spec
    require_even_shares(spec, n_ranks)
    return Weights(
        replace(
            spec,
            name=f"{spec.name} (1/{n_ranks} of it)",
            n_heads=spec.n_heads // n_ranks,
            n_kv_heads=spec.n_kv_heads // n_ranks,
            d_ff=spec.d_ff // n_ranks,
        ),
        lambda name: _cut(weights[name], name, spec, rank, n_ranks),
        frequencies=weights.frequencies,
    )


def _cut(tensor: Tensor, name: str, spec: ModelSpec, rank: int, n_ranks: int) -> Tensor:
    part = name.rsplit(".", 1)[-1]
    if part in ("attention_out", "down"):
        return tensor.chunk(n_ranks, 1)[rank].clone()
    stacked = {  # rows of the matrices that are one
        "qkv": [spec.n_heads * spec.d_head] + 2 * [spec.n_kv_heads * spec.d_head],
        "gate_up": 2 * [spec.d_ff],
        "q_up": [len(tensor)],  # latents are every rank's, heads are shared out
        "kv_up": [len(tensor)],
    }
    if spec.vocab_size % n_ranks == 0:
        stacked |= {"embedding": [len(tensor)], "head": [len(tensor)]}
    sizes = stacked.get(part.removesuffix("_bias"))
    return tensor if sizes is None else torch.cat([matrix.chunk(n_ranks)[rank] for matrix in tensor.split(sizes)])
