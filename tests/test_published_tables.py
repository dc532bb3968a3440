"""The published tables agree with what physics, their own columns and their source's other figures say."""

from __future__ import annotations

import pytest

from bytebill import data


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
            wins = split > mixed if row["metric"].endswith("throughput") else split < mixed
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
