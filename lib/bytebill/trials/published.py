"""What have others measured that a clock can be held against? Published points, each with its prediction.

    kernel     time = hypot(bytes / W, flops / peak)       one matrix product
               time = layer_s + bytes / W                  one layer's decode attention
    serving    TPOT in the steady state (`bytebill.sim.steady`), or its inverse, B devices' share of a rate
    one user   TPOT without anybody else

Every figure is turned into the seconds of one output token of one request (a kernel's: of one call), so that errors
compare. Rates of several devices become devices * B / rate. Ignores what the points do not tell: the clock of the
card, and at which context a source measured one user (taken as 5 tokens in and 200 out).
"""

from __future__ import annotations

from math import hypot
from typing import Any

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.hardware import Accelerator, accelerator
from bytebill.models import model, precision
from bytebill.sim.clock import Clock
from bytebill.sim.constants import Constants
from bytebill.sim.steady import SteadyState
from bytebill.trials.fit import Observation

_TWO_BYTES = 2  # bf16, the only format of the kernel tables
_ONE_USER_TOKENS = (5, 200)


def gemm_points(device_id: str) -> tuple[Observation, ...]:
    """Matrix products of one device (`data/published_gemm.csv`)."""
    rows = (row for row in data.table("published_gemm") if row["device_id"] == device_id)
    return tuple(_gemm(row, accelerator(device_id)) for row in rows)


def attention_points(device_id: str) -> tuple[Observation, ...]:
    """Decode attention of one layer on one device (`data/published_decode_attention.csv`)."""
    rows = (row for row in data.table("published_decode_attention") if row["device_id"] == device_id)
    return tuple(_attention(row, accelerator(device_id)) for row in rows)


def serving_points() -> tuple[Observation, ...]:
    """Llama-3.1-8B on H100s under TRT-LLM, closed loop (`data/published_serving.csv`).

    >>> [point.name for point in serving_points()][::8]
    ['c=8 tp=1', 'c=64 tp=8 rate']
    """
    return tuple(_serving(row) for row in data.table("published_serving"))


def batch_points() -> tuple[Observation, ...]:
    """OPT-1.3B and OPT-2.7B under vLLM V0, by the cap on the batch (`data/published_max_num_seqs.csv`)."""
    return tuple(_batch(row) for row in data.table("published_max_num_seqs"))


def one_user_points() -> tuple[Observation, ...]:
    """Llama-2-7B and Mixtral on A100s under gpt-fast, batch 1 (`data/published_decode.csv`)."""
    return tuple(_one_user(row) for row in data.table("published_decode"))


def _gemm(row: data.Row, device: Accelerator) -> Observation:
    m, n, k = row["n_tokens"], row["n_out"], row["n_in"]
    n_bytes, n_flops = _TWO_BYTES * (n * k + m * n + m * k), 2 * m * n * k

    def predict(c: Constants) -> float:
        memory_s = n_bytes / (device.bandwidth_bytes_per_s * c.bandwidth_share.value)
        return hypot(memory_s, n_flops / (device.peak() * c.flops_share.value))

    return Observation(name=f"gemm m={m}", measured=row["time_ms"] / 1e3, predict=predict)


def _attention(row: data.Row, device: Accelerator) -> Observation:
    values = 2 * row["batch_size"] * row["context_len"] * row["n_kv_heads"] * row["d_head"]
    full_rate_s = _TWO_BYTES * values / device.bandwidth_bytes_per_s

    def predict(c: Constants) -> float:
        return c.layer_s.value + full_rate_s / c.bandwidth_share.value

    name = f"attention B={row['batch_size']} S={row['context_len']}"
    return Observation(name=name, measured=full_rate_s / row["fraction_of_bandwidth"], predict=predict)


def _serving(row: data.Row) -> Observation:
    n_devices = row["tensor_parallel"]
    group = _group(row, device=accelerator(row["device_id"]), dtype=row["dtype"], n_devices=n_devices)
    loop = {name: row[name] for name in ("concurrency", "n_input_tokens", "n_output_tokens")}
    name = f"c={row['concurrency']} tp={n_devices}"
    if row["quantity"] == "tpot":
        return Observation(name=name, measured=row["value"] / 1e3, predict=lambda c: _steady(group, c, **loop).tpot_s)
    return Observation(
        name=f"{name} rate",
        measured=row["concurrency"] / (row["value"] * n_devices),
        predict=lambda c: row["concurrency"] / _steady(group, c, **loop).output_tokens_per_s,
    )


def _batch(row: data.Row) -> Observation:
    """The mean batch is taken as given: what is predicted is how fast it went."""
    device = Accelerator(
        id="h100-64",
        name=row["device_name"],
        memory_bytes=row["memory_mib"] * 2**20,
        bandwidth_bytes_per_s=row["bandwidth_tb_per_s"] * 1e12,
        peak_flops_per_s=accelerator("h100-sxm").peak_flops_per_s,
    )
    group = _group(row, device=device, dtype="fp16", n_devices=1)
    n_in, n_out, batch = row["n_input_tokens"], row["n_output_tokens"], row["mean_running"]
    loop = {"concurrency": batch, "n_input_tokens": round(n_in), "n_output_tokens": round(n_out), "mixed": False}
    output_rate = row["total_tokens_per_s"] * n_out / (n_in + n_out)
    return Observation(
        name=f"{row['model_id']} cap={row['max_num_seqs']}",
        measured=batch / output_rate,
        predict=lambda c: batch / _steady(group, c, **loop).output_tokens_per_s,
    )


def _one_user(row: data.Row) -> Observation:
    n_devices, dtype = row["tensor_parallel"], row["weight_dtype"]
    n_in, n_out = _ONE_USER_TOKENS
    group = _group(row, device=accelerator(row["device_id"]), dtype=dtype, n_devices=n_devices)
    return Observation(
        name=f"{row['model_id']} {dtype} tp={n_devices}",
        measured=row["batch_size"] / row["tokens_per_s"],
        predict=lambda c: _steady(group, c, concurrency=1, n_input_tokens=n_in, n_output_tokens=n_out).tpot_s,
    )


def _group(row: data.Row, *, device: Accelerator, dtype: str, n_devices: int) -> Deployment:
    return Deployment(model=model(row["model_id"]), accelerator=device, precision=precision(dtype), n_devices=n_devices)


def _steady(group: Deployment, constants: Constants, **loop: Any) -> SteadyState:
    return SteadyState(clock=Clock(group, constants), **loop)
