"""What does keeping MLPerf's limits cost a system? Its rate with limits over its rate without, simulated.

    price of latency = answers a second with both p99 limits kept / answers a second offline      [fraction]

    offline      all requests wait at once
    server, interactive    Poisson arrivals; the highest rate whose p99 TTFT and p99 TPOT keep `data/mlperf_slos.csv`

Both are answers over the time from the first arrival to the last answer, as the load generator counts them; in a short
run fewer are given than come. One group of a device serves under TensorRT-LLM's constants, in the size and with the
largest step that do best per device in that scenario, as a submitter would choose them. Mean answers are the submitted
runs' own (tokens / requests), mean prompts the data sets' (`data/replayed_workloads.csv`); both are exponential up to
the longest. Weights are as narrow as the device's submissions, the cache is FP8, mixtures spread attention by users. No
result of MLPerf is calibrated on. Ignores engines apart for both phases, speculation, the client, and batches kept
small on purpose.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import ceil, inf
from statistics import median

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require, require_known
from bytebill.hardware import accelerator
from bytebill.memory.footprint import as_served
from bytebill.models import checkpoint_precision, find
from bytebill.programs import program
from bytebill.serving import Fixed, MaxRate, Metrics, Poisson, Policy, Slo, TruncatedExponential, Workload
from bytebill.sim import serve_on
from bytebill.sim.constants import calibrated_constants
from bytebill.trials.replayed import quantities

SCENARIOS = ("server", "interactive")
_RUN_S = 600  # the shortest that counts: Server.min_duration, Offline.min_duration of loadgen/mlperf.conf at 001712e
_MOST, _LEAST = 2.0, 0.25  # rates that are tried, over the best offline
_NEAR = 2  # steps of rate within which another seed's highest is looked for first
_NODE = 8  # devices of a system, which share a run's requests
_MODELS = {
    "llama2-70b": "llama-2-70b",
    "llama3.1-8b": "llama-3.1-8b",
    "llama3.1-405b": "llama-3.1-405b",
    "deepseek-r1": "deepseek-v3",
}
_WEIGHTS = {"h100-sxm": "fp8", "h200-sxm": "fp8", "b200": "nvfp4"}
GROUP_SIZES, BUDGETS = (1, 2, 4, 8), (8192, 2048, 512)  # devices of a group, tokens of its largest step: both chosen


@dataclass(frozen=True, kw_only=True)
class PriceOfLatency:
    """A benchmark on a device under a scenario's limits, and what was published of it. Rates are of one device."""

    benchmark: str
    device_id: str
    scenario: str
    offline_per_s: float  # answers
    kept_per_s: float
    low_per_s: float  # 95% interval of the mean over seeds; with one seed the same
    high_per_s: float
    n_devices: tuple[int, int]  # of a group: offline, and with limits
    token_budget: int  # of the largest step, with limits
    binding: str  # the limit that the next higher rate misses; "none" if twice the offline rate misses none
    published: tuple[float, ...]  # of systems that also ran offline

    @property
    def predicted(self) -> float:
        return self.kept_per_s / self.offline_per_s

    @property
    def published_median(self) -> float:
        return median(self.published)


def published_shares(benchmark: str, scenario: str, device_id: str | None = None) -> tuple[float, ...]:
    """Tokens a second over the same system's offline, of all systems or of those of one device.

    >>> round(median(published_shares("llama2-70b", "interactive")), 2)
    0.56
    """
    offline = {_system(row): row["tokens_per_s"] for row in _runs(benchmark, "offline")}
    return tuple(
        row["tokens_per_s"] / offline[_system(row)]
        for row in _runs(benchmark, scenario)
        if _system(row) in offline and device_id in (None, row["device_id"])
    )


def mean_answer(benchmark: str) -> float:
    """Median over offline runs of their tokens a request.

    >>> round(mean_answer("llama3.1-8b"))
    128
    """
    return median(row["tokens_per_s"] / row["requests_per_s"] for row in _runs(benchmark, "offline"))


def workload(benchmark: str, n_requests: int, *, rate_per_s: float | None = None, seed: int = 0) -> Workload:
    """A benchmark's requests, all at once or as they arrive."""
    require_known("benchmark", benchmark, tuple(_MODELS))
    known, mean = quantities(benchmark), mean_answer(benchmark)
    longest = int(known["answer_longest"])
    up_to = TruncatedExponential.of_mean_up_to
    return Workload(
        n_requests,
        inputs=up_to(known["prompt_mean"], int(known["prompt_longest"])),
        outputs=Fixed(longest) if mean > 0.95 * longest else up_to(mean, longest),
        arrivals=None if rate_per_s is None else Poisson(rate_per_s, seed=seed),
        seed=seed,
    )


def limits(benchmark: str, scenario: str) -> Slo:
    """The limits of a scenario."""
    require_known("scenario with limits", scenario, SCENARIOS)
    for row in data.rows("mlperf_slos"):
        if (row["benchmark"], row["scenario"]) == (benchmark, scenario):
            share = row["percentile"] / 100
            return Slo(ttft_s=row["ttft_ms"] / 1e3, tpot_s=row["tpot_ms"] / 1e3, attainment=share)
    raise BytebillError(f"MLPerf has no {scenario} scenario of {benchmark}.")


@cache
def group(benchmark: str, device_id: str, n_devices: int) -> Deployment | None:
    """A group as TensorRT-LLM leaves it room for caches; None if it does not hold a few requests."""
    require_known("device of MLPerf", device_id, tuple(_WEIGHTS))
    spec, _ = find(_MODELS[benchmark])
    width = replace(checkpoint_precision(_WEIGHTS[device_id], spec), kv_bytes_per_value=1)
    own = accelerator(device_id)
    attention = "data" if spec.moe is not None and n_devices > 1 else "tensor"
    made = Deployment(model=spec, accelerator=own, precision=width, n_devices=n_devices, attention=attention)
    if n_devices < made.min_devices:
        return None
    served, known = as_served(made, program("trtllm")), quantities(benchmark)
    return served if served.users(int(known["prompt_longest"] + known["answer_longest"])) >= 4 else None


@cache
def offline_per_s(
    benchmark: str, device_id: str, n_devices: int, token_budget: int = BUDGETS[0], n_requests: int | None = None
) -> float:
    """Answers a second of one device of a group to which all requests come at once; 0 if there is no such group."""
    served, rate_per_s = group(benchmark, device_id, n_devices), 0.0
    if served is None:
        return 0.0
    for _ in range(1 if n_requests else 2):  # the first run tells how many requests a run of ten minutes has
        asked = workload(benchmark, n_requests or _whole(benchmark, n_devices, rate_per_s))
        rate_per_s = _serve(served, asked, token_budget).requests_per_s
    return rate_per_s / n_devices


def price_of_latency(
    benchmark: str,
    device_id: str,
    scenario: str,
    *,
    n_requests: int | None = None,
    seeds: Iterable[int] = (0, 1, 2),
    groups: tuple[int, ...] = GROUP_SIZES,
    budgets: tuple[int, ...] = BUDGETS,
    rtol: float = 0.05,
) -> PriceOfLatency:
    """What a scenario's limits leave of a device's offline rate, each in the group and with the step that do best.

    `n_requests` of a run, or as many as MLPerf asks: for ten minutes, and its data set at least once. Group and step
    are chosen on the first seed; rates are tried in steps of `rtol`.
    """
    slo, chosen = limits(benchmark, scenario), tuple(seeds)
    require(bool(chosen), "The price of latency is found for a seed at least.")
    sizes = product(groups, budgets)
    offline = {each: offline_per_s(benchmark, device_id, *each, n_requests) for each in sizes}
    most = max(offline.values(), default=0.0)
    require(most > 0, f"No group of up to {max(groups, default=0)} x {device_id} holds {benchmark}.")
    rates = [_MOST * most]
    while rates[-1] > _LEAST * most:
        rates.append(rates[-1] / (1 + rtol))

    @cache
    def run(size: tuple[int, int], i: int, seed: int) -> tuple[float, bool, str]:
        "Answers a second of a device at the i-th rate from the top, whether limits are kept, and which is nearest."
        n_devices, token_budget = size
        served, rate_per_s = group(benchmark, device_id, n_devices), rates[i] * n_devices
        assert served is not None
        n_asked = n_requests or _whole(benchmark, n_devices, rate_per_s)
        metrics = _serve(served, workload(benchmark, n_asked, rate_per_s=rate_per_s, seed=seed), token_budget)
        return metrics.requests_per_s / n_devices, slo.met(metrics), slo.binding(metrics)

    def highest(size: tuple[int, int], seed: int, among: range) -> int:
        "The first of these rates, from the top, that keeps the limits; the end if none does."
        return among.start + bisect_left(among, True, key=lambda i: run(size, i, seed)[1])

    best, at, answered_per_s = None, len(rates), 0.0
    for size in sorted(offline, key=lambda each: -offline[each]):
        if offline[size] <= answered_per_s or (best and not run(size, at - 1, chosen[0])[1]):
            continue  # does no more than the best so far
        if (found := highest(size, chosen[0], range(at))) < at:
            best, at = size, found
            answered_per_s = run(size, at, chosen[0])[0]
    require(best is not None, f"No group of up to {max(groups)} x {device_id} keeps the {scenario} limits.")
    assert best is not None
    every, by_seed = range(len(rates)), {chosen[0]: at}
    for seed in chosen[1:]:
        near = range(max(0, at - _NEAR), min(len(rates), at + _NEAR + 1))
        found = highest(best, seed, near)
        by_seed[seed] = found if near.start < found < near.stop else highest(best, seed, every)
    # a rate that answers are given at, instead of one that requests come at
    answered = MaxRate(brackets={seed: (run(best, i, seed)[0], inf) for seed, i in by_seed.items()})
    spread = (answered.low, answered.high) if len(chosen) > 1 else (answered.value, answered.value)
    missed = [run(best, i - 1, seed)[2] for seed, i in by_seed.items() if i]
    return PriceOfLatency(
        benchmark=benchmark,
        device_id=device_id,
        scenario=scenario,
        offline_per_s=most,
        kept_per_s=answered.value,
        low_per_s=max(0.0, spread[0]),
        high_per_s=spread[1],
        n_devices=(max(offline, key=lambda size: offline[size])[0], best[0]),
        token_budget=best[1],
        binding=max(missed, key=missed.count, default="none"),
        published=published_shares(benchmark, scenario, device_id),
    )


def _runs(benchmark: str, scenario: str) -> list[data.Row]:
    return [row for row in data.rows("mlperf_results") if (row["benchmark"], row["scenario"]) == (benchmark, scenario)]


def _system(row: data.Row) -> tuple[str, str]:
    return row["submitter"], row["system"]


def _whole(benchmark: str, n_devices: int, rate_per_s: float) -> int:
    """Requests of one group's run that is as long as MLPerf asks: its share of the data set, and ten minutes."""
    return max(ceil(_RUN_S * rate_per_s), ceil(quantities(benchmark)["requests"] * n_devices / _NODE))


def _serve(served: Deployment, requests: Workload, token_budget: int) -> Metrics:
    n_ranks = served.n_devices // served.n_sharing  # with attention by users each device has slots of its own
    policy = Policy(kind="chunked", n_slots=min(2048, token_budget) * n_ranks, token_budget=token_budget * n_ranks)
    return serve_on(served, requests, policy, constants=calibrated_constants("trtllm", served.accelerator.id)).metrics
