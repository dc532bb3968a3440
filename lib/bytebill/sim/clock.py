"""How long does a step take on hardware that the reader does not own? Six constants and a roofline.

    step time = step_s + layer_s * layers + sequence_s * sequences            whatever their lengths
              + hypot(linear bytes / W, linear flops / peak)                  weights, once for all
              + max(KV bytes / W, attention flops / peak)                     decodes, then prefills
              + 2 * layers * 2 (n - 1) / n * T * D * activation bytes / link  where n devices share a layer
              + swapped bytes / host link                                     before the first repeat

W and peak are the device's published rates times its achieved shares (`bytebill.sim.constants`), n devices have n
times both, `layers` counts a layer twice where devices must wait for each other. The root of the sum of squares is the
soft knee that matrix products have (`bytebill.measure.decode`); attention lies far to one side of its own. So a step
lies between the roofline's two bounds of what the device reaches, plus its overheads. Repeating a plan adds a token to
every decoding sequence and so the same time to every step: n steps take a sum in closed form. Ignores overlap of
kernels with communication, skew among experts, copies of norms and biases, and what sliding windows forget.
"""

from __future__ import annotations

from math import ceil, hypot, sqrt

from bytebill.capacity import kv_copies, memory_budget
from bytebill.errors import BytebillError
from bytebill.hardware import Accelerator
from bytebill.models import ModelSpec, Precision
from bytebill.serving.plan import Plan
from bytebill.sim.coefficients import coefficients
from bytebill.sim.constants import IDEAL, Constants
from bytebill.sim.guards import counted_once, no_faster


class Segment:
    """A run of equal plans: `first_s` for the first, `growth_s` more for each one after, `once_s` before all."""

    __slots__ = ("first_s", "growth_s", "once_s")

    def __init__(self, first_s: float, growth_s: float, once_s: float = 0.0) -> None:
        self.first_s = first_s
        self.growth_s = growth_s
        self.once_s = once_s

    def seconds(self, n: int) -> float:
        """Time of the first n repeats, from the run's start: n * first + growth * n (n - 1) / 2.

        >>> Segment(10.0, 1.0).seconds(3)    # 10 + 11 + 12
        33.0
        """
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
        while self.seconds(n) < seconds:
            n += 1
        while n > 1 and self.seconds(n - 1) >= seconds:
            n -= 1
        return n


class Clock:
    """The time of plans for one model on a group of equal devices."""

    def __init__(
        self,
        model: ModelSpec,
        *,
        accelerator: Accelerator,
        precision: Precision,
        constants: Constants = IDEAL,
        n_devices: int = 1,
        host_bytes_per_s: float | None = None,
        block_size_tokens: int = 16,
    ) -> None:
        """`host_bytes_per_s` is one device's link to its host; blocks of `block_size_tokens` are swapped over it."""
        self.model, self.accelerator, self.precision = model, accelerator, precision
        self.constants, self.n_devices = constants, n_devices
        self.host_bytes_per_s, self.block_size_tokens = host_bytes_per_s, block_size_tokens
        self._read = coefficients(model, precision=precision)
        counted_once(self._read, model=model, precision=precision)
        self._check_memory()
        known = constants.values()
        peak = accelerator.peak(precision.compute_dtype)
        self._peaks = (n_devices * accelerator.bandwidth_bytes_per_s, n_devices * peak)
        self._bytes_per_s = self._peaks[0] * known["bandwidth_share"]
        self._flops_per_s = self._peaks[1] * known["flops_share"]
        self._sequence_s = known["sequence_s"]
        self._stop_s = known["step_s"] + known["layer_s"] * model.n_layers * (2 if n_devices > 1 else 1)
        self._all_reduce_s = _all_reduce_bytes(model, precision, n_devices) / known["link_bytes_per_s"]
        self._kv_bytes = self._read.kv_bytes * kv_copies(model, n_devices=n_devices)
        # a decoding token reads, and attends to, its whole context: both times grow alike, so one of them wins
        self._context_s = max(self._kv_bytes / self._bytes_per_s, self._read.pair_flops / self._flops_per_s)
        self._no_faster(self._context_s, n_bytes=self._kv_bytes, n_flops=self._read.pair_flops)
        self._decode_s: dict[int, float] = {}  # all but attention, by number of sequences

    @property
    def resident_bytes(self) -> float:
        """Weights that the group holds: all parameters, of experts too that no token meets."""
        return self._read.resident_bytes

    @property
    def fastest(self) -> Clock:
        """This clock with every constant at its fast end."""
        return self._with(self.constants.fastest)

    @property
    def slowest(self) -> Clock:
        """This clock with every constant at its slow end."""
        return self._with(self.constants.slowest)

    def segment(self, plan: Plan) -> Segment:
        """The time of a plan and its repeats."""
        if self.model.window_len is not None:
            self._check_window(plan)
        if plan.prefills:
            return self._mixed(plan)
        n = plan.n_decodes
        rest_s = self._decode_s.get(n)
        if rest_s is None:
            rest_s = self._decode_s[n] = self._rest_s(n_new_tokens=n, n_logits=n, n_sequences=n)
        context_s = self._context_s
        once_s = self._swap_s(plan) if plan.swaps else 0.0
        return Segment(rest_s + (plan.n_context_tokens + n) * context_s, n * context_s, once_s)

    def range_s(self, plan: Plan) -> tuple[float, float, float]:
        """Time of one repeat: with every constant at its fast end, as calibrated, at its slow end [s]."""
        clocks = (self.fastest, self, self.slowest)
        low, mid, high = (clock.segment(plan).seconds(1) for clock in clocks)
        return low, mid, high

    def _mixed(self, plan: Plan) -> Segment:
        """A step with prefill chunks in it; such a plan is never repeated, since its chunks change."""
        if plan.n_repeats != 1:
            raise ValueError("a plan with prefill chunks is one step")
        n_tokens = cached = pairs = 0
        n_logits = plan.n_decodes
        for chunk in plan.prefills:
            new, context = chunk.n_new_tokens, chunk.context_len
            n_tokens += new
            cached += context + new
            pairs += new * context + new * (new + 1) // 2
            n_logits += chunk.emits
        n_decoded = plan.n_decodes
        first_s = self._rest_s(n_tokens + n_decoded, n_logits, n_decoded + len(plan.prefills))
        first_s += (plan.n_context_tokens + n_decoded) * self._context_s
        first_s += self._prefill_attention_s(cached * self._kv_bytes, pairs * self._read.pair_flops)
        return Segment(first_s, 0.0, self._swap_s(plan) if plan.swaps else 0.0)

    def _rest_s(self, n_new_tokens: int, n_logits: int, n_sequences: int) -> float:
        """Everything but attention: linear layers, all-reduces and overheads."""
        n_bytes = self._read.linear_bytes(n_new_tokens, n_logits)
        n_flops = self._read.linear_flops(n_new_tokens, n_logits)
        fixed_s = self._stop_s + self._sequence_s * n_sequences + self._all_reduce_s * n_new_tokens
        rest_s = hypot(n_bytes / self._bytes_per_s, n_flops / self._flops_per_s) + fixed_s
        self._no_faster(rest_s, n_bytes=n_bytes, n_flops=n_flops)
        return rest_s

    def _prefill_attention_s(self, n_bytes: float, n_flops: float) -> float:
        seconds = max(n_bytes / self._bytes_per_s, n_flops / self._flops_per_s)
        self._no_faster(seconds, n_bytes=n_bytes, n_flops=n_flops)
        return seconds

    def _no_faster(self, seconds: float, *, n_bytes: float, n_flops: float) -> None:
        """Each part of a step keeps to the group's published rates, so their sum does."""
        no_faster(seconds, n_bytes=n_bytes, n_flops=n_flops, bytes_per_s=self._peaks[0], flops_per_s=self._peaks[1])

    def _swap_s(self, plan: Plan) -> float:
        """Blocks cross the link to the host, each device's share over its own, one direction after the other."""
        if self.host_bytes_per_s is None:
            raise BytebillError("This plan swaps blocks, and the clock was given no host_bytes_per_s to time that.")
        n_blocks = sum(len(swap.device_blocks) for swap in plan.swaps)
        moved = n_blocks * self.block_size_tokens * self._kv_bytes / self.n_devices
        return moved / self.host_bytes_per_s

    def _with(self, constants: Constants) -> Clock:
        return Clock(
            self.model,
            accelerator=self.accelerator,
            precision=self.precision,
            constants=constants,
            n_devices=self.n_devices,
            host_bytes_per_s=self.host_bytes_per_s,
            block_size_tokens=self.block_size_tokens,
        )

    def _check_memory(self) -> None:
        budget = memory_budget(
            self.model, accelerator=self.accelerator, precision=self.precision, n_devices=self.n_devices, reserve=0
        )
        assert budget.weight_bytes == self.resident_bytes, "weights in memory are all parameters"
        if not budget.fits:
            needed, held = budget.weight_bytes / 1e9, budget.memory_bytes / 1e9
            raise BytebillError(
                f"{self.model.name} in {self.precision.name} takes {needed:.1f} GB, and {self.n_devices} x "
                f"{self.accelerator.name} hold {held:.1f} GB; take more devices or fewer bits."
            )

    def _check_window(self, plan: Plan) -> None:
        """A plan's totals say whole contexts, so no context may be longer than a sliding window reaches."""
        window = self.model.window_len or 0
        longest = max((context for _, context in plan.decode_contexts()), default=plan.n_context_tokens)
        in_prefills = (chunk.context_len + chunk.n_new_tokens for chunk in plan.prefills)
        if max((longest + plan.n_repeats if plan.n_decodes else 0, *in_prefills)) > window:
            raise BytebillError(
                f"{self.model.name} attends to the last {window} tokens, and this clock counts whole contexts; "
                "give it shorter requests."
            )


def _all_reduce_bytes(model: ModelSpec, precision: Precision, n_devices: int) -> float:
    """Bytes that cross one device's link for each new token: two sums a layer, one where attention and MLP are
    parallel, each 2 (n - 1) / n times the layer's output."""
    sums = model.n_layers * (1 if model.parallel else 2)
    return sums * model.d_model * precision.activation_bytes_per_value * 2 * (n_devices - 1) / n_devices
