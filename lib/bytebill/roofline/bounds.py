"""How fast can a device do a step, at the most? Its bound, and the batch at which its two terms meet.

    step time >= max(bytes / W, flops / C)

W `bandwidth_bytes_per_s` [B/s], C the peak [FLOP/s]. Bytes and FLOPs are those of `bytebill.roofline.cost`. There is no
upper bound: launch overhead, links between devices and kernels that reach 0.7 to 0.95 of a published rate come on top.
Ignores on-chip caches, which can deliver weights faster than memory does.
"""

from dataclasses import dataclass
from enum import Enum

from bytebill.hardware import Accelerator
from bytebill.models import ModelSpec, Precision
from bytebill.roofline.cost import StepCost


class Bound(Enum):
    """What a step waits for."""

    BANDWIDTH = "bandwidth"
    COMPUTE = "compute"


@dataclass(frozen=True, kw_only=True)
class TimeBounds:
    """Time to move a step's bytes and time to do its arithmetic, each at full rate; a step takes the longer or more."""

    memory_s: float
    compute_s: float

    @property
    def max_s(self) -> float:
        return max(self.memory_s, self.compute_s)

    @property
    def bound(self) -> Bound:
        return Bound.BANDWIDTH if self.memory_s >= self.compute_s else Bound.COMPUTE

    @property
    def compute_idle_share(self) -> float:
        """Share of the shortest possible step in which arithmetic units have nothing to do; of a longer one, more."""
        return 1 - self.compute_s / self.max_s


def step_time_bounds(cost: StepCost, *, accelerator: Accelerator, dtype: str = "bf16") -> TimeBounds:
    """Memory time and compute time of a step on a device; `dtype` is what its units multiply in.

    memory_s = bytes / W,  compute_s = flops / peak(dtype)     [s]

    >>> from bytebill.hardware import accelerator
    >>> cost = StepCost(weight_bytes=3.35e9, kv_read_bytes=0, kv_write_bytes=0, activation_bytes=0,
    ...                 logit_bytes=0, linear_flops=3.35e9, attention_flops=0)
    >>> bounds = step_time_bounds(cost, accelerator=accelerator("h100-sxm"))
    >>> round(bounds.memory_s * 1e3, 6), bounds.bound.value
    (1.0, 'bandwidth')
    """
    return TimeBounds(
        memory_s=cost.bytes / accelerator.bandwidth_bytes_per_s, compute_s=cost.flops / accelerator.peak(dtype)
    )


def critical_batch(accelerator: Accelerator, *, precision: Precision, model: ModelSpec | None = None) -> float:
    """Tokens a step must share its weights among before arithmetic takes as long as reading them.

    B = peak * bytes_per_weight / (2 * W)     [tokens], times E/k for routed experts

    In bf16 that is the ridge point; 8-bit weights halve it, unless the arithmetic doubles its rate as well.
    Ignores KV, which only ever raises it, to infinity once attention alone stays under the ridge.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> round(critical_batch(accelerator("tpu-v5e"), precision=precision("bf16")), 1)    # 197e12 / 0.819e12
    240.5
    >>> h100, mixtral = accelerator("h100-sxm"), model("mixtral-8x7b")
    >>> round(critical_batch(h100, precision=precision("bf16"), model=mixtral))    # 295.3 * 8 / 2
    1181
    """
    dense = accelerator.ridge_point(precision.compute_dtype) * precision.bytes_per_weight / 2
    moe = model.moe if model else None
    return dense * moe.n_experts / moe.n_experts_per_token if moe else dense
