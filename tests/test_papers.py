"""Published gains against what their settings come to: directions, limits, and what is not calibrated on."""

import pytest

from bytebill import data
from bytebill.errors import BytebillError
from bytebill.serving import Metrics
from bytebill.trials import mlperf, papers
from bytebill.trials.held import glm_room, glm_tokens


def test_sarathi_gains_most_under_the_strict_limit_and_least_under_the_relaxed_one() -> None:
    strict, relaxed = (f"sarathi-yi-34b-{name}" for name in ("strict", "relaxed"))
    gain, names = {}, ("sarathi", "vllm")
    for setting in (strict, relaxed):
        sarathi, vllm = (papers.sarathi_capacity(setting, system, n_requests=200, seeds=(0,)).value for system in names)
        gain[setting] = sarathi / vllm
    assert gain[strict] > 2 > gain[relaxed] > 1


def test_a_capacity_also_limits_the_median_wait() -> None:
    waited = Metrics(n_slots=1, n_kv_tokens=None)
    for id, queued_s in enumerate((0.0, 3.0, 3.0)):
        row = {"id": id, "arrival_s": 0.0, "scheduled_s": queued_s, "first_token_s": queued_s + 1.0}
        row |= {"finish_s": queued_s + 2.0, "n_input_tokens": 1, "n_output_tokens": 2, "n_preemptions": 0}
        for name, value in row.items():
            waited.columns[name].append(value)
    waited.itl_s.append(1.0)
    waited.itl_weight.append(3)
    assert papers.Capacity(itl_s=2.0, queueing_p50_s=4.0).met(waited)
    assert not papers.Capacity(itl_s=2.0).met(waited)  # half of them waited 3 s, and 2 s are allowed
    assert not papers.Capacity(itl_s=0.5, queueing_p50_s=4.0).met(waited)


def test_two_prefill_cards_and_a_decode_card_beat_three_mixed_ones_in_distserves_first_figure() -> None:
    apart, beside, prompts = (
        papers.distserve_goodput(layout, setting_id=papers.FIGURE_1, n_requests=300, seeds=(0,)).value
        for layout in ("2P1D", "colocated", "prefill")
    )
    assert 1.2 < apart / beside < 2.1
    assert prompts > beside  # a phase alone does more than both


def test_what_glm_5_holds_fits_eight_h200s_and_no_h100s() -> None:
    held = glm_tokens()
    assert len(held) == 16 and max(held) / min(held) < 1.07
    fewest, usual, most = glm_room("h200-sxm")
    assert max(held) < fewest <= usual <= most < 2 * min(held)
    assert glm_room("b200")[1] > 3 * max(held)


def test_an_unknown_name_is_told_with_what_there_is() -> None:
    with pytest.raises(BytebillError, match="sarathi-yi-34b-strict"):
        papers.sarathi_capacity("sarathi-yi", "vllm")
    with pytest.raises(BytebillError, match="orca"):
        papers.sarathi_capacity("sarathi-yi-34b-strict", "tgi")
    with pytest.raises(BytebillError, match="2P1D"):
        papers.distserve_goodput("3P1D")
    with pytest.raises(BytebillError, match="interactive"):
        mlperf.limits("llama2-70b", "offline")
    with pytest.raises(BytebillError, match="deepseek-r1"):
        mlperf.workload("gpt-j", 10)


def test_mlperfs_requests_have_the_benchmarks_means_and_stay_below_its_longest() -> None:
    for benchmark in ("llama2-70b", "llama3.1-405b"):
        asked = list(mlperf.workload(benchmark, 4000))
        prompts = [request.n_input_tokens for request in asked]
        outputs = [request.n_output_tokens for request in asked]
        published = {"llama2-70b": (222.3, 1024), "llama3.1-405b": (9400, 20_000)}[benchmark]  # MLCommons: 9,400
        assert sum(prompts) / len(prompts) == pytest.approx(published[0], rel=0.04) and max(prompts) <= published[1]
        assert sum(outputs) / len(outputs) == pytest.approx(mlperf.mean_answer(benchmark), rel=0.05)
        assert max(outputs) <= (1024 if benchmark == "llama2-70b" else 2000)


def test_tighter_limits_leave_less_of_the_offline_rate() -> None:
    few = {"n_requests": 2000, "seeds": (0, 1), "groups": (2,), "budgets": (2048,), "rtol": 0.1}
    server, interactive = (
        mlperf.price_of_latency("llama2-70b", "h200-sxm", scenario, **few) for scenario in mlperf.SCENARIOS
    )
    assert 0.2 < interactive.predicted < server.predicted <= 1.0
    assert server.offline_per_s == interactive.offline_per_s and interactive.binding in ("ttft", "tpot")
    assert interactive.low_per_s < interactive.kept_per_s < interactive.high_per_s
    assert interactive.published_median == pytest.approx(0.58, abs=0.01)


def test_the_price_of_latency_counts_answers_and_not_arrivals() -> None:
    price = mlperf.price_of_latency(
        "llama2-70b", "h200-sxm", "server", n_requests=300, seeds=(0,), groups=(1,), budgets=(2048,)
    )
    assert price.binding == "none"  # so few are there at once that nothing is late, however fast they come
    asked = mlperf.workload("llama2-70b", 300, rate_per_s=2 * price.offline_per_s)
    last_s = max(request.arrival_s for request in asked)
    assert price.kept_per_s < 300 / last_s / 1.5 and price.kept_per_s <= 1.05 * price.offline_per_s


def test_a_run_of_mlperfs_own_length_moves_no_price_by_more_than_a_twentieth() -> None:
    one = {"seeds": (0,), "groups": (1,), "budgets": (2048,)}
    for scenario in mlperf.SCENARIOS:
        short, whole = (
            mlperf.price_of_latency("llama2-70b", "h200-sxm", scenario, n_requests=n, **one) for n in (3000, None)
        )
        assert whole.predicted == pytest.approx(short.predicted, abs=0.05) and whole.binding == "tpot"


def test_gains_that_are_replayed_are_those_of_one_node_without_pipelines() -> None:
    settings = {row["id"]: row for row in data.rows("published_slo_settings")}
    for name in papers._sarathi_gains():
        assert settings[name]["prefill_pipeline_stages"] == settings[name]["decode_pipeline_stages"] == 1
