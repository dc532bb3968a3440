"""What is kept of a run, by the engine's loop and by the simulator alike? Columns of numbers, not of objects.

    recorder.step(plan, events, start_s=, first_s=, end_s=, n_steps=n)

says that n equal steps have run, the first of which ended at `first_s`; it comes before the scheduler's next plan.
Times are seconds on one clock, which requests' arrivals are told in. Per request: arrival, start of its first step,
first token, last token. Gaps between a sequence's tokens are pooled as they come, (length, how many times): all
sequences that emitted together wait together, so a step adds one gap for all of them, a run of n equal steps adds
their mean n - 1 times more, and only who was preempted or just started has a gap of its own. Memory: eight numbers
a request, two a run.
"""

from bytebill.serving.metrics import Metrics
from bytebill.serving.plan import Events, Plan
from bytebill.serving.request import ServedSequence
from bytebill.serving.scheduler import Scheduler


class Recorder:
    """Takes steps as they are executed, and fills in `metrics`."""

    def __init__(self, scheduler: Scheduler, metrics: Metrics | None = None) -> None:
        """`metrics` to add to, if there are any already: several equal servers may share theirs."""
        self.metrics = metrics or Metrics(n_slots=scheduler.n_slots, n_kv_tokens=scheduler.n_kv_tokens)
        self._appends = [column.append for column in self.metrics.columns.values()]
        self._stalled: dict[int, float] = {}  # last emission of one that was preempted since
        self._groups: dict[float, int] = {}  # last emission: how many running sequences
        self._last_decode_s = -1.0

    def step(self, plan: Plan, events: Events, *, start_s: float, first_s: float, end_s: float, n_steps: int) -> None:
        """`n_steps` steps of a plan have run; only after the last did anything change."""
        m, n_emitting = self.metrics, plan.n_emitting_decodes
        if plan.preempted or plan.swaps:
            self._move(plan)
        if n_emitting:
            self._decoded(n_emitting, first_s, end_s, n_steps)
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if sequence.scheduled_s is None:
                sequence.scheduled_s = start_s
            m.n_computed_tokens += chunk.n_new_tokens
            m.n_padding_tokens += chunk.n_pad_tokens
            if chunk.n_logits:
                m.n_emitted_tokens += 1
                self._emitted(sequence, end_s)
        for sequence in events.started:
            sequence.first_token_s = end_s
        for sequence in events.finished:
            self._finished(sequence, end_s)
        if end_s > m.end_s:
            m.end_s = end_s
        self._weigh(plan, n_emitting, n_steps, end_s - start_s)

    def _gap(self, gap_s: float, weight: int) -> None:
        self.metrics.itl_s.append(gap_s)
        self.metrics.itl_weight.append(weight)

    def _move(self, plan: Plan) -> None:
        """Who lost its room waits alone from its last token on; who is swapped in waits with others again."""
        for sequence in plan.preempted:
            if sequence.joined_s is not None:  # else it had emitted nothing since it was let in
                last = self._stalled[sequence.request.id] = max(sequence.joined_s, self._last_decode_s)
                sequence.joined_s = None
                self._groups[last] -= 1
        for swap in plan.swaps:
            if not swap.out:
                last = swap.sequence.joined_s = self._stalled.pop(swap.sequence.request.id)
                self._groups[last] = self._groups.get(last, 0) + 1

    def _decoded(self, n_rows: int, first_s: float, end_s: float, n_steps: int) -> None:
        for last, n_waiting in self._groups.items():
            if n_waiting:
                self._gap(first_s - last, n_waiting)
        if n_steps > 1:
            self._gap((end_s - first_s) / (n_steps - 1), (n_steps - 1) * n_rows)
        self._groups = {end_s: n_rows}
        self._last_decode_s = end_s

    def _emitted(self, sequence: ServedSequence, end_s: float) -> None:
        """A prefill's token: the first, or the one after a preemption."""
        if (last := self._stalled.pop(sequence.request.id, None)) is not None:
            self._gap(end_s - last, 1)
        sequence.joined_s = end_s
        self._groups[end_s] = self._groups.get(end_s, 0) + 1

    def _finished(self, sequence: ServedSequence, end_s: float) -> None:
        r = sequence.request
        self._groups[end_s] -= 1
        times = (r.arrival_s, sequence.scheduled_s, sequence.first_token_s, end_s)
        row = (*times, r.id, r.n_input_tokens, r.n_output_tokens, sequence.n_preemptions)
        for append, value in zip(self._appends, row, strict=True):
            append(value)

    def _weigh(self, plan: Plan, n_emitting: int, n_steps: int, seconds: float) -> None:
        """Tokens, and time-weighted sums; in a run of equal steps the mean over its steps stands for that over time."""
        m = self.metrics
        m.n_steps += n_steps
        m.busy_s += seconds
        m.slot_s += plan.n_running * seconds
        m.kv_token_s += (plan.n_cached_tokens + 0.5 * n_emitting * (n_steps - 1)) * seconds
        m.n_emitted_tokens += n_emitting * n_steps
        m.n_computed_tokens += plan.n_decodes * n_steps
        m.n_padding_tokens += plan.n_padding * n_steps
