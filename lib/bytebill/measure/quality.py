"""How good is a model at a text that every machine has? Its surprise at each next token, and how often it is right.

    perplexity = exp(mean over tokens of -ln p(token | those before))       accuracy = share where the likeliest is it

The text is `pydoc_data.topics`, the help of Python itself, so nothing is downloaded and nobody can choose another. Each
row of it is read from its beginning, with nothing before. Ignores tasks: a perplexity says how much of a model is left
and not whether an answer is right; and that the help may have been in the training data, which is the same for all
versions of one model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import exp

import torch
from torch import Tensor

from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import tokenizer
from bytebill.errors import require

_AT_ONCE = 1024  # tokens of a pass: their logits are the largest thing held


@dataclass(frozen=True, kw_only=True, eq=False)
class Quality:
    """What a model expected at each place of a text, [rows, length - 1], on the CPU; a place's token is its target."""

    targets: Tensor  # int64
    losses: Tensor  # -ln p(target) [nats]
    likeliest: Tensor  # the token with the largest probability
    confidence: Tensor  # that probability

    @property
    def perplexity(self) -> float:
        """exp of the mean loss: the number of equally likely tokens that would surprise as much."""
        return exp(min(float(self.losses.double().mean()), 700.0))

    @property
    def right(self) -> Tensor:
        """Whether the likeliest token came, by place."""
        return self.likeliest == self.targets

    @property
    def accuracy(self) -> float:
        """Share of the places where the likeliest token came."""
        return float(self.right.double().mean())


@cache
def reference_text() -> str:
    """Python's help on its own topics, in the order of their names."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


@cache
def reference_tokens() -> list[int]:
    """The reference text as SmolLM2's tokens, some 110,000: which ones depends on the version of Python."""
    return list(tokenizer().encode(reference_text()).ids)


@torch.inference_mode()
def judged(model: Transformer, tokens: Sequence[int], *, length: int) -> Quality:
    """The model's expectations over rows of `length` tokens, as many whole rows as the tokens fill."""
    require(length >= 2, f"A row needs two tokens or more to expect one, not {length}.")
    n_rows = len(tokens) // length
    require(n_rows >= 1, f"{len(tokens)} tokens fill no row of {length}.")
    rows = torch.tensor(tokens[: n_rows * length]).view(n_rows, length)
    found = [_expected(model, some) for some in rows.split(max(1, _AT_ONCE // length))]
    losses, likeliest, confidence = (torch.cat(each) for each in zip(*found, strict=True))
    return Quality(targets=rows[:, 1:], losses=losses, likeliest=likeliest, confidence=confidence)


def _expected(model: Transformer, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, likeliest token and its probability at each place of some rows [B, T] but the first: [B, T - 1]."""
    tokens = rows.to(model.device)
    cache = model.new_cache(len(rows), rows.shape[1] - 1)
    logits = model.forward(tokens[:, :-1], cache, last_only=False).float()
    top, likeliest = logits.max(-1)
    total = logits.logsumexp(-1)
    losses = total - logits.gather(-1, tokens[:, 1:, None])[..., 0]
    return losses.cpu(), likeliest.cpu(), (top - total).exp().cpu()
