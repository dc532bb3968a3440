"""What does it cost to check drafts, and what do they gain? Passes of several tokens, and texts with drafts, timed.

    cost of a pass = seconds of a pass of T tokens a sequence / seconds of one token a sequence
    speed-up       = tokens of a pass / (cost of a pass + drafting over a step)

Plain decoding and decoding with drafts are timed in turns, from the first token to the last, so that prompts are left
out of both. `REPEATING` is a request whose answer repeats its prompt. Used by chapter 14 and `bytebill bench`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeVar

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.generation import generate
from bytebill.engine.speculative import Speculated, speculate
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import smollm2
from bytebill.engine.weights.smollm2 import tokenizer
from bytebill.measure.timing import Call, Timing, in_turns, times
from bytebill.serving.speculative import Drafter, PromptLookup

REPEATING = '''Repeat this code word for word.

def area(width, height):
    """The area of a rectangle."""
    if width < 0 or height < 0:
        raise ValueError("sides are not negative")
    return width * height


def perimeter(width, height):
    """The length of a rectangle's border."""
    if width < 0 or height < 0:
        raise ValueError("sides are not negative")
    return 2 * (width + height)
'''
_N_NEW, _N_DRAFTS = 64, 5
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Race:
    """The same texts decoded plainly and with drafts, in turns."""

    plain_s: tuple[float, ...]  # from the first token to the last
    drafted_s: tuple[float, ...]
    plain: list[list[int]]
    drafted: Speculated

    @property
    def gains(self) -> list[float]:
        """Speed-up of each round."""
        return [plain / drafted for plain, drafted in zip(self.plain_s, self.drafted_s, strict=True)]

    @property
    def pass_cost(self) -> float:
        """Mean seconds of a pass, its drafts included, over those of a plain step."""
        step_s = median(self.plain_s) / (len(self.plain[0]) - 1)
        return median(self.drafted_s) / self.drafted.n_steps / step_s


def chat_prompt(text: str) -> list[int]:
    """The tokens of a request as SmolLM2 was taught to read one."""
    return list(tokenizer().encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n").ids)


def race(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    drafter: Callable[[], Drafter],
    n_new_tokens: int,
    n_draft_tokens: int,
    rounds: int = 3,
) -> Race:
    """Decode with and without drafts, `rounds` times after a warm-up; each round has a drafter of its own."""
    plain = partial(generate, model, prompts, n_new_tokens=n_new_tokens)
    drafted = partial(speculate, model, prompts, n_new_tokens=n_new_tokens, n_draft_tokens=n_draft_tokens)
    taken = [(_timed(plain), _timed(partial(drafted, drafter=drafter()))) for _ in range(1 + len(times(rounds)))]
    plain_s, drafted_s = (tuple(pair[i][0] for pair in taken[1:]) for i in range(2))
    return Race(plain_s=plain_s, drafted_s=drafted_s, plain=taken[0][0][1], drafted=taken[0][1][1])


def time_passes(
    model: Transformer, device: Device, shapes: Sequence[tuple[int, int]], *, context_len: int, repeats: int = 5
) -> dict[tuple[int, int], Timing]:
    """Passes of (sequences, new tokens of each) over contexts of one length, timed in turns."""
    widest = {n_rows: max(n for rows, n in shapes if rows == n_rows) for n_rows, _ in shapes}
    caches = {n_rows: model.new_cache(n_rows, context_len + n) for n_rows, n in widest.items()}
    for cache in caches.values():
        cache.occupy(context_len)

    def call(n_rows: int, n_tokens: int) -> Call:
        tokens, cache = torch.zeros(n_rows, n_tokens, dtype=torch.long, device=model.device), caches[n_rows]

        def run() -> None:
            cache.set_lengths(context_len)
            model.forward(tokens, cache, last_only=False)

        return run

    return in_turns({shape: call(*shape) for shape in shapes}, {}, sync=synchronizer(device), repeats=repeats)


def lookup_gain(device: Device, *, dtype: str) -> dict[str, float | str | bool]:
    """Prompt lookup on a text that repeats its prompt: the speed-up, and the two terms that it is made of."""
    found = race(
        Transformer(smollm2(), dtype=dtype, device=device.torch),
        [chat_prompt(REPEATING)],
        drafter=PromptLookup,
        n_new_tokens=_N_NEW,
        n_draft_tokens=_N_DRAFTS,
    )
    return {
        "dtype": dtype,
        "speed_up": median(found.gains),
        "tokens_per_pass": (_N_NEW - 1) / found.drafted.n_steps,
        "pass_cost": found.pass_cost,
        "same_text": found.drafted.tokens == found.plain,
    }


def _timed(run: Callable[..., _T]) -> tuple[float, _T]:
    """Seconds from the first token to the last, and what was decoded."""
    stamps: list[float] = []
    result = run(on_step=lambda step: stamps.append(time.perf_counter()))
    return stamps[-1] - stamps[0], result
