"""What does a million tokens cost? A rent divided by what is served; a bill by kinds of tokens.

    usd per million = usd_per_hour / (tokens_per_s * 3600 * utilization) * 1e6
    bill            = (fresh * c_in + cached * c_hit + output * c_out) / 1e6,    fresh = input - cached
    blended         = bill / (input + output) * 1e6

    tokens_per_s    what the device serves when it is never idle, and of one kind: output tokens or all tokens [1/s]
    utilization     served over what could have been, in (0, 1]; an outcome of load: `bytebill.economics.load`
    cached          input tokens found in a prefix cache; they are part of the input
    c               price or cost of a kind [USD per million tokens]

Rents are by the hour, volumes by the day, contracts by the month and declines by the year: for every bill a month is
730 hours, a twelfth of 365 days, and leap days are ignored.

`tokens_per_s` and the price it is held against must count the same tokens: that is the trap of chapter 07. Ignores
power, staff, network and spare devices, and prices that step with the length of a prompt or charge for a cache write.
Used by chapters 06, 07, 10, 19 and 20.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from bytebill.errors import BytebillError, require

TOKENS_PER_PRICE = 1e6  # prices are for a million
SECONDS_PER_HOUR = 3600.0
HOURS_PER_DAY = 24.0
SECONDS_PER_DAY = HOURS_PER_DAY * SECONDS_PER_HOUR
DAYS_PER_YEAR = 365
MONTHS_PER_YEAR = 12
HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * SECONDS_PER_HOUR


def usd_per_million_tokens(*, usd_per_hour: float, tokens_per_s: float, utilization: float = 1.0) -> float:
    """The rent over the tokens that it buys.

    >>> round(usd_per_million_tokens(usd_per_hour=3.60, tokens_per_s=1000), 9)    # $3.60 for 3.6 million
    1.0
    >>> round(usd_per_million_tokens(usd_per_hour=3.60, tokens_per_s=1000, utilization=0.25), 9)
    4.0
    """
    check_positive({"A rent [USD per hour]": usd_per_hour, "A throughput [tokens per second]": tokens_per_s})
    check_utilization(utilization)
    return usd_per_hour / (tokens_per_s * SECONDS_PER_HOUR * utilization) * TOKENS_PER_PRICE


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How many tokens of each kind some traffic has; only their proportions matter to a price.

    >>> mix = Mix(n_input_tokens=600, n_cached_tokens=300, n_output_tokens=200)
    >>> mix.ratio, mix.hit_rate, mix.per_output_token
    (3.0, 0.5, 4.0)
    """

    n_input_tokens: float
    n_output_tokens: float
    n_cached_tokens: float = 0.0

    def __post_init__(self) -> None:
        for n in (self.n_input_tokens, self.n_output_tokens, self.n_cached_tokens):
            require(0 <= n < inf, f"A number of tokens is zero or more, not {n}.")
        require(
            self.n_cached_tokens <= self.n_input_tokens,
            f"Cached tokens are part of the input: {self.n_cached_tokens:,} of {self.n_input_tokens:,} cannot be.",
        )
        require(self.n_tokens > 0, "Traffic has at least one token.")

    @property
    def n_tokens(self) -> float:
        """Input and output."""
        return self.n_input_tokens + self.n_output_tokens

    @property
    def n_fresh_tokens(self) -> float:
        """Input tokens that no cache had."""
        return self.n_input_tokens - self.n_cached_tokens

    @property
    def ratio(self) -> float:
        """Input tokens for one output token; infinite where nothing is put out."""
        return self.n_input_tokens / self.n_output_tokens if self.n_output_tokens else inf

    @property
    def per_output_token(self) -> float:
        """All tokens for one output token: turns a rate of output tokens into one of all tokens."""
        return 1 + self.ratio

    @property
    def hit_rate(self) -> float:
        """Share of the input that a cache had."""
        return self.n_cached_tokens / self.n_input_tokens if self.n_input_tokens else 0.0


@dataclass(frozen=True, kw_only=True)
class PhaseCosts:
    """Price or cost of each kind of token [USD per million]; no price for cached tokens: they cost what others do.

    >>> costs = PhaseCosts(usd_per_m_input=3.0, usd_per_m_cached=0.3, usd_per_m_output=15.0)
    >>> mix = Mix(n_input_tokens=2e6, n_cached_tokens=1e6, n_output_tokens=1e6)
    >>> round(costs.bill_usd(mix), 6), round(costs.blended_usd_per_m(mix), 6)    # 3.00 + 0.30 + 15.00, for 3 million
    (18.3, 6.1)
    """

    usd_per_m_input: float
    usd_per_m_output: float
    usd_per_m_cached: float | None = None

    def __post_init__(self) -> None:
        for price in (self.usd_per_m_input, self.usd_per_m_output, self.usd_per_m_cached or 0.0):
            require(0 <= price < inf, f"A price is zero or more USD per million tokens, not {price}.")

    @property
    def ratio(self) -> float:
        """Price of an output token over that of an input token."""
        return self.usd_per_m_output / self.usd_per_m_input if self.usd_per_m_input else inf

    def bill_usd(self, mix: Mix) -> float:
        """What these tokens cost, all together."""
        cached = self.usd_per_m_input if self.usd_per_m_cached is None else self.usd_per_m_cached
        input_usd = mix.n_fresh_tokens * self.usd_per_m_input + mix.n_cached_tokens * cached
        return (input_usd + mix.n_output_tokens * self.usd_per_m_output) / TOKENS_PER_PRICE

    def blended_usd_per_m(self, mix: Mix) -> float:
        """The bill for a million tokens of this traffic, of all kinds together."""
        return self.bill_usd(mix) / mix.n_tokens * TOKENS_PER_PRICE


def check_positive(quantities: Mapping[str, float]) -> None:
    """Refuse a rate or a price that nothing can have.

    >>> check_positive({"A rent [USD per hour]": -1})
    Traceback (most recent call last):
    bytebill.errors.BytebillError: A rent is positive, not -1 USD per hour.
    """
    for name, value in quantities.items():
        if not 0 < value < inf:
            raise BytebillError(f"{name.removesuffix(']').replace(' [', f' is positive, not {value} ')}.")


def check_utilization(utilization: float) -> None:
    """Refuse a share that is not one, and an idle device, whose tokens have no price."""
    require(
        0 < utilization <= 1,
        f"Utilization is a share above 0 and at most 1, not {utilization}: an idle device serves no token to "
        "price, and none serves more than it can.",
    )
