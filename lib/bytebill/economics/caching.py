"""When does a prompt cache pay? What is found costs less, what is written may cost more, what has expired is written
again.

    call        = (found * r + written * w + fresh) * c_in + output * c_out
    break even  : w + n r < 1 + n      n > (w - 1) / (1 - r)      reads of one write, from which it pays
                  p r + (1 - p) w < 1  p > (w - 1) / (w - r)      share of calls that find what the last one wrote

    r, w        price of a token read from the cache and of one written to it, over a fresh one
    c           prices of input and output                                        [USD per million tokens]
    found       repeated tokens, if they come again within the cache's life and are not too few

Reads start the cache's life anew, as all hosts on file have it that keep time. What several sessions begin with is
taken to be warm. Ignores storage that is paid by the hour, blocks that round a prefix down, and hits a host does not
promise: it calls its cache best effort. Used by chapter 13.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from bytebill import data
from bytebill.economics.cost import TOKENS_PER_PRICE
from bytebill.economics.prices import ApiPrice
from bytebill.errors import require


@dataclass(frozen=True, kw_only=True)
class CacheRule:
    """What a cached token costs over a fresh one, read and written, and when a prefix is found.

    >>> rule = CacheRule(read=0.1, write=1.25, lifetime_s=300)
    >>> round(rule.break_even_reads, 3), round(rule.break_even_share, 3)    # 0.25 / 0.9, 0.25 / 1.15
    (0.278, 0.217)
    """

    name: str = ""
    read: float
    write: float = 1.0
    lifetime_s: float = inf
    min_tokens: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.read <= self.write, f"A read costs no more than a write: {self.read} and {self.write}.")
        require(self.write >= 1 and self.lifetime_s > 0, "A write costs a fresh token or more, and lasts.")

    @property
    def break_even_reads(self) -> float:
        """Reads of one write above which it pays; infinite where a read saves nothing."""
        return (self.write - 1) / (1 - self.read) if self.read < 1 else inf

    @property
    def break_even_share(self) -> float:
        """Share of calls that must come in time, in a conversation that is written at every turn."""
        return (self.write - 1) / (self.write - self.read) if self.read < 1 else inf

    @property
    def pings(self) -> float:
        """How often a prefix may be read for nothing, to keep it, before writing it anew is cheaper.

        >>> CacheRule(read=0.1, write=1.25).pings
        12.5
        """
        return self.write / self.read if self.read else inf


@dataclass(frozen=True, kw_only=True)
class CachedCall:
    """One call: its tokens, and how much of its prompt came before.

    `n_prefix_tokens` are kept for later calls. Of them the last call had `n_repeated_tokens`, `gap_s` ago, and
    all sessions have the first `n_shared_tokens`.
    """

    n_input_tokens: int
    n_output_tokens: int
    n_prefix_tokens: int
    n_repeated_tokens: int = 0
    n_shared_tokens: int = 0
    gap_s: float = inf

    def __post_init__(self) -> None:
        sizes = (self.n_shared_tokens, self.n_repeated_tokens, self.n_prefix_tokens, self.n_input_tokens)
        require(
            self.n_shared_tokens >= 0 and list(sizes[1:]) == sorted(sizes[1:]) and sizes[0] <= sizes[2],
            f"What came before is part of what is kept, and that of the prompt: {sizes}.",
        )


def bill_of_calls(calls: Iterable[CachedCall], price: ApiPrice, rule: CacheRule) -> float:
    """What calls cost under a rule [USD]; a rule with `read=1` is no cache.

    >>> from bytebill.economics.prices import api_price
    >>> sizes = {"n_input_tokens": 10_000, "n_prefix_tokens": 10_000, "n_repeated_tokens": 9_000}
    >>> call = CachedCall(**sizes, n_output_tokens=0, gap_s=60)
    >>> usd = bill_of_calls([call], api_price("Claude Sonnet 4.5"), CacheRule(read=0.1, write=1.25, lifetime_s=300))
    >>> round(usd, 6)    # (9,000 * 0.30 + 1,000 * 3.75) / 1e6
    0.00645
    """
    usd = 0.0
    for call in calls:
        found = max(call.n_repeated_tokens if call.gap_s <= rule.lifetime_s else 0, call.n_shared_tokens)
        found *= found >= rule.min_tokens
        written = (call.n_prefix_tokens - found) * (call.n_prefix_tokens >= rule.min_tokens)
        fresh = call.n_input_tokens - found - written
        weighed = found * rule.read + written * rule.write + fresh
        usd += weighed * price.input_usd_per_m + call.n_output_tokens * price.output_usd_per_m
    return usd / TOKENS_PER_PRICE


def rules_of(price: ApiPrice) -> tuple[CacheRule, ...]:
    """The caches that a price's host offers, `data/cache_rules.csv`; none where it lists no price for a read.

    >>> from bytebill.economics.prices import api_price
    >>> [(rule.name, rule.write) for rule in rules_of(api_price("Claude Sonnet 5"))]
    [('5 minutes', 1.25), ('1 hour', 2.0)]
    >>> rules_of(api_price("Llama 3.3 70B", host="Groq"))
    ()
    """
    if price.cache_read_usd_per_m is None:
        return ()
    read = price.cache_read_usd_per_m / price.input_usd_per_m
    on_file = [row for row in data.grouped("cache_rules", "host").get(price.host, []) if _asks_of(row, price)]
    if not on_file:  # a read has a price, and nothing else is known
        return (CacheRule(name="as listed", read=read),)
    return tuple(
        CacheRule(
            name=row["rule"],
            read=read,
            write=row["write_over_input"],
            lifetime_s=row["lifetime_s"] or inf,
            min_tokens=row["min_tokens"] or 0,
        )
        for row in on_file
    )


def _asks_of(row: data.Row, price: ApiPrice) -> bool:
    """Whether a rule is for this model: it has no rent by the hour, and is not for models that came later."""
    return row["storage_usd_per_m_hour"] is None and not row["rule"].endswith("and later")
