"""What does a hit save? Time to the first token of one prompt, by how much of it the engine's cache has.

    TTFT = one pass over the tokens that were not found, which attend to those that were

The prompt is served first, so that its blocks are there; then, in turns, prompts that begin as it does and go on with
other tokens. The last token is always computed: of n tokens a full hit finds the whole blocks of n - 1. `alone` is the
TTFT of what is missing as a prompt by itself: what computing it costs when there is nothing found to attend to.
Ignores queues, other users and the network. One request at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

from bytebill.engine.runner import Runner
from bytebill.engine.serve import serve
from bytebill.engine.transformer import Transformer
from bytebill.errors import require
from bytebill.measure.timing import Timing, times
from bytebill.serving import ChunkedScheduler, ContinuousScheduler, Metrics, PrefixSharing, Request
from bytebill.serving.memory.prefix import block_names
from bytebill.units import BLOCK_SIZE_TOKENS


@dataclass(frozen=True, kw_only=True)
class HitTiming:
    """A prompt of which so many tokens were found: its TTFT, and that of the rest by itself."""

    n_found_tokens: int
    n_computed_tokens: int
    ttft: Timing
    alone: Timing


class CachedEngine:
    """A model behind a scheduler with a prefix cache, asked for one first token at a time."""

    def __init__(self, model: Transformer, *, cache_tokens: int, block_size_tokens: int = BLOCK_SIZE_TOKENS) -> None:
        pool = PrefixSharing(n_blocks=-(-cache_tokens // block_size_tokens), block_size_tokens=block_size_tokens)
        self._size, self._ids = block_size_tokens, count()
        self._scheduler = ContinuousScheduler(pool, max_batch_size=1)
        self._runner = Runner.of(model, self._scheduler)

    def ask(self, tokens: Sequence[int]) -> tuple[float, int]:
        """TTFT [s], and how many of the tokens were found."""
        names = block_names(tokens, block_size_tokens=self._size)
        request = Request(id=next(self._ids), n_input_tokens=len(tokens), n_output_tokens=1, prefix=names)
        metrics = serve(self._scheduler, [request], self._runner, prompts=lambda _: tokens).metrics
        return metrics.ttft_s[0], len(tokens) - metrics.n_computed_tokens


def ttft_by_hit(
    model: Transformer, *, n_tokens: int, shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0), repeats: int = 3
) -> dict[float, HitTiming]:
    """TTFT by the share of a prompt that was there before, in turns."""
    require(n_tokens >= 1 and repeats >= 1, "A prompt has tokens, and is timed once at least.")
    chance, vocabulary = Random(n_tokens), range(model.spec.vocab_size)
    engine = CachedEngine(model, cache_tokens=(2 * len(shares) + 2) * (n_tokens + BLOCK_SIZE_TOKENS))

    def others(n: int) -> list[int]:
        return chance.choices(vocabulary, k=n)

    base = others(n_tokens)
    for warm_up in (base, base, others(1)):
        engine.ask(warm_up)
    shapes_met = 1 if model.device.type == "cuda" else 0  # a GPU's first pass of a shape loads and chooses kernels
    seen: dict[float, list[tuple[float, int]]] = {share: [] for share in shares}
    alone: dict[float, list[float]] = {share: [] for share in shares}
    for round_ in range(-shapes_met, len(times(repeats))):
        if round_ == 0:
            seen, alone = {share: [] for share in shares}, {share: [] for share in shares}
        for share in sorted(shares, reverse=True):  # the whole prompt first, so that it stays in the cache
            n_same = int(share * n_tokens)
            seen[share].append(engine.ask([*base[:n_same], *others(n_tokens - n_same)]))
            n_found = seen[share][-1][1]
            alone[share].append(engine.ask(others(n_tokens - n_found))[0] if n_found else seen[share][-1][0])
    return {
        share: HitTiming(
            n_found_tokens=n_found,
            n_computed_tokens=n_tokens - n_found,
            ttft=Timing(samples_s=tuple(ttft_s for ttft_s, _ in asked)),
            alone=Timing(samples_s=tuple(alone[share])),
        )
        for share, asked in seen.items()
        for n_found in {n for _, n in asked}
    }


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a prompt does to a user who decodes, and what it waits itself [s]."""

    gap_s: float
    ttft_s: float


def beside_a_decode(
    model: Transformer, *, n_tokens: int, token_budget: int | None = None, seed: int = 0
) -> tuple[Beside, Beside]:
    """The longest gap of a user who decodes while a prompt comes, and the prompt's TTFT: when it is new, and when it
    comes again. With a `token_budget` it is computed in chunks, else whole."""
    n_blocks = 2 * -(-n_tokens // BLOCK_SIZE_TOKENS) + 64
    pool, chance = PrefixSharing(n_blocks=n_blocks), Random(seed)
    scheduler = (
        ContinuousScheduler(pool, max_batch_size=2)
        if token_budget is None
        else ChunkedScheduler(pool, max_batch_size=2, token_budget=token_budget)
    )
    runner = Runner.of(model, scheduler)
    prompt = chance.choices(range(model.spec.vocab_size), k=n_tokens)
    names = block_names(prompt, block_size_tokens=BLOCK_SIZE_TOKENS)

    def run(*requests: Request) -> Metrics:
        texts = {request.id: prompt if request.prefix else prompt[:1] * request.n_input_tokens for request in requests}
        return serve(scheduler, requests, runner, prompts=lambda request: texts[request.id]).metrics

    for id in (-2, -1):  # the first warms up, the second tells how long three tokens take
        warm = run(Request(id=id, n_input_tokens=16, n_output_tokens=4))
    n_chunks = 1 if token_budget is None else -(-n_tokens // max(1, token_budget - 1))
    found = []
    for id in (1, 3):
        decoding = Request(id=id, n_input_tokens=16, n_output_tokens=8 + n_chunks)
        coming = Request(id=id + 1, n_input_tokens=n_tokens, n_output_tokens=1, arrival_s=warm.end_s, prefix=names)
        metrics = run(decoding, coming)
        at = list(metrics.columns["id"]).index(id + 1)
        found.append(Beside(gap_s=metrics.itl_quantile_s(1.0), ttft_s=metrics.ttft_s[at]))
    return found[0], found[1]
