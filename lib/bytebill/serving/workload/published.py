"""What do real requests look like? Published traces as distributions to draw from.

A published trace is known by some quantiles (`data/trace_lengths.csv`). Between them lengths are spread evenly,
so a synthetic trace has the real one's quantiles, but a mean above the published one, since real lengths thin out
from one quantile to the next: by 3 to 18%, and by 30% for azure-code's outputs, whose last 1% spans 252 to 1,899
(`mean_ratio`). The ends:

    below the lowest quantile given     straight down to 1 token
    above the highest                   straight up to the maximum where it is given; otherwise on at the slope of the
                                        last interval (Mooncake: 95% to 99%), which is a guess about 1% of requests

Prompt and output are drawn independently. A trace of your own: `bytebill.serving.workload.files`.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist

from bytebill import data
from bytebill.errors import BytebillError, unknown
from bytebill.serving.workload.lengths import Lengths, LogNormal, QuantileTable, TruncatedExponential
from bytebill.serving.workload.requests import Workload


def published(trace_id: str, side: str) -> dict[str, float]:
    """What is published of a trace's "input" or "output" lengths: mean, quantiles, max [tokens].

    >>> published("azure-conv", "output")["p50"]
    129.0
    """
    rows = data.rows("trace_lengths")
    found = {row["statistic"]: row["value"] for row in rows if (row["trace_id"], row["side"]) == (trace_id, side)}
    if not found:
        raise unknown("trace", trace_id, dict.fromkeys(row["trace_id"] for row in rows))
    return found


def quantile_traces() -> tuple[str, ...]:
    """The traces of which enough quantiles are known to draw from them.

    >>> quantile_traces()
    ('azure-conv', 'azure-code', 'mooncake-conversation', 'mooncake-synthetic')
    """
    ids = dict.fromkeys(row["trace_id"] for row in data.rows("trace_lengths"))
    return tuple(id for id in ids if "p99" in published(id, "input"))


def quantile_table(trace_id: str, side: str) -> QuantileTable:
    """The distribution with a published trace's quantiles; see the module's text for both ends.

    >>> quantile_table("azure-conv", "input").quantile(0.9)
    2734.5
    """
    known = published(trace_id, side)
    points = sorted((float(name[1:]) / 100, value) for name, value in known.items() if name[0] == "p")
    if "p99" not in known:
        raise BytebillError(
            f"Of {trace_id} too few quantiles are published; there are: {', '.join(quantile_traces())}."
        )
    (share, value), (last_share, last_value) = points[-2:]
    longest = known.get("max", last_value + (last_value - value) / (last_share - share) * (1 - last_share))
    return QuantileTable(((0.0, 1.0), *points, (1.0, longest)))


def lengths_of(trace_id: str, side: str) -> Lengths | None:
    """A published trace's lengths from as much as is known: its quantiles; else a logarithm that is normal, through
    the median and the 90% quantile; None where only a mean is published, which says nothing of the spread.

    >>> lengths_of("arxiv-sarathi", "output").median_tokens, lengths_of("alpaca-vllm", "output")
    (208.0, None)
    """
    known = published(trace_id, side)
    if "p99" in known:
        return quantile_table(trace_id, side)
    if not {"p50", "p90"} <= set(known):
        return None
    sigma = math.log(known["p90"] / known["p50"]) / NormalDist().inv_cdf(0.9)
    return LogNormal(median_tokens=known["p50"], sigma=sigma)


def mean_ratio(trace_id: str, side: str) -> float:
    """Mean of the synthetic lengths over the published mean: what straight lines between quantiles miss.

    >>> round(mean_ratio("azure-conv", "output"), 2)      # 218.2 / 211.1
    1.03
    """
    return quantile_table(trace_id, side).mean() / published(trace_id, side)["mean"]


def synthetic(
    trace_id: str,
    n_requests: int | None,
    *,
    arrivals: Iterable[float] | None = None,
    max_len_tokens: int | None = None,
    seed: int = 0,
) -> Workload:
    """Requests as long as a published trace's, arriving when `arrivals` says (all at once without it)."""
    return Workload(
        n_requests,
        inputs=quantile_table(trace_id, "input"),
        outputs=quantile_table(trace_id, "output"),
        arrivals=arrivals,
        max_len_tokens=max_len_tokens,
        seed=seed,
    )


def like_trace(trace_id: str, n_requests: int | None, *, max_len_tokens: int | None = None, seed: int = 0) -> Workload:
    """Requests with the lengths of any published trace, all at once; where only a mean is published, a truncated
    exponential's, whose standard deviation is 0.9 of its mean: a guess.

    >>> [r.n_input_tokens for r in like_trace("alpaca-vllm", 3)]
    [8, 81, 14]
    """
    inputs, outputs = (
        lengths_of(trace_id, side) or TruncatedExponential.of_mean_and_cv(published(trace_id, side)["mean"], 0.9)
        for side in ("input", "output")
    )
    return Workload(n_requests, inputs=inputs, outputs=outputs, max_len_tokens=max_len_tokens, seed=seed)


def sharegpt_like(
    n_requests: int | None, *, output_cv: float = 0.877, input_cv: float = 0.9, seed: int = 0
) -> Workload:
    """Requests with the mean lengths of the PagedAttention paper's ShareGPT sample, within OPT's 2,048 tokens.

    Both sides are truncated exponentials. The spread of the outputs is not published but follows from the paper's
    Fig. 2: at 7 chunks of 2,048 slots in 15,728, its 13.3% reserved are r = 299 slots a sequence, and a sequence
    seen at random has E[n^2] / (2 E[n]) outputs to go, so cv^2 = 2 r / 338 - 1. That of the prompts is a guess.
    """
    means = {side: published("sharegpt-vllm", side)["mean"] for side in ("input", "output")}
    return Workload(
        n_requests,
        inputs=TruncatedExponential.of_mean_and_cv(means["input"], input_cv),
        outputs=TruncatedExponential.of_mean_and_cv(means["output"], output_cv),
        max_len_tokens=2048,
        seed=seed,
    )
