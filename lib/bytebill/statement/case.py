"""How would its owner describe a deployment? Model and devices, traffic and limits; what it says of any batch.

    capacity = batch / (first step + (n_out - 1) * TPOT)            requests/s of one replica, `bytebill.sim.steady`

Everything is a closed form of the book's clock at mean lengths. A program decides both how long steps take and what
room it leaves for caches. Ignores the spread of lengths and queues (a p99 is
the simulator's to give), and everything in front of the scheduler. Used by chapter 20.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any, Self

from bytebill.deployment import Deployment
from bytebill.economics.cost import check_positive, check_utilization
from bytebill.errors import require
from bytebill.memory import as_served
from bytebill.programs import PROGRAMS
from bytebill.roofline import Load, tokens_per_pass, useful_share
from bytebill.sim.clock import Clock
from bytebill.sim.closed_loop import REQUEST_S
from bytebill.sim.constants import IDEAL, Constants, calibrated_constants
from bytebill.sim.steady import SteadyState

HELD_SHARE = 0.97  # of a paged cache holds tokens: chapter 05
LARGEST_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Case:
    """A deployment as its owner would describe it; lengths are means, rates are of the whole fleet."""

    name: str
    deployment: Deployment  # of one replica
    program: str | None = None  # that serves: an id of `data/constants.csv`; None: the roofline itself
    n_input_tokens: int
    n_output_tokens: int
    hit_rate: float = 0.0  # share of a prompt that a prefix cache has
    requests_per_s: float  # mean over the day
    peak_over_mean: float = 1.0  # what the fleet is sized for, over the mean
    ttft_slo_s: float = inf
    tpot_slo_s: float = inf
    usd_per_device_hour: float
    max_batch_size: int = LARGEST_BATCH
    reserved_tokens: int | None = None  # slots promised to each sequence; None: paged
    refills: bool = True  # a slot is given away at once; False: when the batch's longest is done
    fill: float = 1.0  # share of a replica's capacity that queues and bursts leave usable
    n_draft_tokens: int = 0  # guessed ahead in each step, by something that costs nothing
    acceptance_rate: float = 0.7

    def __post_init__(self) -> None:
        check_positive(
            {"A rent [USD per hour]": self.usd_per_device_hour, "A rate [requests per second]": self.requests_per_s}
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

    def on(self, **changes: Any) -> Self:
        """This case where something about the deployment has changed: model, accelerator, precision or n_devices."""
        return replace(self, deployment=replace(self.deployment, **changes))

    @property
    def constants(self) -> Constants:
        """The constants of the program on these devices."""
        return calibrated_constants(self.program, self.deployment.accelerator.id) if self.program else IDEAL

    @cached_property
    def served(self) -> Deployment:
        """One replica with the room for caches that its program leaves, where that is known."""
        by = PROGRAMS.get(self.program or "")
        return as_served(self.deployment, by) if by else self.deployment

    @cached_property
    def clock(self) -> Clock:
        """The clock of one replica; refuses a model that does not fit."""
        return Clock(self.served, self.constants)

    @property
    def held_tokens(self) -> float:
        """Slots that a sequence takes: its prompt and half its answer on average, or what it was promised."""
        return self.reserved_tokens or (self.n_input_tokens + self.n_output_tokens / 2) / HELD_SHARE

    @property
    def memory_batch(self) -> int:
        """Sequences that a replica's memory holds at once."""
        return int(self.served.memory.kv_bytes / self.served.user_bytes(self.held_tokens))

    def tpot_s(self, batch_size: int) -> float:
        """Time per output token [s]."""
        plain_s = self._steady(batch_size).tpot_s
        if not self.n_draft_tokens:
            return plain_s
        # with drafts a step is longer, and more tokens come from it; a token's share of prompts stays what it is
        shape = {"batch_size": batch_size, "context_len": self._mean_context}
        verify = Load.verify(**shape, n_draft_tokens=self.n_draft_tokens)
        verify_s, decode_s = self.clock.step_s(verify), self.clock.step_s(Load.decode(**shape))
        return plain_s - decode_s + verify_s / self.tokens_per_step

    def ttft_s(self, batch_size: int) -> float:
        """Time to the first token with nobody in the queue [s]: a program's front end, half a step until the next
        begins, then its own."""
        front_s = REQUEST_S if self.program else 0.0
        return front_s + self._steady(batch_size).first_step_s + self.tpot_s(batch_size) / 2

    def requests_per_s_of_one(self, batch_size: int) -> float:
        """What one replica serves with so many slots [requests/s]."""
        full = batch_size / (
            self._steady(batch_size).first_step_s + (self.n_output_tokens - 1) * self.tpot_s(batch_size)
        )
        return full if self.refills else full * useful_share(batch_size)

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
            n_cached_tokens=min(int(self.hit_rate * self.n_input_tokens), self.n_input_tokens - 1),
        )

    @property
    def _mean_context(self) -> int:
        return self.n_input_tokens + self.n_output_tokens // 2
