"""Eight public inputs that this book once failed, each with the value that the public reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.hardware import accelerator
from bytebill.memory import footprint_of
from bytebill.models import cache_bytes, find, model, precision, weight_bytes
from bytebill.models.config_json import read_config, stored_precision
from bytebill.serving.workload import TraceFile
from bytebill.sim import ClosedLoop
from bytebill.sim.closed_loop import REQUEST_S, policy_of
from bytebill.sim.constants import calibrated_constants

GIB = 2**30
BF16 = precision("bf16")


def loop(n_devices: int, concurrency: int, n_input_tokens: int) -> ClosedLoop:
    """Llama-3.1-70B in 8 bits, cache and all, on H100s under vLLM, as InferenceX asks."""
    card, narrow = accelerator("h100-sxm"), precision("fp8-kv8")
    return ClosedLoop(
        deployment=Deployment(model=model("llama-3.1-70b"), accelerator=card, precision=narrow, n_devices=n_devices),
        constants=calibrated_constants("vllm", card.id),
        policy=policy_of("vllm", card),
        concurrency=concurrency,
        n_input_tokens=n_input_tokens,
        n_output_tokens=1024,
        length_spread=0.2,
        request_s=REQUEST_S,
    )


def test_gpt_oss_120b_does_not_start_on_one_h100() -> None:
    """vLLM issue 23278: -2.14 GiB left for the cache; the checkpoint is 60.8 GiB."""
    served = footprint_of("openai/gpt-oss-120b", accelerator="h100-sxm")
    assert not served.fits()
    spec, stored = find("openai/gpt-oss-120b")
    assert weight_bytes(spec, precision=stored) / GIB == pytest.approx(60.8, rel=0.01)
    assert footprint_of("openai/gpt-oss-120b", accelerator="h100-sxm", n_devices=2).fits()


def test_llama_405b_in_fp8_keeps_attention_and_tables_wide() -> None:
    """vLLM issue 6746: 57.752 GiB on each of eight; as first uploaded it had sixteen KV heads."""
    spec = replace(model("llama-3.1-405b"), n_kv_heads=16)
    wide = tuple((name, 1.0, "bf16") for name in ("attention", "embedding", "head", "norm"))
    ends = tuple((name, 2 / spec.n_layers, "bf16") for name in ("gate", "up", "down"))  # the first and the last layer
    stored = replace(precision("fp8"), exceptions=(*wide, *ends))
    assert weight_bytes(spec, precision=stored) / 8 / GIB == pytest.approx(57.752, rel=0.005)


def test_gemma_3_keeps_five_windows_for_each_full_layer() -> None:
    """unsloth pull request 4757: 10.41 GiB at 131,072 tokens."""
    assert cache_bytes(model("gemma-3-27b"), 131_072, precision=BF16) / GIB == pytest.approx(10.41, abs=0.005)


def test_three_of_four_layers_of_qwen3_next_cache_nothing() -> None:
    """24,576 bytes a token: 12 of 48 layers, two KV heads of 256."""
    spec = model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert cache_bytes(spec, 1001, precision=BF16) - cache_bytes(spec, 1000, precision=BF16) == 24_576


@pytest.mark.parametrize(("n_devices", "measured_s"), [(2, 0.7375), (4, 0.4533), (8, 0.3008)])
def test_more_devices_bring_a_long_prompts_first_token_sooner(n_devices: int, measured_s: float) -> None:
    assert loop(n_devices, concurrency=4, n_input_tokens=8192).ttft_s == pytest.approx(measured_s, rel=0.2)


@pytest.mark.parametrize(("users", "measured_s"), [(4, 9.11e-3), (64, 15.46e-3)])
def test_a_token_on_eight_h100s(users: int, measured_s: float) -> None:
    assert loop(8, concurrency=users, n_input_tokens=1024).tpot_s == pytest.approx(measured_s, rel=0.08)


def test_a_bailian_trace_is_in_seconds_and_short_blocks(tmp_path: Path) -> None:
    """Requests a second apart whose prompts have one block of 16 tokens in common."""
    rows = (
        {
            "chat_id": i,
            "parent_chat_id": -1,
            "timestamp": float(i),
            "input_length": 512,
            "output_length": 8,
            "turn": 1,
            "hash_ids": [0, *range(100 * (i + 1), 100 * (i + 1) + 31)],
        }
        for i in range(2)
    )
    path = tmp_path / "bailian.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    one, two = TraceFile(path)
    assert two.arrival_s - one.arrival_s == 1
    assert sum(a == b for a, b in zip(one.prefix, two.prefix, strict=True)) == 1


def test_an_fp8_checkpoint_is_read_as_its_model() -> None:
    """Refused before for its quantized weights, though the shape is that of the 16-bit one."""
    row = next(row for row in data.rows("model_configs") if row["id"] == "qwen3-235b-a22b")
    config = {**json.loads(row["config"]), "quantization_config": {"quant_method": "fp8"}}
    spec = read_config(config, id="qwen3-235b-fp8", name="Qwen3-235B-A22B-FP8")
    assert spec.n_params == model("qwen3-235b-a22b").n_params == 235_093_634_560
    assert stored_precision(config, spec).weight_bits == 8
