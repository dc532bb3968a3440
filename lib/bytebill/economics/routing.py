"""Is a query good enough for the cheap model? Routers and cascades over queries that both models answered.

    routed   = sum of dear_usd over queries sent to the dear model + cheap_usd over the others
    cascaded = sum of dear_usd over queries escalated              + cheap_usd over all      the cheap one answers first
    a coin   = a share s of all queries, whichever: score = (1 - s) cheap + s dear             what no choice costs
    choice   = ln(bill of the coin / bill) / ln(bill of the dear model / bill)                 of the same score

The oracle knows both scores and sends first where the dear model gains most; nobody has it. Scores are right (1) or
wrong (0), or points. A coin's line is the baseline of every router: what lies on it was not learned. Ignores the
router's own price, the wait for two models, that a user asks again after a wrong answer, and prefixes that a change of
model leaves behind: for those see `switching`.
Used by chapter 12.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from math import log

from bytebill.errors import require


@dataclass(frozen=True, kw_only=True)
class Graded:
    """`n` queries that two models answered alike: both scores, both bills of one query, and what a router could see."""

    cheap_score: float
    dear_score: float
    cheap_usd: float = 0.0
    dear_usd: float = 1.0
    n: float = 1
    sure: float = 0.0  # of the cheap model's answer: the least sure are sent to the dear one first

    @property
    def gain(self) -> float:
        """What the dear model adds to the score."""
        return self.dear_score - self.cheap_score


@dataclass(frozen=True, kw_only=True)
class Routed:
    """What became of all queries: how many of them the dear model answered, the mean score, the bill."""

    n: float
    n_dear: float
    score: float
    usd: float

    @property
    def share(self) -> float:
        """Of the queries, those that the dear model answered."""
        return self.n_dear / self.n


def route(queries: Sequence[Graded], shares: Iterable[float], *, cheap_first: bool = False) -> Routed:
    """Send this share of each kind of query to the dear model; `cheap_first`: after the cheap one has answered it.

    >>> two = [Graded(cheap_score=1, dear_score=1), Graded(cheap_score=0, dear_score=1, cheap_usd=0.5)]
    >>> route(two, [0, 1])
    Routed(n=2, n_dear=1, score=1.0, usd=1.0)
    >>> route(two, [0, 1], cheap_first=True).usd
    1.5
    """
    sent = [(query, share) for query, share in zip(queries, shares, strict=True)]
    require(bool(sent), "There is nothing to route: give at least one query.")
    require(all(0 <= share <= 1 for _, share in sent), "A share of queries is between 0 and 1.")
    n = sum(query.n for query, _ in sent)
    return Routed(
        n=n,
        n_dear=sum(query.n * share for query, share in sent),
        score=sum(query.n * (query.cheap_score + share * query.gain) for query, share in sent) / n,
        usd=sum(
            query.n * (share * query.dear_usd + (1 if cheap_first else 1 - share) * query.cheap_usd)
            for query, share in sent
        ),
    )


def coin(queries: Sequence[Graded], share: float, *, cheap_first: bool = False) -> Routed:
    """So large a share of the queries, whichever they are.

    >>> coin([Graded(cheap_score=0, dear_score=1, n=8)], 0.25).score
    0.25
    """
    return route(queries, [share] * len(queries), cheap_first=cheap_first)


def as_published(queries: Sequence[Graded], *, calls: float, score: float) -> list[Graded]:
    """The queries in two parts, sent (`sure` 0) and kept (`sure` 1), as by a router of which only this much is known.

    A query is kept the less likely the more the dear model gains on it: in a straight line, with the slope that sends
    so many `calls` and reaches this `score`. Exact while no likelihood leaves 0 to 1, where it is cut off.

    >>> kinds = [Graded(cheap_score=0, dear_score=1, n=4), Graded(cheap_score=1, dear_score=1, n=6)]
    >>> sent = calls_curve(as_published(kinds, calls=0.5, score=0.9), lambda query: query.sure)[1]
    >>> round(sent.share, 9), round(sent.score, 9)
    (0.5, 0.9)
    """
    require(0 <= calls <= 1, f"A share of queries is between 0 and 1, not {calls}.")
    none, every = coin(queries, 0.0), coin(queries, 1.0)
    mean = every.score - none.score
    spread = sum(query.n * (query.gain - mean) ** 2 for query in queries) / none.n
    slope = (mean - (every.score - score) / (1 - calls)) / spread if spread and calls < 1 else 0.0
    parts = []
    for query in queries:
        stays = min(1.0, max(0.0, (1 - calls) * (1 - slope * (query.gain - mean))))
        parts += [replace(query, n=query.n * (1 - stays), sure=0.0), replace(query, n=query.n * stays, sure=1.0)]
    return parts


def calls_curve(
    queries: Sequence[Graded], order: Callable[[Graded], float], *, cheap_first: bool = False
) -> list[Routed]:
    """From none to all to the dear model, the lowest `order` first; queries of equal order go together.

    `lambda q: q.sure` is a threshold on confidence, `lambda q: -q.gain` the oracle's order.

    >>> kinds = [Graded(cheap_score=0, dear_score=1, n=3), Graded(cheap_score=1, dear_score=0)]
    >>> [point.score for point in calls_curve(kinds, lambda query: -query.gain)]
    [0.25, 1.0, 0.75]
    """
    points = [coin(queries, 0.0, cheap_first=cheap_first)]
    for _, together in groupby(sorted(queries, key=order), key=order):
        before, alike = points[-1], list(together)
        points.append(
            Routed(
                n=before.n,
                n_dear=before.n_dear + sum(query.n for query in alike),
                score=before.score + sum(query.n * query.gain for query in alike) / before.n,
                usd=before.usd
                + sum(query.n * (query.dear_usd - (0.0 if cheap_first else query.cheap_usd)) for query in alike),
            )
        )
    return points


def reaching(points: Sequence[Routed], score: float) -> Routed:
    """The first point of a curve with that score, mixed by a coin with the point before it.

    >>> ends = calls_curve([Graded(cheap_score=0, dear_score=1, n=4)], lambda query: 0)
    >>> reaching(ends, 0.75).n_dear
    3.0
    """
    at = next((i for i, point in enumerate(points) if point.score >= score), None)
    require(at is not None, f"No share of calls to the dear model reaches a score of {score:g}.")
    after, before = points[at or 0], points[max(0, (at or 0) - 1)]
    return _between(before, after, (score - before.score) / (after.score - before.score) if at else 1.0)


def at_share(points: Sequence[Routed], share: float) -> Routed:
    """The point of a curve at which this share of the queries goes to the dear model, mixed where it has none.

    >>> ends = calls_curve([Graded(cheap_score=0, dear_score=1, n=4)], lambda query: 0)
    >>> at_share(ends, 0.75).score
    0.75
    """
    require(0 <= share <= 1, f"A share of queries is between 0 and 1, not {share}.")
    wanted = share * points[0].n
    before, after = next((pair for pair in pairwise(points) if wanted <= pair[1].n_dear), (points[-1], points[-1]))
    apart = after.n_dear - before.n_dear
    return _between(before, after, (wanted - before.n_dear) / apart if apart else 1.0)


def _between(before: Routed, after: Routed, part: float) -> Routed:
    """A coin's mix of two points."""
    mixed = {
        name: getattr(before, name) + part * (getattr(after, name) - getattr(before, name))
        for name in ("n_dear", "score", "usd")
    }
    return replace(after, **mixed)


def calls_of_a_coin(*, cheap_score: float, dear_score: float, of_dear: float) -> float:
    """Share of queries that a coin must send to the dear model for so much of its score; 0 where the cheap one does.

    s = (of_dear * dear - cheap) / (dear - cheap)

    >>> calls_of_a_coin(cheap_score=0.5, dear_score=1.0, of_dear=0.75)
    0.5
    """
    if cheap_score >= of_dear * dear_score:
        return 0.0
    require(dear_score > cheap_score, "A coin reaches nothing with a dear model that is the worse one.")
    return (of_dear * dear_score - cheap_score) / (dear_score - cheap_score)


def bill_share(calls: float, *, price_ratio: float, cheap_first: bool = False) -> float:
    """The bill over that of the dear model alone, if the cheap one costs `price_ratio` of it a query.

    routed s + (1 - s) r,   cascaded s + r

    >>> bill_share(0.5, price_ratio=0.1), bill_share(0.5, price_ratio=0.1, cheap_first=True)
    (0.55, 0.6)
    """
    return calls + (1.0 if cheap_first else 1 - calls) * price_ratio


def share_of_choice(bill: float, bill_of_coin: float) -> float:
    """Of a cut, in logarithms, what the choice adds to a coin of the same score; bills over the dear model's.

    >>> share_of_choice(0.25, 0.5)
    0.5
    """
    require(min(bill, bill_of_coin) > 0, "Shares are taken of bills above zero.")
    return log(bill_of_coin / bill) / -log(bill) if bill != 1 else 0.0


def dearest_cheap_model(calls: float, calls_of_coin: float) -> float:
    """Price ratio from which a cascade costs more than a coin that routes as well: e + r < m + (1 - m) r.

    r = 1 - e / m;   0 where it never pays

    >>> dearest_cheap_model(0.25, 0.5)
    0.5
    """
    return max(0.0, 1 - calls / calls_of_coin) if calls_of_coin else 0.0
