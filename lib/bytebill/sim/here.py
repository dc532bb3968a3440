"""What are this machine's own six constants? The engine's steps, timed, and the clock fitted to them.

    real model     decodes of 1 to 32 sequences at two contexts, and prefills     both shares
    hollow model   the same with next to no weights, at two depths                time per step, layer, sequence

The shares are of the machine's own ceilings (`bytebill.measure.ceilings`), so a prediction for this machine and one
for a published device differ in nothing but where the numbers come from. All steps are timed in turns, and fitted
together; what the fit misses by is in the constants' ranges. Takes under a minute. Ignores a link between devices,
of which the engine has none, and the scheduler's own time, which the engine's loop reports.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, replace

from bytebill.device import Device, synchronizer
from bytebill.engine.runner import Runner
from bytebill.engine.smollm2 import smollm2
from bytebill.engine.state import Weights
from bytebill.engine.transformer import Transformer
from bytebill.hardware import Accelerator
from bytebill.measure.ceilings import as_accelerator, peak_flops_per_s, read_bytes_per_s
from bytebill.measure.model import hollow_decoder
from bytebill.measure.timing import in_turns
from bytebill.models import ModelSpec, Precision, precision
from bytebill.serving.plan import Plan, PrefillChunk
from bytebill.serving.request import Request, Sequence
from bytebill.sim.calibrate import Point, calibrate
from bytebill.sim.clock import Clock
from bytebill.sim.constants import Constants

FREE = ("bandwidth_share", "flops_share", "step_s", "layer_s", "sequence_s")
DECODES = tuple((batch_size, context_len) for context_len in (64, 512) for batch_size in (1, 2, 4, 8, 16, 32))
PREFILLS = (32, 128, 512)
HOLLOW_DECODES = ((1, 16), (16, 16))
_START = Constants.exact(bandwidth_share=0.8, flops_share=0.7)
_BLOCK = 16
_N_OUTPUT_TOKENS = 1024  # more than a step is ever repeated


@dataclass(frozen=True, kw_only=True)
class MachineConstants:
    """What a clock for this machine needs, and the steps that it was fitted to."""

    accelerator: Accelerator
    precision: Precision
    constants: Constants
    points: tuple[Point, ...]

    def clock(self, spec: ModelSpec) -> Clock:
        """The clock of a model on this machine."""
        return Clock(
            spec, accelerator=self.accelerator, precision=self.precision, constants=self.constants
        )

    @property
    def mean_error(self) -> float:
        """Mean of |fitted / measured - 1| over the steps: no prediction, the fit has seen them."""
        return sum(abs(point.error(self.constants)) for point in self.points) / len(self.points)


def measure_constants(
    device: Device, *, dtype: str = "bf16", weights: Weights | None = None, repeats: int = 5,
    decodes: Items[tuple[int, int]] = DECODES, prefills: Items[int] = PREFILLS,
) -> MachineConstants:  # fmt: skip
    """The constants of the engine on a device, with SmolLM2's weights or those given."""
    weights, width = weights or smollm2(), precision(dtype)
    before = read_bytes_per_s(device)
    real = Transformer(weights, dtype=dtype, device=device.torch)
    steps = [_decode(real, *load) for load in decodes] + [_prefill(real, n_tokens) for n_tokens in prefills]
    for n_layers in (weights.spec.n_layers, max(1, weights.spec.n_layers // 3)):
        shallow = replace(weights.spec, n_layers=n_layers)
        hollow = hollow_decoder(shallow, device, dtype=dtype, context_len=1).model
        steps += [_decode(hollow, *load) for load in HOLLOW_DECODES]
    calls = {i: step.run for i, step in enumerate(steps)}
    timings = in_turns(calls, {}, sync=synchronizer(device), repeats=repeats)
    peaks = {width.compute_dtype: peak_flops_per_s(device, dtype=width.compute_dtype)}
    read = max(before, read_bytes_per_s(device))  # a ceiling: what disturbs a measurement only lowers it
    machine = as_accelerator(device, read=read, peaks=peaks)
    points = tuple(step.point(timings[i].median_s, machine, width) for i, step in enumerate(steps))
    constants = calibrate(points, start=_START, free=FREE)
    return MachineConstants(accelerator=machine, precision=width, constants=constants, points=points)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A plan, and the runner that executes it again and again."""

    name: str
    plan: Plan
    runner: Runner

    def run(self) -> object:
        return self.runner.execute(self.plan)

    def point(self, seconds: float, machine: Accelerator, width: Precision) -> Point:
        """What it took, beside what a clock of this machine says with any constants."""

        def predict(constants: Constants) -> float:
            clock = Clock(self.runner.model.spec, accelerator=machine, precision=width, constants=constants)
            return clock.segment(self.plan).seconds(1)

        return Point(name=self.name, measured=seconds, predict=predict)


def _decode(model: Transformer, batch_size: int, context_len: int) -> _Step:
    """One token for each of so many sequences; what their caches hold does not matter for the time."""
    runner = Runner(model, n_blocks=batch_size * (context_len // _BLOCK + 1), block_size_tokens=_BLOCK)
    sequences = [_held(runner, id, n_input_tokens=context_len + 1) for id in range(batch_size)]
    decodes = tuple((sequence, context_len) for sequence in sequences)
    plan = Plan(n_decodes=batch_size, n_context_tokens=batch_size * context_len, decodes=decodes)
    return _Step(name=f"{model.spec.id} B={batch_size} S={context_len}", plan=plan, runner=runner)


def _prefill(model: Transformer, n_tokens: int) -> _Step:
    """One whole prompt."""
    runner = Runner(model, n_blocks=n_tokens // _BLOCK + 1, block_size_tokens=_BLOCK)
    sequence = _held(runner, 0, n_input_tokens=n_tokens)
    chunk = PrefillChunk(sequence=sequence, context_len=0, n_new_tokens=n_tokens, emits=True)
    plan = Plan(n_decodes=0, n_context_tokens=0, prefills=(chunk,))
    return _Step(name=f"{model.spec.id} prefill T={n_tokens}", plan=plan, runner=runner)


def _held(runner: Runner, id: int, *, n_input_tokens: int) -> Sequence:
    request = Request(id=id, n_input_tokens=n_input_tokens, n_output_tokens=_N_OUTPUT_TOKENS)
    runner.add(request, [0] * n_input_tokens)
    return Sequence(request)
