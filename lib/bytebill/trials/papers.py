"""Do the gains that papers report follow from their own settings? Sarathi-Serve and DistServe, simulated on A100s.

    capacity (Sarathi-Serve) = the highest rate with p99 of all gaps <= limit and median queueing <= 2 s    [requests/s]
    goodput (DistServe)      = the highest rate at which 90% of requests keep TTFT and TPOT, per device     [requests/s]
    gain                     = that of the system / that of its baseline

Settings are `data/published_slo_settings.csv`, lengths `data/trace_lengths.csv`; devices and vLLM are as calibrated
elsewhere, and nothing that is predicted has been calibrated on. Baselines: vLLM of early 2024, whole prompts before
decodes, 128 slots; Orca, whole prompts beside decodes, 16 slots. Ignores pipeline parallelism (so neither Falcon-180B
nor LLaMA2-70B on A40s is predicted), that programs of 2024 took longer between steps than the vLLM of the constants,
and DistServe's own placement search; its caches move over NVLink, as within its nodes. MLPerf's limits are replayed by
`bytebill.trials.mlperf`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.errors import require_known
from bytebill.hardware import Accelerator, accelerator
from bytebill.memory import footprint_of
from bytebill.memory.footprint import as_served
from bytebill.models import model, precision
from bytebill.programs import program
from bytebill.serving import MaxRate, Metrics, Poisson, Policy, Slo, max_rate_at_slo
from bytebill.serving.workload.lengths import Fixed, TruncatedExponential
from bytebill.serving.workload.published import like_trace
from bytebill.serving.workload.requests import Workload
from bytebill.sim import Cluster, Pool, serve_on
from bytebill.sim.constants import Constants, calibrated_constants
from bytebill.trials.mlperf import SCENARIOS, price_of_latency

LONGEST_OF_TRACE = {"sharegpt4-sarathi": 8192, "arxiv-sarathi": 16_384}  # longer requests were left out
DISTSERVE_MEANS = (755.5, 200.3)  # tokens of ShareGPT as DistServe sampled it [memory]
TTFT_FIGURE_1_S, TPOT_FIGURE_1_S = 0.4, 0.04  # DistServe's figure 1 [memory]
_NAMES = {"vllm": "vLLM", "orca": "Orca"}
_A100 = "a100-sxm-80"  # whose kernels were measured; Azure's NC96ads have PCIe cards with the same chips


@dataclass(frozen=True, kw_only=True)
class Capacity(Slo):
    """Sarathi-Serve's limits: an Slo whose median wait before the first step is limited too."""

    queueing_p50_s: float = 2.0

    def met(self, metrics: Metrics) -> bool:
        return super().met(metrics) and median(metrics.queueing_s) <= self.queueing_p50_s


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A published figure beside what its settings come to; ends: over seeds, of MLPerf's shares a 95% interval."""

    name: str
    setting: str
    published: float
    predicted: float
    low: float
    high: float
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.predicted / self.published


def sarathi_policies(setting_id: str) -> dict[str, Policy]:
    """Sarathi-Serve and its two baselines, by name."""
    budget = int(_setting(setting_id)["token_budget"])
    return {
        "sarathi": Policy(kind="chunked", n_slots=128, token_budget=budget),
        "vllm": Policy(mixed=False, n_slots=128, token_budget=16_384),
        "orca": Policy(n_slots=16),
    }


def sarathi_capacity(
    setting_id: str,
    system: str,
    *,
    trace: str = "sharegpt4-sarathi",
    n_requests: int = 600,
    seeds: Iterable[int] = (0, 1),
    rtol: float = 0.05,
) -> MaxRate:
    """The highest rate that a system keeps in one of Sarathi-Serve's settings."""
    row, policies = _setting(setting_id), sarathi_policies(setting_id)
    require_known("system", system, tuple(policies))
    served, constants = _group(row), _constants()
    limit = Capacity(itl_s=row["tbt_p99_s"], queueing_p50_s=row["delay_p50_s"])

    def serve(rate_per_s: float, seed: int) -> Metrics:
        lengths = like_trace(trace, n_requests, max_len_tokens=LONGEST_OF_TRACE[trace], seed=seed)
        asked = replace(lengths, arrivals=Poisson(rate_per_s, seed=seed))
        return serve_on(served, asked, policies[system], constants=constants).metrics

    return max_rate_at_slo(serve, limit, seeds=seeds, low_per_s=0.01, rtol=rtol)


def distserve_goodput(
    layout: str,
    *,
    ttft_s: float = 0.25,
    tpot_s: float = 0.1,
    lengths: str = "sharegpt",
    n_requests: int = 600,
    seeds: Iterable[int] = (0, 1),
    rtol: float = 0.05,
) -> MaxRate:
    """Requests a second *of one device* of OPT-13B on A100s: "colocated", or "2P1D", "1P1D", pools of one card each.

    "prefill" and "decode" ask for one phase alone of one card: the other is free.
    """
    one, constants = _served("opt-13b", accelerator(_A100), 1), _constants()
    inputs, outputs = (TruncatedExponential.of_mean_and_cv(mean, 0.9) for mean in DISTSERVE_MEANS)
    slo = Slo(ttft_s=ttft_s, tpot_s=tpot_s, attainment=0.9)
    mixed = Policy(mixed=False, n_slots=256, token_budget=2560)
    make = Pool(deployment=one, policy=mixed, constants=constants)
    if layout == "colocated":
        cluster, n = Cluster(pools=(make,)), 1
    elif layout == "prefill":
        cluster, n, slo = Cluster(pools=(make,)), 1, Slo(ttft_s=ttft_s, attainment=0.9)
    else:
        n_prefill, n_decode = (1, 1) if layout == "1P1D" else (2, 1)
        require_known("layout", layout, ("colocated", "prefill", "1P1D", "2P1D"))
        pools = (replace(make, role="prefill", n_replicas=n_prefill), replace(make, role="decode", n_replicas=n_decode))
        cluster, n = Cluster(pools=pools, link_bytes_per_s=300e9), n_prefill + n_decode

    def serve(rate_per_s: float, seed: int) -> Metrics:
        if lengths == "figure 1":
            asked = Workload(n_requests, inputs=Fixed(512), outputs=Fixed(1 if layout == "prefill" else 64))
        else:
            asked = Workload(n_requests, inputs=inputs, outputs=outputs, max_len_tokens=2048, seed=seed)
        return cluster.serve(replace(asked, arrivals=Poisson(rate_per_s * n, seed=seed))).metrics

    return max_rate_at_slo(serve, slo, seeds=seeds, low_per_s=0.02, rtol=rtol, jointly=True)


def glm_tokens(least_tpot_s: float = 0.2) -> tuple[float, ...]:
    """Cached tokens that the saturated GLM-5 points of InferenceX hold at least, by Little's law: rate x TPOT x prompt.

    A lower bound of the room: prompts computed at full steps give the same number whatever the cache holds.

    >>> held = glm_tokens()
    >>> len(held), round(min(held) / 1e3, 1), round(max(held) / 1e3, 1)
    (16, 199.9, 213.1)
    """
    rows = [row for row in data.rows("published_interference_grid") if row["model_name"].startswith("GLM-5")]
    return tuple(
        row["output_tokens_per_s"] * row["tpot_median_ms"] / 1e3 * row["n_input_tokens"]
        for row in rows
        if row["tpot_median_ms"] and row["tpot_median_ms"] >= 1e3 * least_tpot_s
    )


def glm_room(device_id: str, *, kv: str = "bf16") -> tuple[int, int, int]:
    """Tokens that GLM-5 in FP8 has room for on eight devices under vLLM: fewest, expected, most.

    >>> glm_room("h100-sxm")
    (0, 0, 0)
    """
    group = footprint_of("glm-5", accelerator=device_id, n_devices=8, weights="fp8", kv=kv)
    fewest, usual, most = (group.cache_tokens(8192, corner=corner) for corner in ("high", "value", "low"))
    return fewest, usual, most


def replayed(*, n_requests: int = 400, seeds: Iterable[int] = (0, 1)) -> tuple[Replayed, ...]:
    """The published gains that the simulator can replay, and its room for caches beside Little's law.

    Fewer requests are gone before a queue has grown to its limit, and chunks gain more in them than they would.
    """
    run: dict[str, Any] = {"n_requests": n_requests, "seeds": tuple(seeds)}
    found = []
    for setting_id, gains in _sarathi_gains().items():
        ours = sarathi_capacity(setting_id, "sarathi", **run)
        for system, published in gains.items():
            theirs = sarathi_capacity(setting_id, system, **run)
            found.append(_gain(f"Sarathi-Serve over {_NAMES[system]}", setting_id, published, ours, theirs))
    figure_1: dict[str, Any] = {"lengths": "figure 1", "ttft_s": TTFT_FIGURE_1_S, "tpot_s": TPOT_FIGURE_1_S, **run}
    apart, beside = (distserve_goodput(layout, **figure_1) for layout in ("2P1D", "colocated"))
    row = next(row for row in data.rows("published_disaggregation") if row["setting"] == "distserve-figure-1")
    gain = row["disaggregated_value"] / row["mixed_value"]
    found.append(_gain("DistServe, 2 + 1 devices over 3", "distserve-figure-1", gain, apart, beside))
    apart, beside = (distserve_goodput(layout, **run) for layout in ("1P1D", "colocated"))
    published = _published_gain("distserve-chatbot-opt-13b", "vLLM")
    found.append(_gain("DistServe over vLLM", "distserve-chatbot-opt-13b", published, apart, beside))
    held = fmean(glm_tokens())
    for device_id in ("h200-sxm", "b200"):
        fewest, usual, most = glm_room(device_id)
        found.append(
            Replayed(
                name="tokens cached, GLM-5 in FP8",
                setting=f"8 x {device_id}",
                published=held,
                predicted=usual,
                low=fewest,
                high=most,
                note="Little's law; the source names no device",
            )
        )
    return tuple(found)


def priced(
    cases: Iterable[tuple[str, str]] = (("llama2-70b", "h200-sxm"), ("llama2-70b", "b200")), **run: Any
) -> tuple[Replayed, ...]:
    """MLPerf's prices of latency of benchmarks on devices; `run`: as for `price_of_latency`."""
    found = []
    for benchmark, device_id in cases:
        for scenario in SCENARIOS:
            price = price_of_latency(benchmark, device_id, scenario, **run)
            if price.published:
                found.append(
                    Replayed(
                        name=f"MLPerf, {scenario} over offline",
                        setting=f"{benchmark}, {device_id}",
                        published=price.published_median,
                        predicted=price.predicted,
                        low=price.low_per_s / price.offline_per_s,
                        high=price.high_per_s / price.offline_per_s,
                        note=_binds(price.binding),
                    )
                )
    return tuple(found)


def _sarathi_gains() -> dict[str, dict[str, float]]:
    """Published gains of the settings without pipelines, by setting and baseline; of several the primary's own."""
    found: dict[str, dict[str, float]] = {}
    for row in data.rows("published_slo_gains"):
        name = row["setting"] or ""
        if name.startswith(("sarathi-mistral", "sarathi-yi")) and row["baseline"] in ("vLLM", "Orca"):
            found.setdefault(name, {}).setdefault(row["baseline"].lower(), row["gain"])
    return found


def _binds(limit: str) -> str:
    return "no limit binds below the offline rate" if limit == "none" else f"{limit.upper()} binds"


def _published_gain(setting_id: str, baseline: str) -> float:
    rows = data.rows("published_slo_gains")
    return next(
        row["gain"]
        for row in rows
        if (row["setting"], row["baseline"], row["gain_of"]) == (setting_id, baseline, "request rate")
    )


def _gain(name: str, setting: str, published: float, system: MaxRate, baseline: MaxRate) -> Replayed:
    shares = [rate / baseline.by_seed[seed] for seed, rate in system.by_seed.items()]
    return Replayed(
        name=name,
        setting=setting,
        published=published,
        predicted=system.value / baseline.value,
        low=min(shares),
        high=max(shares),
        note=f"{system.value:.2f} against {baseline.value:.2f} requests/s",
    )


def _setting(id: str) -> data.Row:
    return data.Register("setting", lambda: {row["id"]: row for row in data.rows("published_slo_settings")})[id]


def _group(row: data.Row) -> Deployment:
    return _served(row["model_id"], accelerator(row["device_id"]), row["n_devices"])


def _served(model_id: str, card: Accelerator, n_devices: int) -> Deployment:
    made = Deployment(model=model(model_id), accelerator=card, precision=precision("fp16"), n_devices=n_devices)
    return as_served(made, program("vllm"))


def _constants() -> Constants:
    return calibrated_constants("vllm", _A100)
