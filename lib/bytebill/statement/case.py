"""How would its owner describe a deployment? Model and devices, traffic and limits; what it says of any batch.

    capacity = batch / (first step + (n_out - 1) * TPOT)            requests/s of one replica, `bytebill.sim.steady`
    cache    = batch * (fresh + n_out / 2) + one shared prefix                     tokens, where all share a prefix
             = batch * (n_in + n_out / 2) + capacity * gap * prefix                where each comes back for its own

Everything is a closed form of the book's clock at mean lengths. A program decides both how long steps take and what
room it leaves for caches; prefixes that wait for their next turn take of that room (Little's law). Ignores the spread
of lengths and queues (a p99 is the simulator's to give: `sim.usable`), and everything in front of the scheduler. Used
by chapter 20.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, inf
from typing import Any, Self

from bytebill.deployment import Deployment
from bytebill.economics.cost import HOURS_PER_DAY, check_positive, check_utilization
from bytebill.errors import require
from bytebill.memory import Footprint, as_served
from bytebill.programs import PROGRAMS
from bytebill.roofline import Load, tokens_per_pass, useful_share
from bytebill.sim.clock import Clock
from bytebill.sim.closed_loop import REQUEST_S
from bytebill.sim.constants import IDEAL, Constants, calibrated_constants
from bytebill.sim.own_program import OwnProgram
from bytebill.sim.steady import SteadyState

HELD_SHARE = 0.97  # of a paged cache holds tokens: chapter 05
LARGEST_BATCH = 4096
ON_DEMAND = "on demand"


@dataclass(frozen=True, kw_only=True)
class Rental:
    """Replicas that are paid on other terms than the rest: a contract, or a spot price."""

    terms: str
    replicas: int  # at most so many
    usd_per_device_hour: float
    hours_per_day: float = HOURS_PER_DAY  # paid
    lost: float = 0.0  # share of these that serves nothing: the host takes them back, and others start

    def __post_init__(self) -> None:
        check_positive({f"A rent ({self.terms}) [USD per hour]": self.usd_per_device_hour})
        require(
            0 < self.hours_per_day <= HOURS_PER_DAY and 0 <= self.lost < 1 and self.replicas >= 0,
            f"A rental ({self.terms}) is of zero or more replicas, paid up to 24 hours a day, and lost for a share "
            "from 0 to below 1.",
        )


@dataclass(frozen=True, kw_only=True)
class Case:
    """A deployment as its owner would describe it; lengths are means, rates are of the whole fleet."""

    name: str
    deployment: Deployment  # of one replica
    program: str | None = None  # that serves: an id of `data/constants.csv`; None: the roofline itself
    n_input_tokens: int
    n_output_tokens: int  # hidden ones too: they are decoded and billed as the others are
    n_hidden_tokens: int = 0  # of these, reasoning that no user sees
    hit_rate: float = 0.0  # share of a prompt that a prefix cache has
    prefix_gap_s: float = 0.0  # until a conversation comes back for its prefix; 0: one prefix that everybody shares
    requests_per_s: float  # mean over the day
    peak_over_mean: float = 1.0  # what the fleet is sized for, over the mean
    ttft_slo_s: float = inf
    tpot_slo_s: float = inf
    usd_per_device_hour: float  # of all replicas that no other rental pays
    hours_per_day: float = HOURS_PER_DAY  # in which these are held; below 24: scaled to zero in the others
    rentals: tuple[Rental, ...] = ()  # filled up first, in this order
    min_replicas: int = 1
    spare_replicas: int = 0  # on top of what the peak needs: 1 is N+1
    staff_usd_per_month: float = 0.0
    idle_usd_per_device_hour: float = 0.0  # what an hour in which a device idles is worth to other work
    max_batch_size: int = LARGEST_BATCH
    reserved_tokens: int | None = None  # slots promised to each sequence; None: paged
    refills: bool = True  # a slot is given away at once; False: when the batch's longest is done
    memory_utilization: float | None = None  # share of the memory that the program may take; None: its default
    step_tokens: int | None = None  # of its largest step, whose activations take room; None: its default
    fill: float = 1.0  # share of a replica's capacity that queues and bursts leave usable
    n_draft_tokens: int = 0  # guessed ahead in each step, by something that costs nothing
    acceptance_rate: float = 0.7
    speed: float = 1.0  # times as fast as the clock says: its error, to be tried
    own: OwnProgram | None = None  # measured on its owner's server; None: as the program is calibrated

    def __post_init__(self) -> None:
        check_positive(
            {
                "A rent [USD per hour]": self.usd_per_device_hour,
                "A rate [requests per second]": self.requests_per_s,
                "A speed [times the clock's]": self.speed,
            }
        )
        counts = (self.n_input_tokens, self.n_output_tokens, self.max_batch_size)
        require(
            min(counts) >= 1 and all(float(n).is_integer() for n in counts),
            "A case has at least one input token, output token and slot, in whole numbers.",
        )
        require(
            0 <= self.hit_rate < 1 and 0 <= self.acceptance_rate < 1,
            "A hit rate and an acceptance rate are shares from 0 to below 1.",
        )
        check_utilization(self.fill)
        require(
            self.peak_over_mean >= 1 and self.n_draft_tokens >= 0,
            "A peak is at least the mean, and drafts are zero or more tokens.",
        )
        require(
            0 <= self.n_hidden_tokens < self.n_output_tokens and 0 <= self.prefix_gap_s < inf,
            "Hidden tokens are part of the output, of which a user sees one at least; a gap is zero or more seconds.",
        )
        require(
            self.min_replicas >= 1 and self.spare_replicas >= 0,
            f"A fleet has a replica at least and zero or more to spare: {self.min_replicas}, {self.spare_replicas}.",
        )
        require(
            0 < self.hours_per_day <= HOURS_PER_DAY,
            f"Replicas are held for up to 24 hours a day, not {self.hours_per_day:g}.",
        )
        require(
            self.peak_over_mean * self.hours_per_day >= HOURS_PER_DAY * (1 - 1e-9) or bool(self.rentals),
            f"A day's requests within {self.hours_per_day:g} hours have a peak of "
            f"{HOURS_PER_DAY / self.hours_per_day:.2f} times the mean at least, not {self.peak_over_mean:g}.",
        )
        require(
            min(self.ttft_slo_s, self.tpot_slo_s) > 0,
            f"A limit is a time above zero, not {self.ttft_slo_s:g} and {self.tpot_slo_s:g} s.",
        )
        require(0 <= self.staff_usd_per_month < inf, f"Staff costs nothing or more, not {self.staff_usd_per_month}.")
        terms = [*(each.terms for each in self.rentals), ON_DEMAND]
        require(
            len({*terms}) == len(terms),
            f"Rentals are told apart by their terms, and '{ON_DEMAND}' is what no rental pays; name each otherwise.",
        )
        least = min(self.usd_per_device_hour, *(each.usd_per_device_hour for each in self.rentals), inf)
        require(
            0 <= self.idle_usd_per_device_hour <= least,
            f"An idle hour is worth nothing or more, up to the least rent that is paid for one, {least:g} USD, not "
            f"{self.idle_usd_per_device_hour:g}.",
        )
        need = self.n_input_tokens + self.n_output_tokens
        require(
            self.reserved_tokens is None or self.reserved_tokens >= need,
            f"A sequence is promised slots for its {need:,} tokens at least, not {self.reserved_tokens}.",
        )

    def on(self, **changes: Any) -> Self:
        """This case where something about the deployment has changed: model, accelerator, precision or n_devices."""
        return replace(self, deployment=replace(self.deployment, **changes))

    @property
    def constants(self) -> Constants:
        """The constants of the program on these devices."""
        if self.own:
            return self.own.constants
        return calibrated_constants(self.program, self.deployment.accelerator.id) if self.program else IDEAL

    @cached_property
    def served(self) -> Deployment:
        """One replica with the room for caches that its program leaves, where that is known."""
        by = PROGRAMS.get(self.program or "")
        if by is None:
            return self.deployment
        return as_served(self.deployment, by, utilization=self.memory_utilization, step_tokens=self.step_tokens)

    @cached_property
    def clock(self) -> Clock:
        """The clock of one replica; refuses a model that does not fit."""
        return Clock(self.served, self.constants)

    @property
    def fewest_devices(self) -> int | None:
        """Devices of the smallest group that surely holds one request of full length under its program; None where
        that is not known."""
        by = PROGRAMS.get(self.program or "")
        if by is None:
            return None
        there = Footprint(
            deployment=self.deployment, program=by, utilization=self.memory_utilization, step_tokens=self.step_tokens
        )
        return there.fewest_devices(max(ceil(self.held_tokens), self.n_input_tokens + self.n_output_tokens))

    @property
    def n_found_tokens(self) -> int:
        """Tokens of a prompt that the prefix cache has."""
        return min(int(self.hit_rate * self.n_input_tokens), self.n_input_tokens - 1)

    @property
    def held_tokens(self) -> float:
        """Slots that a sequence takes alone: its prompt and half its answer on average, or what it was promised."""
        shared = 0 if self.prefix_gap_s else self.n_found_tokens
        return self.reserved_tokens or (self.n_input_tokens - shared + self.n_output_tokens / 2) / HELD_SHARE

    @cached_property
    def memory_batch(self) -> int:
        """Sequences that a replica's memory holds at once, beside the prefixes that it keeps."""
        room = self.served.memory.kv_bytes
        prefix_bytes = self.served.user_bytes(self.n_found_tokens / HELD_SHARE) if self.n_found_tokens else 0.0
        each_bytes = self.served.user_bytes(self.held_tokens)
        alone = int((room if self.prefix_gap_s else room - prefix_bytes) / each_bytes)
        if not (self.prefix_gap_s and prefix_bytes and alone > 0):
            return max(0, alone)

        def kept_bytes(batch_size: int) -> float:
            return batch_size * each_bytes + self.requests_per_s_of_one(batch_size) * self.prefix_gap_s * prefix_bytes

        return bisect_left(range(1, alone + 1), True, key=lambda n: kept_bytes(n) > room)

    def tpot_s(self, batch_size: int) -> float:
        """Time per output token [s]."""
        plain_s = self._steady(batch_size).tpot_s / self.speed
        if not self.n_draft_tokens:
            return plain_s
        # with drafts a step is longer, and more tokens come from it; a token's share of prompts stays what it is
        shape = {"batch_size": batch_size, "context_len": self._mean_context}
        verify = Load.verify(**shape, n_draft_tokens=self.n_draft_tokens)
        verify_s, decode_s = self.clock.step_s(verify), self.clock.step_s(Load.decode(**shape))
        return plain_s - (decode_s - verify_s / self.tokens_per_step) / self.speed

    def ttft_s(self, batch_size: int) -> float:
        """Time to the first token with nobody in the queue [s]: a program's front end, half a step until the next
        begins, then its own."""
        front_s = self.own.request_s if self.own else REQUEST_S if self.program else 0.0
        return front_s + self._first_step_s(batch_size) + self.tpot_s(batch_size) / 2

    def requests_per_s_of_one(self, batch_size: int) -> float:
        """What one replica serves with so many slots [requests/s]."""
        each_s = self._first_step_s(batch_size) + (self.n_output_tokens - 1) * self.tpot_s(batch_size)
        full = batch_size / each_s
        return full if self.refills else full * useful_share(batch_size)

    def in_flight(self, requests_per_s: float) -> float:
        """Sequences that a replica has at once, on average, at so many requests a second."""
        alone = self.requests_per_s_of_one(1)
        if requests_per_s <= alone:
            return requests_per_s / alone
        most = max(1, self.memory_batch)
        return 1 + bisect_left(range(1, most), True, key=lambda n: self.requests_per_s_of_one(n) >= requests_per_s)

    def bytes_per_output_token(self, batch_size: int) -> float:
        """Bytes that one output token moves: its share of the weights, and its context."""
        cost = self.deployment.step_cost(Load.decode(batch_size=batch_size, context_len=self._mean_context))
        return cost.bytes / batch_size / (self.tokens_per_step * (1.0 if self.refills else useful_share(batch_size)))

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a step gives a sequence: its drafts as far as accepted, and one more."""
        return tokens_per_pass(self.n_draft_tokens, acceptance_rate=self.acceptance_rate)

    def _steady(self, batch_size: int) -> SteadyState:
        return SteadyState(
            clock=self.clock,
            concurrency=batch_size,
            n_input_tokens=self.n_input_tokens,
            n_output_tokens=self.n_output_tokens,
            n_cached_tokens=self.n_found_tokens,
        )

    def _first_step_s(self, batch_size: int) -> float:
        return self._steady(batch_size).first_step_s / self.speed

    @property
    def _mean_context(self) -> int:
        return self.n_input_tokens + self.n_output_tokens // 2
