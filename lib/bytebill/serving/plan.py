"""What runs next? A plan: one step's sequences and tokens, and for how many steps nothing about it changes.

A scheduler makes plans, the engine's runner and the simulator's clock execute them: the only thing that passes
between deciding and doing. Between two events every decoding sequence gains one token a step, so a plan says how
often it may be repeated: `n_repeats` steps, the i-th with i more cached tokens in each decoding sequence. The
engine runs them one by one; the simulator takes them at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from bytebill.roofline.load import Chunk, Load
from bytebill.serving.request import ServedSequence


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # to be left alone; freezing triples what making one takes
class PrefillChunk(Chunk):
    """Part of a prompt, or all of it: `n_new_tokens` after `context_len` cached ones; the last chunk emits.

    The first `n_pad_tokens` of the new ones are padding in front of the prompt: computed, cached, never attended to.
    """

    sequence: ServedSequence
    n_pad_tokens: int = 0

    @property
    def emits(self) -> bool:
        """Whether the prompt is complete with it, so that the sequence gets its next token."""
        return self.n_logits > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """Blocks of one sequence that move between the device and the host before the step runs."""

    sequence: ServedSequence
    device_blocks: tuple[int, ...]
    host_blocks: tuple[int, ...]
    out: bool  # from the device to the host


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # to be left alone; freezing triples what making one takes
class Plan(Load):
    """One step, repeatable: a load of the first repeat, and whose it is.

    Decoding sequences get one token each. `live_contexts` walks over (sequence, cached tokens), in order of joining and
    with the padding rows of a static batch (they compute and emit nothing: `n_padding` of them, those whose state is
    finished). It is a view of the scheduler's own books, not a copy: read it before the scheduler advances.
    """

    chunks: tuple[PrefillChunk, ...] = ()
    swaps: tuple[Swap, ...] = ()
    preempted: tuple[ServedSequence, ...] = ()  # lost their room when this plan was made
    n_repeats: int = 1
    step: int = 0  # of all steps of this scheduler, counted from 0
    n_padding: int = 0
    n_running: int = 0  # sequences that hold a slot and are owed tokens, whether or not they work in this step
    n_cached_tokens: int = 0  # of all running sequences before the step, padding not counted
    live_contexts: Iterable[tuple[ServedSequence, int]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.chunks and self.n_repeats != 1:
            raise ValueError("a plan with prefill chunks is one step: its chunks change")

    @property
    def n_emitting_decodes(self) -> int:
        """Decoding sequences that emit a token: all but padding rows."""
        return self.n_decodes - self.n_padding

    def continues(self, before: Self, *, n_steps: int) -> bool:
        """Whether this plan is nothing but `before` after so many of its steps: one run of equal steps.

        Says so from what the two plans hold, not from `n_repeats`.
        """
        return (
            self.n_decodes == before.n_decodes
            and self.n_context_tokens == before.n_context_tokens + n_steps * before.n_decodes
            and self.n_running == before.n_running
            and self.n_padding == before.n_padding
            and not (self.chunks or before.chunks or self.swaps or before.swaps or self.preempted)
        )


@dataclass(slots=True, unsafe_hash=True)  # to be left alone; freezing triples what making one takes
class Events:
    """What changed when a plan had run: who emitted a first token, who finished, in order."""

    started: tuple[ServedSequence, ...] = ()
    finished: tuple[ServedSequence, ...] = ()


NOTHING = Events()
