"""How many experts does a batch touch? Of E experts a layer, each token takes k.

    distinct = E (1 - (1 - k/E)^B)            uniform: every expert is as likely as any other
    distinct = sum over e of 1 - (1 - q_e)^B  in general, q_e the share of tokens that take expert e, sum of q_e = k

B tokens of a step, routed independently of each other. 1 - (1 - q)^B bends downwards in q, so uneven routing always
touches fewer experts than uniform routing, and leaves more tokens at its favourites. Ignores that neighbouring tokens
of a text choose alike. Used by chapters 03 and 16.
"""

from collections.abc import Sequence
from math import log

from bytebill.errors import require


def distinct_experts(n_experts: int, *, n_experts_per_token: int, n_tokens: float) -> float:
    """Expected number of different experts of a layer that a batch touches, routing uniform and independent.

    E * (1 - (1 - k/E)**B)

    >>> round(distinct_experts(8, n_experts_per_token=2, n_tokens=4), 2)    # 8 * (1 - 0.75**4)
    5.47
    """
    return n_experts * (1 - (1 - n_experts_per_token / n_experts) ** n_tokens)


def distinct_of_shares(shares: Sequence[float], *, n_tokens: float) -> float:
    """Expected number of different experts that a batch touches where `shares[e]` of the tokens take expert e.

    >>> distinct_of_shares([0.75, 0.25], n_tokens=2)    # (1 - 0.25**2) + (1 - 0.75**2)
    1.375
    """
    return sum(1 - (1 - share) ** n_tokens for share in shares)


def zipf_shares(n_experts: int, *, n_experts_per_token: int, exponent: float) -> tuple[float, ...]:
    """Shares of tokens by expert, the r-th most popular in proportion to r**-exponent, none above 1, sum k.

    Exponent 0 is uniform. Where a favourite would be taken more than once by a token, it is taken by all of them and
    the rest is shared out among the others.

    >>> [round(share, 2) for share in zipf_shares(4, n_experts_per_token=2, exponent=1.0)]    # 1/1 : 1/2 : 1/3 : 1/4
    [0.96, 0.48, 0.32, 0.24]
    """
    k = n_experts_per_token
    require(
        exponent >= 0 and 0 < k <= n_experts,
        f"A skew is at least 0 and a token takes 1 to all of the experts; got {exponent} and {k}.",
    )
    weights = [rank**-exponent for rank in range(1, n_experts + 1)]
    scales = ((n, (k - n) / sum(weights[n:])) for n in range(n_experts))  # if the first n are taken by every token
    n_full, scale = next(((n, each) for n, each in scales if weights[n] * each <= 1), (n_experts, 0.0))
    return (1.0,) * n_full + tuple(weight * scale for weight in weights[n_full:])


def tokens_to_touch(share_touched: float, *, n_experts: int, n_experts_per_token: int) -> float:
    """Tokens in a step at which uniform routing touches this share of the experts.

    B = ln(1 - share) / ln(1 - k/E)     [tokens]

    >>> round(tokens_to_touch(0.9, n_experts=8, n_experts_per_token=2), 1)    # ln 0.1 / ln 0.75
    8.0
    """
    require(
        0 <= share_touched < 1, f"A share of experts is between 0 and 1, and 1 is never certain; got {share_touched}."
    )
    if n_experts_per_token >= n_experts:
        return 1.0  # the first token takes them all
    return log(1 - share_touched) / log(1 - n_experts_per_token / n_experts)
