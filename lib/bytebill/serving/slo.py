"""How much may arrive before answers are late? Limits on latency, the share that keeps them, and the highest rate.

    met       = for every limit: quantile(attainment) of its latency <= limit       each by itself: MLPerf, the article
    share     = requests that keep TTFT, TPOT and E2E, all three / requests asked   refused ones were asked too
    goodput   = requests that keep all three / span    [requests/s]                 inference-perf, vLLM's --goodput
              = their output tokens / span             [tokens/s]                   the article's
              = the highest rate at which share >= attainment [requests/s]          DistServe's, told per device

So "goodput" names three things: the first two say what one load got, the last is a limit on the load, found by
`max_rate_at_slo(..., jointly=True)`. A joint share is never more than the least of the single ones, so a rate that is
met limit by limit may miss jointly. Gaps are pooled over requests and belong to no one of them, so an ITL limit counts
in `met` alone. Sources: OSDI 2024, arXiv:2401.09670 (DistServe); kubernetes-sigs/inference-perf; mlcommons/inference,
loadgen/mlperf.conf.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean, stdev

from bytebill.economics.ranges import quantile, student_t
from bytebill.errors import require
from bytebill.serving.metrics import Metrics

LIMITS = ("ttft", "tpot", "itl", "e2e")
_MOST_DOUBLINGS = 40


@dataclass(frozen=True, kw_only=True)
class Slo:
    """Limits on latency [s], and the share of requests that is to keep them; an infinite limit is none.

    >>> Slo(ttft_s=0.45, tpot_s=0.04).limits    # Llama-2-70B interactive in MLPerf
    {'ttft': 0.45, 'tpot': 0.04}
    """

    ttft_s: float = math.inf
    tpot_s: float = math.inf
    itl_s: float = math.inf
    e2e_s: float = math.inf
    attainment: float = 0.99

    def __post_init__(self) -> None:
        for name in LIMITS:
            limit_s = getattr(self, f"{name}_s")
            require(limit_s > 0, f"A limit on {name.upper()} is a time above zero, not {limit_s} s.")
        require(0 < self.attainment <= 1, f"An attainment is a share above 0, up to 1, not {self.attainment}.")

    @property
    def limits(self) -> dict[str, float]:
        """The limits there are, by latency [s]."""
        every = {name: getattr(self, f"{name}_s") for name in LIMITS}
        return {name: limit_s for name, limit_s in every.items() if limit_s < math.inf}

    def used(self, metrics: Metrics) -> dict[str, float]:
        """How much of each limit its quantile takes: above 1 it is missed.

        A request that was refused has no latency: it counts as one that never ends.
        """
        found = {}
        for name, limit_s in self.limits.items():
            found[name] = _quantile_s(metrics, name, self.attainment) / limit_s
        return found

    def met(self, metrics: Metrics) -> bool:
        """Whether every limited quantile is within its limit, each by itself."""
        return all(used <= 1 for used in self.used(metrics).values())

    def binding(self, metrics: Metrics) -> str:
        """The latency whose limit is nearest to being missed, or is missed by most."""
        require(bool(self.limits), "No latency is limited, so none binds.")
        used = self.used(metrics)
        return max(used, key=lambda name: used[name])

    def share(self, metrics: Metrics) -> float:
        """Of all requests that were asked, those that keep TTFT, TPOT and E2E, all three; one token has no TPOT."""
        n_asked = metrics.n_finished + len(metrics.refusals)
        return sum(self._kept(metrics)) / n_asked if n_asked else math.nan

    def goodput_requests_per_s(self, metrics: Metrics) -> float:
        """Requests that keep all three a second, over the run."""
        return sum(self._kept(metrics)) / metrics.span_s if metrics.span_s else 0.0

    def goodput_tokens_per_s(self, metrics: Metrics) -> float:
        """Output tokens a second of the requests that keep all three."""
        kept = zip(self._kept(metrics), metrics.columns["n_output_tokens"], strict=True)
        return sum(n for is_kept, n in kept if is_kept) / metrics.span_s if metrics.span_s else 0.0

    def _kept(self, metrics: Metrics) -> list[bool]:
        latencies = zip(metrics.ttft_s, metrics.tpot_s, metrics.e2e_latency_s, strict=True)
        return [ttft <= self.ttft_s and not tpot > self.tpot_s and e2e <= self.e2e_s for ttft, tpot, e2e in latencies]


@dataclass(frozen=True, kw_only=True)
class MaxRate:
    """The highest rate at an SLO [requests/s]: mean over seeds, and a 95% interval of that mean.

    `brackets` holds, for each seed, the highest rate found to be met and the lowest found to be missed.
    """

    brackets: dict[int, tuple[float, float]]
    n_evaluations: int = field(compare=False, default=0)

    @property
    def by_seed(self) -> dict[int, float]:
        return {seed: met for seed, (met, _) in self.brackets.items()}

    @property
    def value(self) -> float:
        return fmean(self.by_seed.values())

    @property
    def low(self) -> float:
        return self.value - self._half

    @property
    def high(self) -> float:
        return self.value + self._half

    @property
    def _half(self) -> float:
        """Student's t for the mean; nan with one seed, which says nothing of the others."""
        rates = list(self.by_seed.values())
        n = len(rates)
        return student_t(0.975, n - 1) * stdev(rates) / math.sqrt(n) if n > 1 else math.nan


def max_rate_at_slo(
    serve: Callable[[float, int], Metrics],
    slo: Slo,
    *,
    seeds: Iterable[int] = range(5),
    low_per_s: float,
    high_per_s: float | None = None,
    rtol: float = 0.02,
    jointly: bool = False,
) -> MaxRate:
    """The highest arrival rate that keeps an SLO, by halving the bracket of each seed [requests/s].

    `serve(rate_per_s, seed)` serves a load. `jointly`: a share of `attainment` keeps all limits, instead of every
    quantile its own. Believes that one seed's answers only get later as its rate rises; noise that breaks this moves
    the result within its bracket and shows in the interval. Without `high_per_s` the rate is doubled until it misses,
    or halved until it is kept: the first seed begins at `low_per_s`, the others between the ends that the one before
    them came to.
    """
    require(1e-9 <= rtol < 1, f"A bracket is halved until it is narrow by a share from 1e-9 to below 1, not {rtol}.")
    for rate_per_s in (low_per_s, low_per_s if high_per_s is None else high_per_s):
        require(1e-99 < rate_per_s < 1e99, f"A rate is positive and finite, not {rate_per_s}/s.")
    alone = jointly and slo.itl_s < math.inf
    require(not alone, "A gap belongs to no one request: a joint share cannot hold a limit on ITL.")
    n_evaluations = 0

    def kept(rate_per_s: float, seed: int) -> bool:
        nonlocal n_evaluations
        n_evaluations += 1
        metrics = serve(rate_per_s, seed)
        return slo.share(metrics) >= slo.attainment if jointly else slo.met(metrics)

    grid, place, brackets = _Grid(low_per_s, high_per_s, rtol), 0, {}
    for seed in seeds:
        place = _last_kept(partial(kept, seed=seed), grid, begin=place)
        brackets[seed] = (grid.rate_per_s(place), grid.rate_per_s(place + 1))
    require(bool(brackets), "The highest rate is found for a seed at least.")
    return MaxRate(brackets=brackets, n_evaluations=n_evaluations)


class _Grid:
    """The rates that halving can reach [requests/s]: those between two ends, halved by their geometric mean until they
    are as near as `rtol` says; without a last end as many between each rate and twice that rate."""

    def __init__(self, low_per_s: float, high_per_s: float | None, rtol: float) -> None:
        self._low_per_s, self._high_per_s = low_per_s, high_per_s
        high_per_s = high_per_s or 2 * low_per_s
        require(high_per_s > low_per_s, f"A bracket rises: {low_per_s} to {high_per_s} requests/s does not.")
        self.n = 1  # steps from end to end
        while high_per_s > low_per_s * (1 + rtol):
            self.n, high_per_s = 2 * self.n, math.sqrt(low_per_s * high_per_s)
        self.last = self.n if self._high_per_s else self.n * _MOST_DOUBLINGS

    def rate_per_s(self, place: int) -> float:
        """The rate at a place from 0 to `last`."""
        n_doubled, place = (0, place) if self._high_per_s else divmod(place, self.n)
        low_per_s = self._low_per_s * 2**n_doubled
        high_per_s, first, last = self._high_per_s or 2 * low_per_s, 0, self.n
        while first < place < last:
            middle, middle_per_s = (first + last) // 2, math.sqrt(low_per_s * high_per_s)
            if place < middle:
                last, high_per_s = middle, middle_per_s
            else:
                first, low_per_s = middle, middle_per_s
        return low_per_s if place == first else high_per_s


def _last_kept(kept: Callable[[float], bool], grid: _Grid, *, begin: int) -> int:
    """The place of a rate that is kept, next to one that is not: first the ends around a place, then those above or
    below until one is kept and the next is not, then halving. Where a seed begins decides how many loads it asks for;
    it halves between the same ends from wherever it comes, so that noise still differs from seed to seed."""
    place = begin // grid.n * grid.n
    rises = kept(grid.rate_per_s(place))
    while True:
        at = f"At {grid.rate_per_s(place):.3g} requests/s the limits are"
        require(rises or place > 0, f"{at} missed already; loosen them, or begin lower.")
        ending = "end higher" if grid.last == grid.n else "they limit nothing"
        require(not rises or place < grid.last, f"{at} still kept; {ending}.")
        before, place = place, place + (grid.n if rises else -grid.n)
        if kept(grid.rate_per_s(place)) != rises:
            break
    met, missed = (before, place) if rises else (place, before)
    while missed - met > 1:
        middle = (met + missed) // 2
        met, missed = (middle, missed) if kept(grid.rate_per_s(middle)) else (met, middle)
    return met


def _quantile_s(metrics: Metrics, name: str, q: float) -> float:
    """A quantile of a latency over all requests asked; of gaps between tokens, over all gaps."""
    if name == "itl":
        return metrics.itl_quantile_s(q)
    times_s = {"ttft": metrics.ttft_s, "tpot": metrics.tpot_s, "e2e": metrics.e2e_latency_s}[name]
    return quantile([*times_s, *(math.inf for _ in metrics.refusals)], q)


def e2e_s(*, ttft_s: float, tpot_s: float, n_output_tokens: int) -> float:
    """From arrival to the last token: TTFT + (n - 1) TPOT [s].

    >>> e2e_s(ttft_s=1.0, tpot_s=0.05, n_output_tokens=101)
    6.0
    """
    require(n_output_tokens >= 1, f"An answer has a token at least, not {n_output_tokens}.")
    _times(ttft_s, tpot_s)
    return ttft_s + (n_output_tokens - 1) * tpot_s


def inclusive_tpot_s(*, ttft_s: float, tpot_s: float, n_output_tokens: int) -> float:
    """E2E / n, the first token's wait included: TPOT + (TTFT - TPOT) / n [s]. Normalized TPOT in some tools.

    >>> round(inclusive_tpot_s(ttft_s=1.0, tpot_s=0.05, n_output_tokens=100), 4)
    0.0595
    """
    return e2e_s(ttft_s=ttft_s, tpot_s=tpot_s, n_output_tokens=n_output_tokens) / n_output_tokens


def tpot_of_e2e_s(*, e2e_s: float, ttft_s: float, n_output_tokens: int) -> float:
    """TPOT, which is also the mean ITL of one request: (E2E - TTFT) / (n - 1) [s].

    >>> tpot_of_e2e_s(e2e_s=6.0, ttft_s=1.0, n_output_tokens=101)
    0.05
    """
    require(n_output_tokens >= 2, f"A time per later token needs two tokens, not {n_output_tokens}.")
    _times(e2e_s, ttft_s)
    left_s = e2e_s - ttft_s
    require(
        left_s >= -1e-9 * ttft_s, f"A TTFT of {ttft_s:.4g} s is longer than {n_output_tokens} tokens in {e2e_s:.4g} s."
    )
    return max(0.0, left_s) / (n_output_tokens - 1)


def tpot_of_inclusive_s(*, inclusive_s: float, ttft_s: float, n_output_tokens: int) -> float:
    """TPOT of an inclusive one, whose n tokens make E2E [s].

    >>> round(tpot_of_inclusive_s(inclusive_s=0.0595, ttft_s=1.0, n_output_tokens=100), 4)
    0.05
    """
    return tpot_of_e2e_s(e2e_s=n_output_tokens * inclusive_s, ttft_s=ttft_s, n_output_tokens=n_output_tokens)


def mean_itl_s(tpots_s: Sequence[float], n_output_tokens: Sequence[int]) -> float:
    """Mean of all gaps of several requests: sum of (n - 1) TPOT / sum of (n - 1), so longer answers weigh more [s].

    >>> round(mean_itl_s([0.02, 0.05], [101, 11]), 4)    # a mean over the two requests would be 0.035
    0.0227
    """
    require(len(tpots_s) == len(n_output_tokens), "Every time per token belongs to an answer of so many tokens.")
    _times(*(tpot_s for tpot_s, n in zip(tpots_s, n_output_tokens, strict=True) if n > 1))
    gaps = [(n - 1, tpot_s) for tpot_s, n in zip(tpots_s, n_output_tokens, strict=True) if n > 1]
    require(bool(gaps), "Gaps between tokens need an answer of two tokens.")
    return fmean([tpot_s for _, tpot_s in gaps], [n for n, _ in gaps])


def user_tokens_per_s(*, tpot_s: float) -> float:
    """What one user sees: 1 / TPOT; with an inclusive TPOT, n / E2E [tokens/s].

    >>> user_tokens_per_s(tpot_s=0.05)
    20.0
    """
    require(1e-12 <= tpot_s < math.inf, f"A time per token is above zero, not {tpot_s} s.")
    return 1 / tpot_s


def _times(*times_s: float) -> None:
    """Refuse what is no time."""
    for time_s in times_s:
        require(0 <= time_s < math.inf, f"A time is a number of seconds from 0 up, not {time_s}.")
