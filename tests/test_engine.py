"""The decoder against itself: cached or not, batched or alone, in chunks or whole, it computes the same logits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bytebill.engine import attention
from bytebill.engine.build import held_bytes
from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.cache.latent import LatentCache
from bytebill.engine.cache.paged import PagedCache
from bytebill.engine.generation import generate
from bytebill.engine.graphs import GraphedDecode
from bytebill.engine.kernels import panels
from bytebill.engine.kernels.dtypes import PLAIN
from bytebill.engine.kernels.linear import formats
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import Weights, random_weights, tensor_shapes
from bytebill.errors import BytebillError
from bytebill.models import MLASpec, ModelSpec, MoESpec, kv_stored_bytes_per_token, model, precision

TINY = ModelSpec(
    id="tiny",
    name="Tiny",
    n_layers=3,
    d_model=64,
    d_ff=128,
    n_heads=8,
    n_kv_heads=2,
    d_head=16,
    vocab_size=101,
    context_len=128,
)
CLOSE = 1e-4  # absolute, on logits of size one, in fp32


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    return Transformer(random_weights(TINY), dtype="fp32")


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(TINY.vocab_size, (3, 40), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def whole(tiny: Transformer, tokens: Tensor) -> Tensor:
    """Logits of all tokens in one pass, no cache used: what every other way must equal."""
    return tiny.forward(tokens, tiny.new_cache(3, 40), last_only=False)


def in_chunks(model: Transformer, tokens: Tensor, size: int) -> Tensor:
    cache = model.new_cache(*tokens.shape)
    return torch.cat([model.forward(chunk, cache, last_only=False) for chunk in tokens.split(size, 1)], 1)


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("size", [1, 3, 20])  # decode, a few tokens at once, chunks long enough for SDPA
def test_with_cache_equals_without(tiny: Transformer, tokens: Tensor, whole: Tensor, size: int) -> None:
    assert apart(in_chunks(tiny, tokens, size), whole) < CLOSE


def test_chunks_cover_both_attention_paths() -> None:
    assert 3 <= attention.FEW_TOKENS < 20


def test_batched_equals_alone(tiny: Transformer, tokens: Tensor, whole: Tensor) -> None:
    for row in range(3):
        alone = tiny.forward(tokens[row : row + 1], tiny.new_cache(1, 40), last_only=False)
        assert apart(alone, whole[row : row + 1]) < CLOSE


@pytest.mark.parametrize("n_new", [[5, 12, 9], [1, 20, 3]])
def test_contexts_of_different_lengths(tiny: Transformer, tokens: Tensor, whole: Tensor, n_new: list[int]) -> None:
    """Right-padded prefill, padded chunks on top, then decode: each row as if it were alone."""
    cache = tiny.new_cache(3, 40)
    first = tiny.forward(tokens[:, :20], cache, n_new=n_new)
    ends = list(n_new)
    assert all(apart(first[row, 0], whole[row, end - 1]) < CLOSE for row, end in enumerate(ends))
    for size, real in ((4, [4, 1, 3]), (18, [17, 18, 0]), (1, [1, 1, 1])):
        chunk = torch.stack([tokens[row].roll(-end)[:size] for row, end in enumerate(ends)])
        logits = tiny.forward(chunk, cache, n_new=real, last_only=False)
        for row, (end, n) in enumerate(zip(ends, real, strict=True)):
            assert torch.allclose(logits[row, :n], whole[row, end : end + n], atol=CLOSE, rtol=0)
        ends = [end + n for end, n in zip(ends, real, strict=True)]
        assert cache.lengths == ends


def test_padding_writes_nothing_beyond_a_full_row(tiny: Transformer, tokens: Tensor, whole: Tensor) -> None:
    cache = tiny.new_cache(3, 24)
    tiny.forward(tokens[:, :20], cache, n_new=[20, 4, 20])
    second = torch.stack([tokens[0, 20:30], tokens[1, 4:14], tokens[2, 20:30]])
    logits = tiny.forward(second, cache, n_new=[4, 10, 2])
    assert cache.lengths == [24, 14, 22]
    assert all(apart(logits[row, 0], whole[row, end - 1]) < CLOSE for row, end in enumerate(cache.lengths))


def test_gqa_equals_mha_with_repeated_kv_heads(tiny: Transformer, tokens: Tensor, whole: Tensor) -> None:
    grouped = random_weights(TINY)
    heads = TINY.n_heads * TINY.d_head

    def read(name: str) -> Tensor:
        if not name.endswith("qkv"):
            return grouped[name]
        q, k, v = grouped[name].split([heads, 32, 32])
        repeated = [part.view(2, 1, 16, 64).expand(-1, 4, -1, -1).reshape(heads, 64) for part in (k, v)]
        return torch.cat((q, *repeated))

    every_head = Transformer(Weights(replace(TINY, n_kv_heads=8), read), dtype="fp32")
    assert apart(in_chunks(every_head, tokens, 1), whole) < CLOSE
    assert apart(every_head.forward(tokens, every_head.new_cache(3, 40), last_only=False), whole) < CLOSE


def test_one_kv_head_serves_all_queries(tokens: Tensor) -> None:
    mqa = Transformer(random_weights(replace(TINY, n_kv_heads=1)), dtype="fp32")
    assert apart(in_chunks(mqa, tokens, 1), mqa.forward(tokens, mqa.new_cache(3, 40), last_only=False)) < CLOSE


@pytest.mark.parametrize(("dtype", "tolerance"), [("bf16", 0.1), ("int8", 0.1), ("int4", 0.5)])
def test_narrow_weights_stay_near(tokens: Tensor, whole: Tensor, dtype: str, tolerance: float) -> None:
    """Relative to the spread of the logits, on average; and with cache as without."""
    narrow = Transformer(random_weights(TINY), dtype=dtype)
    logits = in_chunks(narrow, tokens, 1).float()
    assert (logits - whole).std() < tolerance * whole.std()
    once = narrow.forward(tokens, narrow.new_cache(3, 40), last_only=False).float()
    assert (logits - once).std() < 0.05 * whole.std()


def test_last_only_is_the_last_row_of_all(tiny: Transformer, tokens: Tensor, whole: Tensor) -> None:
    assert apart(tiny.forward(tokens, tiny.new_cache(3, 40)), whole[:, -1:]) < CLOSE


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_cache_bytes_are_those_of_the_formula(dtype: str) -> None:
    tiny = Transformer(random_weights(TINY), dtype=dtype)
    cache = tiny.new_cache(2, 16)
    per_token = kv_stored_bytes_per_token(TINY, precision=precision(dtype))
    tiny.forward(torch.zeros(2, 7, dtype=torch.long), cache, n_new=[7, 3])
    assert cache.bytes_per_token == per_token
    assert cache.nbytes_stored == 10 * per_token
    assert cache.nbytes_allocated == 2 * 16 * per_token
    cache.set_lengths(0)
    assert cache.nbytes_stored == 0


def test_weights_read_are_those_of_the_formula() -> None:
    """Every matrix once, the embedding's rows apart; panels of outputs are filled up, so shapes here divide by 64."""
    spec = replace(TINY, vocab_size=128)
    for dtype, width in (("fp32", 4), ("bf16", 2)):
        assert Transformer(random_weights(spec), dtype=dtype).weight_bytes_read == spec.n_matmul_params * width


def test_without_packed_kernels_a_tied_head_is_stored_once(monkeypatch: pytest.MonkeyPatch, tokens: Tensor) -> None:
    """As on a GPU, or where numba is missing."""
    weights = random_weights(replace(TINY, tied_embeddings=True))
    packed = Transformer(weights, dtype="fp32")
    monkeypatch.setattr(panels, "available", lambda: False)
    plain = Transformer(weights, dtype="fp32")
    assert plain.weight_bytes_stored == plain.weight_bytes_read == 4 * weights.spec.n_params
    assert packed.weight_bytes_stored > plain.weight_bytes_stored
    assert apart(in_chunks(plain, tokens, 1), in_chunks(packed, tokens, 1)) < CLOSE


def test_forgetting_the_last_tokens(tiny: Transformer, tokens: Tensor, whole: Tensor) -> None:
    cache = tiny.new_cache(3, 40)
    tiny.forward(tokens[:, :10].roll(1, 0), cache)
    cache.set_lengths(0)
    tiny.forward(tokens[:, :10], cache)
    cache.set_lengths([8, 5, 10])
    following = torch.stack([tokens[0, 8:9], tokens[1, 5:6], tokens[2, 10:11]])
    logits = tiny.forward(following, cache)
    assert all(apart(logits[row, 0], whole[row, at]) < CLOSE for row, at in enumerate([8, 5, 10]))


def test_too_long_is_refused_in_one_sentence(tiny: Transformer, tokens: Tensor) -> None:
    cache = tiny.new_cache(3, 24)
    with pytest.raises(BytebillError, match="A sequence of 25 tokens does not fit"):
        tiny.forward(tokens[:, :25], cache)
    assert cache.lengths == [0, 0, 0]
    with pytest.raises(BytebillError, match="attends to 128 tokens, and 129"):
        tiny.new_cache(1, 129)
    with pytest.raises(BytebillError, match="holds 3 sequences, and 2"):
        tiny.forward(tokens[:2], cache)


def test_a_window_limits_the_cache() -> None:
    windowed = Transformer(random_weights(replace(TINY, window_len=32)), dtype="fp32")
    with pytest.raises(BytebillError, match="attends to 32 tokens"):
        windowed.new_cache(1, 33)


@pytest.mark.parametrize(("name", "lacks"), [("opt-13b", "layer norms"), ("falcon-180b", "in parallel")])
def test_other_families_are_refused(name: str, lacks: str) -> None:
    with pytest.raises(BytebillError, match=lacks):
        tensor_shapes(model(name))


FAMILIES = {
    "grouped": TINY,
    "tied": replace(TINY, tied_embeddings=True),
    "with norms and biases": replace(TINY, qk_norm=True, qkv_bias=True),
    "sparse": replace(
        TINY, moe=MoESpec(n_experts=4, n_experts_per_token=2, d_ff_expert=64, n_shared_experts=1, router_bias=True)
    ),
    "latent": replace(TINY, d_head=24, mla=MLASpec(q_lora_rank=64, kv_lora_rank=64, d_nope=16, d_rope=8, d_v=16)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", formats("cpu"))
def test_what_will_be_held_is_known_before(family: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of outputs and scales included: 101 logits take two panels of 64."""
    spec = FAMILIES[family]
    if dtype in PLAIN or panels.available():
        loaded = Transformer(random_weights(spec), dtype=dtype)
        assert loaded.weight_bytes_stored == held_bytes(spec, dtype=dtype, device="cpu")
    if dtype in PLAIN:
        monkeypatch.setattr(panels, "available", lambda: False)
        assert Transformer(random_weights(spec), dtype=dtype).weight_bytes_stored == held_bytes(
            spec, dtype=dtype, device="cpu"
        )


def test_what_does_not_fit_is_refused() -> None:
    huge = replace(TINY, name="Huge", d_ff=10**10)
    with pytest.raises(BytebillError, match=r"Huge in bf16 are .* free; choose a smaller"):
        Transformer(random_weights(huge), dtype="bf16")


def test_unknown_dtype_names_the_known() -> None:
    with pytest.raises(BytebillError, match=r"no weight dtype 'int5'; nearest: int4|int8"):
        Transformer(random_weights(TINY), dtype="int5")


def test_random_weights_are_the_same_for_a_seed() -> None:
    name = "layers.1.down"
    assert torch.equal(random_weights(TINY, 3)[name], random_weights(TINY, 3)[name])
    assert not torch.equal(random_weights(TINY, 3)[name], random_weights(TINY, 4)[name])
    assert not torch.equal(random_weights(TINY)["layers.0.down"], random_weights(TINY)[name])


def test_generate_batched_equals_alone(tiny: Transformer) -> None:
    prompts = [[5, 6, 7, 8, 9], [1], [90, 3, 17]]
    steps: list[int] = []
    together = generate(tiny, prompts, n_new_tokens=12, on_step=steps.append)
    assert together == [generate(tiny, [prompt], n_new_tokens=12)[0] for prompt in prompts]
    assert steps == list(range(12))


def test_generate_stops_before_the_stop_token(tiny: Transformer) -> None:
    free = generate(tiny, [[1, 2]], n_new_tokens=12)[0]
    assert generate(tiny, [[1, 2]], n_new_tokens=12, stop_token=free[5])[0] == free[: free.index(free[5])]
    with pytest.raises(ValueError, match="at least one token"):
        generate(tiny, [[1], []], n_new_tokens=2)


def test_a_placement_from_tensors_decodes_the_same(tiny: Transformer, tokens: Tensor, whole: Tensor) -> None:
    """What a CUDA graph records: all slots read, positions in a tensor, the rest masked."""
    cache = tiny.new_cache(3, 40)
    tiny.forward(tokens[:, :12], cache)
    positions = torch.full((3, 1), 12)
    placement = cache.place_at(positions, n_slots=40, n_new=(1, 1, 1), rows=torch.arange(3))
    assert apart(tiny.run(tokens[:, 12:13], cache, placement), whole[:, 12:13]) < CLOSE


def test_graphs_need_cuda(tiny: Transformer) -> None:
    with pytest.raises(BytebillError, match="CUDA graphs need a CUDA device"):
        GraphedDecode(tiny, tiny.new_cache(1, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("lengths", [[12, 12, 12], [5, 12, 9]])
def test_a_graph_replays_the_step(tokens: Tensor, lengths: list[int]) -> None:
    model = Transformer(random_weights(TINY), dtype="fp32", device="cuda")
    eager, graphed = (model.new_cache(3, 40) for _ in range(2))
    prompts = tokens.cuda()
    for cache in (eager, graphed):
        model.forward(prompts[:, :12], cache, n_new=lengths)
    replay = GraphedDecode(model, graphed)
    for step in range(12, 20):
        following = prompts[:, step : step + 1]
        assert apart(replay(following), model.forward(following, eager)) < CLOSE
    assert eager.lengths == graphed.lengths


@pytest.mark.parametrize("kind", [ContiguousCache, LatentCache, PagedCache])
def test_a_cache_of_any_kind_places_and_attends(kind: type) -> None:
    assert all(callable(getattr(kind, name)) for name in ("place", "attend"))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_an_occupied_cache_has_written_every_slot(n_layers: int) -> None:
    model = Transformer(random_weights(replace(TINY, n_layers=n_layers)), dtype="fp32")
    cache = model.new_cache(2, 12)
    cache.occupy(11)
    assert cache.lengths == [11, 11] and all(bool((tensor != 0).all()) for tensor in cache.tensors)
    assert bool(model.forward(torch.zeros(2, 1, dtype=torch.long), cache).isfinite().all())
