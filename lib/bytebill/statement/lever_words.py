"""What does a lever take for granted, and what does it do to a price? In words, for each row of the calculator.

Everything that a lever assumes stands beside what it saves: a share that somebody would have to reach, or a device's
rent. Used by the live calculator.
"""

from bytebill.statement.levers import LeverEffect
from bytebill.units import plain

ASSUMES = {
    "batching at all": "without it one request at a time",
    "refilling slots": "without it a batch waits for its longest answer",
    "paging the cache": "without it each request is promised slots for the longest",
    "devices follow the day": "if three quarters of the peak above the mean went elsewhere",
    "8-bit weights": "if quality holds; on the cheapest even group of up to as many devices",
    "4-bit weights": "if quality holds; on the cheapest even group of up to as many devices",
    "prefixes found": "if half of each prompt is one prefix that all share",
    "guessing ahead": "if three tokens are guessed for nothing and 70% of them accepted",
    "8-bit cache": "if quality holds",
    "limits twice as long": "if users wait twice as long, at the same fill",
}


def assumed_by(pulled: LeverEffect, *, faster: str, contract: str) -> str:
    """What a lever takes for granted; `faster` and `contract` say the rents at which two of them are tried."""
    name = pulled.lever.name
    if name.startswith("half to "):
        return "if half of the requests are as well answered by the smaller model"
    if name == "contract for a year":
        return contract
    return ASSUMES.get(name, faster)


def times_told(factor: float) -> str:
    """A factor of the price in words.

    >>> times_told(2.0), times_told(0.5), times_told(1.0)
    ('2 times cheaper at scale', '2 times dearer at scale', 'the same at scale')
    """
    if abs(factor - 1) < 0.005:
        return "the same at scale"
    return f"{plain(max(factor, 1 / factor))} times {'cheaper' if factor > 1 else 'dearer'} at scale"


def effect_told(pulled: LeverEffect) -> str:
    """What a lever saves, or would cost if let go of."""
    usd, factor = pulled.saved_usd, pulled.factor
    if pulled.lever.in_place:
        return f"without it USD {usd:,.0f} a month more, {times_told(1 / factor)}"
    changed = f"saves USD {usd:,.0f} a month" if usd >= 0.5 else f"USD {-usd:,.0f} a month more"
    return f"{changed if abs(usd) >= 0.5 else 'the same invoice'}, {times_told(factor)}"
