"""Who ran in which step? A schedule, kept step by step, compared, printed, and laid out by slots.

    schedule.planned(plan)                  with each plan, before the scheduler advances
    schedule.ran(events, ...)               after it has run, before the next plan

Two executions of one scheduler agree if their `rows` are equal: times are not part of a row. A `SlotUse` says which
request held which slot from when to when, and whether it computed its prompt, a token, or padding; each takes
the lowest slot that is free. Costs O(batch) a step, so it is for schedules that one looks at.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise

from bytebill.serving.plan import Events, Plan
from bytebill.serving.request import State

NO_PLAN = Plan()


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledStep:
    """One step: request ids, and for prefills the cached and the new tokens."""

    prefills: tuple[tuple[int, int, int], ...] = ()
    decodes: tuple[tuple[int, int], ...] = ()  # id, cached tokens before the step
    padding: tuple[int, ...] = ()
    preempted: tuple[int, ...] = ()
    swapped_out: tuple[int, ...] = ()
    swapped_in: tuple[int, ...] = ()
    finished: tuple[int, ...] = ()

    @property
    def load(self) -> tuple[int, int]:
        """Rows that decode, padding among them, and tokens of prompts.

        >>> ScheduledStep(prefills=((7, 0, 16),), decodes=((5, 20),), padding=(6,)).load
        (2, 16)
        """
        return len(self.decodes) + len(self.padding), sum(n_new for _, _, n_new in self.prefills)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotUse:
    """A slot's use: `kind` is prefill, decode, idle (holds its place, computes nothing) or padding."""

    slot: int
    id: int
    kind: str
    start_step: int
    end_step: int
    start_s: float
    end_s: float


@dataclass(eq=False, slots=True)
class Schedule:
    """Rows and times of the steps of a run."""

    rows: list[ScheduledStep] = field(default_factory=list)
    begins_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)
    _held: tuple[Plan, tuple[tuple[int, int, bool], ...]] = (NO_PLAN, ())

    def planned(self, plan: Plan) -> None:
        """Call with each plan before the scheduler advances: decodes are read off as they stand."""
        self._held = plan, tuple((s.request.id, n, s.state is State.FINISHED) for s, n in plan.live_contexts)

    def ran(
        self, events: Events, *, start_s: float, n_steps: int, n_before: int, end_s: Callable[[int], float]
    ) -> None:
        """The plan has run n times, after `n_before` equal steps; `end_s(i)` is when the i-th of them all ended."""
        plan, decodes = self._held
        for i in range(n_steps):
            moved = plan if i == 0 else NO_PLAN
            self.rows.append(
                ScheduledStep(
                    prefills=tuple((c.sequence.request.id, c.context_len, c.n_new_tokens) for c in plan.chunks),
                    decodes=tuple((id, n + i) for id, n, done in decodes if not done),
                    padding=tuple(id for id, _, done in decodes if done),
                    preempted=tuple(s.request.id for s in moved.preempted),
                    swapped_out=tuple(s.sequence.request.id for s in moved.swaps if s.out),
                    swapped_in=tuple(s.sequence.request.id for s in moved.swaps if not s.out),
                    finished=tuple(s.request.id for s in events.finished) if i == n_steps - 1 else (),
                )
            )
            self.begins_s.append(start_s if i == 0 else self.ends_s[-1])
            self.ends_s.append(end_s(n_before + i + 1))

    def spans(self) -> list[SlotUse]:
        """Which request held which slot, neighbouring steps of one kind joined."""
        slots: dict[int, int] = {}  # by request id
        begun: dict[tuple[int, int, str], int] = {}  # (slot, request id, kind): step
        ends: dict[tuple[tuple[int, int, str], int], int] = {}  # the same and its first step: the step after its last
        for i, (row, after) in enumerate(pairwise((*self.rows, ScheduledStep()))):
            for id in row.preempted:
                slots.pop(id)
            kinds = dict.fromkeys(slots, "idle") | {id: "decode" for id, _ in row.decodes}
            kinds |= dict.fromkeys(row.padding, "padding") | {id: "prefill" for id, _, _ in row.prefills}
            for id, kind in kinds.items():
                if id not in slots:
                    slots[id] = next(slot for slot in count() if slot not in slots.values())
                use = (slots[id], id, kind)
                if use not in begun or ends[use, begun[use]] < i:
                    begun[use] = i
                ends[use, begun[use]] = i + 1
            for id in {*row.finished, *row.padding} - {*after.padding}:
                slots.pop(id, None)
        return [
            SlotUse(
                slot=slot,
                id=id,
                kind=kind,
                start_step=first,
                end_step=end,
                start_s=self.begins_s[first],
                end_s=self.ends_s[end - 1],
            )
            for ((slot, id, kind), first), end in ends.items()
        ]

    def idle_steps(self) -> list[int]:
        """Of each slot that is handed on: steps from a request's last token to the next request's first step there."""
        ends: dict[int, tuple[int, int]] = {}  # by slot: who was there last, and the step after its last
        gaps = []
        for span in sorted(self.spans(), key=lambda span: (span.start_step, span.slot)):
            if span.kind in ("prefill", "decode"):
                id, end = ends.get(span.slot, (span.id, span.start_step))
                if id != span.id:
                    gaps.append(span.start_step - end)
                ends[span.slot] = span.id, span.end_step
        return gaps

    def text(self, *, width: int = 100) -> str:
        """A line a slot and a character a step: capitals compute a prompt, small letters decode, dots are padding.

        Requests are lettered by id: 0 is A, 26 is A again.
        """
        spans = self.spans()
        lines = [[" "] * min(width, len(self.rows)) for _ in range(1 + max((span.slot for span in spans), default=-1))]
        for span in spans:
            letter = chr(ord("a") + span.id % 26)
            mark = {"prefill": letter.upper(), "decode": letter, "idle": "-", "padding": "."}[span.kind]
            for step in range(span.start_step, min(span.end_step, width)):
                lines[span.slot][step] = mark
        return "\n".join("".join(line).rstrip() for line in lines)
