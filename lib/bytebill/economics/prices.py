"""What is asked for, by whom and when? List prices of APIs and rents of GPUs, each with its date.

A price is a row of `data/api_prices.csv`, a rent one of `data/gpu_rents.csv`; both were read in other people's lists
(`caution` says so) and hold on the day `as_of`, so a price without its date is not quoted in this book. A name may
be an alias that stood for another model on another day (`alias_of`), and a model may be `withdrawn` while a list keeps
its price. Which rent is meant is said by terms, provider and day (`rent_of`), never by a row's place. Ignores discounts
for volume, commitments and answers within a day, unless a row's tier or terms name them. Used by chapters 06, 07, 10,
13, 19 and 20.
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
    cache_write_1h_usd_per_m: float | None = None
    alias_of: str | None = None  # what a moving name stood for on that day; "not told" where the list does not say
    withdrawn: date | None = None  # first day on which the host serves it no more
    reasoning_tokens: str | None = None  # "as output", or "not said" for a model that reasons

    def on_sale(self, day: date | str) -> bool:
        """Whether the host still serves it on a day, as far as the lists tell.

        >>> price = api_price("GPT-4 (8k)")
        >>> price.on_sale("2026-10-22"), price.on_sale("2026-10-23")
        (True, False)
        """
        return self.withdrawn is None or _day(day) < self.withdrawn

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
_TOLD: data.Register[data.Row] = data.Register("device of the panel", lambda: data.panels()["devices"])


def api_price(
    model_name: str, host: str | None = None, as_of: date | str | None = None, *, tier: str = "standard"
) -> ApiPrice:
    """The newest price on file by that day, of a withdrawn model its last; the vendor's own where no host is named.

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
    day = _day(as_of)
    dated = [price for price in of_host if price.tier == tier and price.as_of <= day]
    require(
        bool(dated),
        f"There is no {tier} price of {model_name} at {host} by {as_of or 'today'}; the first is of "
        f"{min(price.as_of for price in of_host)}.",
    )
    return max(dated, key=lambda price: price.as_of)


def listed(*, tier: str = "standard") -> tuple[ApiPrice, ...]:
    """All prices on file of a tier, old ones too, model by model.

    >>> {price.tier for price in listed(tier="batch")}
    {'batch'}
    """
    return tuple(price for prices in API_PRICES.values() for price in prices if price.tier == tier)


def latest(as_of: date | str | None = None, *, tier: str = "standard") -> tuple[ApiPrice, ...]:
    """The newest price by that day of every model at every host, model by model.

    Where a day is given, models that were withdrawn by then are left out; without one, every model's last price counts.

    >>> ours = [price.as_of.year for price in latest("2025-12-31") if price.model_name == "GPT-4o"]
    >>> ours
    [2025]
    >>> [any(price.model_name == "GPT-4 (8k)" for price in latest(day)) for day in ("2026-10-22", "2026-11-24", None)]
    [True, False, True]
    """
    day = _day(as_of)
    dated = [price for price in listed(tier=tier) if price.as_of <= day and (as_of is None or price.on_sale(day))]
    twice = (*dated, *sorted(dated, key=lambda price: price.as_of))  # first for the order, then for the newest
    return tuple({(price.model_name, price.host): price for price in twice}.values())


def rents(
    device_id: str, *, terms: str | None = None, provider: str | None = None, as_of: date | str | None = None
) -> tuple[Rent, ...]:
    """The rents on file of a device, the oldest first; `terms` such as "on demand", by `as_of` or any day.

    >>> [rent.usd_per_gpu_hour for rent in rents("h100-sxm", terms="1-year contract")]
    [1.7, 2.35, 2.65]
    """
    found, day = RENTS[device_id], _day(as_of)
    if terms is not None and terms not in {rent.terms for rent in found}:
        raise unknown(f"rent of {device_id} on terms", terms, sorted({rent.terms for rent in found}))
    found = tuple(rent for rent in found if terms in (None, rent.terms))
    if provider is not None and provider not in {rent.provider for rent in found}:
        raise unknown(f"rent of {device_id} at a provider", provider, sorted({rent.provider for rent in found}))
    by_day = sorted(found, key=lambda rent: rent.as_of)
    return tuple(rent for rent in by_day if rent.as_of <= day and provider in (None, rent.provider))


def rent_of(
    device_id: str, *, terms: str | None = None, provider: str | None = None, as_of: date | str | None = None
) -> Rent:
    """The rent that is meant: on these terms, of this provider, the newest by the day; of two sizes, the smaller group.

    With no terms: the rent at which this book tells bills, one provider's on one day (`data/panels.yaml`). Several
    providers on the same terms are an error that names them.

    >>> rent_of("h100-sxm").provider, rent_of("h100-sxm").usd_per_gpu_hour
    ('RunPod', 3.49)
    >>> rent_of("h100-sxm", terms="on demand", provider="RunPod").usd_per_gpu_hour    # of November 2026
    3.99
    >>> rent_of("h100-sxm", terms="1-year contract", as_of="2026-04-01").usd_per_gpu_hour
    2.35
    """
    if terms is None:
        require(provider is None and as_of is None, "A provider's rent, or a day's, is one on some terms; name them.")
        told = _TOLD[device_id]
        require(bool(told), f"No rent of {device_id} is on file; name one as usd_per_gpu_hour.")
        terms, provider, as_of = told["terms"], told["provider"], told["as_of"]
    found = rents(device_id, terms=terms, provider=provider, as_of=as_of)
    require(bool(found), f"There is no rent of {device_id}, {terms}, by {as_of}.")
    of = sorted({rent.provider for rent in found})
    require(len(of) == 1, f"{device_id} is rented {terms} by {', '.join(of)}; name one of them as provider.")
    return min(found, key=lambda rent: (-rent.as_of.toordinal(), rent.n_gpus or 1))


def _day(given: date | str | None) -> date:
    try:
        return date.fromisoformat(given) if isinstance(given, str) else given or date.max
    except ValueError:
        raise BytebillError(f"A date is written as 2026-11-24, not as '{given}'.") from None
