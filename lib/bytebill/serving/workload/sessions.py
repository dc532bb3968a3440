"""Who comes back? Conversations that send again all that was said, and questions that quote the same documents.

    prompt of turn t    = system prompt + earlier turns + what is new          stable part first
                        = what is new + system prompt + earlier turns          stable part last
    prompt of a question = instructions + documents, best first + the question

A turn names its blocks by what they say, as `Request.prefix` wants it, and tells how much of it came before, which is
all that a cache could find. An answer is part of the next turn. Sessions begin independently and turns follow after
gaps, so many are open at once and their turns interleave. Sizes are whole blocks; numbers of turns and of new tokens
are spread evenly by half around their means. Ignores the time that an answer takes, and edits of what was said.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from random import Random

from bytebill.errors import require
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.request import Request
from bytebill.serving.workload.arrivals import Poisson, rng

Gap = Callable[[Random], float]  # seconds between two turns
_ANEW, _SYSTEM, _SESSION, _DOCUMENT = range(4)  # what a block is part of


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A request, the tokens of its prompt that came before, and how long ago its session's last turn was."""

    request: Request
    n_shared_tokens: int  # that other sessions had: the system prompt, or the instructions
    n_repeated_tokens: int  # that came before, those included
    gap_s: float = inf  # since the session's last turn


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Conversations of so many turns, whose first adds `n_first_tokens` to the system prompt and each later one
    `n_new_tokens`, the last answer included.

    >>> turns = list(Sessions(n_sessions=2, n_turns=3, n_system_tokens=32, n_first_tokens=16, n_new_tokens=16,
    ...                       n_output_tokens=8, gap_s=lambda chance: 5.0, block_size_tokens=16))
    >>> [turn.n_repeated_tokens for turn in turns if turn.gap_s < 6][:1], turns[0].n_shared_tokens
    ([48], 0)
    """

    n_sessions: int
    n_turns: float
    n_system_tokens: int
    n_first_tokens: int
    n_new_tokens: int
    n_output_tokens: int
    gap_s: Gap
    rate_per_s: float = 1.0  # of sessions that begin
    block_size_tokens: int
    stable_first: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.n_sessions, self.n_turns, self.n_first_tokens, self.n_new_tokens, self.block_size_tokens)
        require(min(sizes) >= 1 and self.n_system_tokens >= 0, f"Sessions have turns, and turns have tokens: {sizes}.")

    def __iter__(self) -> Iterator[Turn]:
        size = self.block_size_tokens
        starts = zip(range(self.n_sessions), Poisson(self.rate_per_s, seed=self.seed), strict=False)
        turns = sorted(turn for session, start_s in starts for turn in self._session(session, start_s))
        for id, (arrival_s, gap_s, n_before, names) in enumerate(turns):
            stable, new = names[:n_before], names[n_before:]
            said_anew = [_name(id, block, _ANEW) for block in range(len(new))]
            yield Turn(
                request=Request(
                    id=id,
                    n_input_tokens=len(names) * size,
                    n_output_tokens=self.n_output_tokens,
                    arrival_s=arrival_s,
                    prefix=tuple(names if self.stable_first else [*said_anew, *stable]),
                ),
                n_shared_tokens=self.n_system_tokens // size * size if id else 0,
                n_repeated_tokens=n_before * size if id else 0,
                gap_s=gap_s,
            )

    def _session(self, session: int, start_s: float) -> Iterator[tuple[float, float, int, list[int]]]:
        """When each turn comes and after which gap, how many of its blocks came before, and the names of all."""
        chance = rng(self.seed, f"session {session}")
        names = [_name(0, block, _SYSTEM) for block in range(self.n_system_tokens // self.block_size_tokens)]
        now_s, gap_s = start_s, inf
        for turn in range(max(1, round(_spread(chance, self.n_turns)))):
            if turn:
                gap_s = self.gap_s(chance)
                now_s += gap_s
            n_tokens = _spread(chance, self.n_new_tokens) if turn else self.n_first_tokens
            n_before, n_blocks = len(names), max(1, round(n_tokens / self.block_size_tokens))
            names = [*names, *(_name(session, n_before + block, _SESSION) for block in range(n_blocks))]
            yield now_s, gap_s, n_before, names


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Questions that quote `n_quoted` of `n_documents`, drawn by rank with weight `rank ** -skew`, best first.

    `by_rank` puts the documents that are asked for most first instead. What came before: the instructions, and each
    document that some earlier question quoted.

    >>> turns = list(Questions(n_questions=3, n_documents=1, n_quoted=1, skew=1.0, n_system_tokens=16,
    ...                        n_document_tokens=64, n_question_tokens=16, n_output_tokens=8, block_size_tokens=16))
    >>> [turn.n_repeated_tokens for turn in turns]
    [0, 80, 80]
    """

    n_questions: int
    n_documents: int
    n_quoted: int
    skew: float
    n_system_tokens: int
    n_document_tokens: int
    n_question_tokens: int
    n_output_tokens: int
    block_size_tokens: int
    by_rank: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require(1 <= self.n_quoted <= self.n_documents, "A question quotes one document or more, of those there are.")
        require(self.block_size_tokens >= 1 and self.n_questions >= 1, "Questions have tokens.")

    def __iter__(self) -> Iterator[Turn]:
        chance, size, seen = rng(self.seed, "questions"), self.block_size_tokens, set[int]()
        weights = list(accumulate(rank**-self.skew for rank in range(1, self.n_documents + 1)))
        per_document = max(1, self.n_document_tokens // size)
        system = [_name(0, i, _SYSTEM) for i in range(self.n_system_tokens // size)]
        for id in range(self.n_questions):
            quoted: dict[int, None] = {}
            while len(quoted) < self.n_quoted:
                quoted[chance.choices(range(self.n_documents), cum_weights=weights)[0]] = None
            order = sorted(quoted) if self.by_rank else list(quoted)
            names = [*system, *(_name(document, i, _DOCUMENT) for document in order for i in range(per_document))]
            n_shared, n_seen = len(system) * size if id else 0, len(seen & set(quoted)) * per_document * size
            seen |= set(quoted)
            yield Turn(
                request=Request(
                    id=id,
                    n_input_tokens=len(names) * size + max(1, self.n_question_tokens),
                    n_output_tokens=self.n_output_tokens,
                    prefix=tuple(names),
                ),
                n_shared_tokens=n_shared,
                n_repeated_tokens=n_shared + n_seen,
            )


def found_tokens(turns: Iterable[Turn], *, cache_tokens: float, block_size_tokens: int) -> list[int]:
    """How much of each turn's prompt a cache of this size holds when it comes, one after the other, nobody else there.

    A prompt that is longer than the cache finds nothing and leaves it as it is.
    """
    pool = PrefixSharing(n_blocks=max(1, int(cache_tokens // block_size_tokens)), block_size_tokens=block_size_tokens)
    found = []
    for turn in turns:
        request = turn.request
        n_found = pool.allocate(request, request.n_input_tokens)
        found.append(n_found or 0)
        if n_found is not None:
            pool.computed(request.id, request.n_input_tokens)
            pool.free(request.id)
    return found


def _spread(chance: Random, mean: float) -> float:
    """Evenly between half and one and a half times the mean."""
    return chance.uniform(0.5 * mean, 1.5 * mean)


def _name(whose: int, block: int, part_of: int) -> int:
    """A block's name: two are alike only if they are part of the same, at the same place."""
    return whose << 34 | block << 4 | part_of
