"""What would lower this bill, and by how much? Every lever of the book, tried on one deployment.

    saved  = invoice without the lever - invoice with it                  [USD a month], whole replicas on both
    factor = price at scale without the lever / with it                   of the same case, all else equal

The ranking is by what would be invoiced: a small fleet cannot rent a third of a replica less. A lever already pulled
(`in_place`) is priced by letting go of it: what it saves today. Each says which
term of the equation it moves, as the book's chapters found it: the bytes of a token, the tokens that share
a read, the arithmetic, or the dollars of an hour; whether bytes per token did fall is computed beside it, not
believed. Factors of several levers do not multiply: the second finds less to save. Used by chapters
11, 12, 15 and 20.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require
from bytebill.hardware import Accelerator
from bytebill.models import ModelSpec, precision
from bytebill.statement.bill import Statement, statement
from bytebill.statement.case import Case

FEWER_BYTES, MORE_TOKENS, ARITHMETIC, DOLLARS = (
    "fewer bytes per token",
    "more tokens per read",
    "less arithmetic",
    "fewer dollars per hour",
)
Moved = Sequence[Case]  # a fleet, or several that share its requests
Filled = Callable[[Case], Case]  # a case with the fill that its limits leave


def as_filled(case: Case) -> Case:
    """The case with the fill that it has."""
    return case


@dataclass(frozen=True)
class Lever:
    """A change to a case; `move` says what becomes of it with the lever, or without it where it is in place."""

    name: str
    chapter: int
    term: str
    move: Callable[[Case, Filled], Moved]
    in_place: bool = False


@dataclass(frozen=True, kw_only=True)
class LeverEffect:
    """A lever on a case: what it saves, how much cheaper it makes a large fleet, how many fewer bytes a token moves."""

    lever: Lever
    saved_usd: float  # a month
    factor: float
    bytes_factor: float


def effect(lever: Lever, case: Case, filled: Filled = as_filled) -> LeverEffect | None:
    """The lever's effect; None where the changed case cannot be served at all.

    `filled` finds the fill that a changed case's limits leave; a lever in place is priced at the fill there is.
    """
    before = statement(case)
    with suppress(BytebillError):
        cases = lever.move(case, as_filled if lever.in_place else filled)
        moved = [(each.requests_per_s / case.requests_per_s, statement(each)) for each in cases]
        saved = before.usd_per_month - sum(each.usd_per_month for _, each in moved)
        ratios = (
            before.at_scale_usd_per_request / sum(share * each.at_scale_usd_per_request for share, each in moved),
            before.bytes_per_output_token / sum(share * each.bytes_per_output_token for share, each in moved),
        )
        factor, bytes_factor = (1 / ratio if lever.in_place else ratio for ratio in ratios)
        return LeverEffect(
            lever=lever, saved_usd=-saved if lever.in_place else saved, factor=factor, bytes_factor=bytes_factor
        )
    return None


def ranked(levers: Sequence[Lever], case: Case, filled: Filled = as_filled) -> list[LeverEffect]:
    """All levers that the case allows, the one that saves most first; of those that save alike, by their factor."""
    found = (effect(lever, case, filled) for lever in levers)
    return sorted((pulled for pulled in found if pulled), key=lambda pulled: (-pulled.saved_usd, -pulled.factor))


def standard_levers(
    *,
    faster: Accelerator,
    faster_usd_per_hour: float,
    contract_usd_per_hour: float,
    longest_tokens: int,
    smaller: ModelSpec,
    routed_share: float = 0.5,
    hit_rate: float = 0.5,
    n_draft_tokens: int = 3,
) -> tuple[Lever, ...]:
    """The levers of the book; rents, devices and models come from data, so the caller names them."""
    return (
        Lever("batching at all", 3, MORE_TOKENS, _changed(max_batch_size=1), in_place=True),
        Lever("refilling slots", 4, MORE_TOKENS, _changed(refills=False), in_place=True),
        Lever("paging the cache", 5, MORE_TOKENS, _changed(reserved_tokens=longest_tokens), in_place=True),
        Lever("devices follow the day", 6, DOLLARS, _changed(peak_over_mean=lambda mean: 1 + (mean - 1) / 4)),
        Lever("8-bit weights", 11, FEWER_BYTES, _changed(deployment=partial(_at_width, "fp8"), regroup=True)),
        Lever("4-bit weights", 11, FEWER_BYTES, _changed(deployment=partial(_at_width, "int4"), regroup=True)),
        Lever(
            f"half to {smaller.name}",
            12,
            FEWER_BYTES,
            lambda case, filled: _split(case, routed_share, case.on(model=smaller), filled),
        ),
        Lever("prefixes found", 13, ARITHMETIC, _changed(hit_rate=lambda now: max(now, hit_rate))),
        Lever("guessing ahead", 14, MORE_TOKENS, _changed(n_draft_tokens=n_draft_tokens)),
        Lever(
            faster.name,
            15,
            DOLLARS,
            _changed(
                deployment=lambda group: replace(group, accelerator=faster),
                usd_per_device_hour=faster_usd_per_hour,
                regroup=True,
            ),
        ),
        Lever("8-bit cache", 17, FEWER_BYTES, _changed(deployment=_with_narrow_cache)),
        Lever(
            "limits twice as long", 18, MORE_TOKENS, _changed(tpot_slo_s=lambda s: 2 * s, ttft_slo_s=lambda s: 2 * s)
        ),
        Lever("contract for a year", 19, DOLLARS, _changed(usd_per_device_hour=contract_usd_per_hour)),
    )


def _changed(*, regroup: bool = False, **changes: Any) -> Callable[[Case, Filled], Moved]:
    """A case with other fields, each a value or a function of the value that it has; on the cheapest group of devices
    if that is to be found anew."""

    def move(case: Case, filled: Filled = as_filled) -> Moved:
        there = replace(case, **{k: to(getattr(case, k)) if callable(to) else to for k, to in changes.items()})
        return [_cheapest_group(there, filled) if regroup else filled(there)]

    return move


def _split(case: Case, share: float, other: Case, filled: Filled) -> Moved:
    """Two fleets: the other, on its cheapest group, takes a share of the requests; people work for both as for one."""
    left, moved = ((1 - share) * case.requests_per_s, share * case.requests_per_s)
    return [
        replace(case, requests_per_s=left),
        _cheapest_group(replace(other, requests_per_s=moved, staff_usd_per_month=0.0), filled),
    ]


def _at_width(name: str, group: Deployment) -> Deployment:
    """Other weights; the cache keeps its width."""
    return replace(group, precision=replace(precision(name), kv_bytes_per_value=group.precision.kv_bytes_per_value))


def _with_narrow_cache(group: Deployment) -> Deployment:
    return replace(group, precision=replace(group.precision, kv_bytes_per_value=1))


def _cheapest_group(case: Case, filled: Filled) -> Case:
    """The case on its devices, or on as many halved as often as one likes, where the bill is the smallest."""
    groups: list[tuple[float, Case]] = []  # with what they cost at least, as if all of a replica were usable
    for halvings in range(case.deployment.n_devices.bit_length()):
        there = case.on(n_devices=case.deployment.n_devices >> halvings)
        with suppress(BytebillError):  # too small for the model or its limits
            groups.append((statement(replace(there, fill=1.0)).usd_per_month, there))
    found: list[Statement] = []
    for least_usd, there in sorted(groups, key=lambda group: group[0]):
        if all(least_usd <= each.usd_per_month for each in found):  # a fill takes long to find
            with suppress(BytebillError):  # too much of it is late
                found.append(statement(filled(there)))
    require(
        bool(found),
        f"{case.name}: no group of up to {case.deployment.n_devices} {case.deployment.accelerator.name} serves it.",
    )
    return min(found, key=lambda each: (each.usd_per_month, each.at_scale_usd_per_request)).case
