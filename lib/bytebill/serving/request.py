"""What is served? Requests, and where each stands while it is served.

    waiting -> prefilling -> decoding -> finished        preempted: decoding -> waiting or swapped
    waiting -> refused                                   (it could never fit)

A request asks for `n_output_tokens` new tokens after a prompt of `n_input_tokens`. The step that computes the
last prompt token emits the first output token; each decode step emits one more; the token emitted last is never
cached, so a finished request cached n_input_tokens + n_output_tokens - 1. A sequence that lost its cache computes
prompt and emitted tokens again as one prefill, which emits its next token. Knows no clock and no tensor.
"""

import math
from dataclasses import dataclass
from enum import Enum

from bytebill.errors import BytebillError


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a user asks for. `prefix` names the content of the prompt's leading blocks, if others may share it.

    The first `n_given_tokens` of the prompt come with their cache, computed elsewhere; who loses it computes them.
    """

    id: int
    n_input_tokens: int
    n_output_tokens: int
    arrival_s: float = 0.0
    prefix: tuple[int, ...] = ()
    n_given_tokens: int = 0

    def __post_init__(self) -> None:
        n_in, n_out = self.n_input_tokens, self.n_output_tokens
        try:
            asks = n_in >= 1 and n_out >= 1 and n_in % 1 == n_out % 1 == 0 and 0 <= self.arrival_s < math.inf
            brings = 0 <= self.n_given_tokens < n_in
        except TypeError:
            asks = brings = False
        if not asks:
            raise BytebillError(f"A request has a prompt, tokens to emit, both whole numbers, and an arrival: {self}.")
        if not brings:
            raise BytebillError(f"A request brings the cache of some of its prompt, not of all: {self}.")

    @property
    def n_cached_tokens_at_end(self) -> int:
        """Tokens in the cache when its last token is emitted.

        >>> Request(id=0, n_input_tokens=10, n_output_tokens=3).n_cached_tokens_at_end
        12
        """
        return self.n_input_tokens + self.n_output_tokens - 1


class State(Enum):
    """Where a request stands."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    SWAPPED = "swapped"
    FINISHED = "finished"
    REFUSED = "refused"


@dataclass(eq=False, slots=True)
class ServedSequence:
    """A request being served: what is cached and what is emitted. Schedulers change it, recorders note its times.

    While it decodes, a scheduler may count lazily: ask the scheduler's plan for a decoding sequence's context.
    """

    request: Request
    state: State = State.WAITING
    n_cached: int = 0  # tokens whose keys and values are held
    n_emitted: int = 0
    n_preemptions: int = 0
    reason: str | None = None  # why it was refused
    scheduled_s: float | None = None  # start of its first step
    first_token_s: float = math.nan
    joined_s: float | None = None  # when it emitted after its (last) prefill

    @property
    def n_known_tokens(self) -> int:
        """Prompt and emitted tokens: what a prefill must have computed before the next token."""
        return self.request.n_input_tokens + self.n_emitted

    @property
    def n_given_tokens(self) -> int:
        """Tokens whose cache comes with it when it is let in: once."""
        return 0 if self.n_preemptions else self.request.n_given_tokens
