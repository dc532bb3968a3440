"""What will this deployment cost? From a model, a device, traffic and limits to a batch, a fleet and a bill.

    batch       = the largest that memory holds and whose TPOT and TTFT keep the limits
    capacity    = batch / (first step + (n_out - 1) * TPOT)            requests/s of one replica, `sim.steady`
    replicas    = peak rate / (capacity * fill)                        fractions count: a fleet is many
    utilization = mean rate / (replicas * capacity)                    an output, not an input
    bill        = replicas * devices * rent / mean rate                per request, per million output tokens

Everything is a closed form of the book's clock at mean lengths, so a statement takes milliseconds and a lever can
be tried on it (`bytebill.statement.levers`). Ignores the spread of lengths, queues (a p99 is the simulator's to
give), spare devices, staff, and everything in front of the scheduler. Used by chapter 20.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil

from bytebill.economics.cost import HOURS_PER_MONTH, SECONDS_PER_HOUR, TOKENS_PER_PRICE
from bytebill.errors import BytebillError, require
from bytebill.statement.case import LARGEST_BATCH, Case


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
    def replicas(self) -> float:
        """For the peak; a fraction is rounded up when devices are rented."""
        return self.case.requests_per_s * self.case.peak_over_mean / (self.capacity_per_s * self.case.fill)

    @property
    def n_devices(self) -> int:
        """Devices to rent."""
        return ceil(self.replicas) * self.case.deployment.n_devices

    @property
    def utilization(self) -> float:
        """Mean rate over what the rented replicas could serve."""
        return self.case.requests_per_s / (ceil(self.replicas) * self.capacity_per_s)

    @property
    def usd_per_month(self) -> float:
        """Rent of whole devices."""
        return self.n_devices * self.case.usd_per_device_hour * HOURS_PER_MONTH

    @property
    def usd_per_request(self) -> float:
        """Rent over requests where replicas come in fractions."""
        usd_per_hour = self.replicas * self.case.deployment.n_devices * self.case.usd_per_device_hour
        return usd_per_hour / SECONDS_PER_HOUR / self.case.requests_per_s

    @property
    def usd_per_m_output(self) -> float:
        """The whole bill on the output tokens [USD per million]."""
        return self.usd_per_request / self.case.n_output_tokens * TOKENS_PER_PRICE

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
    require(
        most >= 1,
        f"{case.name}: beside the weights there is room for {case.served.kv_tokens:,} tokens of cache, and a "
        f"request needs {case.held_tokens:,.0f}; take more devices, fewer bits or shorter prompts.",
    )
    # the largest batch that keeps the limits, by halving; times never fall as the batch grows
    batch_size = bisect_left(range(1, most + 1), True, key=lambda n: _broken(case, n) is not None)
    if batch_size == 0:
        raise BytebillError(
            f"{case.name}: even alone, a request takes {case.ttft_s(1) * 1e3:.0f} ms to its first token and "
            f"{case.tpot_s(1) * 1e3:.1f} ms for each further one, which breaks the limits; take more or faster devices."
        )
    return Statement(
        case=case,
        batch_size=batch_size,
        limit="memory" if batch_size == case.memory_batch else _broken(case, batch_size + 1) or "slots",
        tpot_s=case.tpot_s(batch_size),
        ttft_s=case.ttft_s(batch_size),
        capacity_per_s=case.requests_per_s_of_one(batch_size),
    )


def _broken(case: Case, batch_size: int) -> str | None:
    """The limit that a batch does not keep."""
    if case.tpot_s(batch_size) > case.tpot_slo_s:
        return "TPOT"
    return "TTFT" if case.ttft_s(batch_size) > case.ttft_slo_s else None
