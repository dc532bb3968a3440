"""What if every device attends to its own users, and all share the experts? Ranks in lock step.

    step time = everything but attention, of all ranks' tokens together + attention of the slowest rank

Each rank has its own scheduler, its own share of the pool, and one device's rate for its attention; slots and budget of
the policy are divided evenly. A request is dealt to the rank with the fewest outstanding. A clock that pools all ranks
lets fast ones lend to slow ones, so it is too fast by the imbalance. The slowest rank may change as contexts grow: its
time is the upper envelope of lines, straight until a window is full. Ignores that the projections around attention wait
for the slowest rank as well, and that a rank without work still takes part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require
from bytebill.roofline.load import Load
from bytebill.serving import Policy, Request, Scheduler
from bytebill.serving.plan import NOTHING, Events, Plan
from bytebill.serving.request import ServedSequence
from bytebill.sim.clock import Clock, Segment


@dataclass(kw_only=True, slots=True, unsafe_hash=True)  # to be left alone; freezing triples what making one takes
class RankPlan(Plan):
    """One step of all ranks; `ranks` are the plans of those that do something."""

    ranks: tuple[Plan, ...] = ()


class LockStep(Scheduler):
    """Schedulers that step together."""

    def __init__(self, ranks: Sequence[Scheduler]) -> None:
        super().__init__(None, n_slots=sum(rank.n_slots for rank in ranks))
        self._ranks = list(ranks)
        self._outstanding = [0] * len(ranks)
        self._rank_of: dict[int, int] = {}
        self._plans: list[tuple[Scheduler, Plan]] = []

    @property
    def n_kv_tokens(self) -> int | None:
        return sum(rank.n_kv_tokens or 0 for rank in self._ranks)

    @property
    def n_waiting(self) -> int:
        return sum(rank.n_waiting for rank in self._ranks)

    @property
    def n_running(self) -> int:
        return sum(rank.n_running for rank in self._ranks)

    def add(self, request: Request) -> ServedSequence:
        """To the rank with the fewest outstanding, the first of equals."""
        place = min(range(len(self._ranks)), key=self._outstanding.__getitem__)
        sequence = self._ranks[place].add(request)
        if sequence.reason is None:
            self._outstanding[place] += 1
            self._rank_of[request.id] = place
        return sequence

    def refusal(self, request: Request) -> str | None:
        return self._ranks[0].refusal(request)

    def plan(self, now_s: float) -> Plan | None:
        self._no_plan_is_open()
        found = [(rank, rank.plan(now_s)) for rank in self._ranks]
        self._plans = [(rank, plan) for rank, plan in found if plan is not None]
        if not self._plans:
            return None
        plans = tuple(plan for _, plan in self._plans)
        self._plan = RankPlan(
            n_decodes=sum(plan.n_decodes for plan in plans),
            n_context_tokens=sum(plan.n_context_tokens for plan in plans),
            chunks=tuple(chunk for plan in plans for chunk in plan.chunks),
            swaps=tuple(swap for plan in plans for swap in plan.swaps),
            n_swapped_blocks=sum(plan.n_swapped_blocks for plan in plans),
            preempted=tuple(sequence for plan in plans for sequence in plan.preempted),
            n_repeats=min(plan.n_repeats for plan in plans),
            step=self._step,
            n_running=sum(plan.n_running for plan in plans),
            n_cached_tokens=sum(plan.n_cached_tokens for plan in plans),
            live_contexts=[context for plan in plans for context in plan.live_contexts],
            ranks=plans,
        )
        return self._plan

    def advance(self, n_steps: int = 1) -> Events:
        self._close_plan(n_steps)
        events = [rank.advance(n_steps) for rank, _ in self._plans]
        started = tuple(sequence for each in events for sequence in each.started)
        finished = tuple(sequence for each in events for sequence in each.finished)
        for sequence in finished:
            self._outstanding[self._rank_of.pop(sequence.request.id)] -= 1
        return Events(started=started, finished=finished) if started or finished else NOTHING

    def lengths(self) -> dict[int, tuple[int, int]]:
        return {id: lengths for rank in self._ranks for id, lengths in rank.lengths().items()}


class RankClock(Clock):
    """The time of steps in which every rank attends to its own users."""

    def segment(self, load: Load) -> Segment:
        if not isinstance(load, RankPlan):
            raise BytebillError("Ranks in lock step run plans that tell each rank's part.")
        rest_s = self._rest_s(load.n_new_tokens, load.n_logits, load.n_sequences)
        once_s = self._swap_s(load) if load.n_swapped_blocks else 0.0
        n = self.deployment.n_devices
        if load.chunks:
            return Segment(rest_s + n * max(map(self._rank_s, load.ranks)), 0.0, once_s)
        ranks = [self._pieces(0.0, 0.0, plan.n_decodes, plan.n_context_tokens) for plan in load.ranks]
        return _envelope(ranks, n, rest_s, once_s)

    def _rank_s(self, plan: Plan) -> float:
        """Attention of one rank's step, if all devices helped it."""
        decodes_s = self._decode_s(plan.n_decodes, plan.n_context_tokens) if plan.n_decodes else 0.0
        return decodes_s + (self._spread_s(Load(chunks=plan.chunks)) if plan.chunks else 0.0)


def _envelope(ranks: list[Segment], n_ranks: int, rest_s: float, once_s: float) -> Segment:
    """Steps that each take so many times the longest of the ranks', and the rest.

    >>> _envelope([Segment(3.0, 1.0), Segment(1.0, 2.0)], 1, 0.0, 0.0).seconds(5)    # 3 + 4 + 5 + 7 + 9
    28.0
    """
    now, growth = max((rank.first_s, rank.growth_s) for rank in ranks)
    crossings = [floor((now - r.first_s) / (r.growth_s - growth)) + 1 for r in ranks if r.growth_s > growth]
    n = min([*crossings, *(rank.n_growing for rank in ranks)])
    segment = Segment(rest_s + n_ranks * now, n_ranks * growth, once_s, n)
    if n < inf:
        segment.then = _envelope([_after(rank, n) for rank in ranks], n_ranks, rest_s, 0.0)
    return segment


def _after(rank: Segment, n: float) -> Segment:
    """What is left of a run after n steps of its first piece."""
    if n == rank.n_growing and rank.then is not None:
        return rank.then
    return Segment(rank.first_s + n * rank.growth_s, rank.growth_s, 0.0, rank.n_growing - n, rank.then)


def rank_policy(policy: Policy, n_ranks: int) -> Policy:
    """A rank's share of a policy's slots, budget and host blocks."""
    require(policy.kind in ("continuous", "chunked"), f"Ranks in lock step cannot run a {policy.kind} batch each.")
    budget = None if policy.token_budget is None else ceil(policy.token_budget / n_ranks)
    n_slots = ceil(policy.n_slots / n_ranks)
    return replace(policy, n_slots=n_slots, token_budget=budget, n_host_blocks=policy.n_host_blocks // n_ranks)


def lock_step(deployment: Deployment, policy: Policy) -> LockStep:
    """A scheduler for each device of a deployment, over its share of the pool."""
    n_ranks = deployment.n_devices
    n_blocks = deployment.n_blocks(policy.block_size_tokens) // n_ranks
    return LockStep([rank_policy(policy, n_ranks).scheduler(n_blocks, numbered=False) for _ in range(n_ranks)])
