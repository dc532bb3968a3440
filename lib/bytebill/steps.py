"""What does a device work on at once? A step, the one vocabulary of engine, simulator and roofline.

A step lists the sequences in it, and for each (`Chunk`) S `context_len` tokens already cached, T
`n_new_tokens` new ones, and for how many of those logits are wanted. Decode, a prefill chunk and the
verification of drafted tokens differ in nothing else, so every scheduler is a way of choosing steps. Knows
neither a model nor a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from bytebill.errors import BytebillError


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One sequence's share of a step: new tokens after a cached context, and how many of them want logits."""

    context_len: int
    n_new_tokens: int
    n_logits: int = 1

    def __post_init__(self) -> None:
        if self.context_len < 0 or self.n_new_tokens < 1 or not 0 <= self.n_logits <= self.n_new_tokens:
            raise ValueError(f"not a chunk: {self}")


@dataclass(frozen=True)
class Step:
    """One iteration: everything a device works on between two rounds of scheduling."""

    chunks: tuple[Chunk, ...]

    def __post_init__(self) -> None:
        if not self.chunks:
            raise ValueError("a step has at least one sequence in it")

    @classmethod
    def decode(cls, *, batch_size: int, context_len: int) -> Step:
        """One new token for each of `batch_size` sequences.

        >>> Step.decode(batch_size=64, context_len=2048).n_new_tokens
        64
        """
        if batch_size < 1 or context_len < 0:
            raise BytebillError(
                f"A step decodes one sequence or more, with zero or more cached tokens; of {context_len:,} tokens "
                f"there are {batch_size}, so take a shorter context or more memory."
            )
        return cls((Chunk(context_len=context_len, n_new_tokens=1),) * batch_size)

    @classmethod
    def prefill(cls, *, n_tokens: int, batch_size: int = 1) -> Step:
        """Whole prompts from an empty cache; logits of the last token only."""
        return cls((Chunk(context_len=0, n_new_tokens=n_tokens),) * batch_size)

    @classmethod
    def verify(cls, *, batch_size: int, context_len: int, n_draft_tokens: int) -> Step:
        """Drafted tokens checked in one pass: one more token than was drafted, all with logits."""
        n_new = n_draft_tokens + 1
        return cls((Chunk(context_len=context_len, n_new_tokens=n_new, n_logits=n_new),) * batch_size)

    @property
    def batch_size(self) -> int:
        return len(self.chunks)

    @property
    def n_new_tokens(self) -> int:
        return sum(chunk.n_new_tokens for chunk in self.chunks)

    @property
    def n_logits(self) -> int:
        return sum(chunk.n_logits for chunk in self.chunks)


def attended_pairs(chunk: Chunk, *, window_len: int | None = None) -> int:
    """(new token, earlier-or-own token) pairs of a chunk: sum over i = 1..T of min(S + i, window).

    >>> attended_pairs(Chunk(context_len=10, n_new_tokens=3))    # 11 + 12 + 13
    36
    >>> attended_pairs(Chunk(context_len=10, n_new_tokens=3), window_len=12)    # 11 + 12 + 12
    35
    """
    n_new, context = chunk.n_new_tokens, chunk.context_len
    n_short = n_new if window_len is None else min(n_new, max(0, window_len - context))
    return n_short * context + n_short * (n_short + 1) // 2 + (n_new - n_short) * (window_len or 0)
