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
