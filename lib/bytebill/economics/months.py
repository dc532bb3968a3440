"""Rent, buy or pay by the token, month after month: what has it cost by then?

    rent   = devices * rent * hours                                 the same every month of the contract
    buy    = price at once + running cost a month               what it is sold for comes on top
    API    = tokens * price / factor^(months / 12)                  falling at a rate per year
    wait   = pay the API until month m, then decide by what was seen   an API can be left from month to month

    factor   how many times smaller a price becomes in a year [1], below 1: it rises

All sums in USD, months of 730 hours. A commitment is `under water` from the month on in which what is left of it
costs more than the same tokens would at that month's API price. Ignores interest, taxes, growth of the traffic, and
that a rent may fall at renewal: give each term its own. Used by chapter 19.
"""

from bytebill.economics.cost import HOURS_PER_MONTH, MONTHS_PER_YEAR, check_positive
from bytebill.errors import require

LONGEST_TERM = 1200


def rent_usd(*, n_months: int, n_devices: int, usd_per_device_hour: float) -> list[float]:
    """What each month of a contract costs.

    >>> rent_usd(n_months=2, n_devices=2, usd_per_device_hour=1.0)
    [1460.0, 1460.0]
    """
    _check_months(n_months)
    check_positive({"A rent [USD per hour]": usd_per_device_hour})
    require(n_devices >= 1, f"A fleet has at least one device, not {n_devices}.")
    return [n_devices * usd_per_device_hour * HOURS_PER_MONTH] * n_months


def buy_usd(*, n_months: int, price_usd: float, running_usd_per_month: float = 0.0) -> list[float]:
    """What each month costs of something bought at once and run.

    >>> buy_usd(n_months=3, price_usd=100.0, running_usd_per_month=10.0)
    [110.0, 10.0, 10.0]
    """
    _check_months(n_months)
    check_positive({"A price [USD]": price_usd})
    require(running_usd_per_month >= 0, f"Running costs nothing or more, not {running_usd_per_month} USD a month.")
    return [price_usd + running_usd_per_month] + [running_usd_per_month] * (n_months - 1)


def api_usd(*, n_months: int, m_tokens_per_month: float, usd_per_m: float, factor_per_year: float) -> list[float]:
    """What each month's tokens cost where the price falls by a factor a year, from the first month on.

    >>> [round(usd, 2) for usd in api_usd(n_months=13, m_tokens_per_month=10, usd_per_m=2.0, factor_per_year=4)][::6]
    [20.0, 10.0, 5.0]
    """
    _check_months(n_months)
    check_positive({"A price [USD per million tokens]": usd_per_m, "A factor per year [times]": factor_per_year})
    require(m_tokens_per_month >= 0, f"Tokens are zero or more, not {m_tokens_per_month}.")
    return [m_tokens_per_month * usd_per_m * factor_per_year ** -(month / MONTHS_PER_YEAR) for month in range(n_months)]


def under_water_from(committed: list[float], alternative: list[float]) -> int | None:
    """The first month (from 0) from which on the rest of a commitment costs more than the rest of the alternative.

    >>> under_water_from([10.0, 10.0, 10.0], [20.0, 9.0, 4.0])    # from month 1 on: 20 against 13
    1
    >>> under_water_from([1.0, 1.0], [2.0, 2.0]) is None
    True
    """
    require(len(committed) == len(alternative), f"{len(committed)} months cannot be held against {len(alternative)}.")
    return next((n for n in range(len(committed)) if sum(committed[n:]) > sum(alternative[n:])), None)


def decided_late(bills: list[float], *, after: int, commitment_usd_per_month: float) -> list[float]:
    """The bills of who pays by the token for some months, and then signs for the rest or does not.

    He knows the bills so far and that of the month that begins, takes their fall to go on, and signs if the rest of
    the commitment costs less than that. What he pays is what the bills then do.

    >>> decided_late([10.0, 10.0, 10.0, 10.0], after=2, commitment_usd_per_month=6.0)    # nothing moved: he signs
    [10.0, 10.0, 6.0, 6.0]
    >>> decided_late([10.0, 5.0, 2.5, 2.5], after=2, commitment_usd_per_month=2.0)    # he stays for 2.5 and then 1.25
    [10.0, 5.0, 2.5, 2.5]
    """
    _check_months(len(bills))
    after = max(0, min(after, len(bills) - 1))
    fall = (bills[after] / bills[0]) ** (1 / after) if after else 1.0
    left = len(bills) - after
    signed = [commitment_usd_per_month] * left
    awaited = [bills[after] * fall**month for month in range(left)]
    return bills[:after] + (signed if sum(signed) < sum(awaited) else bills[after:])


def break_even_factor(*, n_months: int, commitment_usd_per_month: float, api_usd_first_month: float) -> float:
    """The fall per year at which the API's months add up to the commitment's [times a year].

    Below it the commitment is cheaper over its term. Found by halving, to a thousandth.

    >>> round(break_even_factor(n_months=12, commitment_usd_per_month=50.0, api_usd_first_month=100.0), 2)
    6.03
    """
    _check_months(n_months)
    check_positive(
        {"A commitment [USD per month]": commitment_usd_per_month, "A month of the API [USD]": api_usd_first_month}
    )
    committed, low, high = commitment_usd_per_month * n_months, 1e-3, 1e60
    require(
        api_usd_first_month < committed,
        "The API's first month alone costs more than the whole commitment: no fall is fast enough.",
    )
    while high > low * 1.001:
        middle = (low * high) ** 0.5
        months = api_usd(n_months=n_months, m_tokens_per_month=1, usd_per_m=api_usd_first_month, factor_per_year=middle)
        low, high = (middle, high) if sum(months) > committed else (low, middle)
    return (low * high) ** 0.5


def _check_months(n_months: int) -> None:
    require(
        isinstance(n_months, int) and 1 <= n_months <= LONGEST_TERM,
        f"A term is a whole number of months from 1 to {LONGEST_TERM:,}, not {n_months}.",
    )
