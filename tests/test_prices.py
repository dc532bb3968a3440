"""Prices and rents are those of the tables, the newest by a day, and never guessed."""

from __future__ import annotations

import datetime
import re

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.economics import prices
from bytebill.economics.cost import Mix
from bytebill.economics.prices import API_PRICES, RENTS, api_price, latest, listed, rent_of, rents
from bytebill.errors import BytebillError

ALL = [price for of_model in API_PRICES.values() for price in of_model]
days = st.dates(datetime.date(2025, 3, 1), datetime.date(2027, 1, 1))


def test_every_row_of_the_tables_is_there() -> None:
    assert len(ALL) == len(data.rows("api_prices")) and len(set(map(repr, ALL))) == len(ALL)
    n_rents = sum(len(rents(id)) for id in prices.RENTS)
    assert n_rents == len(data.rows("gpu_rents"))


@pytest.mark.parametrize(
    ("model_name", "host", "as_of", "per_m_input", "per_m_output", "per_m_cached"),
    [
        ("Claude Sonnet 4.5", None, None, 3, 15, 0.30),
        ("Claude Sonnet 5", None, None, 2, 10, 0.20),
        ("GPT-4.1 nano", None, None, 0.10, 0.40, 0.025),
        ("GPT-5", None, None, 1.25, 10, 0.125),
        ("DeepSeek V3 (deepseek-chat)", None, "2025-06-30", 0.27, 1.10, 0.07),
        ("DeepSeek V3 (deepseek-chat)", None, "2026-11-30", 0.28, 0.42, 0.028),
        ("Llama 3.3 70B", "Groq", None, 0.59, 0.79, None),
        ("Llama 3.3 70B", "Cerebras", None, 0.85, 1.20, None),
        ("Llama 3.3 70B", "DeepInfra (Turbo)", "2025-12-01", 0.13, 0.39, None),
        ("Llama 3.3 70B", "DeepInfra (Turbo)", "2026-12-01", 0.10, 0.32, None),
    ],
)
def test_published_prices(model_name, host, as_of, per_m_input, per_m_output, per_m_cached) -> None:
    price = api_price(model_name, host, as_of)
    found = price.input_usd_per_m, price.output_usd_per_m, price.cache_read_usd_per_m
    assert found == (per_m_input, per_m_output, per_m_cached)


def test_where_no_host_is_named_it_is_the_vendor() -> None:
    assert api_price("Mixtral 8x22B").host == "Mistral"
    with pytest.raises(BytebillError, match="name one of them as host"):
        api_price("Llama 3.3 70B")


def test_the_same_weights_at_five_hosts_differ_threefold_in_their_ratio() -> None:
    hosts = ("Together (Turbo)", "Groq", "Cerebras", "DeepInfra", "DeepInfra (Turbo)")
    ratios = [api_price("Llama 3.3 70B", host, "2025-12-01").costs.ratio for host in hosts]
    assert [f"{ratio:.2f}" for ratio in ratios] == ["1.00", "1.34", "1.41", "1.74", "3.00"]


def test_no_price_for_the_cache_means_that_it_costs_what_others_do() -> None:
    price = api_price("Llama 3.3 70B", "Groq").costs
    plain, cached = (Mix(n_input_tokens=4, n_cached_tokens=n, n_output_tokens=1) for n in (0, 2))
    assert price.blended_usd_per_m(cached) == price.blended_usd_per_m(plain)


def test_a_year_of_contracts_rose() -> None:
    first, *_, last = rents("h100-sxm", terms="1-year contract")
    assert f"{last.usd_per_gpu_hour / first.usd_per_gpu_hour - 1:.0%}" == "56%"
    assert first.as_of < last.as_of and {first.caution, last.caution} == {"read-2nd"}


@given(day=days)
def test_the_newest_by_a_day_is_never_younger_than_it(day) -> None:
    newest = latest(day)
    assert len({(price.model_name, price.host) for price in newest}) == len(newest)
    for price in newest:
        assert price.withdrawn is None or day < price.withdrawn
        pair = price.model_name, price.host, price.tier
        dates = [p.as_of for p in ALL if (p.model_name, p.host, p.tier) == pair]
        assert price.as_of == max(date for date in dates if date <= day)
    assert all(rent.as_of <= day for rent in rents("h100-sxm", as_of=day))


def test_a_name_may_stand_for_another_model_and_a_list_may_keep_what_nobody_sells() -> None:
    """As DeepSeek's price page and OpenAI's shut-down dates have it (LiteLLM 1.109.1)."""
    aliases = [api_price(f"DeepSeek {name}") for name in ("V3 (deepseek-chat)", "R1 (deepseek-reasoner)")]
    assert {price.alias_of for price in aliases} == {"DeepSeek V3.2"}
    assert len({(price.input_usd_per_m, price.output_usd_per_m) for price in aliases}) == 1
    assert api_price("DeepSeek R1 (deepseek-reasoner)", as_of="2025-03-01").alias_of == "DeepSeek R1"
    assert {price.alias_of for price in API_PRICES["Mistral Small (latest)"][:-1]} == {"not told"}
    assert not any(
        price.alias_of for price in ALL if "latest" not in price.model_name and "deepseek-" not in price.name
    )
    gpt_4 = api_price("GPT-4 (8k)", as_of="2026-11-24")  # asked by its name: its last price, and that it is gone
    assert not gpt_4.on_sale("2026-11-24") and gpt_4.on_sale("2025-12-01") and str(gpt_4.withdrawn) == "2026-10-23"
    sold = {day: {price.name for price in latest(day)} for day in ("2026-10-22", "2026-11-24")}
    assert gpt_4.name in sold["2026-10-22"] - sold["2026-11-24"]
    assert {price.name for price in latest()} > sold["2026-11-24"]  # no day is given: every last price


def test_what_is_billed_beside_input_and_output() -> None:
    opus, gemini = api_price("Claude Opus 5.5"), api_price("Gemini 3.8 Flash")
    assert (opus.cache_write_usd_per_m, opus.cache_write_1h_usd_per_m) == (5, 8)  # 1.25 and 2 times $4
    assert {opus.reasoning_tokens, gemini.reasoning_tokens} == {"as output"}
    assert (
        api_price("GPT-4o").reasoning_tokens is None
        and api_price("gpt-oss-120b", "Groq").reasoning_tokens == "not said"
    )
    for price in ALL:
        if hour := price.cache_write_1h_usd_per_m:
            assert hour == pytest.approx(2 * price.input_usd_per_m) and hour > price.cache_write_usd_per_m
    long = api_price("GPT-5.4", tier="long prompt")
    assert (long.input_usd_per_m, long.output_usd_per_m) == (5, 22.5)
    assert api_price("DeepSeek V4 Flash", tier="off peak").input_usd_per_m == 0.15


def test_a_rent_is_named_by_terms_provider_and_day() -> None:
    every = [rent for of_device in RENTS.values() for rent in of_device]
    assert len({(r.device_id, r.terms, r.provider, r.as_of, r.n_gpus) for r in every}) == len(every)
    for rent in every:
        found = rent_of(rent.device_id, terms=rent.terms, provider=rent.provider, as_of=rent.as_of)
        assert found.as_of == rent.as_of and found.n_gpus <= rent.n_gpus
    lambda_ = {"terms": "on demand", "provider": "Lambda"}
    assert rent_of("h100-sxm", **lambda_).usd_per_gpu_hour == 4.29  # one card; eight of them for $3.99 each
    newest = [
        rent_of("h100-sxm", terms="on demand", provider="RunPod", as_of=day).usd_per_gpu_hour
        for day in ("2026-10-01", "2026-11-24")
    ]
    assert newest == [3.49, 3.99]


@given(price=st.sampled_from(ALL), ratio=st.floats(0, 200))
def test_a_blended_price_lies_between_those_of_input_and_output(price, ratio) -> None:
    low, high = sorted((price.input_usd_per_m, price.output_usd_per_m))
    assert (
        low * (1 - 1e-9)
        <= price.costs.blended_usd_per_m(Mix(n_input_tokens=ratio, n_output_tokens=1))
        <= high * (1 + 1e-9)
    )


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: api_price("GPT-4.1 nan"), "nearest: GPT-4.1 nano"),
        (lambda: api_price("Llama 3.3 70B", "Grok"), "nearest: Groq"),
        (lambda: api_price("Llama 3.3 70B"), "name one of them as host"),
        (lambda: api_price("GPT-4.1 nano", as_of="2025-03-01"), "the first is of 2025-06-15"),
        (lambda: api_price("GPT-4o", as_of="yesterday"), "A date is written as"),
        (lambda: rents("h100"), "nearest: h100"),
        (lambda: rents("h100-sxm", terms="forever"), "no rent of h100-sxm on terms 'forever'"),
        (lambda: rent_of("h100-sxm", terms="on demand"), "by AWS, Azure, .*; name one of them as provider"),
        (lambda: rent_of("h100-sxm", terms="on demand", provider="RunPad"), "nearest: RunPod"),
        (lambda: rent_of("h100-sxm", terms="1-year contract", as_of="2025-01-01"), "no rent of h100-sxm, 1-year"),
        (lambda: rent_of("h100-sxm", provider="AWS"), "name them"),
        (lambda: rent_of("h100-sxm", as_of="2026-11-24"), "name them"),
        (lambda: rents("h100-sxm", terms="1-year contract", provider="RunPod"), "at a provider 'RunPod'"),
        (lambda: api_price("GPT-4o", tier="free"), "no free price of GPT-4o at OpenAI"),
        (lambda: latest("yesterday"), "A date is written as"),
    ],
)
def test_what_is_not_on_file_is_an_error_that_helps(ask, says) -> None:
    with pytest.raises(BytebillError, match=says):
        ask()


def test_tiers_are_kept_apart() -> None:
    assert {price.tier for price in latest()} == {"standard"}
    assert {price.tier for price in latest(tier="batch")} == {"batch"}
    tiers = {price.tier for price in ALL}
    assert sum(len(listed(tier=tier)) for tier in tiers) == len(ALL) and len(tiers) > 1


def test_the_newest_prices_stand_in_the_order_of_the_list() -> None:
    assert [price.name for price in latest()] == list(dict.fromkeys(price.name for price in listed()))


@pytest.mark.parametrize("as_of", [None, "2026-10-01"])
@pytest.mark.parametrize(
    ("terms", "provider"),
    [(None, None), (None, "RunPod"), ("on demand", None), ("on demand", "RunPod"), ("1-year contract", None)],
)
def test_rents_are_those_of_the_terms_the_provider_and_the_days_asked_for(terms, provider, as_of) -> None:
    found = rents("h100-sxm", terms=terms, provider=provider, as_of=as_of)
    wanted = [
        rent
        for rent in sorted(RENTS["h100-sxm"], key=lambda rent: rent.as_of)
        if (not terms or rent.terms == terms)
        and (not provider or rent.provider == provider)
        and (not as_of or rent.as_of <= datetime.date.fromisoformat(as_of))
    ]
    assert list(found) == wanted and wanted


def test_nobody_picks_a_rent_by_its_place() -> None:
    """`rent_of` says which rent is meant; the first or last of a list is whatever was filed."""
    places = re.compile(r"next\([^\n]*\brents\(|\brents\([^)\n]*\)\[")
    root = data.REPOSITORY
    texts = {path: path.read_text(encoding="utf-8") for path in (root / "lib").rglob("*.py")}
    for path in (root / "notebooks").glob("*.ipynb"):
        code = (cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        texts[path] = "\n".join(code)
    assert not [path.stem for path, text in texts.items() if places.search(text)]
