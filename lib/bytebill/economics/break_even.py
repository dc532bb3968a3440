"""When is an own device cheaper than an API? The same number, read three ways.

    U*  = rent / (tok/s * 3600) * 1e6 / p           utilization      above 1: at no utilization
    V*  = 24 * rent / p * 1e6                       tokens a day     whatever the throughput
    p*  = rent / (tok/s * 3600 * U) * 1e6           API price        above which the device is cheaper

    rent    of the device [USD/h]       tok/s   throughput when never idle       U   utilization, in (0, 1]
    p       API price of the same tokens that tok/s counts [USD per million]: all of them with the blended price of
            the traffic; output tokens with what the API asks for all of a request, per output token

p* is what a device's own tokens cost, `bytebill.economics.cost.usd_per_million_tokens`.
V* does not know the device's throughput: a rent buys so many tokens elsewhere, and the device only has to be able to
serve them, V* <= 86400 * tok/s, which is U* <= 1. So two rules, one in utilization and one in tokens a day, agree for
one throughput alone. Ignores all that is not rent (staff, spare devices, egress), whose place is in `usd_per_hour`.
Used by chapters 06, 07, 19 and 20.
"""

from bytebill.economics.cost import (
    HOURS_PER_DAY,
    SECONDS_PER_DAY,
    TOKENS_PER_PRICE,
    check_positive,
    check_utilization,
    usd_per_million_tokens,
)


def utilization(*, usd_per_hour: float, tokens_per_s: float, api_usd_per_m: float) -> float:
    """The share of its throughput that a device must sell to cost what the API does; above 1 it never does.

    >>> round(utilization(usd_per_hour=3.60, tokens_per_s=1000, api_usd_per_m=4.0), 9)    # $1 at full load
    0.25
    >>> round(utilization(usd_per_hour=3.60, tokens_per_s=1000, api_usd_per_m=0.5), 9)    # never
    2.0
    """
    check_positive({"An API price [USD per million tokens]": api_usd_per_m})
    return usd_per_million_tokens(usd_per_hour=usd_per_hour, tokens_per_s=tokens_per_s) / api_usd_per_m


def tokens_per_day(*, usd_per_hour: float, api_usd_per_m: float) -> float:
    """How many tokens a day the API sells for a day's rent: the volume from which the device is cheaper.

    >>> tokens_per_day(usd_per_hour=2.50, api_usd_per_m=10.0)    # $60 a day at $10 a million
    6000000.0
    """
    check_positive({"A rent [USD per hour]": usd_per_hour, "An API price [USD per million tokens]": api_usd_per_m})
    return HOURS_PER_DAY * usd_per_hour / api_usd_per_m * TOKENS_PER_PRICE


def api_usd_per_m_at(*, usd_per_hour: float, tokens_per_day: float) -> float:
    """The API price at which so many tokens a day cost a day's rent.

    >>> api_usd_per_m_at(usd_per_hour=2.50, tokens_per_day=6e6)
    10.0
    """
    check_positive({"A rent [USD per hour]": usd_per_hour, "A volume [tokens per day]": tokens_per_day})
    return HOURS_PER_DAY * usd_per_hour / tokens_per_day * TOKENS_PER_PRICE


def throughput(*, tokens_per_day: float, utilization: float) -> float:
    """The tokens a second of a device that this utilization turns into this volume: where two rules agree.

    >>> throughput(tokens_per_day=43_200_000, utilization=0.5)    # 500 a second on average
    1000.0
    """
    check_positive({"A volume [tokens per day]": tokens_per_day})
    check_utilization(utilization)
    return tokens_per_day / SECONDS_PER_DAY / utilization
