"""What will this deployment cost? From a model, a device, traffic and limits to a batch, a fleet and an invoice.

    batch       = the largest that memory holds and whose TPOT and TTFT keep the limits
    capacity    = batch / (first step + (n_out - 1) * TPOT)            requests/s of one replica, `sim.steady`
    needed      = peak rate / (capacity * fill)                        replicas, in fractions
    replicas    = ceil(max(least, needed + spare))                     whole ones are rented
    utilization = mean rate / (replicas * capacity)                    an output, not an input
    invoice     = sum over rentals of replicas * devices * rent * hours + staff - idle hours * what they are worth

Everything is a closed form of the book's clock at mean lengths, so a statement takes milliseconds and a lever can
be tried on it (`bytebill.statement.levers`). `at_scale` is the price without the rounding: what a fleet of many
replicas tends to. Ignores the spread of lengths, queues (a p99 is the simulator's to give: `sim.usable`), and
everything in front of the scheduler. Used by chapters 11 to 13, 15 and 20.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from math import ceil, fsum

from bytebill.economics.cost import (
    HOURS_PER_DAY,
    HOURS_PER_MONTH,
    SECONDS_PER_HOUR,
    SECONDS_PER_MONTH,
    TOKENS_PER_PRICE,
)
from bytebill.errors import BytebillError, require
from bytebill.statement.case import LARGEST_BATCH, ON_DEMAND, Case, Rental

MOST_DEVICES = 1_000_000
_ROUNDING = 1e-9  # a peak of exactly ten replicas needs ten


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a case comes to."""

    case: Case
    batch_size: int
    limit: str  # what keeps the batch from growing: "memory", "TPOT", "TTFT" or "slots"
    tpot_s: float
    ttft_s: float
    capacity_per_s: float  # of one replica [requests/s]

    @property
    def needed(self) -> float:
        """Replicas for the peak, in fractions."""
        return self.case.requests_per_s * self.case.peak_over_mean / (self.capacity_per_s * self.case.fill)

    @property
    def rented(self) -> list[tuple[Rental, int]]:
        """Whole replicas on each rental, the last that of the rest; of a spot rental more, for what is lost."""
        case, found = self.case, []
        left = max(case.min_replicas, self.needed + case.spare_replicas)  # the least and the spare may be on a rental
        for rental in case.rentals:
            n = min(rental.replicas, ceil(left / (1 - rental.lost) - _ROUNDING))
            found.append((rental, n))
            left = max(0.0, left - n * (1 - rental.lost))
        n_rest = ceil(left - _ROUNDING)
        rest = Rental(
            terms=ON_DEMAND,
            replicas=n_rest,
            usd_per_device_hour=case.usd_per_device_hour,
            hours_per_day=case.hours_per_day,
        )
        return [*found, (rest, n_rest)]

    @property
    def replicas(self) -> int:
        """Whole replicas at the peak."""
        return sum(n for _, n in self.rented)

    @property
    def n_devices(self) -> int:
        """Devices to rent."""
        return self.replicas * self.case.deployment.n_devices

    @property
    def serving(self) -> float:
        """Replicas that serve, over the day: paid hours, but for those that a spot host takes back."""
        return sum(n * rental.hours_per_day * (1 - rental.lost) for rental, n in self.rented) / HOURS_PER_DAY

    @property
    def utilization(self) -> float:
        """Requests over what the paid replicas could serve."""
        return self.case.requests_per_s / (self.serving * self.capacity_per_s)

    @property
    def invoice(self) -> dict[str, float]:
        """Its lines [USD a month]; what idle hours earn is below zero."""
        case, group = self.case, self.case.deployment
        hours = group.n_devices * HOURS_PER_MONTH / HOURS_PER_DAY
        lines = {
            f"{n} x {group.n_devices} {group.accelerator.name}, {rental.terms}": n
            * rental.hours_per_day
            * rental.usd_per_device_hour
            * hours
            for rental, n in self.rented
            if n
        }
        if case.staff_usd_per_month:
            lines["staff"] = case.staff_usd_per_month
        if case.idle_usd_per_device_hour:
            idle_hours = (1 - self.utilization) * self.serving * group.n_devices * HOURS_PER_MONTH
            lines["idle hours, sold"] = -idle_hours * case.idle_usd_per_device_hour
        return lines

    @property
    def usd_per_month(self) -> float:
        """The invoice."""
        return fsum(self.invoice.values())

    @property
    def usd_per_request(self) -> float:
        """The invoice over the month's requests."""
        return self.usd_per_month / (self.case.requests_per_s * SECONDS_PER_MONTH)

    @property
    def usd_per_m_output(self) -> float:
        """The whole invoice on the output tokens [USD per million]."""
        return self.usd_per_request / self.case.n_output_tokens * TOKENS_PER_PRICE

    @property
    def at_scale_usd_per_request(self) -> float:
        """Rent over requests if replicas came in fractions, on demand alone."""
        usd_per_hour = self.needed * self.case.deployment.n_devices * self.case.usd_per_device_hour
        return usd_per_hour / SECONDS_PER_HOUR / self.case.requests_per_s * self.case.hours_per_day / HOURS_PER_DAY

    @property
    def in_flight(self) -> tuple[float, float]:
        """Sequences that a replica has at once, at the day's mean and at its peak."""
        mean = self.case.requests_per_s / self.replicas
        return self.case.in_flight(mean), self.case.in_flight(mean * self.case.peak_over_mean)

    @property
    def bytes_per_output_token(self) -> float:
        return self.case.bytes_per_output_token(self.batch_size)


def statement(case: Case) -> Statement:
    """Derive a case's batch, fleet and bill.

    >>> from bytebill.deployment import Deployment
    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> two = Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), n_devices=2,
    ...                  precision=precision("fp8"))
    >>> found = statement(Case(name="one user", deployment=two, n_input_tokens=1, n_output_tokens=100,
    ...                        requests_per_s=1, max_batch_size=1, usd_per_device_hour=2.5))
    >>> round(found.tpot_s * 1e3, 1), found.limit    # 70.6 GB over 2 * 3.35 TB/s
    (10.5, 'slots')
    """
    most = min(case.memory_batch, case.max_batch_size, LARGEST_BATCH)
    need, made_for = case.n_input_tokens + case.n_output_tokens, case.deployment.model.context_len
    require(
        most >= 1 or case.prefix_gap_s * case.hit_rate == 0 or replace(case, prefix_gap_s=0).memory_batch == 0,
        f"{case.name}: the prefixes that wait {case.prefix_gap_s:g} s for their next turn leave no room for a request; "
        "take more devices, a shorter prefix_gap_s or a lower hit_rate.",
    )
    if most < 1:  # the sentence takes longer to find than the statement
        raise BytebillError(
            f"{case.name}: beside the weights there is room for {case.served.kv_tokens:,} tokens of cache, and a "
            f"request needs {case.held_tokens:,.0f}; take {case.fewest_devices or 'more'} devices, fewer bits or "
            "shorter prompts."
        )
    require(
        need <= made_for,
        f"{case.name}: a request of {need:,} tokens is longer than the {made_for:,} that {case.deployment.model.name} "
        "was made for; shorten it, or take another model.",
    )
    # the largest batch that keeps the limits, by halving; times never fall as the batch grows
    batch_size = bisect_left(range(1, most + 1), True, key=lambda n: _broken(case, n) is not None)
    if batch_size == 0:
        raise BytebillError(
            f"{case.name}: even alone, a request takes {case.ttft_s(1) * 1e3:.0f} ms to its first token and "
            f"{case.tpot_s(1) * 1e3:.1f} ms for each further one, which breaks the limits; take longer ones, or more "
            "or faster devices."
        )
    found = Statement(
        case=case,
        batch_size=batch_size,
        limit="memory" if batch_size == case.memory_batch else _broken(case, batch_size + 1) or "slots",
        tpot_s=case.tpot_s(batch_size),
        ttft_s=case.ttft_s(batch_size),
        capacity_per_s=case.requests_per_s_of_one(batch_size),
    )
    n_devices = (max(found.needed, case.min_replicas) + case.spare_replicas) * case.deployment.n_devices
    require(
        n_devices <= MOST_DEVICES,
        f"{case.name}: this takes {n_devices:.3g} devices, and no fleet has more than {MOST_DEVICES:,}; ask for a "
        "lower rate or peak, or for fewer replicas.",
    )
    require(
        found.utilization <= case.fill * (1 + _ROUNDING),
        f"{case.name}: the hours that are paid hold {case.fill / found.utilization:.0%} of a day's requests; pay for "
        "longer hours (hours_per_day, rentals too), or raise min_replicas.",
    )
    return found


def _broken(case: Case, batch_size: int) -> str | None:
    """The limit that a batch does not keep."""
    if case.tpot_s(batch_size) > case.tpot_slo_s:
        return "TPOT"
    return "TTFT" if case.ttft_s(batch_size) > case.ttft_slo_s else None
