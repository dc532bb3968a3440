"""What runs next? A plan: one step's sequences and tokens, and for how many steps nothing about it changes.

A scheduler makes plans, the engine's runner and the simulator's clock execute them: the only thing that passes
between deciding and doing. Between two events every decoding sequence gains one token a step, so a plan says how
often it may be repeated: `n_repeats` steps, the i-th with i more cached tokens in each decoding sequence. The
engine runs them one by one; the simulator takes them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bytebill.serving.request import Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefillChunk:
    """Part of a prompt, or all of it: `n_new_tokens` after `context_len` cached ones; the last chunk emits."""

    sequence: Sequence
    context_len: int
    n_new_tokens: int
    emits: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """Blocks of one sequence that move between the device and the host before the step runs."""

    sequence: Sequence
    device_blocks: tuple[int, ...]
    host_blocks: tuple[int, ...]
    out: bool  # from the device to the host


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One step, repeatable. Totals are of the first repeat.

    `decodes` are the sequences that get one token each, padding rows of a static batch included (they compute and
    emit nothing); `decode_contexts` walks over (sequence, context length) as they stand before the step.
    """

    n_decodes: int
    n_context_tokens: int  # sum of the decoding sequences' cached tokens, padding included
    prefills: tuple[PrefillChunk, ...] = ()
    swaps: tuple[Swap, ...] = ()
    n_repeats: int = 1
    decodes: Iterable[tuple[Sequence, int]] = field(default=(), repr=False)

    @property
    def n_new_tokens(self) -> int:
        """Tokens the first repeat computes."""
        return self.n_decodes + sum(chunk.n_new_tokens for chunk in self.prefills)

    def decode_contexts(self) -> Iterator[tuple[Sequence, int]]:
        """Each decoding sequence with its cached tokens, in order of joining."""
        return iter(self.decodes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a plan changed: who emitted a first token, who finished, in order."""

    started: tuple[Sequence, ...] = ()
    finished: tuple[Sequence, ...] = ()
