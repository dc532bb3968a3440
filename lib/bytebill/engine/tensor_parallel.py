"""Do two devices hold half a model each, and say the same? Tensor-parallel decode, run and compared for real.

    python -m torch.distributed.run --nproc-per-node 2 -m bytebill.engine.tensor_parallel --model random-llama-small

Each rank builds its share (`sharding`), prefills a context and decodes; rank 0 then builds the whole model,
decodes the same tokens alone and prints one JSON object: bytes by rank, largest difference of logits, step
times, bytes said. `launch` does this from a notebook. NCCL on GPUs, gloo on CPUs, where each rank is one
thread on a core of its own: one-thread times compare with one-thread times, and say nothing of NVLink.
"""

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bytebill.engine.kernels import openmp
from bytebill.engine.processes import result_of
from bytebill.engine.sharding import Ranks, ShardLoader, require_even_shares
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, random_weights, smollm2, smollm2_folder
from bytebill.errors import BytebillError, require, unknown
from bytebill.models import MODELS, ModelSpec

_REAL = "smollm2-135m"
RANDOM_SMALL = ModelSpec(
    id="random-llama-small",
    name="random-llama-small",
    n_layers=4,
    d_model=512,
    d_ff=1536,
    n_heads=8,
    n_kv_heads=4,
    d_head=64,
    vocab_size=4096,
    context_len=2048,
)
_SAID = "bytebill: "  # marks our one sentence among torchrun's lines


@dataclass(frozen=True, kw_only=True)
class ParallelRun:
    """What to decode: `n_steps` tokens after a context, of `batch_size` sequences of random tokens."""

    model: str = RANDOM_SMALL.id
    dtype: str = "fp32"
    device: str = "cpu"
    batch_size: int = 2
    context_len: int = 32
    n_steps: int = 8

    def __post_init__(self) -> None:
        require(self.device in ("cpu", "cuda"), f"Ranks run on cpu or cuda, not on '{self.device}'.")
        least = min(self.batch_size, self.context_len, self.n_steps)
        require(least >= 1, "Batch size, context and steps of a parallel run must be at least 1.")

    @property
    def spec(self) -> ModelSpec:
        """The model's shape; any id of `models` is run with random weights, but for the real SmolLM2."""
        known = {RANDOM_SMALL.id: RANDOM_SMALL, **MODELS}
        if self.model not in known:
            raise unknown("model", self.model, known)
        return known[self.model]

    def weights(self) -> Weights:
        """The weights, the same in every process."""
        return smollm2() if self.model == _REAL else random_weights(self.spec)


def launch(n_ranks: int, run: ParallelRun | None = None, *, timeout_s: float = 300) -> dict[str, Any]:
    """Run `n_ranks` processes on this machine and return what rank 0 printed."""
    run = run or ParallelRun()
    require_even_shares(run.spec, n_ranks)
    if run.device == "cuda" and torch.cuda.device_count() < n_ranks:
        raise BytebillError(f"{n_ranks} ranks need as many GPUs; this machine has {torch.cuda.device_count()}.")
    if run.model == _REAL:
        smollm2_folder()  # converted once, before the ranks look for it
    what = f"{n_ranks} ranks of {run.model}"
    found: dict[str, Any] = result_of(
        _command(n_ranks, run),
        what=what,
        timeout_s=timeout_s,
        env=_environment(),
        reason=lambda err: _reason(err) or f"{what} failed without a reason.",
    )
    return found


def _command(n_ranks: int, run: ParallelRun) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--master-addr", "127.0.0.1", "--master-port", str(port), "--nproc-per-node", str(n_ranks)]
    options = [word for key, value in asdict(run).items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "torch.distributed.run", *place, "-m", "bytebill.engine.tensor_parallel", *options]


def _environment() -> dict[str, str]:
    """One thread a rank, unbound: with this process's pinning, every rank would sit on the same first core."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    return inherited | {
        "OMP_NUM_THREADS": "1",
        "OMP_PROC_BIND": "false",
        openmp.SWITCH: "torch",  # a rank decodes a few steps: compiling kernels for them would take longer
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }


def _reason(err: str) -> str | None:
    """Our own sentence if a rank said one, else the last line that names an error."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    said = [line.split(_SAID)[1] for line in lines if _SAID in line]
    named = [line for line in lines if "Error" in line and not line.startswith("torch.distributed.elastic")]
    return said[0] if said else (f"A rank failed: {named[0]}" if named else None)


def compared(run: ParallelRun) -> dict[str, Any] | None:
    """The run as one rank sees it; rank 0 returns the result, held against the whole model alone."""
    ranks = Ranks()
    device = torch.device(run.device, int(os.environ["LOCAL_RANK"])) if run.device == "cuda" else torch.device("cpu")
    place: dict[str, Any] = {"dtype": run.dtype, "device": device}
    logits, held = _decode(Transformer(run.weights(), loader=partial(ShardLoader, ranks=ranks), **place), run)
    by_rank: list[Any] = [None] * ranks.size
    dist.all_gather_object(by_rank, held)
    if ranks.rank > 0:
        return None
    whole_logits, whole = _decode(Transformer(run.weights(), **place), run)
    figures = {"step_s": max(each.pop("step_s") for each in by_rank), "step_s_whole": whole.pop("step_s")}
    for name, value in whole.items():
        figures |= {f"{name}_by_rank": [each[name] for each in by_rank], f"{name}_whole": value}
    return {
        **asdict(run),
        "n_ranks": ranks.size,
        "backend": dist.get_backend(),
        "threads_per_rank": torch.get_num_threads(),
        "max_abs_logit_difference": float((logits - whole_logits).abs().max()),
        "max_abs_logit": float(whole_logits.abs().max()),
        **figures,
        # The counters hold a prefill and the steps: reductions grow with tokens, gathers with rows of logits, one a
        # sequence and pass.
        "all_reduced_bytes_per_step": ranks.reduced_bytes // (run.context_len + run.n_steps),
        "all_gathered_bytes_per_step": ranks.gathered_bytes // (1 + run.n_steps),
    }


def _decode(model: Transformer, run: ParallelRun) -> tuple[Tensor, dict[str, float]]:
    """Prefill and decode fixed tokens: logits of every step [B, steps, V] in fp32, bytes held, median step."""
    length = run.context_len + run.n_steps
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.spec.vocab_size, (run.batch_size, length), generator=generator).to(model.device)
    cache = model.new_cache(run.batch_size, length)
    logits = [model.forward(tokens[:, : run.context_len], cache)]
    times = []
    for step in range(run.context_len, length):
        start = time.perf_counter()
        logits.append(model.forward(tokens[:, step : step + 1], cache))
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        times.append(time.perf_counter() - start)
    return torch.cat(logits, 1).float(), {
        "weight_bytes_stored": model.weight_bytes_stored,
        "weight_bytes_read": model.weight_bytes_read,
        "kv_bytes": cache.nbytes_stored,
        "step_s": median(times),
    }


def _take_own_core(local_rank: int, n_ranks: int) -> None:
    """Give each rank a core, where there are enough; else let the system move them."""
    if not hasattr(os, "sched_setaffinity"):
        return
    if len(os.sched_getaffinity(0)) < n_ranks:  # inherited from a pinned parent
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))
    if n_ranks <= len(cores):
        os.sched_setaffinity(0, {cores[local_rank]})


def _parse(arguments: list[str]) -> ParallelRun:
    parser = argparse.ArgumentParser(prog="bytebill.engine.tensor_parallel")
    for key, default in asdict(ParallelRun()).items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=type(default), default=default)
    return ParallelRun(**vars(parser.parse_args(arguments)))


def main(arguments: list[str], environment: Mapping[str, str] = os.environ) -> int:
    """One rank, started by torchrun."""
    try:
        run = _parse(arguments)
        if "LOCAL_RANK" not in environment:
            raise BytebillError("Start ranks with `python -m torch.distributed.run --nproc-per-node N -m ...`.")
        local_rank, n_ranks = int(environment["LOCAL_RANK"]), int(environment["WORLD_SIZE"])
        require_even_shares(run.spec, n_ranks)
        if run.device == "cpu":
            _take_own_core(local_rank, n_ranks)
            torch.set_num_threads(1)
        else:
            torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl" if run.device == "cuda" else "gloo")
        result = compared(run)
        dist.barrier()
        dist.destroy_process_group()
    except BytebillError as error:
        print(f"{_SAID}{error}", file=sys.stderr)
        return 2
    if result is not None:
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
