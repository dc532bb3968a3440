"""Which rent, which traffic, which limit? A statement asked the other way round, beside what hosts ask for the same.

    highest rent        = rent * cheapest offer / invoice                    an invoice without staff is linear in it
    pays from           = a month of one replica / (offer a request * seconds of a month)      [requests/s]
    limit for a price   = TPOT of the smallest batch whose price at scale is at most that

From that rate on a full replica is cheaper; between whole replicas the price is a saw, so that a little more traffic
can be dearer again. Ignores that offers have limits on rates, and that another host's model may answer at another
length. Used by the live calculator.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

from bytebill.economics import break_even
from bytebill.economics.cost import HOURS_PER_MONTH, SECONDS_PER_MONTH, TOKENS_PER_PRICE
from bytebill.economics.prices import rent_of, rents
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.memory import Footprint
from bytebill.models import model
from bytebill.statement.bill import Statement, statement
from bytebill.statement.case import LARGEST_BATCH, Case
from bytebill.statement.fields import on_sale
from bytebill.statement.levers import LeverEffect, ranked, standard_levers
from bytebill.statement.offers import Offer, offers
from bytebill.units import plain, show

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
        """The cheapest of the same model, or else the other one."""
        return next(iter(self.offers), None)


def hosts_of(found: Statement, *, closed: str = "") -> Hosts:
    """Offers on sale of a statement's model, and of a closed one."""
    id = found.case.deployment.model.id
    names = {*SOLD_AS.get(id, ())}
    prices = on_sale()
    same = [each for each in prices if each.model_name in names or each.model_name.lower().replace(" ", "-") == id]
    other = [each for each in prices if each.model_name == closed and each.weights == "closed"]
    return Hosts(same=tuple(offers(found.case, same)), other=tuple(offers(found.case, other)))


def levers_of(case: Case) -> list[LeverEffect]:
    """The book's levers on a case, at the fill that it has; those without a rent on file are left out."""
    card, spec = case.deployment.accelerator, case.deployment.model
    faster, usd = FASTEST if card.id in (FASTER, FASTEST) else FASTER, case.usd_per_device_hour
    contract = None
    with suppress(BytebillError):
        contract = rents(card.id, terms=CONTRACT)[-1].usd_per_gpu_hour
    smaller = model(SMALLER)
    found = standard_levers(
        faster=accelerator(faster),
        faster_usd_per_hour=rent_of(faster).usd_per_gpu_hour,
        contract_usd_per_hour=contract or usd,
        longest_tokens=max(spec.context_len, case.n_input_tokens + case.n_output_tokens),
        smaller=smaller,
    )
    idle = {"contract for a year"} if contract is None or contract >= usd else set()
    idle |= {f"half to {smaller.name}"} if spec.n_active_params <= smaller.n_active_params else set()
    idle |= {accelerator(faster).name} if card.id == faster else set()
    return ranked([lever for lever in found if lever.name not in idle], case)


def questions(
    found: Statement, sides: Hosts, served: Footprint, *, usd_per_m: float | None = None
) -> Iterator[Question]:
    """What a statement answers when it is asked the other way round."""
    case = found.case
    n_tokens, n = case.n_input_tokens + case.n_output_tokens, found.batch_size
    longest, users = served.longest_context(n), served.users(n_tokens)
    yield (
        f"Longest context at which {n:,} users surely fit a replica",
        f"{longest:,} tokens" if longest else "none",
        longest,
    )
    yield f"Users of {n_tokens:,} tokens that fit a replica, whatever the limits", f"{users:,}", users
    if sides.cheapest:
        yield from _against(found, sides.cheapest)
    if usd_per_m is not None:
        yield _limit_for(case, usd_per_m)


def _against(found: Statement, offer: Offer) -> Iterator[Question]:
    """Rent, utilization and rate at which an own fleet asks what a host does."""
    case, host = found.case, offer.price.name
    rent = case.usd_per_device_hour * offer.usd_per_month / found.usd_per_month
    yield f"Highest rent that beats {host}", f"USD {rent:,.2f} an hour a device", rent
    group_usd_per_hour = case.deployment.n_devices * case.usd_per_device_hour
    share = break_even.utilization(
        usd_per_hour=group_usd_per_hour,
        tokens_per_s=found.capacity_per_s * case.n_output_tokens,
        api_usd_per_m=offer.usd_per_request / case.n_output_tokens * TOKENS_PER_PRICE,
    )
    at_none = f"at none: {show(share, unit='fraction')} would be needed"
    yield "Utilization from which it pays", show(share, unit="fraction") if share <= 1 else at_none, share
    rate = group_usd_per_hour * HOURS_PER_MONTH / (offer.usd_per_request * SECONDS_PER_MONTH)
    never = found.at_scale_usd_per_request > offer.usd_per_request
    said = "at no rate: at this fill and peak, full replicas ask more" if never else f"{plain(rate)} requests/s"
    yield "Traffic from which it pays", said, None if never else rate


def _limit_for(case: Case, usd_per_m: float) -> Question:
    """The TPOT that a price asks for, by the smallest batch that reaches it."""
    name = f"TPOT that USD {usd_per_m:,.2f} a million output tokens asks for"
    free = replace(case, ttft_slo_s=inf, tpot_slo_s=inf)
    most = min(free.memory_batch, case.max_batch_size, LARGEST_BATCH)

    def price(batch_size: int) -> float:
        there = statement(replace(free, max_batch_size=batch_size))
        return there.at_scale_usd_per_request / case.n_output_tokens * TOKENS_PER_PRICE

    n = bisect_left(range(1, most + 1), True, key=lambda n: price(n) <= usd_per_m) + 1
    if n > most:
        return name, f"none: a full memory asks USD {price(most):,.2f}", None
    return name, f"{show(free.tpot_s(n), unit='s')}, a batch of {n:,} (at scale, at this fill)", free.tpot_s(n)
