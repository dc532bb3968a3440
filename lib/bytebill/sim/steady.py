"""What does a clock say of a server that is always full? Time per output token in the steady state, closed form.

    TPOT        = mean step time that a decoding request sees while the others start k prefills a step
    k           = (B - 1) / n_out on average, over n_out - 1 where prefills do not share a step with decodes;
                  where it is no whole number, two numbers take turns
    output rate = B * n_out / (a prefill's step + (n_out - 1) * TPOT)

B `concurrency` requests are in flight: one that finishes is replaced at once. A request decodes n_out - 1 times, and
meanwhile every other one starts its successor, so a decode-only roofline is too fast by that prefill share. Prefills
ride along with the decodes of a step (`mixed`), or take a step of their own for which the decodes wait. Ignores what
chance does to k and to lengths, waiting before a prefill, and the ends of a run: those are the simulator's.
"""

from dataclasses import dataclass
from math import floor

from bytebill.errors import require
from bytebill.roofline.load import Chunk, Load
from bytebill.sim.clock import Clock


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """A server full of equal requests: `concurrency` are in flight, and one that finishes is replaced at once.

    `n_cached_tokens` of each prompt are found in a prefix cache and only attended to.

    >>> from bytebill.deployment import Deployment
    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> clock = Clock(Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"),
    ...                          precision=precision("bf16")))
    >>> state = SteadyState(clock=clock, concurrency=1, n_input_tokens=1024, n_output_tokens=512)
    >>> round(state.tpot_s * 1e3, 2)    # 15.2 GB
    4.53
    """

    clock: Clock
    concurrency: int
    n_input_tokens: int
    n_output_tokens: int
    n_cached_tokens: int = 0
    mixed: bool = True  # prefills ride along with the decodes of a step

    def __post_init__(self) -> None:
        least = min(self.concurrency, self.n_input_tokens - self.n_cached_tokens, self.n_output_tokens)
        require(least >= 1, f"A steady state has a request in flight, with a token to compute and one to emit: {self}.")

    @property
    def tpot_s(self) -> float:
        """Mean time per output token [s]."""
        n_prefills = (self.concurrency - 1) / (self.n_output_tokens if self.mixed else max(1, self.n_output_tokens - 1))
        fewer = floor(n_prefills)
        share = n_prefills - fewer
        return self._gap_s(fewer) if share == 0 else (1 - share) * self._gap_s(fewer) + share * self._gap_s(fewer + 1)

    @property
    def first_step_s(self) -> float:
        """Time of the step that computes a prompt, beside everybody else's decodes where steps are mixed [s]."""
        return self.clock.step_s(self._load(self.concurrency - 1 if self.mixed else 0, n_prefills=1))

    @property
    def output_tokens_per_s(self) -> float:
        """Output tokens a second, the whole group's [tok/s]."""
        return self.concurrency * self.n_output_tokens / (self.first_step_s + (self.n_output_tokens - 1) * self.tpot_s)

    def _gap_s(self, n_prefills: int) -> float:
        """Time between two tokens of a request when so many prefills fall between them."""
        if self.mixed or not n_prefills:
            n_decodes = max(1, self.concurrency - n_prefills) if self.mixed else self.concurrency
            return self.clock.step_s(self._load(n_decodes, n_prefills=n_prefills))
        return self.clock.step_s(self._load(0, n_prefills=n_prefills)) + self.clock.step_s(self._load(self.concurrency))

    def _load(self, n_decodes: int, *, n_prefills: int = 0) -> Load:
        # cached tokens before a decode step: n_in before the first, n_in + n_out - 2 before the last
        mean_context = self.n_input_tokens + max(0, self.n_output_tokens - 2) / 2
        prompt = Chunk(context_len=self.n_cached_tokens, n_new_tokens=self.n_input_tokens - self.n_cached_tokens)
        n_context_tokens = round(n_decodes * mean_context)
        return Load(n_decodes=n_decodes, n_context_tokens=n_context_tokens, chunks=(prompt,) * n_prefills)
