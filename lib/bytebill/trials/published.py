"""What have others measured that a clock can be held against? Published points, each with its prediction.

    kernel     time = hypot(bytes / W, flops / peak)       one matrix product
               time = layer_s + bytes / W                  one layer's decode attention
    serving    TPOT in the steady state (`bytebill.sim.steady`), or its inverse, B devices' share of a rate
    one user   TPOT without anybody else

Every figure is turned into the seconds of one output token of one request (a kernel's: of one call), so that errors
compare. Rates of several devices become devices * B / rate. Ignores what the points do not tell: the clock of the
card, and at which context a source measured one user (taken as 5 tokens in and 200 out).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import hypot
from typing import Any

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.hardware import Accelerator, accelerator
from bytebill.models import model, precision
from bytebill.sim import Clock, Constants, SteadyState
from bytebill.trials.fit import Observation

_TWO_BYTES = 2  # bf16, the only format of the kernel tables
_ONE_USER = {"concurrency": 1, "n_input_tokens": 5, "n_output_tokens": 200}


def gemm_points(device_id: str) -> tuple[Observation, ...]:
    """Matrix products of one device (`data/published_gemm.csv`)."""
    device = accelerator(device_id)
    return tuple(
        Observation(
            name=f"gemm m={row['n_tokens']}", measured=row["time_ms"] / 1e3, predict=partial(_gemm_s, row, device)
        )
        for row in data.rows("published_gemm")
        if row["device_id"] == device_id
    )


def attention_points(device_id: str) -> tuple[Observation, ...]:
    """Decode attention of one layer on one device (`data/published_decode_attention.csv`)."""
    rows = [row for row in data.rows("published_decode_attention") if row["device_id"] == device_id]
    n_values = [2 * row["batch_size"] * row["context_len"] * row["n_kv_heads"] * row["d_head"] for row in rows]
    full_rates_s = [_TWO_BYTES * each / accelerator(device_id).bandwidth_bytes_per_s for each in n_values]
    return tuple(
        Observation(
            name=f"attention B={row['batch_size']} S={row['context_len']}",
            measured=full_rate_s / row["fraction_of_bandwidth"],
            predict=partial(_attention_s, full_rate_s),
        )
        for row, full_rate_s in zip(rows, full_rates_s, strict=True)
    )


def serving_points() -> tuple[Observation, ...]:
    """Llama-3.1-8B on H100s under TRT-LLM, closed loop (`data/published_serving.csv`).

    >>> [point.name for point in serving_points()][::8]
    ['c=8 tp=1', 'c=64 tp=8 rate']
    """
    return tuple(_serving(row) for row in data.rows("published_serving"))


def batch_points() -> tuple[Observation, ...]:
    """OPT-1.3B and OPT-2.7B under vLLM V0, by the cap on the batch (`data/published_max_num_seqs.csv`)."""
    return tuple(_batch(row) for row in data.rows("published_max_num_seqs"))


def one_user_points() -> tuple[Observation, ...]:
    """Llama-2-7B and Mixtral on A100s under gpt-fast, batch 1 (`data/published_decode.csv`)."""
    return tuple(_one_user(row) for row in data.rows("published_decode"))


def _gemm_s(row: data.Row, device: Accelerator, constants: Constants) -> float:
    m, n, k = row["n_tokens"], row["n_out"], row["n_in"]
    n_bytes, bytes_per_s = _TWO_BYTES * (n * k + m * n + m * k), device.bandwidth_bytes_per_s
    compute_s = 2 * m * n * k / (device.peak() * constants.flops_share.value)
    return hypot(n_bytes / (bytes_per_s * constants.bandwidth_share.value), compute_s)


def _attention_s(full_rate_s: float, constants: Constants) -> float:
    return constants.layer_s.value + full_rate_s / constants.bandwidth_share.value


def _serving(row: data.Row) -> Observation:
    n_users, n_devices = row["concurrency"], row["tensor_parallel"]
    loop = {"concurrency": n_users, **{name: row[name] for name in ("n_input_tokens", "n_output_tokens")}}
    steady = _steady(row, accelerator(row["device_id"]), row["dtype"], n_devices, **loop)
    name = f"c={n_users} tp={n_devices}"
    if row["quantity"] == "tpot":
        return Observation(name=name, measured=row["value"] / 1e3, predict=lambda c: steady(c).tpot_s)
    return Observation(
        name=f"{name} rate",
        measured=n_users / (row["value"] * n_devices),
        predict=lambda c: n_users / steady(c).output_tokens_per_s,
    )


def _batch(row: data.Row) -> Observation:
    """The mean batch is taken as given: what is predicted is how fast it went."""
    device = replace(
        accelerator("h100-sxm"),
        id="h100-64",
        name=row["device_name"],
        memory_bytes=row["memory_mib"] * 2**20,
        bandwidth_bytes_per_s=row["bandwidth_tb_per_s"] * 1e12,
    )
    n_in, n_out, batch = row["n_input_tokens"], row["n_output_tokens"], row["mean_running"]
    loop = {"concurrency": batch, "n_input_tokens": round(n_in), "n_output_tokens": round(n_out), "mixed": False}
    steady = _steady(row, device, "fp16", 1, **loop)
    return Observation(
        name=f"{row['model_id']} cap={row['max_num_seqs']}",
        measured=batch / (row["total_tokens_per_s"] * n_out / (n_in + n_out)),
        predict=lambda c: batch / steady(c).output_tokens_per_s,
    )


def _one_user(row: data.Row) -> Observation:
    dtype, n_devices = row["weight_dtype"], row["tensor_parallel"]
    steady = _steady(row, accelerator(row["device_id"]), dtype, n_devices, **_ONE_USER)
    return Observation(
        name=f"{row['model_id']} {dtype} tp={n_devices}",
        measured=row["batch_size"] / row["tokens_per_s"],
        predict=lambda c: steady(c).tpot_s,
    )


def _steady(
    row: data.Row, device: Accelerator, dtype: str, n_devices: int, **loop: Any
) -> Callable[[Constants], SteadyState]:
    """The row's model in its loop on a group of devices, for any constants."""
    group = Deployment(
        model=model(row["model_id"]), accelerator=device, precision=precision(dtype), n_devices=n_devices
    )
    return lambda constants: SteadyState(clock=Clock(group, constants), **loop)
