"""What if a batch, once started, may not change? Static batching, and dynamic batching with a time window.

A batch of prompts is padded to its longest, decodes as often as its longest answer asks, and holds every slot to
its end:

    steps = 1 + max(n_output_tokens) - 1       one prefill, then decodes; rows that are done compute padding
    useful share of the slots' tokens = mean(n_output_tokens) / max(n_output_tokens)

A user has its last token when it is emitted, not when the batch ends. `pad_input_to` and `pad_output_to` pad to a
given length instead, as a server does that knows only the longest it may ever see. Without a window it waits for a full
batch; with one (dynamic batching), only until `window_s` have passed since the first in line arrived.
"""

from itertools import islice

from bytebill.errors import require
from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.plan import NOTHING, Events, Plan, PrefillChunk
from bytebill.serving.request import Request, ServedSequence, State
from bytebill.serving.scheduler import NEVER_S, Scheduler


class StaticScheduler(Scheduler):
    """Runs batch after batch; each starts when `batch_size` wait, or a window ends, and ends with its longest."""

    def __init__(
        self,
        batch_size: int,
        *,
        window_s: float = NEVER_S,
        pad_input_to: int | None = None,
        pad_output_to: int | None = None,
        allocator: Allocator | None = None,
    ) -> None:
        """With an allocator, each row's padded length is reserved at the start; a batch shrinks to what fits."""
        require(window_s >= 0, f"A window is a time, not {window_s}.")
        super().__init__(allocator, n_slots=batch_size)
        self.window_s = window_s
        self._pad_input_to, self._pad_output_to = pad_input_to or 1, pad_output_to or 1
        self._batch: list[ServedSequence] = []
        self._running: dict[int, ServedSequence] = {}  # rows still owed tokens
        self._n_input = self._n_output = 0  # padded lengths of the batch
        self._n_done = 0  # tokens that every row has computed after its prompt's last: 1 after the prefill

    @property
    def n_running(self) -> int:
        return len(self._running)

    @property
    def wakes_at_s(self) -> float:
        """When the first in line has waited for the whole window."""
        return self._waiting[0].request.arrival_s + self.window_s if self._waiting else NEVER_S

    def add(self, request: Request) -> ServedSequence:
        """A request has arrived; where answers are padded to a length, it must hold them."""
        n, padded = request.n_output_tokens, self._pad_output_to
        require(
            padded <= 1 or n <= padded,
            f"Request {request.id} wants {n} tokens, and batches are padded to {padded}; set pad_output_to higher.",
        )
        return super().add(request)

    def plan(self, now_s: float) -> Plan | None:
        self._no_plan_is_open()
        if not self._batch:
            if not self._waiting or (len(self._waiting) < self.n_slots and now_s < self.wakes_at_s):
                return None
            self._form()
        self._plan = self._decode() if self._n_done else self._prefill()
        return self._plan

    def advance(self, n_steps: int = 1) -> Events:
        started = tuple(self._batch) if self._close_plan(n_steps).chunks else ()
        self._n_done += n_steps
        for sequence in started:
            sequence.state, sequence.n_emitted = State.DECODING, 1
        finished = tuple(s for s in self._running.values() if s.request.n_output_tokens <= self._n_done)
        for sequence in finished:
            request = self._running.pop(sequence.request.id).request
            sequence.n_emitted, sequence.n_cached = request.n_output_tokens, request.n_cached_tokens_at_end
            sequence.state = State.FINISHED
        if self._n_done >= self._n_output:
            if self.allocator is not None:
                for sequence in self._batch:
                    self.allocator.free(sequence.request.id)
            self._batch, self._running = [], {}
        return Events(started=started, finished=finished) if started or finished else NOTHING

    def lengths(self) -> dict[int, tuple[int, int]]:
        n_more = max(0, self._n_done - 1)
        return {
            s.request.id: (
                min(s.request.n_input_tokens * (self._n_done > 0) + n_more, s.request.n_cached_tokens_at_end),
                s.request.n_cached_tokens_at_end,
            )
            for s in self._batch
        }

    def _form(self) -> None:
        """The next batch: as many as there are slots, or as many as fit in the pool when padded."""
        rows = list(islice(self._waiting, self.n_slots))
        while not self._reserve(rows):
            rows.pop()
            padded = f"{self._n_input} + {self._n_output} tokens does not fit in an empty pool; pad to less."
            require(bool(rows), f"Request {self._waiting[0].request.id} padded to {padded}")
        for sequence in rows:
            self._waiting.popleft()
            sequence.state = State.PREFILLING
        self._batch, self._n_done = rows, 0
        self._running = {s.request.id: s for s in rows}

    def _reserve(self, rows: list[ServedSequence]) -> bool:
        """Room for all rows, padded to the longest, or for none."""
        self._n_input = max(self._pad_input_to, *(s.request.n_input_tokens for s in rows))
        self._n_output = max(self._pad_output_to, *(s.request.n_output_tokens for s in rows))
        if self.allocator is None:
            return True
        for i, sequence in enumerate(rows):
            if self.allocator.allocate(sequence.request, self._n_input + self._n_output - 1) is None:
                for other in rows[:i]:
                    self.allocator.free(other.request.id)
                return False
        return True

    def _prefill(self) -> Plan:
        n = self._n_input
        chunks = (
            PrefillChunk(sequence=s, context_len=0, n_new_tokens=n, n_pad_tokens=n - s.request.n_input_tokens)
            for s in self._batch
        )
        return Plan(chunks=tuple(chunks), step=self._step, n_running=len(self._batch))

    def _decode(self) -> Plan:
        n_rows, n_running, n_more = len(self._batch), len(self._running), self._n_done - 1
        n_until = min((s.request.n_output_tokens for s in self._running.values()), default=self._n_output)
        return Plan(
            n_decodes=n_rows,
            n_context_tokens=n_rows * (self._n_input + n_more),
            n_repeats=n_until - self._n_done,
            step=self._step,
            n_padding=n_rows - n_running,
            n_running=n_running,
            n_cached_tokens=sum(s.request.n_input_tokens + n_more for s in self._running.values()),
            live_contexts=tuple((sequence, self._n_input + n_more) for sequence in self._batch),
        )
