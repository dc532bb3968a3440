"""MHA, GQA, MQA and MLA against each other, against transformers, and against the bytes that they should keep."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch
from torch import Tensor

from bytebill.device import pick
from bytebill.engine import latents
from bytebill.engine.cache.contiguous import ContiguousCache
from bytebill.engine.cache.latent import LatentCache
from bytebill.engine.cache.paged import PagedCache
from bytebill.engine.kernels import panels
from bytebill.engine.latents import attend_latents
from bytebill.engine.sharding import share_of
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import Weights, random_weights, tensor_shapes
from bytebill.errors import BytebillError
from bytebill.measure.attention import sweep_attention, sweep_inside
from bytebill.models import MLASpec, ModelSpec, kv_stored_bytes_per_token, model, precision
from bytebill.roofline import Load, decode_cost, step_cost

GROUPED = ModelSpec(
    id="grouped",
    name="Grouped",
    n_layers=3,
    d_model=64,
    d_ff=96,
    n_heads=8,
    n_kv_heads=2,
    d_head=16,
    vocab_size=101,
    context_len=128,
)
LATENT = replace(
    GROUPED,
    id="latent",
    name="Latent",
    n_kv_heads=8,
    d_head=24,
    mla=MLASpec(q_lora_rank=40, kv_lora_rank=32, d_nope=16, d_rope=8, d_v=12),
)
CLOSE = 1e-4  # absolute, on logits of size one, in fp32


def spec_of(kind: str) -> ModelSpec:
    """The four attentions of one decoder."""
    n_kv_heads = {"MHA": 8, "GQA": 2, "MQA": 1, "MLA": 8}[kind]
    return LATENT if kind == "MLA" else replace(GROUPED, id=kind, name=kind, n_kv_heads=n_kv_heads)


@pytest.fixture(params=["MHA", "GQA", "MQA", "MLA"])
def decoder(request: pytest.FixtureRequest) -> Transformer:
    return Transformer(random_weights(spec_of(request.param)), dtype="fp32")


@pytest.fixture(params=["with the kernel", "without"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "without":
        monkeypatch.setattr(panels, "available", lambda: False)
    elif not panels.available():
        pytest.skip("no numba, or no libgomp under torch")
    return str(request.param)


def prompts(n_rows: int = 3, n_tokens: int = 40) -> Tensor:
    return torch.randint(101, (n_rows, n_tokens), generator=torch.Generator().manual_seed(1))


def decoded(decoder: Transformer, tokens: Tensor, n_prompt: int = 20) -> Tensor:
    """Logits of a prompt and of the tokens after it, each decoded by itself."""
    cache = decoder.new_cache(*tokens.shape)
    steps = [tokens[:, :n_prompt], *tokens[:, n_prompt:].split(1, 1)]
    return torch.cat([decoder.forward(step, cache, last_only=False) for step in steps], 1)


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def with_heads_repeated(weights: Weights, n_copies: int) -> Weights:
    """The same model with each KV head stored `n_copies` times, as many as serve the query heads one by one."""
    spec = weights.spec
    sizes = [spec.n_heads * spec.d_head, *[spec.n_kv_heads * spec.d_head] * 2]

    def read(name: str) -> Tensor:
        if not name.endswith("qkv"):
            return weights[name]
        q, *rest = weights[name].split(sizes)
        copies = (x.unflatten(0, (-1, spec.d_head)).repeat_interleave(n_copies, 0).flatten(0, 1) for x in rest)
        return torch.cat([q, *copies])

    return Weights(replace(spec, id="repeated", n_kv_heads=spec.n_kv_heads * n_copies), read)


@pytest.mark.parametrize(("n_kv_heads", "n_copies"), [(2, 4), (1, 8), (1, 2), (4, 2)])
def test_shared_heads_equal_the_same_heads_repeated(n_kv_heads: int, n_copies: int, kernel: str) -> None:
    """MQA is GQA with one KV head, and both are an MHA (or a wider GQA) that stores its heads several times."""
    weights = random_weights(replace(GROUPED, n_kv_heads=n_kv_heads))
    shared, repeated = (Transformer(w, dtype="fp32") for w in (weights, with_heads_repeated(weights, n_copies)))
    assert apart(decoded(shared, prompts()), decoded(repeated, prompts())) < CLOSE
    kept = [decoder.new_cache(2, 10).bytes_per_token for decoder in (shared, repeated)]
    assert kept[1] == n_copies * kept[0]


def by_hand(decoder: Transformer, x: Tensor, weights: Weights) -> Tensor:
    """Multi-head attention of one layer over a whole prompt, written out: x [S, D] -> [S, D]."""
    spec, n = decoder.spec, x.shape[0]
    q, k, v = (weights["layers.0.qkv"] @ x.T).T.view(n, 3, spec.n_heads, spec.d_head).unbind(1)
    angles = torch.arange(n)[:, None] / spec.rope_base ** (torch.arange(0, spec.d_head, 2) / spec.d_head)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]

    def turned(heads: Tensor) -> Tensor:
        low, high = heads.chunk(2, -1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)

    scores = torch.einsum("tnh,snh->nts", turned(q), turned(k)) / spec.d_head**0.5
    scores.masked_fill_(torch.ones(n, n).triu(1).bool(), float("-inf"))
    out = torch.einsum("nts,snh->tnh", scores.softmax(-1), v)
    return out.flatten(1) @ weights["layers.0.attention_out"].T


def test_as_many_kv_heads_as_heads_is_multi_head_attention(kernel: str) -> None:
    weights = random_weights(spec_of("MHA"))
    decoder, x = Transformer(weights, dtype="fp32"), torch.randn(9, 64)
    cache, found = decoder.new_cache(1, 9), []
    for i in range(9):
        placement = cache.place(1, 1)
        factors = decoder._rotary.factors(placement.positions)
        found.append(decoder._layers[0].attention(x[i : i + 1], factors, cache, placement))
        cache.commit(placement)
    assert apart(torch.cat(found), by_hand(decoder, x, weights)) < 1e-5


@pytest.mark.parametrize("expand_above", [0, 1000], ids=["expanded", "absorbed"])
def test_latents_absorbed_equal_latents_expanded(expand_above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, tokens = Transformer(random_weights(LATENT), dtype="fp32"), prompts()
    cache = decoder.new_cache(3, 40)
    usual = decoded(decoder, tokens)
    monkeypatch.setattr(LatentCache, "expand_above", expand_above)
    chunks = [decoder.forward(chunk, cache, last_only=False) for chunk in tokens.split(5, 1)]
    assert apart(torch.cat(chunks, 1), usual) < CLOSE
    assert apart(decoded(decoder, tokens), usual) < CLOSE


def test_the_form_of_the_latents_is_chosen_by_the_number_of_new_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, called = Transformer(random_weights(LATENT), dtype="fp32"), []
    for form in ("absorbed", "expanded"):
        original = getattr(latents, form)

        def spy(*args, form=form, original=original, **kwargs):  # type: ignore[no-untyped-def]
            called.append(form)
            return original(*args, **kwargs)

        monkeypatch.setattr(latents, form, spy)
    cache = decoder.new_cache(3, 40)
    for n_tokens in (17, 1, 5, 17):
        decoder.forward(prompts(n_tokens=n_tokens), cache)
    assert called[:: LATENT.n_layers] == ["expanded", "absorbed", "absorbed", "expanded"]


def test_cached_equals_uncached(decoder: Transformer) -> None:
    tokens = prompts()
    whole = decoder.forward(tokens, decoder.new_cache(3, 40), last_only=False)
    assert apart(decoded(decoder, tokens), whole) < CLOSE


def test_batched_equals_alone(decoder: Transformer) -> None:
    tokens, lengths = prompts(), [40, 7, 23]
    cache = decoder.new_cache(3, 60)
    first = decoder.forward(tokens, cache, n_new=lengths)
    together = torch.cat([first, *(decoder.forward(tokens[:, i : i + 1], cache) for i in range(5))], 1)
    for row, length in enumerate(lengths):
        alone = decoder.new_cache(1, 60)
        logits = [decoder.forward(tokens[row : row + 1, :length], alone)]
        logits += [decoder.forward(tokens[row : row + 1, i : i + 1], alone) for i in range(5)]
        assert apart(torch.cat(logits, 1)[0], together[row]) < CLOSE


def test_a_later_token_changes_nothing_before_it(decoder: Transformer) -> None:
    tokens = prompts()
    changed = tokens.clone()
    changed[:, 30:] = (tokens[:, 30:] + 1) % 101
    a, b = decoded(decoder, tokens), decoded(decoder, changed)
    assert apart(a[:, :30], b[:, :30]) < 1e-6 and apart(a[:, 30:], b[:, 30:]) > 0.01


def test_the_cache_keeps_what_the_models_count(decoder: Transformer) -> None:
    counted = kv_stored_bytes_per_token(decoder.spec, precision=precision("fp32"))
    cache = decoder.new_cache(4, 50)
    assert cache.bytes_per_token == counted
    cache.set_lengths(31)
    step = step_cost(decoder.spec, load=Load.decode(batch_size=4, context_len=31), precision=precision("fp32"))
    assert cache.nbytes_stored == step.kv_read_bytes


def test_deepseek_v3_keeps_70272_bytes_a_token() -> None:
    spec = model("deepseek-v3")
    cache = LatentCache(spec, batch_size=1, max_len=2, dtype=torch.bfloat16)
    assert cache.bytes_per_token == 70_272 == (512 + 64) * 61 * 2
    assert cache.bytes_per_token == kv_stored_bytes_per_token(spec, precision=precision("bf16"))


@pytest.mark.parametrize("kind", ["GQA", "MLA"])
def test_weights_are_counted_with_latents_too(kind: str) -> None:
    spec = replace(spec_of(kind), d_model=128, d_ff=128, vocab_size=128)  # packing rounds other sizes up
    if spec.mla is not None:
        spec = replace(spec, mla=replace(spec.mla, q_lora_rank=64, kv_lora_rank=56))
    decoder = Transformer(random_weights(spec), dtype="fp32")
    assert sum(prod(shape) for shape in tensor_shapes(spec).values()) == spec.n_params
    step = step_cost(spec, load=Load.decode(batch_size=1, context_len=0), precision=precision("fp32"))
    row_bytes = 4 * spec.d_model  # the embedding row that the roofline adds
    assert decoder.weight_bytes_read == step.weight_bytes - row_bytes


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_narrow_weights_stay_near_the_wide_ones(dtype: str) -> None:
    weights = random_weights(LATENT)
    wide, narrow = (Transformer(weights, dtype=name) for name in ("fp32", dtype))
    assert apart(decoded(wide, prompts()), decoded(narrow, prompts()).float()) < 0.3


def test_attend_is_softmax_over_shared_latents() -> None:
    q, seen = torch.randn(2, 1, 5, 24), torch.randn(2, 33, 24)
    scores = torch.einsum("btnx,bsx->btns", q.double(), seen.double())
    expected = torch.einsum("btns,bsc->btnc", scores.softmax(-1), seen[..., :16].double())
    assert apart(attend_latents(q, seen, bias=None, d_latent=16).double(), expected) < 1e-5


def test_each_kind_of_attention_refuses_the_other_kind_of_cache() -> None:
    with pytest.raises(BytebillError, match="Grouped has no latent attention"):
        LatentCache(GROUPED, batch_size=1, max_len=4, dtype=torch.float32)
    with pytest.raises(BytebillError, match="Latent has latent attention"):
        ContiguousCache(LATENT, batch_size=1, max_len=4, dtype=torch.float32)
    with pytest.raises(BytebillError, match="it needs a cache of latents"):
        PagedCache(LATENT, n_blocks=4, block_size_tokens=4, dtype=torch.float32)


def test_ranks_share_heads_and_each_keeps_all_latents() -> None:
    """The heads' sums add up: two halves of a layer's heads give the whole layer's output."""
    weights, x = random_weights(LATENT), torch.randn(6, 64)

    def layer(weights: Weights) -> Tensor:
        decoder = Transformer(weights, dtype="fp32")
        cache = decoder.new_cache(1, 6)
        placement = cache.place(1, 6)
        return decoder._layers[0].attention(x, decoder._rotary.factors(placement.positions), cache, placement)

    parts = [layer(share_of(weights, rank=rank, n_ranks=2)) for rank in range(2)]
    assert apart(sum(parts), layer(weights)) < 1e-5  # type: ignore[arg-type]


def theirs(weights: Weights) -> torch.nn.Module:
    """DeepSeek-V3 of transformers with our weights in it."""
    transformers = pytest.importorskip("transformers")
    spec, mla = weights.spec, weights.spec.mla
    assert mla is not None
    config = transformers.DeepseekV3Config(
        vocab_size=spec.vocab_size,
        hidden_size=spec.d_model,
        intermediate_size=spec.d_ff,
        num_attention_heads=8,
        num_hidden_layers=spec.n_layers,
        num_key_value_heads=8,
        kv_lora_rank=mla.kv_lora_rank,
        v_head_dim=mla.d_v,
        q_lora_rank=mla.q_lora_rank,
        qk_rope_head_dim=mla.d_rope,
        qk_nope_head_dim=mla.d_nope,
        head_dim=mla.d_rope,
        first_k_dense_replace=spec.n_layers,
        rms_norm_eps=spec.norm_eps,
        max_position_embeddings=spec.context_len,
        rope_interleave=False,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    network = transformers.DeepseekV3ForCausalLM(config).eval()
    split = [mla.q_lora_rank, mla.kv_lora_rank + mla.d_rope]
    state = {"model.embed_tokens.weight": weights["embedding"], "model.norm.weight": weights["final_norm"]}
    state["lm_head.weight"] = weights["head"]
    for i in range(spec.n_layers):
        ours, into = f"layers.{i}.", f"model.layers.{i}."
        q_down, kv_down = weights[ours + "latents_down"].split(split)
        gate, up = weights[ours + "gate_up"].chunk(2)
        renamed = {
            "input_layernorm": "attention_norm",
            "post_attention_layernorm": "mlp_norm",
            "mlp.down_proj": "down",
            "self_attn.q_a_layernorm": "q_latent_norm",
            "self_attn.q_b_proj": "q_up",
            "self_attn.o_proj": "attention_out",
            "self_attn.kv_a_layernorm": "kv_latent_norm",
            "self_attn.kv_b_proj": "kv_up",
        }
        state |= {f"{into}{name}.weight": weights[ours + own] for name, own in renamed.items()}
        state |= {f"{into}mlp.gate_proj.weight": gate, f"{into}mlp.up_proj.weight": up}
        state |= {f"{into}self_attn.q_a_proj.weight": q_down, f"{into}self_attn.kv_a_proj_with_mqa.weight": kv_down}
    network.load_state_dict(state)
    return network


def with_norms_apart(weights: Weights) -> Weights:
    """Norms of ones would hide a norm put in the wrong place."""

    def read(name: str) -> Tensor:
        tensor = weights[name]
        return torch.linspace(0.5, 1.5, len(tensor)) if name.endswith("norm") else tensor

    return Weights(weights.spec, read)


def test_equal_to_deepseek_v3_of_transformers() -> None:
    weights, tokens = with_norms_apart(random_weights(LATENT)), prompts()
    with torch.inference_mode():
        expected = theirs(weights)(tokens).logits
    assert apart(decoded(Transformer(weights, dtype="fp32"), tokens), expected) < CLOSE


# The measured sweeps, whose times are nobody's test


def test_a_longer_context_and_a_larger_batch_move_no_intensity() -> None:
    specs = {kind: spec_of(kind) for kind in ("MHA", "GQA", "MQA", "MLA")}
    points = [
        point
        for length in (16, 48)
        for point in sweep_attention(
            specs, pick("cpu"), dtype="fp32", peak=1e9, batches=(1, 4), context_len=length, repeats=3, beyond_bytes=1
        )
    ]
    for kind, spec in specs.items():
        of_kind = [point for point in points if point.kind == kind]
        assert [(point.context_len, point.batch) for point in of_kind] == [(16, 1), (16, 4), (48, 1), (48, 4)]
        cost = decode_cost(spec, batch_size=4, context_len=48, precision=precision("fp32"))
        assert of_kind[-1].n_bytes == cost.kv_read_bytes and of_kind[-1].flops == cost.attention_flops
        intensities = [point.intensity for point in of_kind]
        assert max(intensities) < 1.07 * min(intensities)  # 17/16 and 49/48: a token also attends to itself


def test_whole_models_take_turns_and_count_their_step() -> None:
    specs = {kind: spec_of(kind) for kind in ("MHA", "MLA")}
    points = sweep_inside(
        specs,
        pick("cpu"),
        dtype="fp32",
        peak=1e9,
        kernel_peaks=dict.fromkeys(specs, 1e9),
        batches=(1, 3),
        context_len=32,
        repeats=3,
    )
    assert [(point.kind, point.batch) for point in points] == [("MHA", 1), ("MLA", 1), ("MHA", 3), ("MLA", 3)]
    for point in points:
        cost = decode_cost(specs[point.kind], batch_size=point.batch, context_len=32, precision=precision("fp32"))
        assert point.n_bytes == cost.bytes and point.flops == cost.flops
        assert point.step_s > 0 and point.predicted_s > point.read_s > 0
