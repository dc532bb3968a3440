"""Which rent, which traffic, which limit? A statement asked the other way round, beside what hosts ask for the same.

    highest rent        = rent * cheapest offer / invoice                    an invoice without staff is linear in it
    pays from           = a month of one replica / (offer a request * seconds of a month)      [requests/s]
    always beyond       = (k - 1) * that, k = ceil(q / (q - 1)), q = offer / price at scale
    limit for a price   = TPOT of the smallest batch whose price at scale is at most that

Against the cheapest host of the same model alone. From the first rate on a full replica is cheaper; each new replica
makes it dearer again until there are k: the price is a saw. Answers are rounded to the side on which they still hold.
Ignores that offers have limits on rates. Used by the live calculator.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil, floor, inf, log10

from bytebill.economics import break_even
from bytebill.economics.cost import HOURS_PER_MONTH, SECONDS_PER_MONTH, TOKENS_PER_PRICE
from bytebill.economics.prices import rent_of
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.memory import Footprint
from bytebill.models import model
from bytebill.statement.bill import Statement, statement
from bytebill.statement.case import LARGEST_BATCH, Case
from bytebill.statement.fields import on_sale
from bytebill.statement.lever_words import assumed_by
from bytebill.statement.levers import LeverEffect, ranked, standard_levers
from bytebill.statement.offers import Offer, offers

# Names under which hosts sell a model of the register, where they are not the register's own: of one shape.
SOLD_AS = {
    "llama-3-70b": ("Llama 3.1 70B", "Llama 3.3 70B"),
    "llama-3.1-70b": ("Llama 3.3 70B",),
    "llama-3-8b": ("Llama 3.1 8B",),
    "llama-3.1-405b-fp8": ("Llama 3.1 405B",),
    "deepseek-v3.1": ("DeepSeek V3",),
    "kimi-k2": ("Kimi K2 0711",),
}
SMALLER, FASTER, FASTEST = "llama-3.1-8b", "h200-sxm", "b200"
CONTRACT = "1-year contract"
NO_HOST = "No host of this model is on file."
Question = tuple[str, str, float | None]  # what is asked, the answer as printed, its value


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """What hosts would be paid for the same requests."""

    same: tuple[Offer, ...]  # of the same model, the cheapest first
    other: tuple[Offer, ...]  # of the closed model to compare with

    @property
    def offers(self) -> tuple[Offer, ...]:
        return (*self.same, *self.other)

    @property
    def cheapest(self) -> Offer | None:
        """The cheapest of the same model."""
        return next(iter(self.same), None)


def hosts_of(found: Statement, *, closed: str = "") -> Hosts:
    """Offers on sale of a statement's model, and of a closed one."""
    id = found.case.deployment.model.id
    names = {*SOLD_AS.get(id, ())}
    prices = on_sale()
    same = [each for each in prices if each.model_name in names or each.model_name.lower().replace(" ", "-") == id]
    other = [each for each in prices if each.model_name == closed and each.weights == "closed"]
    return Hosts(same=tuple(offers(found.case, same)), other=tuple(offers(found.case, other)))


def levers_of(case: Case) -> list[tuple[LeverEffect, str]]:
    """The book's levers on a case, at the fill that it has, each with what it takes for granted; those without a rent
    on file are left out."""
    card, spec = case.deployment.accelerator, case.deployment.model
    faster, usd = FASTEST if card.id in (FASTER, FASTEST) else FASTER, case.usd_per_device_hour
    contract = None
    with suppress(BytebillError):
        contract = rent_of(card.id, terms=CONTRACT).usd_per_gpu_hour
    smaller = model(SMALLER)
    faster_usd = rent_of(faster).usd_per_gpu_hour
    found = standard_levers(
        faster=accelerator(faster),
        faster_usd_per_hour=faster_usd,
        contract_usd_per_hour=contract or usd,
        longest_tokens=max(spec.context_len, case.n_input_tokens + case.n_output_tokens),
        smaller=smaller,
    )
    idle = {"contract for a year"} if contract is None or contract >= usd else set()
    idle |= {f"half to {smaller.name}"} if spec.n_active_params <= smaller.n_active_params else set()
    idle |= {accelerator(faster).name} if card.id == faster else set()
    pulled = ranked([lever for lever in found if lever.name not in idle], case)
    says = {
        "faster": f"at USD {faster_usd:,.2f} an hour a device, on the cheapest even group of up to as many",
        "contract": f"at USD {contract or usd:,.2f} an hour a device, paid all year",
    }
    return [(each, assumed_by(each, **says)) for each in pulled]


def questions(
    found: Statement, sides: Hosts, served: Footprint, *, usd_per_m: float | None = None
) -> Iterator[Question]:
    """What a statement answers when it is asked the other way round."""
    case = found.case
    n_tokens, n = case.n_input_tokens + case.n_output_tokens, found.batch_size
    longest, users = served.longest_context(n), served.users(n_tokens)
    yield (
        f"Longest context at which {n:,} requests at once surely fit a replica",
        f"{longest:,} tokens" if longest else "none",
        longest,
    )
    yield f"Requests of all {n_tokens:,} tokens that fit a replica, nothing shared, no limits", f"{users:,}", users
    if sides.cheapest:
        yield from _against(found, sides.cheapest)
    else:
        yield "Against a host", NO_HOST, None
    if usd_per_m is not None:
        yield _limit_for(case, usd_per_m)


def _against(found: Statement, offer: Offer) -> Iterator[Question]:
    """Rent, utilization and rate at which an own fleet asks what a host does."""
    case, host = found.case, offer.price.name
    rent = floor(100 * case.usd_per_device_hour * offer.usd_per_month / found.usd_per_month) / 100
    said = f"USD {rent:,.2f} an hour a device" if rent else "none of a cent or more"
    yield f"Highest rent that beats {host}", said, rent or None
    group_usd_per_hour = case.deployment.n_devices * case.usd_per_device_hour
    share = break_even.utilization(
        usd_per_hour=group_usd_per_hour,
        tokens_per_s=found.capacity_per_s * case.n_output_tokens,
        api_usd_per_m=offer.usd_per_request / case.n_output_tokens * TOKENS_PER_PRICE,
    )
    share = ceil(1000 * share) / 1000
    at_none = f"at none: {share:.1%} would be needed"
    yield f"Utilization from which it beats {host}", f"{share:.1%}" if share <= 1 else at_none, share
    name = f"Traffic from which it beats {host}"
    usd_per_s = group_usd_per_hour * HOURS_PER_MONTH / SECONDS_PER_MONTH
    once, always = pays_from(usd_per_s, offer.usd_per_request, found.at_scale_usd_per_request)
    if always is None:
        yield name, "at no rate: at this fill and peak, full replicas ask more", None
    elif always == once:
        yield name, f"{once:g} requests/s, and always beyond", always
    else:
        yield name, f"{once:g} requests/s, dearer again at each new replica; always beyond {always:g}", always


def pays_from(usd_per_s: float, host_usd: float, at_scale_usd: float) -> tuple[float, float | None]:
    """Rates from which one replica asks less a request than a host, and beyond which any fleet does; None: never.

    >>> pays_from(1.0, 0.5, 0.4)    # q = 1.25: from the fifth replica on, and on the fourth where it is full enough
    (2.0, 8.0)
    """
    once = usd_per_s / host_usd
    if at_scale_usd >= host_usd:
        return once, None
    ratio = host_usd / at_scale_usd
    k = max(2, ceil(ratio / (ratio - 1) - 1e-9))
    return _up(once), _up((k - 1) * once)


def _up(value: float, *, digits: int = 3) -> float:
    """The next number of so many significant digits that is no smaller."""
    step = 10.0 ** (floor(log10(value)) - digits + 1)
    return float(f"{ceil(value / step - 1e-9) * step:.{digits}g}")


def _limit_for(case: Case, usd_per_m: float) -> Question:
    """The TPOT that a price asks for, by the smallest batch that reaches it; the limit on TTFT stays."""
    name = f"TPOT limit for USD {usd_per_m:,.2f} a million output tokens, if replicas came in fractions"
    free = replace(case, tpot_slo_s=inf)
    most = min(free.memory_batch, case.max_batch_size, LARGEST_BATCH)

    def price(batch_size: int) -> float:
        there = statement(replace(free, max_batch_size=batch_size))
        return there.at_scale_usd_per_request / case.n_output_tokens * TOKENS_PER_PRICE

    n = bisect_left(range(1, most + 1), True, key=lambda n: price(n) <= usd_per_m) + 1
    if n > most:
        return name, f"none: without one it is USD {price(most):,.2f}", None
    limit_s = _up(free.tpot_s(n))
    return name, f"{limit_s * 1e3:.6g} ms, a batch of {n:,} (at this fill)", limit_s
