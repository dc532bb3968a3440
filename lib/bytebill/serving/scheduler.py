"""Who runs next? What every scheduler promises, whoever executes its plans: an engine or a simulator's clock.

    sequence = scheduler.add(request)     at a boundary between steps; a request that can never fit is refused here
    plan = scheduler.plan(now_s)          the next step; None: nothing to do now
    events = scheduler.advance(n)         the plan has run n times (1 <= n <= plan.n_repeats): who started, who finished

`plan` and `advance` take turns. After a plan of None, ask again when a request arrives or at `wakes_at_s`,
whichever is first. Where that is infinite and no one else will come, `plan(math.inf)` says so, and a batch that is
not full runs as it is. Only schedulers that wait for a full batch read `now_s`. Blocks that a plan's first step writes
to are given out when the plan is made. Knows no tensor, and no time but what it is told.
"""

import math
from abc import ABC, abstractmethod
from collections import deque

from bytebill.errors import BytebillError, require
from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.plan import Events, Plan
from bytebill.serving.request import Request, ServedSequence, State

NEVER_S = math.inf


class Scheduler(ABC):
    """Decides what runs in each step: first come, first served."""

    def __init__(self, allocator: Allocator | None, *, n_slots: int) -> None:
        """`allocator` counts the cache; None: it is not counted. `n_slots` is the most sequences that run at once."""
        require(n_slots >= 1, f"A batch has at least one sequence, not {n_slots}.")
        self.allocator, self.n_slots = allocator, n_slots
        self._waiting: deque[ServedSequence] = deque()
        self._plan: Plan | None = None  # made and not advanced
        self._step = 0

    @property
    def n_kv_tokens(self) -> int | None:
        """Tokens its cache can hold; None where it is not counted."""
        return None if self.allocator is None else self.allocator.n_total * self.allocator.block_size_tokens

    @property
    def n_waiting(self) -> int:
        """Sequences that are not running: queued, preempted, swapped out."""
        return len(self._waiting)

    @property
    @abstractmethod
    def n_running(self) -> int:
        """Sequences that hold a slot and are owed tokens."""

    @property
    def wakes_at_s(self) -> float:
        """When to ask again after a plan of None, if nobody arrives before."""
        return NEVER_S

    def add(self, request: Request) -> ServedSequence:
        """A request has arrived: it waits, or is refused at once with a reason."""
        sequence = ServedSequence(request, reason=self.refusal(request))
        if sequence.reason is None:
            self._waiting.append(sequence)
        else:
            sequence.state = State.REFUSED
        return sequence

    def refusal(self, request: Request) -> str | None:
        """Why this request can never be served; None if it can."""
        return None if self.allocator is None else self.allocator.refusal(request)

    @abstractmethod
    def plan(self, now_s: float) -> Plan | None:
        """What to run next."""

    @abstractmethod
    def advance(self, n_steps: int = 1) -> Events:
        """The plan has run so many times."""

    @abstractmethod
    def lengths(self) -> dict[int, tuple[int, int]]:
        """Tokens cached now and at the end, of each running sequence by its request's id."""

    def _no_plan_is_open(self) -> None:
        if self._plan is not None:
            raise BytebillError("The last plan has not been advanced.")

    def _close_plan(self, n_steps: int) -> Plan:
        """The open plan, which has run so many times."""
        plan = self._plan
        if plan is None or not 1 <= n_steps <= plan.n_repeats:
            raise BytebillError(f"There is no plan to advance by {n_steps} steps.")
        self._plan = None
        self._step += n_steps
        return plan
