"""How does a machine that the reader does not have decode? A record of one, kept in `data/measured/`.

`python -m bytebill.trials.record MODEL --dtypes bf16 --batches 1 8 64 > data/measured/NAME.json` decodes random
weights of a published shape (SmolLM2: its own) and writes down what a later reader needs to judge the numbers:
device, driver, versions, command, commit, repeats, warm-up, and the spread of the samples.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch

from bytebill.device import Device, pick
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.weights import random_weights, smollm2
from bytebill.measure import ceilings
from bytebill.measure.decode import sweep_model
from bytebill.models import model

_REAL = "smollm2-135m"  # the one shape that has real weights here


def record(
    device: Device, *, model_id: str, dtypes: Sequence[str], batches: Sequence[int], context_len: int, repeats: int
) -> dict[str, Any]:
    """Decode of a published shape at each dtype and batch; only SmolLM2 has weights of its own."""
    spec, machine = model(model_id), ceilings.machine(device, *PLAIN)
    found = provenance(device) | {
        "model": spec.name,
        "model_id": model_id,
        "context_len": context_len,
        "repeats": repeats,
        "warm_up": 1,
        "read_bytes_per_s": machine.bandwidth_bytes_per_s,
        "peak_flops_per_s": dict(machine.peak_flops_per_s),
    }
    swept: dict[str, Any] = {"batches": batches, "context_len": context_len, "repeats": repeats}
    points = [
        point
        for dtype in dtypes
        for point in sweep_model(
            smollm2() if spec.id == _REAL else random_weights(spec, device=device.torch),
            device,
            dtype=dtype,
            peaks=machine.peak_flops_per_s,
            **swept,
        )
    ]
    return found | {"steps": [asdict(point) for point in points]}


def provenance(device: Device) -> dict[str, Any]:
    """What made a record: machine, software, command, commit and day."""
    on_cuda, asked = device.kind == "cuda", ("--query-gpu=driver_version,memory.total", "--format=csv,noheader")
    return {
        "device": device.name,
        "kind": device.kind,
        "memory_bytes": device.memory_bytes,
        "total_memory_bytes": torch.cuda.mem_get_info()[1] if on_cuda else None,
        "driver": _output_of("nvidia-smi", *asked) if on_cuda else None,
        "torch": torch.__version__,
        "command": " ".join(["python -m bytebill.trials.record", *sys.argv[1:]]),
        "commit": _output_of("git", "rev-parse", "HEAD"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _output_of(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main() -> None:
    """Print a record as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_id")
    parser.add_argument("--device", type=pick, default="auto")
    parser.add_argument("--dtypes", nargs="+", default=["bf16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--context-len", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=11)
    print(json.dumps(record(**vars(parser.parse_args())), indent=1))


if __name__ == "__main__":
    main()
