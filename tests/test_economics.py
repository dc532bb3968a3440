"""A rent over its tokens: every published figure that can be recomputed, and laws of cost and break-even."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isclose, nan
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.economics import break_even
from bytebill.economics import prices as on_file
from bytebill.economics.cost import Mix, PhaseCosts, usd_per_million_tokens
from bytebill.economics.prices import api_price
from bytebill.errors import BytebillError

BOX = {"usd_per_hour": 2.50, "tokens_per_s": 2500.0}  # the worked example on trial: an H100 and a 7B
DAY = {row["quantity"]: row["value"] for row in data.rows("deepseek_day6")}
MIX = Mix(n_input_tokens=DAY["input_tokens"], n_output_tokens=DAY["output_tokens"])
SAID = {(row["subject"], row["quantity"]): row["value"] for row in data.rows("published_economics")}

rents = st.floats(0.05, 50)
rates = st.floats(1, 1e5)
shares = st.floats(1e-4, 1)
prices = st.floats(1e-3, 1e3)
counts = st.floats(0, 1e9)
more = st.floats(1.001, 100)


def printed(value: float, figures: str) -> bool:
    """Whether the value, rounded as the figure is, gives it."""
    return f"{value:.{len(figures.partition('.')[2])}f}" == figures


@pytest.mark.parametrize(
    ("utilization", "figures"), [(1.0, "0.2778"), (0.7, "0.3968"), (0.5, "0.5556"), (0.1, "2.7778")]
)
def test_the_worked_example(utilization, figures) -> None:
    assert printed(usd_per_million_tokens(**BOX, utilization=utilization), figures)


def test_ten_percent_costs_seven_times_what_seventy_does() -> None:
    ratio = usd_per_million_tokens(**BOX, utilization=0.1) / usd_per_million_tokens(**BOX, utilization=0.7)
    assert ratio == pytest.approx(7.0, rel=1e-12)
    assert BOX["tokens_per_s"] * 3600 * 0.7 == pytest.approx(6.3e6)


def test_a_price_for_a_thousand_tokens_is_one_slow_stream() -> None:
    per_m = SAID["self-hosted, full load", "price_per_k_tokens"] * 1e3
    assert per_m == pytest.approx(13.0)
    assert printed(BOX["usd_per_hour"] / 3600 / per_m * 1e6, "53")
    assert printed(per_m / usd_per_million_tokens(**BOX), "47")
    idle = SAID["self-hosted, 10% load", "price_per_k_tokens"] * 1e3
    assert printed(idle / usd_per_million_tokens(**BOX, utilization=0.1), "47")
    assert printed(idle / api_price("Claude Sonnet 4.5").output_usd_per_m, "9")


def test_half_of_the_worked_example_is_108_million_tokens_a_day() -> None:
    price = usd_per_million_tokens(**BOX, utilization=0.5)
    assert printed(price, "0.556")
    assert break_even.tokens_per_day(usd_per_hour=2.50, api_usd_per_m=price) == pytest.approx(108e6)


@pytest.mark.parametrize(
    ("millions", "percent", "usd", "tokens_per_s"),
    [(3, "1.4", "20.0", "69"), (5, "2.3", "12.0", "116"), (7, "3.2", "8.6", "162")],
)
def test_several_million_tokens_a_day_are_another_rule(millions, percent, usd, tokens_per_s) -> None:
    price = break_even.api_usd_per_m_at(usd_per_hour=2.50, tokens_per_day=millions * 1e6)
    assert printed(price, usd)
    assert printed(100 * break_even.utilization(**BOX, api_usd_per_m=price), percent)
    assert printed(break_even.throughput(tokens_per_day=millions * 1e6, utilization=0.5), tokens_per_s)


@pytest.mark.parametrize(
    ("model_name", "host", "blended", "all_tokens", "output_tokens"),
    [
        ("Claude Sonnet 4.5", None, "5.60", "5.0", "1.1"),
        ("GPT-4o", None, "4.12", "6.7", "1.5"),
        ("GPT-4.1", None, "3.30", "8.4", "1.8"),
        ("Claude Haiku 4.5", None, "1.87", "15", "3.2"),
        ("DeepSeek R1 (deepseek-reasoner)", None, "0.905", "31", "6.6"),
        ("GPT-3.5 Turbo 0125", None, "0.716", "39", "8.4"),
        ("GPT-4o mini", None, "0.247", "112", "24"),
        ("Llama 3.1 8B", "Together (Turbo)", "0.18", "154", "33"),
        ("GPT-4.1 nano", None, "0.165", "168", "36"),
        ("Gemini 2.0 Flash", None, "0.165", "168", "36"),
        ("Llama 3.1 8B", "Groq", "0.056", "492", "106"),
        ("Llama 3.1 8B", "DeepInfra", "0.034", "809", "175"),
    ],
)
def test_the_break_even_of_each_price(model_name, host, blended, all_tokens, output_tokens) -> None:
    price = api_price(model_name, host, "2025-12-01").costs.blended_usd_per_m(MIX)
    share = break_even.utilization(**BOX, api_usd_per_m=price)
    assert printed(price, blended)
    assert printed(100 * share, all_tokens)
    riding = break_even.utilization(usd_per_hour=2.50, tokens_per_s=2500 * MIX.per_output_token, api_usd_per_m=price)
    assert printed(100 * riding, output_tokens)


def test_counting_output_or_all_tokens_of_one_measured_run() -> None:
    runs = [row for row in data.rows("published_batch_sweep") if row["model_id"] == "llama-3-8b"]
    run = max(runs, key=lambda row: row["output_tokens_per_s"])
    mix = Mix(n_input_tokens=run["n_input_tokens"], n_output_tokens=run["n_output_tokens"])
    per_m = {
        kind: usd_per_million_tokens(usd_per_hour=2.50, tokens_per_s=run["output_tokens_per_s"] * factor)
        for kind, factor in (("output", 1), ("all", mix.per_output_token))
    }
    assert run["output_tokens_per_s"] == pytest.approx(2174, rel=1e-4)
    assert run["output_tokens_per_s"] * mix.per_output_token == pytest.approx(16.9e3, rel=0.005)
    assert printed(per_m["output"], "0.32") and printed(per_m["all"], "0.041")
    assert printed(per_m["output"] / per_m["all"], "7.8")


def test_a_lone_long_request_reads_its_context_slowly_where_nobody_waits() -> None:
    """So a queue for memory is not why the measured H100 is slower than the clock; counted from its own two runs."""
    short = next(row for row in data.rows("published_batch_sweep") if row["concurrency"] == 1)
    long = next(row for row in data.rows("published_long_batches") if row["concurrency"] == 1)
    assert short["model_id"] == long["model_id"] == "llama-3-8b"
    n_in, n_out, flops_per_s = long["n_input_tokens"], long["n_output_tokens"], 989e12 / 3  # a slow prefill, to be fair
    prompt_s = (2 * 8e9 * n_in + 4 * 4096 * 32 * n_in**2 / 2) / flops_per_s
    longer_s = (long["elapsed_s"] - prompt_s) / n_out - short["elapsed_s"] / short["n_output_tokens"]
    more_bytes = (n_in + n_out / 2 - short["n_input_tokens"] - 150) * 2 * 2 * 32 * 8 * 128
    assert more_bytes / longer_s < 3.35e12 / 2


def test_the_batch_of_eight_long_requests_contradicts_itself() -> None:
    """Its tokens over its seconds are not its rate, as they are in the other batches: its runs differed; left out."""
    off = {
        (row["model_id"], row["concurrency"], row["n_input_tokens"]): row["output_tokens_per_s"]
        * row["elapsed_s"]
        / (row["concurrency"] * row["n_output_tokens"])
        for table in ("published_batch_sweep", "published_long_batches")
        for row in data.rows(table)
    }
    odd = off.pop(("llama-3-8b", 8, 16035))
    assert odd > 1.4 and all(each == pytest.approx(1, abs=0.02) for each in off.values())


def test_at_what_is_asked_for_an_h100_half_of_the_open_offers_are_out_of_reach() -> None:
    """The rent at which the article's GPU, always full, meets the median offer: what RunPod asked in November 2026."""
    offers = [price.costs.blended_usd_per_m(MIX) for price in on_file.latest("2026-11-24") if price.weights == "open"]
    turn = median(offers) * 2500 * 3600 / 1e6
    assert len(offers) == 23 and printed(turn, "3.99")
    assert on_file.rent_of("h100-sxm", terms="on demand", provider="RunPod").usd_per_gpu_hour == 3.99
    assert min(rent.usd_per_gpu_hour for rent in on_file.rents("h100-sxm") if str(rent.as_of) > "2026-05-24") > 2.50


def test_the_mix_of_the_disclosure() -> None:
    assert printed(MIX.ratio, "3.62")
    assert printed(DAY["cached_tokens"] / DAY["input_tokens"], "0.5625")
    billed = PhaseCosts(
        usd_per_m_input=DAY["input_price"],
        usd_per_m_cached=DAY["cache_read_price"],
        usd_per_m_output=DAY["output_price"],
    ).bill_usd(Mix(n_input_tokens=608e9, n_cached_tokens=342e9, n_output_tokens=168e9))
    assert billed == pytest.approx(562_100)  # 562,027 as published, from counts not rounded
    assert billed == pytest.approx(DAY["income_per_day"], rel=2e-4)


def test_agents_save_by_the_cache() -> None:
    cached = PhaseCosts(usd_per_m_input=3, usd_per_m_cached=0.3, usd_per_m_output=15)
    plain = PhaseCosts(usd_per_m_input=3, usd_per_m_output=15)
    mix = Mix(n_input_tokens=100, n_cached_tokens=90, n_output_tokens=1)
    assert plain.bill_usd(mix) * 1e6 == pytest.approx(315)
    assert cached.bill_usd(mix) * 1e6 == pytest.approx(72)


@given(rent=rents, rate=rates, low=shares, high=shares)
def test_cost_falls_with_utilization_and_the_bill_does_not(rent, rate, low, high) -> None:
    costs = [usd_per_million_tokens(usd_per_hour=rent, tokens_per_s=rate, utilization=u) for u in sorted((low, high))]
    assert costs[0] >= costs[1]
    for cost, share in zip(costs, sorted((low, high)), strict=True):
        assert isclose(cost * rate * 3600 * share / 1e6, rent, rel_tol=1e-9)


@given(rent=rents, rate=rates, price=prices, factor=more)
def test_break_even_rises_with_rent_and_falls_with_throughput_and_price(rent, rate, price, factor) -> None:
    def share(rent: float, rate: float, price: float) -> float:
        return break_even.utilization(usd_per_hour=rent, tokens_per_s=rate, api_usd_per_m=price)

    base = share(rent, rate, price)
    assert share(rent * factor, rate, price) > base
    assert share(rent, rate * factor, price) < base
    assert share(rent, rate, price * factor) < base
    assert isclose(share(rent * factor, rate * factor, price), base, rel_tol=1e-9), "their quotient is what counts"


@given(rent=rents, rate=rates, price=prices)
def test_utilization_volume_and_price_are_one_break_even(rent, rate, price) -> None:
    share = break_even.utilization(usd_per_hour=rent, tokens_per_s=rate, api_usd_per_m=price)
    volume = break_even.tokens_per_day(usd_per_hour=rent, api_usd_per_m=price)
    assert isclose(volume, share * rate * 86_400, rel_tol=1e-9)
    back = break_even.api_usd_per_m_at(usd_per_hour=rent, tokens_per_day=volume)
    assert isclose(back, price, rel_tol=1e-9)
    if share <= 1:
        at = {"tokens_per_s": rate, "utilization": share}
        assert isclose(usd_per_million_tokens(usd_per_hour=rent, **at), price, rel_tol=1e-9)
        assert isclose(break_even.throughput(tokens_per_day=volume, utilization=share), rate, rel_tol=1e-9)


@given(rent=rents, rate=rates, price=prices, share=shares)
def test_above_the_break_even_the_device_is_cheaper_and_below_it_the_api(rent, rate, price, share) -> None:
    threshold = break_even.utilization(usd_per_hour=rent, tokens_per_s=rate, api_usd_per_m=price)
    own = usd_per_million_tokens(usd_per_hour=rent, tokens_per_s=rate, utilization=share)
    if not isclose(share, threshold, rel_tol=1e-9):
        assert (own < price) == (share > threshold)


@given(n_input=counts, n_output=st.floats(1, 1e9), hit=st.floats(0, 1), low=prices, high=prices, cached=prices)
def test_a_bill_is_the_sum_of_its_kinds(n_input, n_output, hit, low, high, cached) -> None:
    mix = Mix(n_input_tokens=n_input, n_cached_tokens=n_input * hit, n_output_tokens=n_output)
    costs = PhaseCosts(usd_per_m_input=low, usd_per_m_cached=cached, usd_per_m_output=high)
    kinds = (mix.n_fresh_tokens, mix.n_cached_tokens, mix.n_output_tokens)
    by_kind = sum(n / mix.n_tokens * price for n, price in zip(kinds, (low, cached, high), strict=True))
    assert isclose(sum(kinds), mix.n_tokens, rel_tol=1e-9)
    assert isclose(costs.blended_usd_per_m(mix), by_kind, rel_tol=1e-9)
    assert min(low, cached, high) * (1 - 1e-9) <= costs.blended_usd_per_m(mix) <= max(low, cached, high) * (1 + 1e-9)
    same = PhaseCosts(usd_per_m_input=low, usd_per_m_output=high)
    assert isclose(same.bill_usd(mix), same.bill_usd(Mix(n_input_tokens=n_input, n_output_tokens=n_output)))


@pytest.mark.parametrize("utilization", [0, -0.1, 1.0001, 50, nan, inf])
def test_an_impossible_utilization_is_refused(utilization) -> None:
    for refuse in (
        lambda: usd_per_million_tokens(**BOX, utilization=utilization),
        lambda: break_even.throughput(tokens_per_day=1, utilization=utilization),
    ):
        with pytest.raises(BytebillError, match="above 0 and at most 1"):
            refuse()


@pytest.mark.parametrize("bad", [0, -1, nan, inf])
def test_what_no_rent_rate_or_price_can_be_is_refused(bad) -> None:
    for name in BOX:
        with pytest.raises(BytebillError, match="is positive, not"):
            usd_per_million_tokens(**{**BOX, name: bad})
        with pytest.raises(BytebillError, match="is positive, not"):
            break_even.utilization(**{**BOX, name: bad}, api_usd_per_m=1)
    for says, refuse in (
        ("An API price is positive", lambda: break_even.utilization(**BOX, api_usd_per_m=bad)),
        ("An API price is positive", lambda: break_even.tokens_per_day(usd_per_hour=1, api_usd_per_m=bad)),
        ("A rent is positive", lambda: break_even.tokens_per_day(usd_per_hour=bad, api_usd_per_m=1)),
        ("A rent is positive", lambda: break_even.api_usd_per_m_at(usd_per_hour=bad, tokens_per_day=1)),
        ("A volume is positive", lambda: break_even.api_usd_per_m_at(usd_per_hour=1, tokens_per_day=bad)),
        ("A volume is positive", lambda: break_even.throughput(tokens_per_day=bad, utilization=1)),
    ):
        with pytest.raises(BytebillError, match=says):
            refuse()


COSTS = PhaseCosts(usd_per_m_input=1, usd_per_m_output=1, usd_per_m_cached=1)


@pytest.mark.parametrize("bad", [-1.0, nan, inf])
@pytest.mark.parametrize(
    ("of", "name"),
    [(COSTS, f"usd_per_m_{kind}") for kind in ("input", "output", "cached")]
    + [(MIX, f"n_{kind}_tokens") for kind in ("input", "output", "cached")],
)
def test_what_no_bill_can_hold_is_refused(of, name, bad) -> None:
    with pytest.raises(BytebillError, match="zero or more"):
        replace(of, **{name: bad})


def test_traffic_that_cannot_be_is_refused() -> None:
    with pytest.raises(BytebillError, match="part of the input"):
        Mix(n_input_tokens=10, n_cached_tokens=11, n_output_tokens=1)
    with pytest.raises(BytebillError, match="at least one token"):
        Mix(n_input_tokens=0, n_output_tokens=0)


def test_traffic_and_prices_at_their_ends() -> None:
    only_input, only_output = Mix(n_input_tokens=10, n_output_tokens=0), Mix(n_input_tokens=0, n_output_tokens=10)
    assert (only_input.ratio, only_input.hit_rate) == (inf, 0) and (only_output.ratio, only_output.hit_rate) == (0, 0)
    found = Mix(n_input_tokens=8e6, n_cached_tokens=8e6, n_output_tokens=0)
    assert (found.hit_rate, found.n_fresh_tokens) == (1, 0)
    assert [replace(COSTS, usd_per_m_cached=usd).bill_usd(found) for usd in (0.0, 0.5, None)] == [0, 4, 8]
    assert replace(COSTS, usd_per_m_input=0).ratio == inf and replace(COSTS, usd_per_m_input=0.25).ratio == 4
