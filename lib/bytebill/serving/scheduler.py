"""Who runs next? What every scheduler promises, whoever executes its plans: an engine or a simulator's clock.

    sequence = scheduler.add(request)     at a boundary between steps; a request that can never fit is refused here
    plan = scheduler.plan(now_s)          the next step; None: nothing to do now
    outcome = scheduler.advance(n)        the plan has run n times (1 <= n <= plan.n_repeats): who started, who finished

`plan` and `advance` take turns. After a plan of None, ask again when a request arrives or at `wakes_at_s`,
whichever is first; where that is infinite and no one else will come, `plan(math.inf)` says so, and whoever waits for
company is run without it. Blocks that a plan's first step writes to are given out when the plan is made. Knows no
tensor, and no time but what it is told.
"""

from __future__ import annotations

import math
from typing import Protocol

from bytebill.serving.memory.paged import Allocator
from bytebill.serving.plan import Outcome, Plan
from bytebill.serving.request import Request, Sequence, State


class Scheduler(Protocol):
    """Decides what runs in each step."""

    @property
    def n_slots(self) -> int:
        """Most sequences that run at once."""

    @property
    def n_kv_tokens(self) -> int | None:
        """Tokens its cache can hold; None where it is not counted."""

    @property
    def n_waiting(self) -> int:
        """Sequences that are not running: queued, preempted, swapped out."""

    @property
    def n_running(self) -> int:
        """Sequences that hold a slot and are owed tokens."""

    @property
    def wakes_at_s(self) -> float:
        """When to ask again after a plan of None, if nobody arrives before."""

    def add(self, request: Request) -> Sequence:
        """A request has arrived: it waits, or is refused at once with a reason."""

    def plan(self, now_s: float) -> Plan | None:
        """What to run next."""

    def advance(self, n_steps: int = 1) -> Outcome:
        """The plan has run so many times."""

    def lengths(self) -> dict[int, tuple[int, int]]:
        """Tokens cached now and at the end, of each running sequence by its request's id."""


def refused(request: Request, allocator: Allocator | None) -> Sequence:
    """A request's sequence, refused with a reason if its cache can never fit."""
    sequence = Sequence(request)
    reason = allocator.refusal(request) if allocator is not None else None
    if reason is not None:
        sequence.state, sequence.reason = State.REFUSED, reason
    return sequence


def kv_tokens(allocator: Allocator | None) -> int | None:
    """Tokens that a pool's blocks can hold."""
    return None if allocator is None else allocator.n_total * allocator.block_size_tokens


NEVER_S = math.inf
