"""The fused decode kernel against plain torch: any shape, any lengths, and not a slot more than it may read."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor

from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.kernels import machine_code, openmp, panels
from bytebill.engine.kernels.decode import DecodeAttention, decode_attention
from bytebill.engine.rotary import Rotary, rope_frequencies, rotate
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import random_weights
from bytebill.models import ModelSpec

needs_kernels = pytest.mark.skipif(not panels.available(), reason="no numba, or no libgomp under torch")
MAX_LEN = 300
CLOSE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}  # absolute, on outputs of size one
SHAPES = [  # KV heads, queries per KV head, head size, weights: each is compiled, which takes a second
    (3, 3, 64, torch.float32),
    (2, 1, 16, torch.float32),
    (1, 4, 80, torch.float32),
    (1, 1, 128, torch.float32),
    (3, 8, 24, torch.float32),
    (1, 5, 16, torch.float32),  # which no few heads divide
    (3, 3, 64, torch.bfloat16),
    (2, 8, 128, torch.bfloat16),
    (1, 3, 96, torch.bfloat16),
    (2, 1, 24, torch.bfloat16),
]


def spec_of(n_kv_heads: int, group: int, d_head: int) -> ModelSpec:
    return ModelSpec(
        id="any",
        name="Any",
        n_layers=2,
        d_model=64,
        d_ff=64,
        n_heads=n_kv_heads * group,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        vocab_size=50,
        context_len=MAX_LEN,
    )


def poisoned(spec: ModelSpec, lengths: list[int], dtype: torch.dtype) -> tuple[DecodeAttention, Tensor, Tensor]:
    """A kernel whose keys and values are random below each length and nan from there on."""
    shape = (spec.n_layers, len(lengths), spec.n_kv_heads, MAX_LEN, spec.d_head)
    values = torch.full(shape, float("nan"), dtype=dtype)
    kernel = decode_attention(values, n_heads=spec.n_heads, max_len=MAX_LEN)
    assert kernel is not None
    keys = kernel.keys.fill_(float("nan"))
    for row, length in enumerate(lengths):
        keys[:, row, :, :length].normal_()
        values[:, row, :, :length].normal_()
    return kernel, keys, values


def contiguous(lengths: list[int]) -> Tensor:
    """The table of sequences that have one long block each."""
    return torch.tensor([[length, length + 1, row] for row, length in enumerate(lengths)])


def attended(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One sequence in float64: q [N, H], keys and values [K, S, H] -> [N H]."""
    group = q.shape[0] // keys.shape[0]
    keys, values = (x.double().repeat_interleave(group, 0) for x in (keys, values))
    weights = torch.einsum("nh,nsh->ns", q.double(), keys).softmax(-1)
    return torch.einsum("ns,nsh->nh", weights, values).flatten()


@needs_kernels
@pytest.mark.parametrize(("n_kv_heads", "group", "d_head", "dtype"), SHAPES)
def test_equals_torch_and_reads_no_slot_beyond(n_kv_heads: int, group: int, d_head: int, dtype: torch.dtype) -> None:
    torch.manual_seed(d_head + group)
    spec, layer = spec_of(n_kv_heads, group, d_head), 1
    lengths = [0, 299, 15, *torch.randint(1, 299, (4,)).tolist(), 16, 64]
    kernel, keys, values = poisoned(spec, lengths, dtype)
    positions = torch.tensor(lengths)[:, None]
    factors = Rotary(spec, frequencies=rope_frequencies(spec), dtype=dtype).factors(positions)
    heads = torch.randn(len(lengths), 1, spec.n_heads + 2 * n_kv_heads, d_head).to(dtype)
    found = kernel(layer, heads, factors=factors, table=contiguous(lengths))

    rotated = rotate(heads.float(), (factors[0].float(), factors[1].float()))[:, 0]
    q, k, v = rotated.split([spec.n_heads, n_kv_heads, n_kv_heads], 1)
    for row, length in enumerate(lengths):
        assert torch.allclose(keys[layer, row, :, length].float(), k[row], atol=CLOSE[dtype], rtol=1e-2)
        assert torch.equal(values[layer, row, :, length], v[row].to(dtype))
        seen = keys[layer, row, :, : length + 1], values[layer, row, :, : length + 1]
        assert (found[row].double() - attended(q[row], *seen)).abs().max() < CLOSE[dtype]
        assert keys[layer, row, :, length + 1 :].isnan().all(), "nothing is written behind the new slot"


@needs_kernels
def test_the_factors_of_one_position_serve_all_rows() -> None:
    spec = spec_of(2, 3, 32)
    kernel, _, _ = poisoned(spec, [40] * 5, torch.float32)
    rotary = Rotary(spec, frequencies=rope_frequencies(spec), dtype=torch.float32)
    heads = torch.randn(5, 1, 10, 32)
    one, each = torch.full((1, 1), 40), torch.full((5, 1), 40)
    together = kernel(0, heads, factors=rotary.factors(one), table=contiguous([40] * 5))
    assert torch.equal(together, kernel(0, heads, factors=rotary.factors(each), table=contiguous([40] * 5)))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_model_says_the_same_without_the_kernel(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer(random_weights(spec_of(2, 3, 32)), dtype=dtype)
    prompt, steps = torch.randint(50, (3, 9)), torch.randint(50, (3, 6))

    def decoded() -> Tensor:
        cache = model.new_cache(3, 20)
        model.forward(prompt, cache, n_new=[9, 4, 1])
        return torch.cat([model.forward(token, cache) for token in steps.split(1, 1)], 1)

    fused = decoded()
    monkeypatch.setattr(panels, "available", lambda: False)
    assert (fused.float() - decoded().float()).abs().max() < {"fp32": 1e-4, "bf16": 0.1}[dtype]


@needs_kernels
def test_a_row_that_takes_no_token_keeps_its_cache() -> None:
    model = Transformer(random_weights(spec_of(2, 3, 32)), dtype="fp32")
    cache = model.new_cache(2, 20)
    model.forward(torch.randint(50, (2, 5)), cache)
    before = cache.tensors[0][:, 2:].clone()
    model.forward(torch.randint(50, (2, 1)), cache, n_new=[1, 0])
    assert torch.equal(cache.tensors[0][:, 2:], before) and cache.lengths == [6, 5]


@needs_kernels
def test_padding_is_written_nowhere_and_may_stand_past_the_end() -> None:
    model = Transformer(random_weights(spec_of(2, 3, 32)), dtype="fp32")
    tokens, prompts = torch.randint(50, (3, 4)), torch.randint(50, (3, 17))
    cache, n_new = model.new_cache(3, 18), [1, 0, 4]  # a row that is nearly full, one that waits, one that takes all
    model.forward(prompts, cache, n_new=[17, 5, 14])
    before = [tensor.clone() for tensor in cache.tensors]
    padded = model.forward(tokens, cache, n_new=n_new, last_only=False)
    assert cache.lengths == [18, 5, 18] and padded.isfinite().all()
    keys, values = (new != old for new, old in zip(cache.tensors, before, strict=True))
    for row, slots in enumerate(([17], [], [14, 15, 16, 17])):  # two KV heads a row
        for changed in (keys[:, 2 * row : 2 * row + 2].any(2), values[:, 2 * row : 2 * row + 2].any(3)):
            assert changed.flatten(0, 1).any(0).nonzero().flatten().tolist() == slots
    alone = model.new_cache(1, 18)
    model.forward(prompts[2:, :14], alone)
    assert (model.forward(tokens[2:], alone, last_only=False) - padded[2:]).abs().max() < 1e-4


@pytest.mark.parametrize("d_head", [20, 6])
def test_odd_heads_fall_back_to_torch(d_head: int) -> None:
    cache = ContiguousCache(spec_of(2, 3, d_head), batch_size=1, max_len=8, dtype=torch.float32)
    assert cache.place(1, 1).table is None


@needs_kernels
def test_exp_is_exact_to_a_millionth() -> None:
    from bytebill.engine.kernels import simd

    lanes = panels.register_tile()[0]
    names = simd.operations(lanes)
    load, store, exp = names["load_fp32"], names["store_fp32"], names["exp"]

    def region(p) -> None:  # type: ignore[no-untyped-def]
        for at in range(0, p[2] * 4, lanes * 4):
            store(p[1] + at, exp(load(p[0] + at)))

    x = torch.linspace(-87, 88, 1 << 16)
    y = torch.empty_like(x)
    args = (ctypes.c_int64 * 3)(x.data_ptr(), y.data_ptr(), x.numel())
    openmp.parallel()(machine_code.loaded(machine_code.compiled(region)), ctypes.addressof(args), 1, 0)
    assert ((y.double() - x.double().exp()).abs() / x.double().exp()).max() < 1e-6


@needs_kernels
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("lengths", [[30], [7, 7], [40, 1, 23]])
def test_several_tokens_at_once_are_one_by_one_to_the_last_bit(dtype: str, lengths: list[int]) -> None:
    model = Transformer(random_weights(spec_of(3, 3, 64)), dtype=dtype)
    tokens = torch.arange(4 * len(lengths)).view(len(lengths), 4) % 50
    caches = []
    for _ in range(2):
        cache = model.new_cache(len(lengths), 60)
        prompts = torch.arange(max(lengths)).expand(len(lengths), -1) % 50
        model.forward(prompts, cache, n_new=lengths)
        caches.append(cache)
    together = model.forward(tokens, caches[0], last_only=False)
    alone = torch.cat([model.forward(tokens[:, i : i + 1], caches[1]) for i in range(4)], 1)
    if len(lengths) == 1:  # up to so many rows, sums of the matrices too are taken in the same order
        assert torch.equal(together, alone)
    assert (together - alone).abs().max() < (1e-4 if dtype == "fp32" else 0.2)
    for mine, other in zip(caches[0].tensors, caches[1].tensors, strict=True):
        assert (mine - other).abs().max() < (1e-4 if dtype == "fp32" else 0.2)
