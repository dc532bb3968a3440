"""How many tokens does one pass give? With drafts, and in a batch that may not change.

    tokens a pass = (1 - a^(g + 1)) / (1 - a)      g drafts, each accepted at a rate a if all before it were
    useful share  = 1 / H_B                        of a static batch's slots, lengths exponential

H_B = 1 + 1/2 + ... + 1/B is the expected longest of B exponential lengths over their mean. The first is equation 1 of
Leviathan et al. (2023). Ignores that acceptance depends on the text, and that lengths are whole and bounded.
"""

from bytebill.errors import require


def tokens_per_pass(n_draft_tokens: int, *, acceptance_rate: float) -> float:
    """Tokens that one pass over drafted tokens gives a sequence; without drafts, 1.

    >>> tokens_per_pass(3, acceptance_rate=0.5)    # 1 + 0.5 + 0.25 + 0.125
    1.875
    """
    return (1 - acceptance_rate ** (n_draft_tokens + 1)) / (1 - acceptance_rate)


def useful_share(batch_size: int) -> float:
    """Share of a static batch's slots that give a token, answers of exponential length.

    >>> round(useful_share(8), 3)
    0.368
    """
    require(batch_size >= 1, f"A batch has at least one sequence, not {batch_size}.")
    return 1 / sum(1 / k for k in range(1, batch_size + 1))
