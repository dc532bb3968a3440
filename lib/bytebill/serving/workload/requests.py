"""Who asks for what, and when? Lengths and arrivals put together into a stream of requests.

A workload is an iterator: a million requests need not be in memory. The same seed gives the same requests, and
lengths do not change when arrivals do, so that two loads differ in nothing but their rate. Prompt and output are
drawn independently of each other; in the Azure traces they correlate by -0.1 and 0.0.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator
from itertools import islice

from bytebill.errors import BytebillError
from bytebill.serving.request import Request
from bytebill.serving.workload.arrivals import all_at_once
from bytebill.serving.workload.lengths import Fixed, Lengths, TruncatedExponential


def rng(seed: int, purpose: str) -> random.Random:
    """A source of chance for one purpose, independent of the others of the same seed."""
    return random.Random(f"{seed}/{purpose}")


def workload(
    n_requests: int | None,
    *,
    inputs: Lengths,
    outputs: Lengths,
    arrivals: Iterable[float] | None = None,
    max_len_tokens: int | None = None,
    seed: int = 0,
) -> Iterator[Request]:
    """`n_requests` requests (None: without end), all at time 0 unless `arrivals` says when.

    With `max_len_tokens`, prompt and output together are drawn again while they are longer.

    >>> [(r.id, r.n_input_tokens) for r in workload(2, inputs=Fixed(512), outputs=Fixed(128))]
    [(0, 512), (1, 512)]
    """
    chance = rng(seed, "lengths")
    times = all_at_once() if arrivals is None else iter(arrivals)
    for id, arrival_s in enumerate(times if n_requests is None else islice(times, n_requests)):
        n_in, n_out = _lengths(inputs, outputs, chance, max_len_tokens)
        yield Request(id=id, n_input_tokens=n_in, n_output_tokens=n_out, arrival_s=arrival_s)


def anyscale(cap_tokens: int, *, n_requests: int = 1000, seed: int = 0) -> Iterator[Request]:
    """The published continuous-batching workload: 512 tokens in, capped exponential of scale 128 out, at once."""
    outputs = TruncatedExponential(scale_tokens=128, cap_tokens=cap_tokens)
    return workload(n_requests, inputs=Fixed(512), outputs=outputs, seed=seed)


def with_shared_prefix(
    requests: Iterable[Request], *, n_shared_tokens: int, block_size_tokens: int, n_groups: int = 1, seed: int = 0
) -> Iterator[Request]:
    """The same requests, of which each begins like all others of its group (drawn evenly from `n_groups`).

    Only full blocks can be shared, so a prompt names the full blocks of its shared part and no more.
    """
    if n_shared_tokens < 0 or n_groups < 1 or block_size_tokens < 1:
        raise BytebillError("A shared prefix has a length, a block size and at least one group.")
    chance = rng(seed, "groups")
    for request in requests:
        n_blocks = min(n_shared_tokens, request.n_input_tokens) // block_size_tokens
        first = chance.randrange(n_groups) * (n_shared_tokens // block_size_tokens)
        yield dataclasses.replace(request, prefix=tuple(range(first, first + n_blocks)))


def _lengths(inputs: Lengths, outputs: Lengths, chance: random.Random, max_len_tokens: int | None) -> tuple[int, int]:
    for _ in range(10_000):
        n_in, n_out = inputs.sample(chance), outputs.sample(chance)
        if max_len_tokens is None or n_in + n_out <= max_len_tokens:
            return n_in, n_out
    raise BytebillError(f"Of 10,000 requests none was within {max_len_tokens} tokens: shorten the lengths.")
