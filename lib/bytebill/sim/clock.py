"""How long does a step take on hardware that the reader does not own? Six constants and a roofline.

    step time = step_s + layer_s * layers + sequence_s * sequences            whatever their lengths
              + hypot(linear bytes / W, linear flops / peak)                  weights, once for all
              + max(KV bytes / W, attention flops / peak)                     decodes, then prefills
              + 2 * layers * 2 (n - 1) / n * T * D * activation bytes / link  where n devices share a layer
              + swapped bytes / host link                                     before the first repeat

W and peak are the device's published rates times its achieved shares (`bytebill.sim.constants`), n devices have n
times both, `layers` counts a layer twice where devices must wait for each other. The root of the sum of squares is the
soft knee that matrix products have (`bytebill.measure.decode`); attention lies far to one side of its own. So a step
lies between the roofline's two bounds of what the device reaches, plus its overheads. Repeating a load adds a token to
every decoding sequence and so the same time to every step, until a sliding window is full: n steps take a sum in
closed form. A clock sees counts alone, so under a window sequences that decode together count as equally long, which
is never too fast. Ignores overlap of kernels with communication, skew among experts, copies of norms and biases.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, hypot, inf, sqrt

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require
from bytebill.models import ModelSpec, Precision
from bytebill.roofline import Load, attended_pairs, cost_terms
from bytebill.sim.constants import IDEAL, Constants
from bytebill.sim.guards import counted_once, no_faster
from bytebill.units import BLOCK_SIZE_TOKENS


@dataclass(slots=True)  # not frozen: one is made for every plan, and freezing triples what that takes
class Segment:
    """A run of equal loads: `first_s` for the first, `growth_s` more for each one after, `once_s` before all.

    After `n_growing` of them, windows are full, and each further one takes `last_s`.
    """

    first_s: float
    growth_s: float
    once_s: float = 0.0
    n_growing: float = inf
    last_s: float = 0.0

    def seconds(self, n: int) -> float:
        """Time of the first n repeats, from the run's start: n * first + growth * n (n - 1) / 2.

        >>> Segment(10.0, 1.0).seconds(3)    # 10 + 11 + 12
        33.0
        >>> Segment(10.0, 1.0, n_growing=2, last_s=11.5).seconds(4)    # 10 + 11 + 11.5 + 11.5
        44.0
        """
        if n > self.n_growing:
            n_grown = int(self.n_growing)
            return self.seconds(n_grown) + (n - n_grown) * self.last_s + (0.0 if n_grown else self.once_s)
        return self.once_s + n * (self.first_s + 0.5 * (n - 1) * self.growth_s) if n else 0.0

    def n_until(self, seconds: float) -> int:
        """The smallest n whose `seconds(n)` is at least this.

        >>> Segment(10.0, 1.0).n_until(33.0), Segment(10.0, 1.0).n_until(33.1)
        (3, 4)
        """
        left = seconds - self.once_s
        if left <= 0:
            return 0 if seconds <= 0 else 1
        half = 0.5 * self.growth_s
        linear = self.first_s - half
        # the root of half n^2 + linear n = left, in the form that keeps its digits where half is next to nothing
        n = ceil(2 * left / (linear + sqrt(linear * linear + 4 * half * left)))
        if n > self.n_growing:
            n_grown = int(self.n_growing)
            n = n_grown + ceil((seconds - self.seconds(n_grown)) / self.last_s)
        while self.seconds(n) < seconds:
            n += 1
        while n > 1 and self.seconds(n - 1) >= seconds:
            n -= 1
        return n


class Clock:
    """The time of loads, and of a scheduler's plans, on a deployment."""

    def __init__(
        self,
        deployment: Deployment,
        constants: Constants = IDEAL,
        *,
        host_bytes_per_s: float | None = None,
        block_size_tokens: int = BLOCK_SIZE_TOKENS,
    ) -> None:
        """`host_bytes_per_s` is one device's link to its host; blocks of `block_size_tokens` are swapped over it."""
        self.deployment, self.constants = deployment, constants
        self.host_bytes_per_s, self.block_size_tokens = host_bytes_per_s, block_size_tokens
        model, precision, n_devices = deployment.model, deployment.precision, deployment.n_devices
        self._terms = cost_terms(model, precision=precision)
        counted_once(self._terms, precision=precision, resident_bytes=deployment.memory.weight_bytes)
        self._check_memory()
        known = constants.values()
        self._peaks = {
            "bytes_per_s": n_devices * deployment.accelerator.bandwidth_bytes_per_s,
            "flops_per_s": n_devices * deployment.accelerator.peak(precision.compute_dtype),
        }
        self._bytes_per_s = self._peaks["bytes_per_s"] * known["bandwidth_share"]
        self._flops_per_s = self._peaks["flops_per_s"] * known["flops_share"]
        self._sequence_s = known["sequence_s"]
        self._stop_s = known["step_s"] + known["layer_s"] * model.n_layers * (2 if n_devices > 1 else 1)
        self._all_reduce_s = _all_reduce_bytes(model, precision, n_devices) / known["link_bytes_per_s"]
        self._kv_bytes = deployment.memory.kv_bytes_per_token
        # a decoding token reads, and attends to, its whole context: both times grow alike, so one of them wins
        self._context_s = self._attention_s(1, 1)
        self._window_len = model.window_len
        self._rests_s: dict[int, float] = {}  # of a decode step, all but attention, by number of sequences

    @cached_property
    def fastest(self) -> "Clock":
        """This clock with every constant at its fast end."""
        return self._with(self.constants.fastest)

    @cached_property
    def slowest(self) -> "Clock":
        """This clock with every constant at its slow end."""
        return self._with(self.constants.slowest)

    def segment(self, load: Load) -> Segment:
        """The time of a load, repeated with one more cached token in each decoding sequence every time."""
        if not load.n_context_tokens >= 0 or load.n_swapped_blocks < 0 or load.n_new_each < 1 or load.n_decodes < 0:
            load.checked()  # raises
        if load.chunks or load.n_new_each > 1:
            return self._mixed(load)
        n, n_context, window = load.n_decodes, load.n_context_tokens, self._window_len
        rest_s = self._rests_s.get(n)
        if rest_s is None:
            load.checked()
            rest_s = self._rests_s[n] = self._rest_s(n_new_tokens=n, n_logits=n, n_sequences=n)
        once_s = self._swap_s(load) if load.n_swapped_blocks else 0.0
        first_s = rest_s + self._decode_s(n, n_context)
        if window is None or not n:
            return Segment(first_s, n * self._context_s, once_s)
        full_s = rest_s + n * (window + 1) * self._context_s
        return Segment(first_s, n * self._context_s, once_s, max(0, floor(window - n_context / n) + 1), full_s)

    def step_s(self, load: Load) -> float:
        """Time of one step of a load [s]."""
        return self.segment(load).seconds(1)

    def range_s(self, load: Load) -> tuple[float, float, float]:
        """Time of one step: with every constant at its fast end, as calibrated, at its slow end [s]."""
        return self.fastest.step_s(load), self.step_s(load), self.slowest.step_s(load)

    def _mixed(self, load: Load) -> Segment:
        """A step with chunks or drafts in it: one step, since what it holds changes with the next."""
        n, new, window = load.n_decodes, load.n_new_each, self._window_len
        n_tokens = n_logits = n * new
        n_read = n_pairs = 0.0
        for chunk in load.chunks:
            context, n_new = chunk.context_len, chunk.n_new_tokens
            n_tokens += n_new
            n_logits += chunk.n_logits
            n_read += n_new + (context if window is None else min(context, window))
            n_pairs += attended_pairs(context, n_new, window_len=window)
        if new == 1:
            decodes_s = self._decode_s(n, load.n_context_tokens)
        else:
            decodes = Load(n_decodes=n, n_context_tokens=load.n_context_tokens, n_new_each=new)
            decodes_s = self._attention_s(decodes.kept_tokens(window) + n * new, decodes.attended_pairs(window))
        rest_s = self._rest_s(n_tokens, n_logits, n + len(load.chunks))
        return Segment(rest_s + decodes_s + self._attention_s(n_read, n_pairs), 0.0, self._swap_s(load))

    def _decode_s(self, n_decodes: int, n_context_tokens: int) -> float:
        """Attention of sequences that get one token each."""
        window = self._window_len
        n_read = n_context_tokens if window is None else min(n_context_tokens, n_decodes * window)
        return (n_read + n_decodes) * self._context_s

    def _rest_s(self, n_new_tokens: int, n_logits: int, n_sequences: int) -> float:
        """Everything but attention: linear layers, all-reduces and overheads."""
        n_bytes = self._terms.linear_bytes(n_new_tokens, n_logits)
        n_flops = self._terms.linear_flops(n_new_tokens, n_logits)
        fixed_s = self._stop_s + self._sequence_s * n_sequences + self._all_reduce_s * n_new_tokens
        rest_s = hypot(n_bytes / self._bytes_per_s, n_flops / self._flops_per_s) + fixed_s
        # each part of a step keeps to the group's published rates, so their sum does
        return no_faster(rest_s, n_bytes=n_bytes, n_flops=n_flops, **self._peaks)

    def _attention_s(self, n_read: float, n_pairs: float) -> float:
        """Attention that reads so many cached tokens, and meets so many pairs."""
        n_bytes, n_flops = n_read * self._kv_bytes, n_pairs * self._terms.pair_flops
        seconds = max(n_bytes / self._bytes_per_s, n_flops / self._flops_per_s)
        return no_faster(seconds, n_bytes=n_bytes, n_flops=n_flops, **self._peaks)

    def _swap_s(self, load: Load) -> float:
        """Blocks cross the link to the host, each device's share over its own, one direction after the other."""
        if not load.n_swapped_blocks:
            return 0.0
        if self.host_bytes_per_s is None:
            raise BytebillError("This plan swaps blocks, and the clock was given no host_bytes_per_s to time that.")
        n_tokens = load.n_swapped_blocks * self.block_size_tokens
        return n_tokens * self._kv_bytes / self.deployment.n_devices / self.host_bytes_per_s

    def _with(self, constants: Constants) -> "Clock":
        return Clock(
            self.deployment, constants, host_bytes_per_s=self.host_bytes_per_s, block_size_tokens=self.block_size_tokens
        )

    def _check_memory(self) -> None:
        group, needed, held = self.deployment, self.deployment.memory.weight_bytes, self.deployment.memory.memory_bytes
        require(
            needed <= held,
            f"{group.model.name} in {group.precision.name} takes {needed / 1e9:.1f} GB, and {group.n_devices} x "
            f"{group.accelerator.name} hold {held / 1e9:.1f} GB; take more devices or fewer bits.",
        )


def _all_reduce_bytes(model: ModelSpec, precision: Precision, n_devices: int) -> float:
    """Bytes that cross one device's link for each new token: two sums a layer, one where attention and MLP are
    parallel, each 2 (n - 1) / n times the layer's output."""
    sums = model.n_layers * (1 if model.parallel else 2)
    return sums * model.d_model * precision.activation_bytes_per_value * 2 * (n_devices - 1) / n_devices
