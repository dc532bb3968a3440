"""How fast do bare weights turn into tokens? A stack of linear layers, nothing else, at any batch.

    d_model -> d_ff -> d_model -> ...      2 * d_model * d_ff weights a layer, random, each layer in its own memory

One pass over the stack is a decode step with everything but the weights taken away, so its time is
bytes / bandwidth until 2 * batch * weights / peak takes over. Used by chapters 01 and 03 and `bytebill bench`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bytebill.device import Device, synchronizer
from bytebill.engine.graphs import captured
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.kernels.linear import PackedLinear
from bytebill.measure.timing import Timing, in_turns

D_MODEL, D_FF = 2048, 5632


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Linear layers to be passed one after the other."""

    linears: tuple[PackedLinear, ...]
    device: Device

    @property
    def dtype(self) -> str:
        return self.linears[0].dtype

    @property
    def weight_bytes(self) -> int:
        """Bytes that one pass must read."""
        return sum(linear.stored_bytes for linear in self.linears)

    @property
    def n_weights(self) -> int:
        return sum(linear.n_in * linear.n_out for linear in self.linears)

    def step(self, batch_size: int) -> Callable[[], torch.Tensor]:
        """One decode step of `batch_size` sequences, ready to be timed."""
        dtype = PLAIN.get(self.dtype, torch.float32)
        x = torch.randn(batch_size, self.linears[0].n_in, device=self.device.torch).to(dtype)

        def run() -> torch.Tensor:
            y = x
            with torch.inference_mode():
                for linear in self.linears:
                    y = linear(y)
            return y

        return captured(run) if self.device.kind == "cuda" else run

    def read(self) -> None:
        """Read the same bytes and do nothing with them: the reference that a step is held against."""
        for linear in self.linears:
            linear.read()

    def time(self, batch_size: int, *, repeats: int = 5) -> Timing:
        """A step's time beside that of reading its weights."""
        return self.sweep([batch_size], repeats=repeats)[batch_size]

    def sweep(self, batches: Sequence[int], *, repeats: int = 5) -> dict[int, Timing]:
        """A step's time at each batch, taken in turns, each beside that of reading the weights."""
        steps = {batch: self.step(batch) for batch in batches}
        reads = dict.fromkeys(batches, self.reading())
        return in_turns(steps, reads, sync=synchronizer(self.device), repeats=repeats)

    def reading(self) -> Callable[[], object]:
        """`read`, ready to be timed."""
        return captured(self.read) if self.device.kind == "cuda" else self.read


def time_stacks(stacks: Sequence[Stack], *, batch_size: int = 1, repeats: int = 5) -> list[Timing]:
    """The step of every stack, taken in turns, each beside that of reading its own weights."""
    steps = {i: stack.step(batch_size) for i, stack in enumerate(stacks)}
    reads = {i: stack.reading() for i, stack in enumerate(stacks)}
    return list(in_turns(steps, reads, sync=synchronizer(stacks[0].device), repeats=repeats).values())


def build_stack(
    device: Device, *, dtype: str, n_layers: int, d_model: int = D_MODEL, d_ff: int = D_FF, seed: int = 0
) -> Stack:
    """A stack of `n_layers` pairs, packed; layers hold the same values in memory of their own."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((d_ff, d_model), (d_model, d_ff))
    weights = [torch.randn(shape, generator=generator) / shape[1] ** 0.5 for shape in shapes]
    pair = [PackedLinear(weight.to(device.torch), dtype=dtype) for weight in weights]
    return Stack(linears=tuple(linear.twin() for _ in range(n_layers) for linear in pair), device=device)
