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

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf
from typing import Any

from bytebill.capacity import memory_budget
from bytebill.economics.cost import TOKENS_PER_PRICE, check_positive, check_utilization
from bytebill.economics.time import HOURS_PER_MONTH, SECONDS_PER_HOUR, SECONDS_PER_MONTH
from bytebill.errors import BytebillError
from bytebill.hardware import Accelerator
from bytebill.models import ModelSpec, Precision
from bytebill.roofline import Step, step_cost
from bytebill.serving.plan import Plan, PrefillChunk
from bytebill.serving.request import Request, Sequence
from bytebill.sim.clock import Clock
from bytebill.sim.constants import IDEAL, Constants
from bytebill.sim.steady import first_step_s, tpot_s

HELD_SHARE = 0.97  # of a paged cache holds tokens: chapter 05
_LARGEST_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Case:
    """A deployment as its owner would describe it; lengths are means, rates are of the whole fleet."""

    name: str
    model: ModelSpec
    accelerator: Accelerator
    precision: Precision
    n_devices: int = 1  # of one replica, tensor-parallel
    constants: Constants = IDEAL
    n_input_tokens: int
    n_output_tokens: int
    hit_rate: float = 0.0  # share of a prompt that a prefix cache has
    requests_per_s: float  # mean over the day
    peak_over_mean: float = 1.0  # what the fleet is sized for, over the mean
    ttft_slo_s: float = inf
    tpot_slo_s: float = inf
    usd_per_device_hour: float
    max_batch_size: int = _LARGEST_BATCH
    reserved_tokens: int | None = None  # slots promised to each sequence; None: paged
    refills: bool = True  # a slot is given away at once; False: when the batch's longest is done
    fill: float = 1.0  # share of a replica's capacity that queues and bursts leave usable
    n_draft_tokens: int = 0  # guessed ahead in each step, by something that costs nothing
    acceptance_rate: float = 0.7

    def __post_init__(self) -> None:
        check_positive("A rent", self.usd_per_device_hour, "USD per hour")
        check_positive("A rate", self.requests_per_s, "requests per second")
        if min(self.n_input_tokens, self.n_output_tokens, self.n_devices, self.max_batch_size) < 1:
            raise BytebillError("A case has at least one input token, output token, device and slot.")
        if not 0 <= self.hit_rate < 1 or not 0 <= self.acceptance_rate < 1:
            raise BytebillError("A hit rate and an acceptance rate are shares from 0 to below 1.")
        check_utilization(self.fill)
        if self.peak_over_mean < 1 or self.n_draft_tokens < 0:
            raise BytebillError("A peak is at least the mean, and drafts are zero or more tokens.")

    @cached_property
    def clock(self) -> Clock:
        """The clock of one replica; refuses a model that does not fit."""
        return Clock(
            self.model,
            accelerator=self.accelerator,
            precision=self.precision,
            constants=self.constants,
            n_devices=self.n_devices,
        )

    @property
    def kv_tokens(self) -> int:
        """Tokens of cache that one replica has room for."""
        return memory_budget(
            self.model, accelerator=self.accelerator, precision=self.precision, n_devices=self.n_devices
        ).kv_tokens

    @property
    def held_tokens(self) -> float:
        """Slots that a sequence takes: its prompt and half its answer on average, or what it was promised."""
        return self.reserved_tokens or (self.n_input_tokens + self.n_output_tokens / 2) / HELD_SHARE

    @property
    def memory_batch(self) -> int:
        """Sequences that a replica's memory holds at once."""
        return int(self.kv_tokens / self.held_tokens)

    def tpot_s(self, batch_size: int) -> float:
        """Time per output token [s]."""
        plain_s = tpot_s(self.clock, concurrency=batch_size, **self._loop)
        return plain_s if not self.n_draft_tokens else plain_s * self._drafted(batch_size)

    def ttft_s(self, batch_size: int) -> float:
        """Time to the first token with nobody in the queue: half a step until the next begins, then its own [s]."""
        return first_step_s(self.clock, concurrency=batch_size, **self._loop) + self.tpot_s(batch_size) / 2

    def requests_per_s_of_one(self, batch_size: int) -> float:
        """What one replica serves with so many slots [requests/s]."""
        first_s = first_step_s(self.clock, concurrency=batch_size, **self._loop)
        full = batch_size / (first_s + (self.n_output_tokens - 1) * self.tpot_s(batch_size))
        return full if self.refills else full / sum(1 / k for k in range(1, batch_size + 1))

    def bytes_per_output_token(self, batch_size: int) -> float:
        """Bytes that one output token moves: its share of the weights, and its context."""
        step = Step.decode(batch_size=batch_size, context_len=self._mean_context)
        per_step = step_cost(self.model, step=step, precision=self.precision).bytes / batch_size
        useful = 1.0 if self.refills else 1 / sum(1 / k for k in range(1, batch_size + 1))
        return per_step / (self.tokens_per_step * useful)

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a step gives a sequence: (1 - a^(g + 1)) / (1 - a) with g drafts accepted at a rate a.

        Leviathan et al. (2023), equation 1; without drafts, 1.
        """
        a, g = self.acceptance_rate, self.n_draft_tokens
        return (1 - a ** (g + 1)) / (1 - a)

    @property
    def _loop(self) -> dict[str, Any]:
        n_cached = min(int(self.hit_rate * self.n_input_tokens), self.n_input_tokens - 1)
        return {
            "n_input_tokens": self.n_input_tokens,
            "n_output_tokens": self.n_output_tokens,
            "n_cached_tokens": n_cached,
        }

    @property
    def _mean_context(self) -> int:
        return self.n_input_tokens + self.n_output_tokens // 2

    def _drafted(self, batch_size: int) -> float:
        """Time per token with drafts, over without: a longer step, and more tokens from it."""
        context, n_new = self._mean_context, self.n_draft_tokens + 1
        sequence = Sequence(Request(id=0, n_input_tokens=1, n_output_tokens=1))
        chunk = PrefillChunk(sequence=sequence, context_len=context, n_new_tokens=n_new, emits=True)
        verify = Plan(n_decodes=0, n_context_tokens=0, prefills=(chunk,) * batch_size)
        decode = Plan(n_decodes=batch_size, n_context_tokens=batch_size * context)
        longer = self.clock.segment(verify).seconds(1) / self.clock.segment(decode).seconds(1)
        return longer / self.tokens_per_step


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
        return ceil(self.replicas) * self.case.n_devices

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
        per_s = self.replicas * self.case.n_devices * self.case.usd_per_device_hour / SECONDS_PER_HOUR
        return per_s / self.case.requests_per_s

    @property
    def usd_per_m_output(self) -> float:
        """The whole bill on the output tokens [USD per million]."""
        return self.usd_per_request / self.case.n_output_tokens * TOKENS_PER_PRICE

    @property
    def bytes_per_output_token(self) -> float:
        return self.case.bytes_per_output_token(self.batch_size)

    def markdown(self) -> str:
        """One page for a design document: the price, and the five qualifiers without which it says nothing."""
        case = self.case
        per_request = self.usd_per_month / (case.requests_per_s * SECONDS_PER_MONTH)
        limits = (f"TTFT {_ms(case.ttft_slo_s)}", f"TPOT {_ms(case.tpot_slo_s)}")
        cached = f", {case.hit_rate:.0%} of it cached" if case.hit_rate else ""
        rows = {
            "Model": case.model.name,
            "Precision": f"{case.precision.name}, {case.n_devices} devices a replica",
            "Context": f"{case.n_input_tokens:,} tokens in{cached}, {case.n_output_tokens:,} out, on average",
            "Batch and utilization": f"{self.batch_size} at once (limit: {self.limit}), {self.utilization:.0%} of "
            f"{self.n_devices // case.n_devices} replicas over the day",
            "Hardware": f"{self.n_devices} x {case.accelerator.name} at USD {case.usd_per_device_hour:.2f} an hour",
            "Traffic": f"{case.requests_per_s:g} requests/s on average, {case.peak_over_mean:.2f} times that at peak",
            "Latency, no queue": f"TTFT {_ms(self.ttft_s)}, TPOT {_ms(self.tpot_s)} (limits: {', '.join(limits)})",
            "Bill": f"USD {self.usd_per_month:,.0f} a month, {per_request * 1e3:.2f} for a thousand requests",
            "Price": f"USD {per_request / case.n_output_tokens * 1e6:.2f} per million output tokens, input included",
        }
        return "\n".join([f"### {case.name}", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def statement(case: Case) -> Statement:
    """Derive a case's batch, fleet and bill.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> found = statement(Case(
    ...     name="one reader", model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), n_devices=2,
    ...     precision=precision("fp8"), n_input_tokens=1, n_output_tokens=100, requests_per_s=1, max_batch_size=1,
    ...     usd_per_device_hour=2.5))
    >>> round(found.tpot_s * 1e3, 1), found.limit    # 69.5 GB over 2 * 3.35 TB/s
    (10.4, 'slots')
    """
    most = min(case.memory_batch, case.max_batch_size, _LARGEST_BATCH)
    if most < 1:
        raise BytebillError(
            f"{case.name}: beside the weights there is room for {max(0, case.kv_tokens):,} tokens of cache, and a "
            f"request needs {case.held_tokens:,.0f}; take more devices, fewer bits or shorter prompts."
        )
    low, high = 0, most
    while low < high:  # the largest batch that keeps the limits; times never fall as the batch grows
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _broken(case, middle) is None else (low, middle - 1)
    if low == 0:
        raise BytebillError(
            f"{case.name}: even alone, a request takes {case.ttft_s(1) * 1e3:.0f} ms to its first token and "
            f"{case.tpot_s(1) * 1e3:.1f} ms for each further one, which breaks the limits; take more or faster devices."
        )
    limit = _broken(case, low + 1) or ("memory" if low == case.memory_batch else "slots")
    return Statement(
        case=case,
        batch_size=low,
        limit="memory" if low == case.memory_batch else limit,
        tpot_s=case.tpot_s(low),
        ttft_s=case.ttft_s(low),
        capacity_per_s=case.requests_per_s_of_one(low),
    )


def _ms(seconds: float) -> str:
    return "none" if seconds == inf else f"{seconds * 1e3:,.0f} ms"


def _broken(case: Case, batch_size: int) -> str | None:
    """The limit that a batch does not keep."""
    if case.tpot_s(batch_size) > case.tpot_slo_s:
        return "TPOT"
    return "TTFT" if case.ttft_s(batch_size) > case.ttft_slo_s else None
