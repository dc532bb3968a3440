"""What would others ask for the same requests? API prices over a case's traffic, its cache hits and hidden tokens too.

    request = fresh * c_in + written * c_write + read * c_read + output * c_out         [USD], prices per million

A prefix that everybody shares is warm and read each time; one that comes back after `prefix_gap_s` is read if the host
still has it then, and is written again with all that came since (`economics.caching`). Of a host's caches, or none, the
one that costs least is taken. Hidden tokens are output, as hosts bill them. Ignores limits on rates, discounts for
volume, that another host's model may answer at another length, and tiers of which no price is on file. Used by
chapter 20.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bytebill.economics.caching import CachedCall, CacheRule, bill_of_calls, rules_of
from bytebill.economics.cost import SECONDS_PER_MONTH
from bytebill.economics.prices import ApiPrice
from bytebill.statement.case import Case

FRESH = CacheRule(name="none", read=1.0)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a host would be paid for a case's traffic."""

    price: ApiPrice
    cache: str  # the host's cache that costs least, or "none"
    usd_per_request: float
    usd_per_month: float


def offers(case: Case, prices: Iterable[ApiPrice]) -> list[Offer]:
    """Each price as a bill for the case's requests, the smallest first.

    >>> from bytebill.economics.prices import api_price
    >>> from bytebill.statement.form import Form
    >>> agent = Form.read({"model": "llama-3.1-8b", "accelerator": "h100-sxm", "n_input_tokens": 10_000, "fill": 1.0,
    ...                    "n_output_tokens": 100, "hit_rate": 0.9, "prefix_gap_s": 10, "requests_per_s": 1,
    ...                    "usd_per_device_hour": 3.5}).case
    >>> (found,) = offers(agent, [api_price("Claude Sonnet 4.5")])
    >>> found.cache, round(found.usd_per_request, 6)    # (9,000 * 0.30 + 1,000 * 3.75 + 100 * 15) / 1e6
    ('5 minutes', 0.00795)
    """
    call = _call(case)
    found = []
    for price in prices:
        usd, cache = min((bill_of_calls([call], price, rule), rule.name) for rule in (FRESH, *rules_of(price)))
        per_month = usd * case.requests_per_s * SECONDS_PER_MONTH
        found.append(Offer(price=price, cache=cache, usd_per_request=usd, usd_per_month=per_month))
    return sorted(found, key=lambda offer: offer.usd_per_request)


def _call(case: Case) -> CachedCall:
    """A request as a host sees it."""
    found, shared = case.n_found_tokens, not case.prefix_gap_s
    return CachedCall(
        n_input_tokens=case.n_input_tokens,
        n_output_tokens=case.n_output_tokens,
        n_prefix_tokens=found if shared else case.n_input_tokens,
        n_repeated_tokens=found,
        n_shared_tokens=found if shared else 0,
        gap_s=case.prefix_gap_s,
    )
