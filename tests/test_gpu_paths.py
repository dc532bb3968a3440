"""What only a GPU runs, checked without one: which code is chosen, shapes and devices, graphs by stand-ins, refusals.

Fake CUDA tensors have shapes, dtypes and a device and no numbers: an operator refuses those of two devices.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import bias
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import conftest
from bytebill import data, device
from bytebill.device import Device, Synchronizer, synchronizer
from bytebill.engine import attention, build, graphs, runner
from bytebill.engine.cache.paged import PagedCache, PlacedTokens
from bytebill.engine.experts import DrawnRouter
from bytebill.engine.graphs import GraphedDecode, GraphedRows, can_record
from bytebill.engine.kernels import decode_gpu, panels
from bytebill.engine.kernels.linear import PackedLinear, arithmetic, formats, pack, path
from bytebill.engine.kernels.linear_gpu import EightBitFloats, FourBits
from bytebill.engine.runner import Runner
from bytebill.engine.serve import serve
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, random_weights
from bytebill.engine.weights.names import tensor_shapes
from bytebill.errors import BytebillError
from bytebill.measure import ceilings, peers, sizes, timing
from bytebill.models import MLASpec, ModelSpec, MoESpec
from bytebill.serving.continuous import ContinuousScheduler
from bytebill.serving.memory.paged import Paged
from bytebill.serving.request import Request
from bytebill.serving.static import StaticScheduler
from bytebill.trials import bench, gpu_paths

TINY = replace(conftest.TINY, vocab_size=112)
MLA = MLASpec(q_lora_rank=64, kv_lora_rank=64, d_nope=16, d_rope=16, d_v=32)
SPECS = {
    "grouped": TINY,
    "own heads": replace(TINY, n_kv_heads=6),
    "normed heads": replace(TINY, qk_norm=True),
    "biased": replace(TINY, qkv_bias=True, tied_embeddings=True),
    "latents": replace(TINY, n_kv_heads=6, d_head=32, mla=MLA),
}
EXPERTS = replace(TINY, moe=MoESpec(n_experts=4, n_experts_per_token=2, d_ff_expert=32))
_DENSE = torch.contiguous_format
GPU = Device(kind="cuda", name="a card", memory_bytes=80 << 30, n_threads=1, pinned=False)
CPU = Device(kind="cpu", name="a CPU", memory_bytes=8 << 30, n_threads=2, pinned=True)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """Fake CUDA tensors, and a card with room."""
    monkeypatch.setattr(build, "free_bytes", lambda kind: 80 << 30)
    monkeypatch.setattr(decode_gpu, "has_triton", lambda: False)
    monkeypatch.setattr(EightBitFloats, "available", lambda: True)
    monkeypatch.setattr(bias, "causal_lower_right", _lower_right)
    with ByOperators(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def _lower_right(*size: int) -> bias.CausalBias:
    """A mask that is a tensor of a kind of its own, which is not made among fake ones."""
    with _disable_current_modes():
        return bias.CausalBias(bias.CausalVariant.LOWER_RIGHT, *size)


class ByOperators(TorchFunctionMode):
    """Square brackets and moves by operators: Python's own ask for a device guard, which a build for CPUs has not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__ and args[0].device.type == "cuda":
            found, tensors = _indexed(*args)
            return torch.ops.aten.index.Tensor(found, tensors) if any(each is not None for each in tensors) else found
        if func is Tensor.__setitem__ and args[0].device.type == "cuda":
            found, tensors = _indexed(*args[:2])
            if any(each is not None for each in tensors):
                return torch.ops.aten.index_put_.default(found, tensors, args[2])
            return torch.ops.aten.copy_.default(found, args[2])
        if func is Tensor.new_tensor:
            return args[0].new_empty(len(args[1]))
        if func is Tensor.contiguous:
            return args[0] if args[0].is_contiguous() else torch.ops.aten.clone.default(args[0], memory_format=_DENSE)
        if func is Tensor.copy_:
            return torch.ops.aten.copy_.default(*args[:2])
        if func is torch.nonzero:  # numbers unknown, and here all are true
            return tuple(args[0].new_empty(args[0].numel(), dtype=torch.long) for _ in range(args[0].dim()))
        if func is Tensor.to:
            place, dtype, *_ = torch._C._nn._parse_to(*args[1:], **(kwargs or {}))
            same = dtype in (None, args[0].dtype) and (place is None or place.type == args[0].device.type)
            return args[0] if same else torch.ops.aten._to_copy.default(args[0], device=place, dtype=dtype)
        return func(*args, **(kwargs or {}))


def _indexed(x: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None]]:
    """A view by what is no tensor, and the tensors that are left to index it with."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        n_missing = x.dim() - sum(part is not None for part in parts) + 1
        parts[at : at + 1] = [slice(None)] * n_missing
    tensors: list[Tensor | None] = []
    for part in parts:
        dim = len(tensors)
        if part is None:
            x = x.unsqueeze(dim)
        elif isinstance(part, slice):
            start, stop, step = part.indices(x.shape[dim])
            x = torch.ops.aten.slice.Tensor(x, dim, start, stop, step)
        elif isinstance(part, int):
            x = x.select(dim, part)
            continue
        tensors.append(torch.as_tensor(part) if isinstance(part, Tensor | list) else None)
    return x, tensors


def on_gpu(spec: ModelSpec, dtype: str = "bf16") -> Transformer:
    """A model on the fake card; its weights have no numbers."""
    shapes = tensor_shapes(spec)
    weights = Weights(spec, lambda name: torch.empty(shapes[name]), frequencies=torch.empty(_half(spec)))
    return Transformer(weights, dtype=dtype, device="cuda")


def _half(spec: ModelSpec) -> int:
    return (spec.d_head if spec.mla is None else spec.mla.d_rope) // 2


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp8", "int4"])
@pytest.mark.parametrize("kind", SPECS)
def test_prompts_chunks_and_decodes_stay_on_the_card(fake_gpu: FakeTensorMode, kind: str, dtype: str) -> None:
    model = on_gpu(SPECS[kind], dtype)
    cache = model.new_cache(3, 101)
    tokens = torch.zeros(3, 40, dtype=torch.long, device="cuda")
    assert model.forward(tokens, cache).shape == (3, 1, TINY.vocab_size)  # a prompt
    assert model.forward(tokens[:, :20], cache).device.type == "cuda"  # a chunk behind it
    assert model.forward(tokens[:, :1], cache).shape == (3, 1, TINY.vocab_size)  # a decode, even
    cache.set_lengths([5, 61, 30])
    assert model.forward(tokens[:, :1], cache).shape == (3, 1, TINY.vocab_size)  # and ragged
    assert cache.lengths == [6, 62, 31]


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind != "latents"])
def test_a_mixed_step_over_blocks_stays_on_the_card(fake_gpu: FakeTensorMode, kind: str) -> None:
    model = on_gpu(SPECS[kind])
    cache = PagedCache(model.spec, n_blocks=12, block_size_tokens=16, dtype=torch.bfloat16, device="cuda")
    spans = [
        PlacedTokens(blocks=[3, 1], start=20, n_new=1),
        PlacedTokens(blocks=[0], start=3, n_new=1),
        PlacedTokens(blocks=[2, 4], start=0, n_new=18),
        PlacedTokens(blocks=[5, 6, 7], start=16, n_new=20),
    ]
    rows = torch.zeros(40, dtype=torch.long, device="cuda")
    assert model.run_rows(rows, cache, cache.place(spans)).shape == (40, TINY.vocab_size)


@pytest.fixture
def by_table(fake_gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The Triton kernel's place taken by one that notes the tables it is given."""
    tables: list[Tensor] = []

    def attend(kernel: Any, keys: Tensor, values: Tensor, rotated: Tensor, table: Tensor) -> Tensor:
        assert rotated.shape[1:] == (TINY.n_heads + 2 * TINY.n_kv_heads, TINY.d_head) and rotated.is_contiguous()
        assert keys.shape == values.shape and table.device == rotated.device and table.dtype == torch.int64
        tables.append(table)
        return rotated.new_empty(len(rotated), TINY.n_heads * TINY.d_head)

    monkeypatch.setattr(decode_gpu, "has_triton", lambda: True)
    monkeypatch.setattr(decode_gpu, "_agrees", lambda *of: True)
    monkeypatch.setattr(decode_gpu.GpuDecodeAttention, "attend", attend)
    return tables


def test_where_the_kernel_serves_decodes_go_by_table(by_table: list[Tensor]) -> None:
    model = on_gpu(TINY)
    cache = model.new_cache(3, 101)
    cache.set_lengths([5, 61, 30])
    model.forward(torch.zeros(3, 1, dtype=torch.long, device="cuda"), cache)
    assert [table.shape for table in by_table] == [(3, 3)] * TINY.n_layers
    pool = PagedCache(TINY, n_blocks=8, block_size_tokens=16, dtype=torch.bfloat16, device="cuda")
    spans = [PlacedTokens(blocks=[2, 0, 5], start=40, n_new=1), PlacedTokens(blocks=[1], start=0, n_new=7)]
    model.run_rows(torch.zeros(8, dtype=torch.long, device="cuda"), pool, pool.place(spans))
    assert pool.decodes_by_table and by_table[-1].shape == (1, 5)


def test_a_recorded_step_reads_lengths_from_the_device(by_table: list[Tensor]) -> None:
    """What `GraphedDecode` records: a table made of the positions, so that a replay follows them."""
    cache = on_gpu(TINY).new_cache(3, 101)
    positions = torch.zeros(3, 1, dtype=torch.long, device="cuda")
    placement = cache.place_at(positions, n_slots=101, n_new=(1, 1, 1), rows=torch.arange(3, device="cuda"))
    assert placement.table is not None and placement.table.shape == (3, 3) and placement.bias is None


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (replace(TINY, d_head=24), "a head of no power of two"),
        (replace(TINY, n_heads=130, n_kv_heads=1), "more heads of a group than registers"),
    ],
)
def test_what_the_kernel_does_not_take_is_gathered(by_table: list[Tensor], spec: ModelSpec, why: str) -> None:
    pool = PagedCache(spec, n_blocks=8, block_size_tokens=16, dtype=torch.bfloat16, device="cuda")
    assert not pool.decodes_by_table, why


def test_a_kernel_that_does_not_compile_or_agree_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.zeros(1, 4, 2, 16, 32)
    monkeypatch.setattr(decode_gpu, "has_triton", lambda: True)
    decode_gpu._agrees.cache_clear()
    for attend in (_raises, lambda kernel, keys, *of: keys.new_zeros(2, 96)):
        monkeypatch.setattr(decode_gpu.GpuDecodeAttention, "attend", attend)
        assert decode_gpu.on_gpu(values, n_heads=6, max_len=64) is None
        decode_gpu._agrees.cache_clear()


def _raises(*of: Any) -> Tensor:
    raise RuntimeError("no compiler")


INTERPRETED = """
import torch
from bytebill.engine.kernels import decode_gpu
for d_head, group in ((64, 3), (16, 1), (128, 8)):
    assert decode_gpu._agrees(torch.float32, d_head, group, torch.device("cpu")), (d_head, group)
kernel = decode_gpu.GpuDecodeAttention(torch.randn(1, 3, 2, 4, 16), n_heads=2, max_len=12)
before = kernel.keys.clone(), kernel.values.clone()
table = torch.tensor([[-1, 0, 0, 0], [5, 8, 2, 0]])  # padding, and a token that is asked to read two slots too many
heads = torch.randn(2, 6, 16)
out = kernel.attend(kernel.keys[0], kernel.values[0], heads, table)
assert torch.equal(out[0], torch.zeros(32)) and torch.equal(kernel.keys[0, 1:], before[0][0, 1:])
for pool, was, new in ((kernel.keys, before[0], heads[1, 2:4]), (kernel.values, before[1], heads[1, 4:])):
    assert torch.equal(pool[0, 0, :, 1], new)  # place 5 is slot 1 of the table's second block
    assert torch.equal(pool[0, 0, :, [0, 2, 3]], was[0, 0, :, [0, 2, 3]])
expected = torch.cat((kernel.keys[0, 2], kernel.keys[0, 0, :, :2]), 1) @ heads[1, :2, :, None]
mixed = torch.softmax(expected[..., 0], -1)[:, None] @ torch.cat((kernel.values[0, 2], kernel.values[0, 0, :, :2]), 1)
assert torch.allclose(out[1].view(2, 16), mixed[:, 0], atol=1e-5)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch's builds for CUDA")
def test_the_kernel_by_tritons_interpreter() -> None:
    """In fp32: the interpreter multiplies no bf16."""
    variables = {**os.environ, "TRITON_INTERPRET": "1"}
    ended = subprocess.run([sys.executable, "-c", INTERPRETED], env=variables, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    return Transformer(random_weights(TINY), dtype="fp32")


REQUESTS = [
    Request(id=id, n_input_tokens=n_in, n_output_tokens=n_out)
    for id, (n_in, n_out) in enumerate([(20, 9), (1, 14), (37, 1), (5, 20), (64, 12), (3, 12)])
]


@pytest.mark.skipif(not panels.available(), reason="without a kernel there is no table to record")
@pytest.mark.parametrize("scheduler", [lambda: StaticScheduler(3), lambda: ContinuousScheduler(_pool())])
def test_a_runner_with_recorded_steps_says_the_same(
    tiny: Transformer, monkeypatch: pytest.MonkeyPatch, scheduler: Callable[[], Any]
) -> None:
    """A stand-in for a graph: the call itself, whose inputs lie where the first call had them."""
    recorded: list[int] = []

    def noted(self: GraphedRows, n: int) -> Any:
        recorded.append(n)
        return record(self, n)

    record = GraphedRows._record
    plain = _texts(tiny, scheduler())
    monkeypatch.setattr(graphs, "captured", lambda call: (call(), call)[1])
    monkeypatch.setattr(runner, "can_record", lambda model: True)
    monkeypatch.setattr(GraphedRows, "_record", noted)
    assert _texts(tiny, scheduler()) == plain
    assert recorded and len(recorded) == len(set(recorded))  # once for each number of sequences


def _texts(model: Transformer, scheduler: Any) -> dict[int, list[int]]:
    return serve(scheduler, REQUESTS, Runner.of(model, scheduler, max_len=112)).outputs


def _pool() -> Paged:
    return Paged(n_blocks=60, block_size_tokens=4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_card_serves_the_text_of_the_cpu(tiny: Transformer) -> None:
    there = Transformer(random_weights(TINY), dtype="fp32", device="cuda")
    schedulers = [ContinuousScheduler(_pool()) for _ in range(2)]
    here, on_card = (
        serve(scheduler, REQUESTS, Runner.of(model, scheduler)).outputs
        for scheduler, model in zip(schedulers, (tiny, there), strict=True)
    )
    assert here == on_card
    assert decode_gpu._agrees(torch.bfloat16, 32, 3, torch.device("cuda", 0)) == decode_gpu.has_triton()


def test_experts_and_other_devices_are_not_recorded(tiny: Transformer) -> None:
    sparse: Any = SimpleNamespace(device=torch.device("cuda"), experts=(1,), spec=EXPERTS)
    assert not can_record(sparse) and not can_record(tiny)
    assert can_record(SimpleNamespace(device=torch.device("cuda"), experts=()))  # type: ignore[arg-type]
    with pytest.raises(BytebillError, match="Tiny has experts, whose loop asks the device"):
        GraphedDecode(sparse, tiny.new_cache(1, 8))


def test_even_lengths_move_without_a_copy_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = object.__new__(GraphedDecode)
    graph._positions = torch.zeros(3, 1, dtype=torch.long)
    monkeypatch.setattr(torch, "tensor", _raises)
    graph._move([7, 7, 7])
    assert graph._positions.flatten().tolist() == [7, 7, 7]
    monkeypatch.undo()
    graph._move([7, 8, 9])
    assert graph._positions.flatten().tolist() == [7, 8, 9]


def test_every_prompt_length_is_met_before_the_clock_starts(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[tuple[int, ...]] = []
    monkeypatch.setattr(Runner, "_chosen", lambda self, parts: met.append(tuple(len(part.tokens) for part in parts)))
    cpu = Runner(tiny, n_blocks=10)
    cpu.meet_prompts([100])
    assert not met  # a CPU has none to load
    gpu = Runner(tiny, n_blocks=10)
    gpu.model = SimpleNamespace(device=torch.device("cuda"))  # type: ignore[assignment]
    gpu.meet_prompts([100, 1000])
    assert {100, 2, 4, 8, 16, 32, 64, 128} == {parts[-1] for parts in met} and (1, 100) in met
    met.clear()
    gpu.meet_prompts([100])
    assert not met  # each once
    gpu._requests[0] = REQUESTS[0]
    gpu.meet_prompts([50])
    assert not met  # blocks belong to somebody


def test_a_sample_lasts_long_beside_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    waits: list[int] = []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)

    def call() -> None:
        clock.now += 0.1e-3

    def wait() -> None:
        waits.append(1)
        clock.now += 20e-6

    long = timing.timed(call, sync=Synchronizer(wait, least_sample_s=2e-3), repeats=3)
    assert long.median_s == pytest.approx(0.1e-3, rel=0.01)  # a lone call would have taken 0.12 ms
    waits.clear()
    assert timing.timed(call, sync=Synchronizer(wait), repeats=3).median_s == pytest.approx(0.12e-3)
    assert len(waits) == 6  # without a least length each sample is one call, as on a CPU
    assert synchronizer(CPU).least_sample_s == 0 < synchronizer(GPU).least_sample_s


def test_free_memory_counts_what_torch_keeps_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 40 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 16 << 30)
    assert device.free_bytes("cuda") == 34 << 30


def test_sizes_are_beyond_a_cards_cache_and_within_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_l2_bytes", lambda: 50 << 20)
    card, cpu = sizes.sizes_for(GPU), sizes.sizes_for(CPU)
    assert card.dtypes == ("bf16", "fp32") and cpu.dtypes == ("fp32", "bf16")
    assert (cpu.d_model, cpu.d_ff, cpu.beyond_caches_bytes, cpu.layers((1, 2, 4))) == (2048, 5632, 0, [1, 2, 4])
    assert 2 * card.d_model * card.d_ff > 2 * (50 << 20)  # one matrix is more than the cache
    multiples = (1, 2, 4, 8, 12, 24)
    stacks = card.layers(multiples)
    assert stacks[0] * card.pair_bytes >= 8 * (50 << 20) and len(stacks) == len(multiples) - 1
    small = replace(card, memory_bytes=20 << 30).layers(multiples)
    assert len(small) < len(stacks) and (sum(small) + 2 * small[-1]) * card.pair_bytes <= 10 << 30
    cached = 2 * card.cached_d_model**2 * 2 * card.cached_layers
    assert 0.4 * (50 << 20) < cached < 0.6 * (50 << 20)


def test_prompts_are_served_without_cudnns_plans(fake_gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[bool] = []
    sdpa = attention.scaled_dot_product_attention

    def watched(*of: Any, **how: Any) -> Tensor:
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return sdpa(*of, **how)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", watched)
    for place in ("cuda", "cpu"):
        q, kv = torch.empty(1, 40, 6, 32, device=place), torch.empty(1, 40, 2, 32, device=place)
        attention.first_queries(q, keys=kv, values=kv)
    assert allowed == [False, torch.backends.cuda.cudnn_sdp_enabled()]


@pytest.mark.parametrize(("n_out", "n_in"), [(64, 128), (24, 64)])
def test_four_bits_on_a_card_are_those_of_the_panels(n_out: int, n_in: int) -> None:
    weight = torch.randn(n_out, n_in)
    levels, scales = FourBits.levels(weight)
    back = (levels.unflatten(1, (-1, 64)) - 8) * scales[..., 0].T.float()[..., None]
    panel, panel_scales = pack(weight, "int4")
    width = panels.panel_width()
    low, high = (panel & 15), (panel >> 4)
    found = (torch.cat((low, high), 2).to(torch.float32) - 8).unflatten(1, (-1, 64)) * panel_scales.float()[:, :, None]
    rows = found.flatten(1, 2).transpose(1, 2).reshape(-1, n_in)[:n_out]
    assert torch.equal(back.flatten(1), rows) and width >= 1
    assert torch.equal(scales[..., 1], torch.zeros_like(scales[..., 1]))


def test_a_card_multiplies_four_bits_and_refuses_eight(fake_gpu: FakeTensorMode) -> None:
    assert (path("int4", "cuda"), path("bf16", "cuda")) == ("tinygemm", "torch")
    linear = PackedLinear(torch.empty(104, 128, device="cuda"), dtype="int4")
    y = linear(torch.empty(3, 5, 128, device="cuda", dtype=torch.bfloat16))
    assert (y.shape, y.dtype) == ((3, 5, 104), torch.bfloat16)
    assert linear.stored_bytes == 104 * 128 // 2 + 104 * 128 // 64 * 4 == linear.twin().stored_bytes
    with pytest.raises(BytebillError, match=r"int8 weights have no kernel on cuda here; use fp32, bf16, fp8 or int4\."):
        path("int8", "cuda")
    with pytest.raises(BytebillError, match="outputs in eights"):
        PackedLinear(torch.empty(100, 128, device="cuda"), dtype="int4")
    held = on_gpu(TINY, "int4")
    assert held.weight_bytes_stored == build.held_bytes(TINY, dtype="int4", device="cuda")
    assert [arithmetic(dtype, batch_size=1, device="cuda") for dtype in formats("cuda")] == [
        "fp32",
        "bf16",
        "fp8",
        "bf16",
    ]


def test_a_card_multiplies_fp8_where_its_cores_take_it(
    fake_gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = PackedLinear(torch.empty(96, 128, device="cuda"), dtype="fp8")
    y = linear(torch.empty(3, 5, 128, device="cuda", dtype=torch.bfloat16))
    assert (y.shape, y.dtype, linear.weight.dtype) == ((3, 5, 96), torch.bfloat16, torch.float8_e4m3fn)
    assert linear.stored_bytes == 96 * 128 + 96 * 4 == linear.twin().stored_bytes
    held = on_gpu(TINY, "fp8")
    assert held.weight_bytes_stored == build.held_bytes(TINY, dtype="fp8", device="cuda")
    with pytest.raises(BytebillError, match=r"fp8 needs outputs and inputs in multiples of 16, not 104 and 128\."):
        PackedLinear(torch.empty(104, 128, device="cuda"), dtype="fp8")
    monkeypatch.setattr(EightBitFloats, "available", lambda: False)
    assert formats("cuda") == ("fp32", "bf16", "int4")
    with pytest.raises(BytebillError, match=r"fp8 weights have no kernel on cuda here; use fp32, bf16 or int4\."):
        path("fp8", "cuda")


def test_fp8_is_there_where_its_kernel_has_been_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = EightBitFloats.multiplies_on
    assert tried("cpu") and not tried("meta")  # which has no numbers to compare
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not EightBitFloats.available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for of_card in (True, False):
        monkeypatch.setattr(
            EightBitFloats, "multiplies_on", lambda device, of_card=of_card: (device, of_card) == ("cuda", True)
        )
        assert EightBitFloats.available() is of_card
    for wrong in (_raises, lambda x, *_: torch.zeros_like(x, dtype=torch.bfloat16)):
        monkeypatch.setattr(EightBitFloats, "narrow_product", staticmethod(wrong))
        assert not tried.__wrapped__("cpu")


def test_fp8_has_a_ceiling_of_its_own_where_it_has_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_MATMUL_SIZE", {"cpu": 64})
    assert ceilings.peak_flops_per_s(CPU, dtype="fp8", repeats=2) > 0
    monkeypatch.setattr(ceilings, "read_bytes_per_s", lambda device: 1e9)
    monkeypatch.setattr(ceilings, "peak_flops_per_s", lambda device, *, dtype: 1e9)
    assert set(ceilings.machine(CPU).peak_flops_per_s) == {"fp32", "bf16"}
    monkeypatch.setattr(ceilings, "formats", lambda device: ("fp32", "bf16", "fp8"))
    assert set(ceilings.machine(CPU).peak_flops_per_s) == {"fp32", "bf16", "fp8"}
    assert set(ceilings.machine(CPU, "bf16").peak_flops_per_s) == {"bf16"}


def test_fp8_is_off_by_its_own_grid_and_a_token_by_no_other() -> None:
    weight, x = torch.randn(48, 64), torch.randn(5, 64).bfloat16()
    x[3] *= 1000  # another token's size is its own affair
    narrow, scales = EightBitFloats.packed(weight)
    assert ((narrow.float() * scales - weight).abs() <= weight.abs() / 16 + scales * 2**-9).all()  # 3 bits of fraction
    y = EightBitFloats.product(x, narrow, scales)
    exact = x.float() @ weight.T
    assert ((y.float() - exact).norm(dim=1) / exact.norm(dim=1) < 0.06).all()
    assert torch.equal(EightBitFloats.product(x[:1], narrow, scales), y[:1])
    assert EightBitFloats.product(torch.zeros_like(x), narrow, scales).abs().max() == 0


@pytest.mark.parametrize("n_kv_heads", [2, 6])
def test_the_last_tokens_need_no_mask(n_kv_heads: int) -> None:
    q, n_slots = torch.randn(3, 20, 6, 32), 61
    keys, values = torch.randn(3 * n_kv_heads, 32, n_slots), torch.randn(3 * n_kv_heads, n_slots, 32)
    later = torch.arange(n_slots) > torch.arange(n_slots - 20, n_slots)[:, None]
    mask = torch.where(later, float("-inf"), 0.0)[None, None, :, None]
    masked = attention.many_queries(q, keys=keys, values=values, bias=mask)
    assert torch.allclose(attention.later_queries(q, keys=keys, values=values), masked, atol=1e-5)


@pytest.mark.parametrize("kind", ["grouped", "own heads"])
def test_a_chunk_on_a_card_meets_the_cache_by_flash_attention(
    fake_gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    met: list[tuple[Any, ...]] = []

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._scaled_dot_product_flash_attention.default:
                met.append((args[0].shape[2], *args[1].shape[:3], args[4]))
            return func(*args, **(kwargs or {}))

    for module in (attention, bias):
        monkeypatch.setattr(module, "can_use_flash_attention", lambda params: params.query.dtype is torch.bfloat16)
    spec = SPECS[kind]
    model = on_gpu(spec)
    cache, tokens = model.new_cache(3, 101), torch.zeros(3, 40, dtype=torch.long, device="cuda")
    cache.set_lengths(30)
    with Watched():
        model.forward(tokens, cache)
    assert met == [(40, 3, spec.n_kv_heads, 70, True)] * spec.n_layers  # no KV head is copied
    met.clear()
    cache.set_lengths([30, 20, 25])
    with Watched():
        model.forward(tokens, cache)
    assert not met  # of several lengths: by mask
    wide = on_gpu(spec, "fp32")
    cache = wide.new_cache(3, 101)
    cache.set_lengths(30)
    with Watched():
        wide.forward(tokens, cache)
    assert not met  # nor are 32 bits for flash attention
    paged = PagedCache(spec, n_blocks=12, block_size_tokens=16, dtype=torch.bfloat16, device="cuda")
    for padding, known in ((0, [(20, 1, spec.n_kv_heads, 36, True)] * spec.n_layers), (5, [])):
        met.clear()
        span = PlacedTokens(blocks=[5, 6, 7], start=16, n_new=20, n_padding=padding)
        with Watched():
            model.run_rows(torch.zeros(20, dtype=torch.long, device="cuda"), paged, paged.place([span]))
        assert met == known


def test_blocks_are_swapped_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda: SimpleNamespace(synchronize=lambda: waited.append("once"))
    )
    cache = PagedCache(TINY, n_blocks=4, block_size_tokens=16, dtype=torch.float32, n_host_blocks=3)
    before = [pool.normal_().clone() for pool in (cache._keys, cache._values)]
    cache._swap_one_by_one([3, 0], [1, 2], out=True)
    for pool in (cache._keys, cache._values):
        pool.zero_()
    cache._swap_one_by_one([2, 1], [1, 2], out=False)
    assert waited == ["once", "once"]
    for pool, was in zip((cache._keys, cache._values), before, strict=True):
        assert torch.equal(pool[:, [2, 1]], was[:, [3, 0]]) and not pool[:, [0, 3]].any()


def test_routes_drawn_ahead_are_the_same_draws() -> None:
    shares = [0.5, 0.5, 0.25, 0.75]
    ahead = DrawnRouter(shares, seed=3)
    found = [ahead._drawn_before(torch.empty(5, 8)) for _ in range(300)]
    assert all(routes.shape == (5, 2) and (routes[:, 0] != routes[:, 1]).all() for routes in found)
    counts = torch.cat(found).flatten().bincount(minlength=4) / len(torch.cat(found))
    assert torch.allclose(counts, torch.tensor(shares), atol=0.05)


def test_peers_run_on_the_device_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(peers, "result_of", lambda command, **how: (commands.append(command), 7.0)[1])
    monkeypatch.setattr(peers, "find_spec", lambda name: name)
    assert peers.all_in_turns(device="cuda", rounds=1) == {"bytebill": 7.0, "transformers": 7.0, "llamacpp": None}
    assert {tuple(command[-2:]) for command in commands} == {("bytebill", "cuda"), ("transformers", "cuda")}
    assert peers.tokens_per_s("llamacpp") == 7.0


def test_a_part_of_the_bench_that_cannot_run_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.ceilings, "machine", lambda here, *dtypes: SimpleNamespace(
        bandwidth_bytes_per_s=4e12, peak_flops_per_s={"bf16": 7e14}))  # fmt: skip
    monkeypatch.setattr(bench, "pick", lambda kind: GPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 << 30, 80 << 30))

    def missing(found: dict[str, Any], here: Device, say: Any) -> None:
        raise BytebillError("The SmolLM2 model is not installed.")

    parts = {"stack": lambda found, here, say: found.update(stack=1), "smollm2": missing,
             "peers": lambda found, here, say: found.update(peers={})}  # fmt: skip
    monkeypatch.setattr(bench, "_PARTS", parts)
    found = bench.run()
    assert found["stack"] == 1 and found["peers"] == {} and list(found["skipped"]) == ["smollm2"]
    said = str(bench.overview({**found, "stack": []}))
    assert "smollm2 left out: The SmolLM2 model is not installed." in said
    assert said.startswith("a card\n")  # pinned threads say nothing of a GPU
    with pytest.raises(BytebillError, match="not installed"):
        bench.run(only="smollm2")


def test_random_weights_are_drawn_where_they_are_wanted() -> None:
    name = "layers.0.down"
    assert torch.equal(random_weights(TINY)[name], random_weights(TINY, device="cpu")[name])
    assert random_weights(TINY, device="cpu")["final_norm"].device.type == "cpu"


@pytest.mark.parametrize("each", gpu_paths.PATHS, ids=lambda each: each.code)
def test_a_path_on_the_list_is_in_the_code_and_its_records_are_there(each: gpu_paths.GpuPath) -> None:
    names = each.code.split(".")
    for cut in range(len(names), 0, -1):
        if find_spec_of("bytebill." + ".".join(names[:cut])):
            found: Any = importlib.import_module("bytebill." + ".".join(names[:cut]))
            break
    for name in names[cut:]:
        found = getattr(found, name)
    assert callable(found) and cut < len(names)
    assert (each.last == "never") == (not each.records) and (each.records or not each.since)
    assert all(data.measured(record) for record in each.records)


def find_spec_of(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_the_page_shows_the_list() -> None:
    page = Path(__file__).parents[1] / "book" / "how_to_read.md"
    assert gpu_paths.table_of_paths() in page.read_text(encoding="utf-8")
