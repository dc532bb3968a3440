"""What does a layer of experts do with a batch? It routes every token to k of E MLPs, and reads the ones anybody chose.

    y = shared(x) + sum over the k chosen experts e of weight_e * expert_e(x)

Two routers. `Router` is a model's own: scores = softmax(x @ router.T) as in Mixtral and Qwen3, or with a bias for each
expert sigmoid(x @ router.T) as in DeepSeek-V3, where the bias takes part in the choice and not in the weights; weights
add up to 1 over the chosen. `DrawnRouter` ignores x and draws experts of a known popularity, so that what a batch
touches can be held against theory. Tokens are sorted by expert, and each expert is one pass over the tokens that
chose it, so its weights are read once. Ignores routing in groups and DeepSeek-V3's factor of 2.5 on the routed part,
which move no bytes, and dropped tokens: every token gets its k experts. The loop over experts asks the device how
many tokens each got, so it cannot be recorded in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from bytebill.engine.build import Linear, Loader
from bytebill.engine.layers import SwiGLU
from bytebill.models import MoESpec

_STEPS_DRAWN = 256
Routing = tuple[Tensor, Tensor]  # experts [n, k] of each token, and their weights [n, k], which add up to 1


class Router:
    """Chooses by the model's own scores."""

    def __init__(self, gate: Linear, *, n_experts_per_token: int, bias: Tensor | None = None) -> None:
        self.gate, self.bias, self.k = gate, bias, n_experts_per_token

    @classmethod
    def from_weights(cls, load: Loader, prefix: str, moe: MoESpec) -> Router:
        """The router of one layer."""
        return cls(
            bias=load.vector(prefix + "router_bias") if moe.router_bias else None,
            gate=load.linear(prefix + "router"),
            n_experts_per_token=moe.n_experts_per_token,
        )

    def __call__(self, x: Tensor) -> Routing:
        """x [n, D] -> routing of its rows"""
        logits = self.gate(x).float()
        if self.bias is None:
            weights, chosen = logits.softmax(-1).topk(self.k)
        else:
            scores = logits.sigmoid()
            chosen = (scores + self.bias.float()).topk(self.k)[1]
            weights = scores.gather(-1, chosen)
        return chosen, (weights / weights.sum(-1, keepdim=True)).to(x.dtype)


class DrawnRouter:
    """Draws k different experts for each token, expert e with probability `shares[e]`; shares add up to k.

    Experts are laid side by side on a line in random order, each as long as its share, and k points one apart are
    thrown on it at once: no expert is longer than 1, so none is hit twice. Draws are made on the CPU, in float64.
    """

    def __init__(self, shares: Sequence[float], *, seed: int = 0) -> None:
        self.shares = torch.tensor(shares, dtype=torch.float64)
        self.k = round(sum(shares))
        if self.shares.max() > 1 + 1e-9 or self.shares.min() < 0 or abs(sum(shares) - self.k) > 1e-6:
            raise ValueError("shares are between 0 and 1 and add up to the experts a token takes")
        self._generator = torch.Generator().manual_seed(seed)
        self._stores: dict[int, list[Tensor]] = {}  # by the tokens of a step, on a GPU

    def __call__(self, x: Tensor) -> Routing:
        """x [n, D] -> routing of as many tokens, weights equal"""
        chosen = self._drawn_before(x) if x.is_cuda else self.draw(x.shape[0]).to(x.device)
        return chosen, x.new_full(chosen.shape, 1 / self.k)

    def _drawn_before(self, x: Tensor) -> Tensor:
        """From a store on the device, drawn for many steps at once: drawing on the CPU outlasts a GPU's layer."""
        store = self._stores.setdefault(len(x), [])
        if not store:
            store += self.draw(_STEPS_DRAWN * len(x)).to(x.device).split(len(x))
        return store.pop()

    def draw(self, n_tokens: int) -> Tensor:
        """Experts [n_tokens, k]."""
        rows = self.shares.expand(n_tokens, -1)
        order = torch.empty_like(rows).uniform_(generator=self._generator).argsort(-1)
        points = rows.new_empty(n_tokens, 1).uniform_(generator=self._generator) + torch.arange(self.k)
        hit = torch.searchsorted(self.shares[order].cumsum(-1), points, right=True)
        return order.gather(-1, hit.clamp_(max=len(self.shares) - 1))


class Experts:
    """The sparse MLP: `mlps` of which each token takes k, and one that all tokens share where the model has it."""

    def __init__(
        self,
        mlps: Sequence[SwiGLU],
        *,
        router: Callable[[Tensor], Routing],
        shared: SwiGLU | None = None,
        bytes_by_expert: int = 0,
    ) -> None:
        self.mlps, self.router, self.shared, self.bytes_by_expert = tuple(mlps), router, shared, bytes_by_expert
        self.tokens_by_expert = [0] * len(mlps)  # of the last call

    @classmethod
    def from_weights(cls, load: Loader, prefix: str, moe: MoESpec) -> Experts:
        """The experts of one layer."""
        before = load.bytes_read
        return cls(
            [SwiGLU.from_weights(load, f"{prefix}experts.{expert}.") for expert in range(moe.n_experts)],
            bytes_by_expert=(load.bytes_read - before) // moe.n_experts,
            router=Router.from_weights(load, prefix, moe),
            shared=SwiGLU.from_weights(load, prefix + "shared.") if moe.n_shared_experts else None,
        )

    @property
    def idle_bytes(self) -> int:
        """Bytes of the experts that the last call left alone."""
        return (len(self.mlps) - self.n_touched) * self.bytes_by_expert

    @property
    def n_touched(self) -> int:
        """Experts that the last call read."""
        return sum(n > 0 for n in self.tokens_by_expert)

    def __call__(self, x: Tensor) -> Tensor:
        """x [n, D] -> [n, D]"""
        chosen, weights = self.router(x)
        routed = self._routed(x, chosen).mul_(weights[..., None]).sum(1)
        return routed if self.shared is None else routed.add_(self.shared(x))

    def _routed(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Each token's k outputs [n, k, D], expert after expert."""
        n_rows, k = chosen.shape
        order = chosen.view(-1).argsort(stable=True)
        self.tokens_by_expert = torch.bincount(chosen.view(-1), minlength=len(self.mlps)).tolist()
        gathered, y = x[order // k], x.new_empty(n_rows * k, x.shape[1])
        for mlp, n_tokens, end in zip(self.mlps, self.tokens_by_expert, accumulate(self.tokens_by_expert), strict=True):
            if n_tokens:
                y[end - n_tokens : end] = mlp(gathered[end - n_tokens : end])
        return torch.empty_like(y).index_copy_(0, order, y).view(n_rows, k, x.shape[1])
