"""DeepSeek's day: what it prints follows from its own rows, and so does what it does not print."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.economics.cost import SECONDS_PER_DAY, Mix, PhaseCosts, usd_per_million_tokens
from bytebill.economics.phases import PhaseTotals, gross_margin, lengths_if_all_alike, margin_of_markup, markup, streams
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.roofline import Load, step_cost

SPEC = model("deepseek-v3")
assert SPEC.moe is not None
DAY = {row["quantity"]: row["value"] for row in data.rows("deepseek_day6")}
STEPS, HOURS = data.rows("deepseek_node_steps"), data.rows("deepseek_hourly")
MIX = Mix(
    n_input_tokens=DAY["input_tokens"], n_cached_tokens=DAY["cached_tokens"], n_output_tokens=DAY["output_tokens"]
)
TOTALS = PhaseTotals(
    mix=MIX,
    input_tokens_per_s=DAY["prefill_tokens_per_s_per_node"],
    output_tokens_per_s=DAY["decode_tokens_per_s_per_node"],
)
RENT = DAY["gpus_per_node"] * DAY["rent"]
COST = DAY["average_nodes"] * 24 * RENT
AT_PEAK = DAY["peak_nodes"] * 24 * RENT
R1, V3 = (
    PhaseCosts(
        usd_per_m_input=DAY[f"{of}input_price"],
        usd_per_m_cached=DAY[f"{of}cache_read_price"],
        usd_per_m_output=DAY[f"{of}output_price"],
    )
    for of in ("", "v3_")
)
INCOME = DAY["income_per_day"]
OUTPUT_PER_S = DAY["output_tokens"] / SECONDS_PER_DAY
STREAMS = {speed: streams(tokens_per_s=OUTPUT_PER_S, tokens_per_s_per_user=speed) for speed in (20, 21, 22)}
DECODE_GPUS = DAY["gpus_per_node"] * TOTALS.decode_nodes
FRESH = TOTALS.fresh_tokens_per_s
AT_PROFILE, AT_SGLANG, AT_SGLANG_4K = (
    TOTALS.nodes_at(
        fresh_tokens_per_s=DAY[f"{of}_prefill_tokens_per_s_per_node"],
        output_tokens_per_s=DAY[f"{of}_decode_tokens_per_s_per_node"],
    )
    for of in ("profile", "sglang", "sglang_4k")
)
INPUT_USD, OUTPUT_USD = TOTALS.usd_by_phase(usd_per_node_hour=RENT)
EARNED = (
    R1.bill_usd(Mix(n_input_tokens=MIX.n_input_tokens, n_cached_tokens=MIX.n_cached_tokens, n_output_tokens=0)),
    R1.bill_usd(Mix(n_input_tokens=0, n_output_tokens=MIX.n_output_tokens)),
)
UNCACHED = TOTALS.prefill_nodes_without_cache
PER_DAY = [row["income_usd"] for row in HOURS]
PER_NODE_HOUR = [row["income_usd"] / row["average_nodes"] for row in HOURS]
DISCOUNT = [0.0] * 12 + [0.5] + [1.0] * 7 + [0.5] + [0.0] * 3  # 00:30 to 08:30 in Beijing
NIGHT = [row["income_usd"] * share for row, share in zip(HOURS, DISCOUNT, strict=True)]
SLOTS = SPEC.moe.n_experts + DAY["redundant_experts"]
LENGTHS = lengths_if_all_alike(ratio=MIX.ratio, mean_context_len=DAY["context_len"])

PRINTED = {
    "what the disclosure prints": {
        "cost": (f"{COST:,.0f}", "87,072"),
        "GPU-hours": (f"{COST / DAY['rent']:,.0f}", "43,536"),
        "margin": (f"{markup(income_usd=INCOME, cost_usd=COST):.0%}", "545%"),
        "experts of a prefill GPU": (f"{SLOTS / (8 * DAY['prefill_unit_nodes']):.0f}", "9"),
        "experts of a decode GPU": (f"{SLOTS / (8 * DAY['decode_unit_nodes']):.0f}", "2"),
    },
    "money": {
        "cost of the peak all day": (f"{AT_PEAK:,.0f}", "106,752"),
        "income": (f"{R1.bill_usd(MIX):,.0f}", "562,100"),
        "less than the tokens earn": (f"{INCOME - R1.bill_usd(MIX):.0f}", "-73"),
        "markup": (f"{markup(income_usd=INCOME, cost_usd=COST):.1%}", "545.5%"),
        "gross margin": (f"{gross_margin(income_usd=INCOME, cost_usd=COST):.1%}", "84.5%"),
        "markup at the peak": (f"{markup(income_usd=INCOME, cost_usd=AT_PEAK):.0%}", "426%"),
        "margin at the peak": (f"{gross_margin(income_usd=INCOME, cost_usd=AT_PEAK):.1%}", "81.0%"),
        "income at V3 prices": (f"{V3.bill_usd(MIX):,.0f}", "280,560"),
        "markup at V3 prices": (f"{markup(income_usd=V3.bill_usd(MIX), cost_usd=COST):.0%}", "222%"),
        "margin at V3 prices": (f"{gross_margin(income_usd=V3.bill_usd(MIX), cost_usd=COST):.1%}", "69.0%"),
        "share that must pay R1 prices": (f"{COST / INCOME:.1%}", "15.5%"),
        "share that must pay V3 prices": (f"{COST / V3.bill_usd(MIX):.1%}", "31.0%"),
        "markup at $1.50": (f"{markup(income_usd=INCOME, cost_usd=COST * 1.5 / 2):.0%}", "761%"),
        "markup at $3": (f"{markup(income_usd=INCOME, cost_usd=COST * 3 / 2):.0%}", "330%"),
        "markup at $4": (f"{markup(income_usd=INCOME, cost_usd=COST * 4 / 2):.0%}", "223%"),
        "income of the input": (f"{EARNED[0]:,.0f}", "194,180"),
        "income of the output": (f"{EARNED[1]:,.0f}", "367,920"),
        "input over its cost": (f"{EARNED[0] / INPUT_USD:.1f}", "5.3"),
        "output over its cost": (f"{EARNED[1] / OUTPUT_USD:.1f}", "7.3"),
    },
    "pools": {
        "prefill": (f"{TOTALS.prefill_nodes:.2f}", "95.48"),
        "decode": (f"{TOTALS.decode_nodes:.2f}", "131.38"),
        "both": (f"{TOTALS.nodes:.2f}", "226.86"),
        "over the published": (f"{TOTALS.nodes / DAY['average_nodes'] - 1:+.2%}", "+0.05%"),
        "ratio": (f"{TOTALS.decode_nodes / TOTALS.prefill_nodes:.2f}", "1.38"),
        "prefill units": (f"{TOTALS.prefill_nodes / DAY['prefill_unit_nodes']:.1f}", "23.9"),
        "decode units": (f"{TOTALS.decode_nodes / DAY['decode_unit_nodes']:.1f}", "7.3"),
        "prefill at the peak": (f"{DAY['peak_nodes'] * TOTALS.prefill_nodes / TOTALS.nodes:.0f}", "117"),
        "decode at the peak": (f"{DAY['peak_nodes'] * TOTALS.decode_nodes / TOTALS.nodes:.0f}", "161"),
        "4 : 18, prefill rate": (f"{DAY['input_tokens'] / 86400 / (226.75 * 4 / 22) / 1e3:.1f}", "170.7"),
        "4 : 18, decode rate": (f"{DAY['output_tokens'] / 86400 / (226.75 * 18 / 22) / 1e3:.1f}", "10.5"),
        "without a cache": (f"{UNCACHED:.1f}", "218.2"),
        "fleet without a cache": (f"{(UNCACHED + TOTALS.decode_nodes) / TOTALS.nodes - 1:.0%}", "54%"),
        "its cost, thousands": (f"{(UNCACHED + TOTALS.decode_nodes) * 24 * RENT / 1e3:.0f}", "134"),
        "prefill saved": (f"{1 - TOTALS.prefill_nodes / UNCACHED:.0%}", "56%"),
        "fleet saved": (f"{1 - TOTALS.nodes / (UNCACHED + TOTALS.decode_nodes):.0%}", "35%"),
    },
    "rates": {
        "gap with hits": (f"{TOTALS.gap:.2f}", "4.98"),
        "gap without": (f"{TOTALS.fresh_gap:.2f}", "2.18"),
        "fresh, a node": (f"{FRESH:,.0f}", "32,244"),
        "fresh, a GPU": (f"{FRESH / 8:,.0f}", "4,030"),
        "decode, a GPU": (f"{DAY['decode_tokens_per_s_per_node'] / 8:,.0f}", "1,850"),
        "of the profile, prefill": (f"{FRESH / DAY['profile_prefill_tokens_per_s_per_node']:.0%}", "51%"),
        "of the profile, decode": (f"{14800 / DAY['profile_decode_tokens_per_s_per_node']:.0%}", "80%"),
    },
    "how full": {  # chapters 06 and 10 say the same
        "nodes that the profile's rates need": (f"{AT_PROFILE:.1f}", "153.6"),
        "of those in use": (f"{AT_PROFILE / DAY['average_nodes']:.0%}", "68%"),
        "at SGLang's rates": (f"{AT_SGLANG / DAY['average_nodes']:.0%}", "64%"),
        "at those of twice the context": (f"{AT_SGLANG_4K / DAY['average_nodes']:.0%}", "76%"),
        "tokens/s of a user of the profile": (
            f"{DAY['profile_decode_tokens_per_s_per_node'] / 8 / DAY['profile_decode_requests_per_gpu']:.0f}",
            "18",
        ),
        "markup at the profile's rates": (f"{markup(income_usd=INCOME, cost_usd=AT_PROFILE * 24 * RENT):.0%}", "853%"),
    },
    "a million tokens": {
        "input": (f"{usd_per_million_tokens(usd_per_hour=RENT, tokens_per_s=73700):.3f}", "0.060"),
        "fresh": (f"{TOTALS.costs(usd_per_node_hour=RENT).usd_per_m_input:.3f}", "0.138"),
        "output": (f"{TOTALS.costs(usd_per_node_hour=RENT).usd_per_m_output:.3f}", "0.300"),
        "all": (f"{COST / MIX.n_tokens * 1e6:.3f}", "0.112"),
        "output over fresh, listed": (f"{R1.ratio:.2f}", "3.98"),
        "output over input as billed": (f"{R1.usd_per_m_output / (EARNED[0] / 608e3):.2f}", "6.86"),
        "output in proportion to cost": (f"{R1.usd_per_m_input * TOTALS.fresh_gap:.2f}", "1.20"),
    },
    "streams": {
        "thousands at once": ([f"{n / 1e3:.1f}" for n in STREAMS.values()], ["97.2", "92.6", "88.4"]),
        "a decode GPU": ([f"{n / DECODE_GPUS:.1f}" for n in STREAMS.values()], ["92.5", "88.1", "84.1"]),
        "a decode node": (f"{STREAMS[21] / TOTALS.decode_nodes:.0f}", "705"),
        "prompt, answer": ([f"{n:,.0f}" for n in LENGTHS], ["4,383", "1,211"]),
        "requests a second": (f"{OUTPUT_PER_S / LENGTHS[1]:,.0f}", "1,605"),
        "seconds an answer": (f"{LENGTHS[1] / 21:.0f}", "58"),
    },
    "hours": {
        "peak over trough": (f"{max(PER_DAY) / min(PER_DAY):.1f}", "4.9"),
        "mean over peak": (f"{sum(PER_DAY) / 24 / max(PER_DAY):.3f}", "0.754"),
        "markup, best hour": (f"{max(PER_DAY) / (278 * RENT) - 1:.0%}", "598%"),
        "markup, the trough": (f"{min(PER_DAY) / (68 * RENT) - 1:.0%}", "482%"),
        "a node-hour, most": (f"{max(PER_NODE_HOUR):.1f}", "111.7"),
        "a node-hour, least": (f"{min(PER_NODE_HOUR):.1f}", "86.6"),
        "share in the window of discounts": (f"{sum(NIGHT) / sum(PER_DAY):.0%}", "17%"),
        "markup with R1's discounts": (
            f"{markup(income_usd=INCOME - DAY['discount_r1'] * sum(NIGHT), cost_usd=COST):.0%}",
            "463%",
        ),
    },
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in PRINTED for name in PRINTED[group]])
def test_the_figure_is_recomputed_to_its_printed_precision(group: str, name: str) -> None:
    found, printed = PRINTED[group][name]
    assert found == printed


def test_the_steps_of_nodes_are_a_day_and_give_the_published_bill() -> None:
    assert sum(row["minutes"] for row in STEPS) == 24 * 60
    assert [row["ends_utc8"] for row in STEPS] == [row["starts_utc8"] for row in (*STEPS[1:], STEPS[0])]
    node_hours = sum(row["minutes"] * row["nodes"] for row in STEPS) / 60
    assert (node_hours, node_hours / 24, node_hours * RENT) == (5442, DAY["average_nodes"], DAY["cost_per_day"])
    assert max(row["nodes"] for row in STEPS) == DAY["peak_nodes"]


def test_the_window_of_discounts_is_the_one_of_the_hours() -> None:
    assert (sum(DISCOUNT), DAY["discount_until"] - DAY["discount_from"]) == (8, 8)


def test_the_share_of_hits_is_the_printed_one() -> None:
    # 342 / 608 = 0.5625 exactly: both counts are rounded to the billion, so the third digit is theirs to choose.
    assert pytest.approx(DAY["cached_share"], abs=0.0005) == MIX.hit_rate


def test_the_hours_are_the_steps_averaged() -> None:
    by_minute = [row["nodes"] for row in STEPS for _ in range(row["minutes"])]
    assert [sum(by_minute[i : i + 60]) / 60 for i in range(0, 1440, 60)] == [row["average_nodes"] for row in HOURS]


def test_the_bars_are_scaled_to_the_published_income() -> None:
    # A pixel of the axis is $115.07 and one of these rows $115.03: their sum is no evidence, their shape is.
    assert sum(PER_DAY) == INCOME


def test_another_team_reads_the_same_fresh_rate_from_it() -> None:
    # Theirs divides by 0.437, the complement of the printed share; ours by the token counts.
    theirs = DAY["prefill_tokens_per_s_per_node_without_hits"]
    assert round(DAY["prefill_tokens_per_s_per_node"] * (1 - DAY["cached_share"])) == pytest.approx(theirs, abs=2)
    assert pytest.approx(theirs, rel=0.0012) == FRESH


def test_bytes_and_flops_of_a_decode_gpu() -> None:
    spec, h800, fp8 = SPEC, accelerator("h800-sxm"), precision("fp8")
    share = replace(spec, moe=replace(spec.moe, n_experts=2, n_experts_per_token=2))
    cost = step_cost(spec, load=Load.decode(batch_size=88, context_len=4989), precision=fp8)
    mine = step_cost(share, load=Load.decode(batch_size=88, context_len=4989), precision=fp8).weight_bytes
    assert f"{mine / 1e9:.1f}" == "22.1"  # the head in 16 bits
    assert f"{cost.kv_read_bytes / 88 / 1e6:.1f}" == "350.6"
    assert f"{21 * cost.kv_read_bytes / 1e12:.2f}" == "0.65"
    assert f"{21 * (mine + cost.kv_read_bytes) / h800.bandwidth_bytes_per_s:.0%}" == "33%"
    # Each half of the batch passes all layers by itself, so it reads their weights again.
    halves = DAY["decode_batch_parts"] * mine + cost.kv_read_bytes
    assert f"{21 * halves / h800.bandwidth_bytes_per_s:.0%}" == "47%"
    assert f"{21 / 1.8 * halves / h800.bandwidth_bytes_per_s:.0%}" == "26%"
    tokens_a_slot = 144 * 88 * spec.moe.n_experts_per_token / SLOTS
    assert (tokens_a_slot, tokens_a_slot / DAY["decode_batch_parts"]) == (352, 176)
    assert f"{21 / 1.8 * (mine + cost.kv_read_bytes) / h800.bandwidth_bytes_per_s:.0%}" == "18%"
    assert f"{cost.attention_flops / 88 / 1e9:.1f}" == "84.8"
    assert f"{21 * cost.attention_flops / h800.peak('bf16'):.0%}" == "16%"
    assert f"{21 * cost.linear_flops / h800.peak('fp8'):.0%}" == "7%"


counts = st.floats(1e3, 1e12)
rates = st.floats(1.0, 1e6)


@given(fresh=counts, cached=counts, output=counts, prefill=rates, decode=rates, window=st.floats(60, 1e6))
def test_money_is_conserved_between_the_phases(fresh, cached, output, prefill, decode, window) -> None:
    mix = Mix(n_input_tokens=fresh + cached, n_cached_tokens=cached, n_output_tokens=output)
    totals = PhaseTotals(mix=mix, input_tokens_per_s=prefill, output_tokens_per_s=decode, window_s=window)
    for_input, for_output = totals.usd_by_phase(usd_per_node_hour=16)
    assert for_input + for_output == pytest.approx(totals.nodes * window / 3600 * 16)
    # Rounding: where nearly all is cached, fresh = input - cached loses digits.
    assert totals.costs(usd_per_node_hour=16).bill_usd(mix) == pytest.approx(for_input + for_output, rel=1e-5)
    assert totals.fresh_gap <= totals.gap and totals.prefill_nodes_without_cache >= totals.prefill_nodes


@given(income=st.floats(1, 1e9), cost=st.floats(1, 1e9))
def test_a_margin_is_a_markup_in_other_words(income, cost) -> None:
    margin = gross_margin(income_usd=income, cost_usd=cost)
    assert margin < 1
    assert margin_of_markup(markup(income_usd=income, cost_usd=cost)) == pytest.approx(margin, abs=1e-9, rel=1e-6)


def test_a_loss_is_a_negative_markup_and_half_of_the_cost_earned_loses_all_of_the_income() -> None:
    assert (markup(income_usd=50, cost_usd=100), gross_margin(income_usd=50, cost_usd=100)) == (-0.5, -1)
    assert (margin_of_markup(-0.5), margin_of_markup(0)) == (-1, 0)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: replace(TOTALS, input_tokens_per_s=0), "A prefill node's rate is positive"),
        (lambda: replace(TOTALS, output_tokens_per_s=-1), "A decode node's rate is positive"),
        (lambda: replace(TOTALS, window_s=0), "A window is positive"),
        (lambda: replace(TOTALS, mix=replace(MIX, n_cached_tokens=MIX.n_input_tokens)), "Two phases need"),
        (lambda: replace(TOTALS, mix=replace(MIX, n_output_tokens=0)), "Two phases need"),
        (lambda: TOTALS.usd_by_phase(usd_per_node_hour=0), "A rent is positive"),
        (lambda: markup(income_usd=1, cost_usd=0), "A cost is positive"),
        (lambda: markup(income_usd=0, cost_usd=1), "An income is positive"),
        (lambda: gross_margin(income_usd=0, cost_usd=1), "An income is positive"),
        (lambda: gross_margin(income_usd=1, cost_usd=0), "A cost is positive"),
        (lambda: TOTALS.costs(usd_per_node_hour=0), "A rent is positive"),
        (lambda: TOTALS.nodes_at(fresh_tokens_per_s=0, output_tokens_per_s=1), "A prefill node's rate is positive"),
        (lambda: TOTALS.nodes_at(fresh_tokens_per_s=1, output_tokens_per_s=0), "A decode node's rate is positive"),
        (lambda: margin_of_markup(-1), "A markup is above -1"),
        (lambda: streams(tokens_per_s=0, tokens_per_s_per_user=1), "An output rate is positive"),
        (lambda: streams(tokens_per_s=1, tokens_per_s_per_user=0), "A user's rate is positive"),
        (lambda: lengths_if_all_alike(ratio=1, mean_context_len=0), "A mean context is positive"),
        (lambda: lengths_if_all_alike(ratio=0, mean_context_len=1), "A ratio is positive"),
    ],
)
def test_what_cannot_be_is_refused(ask, says) -> None:
    with pytest.raises(BytebillError, match=says):
        ask()
