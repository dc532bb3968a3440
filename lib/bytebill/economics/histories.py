"""What was asked for the same thing, day after day? An offer, weights at whichever host is cheapest, a level of skill.

    offer      one model at one host, as price lists of several days have it
    weights    open weights at the cheapest host on sale that day; the hosts on file grow, and that looks like a fall
    chained    the same over the hosts that are there on both of two days, one pair of days after the other
    year       prices of so many months over that of the first, for every month in which such a term can begin

Prices are blended, three tokens in to one out, as in the published trends. Names that are an alias of another model
are no offer, and count for the weights that they stood for, where a list tells. Between two lists a price is taken to
move evenly in its logarithm; a cheapest price so far moves in steps, on the days that are known. Used by chapter 19.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from itertools import pairwise

from bytebill.economics.cost import DAYS_PER_YEAR, MONTHS_PER_YEAR, Mix
from bytebill.economics.prices import ApiPrice, listed
from bytebill.errors import require

History = tuple[tuple[date, float], ...]  # days, the first first, and prices [USD per million tokens]

BLEND = Mix(n_input_tokens=3, n_output_tokens=1)
MONTH = timedelta(days=DAYS_PER_YEAR / MONTHS_PER_YEAR)


def repriced(prices: Iterable[ApiPrice] | None = None) -> dict[str, tuple[ApiPrice, ...]]:
    """Prices of one name at one host on several days, the oldest first; names that were seen once are left out.

    >>> [price.output_usd_per_m for price in repriced()["gpt-oss-120b, DeepInfra"]]
    [0.45, 0.17]
    """
    found: dict[str, list[ApiPrice]] = {}
    for price in listed() if prices is None else prices:
        found.setdefault(price.name, []).append(price)
    by_day = {name: sorted(of_name, key=lambda price: price.as_of) for name, of_name in found.items()}
    return {name: tuple(of_name) for name, of_name in by_day.items() if len(of_name) > 1}


def of_offer(prices: Iterable[ApiPrice]) -> History:
    """The blended price of an offer, day by day."""
    return tuple((price.as_of, price.costs.blended_usd_per_m(BLEND)) for price in prices)


def of_weights(*, chained: bool = False) -> dict[str, History]:
    """The cheapest blended price of open weights on every day of the lists; chained, an index that begins at 1.

    A day on which a name that was theirs stood for something that the list does not tell is passed over.

    >>> [round(usd, 3) for _, usd in of_weights()["Llama 3.3 70B"]]
    [0.64, 0.64, 0.195, 0.155]
    >>> [round(index, 2) for _, index in of_weights(chained=True)["Llama 3.3 70B"]]
    [1.0, 1.0, 1.0, 0.79]
    """
    seen: dict[str, dict[date, dict[str, float]]] = {}
    moving = {(price.model_name, price.alias_of) for price in listed()}  # which names ever stood for which weights
    unclear = {(price.model_name, price.as_of) for price in listed() if price.alias_of == "not told"}
    for price in listed():
        if price.weights == "open" and price.alias_of != "not told" and price.on_sale(price.as_of):
            hosts = seen.setdefault(price.alias_of or price.model_name, {}).setdefault(price.as_of, {})
            hosts[price.host] = price.costs.blended_usd_per_m(BLEND)
    made = {}
    for name, days in seen.items():
        doubtful = {day for moved, day in unclear if (moved, name) in moving} if not chained else set()
        known = {day: hosts for day, hosts in sorted(days.items()) if day not in doubtful}
        made[name] = _chain(known) if chained else _cheapest(known)
    return {name: history for name, history in made.items() if len(history) > 1}


def so_far(points: Iterable[tuple[date, float]]) -> History:
    """The cheapest price so far, which never rises.

    >>> [usd for _, usd in so_far([(date(2024, 1, 1), 4.0), (date(2025, 1, 1), 5.0), (date(2026, 1, 1), 1.0)])]
    [4.0, 4.0, 1.0]
    """
    ordered = sorted(points)
    return tuple((day, min(usd for _, usd in ordered[: i + 1])) for i, (day, _) in enumerate(ordered))


def factor_per_year(history: History) -> float:
    """How many times smaller the price became a year, first day to last; below 1: it rose.

    >>> factor_per_year(((date(2024, 1, 1), 8.0), (date(2025, 12, 31), 2.0)))
    2.0
    """
    (first, before), (last, after) = history[0], history[-1]
    return float((before / after) ** (DAYS_PER_YEAR / (last - first).days))


def years(
    history: History, *, n_months: int = 12, until: date | None = None, in_steps: bool = False
) -> list[list[float]]:
    """The price of each month over that of the first, once for every month in which such a term begins and is known.

    `until`: the last day of which prices are known, that of the last point if none is given.

    >>> years(((date(2024, 1, 1), 4.0), (date(2024, 3, 1), 1.0)), n_months=3, in_steps=True)
    []
    >>> years(((date(2024, 1, 1), 4.0), (date(2024, 3, 1), 1.0)), n_months=3, in_steps=True, until=date(2024, 4, 1))
    [[1.0, 1.0, 0.25]]
    """
    require(n_months >= 1, f"A term has at least one month, not {n_months}.")
    first, end = history[0][0], until or history[-1][0]
    n_known = (end - first) // MONTH + 1  # months whose first day is known
    usd = [_on(history, first + month * MONTH, in_steps=in_steps) for month in range(n_known)]
    return [[each / usd[start] for each in usd[start : start + n_months]] for start in range(n_known - n_months + 1)]


def _cheapest(days: Mapping[date, Mapping[str, float]]) -> History:
    return tuple((day, min(hosts.values())) for day, hosts in days.items())


def _chain(days: Mapping[date, Mapping[str, float]]) -> History:
    """Days on which no host of the day before is left are passed over."""
    index = [(next(iter(days)), 1.0)]
    for (_, before), (day, after) in pairwise(days.items()):
        if both := before.keys() & after.keys():
            fell = min(after[host] for host in both) / min(before[host] for host in both)
            index.append((day, index[-1][1] * fell))
    return tuple(index)


def _on(history: History, day: date, *, in_steps: bool) -> float:
    """The price of a day, the first or a later one; after the last that of the last."""
    before = [point for point in history if point[0] <= day]
    after = [point for point in history if point[0] > day]
    (first, usd), (last, then) = before[-1], (after or before[-1:])[0]
    share = 0.0 if in_steps or last == first else (day - first) / (last - first)
    return float(usd * (then / usd) ** share)
