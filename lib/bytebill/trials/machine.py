"""What are this machine's own constants? The engine's steps, timed, and the clock fitted to them.

    real model     decodes of 1 to 32 sequences at two contexts, prefills, both   both shares
    hollow model   the same with next to no weights, at two depths                time per step, layer, sequence

The shares are of the machine's own ceilings (`bytebill.measure.ceilings`), so a prediction for this machine and one
for a published device differ in nothing but where the numbers come from. All steps are timed in turns, a plain read of
memory among them, and fitted together; what the fit misses by is in the constants' ranges. Takes under a minute.
Ignores a link between devices, of which the engine has none, and the scheduler's own time, which the engine's loop
reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median

from bytebill.deployment import Deployment
from bytebill.device import Device, synchronizer
from bytebill.engine.runner import Runner
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, random_weights, smollm2
from bytebill.hardware import Accelerator
from bytebill.measure.ceilings import as_accelerator, peak_flops_per_s, read_buffer
from bytebill.measure.decoders import hollow
from bytebill.measure.timing import Call, in_turns
from bytebill.models import ModelSpec, Precision, precision
from bytebill.serving.plan import Plan, PrefillChunk
from bytebill.serving.request import Request, ServedSequence
from bytebill.sim import Clock, Constants
from bytebill.trials.fit import Observation, calibrate

FREE = ("bandwidth_share", "flops_share", "step_s", "layer_s", "sequence_s")
DECODES = tuple((batch_size, context_len) for context_len in (64, 512) for batch_size in (1, 2, 4, 8, 16, 32))
PREFILLS = (32, 128, 512)
MIXED = ((7, 128, 64),)  # decodes, their context, and the tokens of a prompt in the same step
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
    points: tuple[Observation, ...]

    def clock(self, spec: ModelSpec) -> Clock:
        """The clock of a model on this machine."""
        return Clock(Deployment(model=spec, accelerator=self.accelerator, precision=self.precision), self.constants)

    @property
    def mean_error(self) -> float:
        """Mean of |fitted / measured - 1| over the steps: no prediction, the fit has seen them."""
        return fmean(abs(point.error(self.constants)) for point in self.points)


class TimedSteps:
    """Steps of the engine that constants are fitted to, with SmolLM2's weights or those given, timed in as many
    sittings as one likes: `steps = TimedSteps(device)`, `steps.time(5)`, `steps.constants()`.

    What the steps are like that will be predicted, those timed here should be like: a few numbers do not say all about
    a program, and say it best near where they were found. The median of a step's samples counts.
    """

    def __init__(
        self,
        device: Device,
        *,
        dtype: str = "bf16",
        weights: Weights | None = None,
        decodes: Sequence[tuple[int, int]] = DECODES,
        prefills: Sequence[int] = PREFILLS,
        mixed: Sequence[tuple[int, int, int]] = MIXED,
    ) -> None:
        self.device, self.precision = device, precision(dtype)
        weights = weights or smollm2()
        self.model = Transformer(weights, dtype=dtype, device=device.torch)
        loads = [(*load, 0) for load in decodes] + [(0, 0, n_tokens) for n_tokens in prefills] + [*mixed]
        self._steps = [engine_step(self.model, *load) for load in loads]
        for n_layers in (weights.spec.n_layers, max(1, weights.spec.n_layers // 3)):
            shallow = random_weights(hollow(replace(weights.spec, n_layers=n_layers)))
            twin = Transformer(shallow, dtype=dtype, device=device.torch)
            self._steps += [engine_step(twin, *load, 0, called=f"hollow, {n_layers} layers") for load in HOLLOW_DECODES]
        self._buffer = read_buffer(device)
        self._samples_s: dict[int, list[float]] = {i: [] for i in range(-1, len(self._steps))}
        self._peak = 0.0

    def time(self, repeats: int) -> None:
        """Time every step, and a plain read of memory, so many times more."""
        calls: dict[int, Call] = {-1: self._buffer.sum} | {i: step.run for i, step in enumerate(self._steps)}
        for i, timing in in_turns(calls, {}, sync=synchronizer(self.device), repeats=repeats).items():
            self._samples_s[i] += timing.samples_s
        # a ceiling: what disturbs a measurement only lowers it
        self._peak = max(self._peak, peak_flops_per_s(self.device, dtype=self.precision.compute_dtype))

    def constants(self) -> MachineConstants:
        """The constants that fit what was timed so far."""
        typical_s = {i: median(samples) for i, samples in self._samples_s.items()}
        peaks = {self.precision.compute_dtype: self._peak}
        machine = as_accelerator(self.device, read=self._buffer.nbytes / typical_s[-1], peaks=peaks)
        groups = [Deployment(model=step.spec, accelerator=machine, precision=self.precision) for step in self._steps]
        points = tuple(
            Observation(name=step.name, measured=typical_s[i], predict=partial(_step_s, groups[i], step.plan))
            for i, step in enumerate(self._steps)
        )
        constants = calibrate(points, start=_START, free=FREE)
        return MachineConstants(accelerator=machine, precision=self.precision, constants=constants, points=points)


def _step_s(group: Deployment, plan: Plan, constants: Constants) -> float:
    return Clock(group, constants).step_s(plan)


@dataclass(frozen=True, kw_only=True)
class EngineStep:
    """A plan, and the call that executes it again and again."""

    name: str
    spec: ModelSpec
    plan: Plan
    run: Call


def engine_step(
    model: Transformer, n_decodes: int, context_len: int, n_prompt_tokens: int, *, called: str | None = None
) -> EngineStep:
    """One token for each of so many sequences, and a whole prompt; what caches hold does not matter for the time."""
    n_blocks = n_decodes * (context_len // _BLOCK + 1) + n_prompt_tokens // _BLOCK + 1
    runner = Runner(model, n_blocks=n_blocks, block_size_tokens=_BLOCK)
    held = [_held(runner, id, n_input_tokens=context_len + 1) for id in range(n_decodes)]
    prompts = [_held(runner, n_decodes, n_input_tokens=n_prompt_tokens)] if n_prompt_tokens else []
    plan = Plan(
        n_decodes=n_decodes,
        n_context_tokens=n_decodes * context_len,
        chunks=tuple(PrefillChunk(sequence=each, context_len=0, n_new_tokens=n_prompt_tokens) for each in prompts),
        live_contexts=tuple((sequence, context_len) for sequence in held),
    )
    name = f"{called or model.spec.id} B={n_decodes} S={context_len} T={n_prompt_tokens}"
    return EngineStep(name=name, spec=model.spec, plan=plan, run=partial(runner.execute, plan))


def _held(runner: Runner, id: int, *, n_input_tokens: int) -> ServedSequence:
    request = Request(id=id, n_input_tokens=n_input_tokens, n_output_tokens=_N_OUTPUT_TOKENS)
    runner.add(request, [0] * n_input_tokens)
    return ServedSequence(request)
