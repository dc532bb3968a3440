"""The clock keeps to the roofline, to physics and to its closed forms, on random plans; its guards really stop it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import accumulate
from math import hypot, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import MODELS, find, model, precision
from bytebill.roofline import CacheTerm, Chunk, Load, cost_terms, step_cost, step_time_bounds
from bytebill.serving.plan import Plan, PrefillChunk, Swap
from bytebill.serving.request import Request, ServedSequence
from bytebill.sim import guards
from bytebill.sim.clock import Clock, Segment, attention_dtype, kernel_dtype
from bytebill.sim.constants import CALIBRATED, IDEAL, NAMES, Constants, Estimate, calibrated_constants
from bytebill.sim.phase_time import phase_time
from bytebill.sim.steady import SteadyState

BF16, H100 = precision("bf16"), accelerator("h100-sxm")
WHOLE = [spec for spec in MODELS.values() if spec.window_len is None]
models, models_all = st.sampled_from(WHOLE), st.sampled_from(list(MODELS.values()))
precisions = st.sampled_from(["bf16", "fp8", "int8", "int4"]).map(precision)
REAL = Constants.exact(
    bandwidth_share=0.8, flops_share=0.7, step_s=1e-3, layer_s=1e-5, sequence_s=2e-5, link_bytes_per_s=60e9
)


def clock_of(spec, *, at=BF16, constants=IDEAL, n_devices=64, accelerator=H100, **more):
    group = Deployment(model=spec, accelerator=accelerator, precision=at, n_devices=n_devices)
    return Clock(group, constants, **more)


def plan_of(contexts=(), chunks=(), **more):
    sequence = ServedSequence(Request(id=0, n_input_tokens=1, n_output_tokens=1))
    prefills = tuple(
        PrefillChunk(sequence=sequence, context_len=before, n_new_tokens=new, n_logits=int(emits))
        for before, new, emits in chunks
    )
    decodes = tuple((sequence, context) for context in contexts)
    return Plan(n_decodes=len(contexts), n_context_tokens=sum(contexts), chunks=prefills, live_contexts=decodes, **more)


def load_of(contexts=(), chunks=()):
    prefills = (Chunk(context_len=before, n_new_tokens=new, n_logits=int(emits)) for before, new, emits in chunks)
    return Load(n_decodes=len(contexts), n_context_tokens=sum(contexts), chunks=tuple(prefills))


contexts_st = st.lists(st.integers(0, 5000), max_size=12)
chunks_st = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 900), st.booleans()), max_size=3)
loads = st.tuples(contexts_st, chunks_st).filter(lambda load: load[0] or load[1])


@given(models, precisions, loads)
def test_a_perfect_device_stays_between_the_roofline_s_two_bounds(spec, at, load):
    group = replace(
        H100,
        bandwidth_bytes_per_s=64 * H100.bandwidth_bytes_per_s,
        peak_flops_per_s={k: 64 * v for k, v in H100.peak_flops_per_s.items()},
    )
    unsplit = replace(
        H100,
        memory_bytes=64 * H100.memory_bytes,
        bandwidth_bytes_per_s=group.bandwidth_bytes_per_s,
        peak_flops_per_s=group.peak_flops_per_s,
    )
    clock = clock_of(spec, at=at, n_devices=1, accelerator=unsplit)
    bounds = step_time_bounds(
        step_cost(spec, load=load_of(*load), precision=at), accelerator=group, dtype=at.compute_dtype
    )
    seconds = clock.segment(plan_of(*load)).seconds(1)
    assert bounds.max_s * (1 - 1e-9) <= seconds <= (bounds.memory_s + bounds.compute_s) * (1 + 1e-9)


@given(models, loads)
def test_the_clock_is_the_cost_function_part_by_part(spec, load):
    contexts, chunks = load
    huge = replace(H100, memory_bytes=1e13)
    clock = clock_of(spec, n_devices=1, accelerator=huge)
    width, peak = huge.bandwidth_bytes_per_s, huge.peak()

    def parts(contexts, chunks):
        return step_cost(spec, load=load_of(contexts, chunks), precision=BF16)

    whole = parts(contexts, chunks)
    linear = hypot((whole.weight_bytes + whole.activation_bytes + whole.logit_bytes) / width, whole.linear_flops / peak)
    attention = 0.0
    for some in ((contexts, ()), ((), chunks)):
        if some[0] or some[1]:
            cost = parts(*some)
            attention += max((cost.kv_read_bytes + cost.kv_write_bytes) / width, cost.attention_flops / peak)
    assert clock.segment(plan_of(contexts, chunks)).seconds(1) == pytest.approx(linear + attention, rel=1e-9)


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=40), st.integers(1, 300))
def test_repeats_are_the_sum_of_their_steps(contexts, n):
    clock = clock_of(model("llama-3-8b"), constants=REAL, n_devices=2)
    run = clock.segment(plan_of(contexts, n_repeats=n))
    one_by_one = (clock.segment(plan_of([c + i for c in contexts])).seconds(1) for i in range(n))
    for i, total in enumerate(accumulate(one_by_one), start=1):
        assert run.seconds(i) == pytest.approx(total, rel=1e-9)


@given(st.floats(1e-6, 1), st.floats(0, 1e-3), st.floats(0, 2), st.integers(1, 10**6), st.floats(-1e-9, 1e-9))
def test_n_until_is_the_first_that_reaches(first_s, growth_s, once_s, n, off_s):
    run = Segment(first_s, growth_s, once_s)
    asked = run.seconds(n) + off_s
    found = run.n_until(asked)
    assert run.seconds(found) >= asked and (found == 0 or run.seconds(found - 1) < asked)
    assert run.n_until(run.seconds(n)) == n or run.seconds(n) == run.seconds(n - 1)
    assert run.seconds(0) == 0 and run.n_until(0.0) == 0


@given(models, loads)
def test_no_step_beats_its_bytes_or_flops_and_every_constant_only_slows(spec, load):
    plan = plan_of(*load)
    fast, real = clock_of(spec).segment(plan).seconds(1), clock_of(spec, constants=REAL).segment(plan).seconds(1)
    cost = step_cost(spec, load=load_of(*load), precision=BF16)
    bounds = step_time_bounds(cost, accelerator=H100)
    assert bounds.max_s / 64 * (1 - 1e-9) <= fast <= real
    for name in NAMES:
        one = Constants.exact(**{name: REAL.values()[name]})
        assert fast <= clock_of(spec, constants=one).segment(plan).seconds(1) <= real * (1 + 1e-9)


def test_devices_share_the_bytes_and_wait_for_each_other():
    spec, plan = model("llama-3-70b"), plan_of([2000] * 16)
    four, eight = (clock_of(spec, n_devices=n).segment(plan).seconds(1) for n in (4, 8))
    assert four == pytest.approx(2 * eight)
    link = Constants.exact(link_bytes_per_s=1e9)
    waits = clock_of(spec, constants=link, n_devices=8).segment(plan).seconds(1) - eight
    assert waits == pytest.approx(2 * 80 * 16 * 8192 * 2 * 2 * 7 / 8 / 1e9)  # sums, tokens, width, bytes, ring
    sixteen = clock_of(spec, n_devices=16)  # 8 KV heads: the cache is there twice
    grown = sixteen.segment(plan_of([3000] * 16)).seconds(1) - sixteen.segment(plan).seconds(1)
    assert grown == pytest.approx(16 * 1000 * 327_680 / (8 * H100.bandwidth_bytes_per_s))


@pytest.mark.parametrize("load", [load_of([500] * 9), load_of([500] * 3, [(0, 300, True)])])
def test_every_device_reads_all_of_its_attention_where_users_are_dealt_out(load):
    """Four devices: three copies of attention's matrices more, and of linear layers nothing else."""
    shared = clock_of(model("llama-3-8b"), constants=REAL, n_devices=4)
    dealt = Clock(replace(shared.deployment, attention="data"), REAL)
    attention = 32 * 2 * (2 * 4096 * 4096 + 2 * 4096 * 1024)  # layers, bytes; Q and O, K and V
    parts = dealt.terms_s(load)
    more_s = 3 * attention / (4 * 0.8 * H100.bandwidth_bytes_per_s)
    assert parts["weights"] - shared.terms_s(load)["weights"] == pytest.approx(more_s)
    besides = parts["cache"] + parts["links"] + parts["program"]
    assert dealt.step_s(load) == pytest.approx(hypot(parts["weights"], parts["arithmetic"]) + besides)


@pytest.mark.parametrize(("n", "crossings"), [(1, 0), (2, 1), (4, 1.5)])
def test_one_device_waits_for_no_sum_and_several_for_two_a_layer(n, crossings):
    """64 sums of 4,096 values of 2 bytes, each of which crosses 2 (n - 1) / n links."""
    spec, load = model("llama-3-8b"), Load.decode(batch_size=3, context_len=10)
    clock = clock_of(spec, constants=Constants.exact(all_reduce_s=1e-3, link_bytes_per_s=1e9), n_devices=n)
    links_s = 64 * ((n > 1) * 1e-3 + crossings * 3 * 4096 * 2 / 1e9)
    assert clock.terms_s(load)["links"] == pytest.approx(links_s)
    assert clock.step_s(load) - clock_of(spec, n_devices=n).step_s(load) == pytest.approx(links_s)


def test_sums_over_nodes_cross_the_network_too_each_device_with_its_share():
    """Sixteen devices in two nodes of eight: 2 (2 - 1) / 2 of an eighth of a sum over each port."""
    nodes = (("all_reduce_s", "nodes", Estimate.exact(2e-3)), ("link_bytes_per_s", "nodes", Estimate.exact(5e8)))
    constants = replace(Constants.exact(all_reduce_s=1e-3, link_bytes_per_s=1e9), by_kind=nodes)
    spec, load = model("llama-3-8b"), Load.decode(batch_size=3, context_len=10)
    value_bytes = 3 * 4096 * 2
    links_s = 64 * (3e-3 + value_bytes * (2 * 15 / 16 / 1e9 + 1 / 8 / 5e8))
    assert clock_of(spec, constants=constants, n_devices=16).terms_s(load)["links"] == pytest.approx(links_s)
    inside = 64 * (1e-3 + value_bytes * 2 * 7 / 8 / 1e9)
    assert clock_of(spec, constants=constants, n_devices=8).terms_s(load)["links"] == pytest.approx(inside)


def test_attention_and_mlp_side_by_side_are_summed_once():
    spec, load = model("llama-3-8b"), Load.decode(batch_size=1, context_len=10)
    constants = Constants.exact(all_reduce_s=1e-3)
    whole, half = (
        clock_of(each, constants=constants, n_devices=2).terms_s(load)["links"]
        for each in (spec, replace(spec, parallel=True))
    )
    assert (whole, half) == pytest.approx((0.064, 0.032))


@pytest.mark.parametrize(
    ("name", "attention", "hopper", "ampere"),  # which has no units for fp8
    [
        ("fp32", "fp32", "fp32", "fp32"),
        ("fp16", "fp16", "fp16", "fp16"),
        ("bf16", "bf16", "bf16", "bf16"),
        ("fp8", "bf16", "fp8", "unpacked"),
        ("int4", "bf16", "unpacked", "unpacked"),
    ],
)
def test_attention_multiplies_in_16_bits_or_wider_and_weights_in_their_own(name, attention, hopper, ampere):
    at = precision(name)
    assert attention_dtype(at) == attention
    assert [kernel_dtype(at, card) for card in (H100, accelerator("a100-sxm-80"))] == [hopper, ampere]


def test_experts_are_resident_whether_or_not_they_are_met():
    mixtral = model("mixtral-8x7b")
    assert (
        clock_of(mixtral, n_devices=2).deployment.memory.weight_bytes
        == mixtral.n_params * 2
        > mixtral.n_active_params * 2
    )
    with pytest.raises(BytebillError, match=r"takes 93\.4 GB, and 1 x H100 SXM5 hold 80\.0 GB"):
        clock_of(mixtral, n_devices=1)  # though the active 25.8 GB would fit


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"caches": (CacheTerm(token_bytes=4 * 131_072.0, pair_flops=524_288.0, read_reach=None),)}, "cached token"),
        ({"head_bytes": 0.0}, "weights read"),
        ({"fixed_bytes": 1e9}, "weights read"),
        ({"logit_flops": ()}, "FLOPs"),
    ],
)
def test_a_wrong_count_stops_the_clock(wrong, what):
    spec = model("llama-3-8b")
    terms, held = cost_terms(spec, precision=BF16), {"precision": BF16, "resident_bytes": 2.0 * spec.n_params}
    guards.counted_once(terms, **held)
    with pytest.raises(guards.PhysicsError, match=what):
        guards.counted_once(replace(terms, **wrong), **held)
    with pytest.raises(guards.PhysicsError, match="weights in memory"):
        guards.counted_once(terms, **held | {"resident_bytes": 1e9})


def test_a_time_below_the_bytes_stops_the_clock():
    clock = clock_of(model("llama-3-8b"), n_devices=1)
    clock._bytes_per_s *= 1.01
    with pytest.raises(guards.PhysicsError, match="below"):
        clock.segment(plan_of([100]))


@pytest.mark.parametrize(
    ("seconds", "memory_s", "compute_s", "kept"),
    [
        (1.0, 1.0, 0.5, True),
        (1.0, 0.5, 1.0, True),
        (1 - 5e-10, 1.0, 0.5, True),
        (1 - 2e-9, 1.0, 0.5, False),
        (1 - 2e-9, 0.5, 1.0, False),
        (0.75, 0.5, 1.0, False),
    ],
)
def test_a_time_is_no_less_than_bytes_or_flops_take(seconds, memory_s, compute_s, kept):
    with (
        nullcontext() if kept else pytest.raises(guards.PhysicsError, match=r"is below the 1\.0 s that bytes and FLOPs")
    ):
        assert guards.no_faster(seconds, memory_s=memory_s, compute_s=compute_s) == seconds


@pytest.mark.parametrize(("width", "kept"), [(0.53125, True), (0.531, False), (2.0, True), (2.001, False)])
def test_weights_of_several_formats_lie_between_their_narrowest_and_their_widest(width, kept):
    """Of 4.25 bits, scales included, to the 16 of what is left as it was."""
    spec, narrow = model("llama-3-8b"), precision("int4")
    terms = cost_terms(spec, precision=narrow)
    with nullcontext() if kept else pytest.raises(guards.PhysicsError, match=r"weights in memory: .* in int4"):
        guards.counted_once(terms, precision=narrow, resident_bytes=spec.n_params * width)
    wide = replace(terms, fixed_bytes=4.0 * spec.n_params)
    with pytest.raises(guards.PhysicsError, match=r"weights read: .* in int4"):
        guards.counted_once(wide, precision=narrow, resident_bytes=spec.n_params)


def test_swaps_are_paid_once_and_only_with_a_link():
    sequence = ServedSequence(Request(id=0, n_input_tokens=1, n_output_tokens=1))
    swap = Swap(sequence=sequence, device_blocks=(1, 2, 3), host_blocks=(0, 1, 2), out=True)
    plan, bare = plan_of([100], swaps=(swap,), n_swapped_blocks=3, n_repeats=5), plan_of([100], n_repeats=5)
    spec = model("llama-3-8b")
    linked = clock_of(spec, n_devices=1, host_bytes_per_s=25e9)
    extra = linked.segment(plan).seconds(5) - linked.segment(bare).seconds(5)
    assert extra == pytest.approx(3 * 16 * 131_072 / 25e9)
    with pytest.raises(BytebillError, match="host_bytes_per_s"):
        clock_of(spec, n_devices=1).segment(plan)


@given(models_all, loads, st.integers(1, 400))
def test_a_load_takes_as_long_whether_or_not_its_sequences_are_listed(spec, load, n):
    clock, n = clock_of(spec, constants=REAL), n if not load[1] else 1
    listed, counts = clock.segment(plan_of(*load, n_repeats=n)), clock.segment(load_of(*load))
    assert [listed.seconds(i) for i in (1, n)] == [counts.seconds(i) for i in (1, n)]


@given(st.integers(0, 6000), st.integers(1, 40), st.integers(1, 300))
def test_a_window_is_held_against_a_context_and_not_against_their_sum(context, n_decodes, n):
    """Mistral-7B: each step reads the cached tokens that its window reaches, and no more."""
    spec = model("mistral-7b")
    clock = clock_of(spec, n_devices=1)
    met = [min(context + i, spec.window_len) + 1 for i in range(n)]  # read, and its own
    bare_s = clock.step_s(Load(n_decodes=n_decodes)) - n_decodes * 131_072 / H100.bandwidth_bytes_per_s
    run = clock.segment(Load(n_decodes=n_decodes, n_context_tokens=n_decodes * context))
    expected = n * bare_s + n_decodes * sum(met) * 131_072 / H100.bandwidth_bytes_per_s
    assert run.seconds(n) == pytest.approx(expected, rel=1e-9)
    assert run.n_until(run.seconds(n)) == n


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=12))
def test_under_a_window_counts_are_never_too_fast(contexts):
    spec = model("mistral-7b")
    clock = clock_of(spec, n_devices=1)
    each = sum(min(context, spec.window_len) + 1 for context in contexts) * 131_072 / H100.bandwidth_bytes_per_s
    bare_s = clock.step_s(Load(n_decodes=len(contexts))) - len(contexts) * 131_072 / H100.bandwidth_bytes_per_s
    assert clock.step_s(load_of(contexts)) >= (bare_s + each) * (1 - 1e-9)


@pytest.mark.parametrize("n_context", [240, 241, 243, 254, 255, 257, 400])
def test_a_run_into_a_window_is_each_step_on_its_own(n_context):
    """Two sequences of equal or of nearly equal length fill a window of 128 in the middle of a step or at its end."""
    clock, total_s = clock_of(find("gpt-oss-20b")[0], n_devices=1), 0.0
    run = clock.segment(Load(n_decodes=2, n_context_tokens=n_context))
    for i in range(20):
        total_s += clock.step_s(Load(n_decodes=2, n_context_tokens=n_context + 2 * i))
        assert run.seconds(i + 1) == pytest.approx(total_s, rel=1e-12)
        assert run.n_until(total_s * (1 - 1e-12)) == run.n_until(total_s * (1 + 1e-12)) - 1 == i + 1


def test_a_prompt_longer_than_the_window_attends_to_the_window():
    spec = model("mistral-7b")
    whole, windowed = (clock_of(s, n_devices=1) for s in (replace(spec, window_len=None), spec))
    short, long = (load_of((), [(0, n, True)]) for n in (4096, 16_384))
    assert windowed.step_s(short) == whole.step_s(short)
    assert windowed.step_s(long) < whole.step_s(long)


@given(models, st.integers(1, 64), st.integers(0, 4000), st.integers(1, 6))
def test_drafts_are_verified_in_one_pass(spec, batch_size, context_len, n_draft_tokens):
    clock = clock_of(spec)
    shape = {"batch_size": batch_size, "context_len": context_len}
    verify = Load.verify(**shape, n_draft_tokens=n_draft_tokens)
    as_chunks = tuple(
        Chunk(context_len=context_len, n_new_tokens=n_draft_tokens + 1, n_logits=n_draft_tokens + 1)
        for _ in range(batch_size)
    )
    assert clock.step_s(verify) == pytest.approx(clock.step_s(Load(chunks=as_chunks)), rel=1e-9)
    one, several = clock.step_s(Load.decode(**shape)), clock.step_s(verify)
    assert one <= several <= (n_draft_tokens + 1) * one * (1 + 1e-9)


def test_a_prefill_is_never_repeated():
    with pytest.raises(ValueError, match="one step"):
        plan_of([10], [(0, 10, True)], n_repeats=2)


def test_a_prediction_carries_the_range_of_its_constants():
    wide = Constants(
        bandwidth_share=Estimate(value=0.8, low=0.7, high=0.9), step_s=Estimate(value=2e-3, low=1e-3, high=3e-3)
    )
    spec, plan = model("llama-3-8b"), plan_of([1000] * 8)
    low, mid, high = clock_of(spec, constants=wide, n_devices=1).range_s(plan)
    bare = clock_of(spec, n_devices=1).segment(plan).seconds(1)
    assert (low, mid, high) == pytest.approx((bare / 0.9 + 1e-3, bare / 0.8 + 2e-3, bare / 0.7 + 3e-3), rel=1e-3)


@pytest.mark.parametrize(
    "bad", [{"bandwidth_share": 1.1}, {"flops_share": 0.0}, {"step_s": -1.0}, {"link_bytes_per_s": 0.0}]
)
def test_impossible_constants_are_refused(bad):
    with pytest.raises(ValueError, match=r"share|estimate|link"):
        Constants.exact(**bad)


@pytest.mark.parametrize(
    ("low", "value", "high", "spread"), [(0.5, 2.0, 4.0, 1.75), (0, 0, 0, 0), (0, 0, 1, inf), (inf, inf, inf, 0)]
)
def test_an_estimate_spreads_over_its_range(low, value, high, spread):
    assert Estimate(low=low, value=value, high=high).spread == spread


@pytest.mark.parametrize("wrong", [(-1, 0, 1), (2, 1, 3), (1, 3, 2), (0, nan, 1)])
def test_an_estimate_lies_in_its_range(wrong):
    with pytest.raises(ValueError, match="inside its range"):
        Estimate(**dict(zip(("low", "value", "high"), wrong, strict=True)))


@pytest.mark.parametrize("name", ["bandwidth_share", "flops_share"])
@pytest.mark.parametrize(("low", "high", "known"), [(1e-9, 1, True), (0, 1, False), (0.5, 1.001, False)])
def test_a_share_is_above_none_and_at_most_all(name, low, high, known):
    share = Estimate(low=low, value=0.7, high=high)
    for told in ({name: share}, {"by_kind": ((name, "fp8", share),)}):
        with nullcontext() if known else pytest.raises(ValueError, match=f"{name} is a share"):
            assert Constants(**told).error == 0


def test_all_constants_move_to_their_fast_and_slow_ends():
    """A share and a link are fast where they are high, a time where it is low; those of one kind move along."""
    wide = Estimate(low=0.25, value=0.5, high=1.0)
    kinds = tuple((name, "fp8", wide) for name in NAMES)
    constants = Constants(**dict.fromkeys(NAMES, wide), by_kind=kinds, error=0.3)
    rates = {"bandwidth_share", "flops_share", "link_bytes_per_s"}
    for moved, of_rates, of_times in ((constants.fastest, 1.0, 0.25), (constants.slowest, 0.25, 1.0)):
        for name in NAMES:
            end = of_rates if name in rates else of_times
            assert getattr(moved, name) == Estimate.exact(end) and moved.of(name, "fp8") == end
        assert moved.error == 0.3


def test_routed_products_reach_a_share_of_what_large_ones_do():
    own = (("flops_share", "fp8", Estimate.exact(0.6)), ("flops_share", "routed", Estimate.exact(0.5)))
    routed = Constants(flops_share=Estimate.exact(0.8), by_kind=own)
    assert [routed.routed_share_of(dtype) for dtype in ("fp8", "bf16")] == [0.3, 0.4]
    assert replace(routed, by_kind=own[:1]).routed_share_of("fp8") == 0.6


def test_a_device_that_nobody_measured_has_the_rates_of_the_others():
    unknown, known = (calibrated_constants("sglang", id) for id in ("none such", "h100-sxm"))
    for name in NAMES:
        device = name in ("bandwidth_share", "flops_share", "all_reduce_s", "link_bytes_per_s")
        assert getattr(unknown, name) == getattr(CALIBRATED["other"] if device else known, name)
    assert unknown.bandwidth_share != known.bandwidth_share and unknown.error == CALIBRATED["sglang"].error > 0


def test_the_steady_state_is_a_closed_loop_played_step_by_step():
    """Eight users whose turns are spread evenly over 64 steps: every eighth step, one of them prefills."""
    clock = clock_of(model("llama-3-8b"), constants=REAL, n_devices=1)
    loop = {"concurrency": 8, "n_input_tokens": 700, "n_output_tokens": 64}
    seconds = 0.0
    for step in range(64):
        ages = [(step - 8 * user) % 64 for user in range(8)]  # age 0: its prefill
        decodes = [700 + age - 1 for age in ages if age]
        seconds += clock.segment(plan_of(decodes, [(0, 700, True) for age in ages if not age])).seconds(1)
    assert SteadyState(clock=clock, **loop).output_tokens_per_s == pytest.approx(8 * 64 / seconds, rel=0.01)
    assert seconds / 64 == pytest.approx(SteadyState(clock=clock, **loop).tpot_s, rel=0.05)


def test_prefills_in_steps_of_their_own_make_everybody_wait():
    """The same with 65 tokens: one from the prefill, 64 from decodes of all eight."""
    clock = clock_of(model("llama-3-8b"), constants=REAL, n_devices=1)
    loop = {"concurrency": 8, "n_input_tokens": 700, "n_output_tokens": 65}
    alone_s = clock.segment(plan_of((), [(0, 700, True)])).seconds(1)
    seconds = 8 * alone_s
    for step in range(64):
        seconds += clock.segment(plan_of([700 + (step - 8 * user) % 64 for user in range(8)])).seconds(1)
    apart, together = (SteadyState(clock=clock, mixed=mixed, **loop) for mixed in (False, True))
    assert apart.output_tokens_per_s == pytest.approx(8 * 65 / seconds, rel=1e-3)
    assert apart.tpot_s == pytest.approx((seconds - alone_s) / 64, rel=1e-3)
    assert together.tpot_s < apart.tpot_s


ALONE = clock_of(model("llama-3-8b"), constants=REAL, n_devices=1)


def steps_s(n_decodes, context, n_prompts, prompt=(0, 700)):
    """A step of so many decodes at one context, and of so many prompts: (cached, new)."""
    return ALONE.step_s(load_of([context] * n_decodes, [(*prompt, True)] * n_prompts))


@pytest.mark.parametrize(
    ("users", "n_out", "mixed", "tpot"),
    [
        (1, 102, True, lambda: steps_s(1, 700 + 50, 0)),  # contexts from 700 to 800
        (1, 1, True, lambda: steps_s(1, 700, 0)),
        (9, 8, True, lambda: steps_s(8, 703, 1)),  # one of nine prefills in every step
        (5, 8, True, lambda: (steps_s(5, 703, 0) + steps_s(4, 703, 1)) / 2),  # in every second one
        (14, 8, True, lambda: (3 * steps_s(13, 703, 1) + 5 * steps_s(12, 703, 2)) / 8),  # 13 prefills in 8 steps
        (8, 8, False, lambda: steps_s(0, 0, 1) + steps_s(8, 703, 0)),
        (2, 3, False, lambda: steps_s(0, 0, 1) / 2 + steps_s(2, 700.5, 0)),
    ],
)
def test_a_steady_state_shares_out_its_prefills(users, n_out, mixed, tpot):
    state = SteadyState(clock=ALONE, concurrency=users, n_input_tokens=700, n_output_tokens=n_out, mixed=mixed)
    first_s = steps_s(users - 1 if mixed else 0, 700 + max(0, n_out - 2) / 2, 1)
    assert state.tpot_s == pytest.approx(tpot(), rel=1e-9)
    assert state.first_step_s == pytest.approx(first_s, rel=1e-9)
    assert state.output_tokens_per_s == pytest.approx(users * n_out / (first_s + (n_out - 1) * tpot()), rel=1e-9)


def test_a_steady_state_computes_only_what_no_cache_has():
    state = SteadyState(clock=ALONE, concurrency=1, n_input_tokens=700, n_output_tokens=9, n_cached_tokens=600)
    assert state.first_step_s == steps_s(0, 0, 1, prompt=(600, 100))


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"n_output_tokens": 0}, {"n_cached_tokens": 10}])
def test_a_steady_state_has_somebody_and_something_to_do(wrong):
    least = {"clock": ALONE, "concurrency": 1, "n_input_tokens": 10, "n_output_tokens": 1, "n_cached_tokens": 9}
    assert SteadyState(**least).tpot_s > 0
    with pytest.raises(BytebillError, match="a token to compute and one to emit"):
        SteadyState(**least | wrong)


@pytest.mark.parametrize(
    ("hit_rate", "step_tokens", "cached_new_prompts"),
    [
        (0, 1000, (0, 100, 10)),
        (0.5, 1000, (50, 50, 20)),
        (0.257, 1000, (25, 75, 13)),
        (0.9999, 8, (99, 1, 8)),
        (0, 99, (0, 100, 1)),
    ],
)
def test_phases_take_full_steps_of_their_own(hit_rate, step_tokens, cached_new_prompts):
    n_cached, n_new, n_prompts = cached_new_prompts
    two = clock_of(model("llama-3-8b"), constants=REAL, n_devices=2)
    asked = {"batch_size": 8, "n_input_tokens": 100, "n_output_tokens": 31}
    found = phase_time(ALONE, hit_rate=hit_rate, step_tokens=step_tokens, decode=two, **asked)
    assert found.input_s == pytest.approx(steps_s(0, 0, n_prompts, prompt=(n_cached, n_new)) / (n_prompts * 100))
    assert found.output_s == pytest.approx(2 * two.step_s(load_of([115] * 8)) / 8)
    assert found.ratio == found.output_s / found.input_s
    alone = phase_time(two, hit_rate=hit_rate, step_tokens=step_tokens, **asked)
    assert alone.output_s == found.output_s and alone.input_s == pytest.approx(
        2 * two.step_s(load_of(chunks=[(n_cached, n_new, True)] * n_prompts)) / (n_prompts * 100)
    )


def test_phases_fill_steps_of_8192_tokens():
    asked = {"batch_size": 1, "n_input_tokens": 1024, "n_output_tokens": 2}
    assert phase_time(ALONE, **asked) == phase_time(ALONE, step_tokens=8192, **asked)


@pytest.mark.parametrize("wrong", [0, 10_000_001, 1.5, "1"])
def test_phases_are_of_counts_that_can_be(wrong):
    least = dict.fromkeys(("batch_size", "n_input_tokens", "n_output_tokens", "step_tokens"), 1)
    assert phase_time(ALONE, **least).ratio > 0
    assert phase_time(ALONE, **least | {"n_output_tokens": 10_000_000}).ratio > 0
    for name in least:
        with pytest.raises(BytebillError, match="count from one to 10,000,000, in wholes"):
            phase_time(ALONE, **least | {name: wrong})
    for hit_rate in (-0.1, 1):
        with pytest.raises(BytebillError, match="A hit rate is a share from 0 to below 1"):
            phase_time(ALONE, **least, hit_rate=hit_rate)


def test_a_run_reaches_a_time_even_where_its_formula_falls_short() -> None:
    """Rounding leaves the root a hair below 667,915 here, after which one step more is needed."""
    run = Segment(0.17709961931126889, 0.0, 0.9900516671186157)
    assert run.n_until(118288.48228395329) == 667_916
    assert run.seconds(667_915) < 118288.48228395329 <= run.seconds(667_916)


@given(st.integers(0, 20_000), st.integers(1, 40))
def test_a_full_window_keeps_to_the_roofline_too(context, n_decodes):
    group = Deployment(model=model("mistral-7b"), accelerator=H100, precision=BF16)
    load = Load.decode(batch_size=n_decodes, context_len=context)
    assert group.step_bounds(load).max_s * (1 - 1e-12) <= Clock(group).step_s(load)


@pytest.mark.parametrize(
    "load",
    [
        Load(),
        Load(n_decodes=-1),
        Load(n_decodes=2, n_context_tokens=-5),
        Load(n_decodes=2, n_context_tokens=-5, n_new_each=3),
        Load(n_decodes=2, n_context_tokens=5, n_new_each=0),
        Load(n_decodes=2, n_context_tokens=5, n_swapped_blocks=-1),
        Load(n_context_tokens=-5, chunks=(Chunk(context_len=0, n_new_tokens=1),)),
    ],
)
def test_a_load_that_cannot_be_is_refused_by_clock_and_roofline(load):
    clock = clock_of(model("llama-3-8b"), host_bytes_per_s=1e9)
    clock.step_s(Load.decode(batch_size=2, context_len=10))  # its count is known from now on
    with pytest.raises(BytebillError, match="at least one sequence"):
        clock.step_s(load)
    with pytest.raises(BytebillError, match="at least one sequence"):
        clock.deployment.step_cost(load)
