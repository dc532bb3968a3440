"""What fits: public startup logs, most of them never seen while the quantities were fixed, and laws of memory."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import cli, data
from bytebill.deployment import Deployment, tensor_parallel_sizes
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, Accelerator, accelerator
from bytebill.memory import Footprint, device_weight_bytes, footprint_of, next_group_copies, shrink_over_buy
from bytebill.memory.view import picture
from bytebill.models import MODELS, LayerKind, ModelSpec, MoESpec, SequenceState, model, precision, weight_bytes
from bytebill.programs import PROGRAMS, program
from bytebill.units import GiB


def spec(id: str, sizes: tuple[int, ...], **more: Any) -> ModelSpec:
    """A shape by L, D, F, N, K, H, V and the context, as the model's config.json has them."""
    names = ("n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "d_head", "vocab_size", "context_len")
    return ModelSpec(id=id, name=id, **dict(zip(names, sizes, strict=True)), **more)


def every_second_through_a_window(one: ModelSpec, window_len: int) -> ModelSpec:
    kind = one.kinds[0]
    half = tuple(replace(matrix, copies=matrix.copies // 2) for matrix in kind.matrices)
    kept, n_layers = kind.caches[0], one.n_layers // 2
    return replace(
        one,
        layers=(
            LayerKind(name="full", n_layers=n_layers, matrices=half, caches=(kept,)),
            LayerKind(name="window", n_layers=n_layers, matrices=half, caches=(replace(kept, reach=window_len),)),
        ),
    )


def gpt_oss(n_layers: int, n_experts: int) -> ModelSpec:
    experts = MoESpec(n_experts=n_experts, n_experts_per_token=4, d_ff_expert=2880, router_bias=True)
    sizes = (n_layers, 2880, 2880, 64, 8, 64, 201_088, 131_072)
    return every_second_through_a_window(spec(f"gpt-oss-{n_experts}", sizes, biases=True, moe=experts), 128)


SHAPES = {
    "llama-3.1-8b": replace(model("llama-3-8b"), context_len=131_072),
    "llama-3.1-70b": replace(model("llama-3-70b"), context_len=131_072),
    "llama-3.1-405b-fp8": spec("llama-3.1-405b", (126, 16_384, 53_248, 128, 8, 128, 128_256, 131_072)),
    "llama-4-scout": spec(
        "llama-4-scout",
        (48, 5120, 16_384, 40, 8, 128, 202_048, 10_485_760),
        moe=MoESpec(n_experts=16, n_experts_per_token=1, d_ff_expert=8192, n_shared_experts=1),
    ),
    "qwen2.5-7b": spec("qwen2.5-7b", (28, 3584, 18_944, 28, 4, 128, 152_064, 32_768), qkv_bias=True),
    "qwen2.5-32b": spec("qwen2.5-32b", (64, 5120, 27_648, 40, 8, 128, 152_064, 131_072), qkv_bias=True),
    "qwen3-8b": spec("qwen3-8b", (36, 4096, 12_288, 32, 8, 128, 151_936, 40_960), qk_norm=True),
    "qwen3-14b": spec("qwen3-14b", (40, 5120, 17_408, 40, 8, 128, 151_936, 40_960), qk_norm=True),
    "qwen3-32b": spec("qwen3-32b", (64, 5120, 25_600, 64, 8, 128, 151_936, 40_960), qk_norm=True),
    "qwen3-235b-a22b": spec(
        "qwen3-235b-a22b",
        (94, 4096, 12_288, 64, 4, 128, 151_936, 40_960),
        qk_norm=True,
        moe=MoESpec(n_experts=128, n_experts_per_token=8, d_ff_expert=1536),
    ),
    "gpt-oss-120b": gpt_oss(36, 128),
    "gpt-oss-20b": gpt_oss(24, 32),
}
H100_NVL = replace(accelerator("h100-pcie"), id="h100-nvl", memory_bytes=94e9, reported_bytes=95_830 * 2**20)
ADA = replace(accelerator("l40s"), id="rtx-6000-ada", memory_bytes=48e9, reported_bytes=49_140 * 2**20)
A10 = replace(accelerator("l4"), id="a10", reported_bytes=23_028 * 2**20)
CARDS = {"h100-nvl": H100_NVL, "rtx-6000-ada": ADA, "a10": A10}
# The official FP8 checkpoint of the 405B keeps attention, and the first and the last layer, in 16 bits.
FP8_405B = tuple((name, 2 / 126, "bf16") for name in ("gate", "up", "down"))
STARTUPS = data.rows("published_startups")
# What is not said here is within 10%.
MISSES = {
    "C06": "V1 before its sampler was part of the profile",
    "C07": "a step of 131,072 tokens, not split",
    "sglang-qwq-tp4": "1.8 GiB of each 24 GB card were in use before the weights; we take 1.4 to be",
    "capacity-rtx-6000-ada-qwen3-14b": "12% too few: release and graphs of then are not known",
    "r1-h200-v0": "7 GiB of links and 4 GiB of copies of weights, in V0",
    "l4-qwen7": "18% too many: 0.6 GiB more in use on a card of which 4 are left",
    "a10-llama8-v0": "27% too few: a V0 that sampled without sorting",
    "pr2031-70b": "the profile of 2023 kept what NCCL had taken",
}


def version(row: data.Row) -> tuple[int, ...]:
    """Release, as numbers; the newest where it is not known."""
    return tuple(map(int, row["version"].split("."))) if row["version"] else (99,)


def served(row: data.Row, *, as_released: bool = True) -> Footprint:
    """The startup as we have it, under the program of today or under that of its release."""
    under = program(row["program"])
    if as_released and under.id == "vllm":
        changes: dict[str, tuple[float, float, float]] = {}
        if version(row) < (0, 17):  # the sampler sorted in PyTorch
            changes["logit_copies"] = (under.quantity("logit_copies", corner="high"),) * 3
        if version(row) < (0, 21):  # graphs beside the utilization
            changes |= dict.fromkeys(("graph_bytes", "graph_bytes_small"), (0.0, 0.0, 0.0))
        under = replace(under, quantities={**under.quantities, **changes})
    one = SHAPES.get(row["model_id"]) or model(row["model_id"])
    width = precision(row["weights"])
    if one.id == "llama-3.1-405b":
        width = replace(width, exceptions=(*width.exceptions, ("attention", 1.0, "bf16"), *FP8_405B))
    return Footprint(
        deployment=Deployment(
            model=one,
            accelerator=CARDS.get(row["accelerator"]) or accelerator(row["accelerator"]),
            precision=replace(width, kv_bytes_per_value=1) if row["kv"] == "fp8" else width,
            n_devices=row["devices"],
        ),
        program=under,
        utilization=row["utilization"],
        step_tokens=row["step_tokens"],
        max_users=row["max_users"],
        draft=replace(one, n_layers=row["draft_layers"]) if row["draft_layers"] else None,
    )


def error(row: data.Row, *, as_released: bool = True) -> float | None:
    """How far the cache is off, as a share of what was logged; None where nothing was."""
    ours = served(row, as_released=as_released)
    if row["cache_tokens"]:
        return ours.cache_tokens(row["context_len"]) / row["cache_tokens"] - 1
    if row["cache_gib"] and row["cache_gib"] > 0 and row["started"]:
        return ours.at("value").cache_bytes / (row["cache_gib"] * GiB) - 1
    return None


def by_case(row: data.Row) -> str:
    return str(row["case"])


@pytest.mark.parametrize("row", [row for row in STARTUPS if error(row) is not None], ids=by_case)
def test_the_cache_is_within_a_tenth_of_the_log(row: data.Row) -> None:
    off = error(row)
    assert off is not None and (abs(off) <= 0.1) == (row["case"] not in MISSES), f"{off:+.1%}"


@pytest.mark.parametrize("row", [row for row in STARTUPS if not row["started"]], ids=by_case)
@pytest.mark.parametrize("as_released", [True, False])
def test_nothing_is_said_to_fit_that_did_not_start(row: data.Row, as_released: bool) -> None:
    assert not served(row, as_released=as_released).fits(row["context_len"])


@pytest.mark.parametrize("row", [row for row in STARTUPS if row["weight_gib"]], ids=by_case)
def test_weights_as_loaded(row: data.Row) -> None:
    """Within 3%; vLLM's V0 copied what its MLA absorbs, 5% of DeepSeek's weights."""
    off = served(row).weight_bytes / (row["weight_gib"] * GiB) - 1
    assert abs(off) <= (0.06 if row["case"] == "r1-h200-v0" else 0.03), f"{off:+.1%}"


def test_held_out_startups_are_hit_as_well_as_those_seen() -> None:
    """By the program of today, as the command has it, whatever release was logged."""
    held = [abs(off) for row in STARTUPS if row["held_out"] and (off := error(row, as_released=False)) is not None]
    assert len(held) >= 17 and statistics.median(held) < 0.03
    assert sum(off <= 0.1 for off in held) >= 0.6 * len(held)


def test_ranges_hold_most_of_what_was_logged() -> None:
    logged = [row for row in STARTUPS if row["cache_tokens"] and row["started"]]
    inside = [
        served(row, as_released=False).cache_tokens(row["context_len"], corner="high")
        <= row["cache_tokens"]
        <= served(row, as_released=False).cache_tokens(row["context_len"], corner="low") * 1.005
        for row in logged
    ]
    assert sum(inside) >= 0.8 * len(logged)


def test_gpt_oss_misses_one_h100_by_what_its_log_misses_it() -> None:
    """Its log: -2.14 GiB left. Experts padded and 1,024 sequences' logits sorted are what does not fit."""
    row = next(row for row in STARTUPS if row["case"] == "C04")
    assert served(row).at("value").cache_bytes / GiB == pytest.approx(row["cache_gib"], abs=1.5)


def test_a_draft_is_cached_beside_its_target() -> None:
    """EAGLE's one layer beside the 32 of the 8B: 33 * 4,096 B a token."""
    row = next(row for row in STARTUPS if row["case"] == "C13")
    assert served(row).user_bytes(1000) == 33 * 4096 * 1000
    assert served(row).at("value").draft_bytes > 0


def test_a_draft_keeps_its_own_width_and_its_own_longest_context() -> None:
    target = {"accelerator": "h100-sxm", "n_devices": 8, "weights": "fp8"}
    beside = footprint_of("llama-3.1-70b", draft="llama-3.1-8b", **target)
    assert beside.at("value").draft_bytes * 8 == pytest.approx(2 * model("llama-3.1-8b").n_params, rel=0.01)
    assert footprint_of("llama-3.1-70b", draft="smollm2-135m", **target).context_len == 8192


def test_where_each_device_has_its_own_users_any_number_of_devices_will_do() -> None:
    spread = footprint_of("deepseek-v3.1", accelerator="b200", n_devices=8, attention="data")
    fewest = spread.fewest_devices(8192)
    assert fewest is not None
    for n, enough in ((fewest, True), (fewest - 1, False)):
        there = replace(spread, deployment=replace(spread.deployment, n_devices=n))
        assert there.fits(8192) == enough


def test_users_where_a_measured_batch_stopped_growing() -> None:
    """Llama-3.1-70B in 8 bits on two H100s, prompts of 7,373 and answers of 922: TPOT rose to 32 users, and no more."""
    two = footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=2, weights="fp8")
    assert all(16 < two.users(7373 + 922 // 2, corner=corner) <= 32 for corner in ("value", "low", "high"))


def test_states_are_counted_by_user() -> None:
    """A model of 48 linear layers and 16 full ones: 64 KiB a token, and states whatever the context."""
    one = spec("hybrid", (64, 5120, 17_408, 24, 4, 256, 248_320, 262_144))
    kind = one.kinds[0]
    hybrid = replace(
        one,
        layers=(
            replace(kind, n_layers=16),
            LayerKind(
                name="linear",
                n_layers=48,
                matrices=(),
                state=SequenceState(n_values=48 * 128 * 128, n_conv_values=30_720),
            ),
        ),
    )
    group = Deployment(model=hybrid, accelerator=accelerator("h100-sxm"), precision=precision("fp8"))
    user = Footprint(deployment=group, program=program("sglang")).user_bytes
    assert user(1001) - user(1000) == 65_536
    assert user(1) - 65_536 == 48 * (48 * 128 * 128 * 4 + 2 * 30_720)


devices = st.sampled_from(sorted(ACCELERATORS)).map(accelerator)
models = st.sampled_from(sorted(MODELS)).map(model)
programs = st.sampled_from(sorted(PROGRAMS)).map(program)
widths = st.sampled_from(["bf16", "fp8", "int4"]).map(precision)


@st.composite
def footprints(draw: st.DrawFn, attention: str = "tensor") -> Footprint:
    one = draw(models)
    return Footprint(
        deployment=Deployment(
            model=one,
            accelerator=draw(devices),
            precision=draw(widths),
            n_devices=draw(st.sampled_from([n for n in tensor_parallel_sizes(one) if n <= 16])),
            attention=attention,
        ),
        program=draw(programs),
        utilization=draw(st.none() | st.floats(0.3, 0.98)),
        step_tokens=draw(st.none() | st.integers(256, 32_768)),
    )


@given(footprints())
def test_parts_add_up_and_none_but_the_cache_is_below_zero(served: Footprint) -> None:
    for corner in ("value", "low", "high"):
        where = served.at(corner)
        assert where.driver_bytes == pytest.approx(served.deployment.accelerator.driver_bytes)
        assert min(n for name, n in where.parts.items() if name != "cache") >= 0
    tokens = [served.cache_tokens(corner=corner) for corner in ("high", "value", "low")]
    assert tokens == sorted(tokens)


@given(footprints(), st.integers(1, 8192))
def test_what_is_larger_leaves_less_and_what_is_smaller_more(served: Footprint, context_len: int) -> None:
    tokens = served.cache_tokens(context_len)
    group = served.deployment
    halved = replace(group.precision, kv_bytes_per_value=group.precision.kv_bytes_per_value / 2)
    assert replace(served, deployment=replace(group, precision=halved)).cache_tokens(context_len) >= tokens
    assert replace(served, utilization=0.3).cache_tokens(context_len) <= tokens or served.utilization is None
    assert replace(served, draft=model("smollm2-135m")).cache_tokens(context_len) <= tokens
    assert served.users(context_len + 1) <= served.users(context_len)
    n_users = served.users(context_len)
    assert n_users * served.user_bytes(context_len) <= max(0, served.at("value").cache_bytes) * group.n_devices


@given(footprints())
def test_more_devices_never_hold_fewer_tokens(served: Footprint) -> None:
    group = served.deployment
    more = [n for n in tensor_parallel_sizes(group.model) if n > group.n_devices]
    if more:
        larger = replace(served, deployment=replace(group, n_devices=more[0]))
        assert larger.cache_tokens() >= served.cache_tokens()
        assert larger.weight_bytes < served.weight_bytes


@given(models, widths)
def test_one_device_holds_the_model_and_a_group_holds_it_at_least_once(one: ModelSpec, width: Any) -> None:
    assert device_weight_bytes(one, precision=width, n_devices=1, n_sharing=1) == pytest.approx(
        weight_bytes(one, precision=width)
    )
    for n in tensor_parallel_sizes(one):
        shared = n * device_weight_bytes(one, precision=width, n_devices=n, n_sharing=n)
        spread = n * device_weight_bytes(one, precision=width, n_devices=n, n_sharing=1)
        assert weight_bytes(one, precision=width) * (1 - 1e-12) <= shared <= spread * (1 + 1e-12)


def test_more_devices_than_kv_heads_hold_copies_of_their_projections() -> None:
    """Qwen3-30B-A3B has 4 KV heads: keys and values of 2048 * 128, on each of 8 devices one head of each layer."""
    eight = device_weight_bytes(model("qwen3-30b-a3b"), precision=precision("bf16"), n_devices=8, n_sharing=8)
    four = device_weight_bytes(model("qwen3-30b-a3b"), precision=precision("bf16"), n_devices=4, n_sharing=4)
    whole = sum(
        m.n_params for kind in model("qwen3-30b-a3b").kinds for m in kind.matrices if m.group in ("norm", "router")
    )
    key_value = 2 * 48 * 2048 * 128 * 2
    last_norm = 2048 * 2
    assert 2 * (eight - 2 * whole - last_norm - key_value) == pytest.approx(four - 2 * whole - last_norm - key_value)


def test_a_latent_is_not_copied_where_attention_is_data_parallel() -> None:
    """DeepSeek-V3 on 8 H200s: 8 devices keep 8 copies of a latent, or one each of its own users."""
    tensor, spread = (
        footprint_of("deepseek-v3", accelerator="h200-sxm", n_devices=8, weights="fp8", attention=attention)
        for attention in ("tensor", "data")
    )
    assert tensor.user_bytes(1000) == 8 * spread.user_bytes(1000)
    assert tensor.weight_bytes < spread.weight_bytes < tensor.weight_bytes + 19e9
    assert spread.cache_tokens() > 4 * tensor.cache_tokens()


@given(footprints(), st.integers(1, 4))
def test_the_longest_context_fits_and_one_token_more_does_not(served: Footprint, n_users: int) -> None:
    longest = served.longest_context(n_users)
    assert longest == 0 or served.fits(longest, n_users=n_users)
    assert longest == served.context_len or not served.fits(longest + 1, n_users=n_users)


def test_inverse_questions() -> None:
    one = footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=1)
    assert one.fewest_devices(8192) == 4 and one.widest_weights(8192) == "nvfp4"
    assert one.fewest_devices(8192, n_users=100) == 8
    assert one.fewest_devices(8192, n_users=1000) is None  # beyond 8 devices a cache is copied, not spread
    assert footprint_of("llama-3-70b", accelerator="mi300x").widest_weights(8192) == "bf16"
    assert footprint_of("deepseek-v3", accelerator="rtx-4090").widest_weights() is None


def test_drivers_report_more_than_labels_say() -> None:
    """Labels count in other gigabytes than memory does: 81,559 MiB for 80 GB."""
    assert accelerator("h100-sxm").driver_bytes == 81_559 * 2**20
    for card in ACCELERATORS.values():
        assert card.memory_bytes <= card.driver_bytes < 1.08 * card.memory_bytes
    assert (
        Accelerator(
            id="x", name="x", memory_bytes=1.0, bandwidth_bytes_per_s=1.0, peak_flops_per_s={"bf16": 1.0}
        ).driver_bytes
        == 1.0
    )


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"accelerator": "h100"}, "There is no accelerator 'h100'; nearest: h100-sxm"),
        ({"n_devices": 3}, "The heads of Llama-3-8B split evenly over 1, 2, 4, 8, 16, 32 devices, not over 3."),
        ({"n_devices": 0}, "A deployment has at least one device"),
        ({"utilization": 1.5}, "A utilization is a share of the memory"),
        ({"weights": "fp9"}, "There is no width of weights 'fp9'; nearest: fp8"),
        ({"kv": "fp4"}, "There is no width of the cache 'fp4'"),
        ({"program": "vlm"}, "There is no program 'vlm'; nearest: vllm."),
        ({"draft": "llama"}, "There is no model 'llama'"),
        ({"step_tokens": 0}, "A step takes from one to 1,000,000,000, not 0."),
        ({"attention": "rows"}, "There is no way to spread attention 'rows'"),
    ],
)
def test_a_mistake_is_one_sentence(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BytebillError) as refused:
        footprint_of("llama-3-8b", **{"accelerator": "h100-sxm", **more})
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)


def test_a_user_without_context_is_refused() -> None:
    with pytest.raises(BytebillError, match="at least one token"):
        footprint_of("llama-3-8b", accelerator="l4").users(0)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["bytebill", "fits", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_the_command_answers_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("llama-3-8b", "--accelerator", "h100-sxm", "--utilization", "0.95", "--context", "8192", "--json")
    code, out, err = said(monkeypatch, capsys, *asked)
    found = json.loads(out)
    assert code == 0 and err == ""
    assert list(found) == [
        *("weight_bytes_per_device", "cache_tokens", "cache_tokens_low", "cache_tokens_high", "fits", "users")
    ]
    assert found["cache_tokens_low"] <= found["cache_tokens"] <= found["cache_tokens_high"]
    assert found["cache_tokens"] == pytest.approx(476_000, rel=0.1) and found["fits"] is True
    assert found["users"] == found["cache_tokens"] // 8192


def test_the_command_answers_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("mixtral-8x7b", "--accelerator", "l40s", "--devices", "4", "--program", "sglang", "--users", "2")
    code, out, _ = said(monkeypatch, capsys, *asked)
    assert code == 0 and "Mixtral 8x7B in bf16 on 4 x L40S under SGLang" in out
    assert "2 users at 32,768 tokens" in out and "fits" in out and "longest context for 2 users" in out
    code, out, err = said(monkeypatch, capsys, "llama-3-8", "--accelerator", "l4")
    assert code == 2 and out == "" and err.startswith("There is no model 'llama-3-8'; nearest: llama-3-8b")
    for wrong in (("--users", "0"), ("--context", "0"), ("--devices", "0"), ("--utilization", "nan")):
        code, out, err = said(monkeypatch, capsys, "llama-3-8b", "--accelerator", "l4", *wrong)
        assert code == 2 and out == "" and err.count("\n") == 1


def test_what_does_not_fit_has_a_bar_too() -> None:
    assert picture(footprint_of("deepseek-v3", accelerator="l4"), context_len=8192)


def doubled(share: float, **more: Any) -> Footprint:
    """A model of many heads on devices whose weights fill so much of what is left, activations next to nothing."""
    spec = replace(model("llama-2-7b"), vocab_size=1000)
    one = Deployment(model=spec, accelerator=accelerator("h100-sxm"), precision=precision("bf16"), **more)
    held = one.memory.weight_bytes / share
    cuda = 0.25 * GiB + 0.9 * GiB + 0.55 * GiB
    card = replace(one.accelerator, reported_bytes=held + cuda + 2 * GiB)
    return Footprint(deployment=replace(one, accelerator=card), program=program("vllm"), utilization=1, max_users=1)


def test_shrinking_wins_while_weights_are_less_than_about_two_thirds() -> None:
    by_share = [shrink_over_buy(doubled(share), 2048) for share in (0.3, 0.55, 0.8, 0.95)]
    assert by_share == sorted(by_share, reverse=True) and by_share[1] > 1 > by_share[2]


@pytest.mark.parametrize("corner", ["low", "value", "high"])
def test_copies_make_a_larger_group_worth_less(corner: str) -> None:
    """Eight KV heads on sixteen devices: every head twice, so a smaller cache wins by at least its factor of two."""
    eight = footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=8, weights="fp8")
    assert next_group_copies(eight) and shrink_over_buy(eight, 8192, corner=corner) > 2


def test_one_head_for_all_devices_has_no_larger_group() -> None:
    nine = footprint_of("smollm2-135m", accelerator="h100-sxm", n_devices=9)
    with pytest.raises(BytebillError, match="no larger group"):
        shrink_over_buy(nine, 2048)


def test_shares_of_a_device() -> None:
    where = footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=4).at("value")
    assert where.weights_share == where.weight_bytes / (where.weight_bytes + where.cache_bytes)
    assert where.cache_share == where.cache_bytes / (where.cache_bytes + where.activation_bytes)
    none = footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=2).at("high")
    assert none.cache_bytes < 0 and none.cache_share == 0 and none.weights_share == 1
