"""What have others measured that a clock can be held against? Published points, each with its prediction.

    served     TPOT of a closed loop of users under a program (`bytebill.sim.closed_loop`)
    batches    seconds of an output token at a cap on the batch (`bytebill.sim.steady`)
    one user   TPOT without anybody else

Every figure is turned into the seconds of one output token of one request, so that errors compare. Ignores what the
points do not tell: the clock of the card, and at which context a source measured one user (taken as 5 tokens in and
200 out).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.hardware import Accelerator, accelerator
from bytebill.models import Precision, model, precision
from bytebill.sim import Clock, ClosedLoop, Constants, SteadyState
from bytebill.sim.closed_loop import POLICIES
from bytebill.trials.fit import Observation

_GPT_FAST = {  # its own formats narrow every matrix, the head too, and int4 has a scale and a zero for 32 weights
    "int8": replace(precision("int8"), exceptions=()),
    "int4": replace(precision("int4"), exceptions=(), group_size=32),
}
_ONE_USER = {"concurrency": 1, "n_input_tokens": 5, "n_output_tokens": 200}


def served_points(program: str) -> tuple[Observation, ...]:
    """Llama-3.1-8B or Qwen3-32B on H100s under a program (`data/serving_calibration.csv`).

    >>> len(served_points("trtllm")), served_points("vllm")[0].name
    (177, 'qwen3-32b tp=2 c=8 1024/512')
    """
    return tuple(_served(row) for row in data.rows("serving_calibration") if row["program"] == program)


def batch_points() -> tuple[Observation, ...]:
    """OPT-1.3B and OPT-2.7B under vLLM V0, by the cap on the batch (`data/published_max_num_seqs.csv`)."""
    return tuple(_batch(row) for row in data.rows("published_max_num_seqs"))


def one_user_points() -> tuple[Observation, ...]:
    """Llama-2-7B and Mixtral on A100s under gpt-fast, batch 1 (`data/published_decode.csv`)."""
    return tuple(_one_user(row) for row in data.rows("published_decode"))


def _served(row: data.Row) -> Observation:
    group = _group(row, accelerator(row["device_id"]), precision(row["weights"]), row["n_devices"])
    loop = {name: row[name] for name in ("concurrency", "n_input_tokens", "n_output_tokens")}
    policy, together = POLICIES[row["program"]], bool(row["synchronised"])
    return Observation(
        name=f"{row['model_id']} tp={row['n_devices']} c={row['concurrency']} "
        f"{row['n_input_tokens']}/{row['n_output_tokens']}",
        measured=row["tpot_ms"] / 1e3,
        predict=lambda c: (
            ClosedLoop(deployment=group, constants=c, policy=policy, synchronised=together, **loop).tpot_s
        ),
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
    steady = _steady(_group(row, device, precision("fp16"), 1), **loop)
    return Observation(
        name=f"{row['model_id']} cap={row['max_num_seqs']}",
        measured=batch / (row["total_tokens_per_s"] * n_out / (n_in + n_out)),
        predict=lambda c: batch / steady(c).output_tokens_per_s,
    )


def _one_user(row: data.Row) -> Observation:
    dtype, n_devices = row["weight_dtype"], row["tensor_parallel"]
    width = _GPT_FAST.get(dtype) or precision(dtype)
    steady = _steady(_group(row, accelerator(row["device_id"]), width, n_devices), **_ONE_USER)
    return Observation(
        name=f"{row['model_id']} {dtype} tp={n_devices}",
        measured=row["batch_size"] / row["tokens_per_s"],
        predict=lambda c: steady(c).tpot_s,
    )


def _group(row: data.Row, device: Accelerator, width: Precision, n_devices: int) -> Deployment:
    return Deployment(model=model(row["model_id"]), accelerator=device, precision=width, n_devices=n_devices)


def _steady(group: Deployment, **loop: Any) -> Callable[[Constants], SteadyState]:
    """A group in its loop, for any constants."""
    return lambda constants: SteadyState(clock=Clock(group, constants), **loop)
