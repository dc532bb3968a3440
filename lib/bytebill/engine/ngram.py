"""What would a model say that only counts? The token that most often followed the last few, in a text it has read.

    next(h)  = the token that most often followed h, the longest end of the context seen, of up to `order` - 1
    p(w | h) = (times w followed h + kinds(h) p(w | h without its first)) / (times h was followed + kinds(h))

kinds(h): different tokens that followed h. Witten and Bell's smoothing: what follows h in many ways may follow it in a
new one, and then a shorter context says in which. Its `confidence` is p of the token it names. Reads a few entries of a
table a token, and no weights: the cheap model of a cascade, and a draft to guess from. Ignores meaning, spelling, and
everything further back. Used by chapters 12 and 14.
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

        >>> model = NGram.of([1, 2, 3, 1, 2, 4, 1, 2, 3], order=2)
        >>> model.next([1])    # 2 each time: (3 + 1 * 3 / 13) / (3 + 1), for 2 is 3 of 9 tokens of 4 kinds
        (2, 0.8076923076923077)
        >>> model.next([9]) == model.next([])
        True
        """
        require(order >= 1, f"An n-gram model has an order of 1 or more; got {order}.")
        require(len(tokens) > 0, "An n-gram model has to read at least one token.")
        tables, shorter = [], None
        for n in range(1, order + 1):
            shorter = _Grams(tokens, n, shorter)
            tables.append(shorter.likeliest())
        return cls(tuple(tables))

    def next(self, context: Sequence[int]) -> tuple[int, float]:
        """The likeliest next token and its confidence, between 0 and 1, by the longest end of the context seen."""
        for n in range(min(len(self.tables) - 1, len(context)), 0, -1):
            if found := self.tables[n].get(tuple(context[len(context) - n :])):
                return found
        return self.tables[0][()]


class _Grams:
    """Runs of n tokens: how often each came, and what follows their first n - 1."""

    def __init__(self, tokens: Sequence[int], n: int, shorter: "_Grams | None") -> None:
        self.counts = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
        self.shorter = shorter
        self.times: Counter[tuple[int, ...]] = Counter()
        self.kinds: Counter[tuple[int, ...]] = Counter()
        for gram, count in self.counts.items():
            self.times[gram[:-1]] += count
            self.kinds[gram[:-1]] += 1

    def share(self, gram: tuple[int, ...]) -> float:
        """p of the last token after the others."""
        context = gram[:-1]
        below = self.kinds[context] * self.shorter.share(gram[1:]) if self.shorter else 0.0
        return (self.counts[gram] + below) / (self.times[context] + self.kinds[context])

    def likeliest(self) -> dict[tuple[int, ...], tuple[int, float]]:
        """By context: what follows it most often, and its p."""
        best: dict[tuple[int, ...], tuple[int, ...]] = {}
        for gram, count in self.counts.items():
            context = gram[:-1]
            if context not in best or count > self.counts[best[context]]:
                best[context] = gram
        return {context: (gram[-1], self.share(gram)) for context, gram in best.items()}
