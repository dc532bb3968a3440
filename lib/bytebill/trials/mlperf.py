"""What does keeping MLPerf's limits cost a system? Its rate with limits over its rate without, simulated.

    price of latency = requests a second with both p99 limits kept / requests a second offline      [fraction]

    offline      all requests wait at once; the rate between the first and the third quarter of the answers
    server, interactive    Poisson arrivals; the highest rate whose p99 TTFT and p99 TPOT keep `data/mlperf_slos.csv`

One group of a device serves under TensorRT-LLM's constants, in the size and with the largest step that do best per
device in that scenario, as a submitter would choose them. Mean answers are the submitted runs' own (tokens / requests),
mean prompts the data sets' (`data/replayed_workloads.csv`); both are exponential up to the longest. Weights are as
narrow as the device's submissions, the cache is FP8, mixtures spread attention by users. No result of MLPerf is
calibrated on. Ignores engines apart for both phases, speculation, the client, and batches kept small on purpose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from statistics import median

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require, require_known
from bytebill.hardware import accelerator
from bytebill.memory.footprint import as_served
from bytebill.models import checkpoint_precision, find
from bytebill.programs import program
from bytebill.serving import (
    Fixed,
    MaxRate,
    Metrics,
    Poisson,
    Policy,
    Slo,
    TruncatedExponential,
    Workload,
    max_rate_at_slo,
)
from bytebill.sim import serve_on
from bytebill.sim.constants import calibrated_constants
from bytebill.trials.replayed import quantities

SCENARIOS = ("server", "interactive")
_OFFLINE_RUNS = 4  # requests offline, where waiting costs nothing, over those of a run with limits
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
    offline_per_s: float  # requests
    kept_per_s: float
    low_per_s: float  # 95% interval over seeds
    high_per_s: float
    n_devices: tuple[int, int]  # of a group: offline, and with limits
    token_budget: int  # of the largest step, with limits
    binding: str  # the limit that the next higher rate misses; "none" below the offline rate
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
def offline_per_s(benchmark: str, device_id: str, n_devices: int, n_requests: int | None = None) -> float:
    """Requests a second of one device of a group while all others wait; 0 if there is no such group."""
    served = group(benchmark, device_id, n_devices)
    if served is None:
        return 0.0
    n_waiting = _OFFLINE_RUNS * (n_requests or _share(benchmark, n_devices))
    metrics = _serve(served, workload(benchmark, n_waiting), BUDGETS[0])
    ends = sorted(metrics.columns["finish_s"])
    first, last = len(ends) // 4, 3 * len(ends) // 4
    return (last - first) / (ends[last] - ends[first]) / n_devices


def price_of_latency(
    benchmark: str,
    device_id: str,
    scenario: str,
    *,
    n_requests: int | None = None,
    seeds: Iterable[int] = (0, 1, 2),
    groups: tuple[int, ...] = GROUP_SIZES,
    budgets: tuple[int, ...] = BUDGETS,
    rtol: float = 0.03,
) -> PriceOfLatency:
    """What a scenario's limits leave of a device's offline rate, each in the group and with the step that do best.

    `n_requests` of a run if not the group's share of the benchmark's. No rate above the offline one is kept for long,
    so that is where the search ends.
    """
    slo, chosen = limits(benchmark, scenario), tuple(seeds)
    offline = {n: offline_per_s(benchmark, device_id, n, n_requests) for n in groups}
    fitting = [n for n in groups if offline[n]]
    require(bool(fitting), f"No group of up to {max(groups)} x {device_id} holds {benchmark}.")

    def run(n: int, budget: int, rate_per_s: float, seed: int) -> Metrics:
        served = group(benchmark, device_id, n)
        assert served is not None
        n_asked = n_requests or _share(benchmark, n)
        return _serve(served, workload(benchmark, n_asked, rate_per_s=rate_per_s, seed=seed), budget)

    best: tuple[float, int, int, MaxRate | None] = (0.0, 0, 0, None)
    for n, budget in product(fitting, budgets):
        serve = partial(run, n, budget)
        most = offline[n] * n
        if best[0] and not slo.met(serve(min(best[0] * n, most), chosen[0])):
            continue  # no better than what was found
        if slo.met(serve(most, chosen[0])):
            found = MaxRate(brackets={seed: (most, most) for seed in chosen})
        else:
            try:
                found = max_rate_at_slo(serve, slo, seeds=chosen, low_per_s=most / 100, high_per_s=2 * most, rtol=rtol)
            except BytebillError:  # too slow even with next to nobody there
                continue
        if found.value / n > best[0]:
            best = (found.value / n, n, budget, found)
    rate, n, budget, found_rate = best
    require(found_rate is not None, f"No group of up to {max(groups)} x {device_id} keeps the {scenario} limits.")
    assert found_rate is not None
    most = max(offline.values())
    ends = [found_rate.low, found_rate.high] if len(chosen) > 1 else [found_rate.value] * 2
    missed = run(n, budget, found_rate.brackets[chosen[0]][1], chosen[0])
    return PriceOfLatency(
        benchmark=benchmark,
        device_id=device_id,
        scenario=scenario,
        offline_per_s=most,
        kept_per_s=min(rate, most),
        low_per_s=max(0.0, ends[0]) / n,
        high_per_s=min(most, ends[1] / n),
        n_devices=(max(offline, key=lambda size: offline[size]), n),
        token_budget=budget,
        binding=slo.binding(missed) if rate < most else "none",
        published=published_shares(benchmark, scenario, device_id),
    )


def _runs(benchmark: str, scenario: str) -> list[data.Row]:
    return [row for row in data.rows("mlperf_results") if (row["benchmark"], row["scenario"]) == (benchmark, scenario)]


def _system(row: data.Row) -> tuple[str, str]:
    return row["submitter"], row["system"]


def _share(benchmark: str, n_devices: int) -> int:
    """Requests of a run that one group of a system gets."""
    return max(100, int(quantities(benchmark)["requests"]) * n_devices // _NODE)


def _serve(served: Deployment, requests: Workload, token_budget: int) -> Metrics:
    n_ranks = served.n_devices // served.n_sharing  # with attention by users each device has slots of its own
    policy = Policy(kind="chunked", n_slots=min(2048, token_budget) * n_ranks, token_budget=token_budget * n_ranks)
    return serve_on(served, requests, policy, constants=calibrated_constants("trtllm", served.accelerator.id)).metrics
