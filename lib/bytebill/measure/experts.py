"""What does a step of a model with experts take, beside dense models of its active and of its total size?

    predicted = hypot(weight bytes / W, FLOPs / peak) + hollow step

Bytes and FLOPs are `roofline.decode_cost`'s, with the expected number of distinct experts; W is the rate of reading the
total model's weights, taken in turn with the step, and peak that of a large matmul just before; the hollow model has
the same layers, routes and batch with next to nothing in its matrices, so its step is what sorting tokens and calling
one expert after the other take. Routing is drawn anew in every step (`engine.experts.DrawnRouter`), and the experts
that it touches are counted. Contexts are short, so that weights are all that counts. Used by chapter 16.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot
from statistics import mean
from typing import Any

from torch import Tensor

from bytebill.device import Device, synchronizer
from bytebill.engine.experts import DrawnRouter
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, random_weights
from bytebill.measure.ceilings import peak_flops_per_s
from bytebill.measure.decoders import cached_step, hollow, one_piece
from bytebill.measure.timing import Call, Predicted, in_turns
from bytebill.models import ModelSpec, MoESpec, precision
from bytebill.roofline import StepCost, decode_cost

_CONTEXT_LEN = 16


@dataclass(frozen=True, kw_only=True)
class ExpertPoint(Predicted):
    """One model's decode step at one batch."""

    kind: str
    hollow_s: float
    read_bytes_per_s: float
    peak_flops_per_s: float
    weight_bytes: float  # that the timed steps moved, by count of the experts they touched
    cost: StepCost

    @property
    def busy_s(self) -> float:
        """What is left of a step without its hollow twin's: reading and multiplying."""
        return self.step_s - self.hollow_s


def dense_twins(spec: ModelSpec) -> dict[str, ModelSpec]:
    """The model and two dense ones like it but for the MLP: as wide as a token's experts, and as all of them,
    in every layer (a mixture's first layers, dense already, are widened with the others: 5% more for DeepSeek-V3).

    >>> from bytebill.models import model
    >>> twins = dense_twins(model("deepseek-v3"))
    >>> twins["active"].d_ff, twins["total"].d_ff    # (8 + 1) * 2048, (256 + 1) * 2048
    (18432, 526336)
    """
    moe = spec.moe
    if moe is None:
        raise ValueError(f"{spec.id} has no experts")
    widths = {"active": moe.n_experts_per_token, "total": moe.n_experts}
    return {"MoE": spec} | {
        name: replace(
            spec,
            id=f"{spec.id}-{name}",
            name=f"{spec.name}, dense, {name} size",
            moe=None,
            d_ff=(n + moe.n_shared_experts) * moe.d_ff_expert,
        )
        for name, n in widths.items()
    }


def small_moe(
    *, n_experts: int = 8, n_experts_per_token: int = 2, d_ff_expert: int = 4096, n_layers: int = 2, d_model: int = 1024
) -> ModelSpec:
    """A Mixtral in small: nearly all experts, in fp32 0.8 GB of them, of which a token meets a quarter.

    `for_gpu` has one whose experts take longer to read than to launch.
    """
    return ModelSpec(
        id="small-moe",
        name="small MoE",
        n_layers=n_layers,
        d_model=d_model,
        d_ff=d_ff_expert,
        n_heads=8,
        n_kv_heads=2,
        d_head=64,
        vocab_size=512,
        context_len=1024,
        moe=MoESpec(n_experts=n_experts, n_experts_per_token=n_experts_per_token, d_ff_expert=d_ff_expert),
    )


def for_gpu() -> ModelSpec:
    """Two layers of Mixtral's own width, 352 MB an expert in bf16: four launches are a tenth of reading one.

    >>> 3 * for_gpu().d_model * for_gpu().moe.d_ff_expert * 2
    352321536
    """
    return small_moe(d_model=4096, d_ff_expert=14336)


def build(spec: ModelSpec, device: Device, *, dtype: str, shares: Sequence[float] | None = None) -> Transformer:
    """A model whose matrices of one shape hold the same values, each in memory of its own; its routers draw experts of
    these shares (default: uniform)."""
    random, made = random_weights(spec, device=device.torch), dict[tuple[str, ...], Tensor]()

    def read(name: str) -> Tensor:
        kind = tuple(part for part in name.split(".") if not part.isdigit())
        if kind not in made:
            made[kind] = random[name]
        return made[kind]

    model = Transformer(Weights(spec, read), dtype=dtype, device=device.torch)
    if spec.moe is not None:
        uniform = [spec.moe.n_experts_per_token / spec.moe.n_experts] * spec.moe.n_experts
        for layer, block in enumerate(model.experts):
            block.router = DrawnRouter(shares or uniform, seed=layer)
    return model


def sweep_experts(
    specs: Mapping[str, ModelSpec],
    device: Device,
    *,
    dtype: str,
    batches: Sequence[int],
    shares: Mapping[str, Sequence[float]] = {},
    repeats: int = 3,
    at_least_s: float = 0.4,
) -> list[ExpertPoint]:
    """Every model at every batch, in turns; the largest is the one whose weights are read as the reference. `shares`
    are the experts' for each kind whose routing is not uniform."""
    models = {
        (kind, size): build(shape, device, dtype=dtype, shares=shares.get(kind))
        for kind, spec in specs.items()
        for size, shape in (("whole", spec), ("hollow", hollow(spec)))
    }
    largest = max(models.values(), key=lambda model: model.weight_bytes_read)
    found, n_bytes = [], sum(linear.weight.nbytes for linear in largest.linears)
    read = one_piece(n_bytes, device).sum if device.kind == "cuda" else largest.read_weights
    for batch in batches:
        peak = peak_flops_per_s(device, dtype=dtype, repeats=2)
        moved: dict[Any, list[float]] = {key: [] for key in models}
        steps = {key: _step(model, batch, moved[key]) for key, model in models.items()}
        reads: dict[Any, Call] = {next(iter(steps)): read}
        timings = in_turns(steps, reads, sync=synchronizer(device), repeats=repeats, at_least_s=at_least_s)
        rate = n_bytes / timings[next(iter(steps))].reference_s
        found += [
            _point(
                kind,
                batch,
                step_s=timings[kind, "whole"].median_s,
                hollow_s=timings[kind, "hollow"].median_s,
                cost=decode_cost(spec, batch_size=batch, context_len=_CONTEXT_LEN, precision=precision(dtype)),
                rate=rate,
                peak=peak,
                moved=mean(moved[kind, "whole"]),
            )
            for kind, spec in specs.items()
        ]
    return found


def _point(
    kind: str, batch: int, *, step_s: float, hollow_s: float, cost: StepCost, rate: float, peak: float, moved: float
) -> ExpertPoint:
    """A step's time and its hollow twin's, held against the ceilings measured beside them."""
    return ExpertPoint(
        kind=kind,
        batch=batch,
        step_s=step_s,
        hollow_s=hollow_s,
        read_bytes_per_s=rate,
        peak_flops_per_s=peak,
        weight_bytes=moved,
        cost=cost,
        predicted_s=hypot(cost.weight_bytes / rate, cost.linear_flops / peak) + hollow_s,
    )


def _step(model: Transformer, batch_size: int, moved: list[float]) -> Call:
    """A decode step that adds the bytes of weights it moved to a list."""
    step = cached_step(model, batch_size, _CONTEXT_LEN)[1]

    def run() -> None:
        step()
        moved.append(model.weight_bytes_touched)

    return run
