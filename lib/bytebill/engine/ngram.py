"""What would a model say that only counts? The token that most often followed the last few, in a text it has read.

    next(h)       = the token that most often followed h, the longest end of the context seen, up to `order` - 1
    confidence(h) = times it followed h / (times h was followed + different tokens that followed it)

The last term is Witten and Bell's: what follows h in many ways may follow it in a new one, so seen once is half sure.
Reads a few entries of a table a token, and no weights: the cheap model of a cascade, and a draft to guess from.
Ignores meaning, spelling, and everything further back. Used by chapters 12 and 14.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bytebill.errors import require


@dataclass(frozen=True)
class NGram:
    """For each end of a context, by its length: the likeliest next token and how sure it is."""

    tables: tuple[dict[tuple[int, ...], tuple[int, float]], ...]  # [i]: contexts of i tokens

    @classmethod
    def of(cls, tokens: Sequence[int], *, order: int = 4) -> "NGram":
        """The model that has read these tokens; `order` 1 knows no context, 4 knows three tokens of it.

        Of tokens seen as often, the one that came first in the text.

        >>> model = NGram.of([1, 2, 3, 1, 2, 4, 1, 2, 3], order=3)
        >>> model.next([1, 2])    # 3 twice and 4 once: 2 / (3 + 2)
        (3, 0.4)
        >>> model.next([9, 9, 4]) == model.next([4]) == (1, 0.5)
        True
        """
        require(order >= 1, f"An n-gram model has an order of 1 or more; got {order}.")
        require(len(tokens) > 0, "An n-gram model has to read at least one token.")
        return cls(tuple(_table(tokens, n) for n in range(1, order + 1)))

    def next(self, context: Sequence[int]) -> tuple[int, float]:
        """The likeliest next token and its confidence, between 0 and 1, by the longest end of the context seen."""
        for n in range(min(len(self.tables) - 1, len(context)), 0, -1):
            if found := self.tables[n].get(tuple(context[len(context) - n :])):
                return found
        return self.tables[0][()]


def _table(tokens: Sequence[int], n: int) -> dict[tuple[int, ...], tuple[int, float]]:
    """By context of n - 1 tokens: what follows it most often, and how sure that is."""
    grams = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
    followed: Counter[tuple[int, ...]] = Counter()  # times, and different tokens
    best: dict[tuple[int, ...], tuple[int, int]] = {}
    for gram, count in grams.items():
        context = gram[:-1]
        followed[context] += count + 1
        if context not in best or count > best[context][1]:
            best[context] = (gram[-1], count)
    return {context: (token, count / followed[context]) for context, (token, count) in best.items()}
