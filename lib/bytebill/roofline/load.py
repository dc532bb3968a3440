"""What does a device work on at once? A load: what one step does, as counts.

    new tokens = decodes * new tokens of each + sum over chunks of new tokens
    logits     = decodes * new tokens of each + sum over chunks of logits

Decoding sequences come as a number, the sum of their cached contexts, and the new tokens that each gets: one, or
the drafted ones and one more. Everything else is a `Chunk`: S `context_len` tokens already cached, T `n_new_tokens`
new ones, and for how many of those logits are wanted. The one vocabulary of roofline, engine and simulator: a
scheduler's plan is a load that also knows whose it is. Knows neither a model nor a clock.
"""

from dataclasses import dataclass
from math import floor, inf
from typing import Self

from bytebill.errors import BytebillError, require


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # to be left alone; freezing triples what making one takes
class Chunk:
    """One sequence's share of a step: new tokens after a cached context, and how many of them want logits."""

    context_len: int
    n_new_tokens: int
    n_logits: int = 1

    def __post_init__(self) -> None:
        if self.context_len < 0 or self.n_new_tokens < 1 or not 0 <= self.n_logits <= self.n_new_tokens:
            raise BytebillError(f"This is not a chunk, which has new tokens and at most as many logits: {self}.")


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # to be left alone; freezing triples what making one takes
class Load:
    """One iteration: everything a device works on between two rounds of scheduling."""

    n_decodes: int = 0
    n_context_tokens: int = 0  # cached tokens of all decoding sequences together, before the step
    n_new_each: int = 1  # tokens that a decoding sequence gets, logits and all
    chunks: tuple[Chunk, ...] = ()
    n_swapped_blocks: int = 0  # cache blocks that move between device and host before the step

    @classmethod
    def decode(cls, *, batch_size: int, context_len: float, n_new_each: int = 1) -> Self:
        """One new token for each of `batch_size` sequences, `context_len` their mean.

        >>> Load.decode(batch_size=64, context_len=2048).n_new_tokens
        64
        """
        require(batch_size % 1 == 0, f"Sequences of a step count in wholes, not {batch_size}.")
        require(0 <= context_len < inf, f"A mean context is a number of tokens from 0 up, not {context_len}.")
        return cls(
            n_decodes=batch_size, n_context_tokens=round(batch_size * context_len), n_new_each=n_new_each
        ).checked()

    @classmethod
    def prefill(cls, *, n_tokens: int, batch_size: int = 1) -> Self:
        """Whole prompts from an empty cache; logits of the last token only."""
        return cls(chunks=(Chunk(context_len=0, n_new_tokens=n_tokens),) * batch_size).checked()

    @classmethod
    def verify(cls, *, batch_size: int, context_len: float, n_draft_tokens: int) -> Self:
        """Drafted tokens checked in one pass: one more token than was drafted, all with logits."""
        return cls.decode(batch_size=batch_size, context_len=context_len, n_new_each=n_draft_tokens + 1)

    def checked(self) -> Self:
        """This load, if a step can be made of it."""
        counts = (self.n_decodes, self.n_context_tokens, self.n_new_each - 1, self.n_swapped_blocks)
        if not all(count >= 0 for count in counts) or not self.n_sequences:
            raise BytebillError(f"A step has at least one sequence in it, and counts from 0 up: {self}.")
        return self

    @property
    def n_sequences(self) -> int:
        return self.n_decodes + len(self.chunks)

    @property
    def n_new_tokens(self) -> int:
        """Tokens that the step computes."""
        return self.n_decodes * self.n_new_each + sum(chunk.n_new_tokens for chunk in self.chunks)

    @property
    def n_logits(self) -> int:
        """Tokens after which the next one is chosen."""
        return self.n_decodes * self.n_new_each + sum(chunk.n_logits for chunk in self.chunks)

    def kept_tokens(self, window_len: int | None = None) -> float:
        """Cached tokens that the step reads; under a sliding window, decodes count as if all had the mean context."""
        if window_len is None:
            return self.n_context_tokens + sum(chunk.context_len for chunk in self.chunks)
        decodes = min(self.n_context_tokens, self.n_decodes * window_len)
        return decodes + sum(min(chunk.context_len, window_len) for chunk in self.chunks)

    def attended_pairs(self, window_len: int | None = None) -> float:
        """(new token, earlier-or-own token) pairs of all sequences, decodes at their mean context.

        >>> Load.verify(batch_size=2, context_len=10, n_draft_tokens=2).attended_pairs()    # 2 * (11 + 12 + 13)
        72
        """
        new, n_decodes = self.n_new_each, self.n_decodes
        if window_len is None or not n_decodes:  # whole contexts: their sum is all that counts
            decodes: float = new * self.n_context_tokens + n_decodes * (new * (new + 1) // 2)
        else:
            decodes = n_decodes * attended_pairs(self.n_context_tokens / n_decodes, new, window_len=window_len)
        return decodes + sum(
            attended_pairs(chunk.context_len, chunk.n_new_tokens, window_len=window_len) for chunk in self.chunks
        )


def attended_pairs(context_len: float, n_new_tokens: int, *, window_len: int | None = None) -> float:
    """(new token, earlier-or-own token) pairs of one sequence: sum over i = 1..T of min(S + i, window).

    >>> attended_pairs(10, 3)    # 11 + 12 + 13
    36
    >>> attended_pairs(10, 3, window_len=12)    # 11 + 12 + 12
    35
    """
    n_short = n_new_tokens if window_len is None else min(n_new_tokens, max(0, floor(window_len - context_len)))
    return n_short * context_len + n_short * (n_short + 1) // 2 + (n_new_tokens - n_short) * (window_len or 0)
