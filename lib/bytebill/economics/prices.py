"""What is asked for, by whom and when? List prices of APIs and rents of GPUs, each with its date.

A price is a row of `data/api_prices.csv`, a rent one of `data/gpu_rents.csv`; both were read in other people's lists
(`caution` says so) and hold on the day `as_of`, so a price without its date is not quoted in this book. Ignores
discounts for volume, commitments and answers within a day, unless a row's tier or terms name them. Used by chapters
06, 07, 10, 13, 19 and 20.
"""

from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from bytebill import data
from bytebill.economics.cost import PhaseCosts
from bytebill.errors import BytebillError, require, require_known, unknown


@dataclass(frozen=True, kw_only=True)
class ApiPrice:
    """One price list entry: a model, who serves it, for what, on which day [USD per million tokens]."""

    model_name: str
    vendor: str
    host: str
    tier: str
    weights: str | None
    input_usd_per_m: float
    output_usd_per_m: float
    cache_read_usd_per_m: float | None
    cache_write_usd_per_m: float | None
    as_of: date
    source_id: str | None
    caution: str | None

    @property
    def costs(self) -> PhaseCosts:
        """Its prices by kind of token; without a price for cached input, that costs what fresh input does."""
        return PhaseCosts(
            usd_per_m_input=self.input_usd_per_m,
            usd_per_m_output=self.output_usd_per_m,
            usd_per_m_cached=self.cache_read_usd_per_m,
        )

    @property
    def name(self) -> str:
        """Model and host in a few words.

        >>> api_price("GPT-4o").name, api_price("Llama 3.3 70B", host="Groq").name
        ('GPT-4o', 'Llama 3.3 70B, Groq')
        """
        return self.model_name if self.host.startswith(self.vendor) else f"{self.model_name}, {self.host}"


@dataclass(frozen=True, kw_only=True)
class Rent:
    """One rent: a device, who rents it out, on which terms, on which day [USD per GPU and hour]."""

    device_id: str
    provider: str
    terms: str
    n_gpus: int | None
    usd_per_gpu_hour: float
    conditions: str | None
    as_of: date
    source_id: str | None
    caution: str | None


def _on_file(table: str, kind: type, *, by: str) -> dict[str, tuple[Any, ...]]:
    """A table's records, those of one model or device together."""
    names = [field.name for field in fields(kind)]
    return {
        key: tuple(kind(**{name: row[name] for name in names}) for row in rows)
        for key, rows in data.grouped(table, by).items()
    }


API_PRICES: data.Register[tuple[ApiPrice, ...]] = data.Register(
    "model with a price on file", lambda: _on_file("api_prices", ApiPrice, by="model_name")
)
RENTS: data.Register[tuple[Rent, ...]] = data.Register(
    "device with a rent on file", lambda: _on_file("gpu_rents", Rent, by="device_id")
)


def api_price(
    model_name: str, host: str | None = None, as_of: date | str | None = None, *, tier: str = "standard"
) -> ApiPrice:
    """The newest price on file by that day; the vendor's own where no host is named.

    >>> price = api_price("GPT-4.1 nano", as_of="2025-06-15")
    >>> price.input_usd_per_m, price.output_usd_per_m, str(price.as_of)
    (0.1, 0.4, '2025-06-15')
    """
    known = API_PRICES[model_name]
    hosts = sorted({price.host for price in known})
    own = [each for each in hosts if each == known[0].vendor] or hosts
    require(bool(host) or len(own) == 1, f"{model_name} is sold by {', '.join(hosts)}; name one of them as host.")
    host = host or own[0]
    require_known(f"price of {model_name} at a host", host, hosts)
    of_host = [price for price in known if price.host == host]
    dated = [price for price in latest(as_of, tier=tier) if price in of_host]
    require(
        bool(dated),
        f"There is no {tier} price of {model_name} at {host} by {as_of or 'today'}; the first is of "
        f"{min(price.as_of for price in of_host)}.",
    )
    return dated[0]


def listed(*, tier: str = "standard") -> tuple[ApiPrice, ...]:
    """All prices on file of a tier, old ones too, model by model.

    >>> {price.tier for price in listed(tier="batch")}
    {'batch'}
    """
    return tuple(price for prices in API_PRICES.values() for price in prices if price.tier == tier)


def latest(as_of: date | str | None = None, *, tier: str = "standard") -> tuple[ApiPrice, ...]:
    """The newest price by that day of every model at every host, model by model.

    >>> ours = [price.as_of.year for price in latest("2025-12-31") if price.model_name == "GPT-4o"]
    >>> ours
    [2025]
    """
    day = _day(as_of)
    dated = [price for price in listed(tier=tier) if price.as_of <= day]
    twice = (*dated, *sorted(dated, key=lambda price: price.as_of))  # first for the order, then for the newest
    return tuple({(price.model_name, price.host): price for price in twice}.values())


def rents(device_id: str, *, terms: str | None = None, as_of: date | str | None = None) -> tuple[Rent, ...]:
    """The rents on file of a device, the oldest first; `terms` such as "on demand", by `as_of` or any day.

    >>> [rent.usd_per_gpu_hour for rent in rents("h100-sxm", terms="1-year contract")]
    [1.7, 2.35, 2.65]
    """
    of_device = RENTS[device_id]
    if terms is not None and terms not in {rent.terms for rent in of_device}:
        raise unknown(f"rent of {device_id} on terms", terms, sorted({rent.terms for rent in of_device}))
    day = _day(as_of)
    by_day = sorted(of_device, key=lambda rent: rent.as_of)
    return tuple(rent for rent in by_day if rent.as_of <= day and terms in (None, rent.terms))


def _day(given: date | str | None) -> date:
    try:
        return date.fromisoformat(given) if isinstance(given, str) else given or date.max
    except ValueError:
        raise BytebillError(f"A date is written as 2026-11-24, not as '{given}'.") from None
