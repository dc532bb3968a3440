"""How much device time does a token of the prompt take, and one of the answer? Their ratio, by a clock.

    input_s  = devices * a step of prompts / their tokens, those found in a cache counted     prompts that fill the step
    output_s = devices * a step of `batch_size` users, half way through their answers / batch_size
    ratio    = output_s / input_s       the price ratio at which both kinds of token pay their own time

Steps hold one phase, as on machines that do nothing else. Ignores what mixing saves, queues, and steps that are not
full.
"""

from dataclasses import dataclass

from bytebill.errors import require
from bytebill.roofline.load import Chunk, Load
from bytebill.sim.clock import Clock

STEP_TOKENS = 8192  # of prompts in a step: what servers compute at once
_MOST = 10_000_000  # tokens and users that can be meant


@dataclass(frozen=True, kw_only=True)
class PhaseTime:
    """Time of one device that a token of each kind takes [s]."""

    input_s: float
    output_s: float

    @property
    def ratio(self) -> float:
        """How many prompt tokens are computed in the time of one output token."""
        return self.output_s / self.input_s


def phase_time(
    clock: Clock,
    *,
    batch_size: int,
    n_input_tokens: int,
    n_output_tokens: int,
    hit_rate: float = 0.0,
    step_tokens: int = STEP_TOKENS,
    decode: Clock | None = None,
) -> PhaseTime:
    """Both times for prompts of which a share `hit_rate` is found in a cache, and `batch_size` users who decode.

    `decode` is the clock of the group that decodes, where that is another one; `batch_size` are its users.

    >>> from bytebill.deployment import Deployment
    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> clock = Clock(Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"),
    ...                          precision=precision("bf16")))
    >>> times = [phase_time(clock, batch_size=n, n_input_tokens=1024, n_output_tokens=256) for n in (1, 64)]
    >>> [round(each.ratio) for each in times]    # alone, one pays for reading all weights
    [311, 8]
    """
    require(0 <= hit_rate < 1, f"A hit rate is a share from 0 to below 1, not {hit_rate}.")
    counts = (batch_size, n_input_tokens, n_output_tokens, step_tokens)
    whole = all(isinstance(n, int) and 1 <= n <= _MOST for n in counts)
    require(whole, f"Users, tokens and a step count from one to {_MOST:,}, in wholes: {counts}.")
    n_cached = min(int(hit_rate * n_input_tokens), n_input_tokens - 1)
    n_new = n_input_tokens - n_cached
    n_prompts = max(1, step_tokens // n_new)
    prompts = Load(chunks=(Chunk(context_len=n_cached, n_new_tokens=n_new),) * n_prompts)
    decodes = Load.decode(batch_size=batch_size, context_len=n_input_tokens + n_output_tokens // 2)
    other = decode or clock
    return PhaseTime(
        input_s=clock.deployment.n_devices * clock.step_s(prompts) / (n_prompts * n_input_tokens),
        output_s=other.deployment.n_devices * other.step_s(decodes) / batch_size,
    )
