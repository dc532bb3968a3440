"""Who asks for what, and when? Lengths and arrivals put together into requests.

A workload is a record that draws its requests anew, and the same, whenever it is iterated; a million of them need not
be in memory. Lengths do not change when arrivals do, so that two loads differ in nothing but their rate. Prompt and
output are drawn independently of each other; in the Azure traces they correlate by -0.1 and 0.0.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import islice, repeat

from bytebill.errors import BytebillError, require
from bytebill.serving.request import Request
from bytebill.serving.workload.arrivals import rng
from bytebill.serving.workload.lengths import Fixed, Lengths, TruncatedExponential


@dataclass(frozen=True)
class Workload:
    """`n_requests` requests (None: without end), all at time 0 unless `arrivals` says when.

    With `max_len_tokens`, prompt and output together are drawn again while they are longer.

    >>> [(r.id, r.n_input_tokens) for r in Workload(2, inputs=Fixed(512), outputs=Fixed(128))]
    [(0, 512), (1, 512)]
    """

    n_requests: int | None
    _: KW_ONLY
    inputs: Lengths
    outputs: Lengths
    arrivals: Iterable[float] | None = None
    max_len_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        once = self.arrivals is not None and iter(self.arrivals) is self.arrivals
        require(not once, "These arrivals can be asked for once only: give a record of them, or a tuple.")

    def __iter__(self) -> Iterator[Request]:
        chance = rng(self.seed, "lengths")
        times = islice(repeat(0.0) if self.arrivals is None else self.arrivals, self.n_requests)
        for id, arrival_s in enumerate(times):
            n_in, n_out = self._lengths(chance)
            yield Request(id=id, n_input_tokens=n_in, n_output_tokens=n_out, arrival_s=arrival_s)

    def _lengths(self, chance: random.Random) -> tuple[int, int]:
        for _ in range(10_000):
            n_in, n_out = self.inputs.sample(chance), self.outputs.sample(chance)
            if self.max_len_tokens is None or n_in + n_out <= self.max_len_tokens:
                return n_in, n_out
        raise BytebillError(f"Of 10,000 requests none was within {self.max_len_tokens} tokens: shorten the lengths.")


def anyscale(cap_tokens: int, *, n_requests: int = 1000, seed: int = 0) -> Workload:
    """The published continuous-batching workload: 512 tokens in, capped exponential of scale 128 out, at once."""
    outputs = TruncatedExponential(scale_tokens=128, cap_tokens=cap_tokens)
    return Workload(n_requests, inputs=Fixed(512), outputs=outputs, seed=seed)


@dataclass(frozen=True)
class SharedPrefix:
    """Given requests, of which each begins like all others of its group (drawn evenly from `n_groups`).

    Only full blocks can be shared, so a prompt names the full blocks of its shared part and no more.
    """

    requests: Iterable[Request]
    _: KW_ONLY
    n_shared_tokens: int
    block_size_tokens: int
    n_groups: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self.n_shared_tokens >= 0 and self.n_groups >= 1 and self.block_size_tokens >= 1,
            "A shared prefix has a length, a block size and at least one group.",
        )

    def __iter__(self) -> Iterator[Request]:
        chance, size = rng(self.seed, "groups"), self.block_size_tokens
        for request in self.requests:
            n_blocks = min(self.n_shared_tokens, request.n_input_tokens) // size
            first = chance.randrange(self.n_groups) * (self.n_shared_tokens // size)
            yield dataclasses.replace(request, prefix=tuple(range(first, first + n_blocks)))
