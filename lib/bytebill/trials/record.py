"""How does a machine that the reader does not have decode? A record of one, kept in `data/measured/`.

`python -m bytebill.trials.record MODEL --dtypes bf16 --batches 1 8 64 > data/measured/NAME.json` decodes random
weights of a published shape (SmolLM2: its own) and writes down what a later reader needs to judge the numbers:
device, driver, versions, command, commit, repeats, warm-up, and the spread of the samples.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from bytebill.device import Device, pick
from bytebill.engine.weights import random_weights, smollm2
from bytebill.measure import ceilings
from bytebill.measure.decode import DecodePoint, sweep_model
from bytebill.models import model
from bytebill.records.origin import provenance, typed_command
from bytebill.records.schema import SCHEMA_NAME

_REAL = "smollm2-135m"  # the one shape that has real weights here


def record(
    device: Device, *, model_id: str, dtypes: Sequence[str], batches: Sequence[int], context_len: int, repeats: int
) -> dict[str, Any]:
    """Decode of a published shape at each dtype and batch; only SmolLM2 has weights of its own."""
    spec, machine = model(model_id), ceilings.machine(device)
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
    return new_record(
        kind="decode",
        provenance=made_on(device, program="python -m bytebill.trials.record"),
        parameters={"model_id": model_id, "dtypes": list(dtypes), **swept, "batches": list(batches), "warm_up": 1},
        ceilings={
            "read_bytes_per_s": machine.bandwidth_bytes_per_s,
            "peak_flops_per_s": dict(machine.peak_flops_per_s),
        },
        steps=[step_on_record(point, model=model_id, context_len=context_len) for point in points],
    )


def new_record(
    *,
    kind: str,
    provenance: Mapping[str, Any],
    parameters: Mapping[str, Any],
    ceilings: Mapping[str, Any] | None,
    steps: Sequence[Mapping[str, Any]] = (),
    found: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What was measured without a chapter, in the book's schema."""
    return {
        "schema": SCHEMA_NAME,
        "kind": kind,
        "provenance": dict(provenance),
        "parameters": dict(parameters),
        "ceilings": ceilings,
        "steps": list(steps),
        "verdicts": [],
        "found": dict(found or {}),
    }


def step_on_record(point: DecodePoint, *, model: str, context_len: int | None) -> dict[str, Any]:
    """A decode step as the schema has it."""
    return {"model": model.removesuffix("-135m"), "context_len": context_len} | asdict(point)


def made_on(device: Device, *, program: str) -> dict[str, Any]:
    """What made a record: this device, and all that is the same of every device."""
    on_cuda = device.kind == "cuda"
    return provenance(
        device=device.name,
        device_kind=device.kind,
        command=typed_command(program),
        threads=device.n_threads,
        pinned=device.pinned,
        memory_bytes=device.memory_bytes,
        total_memory_bytes=torch.cuda.mem_get_info()[1] if on_cuda else None,
    )


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
