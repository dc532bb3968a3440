"""What does a benchmark with so many users measure? A closed loop under a program, steady or simulated.

    TTFT = front end + queue + the step that computes the prompt's last token
    TPOT = (time of the last token - time of the first) / (output tokens - 1)       means over requests

A benchmark's loop is one of three. Users of equal lengths who have drifted apart are a steady state in closed form
(`bytebill.sim.steady`). Users who start together and ask for equal lengths stay together, so that all prefill, then
all decode. Users whose lengths differ start together and drift apart. Both are simulated for a few rounds, of which the
first counts as one of the ten that a benchmark sends. Lengths are uniform from (1 - spread) of nominal up to nominal,
as InferenceX draws them. Where memory has no room for all users, the others wait. Ignores what a benchmark's client
costs itself.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, sqrt
from statistics import fmean

from bytebill.deployment import Deployment
from bytebill.errors import require
from bytebill.hardware import Accelerator
from bytebill.programs import program
from bytebill.serving import CONTINUOUS, Policy, Uniform, Workload
from bytebill.sim.clock import Clock
from bytebill.sim.constants import IDEAL, NAMES, Constants
from bytebill.sim.server import simulate
from bytebill.sim.steady import SteadyState

POLICIES = {  # how a program schedules: prompts beside decodes, whole or in parts, or before them
    "vllm": Policy(kind="chunked", token_budget=8192),
    "trtllm": Policy(kind="continuous", token_budget=8192),
    "sglang": Policy(kind="continuous", token_budget=8192, mixed=False),
}
REQUEST_S = 0.015  # of a front end: published servers take some 10 to 25 ms
ROUNDS, SIMULATED_ROUNDS = 10, 4  # requests that a user of a benchmark sends; that are simulated
ENDS = ("low", "high")
LEAST_SPREAD = 0.05  # below it users who are not said to stay together count as drifted apart already
BLOCK_TOKENS = 128  # long ones: handing out short blocks takes most of a simulation, and changes next to nothing


def policy_of(program_id: str, card: Accelerator) -> Policy:
    """How a program schedules on a device: the tokens of its largest step go by the device's memory.

    >>> from bytebill.hardware import accelerator
    >>> [policy_of("sglang", accelerator(id)).token_budget for id in ("h100-sxm", "b200")]
    [8192, 16384]
    """
    by = program(program_id)
    budget = by.quantity("step_tokens", size=by.size(card.driver_bytes))
    return replace(POLICIES[program_id], token_budget=int(budget))


@dataclass(frozen=True, kw_only=True)
class ClosedLoop:
    """So many users on a deployment, each of whom asks again when answered."""

    deployment: Deployment
    constants: Constants = IDEAL
    policy: Policy = CONTINUOUS
    concurrency: int
    n_input_tokens: int
    n_output_tokens: int
    length_spread: float = 0.0  # 0.2: lengths are uniform from 0.8 of nominal to nominal
    synchronised: bool = False  # users start together, and stay so
    request_s: float = 0.0  # of a front end, before a request reaches the scheduler

    def __post_init__(self) -> None:
        least = min(self.concurrency, self.n_input_tokens, self.n_output_tokens)
        require(least >= 1, "A closed loop has a user, a token asked and a token answered at least.")
        require(
            0 <= self.length_spread < 1, f"Lengths spread over a share from 0 to below 1, not {self.length_spread}."
        )
        n_tokens = self.n_input_tokens + self.n_output_tokens
        require(
            self.deployment.users(n_tokens) >= 1,
            f"{self.deployment.n_devices} x {self.deployment.accelerator.name} hold no user of {n_tokens:,} tokens "
            f"beside {self.deployment.model.name} in {self.deployment.precision.name}.",
        )

    @property
    def n_running(self) -> int:
        """Users who run at once in the steady state: all, or those whose caches fit at their mean length."""
        n_tokens = self._mean(self.n_input_tokens) + self._mean(self.n_output_tokens) // 2
        return min(self.concurrency, self.deployment.users(n_tokens))

    @property
    def steady(self) -> SteadyState:
        """The loop once users of mean length have drifted apart."""
        return SteadyState(
            clock=Clock(self.deployment, self.constants),
            concurrency=self.n_running,
            n_input_tokens=self._mean(self.n_input_tokens),
            n_output_tokens=self._mean(self.n_output_tokens),
            mixed=self.policy.mixed,
        )

    @property
    def tpot_s(self) -> float:
        return self._latencies[0]

    @property
    def ttft_s(self) -> float:
        return self._latencies[1]

    @property
    def tpot_range_s(self) -> tuple[float, float]:
        """What eight of ten measured values should lie in: each constant to its ends, and the program's own error.

        Their effects on the steady state, as logarithms, are added in squares: they are off independently.
        """
        now_s = self.steady.tpot_s
        squares = {-1: self.constants.error**2, 1: self.constants.error**2}
        for name in NAMES:
            ends = {getattr(getattr(self.constants, name), end) for end in ENDS}
            moved = [replace(self, constants=self.constants.moved(name, end)) for end in ENDS if len(ends) > 1]
            effects = [log(each.steady.tpot_s / now_s) for each in moved]
            for sign in squares:
                squares[sign] += max((max(0.0, sign * effect) for effect in effects), default=0.0) ** 2
        return self.tpot_s * exp(-sqrt(squares[-1])), self.tpot_s * exp(sqrt(squares[1]))

    @cached_property
    def _latencies(self) -> tuple[float, float]:
        if not self.synchronised and self.length_spread < LEAST_SPREAD:
            return self.steady.tpot_s, self._steady_ttft_s
        lengths = [
            Uniform(low=min(n, max(least, round((1 - self.length_spread) * n))), high=n)
            for n, least in ((self.n_input_tokens, 1), (self.n_output_tokens, 2))  # one token has no time per token
        ]
        asked = Workload(SIMULATED_ROUNDS * self.concurrency, inputs=lengths[0], outputs=lengths[1])
        n_slots = max(self.policy.n_slots, self.concurrency)
        scheduler = replace(self.policy, n_slots=n_slots, block_size_tokens=BLOCK_TOKENS).scheduler(self._n_blocks)
        clock = Clock(self.deployment, self.constants)
        delay_s = 0.0 if self.synchronised else self.request_s
        found = simulate(scheduler, asked, clock, concurrency=self.concurrency, delay_s=delay_s).metrics
        first = [id < self.concurrency for id in found.columns["id"]]
        tpot_s, ttft_s = (self._mean_of_all(times, first) for times in (found.tpot_s, found.ttft_s))
        return tpot_s, ttft_s + self.request_s

    @property
    def _steady_ttft_s(self) -> float:
        """Front end, the rest of the step that runs meanwhile, the queue of those who find no room, the prompt's step.

        Little's law: who waits beside B who run waits (users / B - 1) times as long as one is served.
        """
        state = self.steady
        served_s = state.first_step_s + (state.n_output_tokens - 1) * state.tpot_s
        running_s = state.tpot_s / 2 if self.request_s else 0.0
        queue_s = served_s * (self.concurrency / self.n_running - 1)
        return self.request_s + running_s + queue_s + state.first_step_s

    def _mean_of_all(self, times_s: list[float], first: list[bool]) -> float:
        """Mean over a benchmark's rounds: the first, in which users start together, and all later ones, which are like
        those simulated."""
        at_first, later = (
            [time_s for time_s, is_first in zip(times_s, first, strict=True) if is_first == which]
            for which in (True, False)
        )
        return (fmean(at_first) + (ROUNDS - 1) * fmean(later)) / ROUNDS

    @property
    def _n_blocks(self) -> int:
        """Blocks there is room for, by what a user of nominal lengths keeps of a token: windows and states counted."""
        n_tokens = self.n_input_tokens + self.n_output_tokens
        token_bytes = self.deployment.user_bytes(n_tokens) / n_tokens
        return int(self.deployment.memory.kv_bytes / (BLOCK_TOKENS * token_bytes))

    def _mean(self, n_tokens: int) -> int:
        return round(n_tokens * (1 - self.length_spread / 2))
