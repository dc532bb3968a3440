"""What does decode attention alone take? One new token of each sequence over a cache of known bytes.

    predicted = hypot(cache bytes / W, attention flops / peak)

W is the rate of reading the same cache, taken in turn with it, peak what the same kernel reaches on a cache so small
that it stays on the chip (`kernel_flops_per_s`). The cache is filled first
(memory that was never written is one page of zeros, and stays on the chip), and as many layers are passed as make it
too large for any cache of the processor. `felt_intensity`, flops / (time * W), are the FLOPs done while a plain read
would move one byte: it equals the intensity where attention takes as long as its bytes. Times are those of the fastest
repeat, of both: what other programs take from a machine only adds. Ignores projections.
Used by chapter 17.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, hypot
from typing import Any

import torch
from torch import Tensor

from bytebill.device import Device, synchronizer
from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.cache.latent import LatentCache, SlotCache, slot_cache
from bytebill.engine.graphs import without_launches
from bytebill.engine.kernels import reading
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.latents import attend_latents
from bytebill.engine.rotary import Rotary, rope_frequencies
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import random_weights
from bytebill.measure.ceilings import peak_flops_per_s
from bytebill.measure.decoders import cached_step, one_piece
from bytebill.measure.sizes import sizes_for
from bytebill.measure.timing import Call, Predicted, Timing, in_turns, timed
from bytebill.models import MLASpec, ModelSpec, precision
from bytebill.roofline import StepCost, decode_cost

BEYOND_CACHES_BYTES = 256 << 20
LATENT = MLASpec(q_lora_rank=1536, kv_lora_rank=512, d_nope=128, d_rope=64, d_v=128)
_SHAPE: dict[str, Any] = {"n_layers": 1, "d_model": 64, "d_ff": 64, "vocab_size": 64, "context_len": 1 << 20}


@dataclass(frozen=True, kw_only=True)
class AttentionPoint(Predicted):
    """Attention of one layer, or a whole step, measured and predicted."""

    kind: str
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
        return self.intensity * self.read_s / self.step_s


def kinds(
    *, n_heads: int = 32, n_kv_heads: int = 4, d_head: int = 128, n_latent_heads: int = 128
) -> dict[str, ModelSpec]:
    """One layer each of MHA, GQA, MQA and MLA (of DeepSeek-V3's sizes), with next to nothing around the attention.

    GQA-G has G KV heads, as in its paper.

    >>> {name: spec.queries_per_kv_head for name, spec in kinds().items()}
    {'MHA': 1, 'GQA-4': 8, 'MQA': 32, 'MLA': 1}
    """
    grouped = {"MHA": n_heads, f"GQA-{n_kv_heads}": n_kv_heads, "MQA": 1}
    heads: dict[str, dict[str, Any]] = {
        name: {"n_heads": n_heads, "n_kv_heads": n, "d_head": d_head} for name, n in grouped.items()
    }
    latent = {"n_heads": n_latent_heads, "n_kv_heads": n_latent_heads, "d_head": LATENT.d_nope + LATENT.d_rope}
    heads["MLA"] = {**latent, "mla": LATENT}
    return {name: ModelSpec(id=name, name=name, **each, **_SHAPE) for name, each in heads.items()}


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
    cache larger than `beyond_bytes`, and than the device's own cache many times."""
    found, beyond_bytes = [], max(beyond_bytes, sizes_for(device).beyond_caches_bytes)
    for (kind, spec), batch in product(specs.items(), batches):
        cost = decode_cost(spec, batch_size=batch, context_len=context_len, precision=precision(dtype))
        deep = replace(spec, n_layers=ceil(beyond_bytes / cost.kv_read_bytes))
        timing = _time(deep, device, dtype=dtype, batch_size=batch, context_len=context_len, repeats=repeats)
        read_s = timing.fastest_reference_s / deep.n_layers
        found.append(
            AttentionPoint(
                kind=kind,
                batch=batch,
                context_len=context_len,
                step_s=timing.fastest_s / deep.n_layers,
                predicted_s=hypot(read_s, cost.attention_flops / peak),
                read_s=read_s,
                n_bytes=cost.kv_read_bytes,
                flops=cost.attention_flops,
            )
        )
    return found


def kernel_flops_per_s(spec: ModelSpec, device: Device, *, dtype: str) -> float:
    """FLOP/s of attention over a cache that stays on the chip: what its arithmetic is limited to.

    On a GPU those of a large matmul: so little attention is over before its kernels are started.
    """
    if device.kind == "cuda":
        return peak_flops_per_s(device, dtype=dtype)
    small: dict[str, Any] = {"batch_size": 8, "context_len": 512}
    timing = _time(replace(spec, n_layers=1), device, dtype=dtype, **small, repeats=9)
    cost = decode_cost(replace(spec, n_layers=1), **small, precision=precision(dtype))
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
        cached = {kind: cached_step(model, batch, context_len) for kind, model in models.items()}
        steps = {kind: step for kind, (_, step) in cached.items()}
        reads = {kind: _reading(cache, device, models[kind]) for kind, (cache, _) in cached.items()}
        timings = in_turns(steps, reads, sync=synchronizer(device), repeats=repeats)
        for kind, timing in timings.items():
            cost = decode_cost(specs[kind], batch_size=batch, context_len=context_len, precision=precision(dtype))
            place = {"batch": batch, "context_len": context_len}
            found.append(_inside(kind, place, cost, timing, peak=peak, kernel_peak=kernel_peaks[kind]))
    return found


def _inside(
    kind: str, place: Mapping[str, int], cost: StepCost, timing: Timing, *, peak: float, kernel_peak: float
) -> AttentionPoint:
    """The cache is read at the rate at which weights and cache were."""
    per_byte = timing.fastest_reference_s / (cost.weight_bytes + cost.kv_read_bytes)
    weights_s, cache_s = cost.weight_bytes * per_byte, cost.kv_read_bytes * per_byte
    rest_s = hypot(weights_s, cost.linear_flops / peak)
    return AttentionPoint(
        kind=kind,
        **place,
        step_s=timing.fastest_s,
        predicted_s=rest_s + hypot(cache_s, cost.attention_flops / kernel_peak),
        read_s=cache_s,
        n_bytes=cost.bytes,
        flops=cost.flops,
    )


def _time(spec: ModelSpec, device: Device, *, dtype: str, batch_size: int, context_len: int, repeats: int) -> Timing:
    """Attention of every layer, one after the other, beside a plain read of the whole cache."""
    cache = slot_cache(spec, batch_size=batch_size, max_len=context_len + 1, dtype=PLAIN[dtype], device=device.torch)
    cache.occupy(context_len)
    if isinstance(cache, ContiguousCache):
        call = attending(spec, cache, cache.place(batch_size, 1), n_rows=batch_size, like=cache.tensors[0])
    else:
        call = _attending_latents(spec, cache)
    with torch.inference_mode():
        call = without_launches(call, kind=device.kind)
        return timed(call, sync=synchronizer(device), reference=_reading(cache, device), repeats=repeats)


def attending(spec: ModelSpec, cache: Any, placement: Any, *, n_rows: int, like: Tensor) -> Call:
    """Attention of every layer, one after the other: a random token of each placed sequence, `like` in dtype and
    device, over a cache of keys and values."""
    rotary = Rotary(spec, frequencies=rope_frequencies(spec).to(like.device), dtype=like.dtype)
    factors = rotary.factors(placement.positions)
    heads = torch.randn(n_rows, 1, spec.n_heads + 2 * spec.n_kv_heads, spec.d_head).to(like)
    return lambda: [cache.attend(layer, heads, factors, placement) for layer in range(spec.n_layers)]


def _attending_latents(spec: ModelSpec, cache: LatentCache) -> Call:
    rows, d_latent = cache.tensors[0], cache.d_latent  # [L, B, context + 1, c + d_rope]
    q = torch.randn(cache.batch_size, 1, spec.n_heads, rows.shape[-1]).to(rows)
    return lambda: [attend_latents(q, layer[:, :-1], bias=None, d_latent=d_latent) for layer in rows]


def _reading(cache: SlotCache, device: Device, model: Transformer | None = None) -> Call:
    """A plain read of a cache (and of a model's weights before it, on a GPU of as many bytes in one piece), as it lies
    in memory."""
    flat = [
        tensor.permute(*sorted(range(tensor.dim()), key=tensor.stride, reverse=True)).reshape(-1).view(torch.float32)
        for tensor in cache.tensors
    ]

    if model is not None and device.kind == "cuda":
        flat.insert(0, one_piece(model.weight_bytes_read, device))

    def read() -> None:
        if model is not None and device.kind != "cuda":
            model.read_weights()
        for part in flat:
            reading.read_once(part)

    return without_launches(read, kind=device.kind)
