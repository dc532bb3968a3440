"""What does a change of model cost in the middle of a conversation? The prefix, read again at full price.

    bill of a turn = unread * write + read before * read + answer * output       [USD per million tokens, of its model]
    leave for a turn while  L (write_cheap - read_dear) < new (write_dear - write_cheap) + answer (out_dear - out_cheap)

L is what the dear model has read and the cheap one has not. A cache price is mostly a tenth of fresh input, and a
cheap model's fresh input is often more than that: then a prefix exists from which the cheap model is the dear one.
`write` is what a host asks for input that it puts into its cache, or for fresh input where that has no price. Ignores
that a cache forgets within minutes, and that one model's answer may be longer. Used by chapter 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from bytebill.economics.cost import TOKENS_PER_PRICE
from bytebill.economics.prices import ApiPrice


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A conversation: what stands before it, what each turn adds, what each is answered [tokens]."""

    n_first_tokens: int
    n_new_tokens: int
    n_output_tokens: int
    n_turns: int

    def contexts(self) -> list[int]:
        """Prompt of each turn: all that was said before, and what is new.

        >>> Turns(n_first_tokens=100, n_new_tokens=10, n_output_tokens=5, n_turns=3).contexts()
        [110, 125, 140]
        """
        grows = self.n_new_tokens + self.n_output_tokens
        return [self.n_first_tokens + self.n_new_tokens + i * grows for i in range(self.n_turns)]


def fresh_tokens(turns: Turns, models: Sequence[str], *, keeps_answers: bool = True) -> list[int]:
    """Prompt tokens of each turn that the model which answers it has not read: a cache that keeps everything.

    An engine also keeps what it wrote itself (`keeps_answers`); a host that caches prompts reads it as fresh input.

    >>> chat = Turns(n_first_tokens=100, n_new_tokens=10, n_output_tokens=5, n_turns=3)
    >>> fresh_tokens(chat, ["a", "a", "a"]), fresh_tokens(chat, ["a", "b", "a"])
    ([110, 10, 10], [110, 125, 25])
    """
    seen: dict[str, int] = {}
    fresh = []
    for context, name in zip(turns.contexts(), models, strict=True):
        fresh.append(context - seen.get(name, 0))
        seen[name] = context + turns.n_output_tokens * keeps_answers
    return fresh


def conversation_usd(turns: Turns, prices: Sequence[ApiPrice]) -> float:
    """The bill of a conversation whose turns are answered at these prices, one a turn.

    What a model has read costs its cached price, the rest what it asks for writing to the cache, or for fresh input.
    Without a price for cached input all is fresh. Ignores that a cache forgets within minutes. Hosts cache prompts:
    an answer is fresh when it comes back, also to the model that wrote it.
    """
    usd = 0.0
    fresh = fresh_tokens(turns, [price.name for price in prices], keeps_answers=False)
    for context, n_fresh, price in zip(turns.contexts(), fresh, prices, strict=True):
        read, written = _asked(price)
        usd += n_fresh * written + (context - n_fresh) * read + turns.n_output_tokens * price.output_usd_per_m
    return usd / TOKENS_PER_PRICE


def longest_worth_leaving(dear: ApiPrice, cheap: ApiPrice, *, n_new_tokens: int, n_output_tokens: int) -> float:
    """Length of a prefix, warm at the dear model and cold at the cheap one, above which one turn is dearer there.

    L (write_cheap - read_dear) = n_new (write_dear - write_cheap) + n_output (output_dear - output_cheap)     [tokens]

    Infinite where even a cold prefix costs less at the cheap model than a warm one at the dear.
    """
    (read, write_dear), (_, write_cheap) = _asked(dear), _asked(cheap)
    saved = n_new_tokens * (write_dear - write_cheap) + n_output_tokens * (
        dear.output_usd_per_m - cheap.output_usd_per_m
    )
    return max(0.0, saved) / (write_cheap - read) if write_cheap > read else inf


def _asked(price: ApiPrice) -> tuple[float, float]:
    """What a host asks for input read from its cache and for input written to it; fresh input's where it names none."""
    read = price.input_usd_per_m if price.cache_read_usd_per_m is None else price.cache_read_usd_per_m
    return read, price.cache_write_usd_per_m or price.input_usd_per_m
