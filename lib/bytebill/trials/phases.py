"""Prompts and answers on one machine: how long is a step of either, by the tokens in it?

    predicted = hypot(bytes / W, FLOPs / C) + attention       W, C: this machine's ceilings, measured in the same turns

Steps of the engine's real model: a whole prompt, or one token for each of some users. Both go through the same
matrices, so both are told by how many tokens share a reading of the weights. Nothing is fitted: what the prediction
misses is what the engine adds to its bytes and FLOPs. Used by chapter 08.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bytebill.deployment import Deployment
from bytebill.device import Device, synchronizer
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, smollm2
from bytebill.hardware import Accelerator
from bytebill.measure.ceilings import as_accelerator, peak_flops_per_s, read_buffer
from bytebill.measure.timing import Call, in_turns
from bytebill.models import precision
from bytebill.roofline import Load
from bytebill.sim import IDEAL, Clock
from bytebill.trials.machine import engine_step


@dataclass(frozen=True, kw_only=True)
class PhasePoint:
    """One step of the engine beside its prediction [s]."""

    phase: str  # "prefill" or "decode"
    n_tokens: int  # computed in it
    samples_s: tuple[float, ...]
    predicted_s: float
    memory_s: float  # bytes at the measured read rate
    compute_s: float  # FLOPs at the measured peak

    @property
    def step_s(self) -> float:
        return median(self.samples_s)

    @property
    def token_s(self) -> float:
        """Time for each token of the step."""
        return self.step_s / self.n_tokens

    @property
    def bound(self) -> str:
        """What takes longer at this machine's ceilings."""
        return "arithmetic" if self.compute_s > self.memory_s else "bytes"


@dataclass(frozen=True, kw_only=True)
class Phases:
    """All points, and the machine with its measured ceilings."""

    machine: Accelerator
    points: tuple[PhasePoint, ...]

    def of(self, phase: str) -> list[PhasePoint]:
        return [point for point in self.points if point.phase == phase]

    def at(self, phase: str, n_tokens: int) -> PhasePoint:
        return next(point for point in self.of(phase) if point.n_tokens == n_tokens)


def both_phases(
    device: Device,
    *,
    prompts: Sequence[int],
    users: Sequence[int],
    context_len: int,
    dtype: str = "bf16",
    repeats: int = 5,
    weights: Weights | None = None,
) -> Phases:
    """Steps of whole prompts, and of one token for each of some users with a context each, timed in turns."""
    model = Transformer(weights or smollm2(), dtype=dtype, device=device.torch)
    loads = {("prefill", n): engine_step(model, 0, 0, n) for n in prompts}
    loads |= {("decode", n): engine_step(model, n, context_len, 0) for n in users}
    buffer = read_buffer(device)
    calls: dict[tuple[str, int], Call] = {("read", 0): buffer.sum, **{key: step.run for key, step in loads.items()}}
    timed = in_turns(calls, {}, sync=synchronizer(device), repeats=repeats)
    width = precision(dtype)
    peak = peak_flops_per_s(device, dtype=width.compute_dtype)
    read = buffer.nbytes / timed["read", 0].fastest_s
    machine = as_accelerator(device, read=read, peaks={width.compute_dtype: peak})
    group = Deployment(model=model.spec, accelerator=machine, precision=width)
    clock = Clock(group, IDEAL)
    points = []
    for phase, n in loads:
        load = Load.prefill(n_tokens=n) if phase == "prefill" else Load.decode(batch_size=n, context_len=context_len)
        bounds = group.step_bounds(load)
        points.append(
            PhasePoint(
                phase=phase,
                n_tokens=n,
                samples_s=tuple(timed[phase, n].samples_s),
                predicted_s=clock.step_s(load),
                memory_s=bounds.memory_s,
                compute_s=bounds.compute_s,
            )
        )
    return Phases(machine=machine, points=tuple(points))
