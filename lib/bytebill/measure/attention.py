"""What does decode attention alone take? One new token of each sequence over a cache of known bytes.

    predicted = hypot(cache bytes / W, attention flops / peak)

W is the rate of summing the same cache, taken in turn with it, peak what the same kernel reaches on a cache so small
that it stays on the chip (`kernel_flops_per_s`). The cache is filled first
(memory that was never written is one page of zeros, and stays on the chip), and as many layers are passed as make it
too large for any cache of the processor. `felt_intensity`, flops / (time * W), are the FLOPs done while a plain read
would move one byte: it equals the intensity where attention takes as long as its bytes. Ignores projections.
Used by chapter 17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, hypot
from typing import Any

import torch
from torch import Tensor

from bytebill.device import Device, synchronizer
from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.cache.latent import LatentCache
from bytebill.engine.latent_attention import attend
from bytebill.engine.layers import Rotary, rope_frequencies, rotate
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import random_weights
from bytebill.measure.ceilings import TORCH_DTYPES
from bytebill.measure.timing import Timing, in_turns, measure
from bytebill.models import MLASpec, ModelSpec, precision
from bytebill.roofline import StepCost, decode_cost

BEYOND_CACHES_BYTES = 256 << 20
LATENT = MLASpec(q_lora_rank=1536, kv_lora_rank=512, d_nope=128, d_rope=64, d_v=128)
_SHAPE: dict[str, Any] = {"n_layers": 1, "d_model": 64, "d_ff": 64, "vocab_size": 64, "context_len": 1 << 20}


@dataclass(frozen=True, kw_only=True)
class AttentionPoint:
    """Attention of one layer, measured and predicted."""

    kind: str
    batch: int
    context_len: int
    time_s: float
    read_s: float
    n_bytes: float
    flops: float
    predicted_s: float

    @property
    def intensity(self) -> float:
        """FLOPs for each byte of cache, by count."""
        return self.flops / self.n_bytes

    @property
    def felt_intensity(self) -> float:
        """FLOPs done in the time that a plain read takes for one byte."""
        return self.intensity * self.read_s / self.time_s

    @property
    def error(self) -> float:
        """Measured over predicted, minus one."""
        return self.time_s / self.predicted_s - 1


def kinds(*, n_heads: int = 32, group: int = 8, d_head: int = 128, n_latent_heads: int = 128) -> dict[str, ModelSpec]:
    """One layer each of MHA, GQA, MQA and MLA (of DeepSeek-V3's sizes), with next to nothing around the attention.

    >>> [spec.queries_per_kv_head for spec in kinds().values()]
    [1, 8, 32, 1]
    """
    kv_heads = {"MHA": n_heads, f"GQA-{group}": n_heads // group, "MQA": 1}
    found = {
        name: ModelSpec(id=name, name=name, n_heads=n_heads, n_kv_heads=n, d_head=d_head, **_SHAPE)
        for name, n in kv_heads.items()
    }
    width = LATENT.d_nope + LATENT.d_rope
    heads: dict[str, Any] = {"n_heads": n_latent_heads, "n_kv_heads": n_latent_heads, "d_head": width}
    return found | {"MLA": ModelSpec(id="MLA", name="MLA", mla=LATENT, **heads, **_SHAPE)}


def attention_cost(spec: ModelSpec, *, batch_size: int, context_len: int, dtype: str) -> StepCost:
    """What the roofline counts for a step of this layer; attention is its KV read and its attention FLOPs."""
    return decode_cost(spec, batch_size=batch_size, context_len=context_len, precision=precision(dtype))


def sweep_attention(
    specs: Mapping[str, ModelSpec],
    device: Device,
    *,
    dtype: str,
    peak: float,
    batches: Sequence[int],
    context_len: int,
    repeats: int = 5,
    beyond_bytes: float = BEYOND_CACHES_BYTES,
) -> list[AttentionPoint]:
    """Every kind at every batch; `peak` is the FLOP/s that their kernel reaches. As many layers are passed as make the
    cache larger than `beyond_bytes`."""
    found = []
    for kind, spec in specs.items():
        for batch in batches:
            cost = attention_cost(spec, batch_size=batch, context_len=context_len, dtype=dtype)
            n_bytes, flops = cost.kv_read_bytes, cost.attention_flops
            n_layers = ceil(beyond_bytes / n_bytes)
            timing = time_attention(
                replace(spec, n_layers=n_layers),
                device,
                dtype=dtype,
                batch_size=batch,
                context_len=context_len,
                repeats=repeats,
            )
            time_s, read_s = timing.median_s / n_layers, timing.reference_s / n_layers
            found.append(
                AttentionPoint(
                    kind=kind,
                    batch=batch,
                    context_len=context_len,
                    time_s=time_s,
                    read_s=read_s,
                    n_bytes=n_bytes,
                    flops=flops,
                    predicted_s=hypot(read_s, flops / peak),
                )
            )
    return found


def kernel_flops_per_s(
    spec: ModelSpec, device: Device, *, dtype: str, batch_size: int = 8, context_len: int = 512, repeats: int = 9
) -> float:
    """FLOP/s of attention over a cache that stays on the chip: what its arithmetic is limited to."""
    one = replace(spec, n_layers=1)
    timing = time_attention(one, device, dtype=dtype, batch_size=batch_size, context_len=context_len, repeats=repeats)
    cost = attention_cost(one, batch_size=batch_size, context_len=context_len, dtype=dtype)
    return cost.attention_flops / min(timing.samples_s)


def sweep_inside(
    specs: Mapping[str, ModelSpec],
    device: Device,
    *,
    dtype: str,
    peak: float,
    kernel_peaks: Mapping[str, float],
    batches: Sequence[int],
    context_len: int,
    repeats: int = 3,
) -> list[AttentionPoint]:
    """Whole decode steps of random models, taken in turns: weights once and each sequence's cache, both at the rate of
    reading them.

    `kernel_peaks` are the FLOP/s of each kind's attention. `n_bytes` and `flops` are the whole step's, `read_s` the
    time of reading the cache alone.
    """
    models = {kind: Transformer(random_weights(spec), dtype=dtype, device=device.torch) for kind, spec in specs.items()}
    found = []
    for batch in batches:
        calls = [_step_and_read(model, device, dtype, batch, context_len) for model in models.values()]
        steps, reads = (dict(enumerate(each)) for each in zip(*calls, strict=True))
        timings = in_turns(steps, reads, sync=synchronizer(device), repeats=repeats)
        for (kind, spec), timing in zip(specs.items(), timings.values(), strict=True):
            cost = attention_cost(spec, batch_size=batch, context_len=context_len, dtype=dtype)
            cache_s, predicted_s = _inside(cost, timing, peak=peak, kernel_peak=kernel_peaks[kind])
            found.append(
                AttentionPoint(
                    kind=kind,
                    batch=batch,
                    context_len=context_len,
                    time_s=timing.median_s,
                    read_s=cache_s,
                    n_bytes=cost.bytes,
                    flops=cost.flops,
                    predicted_s=predicted_s,
                )
            )
    return found


def _inside(cost: StepCost, timing: Timing, *, peak: float, kernel_peak: float) -> tuple[float, float]:
    """Time of reading the cache, at the rate at which weights and cache were read, and of the whole step."""
    per_byte = timing.reference_s / (cost.weight_bytes + cost.kv_read_bytes)
    weights_s, cache_s = cost.weight_bytes * per_byte, cost.kv_read_bytes * per_byte
    rest_s = hypot(weights_s, cost.linear_flops / peak)
    return cache_s, rest_s + hypot(cache_s, cost.attention_flops / kernel_peak)


def _step_and_read(
    model: Transformer, device: Device, dtype: str, batch_size: int, context_len: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    """A decode step over a filled cache, and a plain read of the same weights and cache."""
    cache = _filled(model.spec, device, dtype=dtype, batch_size=batch_size, context_len=context_len)
    tokens, flat = torch.zeros(batch_size, 1, dtype=torch.long, device=device.torch), _flat(cache)

    def step() -> None:
        cache.set_lengths(context_len)
        model(tokens, cache)

    def read() -> None:
        for linear in model.linears:
            linear.weight.view(-1).view(torch.float32).sum()
        for part in flat:
            part.sum()

    return step, read


def time_attention(
    spec: ModelSpec, device: Device, *, dtype: str, batch_size: int, context_len: int, repeats: int = 5
) -> Timing:
    """Attention of every layer, one after the other, beside a plain read of the whole cache."""
    cache = _filled(spec, device, dtype=dtype, batch_size=batch_size, context_len=context_len)
    call = _latent_call(spec, cache) if isinstance(cache, LatentCache) else _call(spec, cache)
    flat = _flat(cache)

    def read() -> None:
        for tensor in flat:
            tensor.sum()

    with torch.inference_mode():
        return measure(call, sync=synchronizer(device), reference=read, repeats=repeats)


def _filled(spec: ModelSpec, device: Device, *, dtype: str, batch_size: int, context_len: int) -> ContiguousCache:
    """A cache whose pages are its own, with room for one token more than the context."""
    kind = ContiguousCache if spec.mla is None else LatentCache
    cache = kind(spec, batch_size=batch_size, max_len=context_len + 1, dtype=TORCH_DTYPES[dtype], device=device.torch)
    cache.occupy(context_len)
    return cache


def _flat(cache: ContiguousCache) -> list[Tensor]:
    """The cache's numbers in the order in which they lie in memory, as fp32."""
    return [tensor.permute(*_in_memory(tensor)).reshape(-1).view(torch.float32) for tensor in cache.tensors]


def _call(spec: ModelSpec, cache: ContiguousCache) -> Callable[[], object]:
    placement, (keys, _) = cache.place(cache.batch_size, 1), cache.tensors
    rotary = Rotary(spec, frequencies=rope_frequencies(spec).to(keys.device), dtype=keys.dtype)
    factors, n_kv = rotary.factors(placement.positions), spec.n_kv_heads
    heads = torch.randn(cache.batch_size, 1, spec.n_heads + 2 * n_kv, spec.d_head).to(keys)

    def attend_once(layer: int) -> Tensor:
        if placement.fused:
            return cache.decode(layer, heads, factors, placement)
        q, k, v = rotate(heads, factors).split([spec.n_heads, n_kv, n_kv], 2)
        return cache.attend(layer, q, k, v, placement)

    return lambda: [attend_once(layer) for layer in range(spec.n_layers)]


def _latent_call(spec: ModelSpec, cache: LatentCache) -> Callable[[], object]:
    assert spec.mla is not None
    latents, d_latent = cache.tensors[0], spec.mla.kv_lora_rank
    q = torch.randn(cache.batch_size, 1, spec.n_heads, latents.shape[-1]).to(latents)
    return lambda: [attend(q, latents[i, :, :-1], bias=None, d_latent=d_latent) for i in range(spec.n_layers)]


def _in_memory(tensor: Tensor) -> list[int]:
    """The axes in the order in which they lie in memory, so that a read goes in order."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
