"""The published tables agree with what physics, their own columns and their source's other figures say."""

from __future__ import annotations

import statistics

import pytest

from bytebill import data
from bytebill.models import MODELS


def test_bytes_moved_follow_from_the_shape_with_each_head_stored_as_often_as_its_parallel_size_asks() -> None:
    for row in data.rows("published_kv_transfer"):
        copies = max(1, row["tensor_parallel"] // row["n_kv_heads"])
        assert row["n_head_copies"] == copies
        per_token = row["n_layers"] * row["n_kv_heads"] * row["head_dim"] * 2 * row["bytes_per_value"] * copies
        least, most = row["n_input_tokens"] * per_token, (row["n_input_tokens"] + 16) * per_token
        assert 0.99 * least <= row["moved_bytes"] <= 1.01 * most
        assert row["moved_bytes"] / row["transfer_s"] < row["link_bytes_per_s"]
        assert row["ttft_share"] == pytest.approx(row["transfer_s"] / row["ttft_s"], abs=1e-4)


def test_a_prefill_token_is_two_to_three_times_as_fast_as_a_decode_token_on_the_same_devices() -> None:
    rows = {row["deployment"]: row for row in data.rows("published_phase_rates")}
    ratios = {name: row["prefill_tokens_per_s"] / row["decode_tokens_per_s"] for name, row in rows.items()}
    computed = {name: ratio for name, ratio in ratios.items() if "computed" in rows[name]["prefill_counts"]}
    assert computed == pytest.approx({"deepseek-day": 2.18, "sglang-96-h100": 2.35, "vllm-gb200": 2.59}, abs=0.005)
    day = {row["quantity"]: row["value"] for row in data.rows("deepseek_day6")}
    missed = day["prefill_tokens_per_s_per_node"] * (1 - day["cached_share"])
    assert rows["deepseek-day"]["prefill_tokens_per_s"] == pytest.approx(missed, rel=1e-3)
    assert rows["sglang-96-h100"]["prefill_tokens_per_s"] == day["sglang_prefill_tokens_per_s_per_node"]


def test_a_catalogued_ratio_is_that_of_the_mean_lengths() -> None:
    rows = data.rows("workload_catalog")
    assert len(rows) == 7
    for row in rows:
        ratio = row["input_mean_tokens"] / row["output_mean_tokens"]
        assert row["prefill_decode_ratio"] == pytest.approx(ratio, rel=0.003)
        for limit in ("ttft", "itl", "e2e"):
            assert (row[f"{limit}_ms"] is None) == (row[f"{limit}_percentile"] is None)
            assert limit == "e2e" or (row[f"{limit}_ms"] is None) == (row[f"{limit}_reason"] is None)


def test_the_saturated_points_of_the_interference_grid_hold_one_number_of_tokens() -> None:
    """Little's law: output rate times TPOT are the sequences that decode; times their prompts, the cache's tokens."""
    glm = [row for row in data.rows("published_interference_grid") if row["model_name"] == "GLM-5-FP8"]
    full = [row for row in glm if row["tpot_median_ms"] >= 200]
    held = [row["output_tokens_per_s"] * row["tpot_median_ms"] / 1000 * row["n_input_tokens"] for row in full]
    assert (len(glm), len(full)) == (52, 16)
    assert min(held) > 199e3 and max(held) < 213.5e3
    for row in data.rows("published_interference_grid"):
        made = row["n_requests"] * row["n_output_tokens"]
        assert row["output_tokens_per_s"] * row["duration_s"] == pytest.approx(made, rel=0.001)


def test_who_wins_with_disaggregation_follows_from_the_two_values_and_both_do() -> None:
    rows = data.rows("published_disaggregation")
    for row in rows:
        mixed, split = row["mixed_value"], row["disaggregated_value"]
        if mixed is not None:
            wins = split > mixed if row["metric"].endswith(("throughput", "at_slo")) else split < mixed
            assert row["better"] == ("disaggregated" if wins else "mixed")
        else:
            assert row["caution"] == "read-2nd" or row["better"] == "not compared"
    by = {
        (row["setting"], row["metric"]): row["disaggregated_value"] / row["mixed_value"]
        for row in rows
        if row["mixed_value"]
    }
    assert 1 / by["mooncake-a10-short-prompts", "p99_itl"] == pytest.approx(15, abs=0.1)
    assert by["mooncake-a10-short-prompts", "mean_ttft"] == pytest.approx(3.6, abs=0.05)
    assert {row["better"] for row in rows} == {"disaggregated", "mixed", "not compared"}


def test_the_price_of_latency_in_mlperf_is_a_median_over_systems_that_also_ran_offline() -> None:
    rows = data.rows("mlperf_results")
    runs = {(row["benchmark"], row["scenario"], row["submitter"], row["system"]): row for row in rows}
    assert len(runs) == len(rows) and all(row["valid"] for row in rows)
    shares: dict[tuple[str, str], list[float]] = {}
    for (model, scenario, *system), row in runs.items():
        if scenario != "offline" and (offline := runs.get((model, "offline", *system))):
            shares.setdefault((model, scenario), []).append(row["tokens_per_s"] / offline["tokens_per_s"])
    assert {key: (len(found), round(statistics.median(found), 2)) for key, found in shares.items()} == {
        ("llama2-70b", "server"): (45, 0.95),
        ("llama2-70b", "interactive"): (22, 0.56),
        ("llama3.1-405b", "server"): (23, 0.75),
        ("llama3.1-405b", "interactive"): (12, 0.46),
        ("llama3.1-8b", "server"): (24, 0.87),
        ("llama3.1-8b", "interactive"): (8, 0.79),
        ("mixtral-8x7b", "server"): (11, 0.87),
        ("deepseek-r1", "server"): (8, 0.48),
    }


def test_every_valid_mlperf_run_kept_the_limits_of_its_scenario() -> None:
    limits = {(row["benchmark"], row["scenario"]): row for row in data.rows("mlperf_slos")}
    for row in data.rows("mlperf_results"):
        if row["scenario"] != "offline":
            limit = limits[row["benchmark"], row["scenario"]]
            assert row["ttft_p99_ms"] <= limit["ttft_ms"] and row["tpot_p99_ms"] <= limit["tpot_ms"], row


def test_every_gain_within_limits_names_a_setting_that_is_there_and_the_headlines_are_the_largest() -> None:
    settings = {row["id"]: row for row in data.rows("published_slo_settings")}
    gains = data.rows("published_slo_gains")
    for row in gains:
        if row["setting"]:
            assert settings[row["setting"]]["model_name"] == row["model_name"]
            assert settings[row["setting"]]["system"] == row["system"]
        assert row["gain_low"] is None or row["gain_low"] < row["gain"]
    of_osdi = [row for row in gains if row["system"] == "DistServe" and row["edition"] == "OSDI 2024"]
    largest = {
        of: max(row["gain"] for row in of_osdi if row["gain_of"] == of) for of in ("request rate", "tighter limits")
    }
    assert largest == {"request rate": 7.4, "tighter limits": 12.6}
    for row in settings.values():
        if row["system"] == "Sarathi-Serve":
            assert row["n_devices"] == row["prefill_tensor_parallel"] * row["prefill_pipeline_stages"]


def test_strict_limits_of_sarathi_are_a_fifth_of_the_relaxed_ones() -> None:
    limits = {row["id"]: row["tbt_p99_s"] for row in data.rows("published_slo_settings") if row["tbt_p99_s"]}
    strict = {name.removesuffix("-strict"): limit for name, limit in limits.items() if name.endswith("-strict")}
    assert len(strict) == 4
    for name, limit in strict.items():
        assert limits[f"{name}-relaxed"] == pytest.approx(5 * limit)


def test_the_two_techniques_of_sarathi_together_have_the_shortest_tail_and_not_the_shortest_first_token() -> None:
    for rows in data.grouped("published_sarathi_ablation", "workload").values():
        by = {row["variant"]: row for row in rows}
        assert min(by, key=lambda name: by[name]["tbt_p99_s"]) == "both"
        assert min(by, key=lambda name: by[name]["ttft_p50_s"]) == "hybrid batching only"


def test_the_share_within_limits_falls_with_the_rate_and_disaggregation_keeps_more() -> None:
    by = {
        name: {row["rate_per_s"]: row["attainment"] for row in rows}
        for name, rows in data.grouped("published_slo_attainment", "system").items()
    }
    for shares in by.values():
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert all(by["DistServe-Low"][rate] > share for rate, share in by["vLLM"].items())
    assert (
        max(abs(row["attainment"] - row["simulated_attainment"]) for row in data.rows("published_slo_attainment"))
        < 0.02
    )


def test_a_smaller_token_budget_won_where_memory_was_tight_and_lost_where_it_was_not() -> None:
    rows = data.rows("published_token_budgets")
    gains = {
        row["tensor_parallel"]: row["after_tokens_per_s"] / row["before_tokens_per_s"] - 1
        for row in rows
        if row["before_tokens_per_s"]
    }
    assert gains == pytest.approx({2: 0.36, 4: -0.02}, abs=0.006)
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
    assert all(row["offline_budget_tokens"] >= row["server_budget_tokens"] for row in rows)


def test_latency_of_one_request_is_straight_in_context_for_decode_and_bent_for_prefill() -> None:
    for name in ("h100-sxm", "b200"):
        for kv in ("bf16", "fp8"):
            rows = [r for r in data.rows("published_context_latency") if (r["device_id"], r["kv"]) == (name, kv)]
            slope, _ = statistics.linear_regression(
                [r["n_input_tokens"] for r in rows], [r["itl_median_ms"] for r in rows]
            )
            assert slope == pytest.approx(rows[0]["fit_slope_ms_per_token"], rel=0.06)
            first = [r for r in rows if r["ttft_median_s"]]
            per_token = [r["ttft_median_s"] / r["n_input_tokens"] for r in first]
            assert per_token == sorted(per_token) and per_token[-1] > 1.5 * per_token[0]


def test_no_published_first_token_is_faster_than_the_peak_of_its_device_allows() -> None:
    from bytebill.hardware import accelerator

    weights = MODELS["llama-3-8b"].n_params
    for row in data.rows("published_context_latency"):
        if row["ttft_median_s"]:
            floor = 2 * weights * row["n_input_tokens"] / accelerator(row["device_id"]).peak("bf16")
            assert row["ttft_median_s"] > floor
