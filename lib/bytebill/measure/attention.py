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
from bytebill.engine.cache.latent import LatentCache, SlotCache, slot_cache
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.latents import attend_latents
from bytebill.engine.rotary import Rotary, rope_frequencies
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import random_weights
from bytebill.measure.timing import Predicted, Timing, in_turns, timed
from bytebill.models import MLASpec, ModelSpec, precision
from bytebill.roofline import StepCost, decode_cost

BEYOND_CACHES_BYTES = 256 << 20
LATENT = MLASpec(q_lora_rank=1536, kv_lora_rank=512, d_nope=128, d_rope=64, d_v=128)
_SHAPE: dict[str, Any] = {"n_layers": 1, "d_model": 64, "d_ff": 64, "vocab_size": 64, "context_len": 1 << 20}


@dataclass(frozen=True, kw_only=True)
class AttentionPoint(Predicted):
    """Attention of one layer, or a whole step, measured and predicted."""

    context_len: int
    read_s: float
    n_bytes: float
    flops: float

    @property
    def intensity(self) -> float:
        """FLOPs for each byte of cache, by count."""
        return self.flops / self.n_bytes

    @property
    def felt_intensity(self) -> float:
        """FLOPs done in the time that a plain read takes for one byte."""
        return self.intensity * self.read_s / self.time_s


@dataclass(frozen=True, kw_only=True)
class _Decode:
    """One new token for each sequence of a batch, on a device."""

    kind: str
    spec: ModelSpec
    device: Device
    dtype: str
    batch: int
    context_len: int

    @property
    def cost(self) -> StepCost:
        """What the roofline counts for it; attention is its KV read and its attention FLOPs."""
        return decode_cost(
            self.spec, batch_size=self.batch, context_len=self.context_len, precision=precision(self.dtype)
        )

    def filled(self) -> SlotCache:
        """A cache whose pages are its own, with room for one token more than the context."""
        cache = slot_cache(
            self.spec,
            batch_size=self.batch,
            max_len=self.context_len + 1,
            dtype=PLAIN[self.dtype],
            device=self.device.torch,
        )
        cache.occupy(self.context_len)
        return cache

    def point(self, **measured: float) -> AttentionPoint:
        """It, as measured."""
        return AttentionPoint(kind=self.kind, batch=self.batch, context_len=self.context_len, **measured)


def kinds(
    *, n_heads: int = 32, n_kv_heads: int = 4, d_head: int = 128, n_latent_heads: int = 128
) -> dict[str, ModelSpec]:
    """One layer each of MHA, GQA, MQA and MLA (of DeepSeek-V3's sizes), with next to nothing around the attention.

    GQA-G has G KV heads, as in its paper.

    >>> {name: spec.queries_per_kv_head for name, spec in kinds().items()}
    {'MHA': 1, 'GQA-4': 8, 'MQA': 32, 'MLA': 1}
    """
    kv_heads = {"MHA": n_heads, f"GQA-{n_kv_heads}": n_kv_heads, "MQA": 1}
    found = {
        name: ModelSpec(id=name, name=name, n_heads=n_heads, n_kv_heads=n, d_head=d_head, **_SHAPE)
        for name, n in kv_heads.items()
    }
    width = LATENT.d_nope + LATENT.d_rope
    heads: dict[str, Any] = {"n_heads": n_latent_heads, "n_kv_heads": n_latent_heads, "d_head": width}
    return found | {"MLA": ModelSpec(id="MLA", name="MLA", mla=LATENT, **heads, **_SHAPE)}


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
    decodes = [
        _Decode(kind=kind, spec=spec, device=device, dtype=dtype, batch=batch, context_len=context_len)
        for kind, spec in specs.items()
        for batch in batches
    ]
    return [_alone(decode, peak=peak, repeats=repeats, beyond_bytes=beyond_bytes) for decode in decodes]


def _alone(decode: _Decode, *, peak: float, repeats: int, beyond_bytes: float) -> AttentionPoint:
    n_bytes, flops = decode.cost.kv_read_bytes, decode.cost.attention_flops
    n_layers = ceil(beyond_bytes / n_bytes)
    timing = _time(replace(decode, spec=replace(decode.spec, n_layers=n_layers)), repeats=repeats)
    read_s = timing.reference_s / n_layers
    return decode.point(
        time_s=timing.median_s / n_layers,
        predicted_s=hypot(read_s, flops / peak),
        read_s=read_s,
        n_bytes=n_bytes,
        flops=flops,
    )


def kernel_flops_per_s(
    spec: ModelSpec, device: Device, *, dtype: str, batch_size: int = 8, context_len: int = 512, repeats: int = 9
) -> float:
    """FLOP/s of attention over a cache that stays on the chip: what its arithmetic is limited to."""
    one = replace(spec, n_layers=1)
    decode = _Decode(kind="", spec=one, device=device, dtype=dtype, batch=batch_size, context_len=context_len)
    return decode.cost.attention_flops / min(_time(decode, repeats=repeats).samples_s)


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
        decodes = [
            _Decode(kind=kind, spec=spec, device=device, dtype=dtype, batch=batch, context_len=context_len)
            for kind, spec in specs.items()
        ]
        calls = [_step_and_read(models[decode.kind], decode) for decode in decodes]
        steps, reads = (dict(enumerate(each)) for each in zip(*calls, strict=True))
        timings = in_turns(steps, reads, sync=synchronizer(device), repeats=repeats)
        for decode, timing in zip(decodes, timings.values(), strict=True):
            found.append(_inside(decode, timing, peak=peak, kernel_peak=kernel_peaks[decode.kind]))
    return found


def _inside(decode: _Decode, timing: Timing, *, peak: float, kernel_peak: float) -> AttentionPoint:
    """The cache is read at the rate at which weights and cache were."""
    cost = decode.cost
    per_byte = timing.reference_s / (cost.weight_bytes + cost.kv_read_bytes)
    weights_s, cache_s = cost.weight_bytes * per_byte, cost.kv_read_bytes * per_byte
    rest_s = hypot(weights_s, cost.linear_flops / peak)
    return decode.point(
        time_s=timing.median_s,
        predicted_s=rest_s + hypot(cache_s, cost.attention_flops / kernel_peak),
        read_s=cache_s,
        n_bytes=cost.bytes,
        flops=cost.flops,
    )


def _step_and_read(model: Transformer, decode: _Decode) -> tuple[Callable[[], object], Callable[[], object]]:
    """A decode step over a filled cache, and a plain read of the same weights and cache."""
    cache, tokens = decode.filled(), torch.zeros(decode.batch, 1, dtype=torch.long, device=model.device)
    flat = _flat(cache)

    def step() -> None:
        cache.set_lengths(decode.context_len)
        model(tokens, cache)

    def read() -> None:
        model.read_weights()
        for part in flat:
            part.sum()

    return step, read


def _time(decode: _Decode, *, repeats: int) -> Timing:
    """Attention of every layer, one after the other, beside a plain read of the whole cache."""
    cache = decode.filled()
    call = _call(decode.spec, cache) if isinstance(cache, ContiguousCache) else _latent_call(decode.spec, cache)
    flat = _flat(cache)
    with torch.inference_mode():
        return timed(
            call, sync=synchronizer(decode.device), reference=lambda: [part.sum() for part in flat], repeats=repeats
        )


def _call(spec: ModelSpec, cache: ContiguousCache) -> Callable[[], object]:
    placement, keys = cache.place(cache.batch_size, 1), cache.tensors[0]
    rotary = Rotary(spec, frequencies=rope_frequencies(spec).to(keys.device), dtype=keys.dtype)
    factors = rotary.factors(placement.positions)
    heads = torch.randn(cache.batch_size, 1, spec.n_heads + 2 * spec.n_kv_heads, spec.d_head).to(keys)
    return lambda: [cache.attend(layer, heads, factors, placement) for layer in range(spec.n_layers)]


def _latent_call(spec: ModelSpec, cache: LatentCache) -> Callable[[], object]:
    rows, d_latent = cache.tensors[0], cache.d_latent  # [L, B, context + 1, c + d_rope]
    q = torch.randn(cache.batch_size, 1, spec.n_heads, rows.shape[-1]).to(rows)
    return lambda: [attend_latents(q, rows[i, :, :-1], bias=None, d_latent=d_latent) for i in range(spec.n_layers)]


def _flat(cache: SlotCache) -> list[Tensor]:
    """The cache's numbers in the order in which they lie in memory, as fp32."""
    return [tensor.permute(*_in_memory(tensor)).reshape(-1).view(torch.float32) for tensor in cache.tensors]


def _in_memory(tensor: Tensor) -> list[int]:
    """The axes in the order in which they lie in memory, so that a read goes in order."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
