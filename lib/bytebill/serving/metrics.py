"""How good was the service? Numbers of a run, from the columns that a `Recorder` kept.

    TTFT     = first token - arrival              queueing included
    TPOT     = (E2E - TTFT) / (n_output - 1)      per request; nan where only one token was asked for
    ITL      = every gap between two tokens of one sequence, pooled over all: token-weighted
    E2E      = last token - arrival
    queueing = start of the first step it took part in - arrival
    throughput = tokens / (end of the last step - first arrival)   output, and total = input + output, apart
    in system  = sum of E2E / span, in queue = sum of queueing / span                   means over time by Little's law
    slots      = tokens emitted / (slots * steps)                   of static batches: mean answer / mean of the longest

A quantile is the smallest value that at least a share q of the weight does not exceed. Utilizations of memory are means
over the time that the device was busy. In a run of equal steps each ITL counts as the run's mean.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from bytebill.economics.ranges import quantile

_COLUMNS = dict.fromkeys(("arrival_s", "scheduled_s", "first_token_s", "finish_s"), "d") | dict.fromkeys(
    ("id", "n_input_tokens", "n_output_tokens", "n_preemptions"), "q"
)


@dataclass(kw_only=True)
class Metrics:
    """What a run comes to, filled in by its recorder. Columns hold an entry for each request, in order of finishing."""

    n_slots: int
    n_kv_tokens: int | None
    columns: dict[str, array] = field(default_factory=lambda: {name: array(code) for name, code in _COLUMNS.items()})
    itl_s: array = field(default_factory=lambda: array("d"))
    itl_weight: array = field(default_factory=lambda: array("q"))  # how many gaps had that length
    refusals: list[tuple[int, str]] = field(default_factory=list)
    end_s: float = 0.0  # of the last step
    busy_s: float = 0.0
    slot_s: float = 0.0
    kv_token_s: float = 0.0
    n_steps: int = 0
    n_emitted_tokens: int = 0
    n_computed_tokens: int = 0
    n_padding_tokens: int = 0

    @property
    def n_finished(self) -> int:
        return len(self.columns["id"])

    @property
    def n_input_tokens(self) -> int:
        return sum(self.columns["n_input_tokens"])

    @property
    def n_output_tokens(self) -> int:
        return sum(self.columns["n_output_tokens"])

    @property
    def n_preemptions(self) -> int:
        return sum(self.columns["n_preemptions"])

    @property
    def span_s(self) -> float:
        """From the first arrival to the end of the last step, padding included."""
        return self.end_s - min(self.columns["arrival_s"]) if self.n_finished else 0.0

    @property
    def ttft_s(self) -> list[float]:
        return self._between("arrival_s", "first_token_s")

    @property
    def e2e_latency_s(self) -> list[float]:
        return self._between("arrival_s", "finish_s")

    @property
    def queueing_s(self) -> list[float]:
        return self._between("arrival_s", "scheduled_s")

    @property
    def tpot_s(self) -> list[float]:
        decoding_s = zip(self._between("first_token_s", "finish_s"), self.columns["n_output_tokens"], strict=True)
        return [seconds / (n - 1) if n > 1 else math.nan for seconds, n in decoding_s]

    @property
    def output_tokens_per_s(self) -> float:
        return self._per_s(self.n_output_tokens)

    @property
    def total_tokens_per_s(self) -> float:
        return self._per_s(self.n_input_tokens + self.n_output_tokens)

    @property
    def requests_per_s(self) -> float:
        return self._per_s(self.n_finished)

    @property
    def mean_running(self) -> float:
        """Sequences that hold a slot and are owed tokens, over busy time."""
        return self.slot_s / self.busy_s if self.busy_s else 0.0

    @property
    def mean_in_system(self) -> float:
        """Requests that have arrived and are not answered, idle times included: rate * mean E2E."""
        return self._per_s(sum(self.e2e_latency_s))

    @property
    def mean_in_queue(self) -> float:
        """Requests that have arrived and not begun, idle times included: rate * mean queueing."""
        return self._per_s(sum(self.queueing_s))

    @property
    def slot_utilization(self) -> float:
        """Share of token slots, one a slot and step, in which a token was emitted."""
        return self.n_emitted_tokens / (self.n_slots * self.n_steps) if self.n_steps else 0.0

    @property
    def kv_utilization(self) -> float:
        """Share of the pool's slots that hold a token of a running sequence; nan without a pool."""
        if self.n_kv_tokens is None or not self.busy_s:
            return math.nan
        return self.kv_token_s / (self.n_kv_tokens * self.busy_s)

    def itl_quantile_s(self, q: float) -> float:
        return quantile(self.itl_s, q, weights=self.itl_weight)

    @property
    def itl_mean_s(self) -> float:
        return fmean(self.itl_s, self.itl_weight) if any(self.itl_weight) else math.nan

    def _between(self, start: str, end: str) -> list[float]:
        return [b - a for a, b in zip(self.columns[start], self.columns[end], strict=True)]

    def _per_s(self, n: float) -> float:
        return n / self.span_s if self.span_s else 0.0


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are not nan.

    >>> mean([1.0, math.nan, 3.0])
    2.0
    """
    known = [value for value in values if value == value]
    return fmean(known) if known else math.nan
