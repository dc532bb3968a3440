"""Do the gains that papers report follow from their own settings? Sarathi-Serve and DistServe, simulated on A100s.

    capacity (Sarathi-Serve) = the highest rate with p99 of all gaps <= limit and median queueing <= 2 s    [requests/s]
    goodput (DistServe)      = the highest rate at which 90% of requests keep TTFT and TPOT, per device     [requests/s]
    gain                     = that of the system / that of its baseline

Settings are `data/published_slo_settings.csv`, lengths `data/trace_lengths.csv` and `data/replayed_workloads.csv`
(DistServe's recalled, not read); devices and vLLM are as calibrated elsewhere, and nothing that is predicted has been
calibrated on. Baselines: vLLM of early 2024, whole prompts before decodes, 128 slots; Orca, whole prompts beside
decodes, 16 slots. Ignores pipeline parallelism (so neither Falcon-180B nor LLaMA2-70B on A40s is predicted), that
programs of 2024 took longer between steps than the vLLM of the constants, and DistServe's own placement search; its
caches move over NVLink, as within its nodes. MLPerf's limits are replayed by `bytebill.trials.mlperf`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean, median
from typing import Any

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.errors import require_known
from bytebill.hardware import accelerator
from bytebill.memory.footprint import as_served
from bytebill.models import model, precision
from bytebill.programs import program
from bytebill.serving import MaxRate, Metrics, Poisson, Policy, Slo, max_rate_at_slo
from bytebill.serving.workload.lengths import Fixed, TruncatedExponential
from bytebill.serving.workload.published import like_trace
from bytebill.serving.workload.requests import Workload
from bytebill.sim import Cluster, Pool, serve_on
from bytebill.sim.constants import calibrated_constants
from bytebill.trials.held import glm_room, glm_tokens
from bytebill.trials.mlperf import SCENARIOS, price_of_latency
from bytebill.trials.replayed import quantities

CHATS, FIGURE_1 = "distserve-chatbot-opt-13b", "distserve-figure-1"  # DistServe's settings that are replayed
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
    served, constants = _served(row, row["n_devices"]), calibrated_constants("vllm", _A100)
    longest = int(quantities(trace)["request_longest"])
    limit = Capacity(itl_s=row["tbt_p99_s"], queueing_p50_s=row["delay_p50_s"])

    def serve(rate_per_s: float, seed: int) -> Metrics:
        lengths = like_trace(trace, n_requests, max_len_tokens=longest, seed=seed)
        asked = replace(lengths, arrivals=Poisson(rate_per_s, seed=seed))
        return serve_on(served, asked, policies[system], constants=constants).metrics

    return max_rate_at_slo(serve, limit, seeds=seeds, low_per_s=0.16, rtol=rtol)


def distserve_goodput(
    layout: str, *, setting_id: str = CHATS, n_requests: int = 600, seeds: Iterable[int] = (0, 1), rtol: float = 0.05
) -> MaxRate:
    """Requests a second *of one device* of OPT-13B on A100s: "colocated", or "2P1D", "1P1D", pools of one card each.

    "prefill" asks for prompts alone of one card.
    """
    row, means = _setting(setting_id), quantities("sharegpt-distserve")
    one, constants = _served(row, 1), calibrated_constants("vllm", _A100)
    inputs, outputs = (TruncatedExponential.of_mean_and_cv(means[side], 0.9) for side in ("prompt_mean", "answer_mean"))
    slo = Slo(ttft_s=row["ttft_s"], tpot_s=row["tpot_s"], attainment=row["attainment"])
    mixed = Policy(mixed=False, n_slots=256, token_budget=2560)
    make = Pool(deployment=one, policy=mixed, constants=constants)
    if layout == "colocated":
        cluster, n = Cluster(pools=(make,)), 1
    elif layout == "prefill":
        cluster, n, slo = Cluster(pools=(make,)), 1, replace(slo, tpot_s=inf)
    else:
        n_prefill, n_decode = (1, 1) if layout == "1P1D" else (2, 1)
        require_known("layout", layout, ("colocated", "prefill", "1P1D", "2P1D"))
        pools = (replace(make, role="prefill", n_replicas=n_prefill), replace(make, role="decode", n_replicas=n_decode))
        cluster, n = Cluster(pools=pools, link_bytes_per_s=300e9), n_prefill + n_decode

    def serve(rate_per_s: float, seed: int) -> Metrics:
        if setting_id == FIGURE_1:
            fixed = _figure_1()
            n_out = 1 if layout == "prefill" else fixed["n_output_tokens"]
            asked = Workload(n_requests, inputs=Fixed(fixed["n_input_tokens"]), outputs=Fixed(n_out))
        else:
            asked = Workload(n_requests, inputs=inputs, outputs=outputs, max_len_tokens=2048, seed=seed)
        return cluster.serve(replace(asked, arrivals=Poisson(rate_per_s * n, seed=seed))).metrics

    return max_rate_at_slo(serve, slo, seeds=seeds, low_per_s=0.64, rtol=rtol, jointly=True)


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
    apart, beside = (distserve_goodput(layout, setting_id=FIGURE_1, **run) for layout in ("2P1D", "colocated"))
    gain = _figure_1()["disaggregated_value"] / _figure_1()["mixed_value"]
    found.append(_gain("DistServe, 2 + 1 devices over 3", FIGURE_1, gain, apart, beside))
    apart, beside = (distserve_goodput(layout, **run) for layout in ("1P1D", "colocated"))
    of_rates = (row for row in data.rows("published_slo_gains") if row["gain_of"] == "request rate")
    gain = next(row["gain"] for row in of_rates if (row["setting"], row["baseline"]) == (CHATS, "vLLM"))
    found.append(_gain("DistServe over vLLM", CHATS, gain, apart, beside))
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
                        note="no limit binds" if price.binding == "none" else f"{price.binding.upper()} binds",
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


def _figure_1() -> data.Row:
    return next(row for row in data.rows("published_disaggregation") if row["setting"] == FIGURE_1)


def _setting(id: str) -> data.Row:
    return data.Register("setting", lambda: {row["id"]: row for row in data.rows("published_slo_settings")})[id]


def _served(row: data.Row, n_devices: int) -> Deployment:
    card, spec = accelerator(row["device_id"]), model(row["model_id"])
    made = Deployment(model=spec, accelerator=card, precision=precision("fp16"), n_devices=n_devices)
    return as_served(made, program("vllm"))
