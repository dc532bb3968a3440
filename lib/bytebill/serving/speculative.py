"""Who guesses the next tokens, and how many guesses hold? Drafts without a model, and what passes over them give.

    tokens of a pass = accepted drafts + 1           the model's own next token comes with the pass
    expected         = 1 + a1 + a1 a2 + ...          a_k: share of k-th drafts accepted where all before them were

A draft is accepted where it is the token that the model itself chooses there, so the text cannot change, however bad
the drafts are: they decide the number of passes only. With one rate a for all positions the second line is
`roofline.tokens_per_pass`; whether texts are like that is for `Acceptance` to say. Ignores sampling, where drafts are
accepted by chance so that the distribution stays, and trees of drafts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol, Self

from bytebill.errors import require


class Drafter(Protocol):
    """Whatever guesses ahead for a batch."""

    def propose(self, texts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
        """Up to `n` tokens that may follow each text, and none for one that has no room left."""


@dataclass(frozen=True, kw_only=True)
class PromptLookup:
    """Guess that the text goes on as it did after the last place where its end stood before.

    Ends of `longest` tokens are looked for first, then shorter ones. It reads no weights and keeps nothing.

    >>> PromptLookup().propose([[7, 8, 9, 4, 7, 8]], 3)    # after 7, 8 came 9, 4, 7
    [[9, 4, 7]]
    >>> PromptLookup().propose([[1, 2, 3]], 3)
    [[]]
    >>> [PromptLookup(longest=longest).propose([[5, 7, 1, 3, 7, 2, 5, 7]], 1) for longest in (1, 2)]
    [[[2]], [[1]]]
    """

    longest: int = 3

    def propose(self, texts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
        """What followed the same end of each text."""
        return [self._continued(list(text), n) for text in texts]

    def _continued(self, text: list[int], n: int) -> list[int]:
        for size in range(min(self.longest, len(text) - 1), 0, -1):
            end, last = text[-size:], text[-1]
            for stop in range(len(text) - 1, size - 1, -1):  # the latest first; a stop is one past the same end
                if text[stop - 1] == last and text[stop - size : stop] == end:
                    return text[stop : stop + n]
        return []


@dataclass(frozen=True)
class OneByOne:
    """Drafts by asking for the next token, again and again.

    >>> OneByOne(lambda text: text[-1] + 1).propose([[5], [8, 2]], 2)
    [[6, 7], [3, 4]]
    """

    next_token: Callable[[list[int]], int]

    def propose(self, texts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
        """Each guess follows the guesses before it."""
        guesses = []
        for text in texts:
            known = list(text)
            for _ in range(n):
                known.append(self.next_token(known))
            guesses.append(known[len(text) :])
        return guesses


def n_accepted(drafts: Sequence[int], chosen: Sequence[int]) -> int:
    """Drafts that hold: those before the first that is not what the model chose at its place.

    >>> n_accepted([3, 1, 4], [3, 1, 5, 9])
    2
    """
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(drafts, chosen, strict=False))))


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What became of drafts, by their position in a pass; a pass of one sequence counts as one.

    >>> seen = Acceptance.of([(3, 3), (3, 1), (3, 0), (0, 0)])    # passes: (drafted, accepted)
    >>> seen.tokens_per_pass, seen.rates    # (4 + 2 + 1 + 1) / 4
    (2.0, (0.6666666666666666, 0.5, 1.0))
    """

    n_passes: int
    tried: tuple[int, ...]  # drafts of each position with none refused before them
    held: tuple[int, ...]  # of these, accepted

    @classmethod
    def of(cls, passes: Iterable[tuple[int, int]]) -> Self:
        """Counted from (drafted, accepted) of each pass."""
        seen = list(passes)
        require(bool(seen), "Acceptance needs one pass at least.")
        positions = range(max(drafted for drafted, _ in seen))
        return cls(
            n_passes=len(seen),
            tried=tuple(sum(drafted > k and accepted >= k for drafted, accepted in seen) for k in positions),
            held=tuple(sum(accepted > k for _, accepted in seen) for k in positions),
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """a_k of each position; 0 where none was tried."""
        return tuple(held / tried if tried else 0.0 for held, tried in zip(self.held, self.tried, strict=True))

    @property
    def tokens_per_pass(self) -> float:
        """Tokens that a pass gave a sequence."""
        return 1 + sum(self.held) / self.n_passes

    @property
    def n_drafted(self) -> int:
        """Drafts that were put to the test, those behind a refused one left out."""
        return sum(self.tried)
