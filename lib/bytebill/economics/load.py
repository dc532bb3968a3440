"""How full does traffic make a device? Utilization comes out of the arrival rate and the latency limit.

    B     = rate * n_out * TPOT(B)              Little's law: in flight = arrivals a second * seconds each stays
    tok/s = rate * n_out = B / TPOT(B)          and so the step times alone say which B that is

    B       sequences decoding at once, on average          [sequences]
    rate    arrivals                                        [requests/s]
    n_out   output tokens of a request, mean                [tokens]
    TPOT    time per output token at a batch of B           [s], a `BatchCurve`, straight between its points

Three shares go by the name of utilization, and they differ by a factor of ten on one device:

    busy    share of the time in which any step runs        1 - e^-B    what nvidia-smi calls utilization
    batch   B over the largest batch of the curve
    tokens  output rate over the highest of the curve                   what divides the bill

The first is that of a queue with a place for everybody and Poisson arrivals (M/G/infinity), where the number in flight
is Poisson of mean B. Ignores waiting before the first token, the spread of lengths, and that a batch which swings
around B meets other step times than B's: those are the simulator's. Below one sequence in flight, a step takes what
it takes for one. Used by chapters 06 and 20.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, isfinite
from typing import Self

from bytebill.economics.cost import check_positive
from bytebill.errors import BytebillError, require


@dataclass(frozen=True)
class BatchCurve:
    """Time of a step by its batch, from one sequence up: `points` are (batch, seconds), straight in between."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        require(
            bool(self.points) and self.points[0][0] == 1,
            "A throughput curve begins at a batch of 1; give it that point.",
        )
        require(
            all(isfinite(batch) and 0 < step_s < inf for batch, step_s in self.points),
            "Every step of a throughput curve takes a positive time.",
        )
        for (batch, step_s), (larger, larger_s) in pairwise(self.points):
            require(larger > batch, f"The batches of a curve rise; {larger:g} comes after {batch:g}.")
            require(
                larger_s >= step_s,
                f"A larger batch is never faster, but the step of {larger:g} takes {larger_s:g} s and that of "
                f"{batch:g} takes {step_s:g} s; smooth the curve or leave a point out.",
            )

    @classmethod
    def of(cls, step_s: Mapping[int, float]) -> Self:
        """From a mapping of batch to seconds, in any order."""
        return cls(tuple(sorted((float(batch), seconds) for batch, seconds in step_s.items())))

    @property
    def largest_batch(self) -> float:
        """The last batch that the curve knows."""
        return self.points[-1][0]

    @property
    def peak_tokens_per_s(self) -> float:
        """The most that any batch of the curve gives; along a straight piece the rate only rises or only falls."""
        return max(batch / step_s for batch, step_s in self.points)

    def step_s(self, batch_size: float) -> float:
        """Time of a step with so many sequences.

        >>> BatchCurve.of({1: 0.010, 11: 0.020}).step_s(6)
        0.015
        """
        require(
            0 <= batch_size <= self.largest_batch,
            f"The curve knows batches up to {self.largest_batch:g}, not {batch_size:g}.",
        )
        for (left, left_s), (right, right_s) in pairwise(self.points):
            if left <= batch_size <= right:
                return left_s + (batch_size - left) / (right - left) * (right_s - left_s)
        return self.points[0][1]  # nobody, or nobody else


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a load makes of a device: everything here is an output."""

    arrival_rate_per_s: float
    batch_size: float
    tpot_s: float
    batch_share: float
    token_share: float

    @property
    def tokens_per_s(self) -> float:
        """Output tokens a second: what came in goes out."""
        return self.batch_size / self.tpot_s

    @property
    def busy_share(self) -> float:
        """Share of the time with anybody in flight: 1 - e^-B."""
        return 1 - exp(-self.batch_size)


def operating_point(
    curve: BatchCurve, *, arrival_rate_per_s: float, n_output_tokens: float, tpot_slo_s: float = inf
) -> OperatingPoint:
    """The smallest batch at which tokens leave as fast as they are asked for.

    On a piece TPOT = a + b B, Little's law gives B = r a / (1 - r b), with r = rate * n_output_tokens.

    >>> curve = BatchCurve.of({1: 0.010, 101: 0.020})             # a = 9.9 ms, b = 0.1 ms
    >>> point = operating_point(curve, arrival_rate_per_s=25, n_output_tokens=200)    # r = 5,000 tokens/s
    >>> round(point.batch_size, 6), round(point.tpot_s, 6)   # 49.5 / (1 - 0.5); 5,000 tokens/s at batch 99
    (99.0, 0.0198)
    """
    check_positive({"An arrival rate [per second]": arrival_rate_per_s})
    _check_tokens(n_output_tokens)
    tokens_per_s = arrival_rate_per_s * n_output_tokens
    batch_size = _batch_that_gives(curve, tokens_per_s)
    tpot_s = curve.step_s(batch_size)
    require(
        tpot_s <= tpot_slo_s,
        f"At {arrival_rate_per_s:g} requests/s a token takes {tpot_s * 1e3:.1f} ms, and the limit is "
        f"{tpot_slo_s * 1e3:g} ms; take more devices or a looser limit.",
    )
    return OperatingPoint(
        arrival_rate_per_s=arrival_rate_per_s,
        batch_size=batch_size,
        tpot_s=tpot_s,
        batch_share=batch_size / curve.largest_batch,
        token_share=tokens_per_s / curve.peak_tokens_per_s,
    )


def max_rate(curve: BatchCurve, *, n_output_tokens: float, tpot_slo_s: float = inf) -> float:
    """The largest arrival rate whose time per output token keeps the limit [requests/s].

    >>> curve = BatchCurve.of({1: 0.010, 101: 0.020})
    >>> round(max_rate(curve, n_output_tokens=200, tpot_slo_s=0.0198), 6)    # batch 99: 99 / 0.0198 / 200
    25.0
    """
    _check_tokens(n_output_tokens)
    within = [(batch, step_s) for batch, step_s in curve.points if step_s <= tpot_slo_s]
    require(
        bool(within),
        f"One sequence alone takes {curve.points[0][1] * 1e3:.1f} ms a token, which no batch improves: the limit "
        f"of {tpot_slo_s * 1e3:g} ms cannot be kept.",
    )
    if len(within) < len(curve.points):  # the batch at which the limit is met, on the piece that crosses it
        (left, left_s), (right, right_s) = within[-1], curve.points[len(within)]
        within.append((left + (tpot_slo_s - left_s) / (right_s - left_s) * (right - left), tpot_slo_s))
    return max(batch / step_s for batch, step_s in within) / n_output_tokens


def _batch_that_gives(curve: BatchCurve, tokens_per_s: float) -> float:
    """The smallest B with B / TPOT(B) at this rate, if a batch of the curve reaches it."""
    if (alone := tokens_per_s * curve.points[0][1]) <= 1:
        return alone
    for (left, left_s), (right, right_s) in pairwise(curve.points):
        if right / right_s >= tokens_per_s:
            slope = (right_s - left_s) / (right - left)
            return min(max(tokens_per_s * (left_s - slope * left) / (1 - tokens_per_s * slope), left), right)
    raise BytebillError(
        f"No batch serves {tokens_per_s:,.0f} output tokens/s: this device gives at most "
        f"{curve.peak_tokens_per_s:,.0f}, so take more devices or fewer requests."
    )


def _check_tokens(n_output_tokens: float) -> None:
    require(1 <= n_output_tokens < inf, f"A request asks for at least one output token, not {n_output_tokens}.")
