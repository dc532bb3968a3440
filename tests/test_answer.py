"""What the calculator's page is answered: its rows, marks, levers, hosts and snippets."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil, exp, inf
from types import SimpleNamespace

import pytest

from bytebill.economics.prices import api_price, rent_of
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, accelerator
from bytebill.memory import Footprint
from bytebill.models import MODELS, PUBLISHED
from bytebill.programs import program
from bytebill.roofline import Chunk, Load
from bytebill.sim.phase_time import phase_time
from bytebill.statement import HELD_SHARE, fill, statement
from bytebill.statement import answer as answering
from bytebill.statement.answer import answer, answer_text, form_of
from bytebill.statement.fields import FORM_FIELDS, on_sale, read_fields
from bytebill.statement.form import Form
from bytebill.statement.lever_words import ASSUMES, assumed_by, effect_told, times_told
from bytebill.statement.levers import LeverEffect, as_filled
from bytebill.statement.offers import Offer
from bytebill.statement.reverse import CONTRACT, Hosts, hosts_of, levers_of, pays_from, questions
from bytebill.statement.snippet import run_snippet, snippet_text
from statement_cases import CHAT, LEVERS, VLLM

FIELDS = {  # a number: default, low, high, unit, whole, what it says when it is empty; a choice: default, what there is
    "m": ("llama-3.1-70b", [*PUBLISHED, *(id for id in MODELS if id not in PUBLISHED)]),
    "w": ("auto", ["auto", "bf16", "fp8", "int8", "nvfp4", "int4", "mxfp4"]),
    "kv": ("bf16", ["bf16", "fp8"]),
    "gpu": ("h100-sxm", [*ACCELERATORS]),
    "n": ("4", 1, 64, "", True, ""),
    "attn": ("tensor", ["tensor", "data"]),
    "by": ("vllm", ["vllm", "sglang", "trtllm"]),
    "in": ("1155", 1, 1_000_000, "tokens", True, ""),
    "out": ("211", 1, 1_000_000, "tokens", True, ""),
    "hit": ("0", 0, 99, "%", False, ""),
    "load": ("rate", ["rate", "users"]),
    "rps": ("40", 0.0001, 100_000, "", False, ""),
    "users": ("300", 1, 1_000_000, "", True, ""),
    "peak": ("1.33", 1, 100, "", False, ""),
    "ttft": ("2", 0.001, 3600, "s", False, "no limit"),
    "tpot": ("50", 0.1, 100_000, "ms", False, "no limit"),
    "fill": ("60", 0.1, 100, "%", False, ""),
    "found": ("", 0, 4_294_967_295, "", True, "assumed"),
    "rent": ("", 0.01, 1000, "USD/h a device", False, "as on file"),
    "api": ("Claude Sonnet 5", ["", *sorted({each.model_name for each in on_sale() if each.weights == "closed"})]),
    "price": ("", 0.001, 100_000, "USD a million output", False, "none"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_the_form_takes_what_it_says(name):
    field, (default, *rest) = FORM_FIELDS[name], FIELDS[name]
    assert list(FORM_FIELDS) == list(FIELDS) and field.default == default == field.read(default) == field.read("x y")
    if field.options:
        assert sorted(field.options()) == sorted(*rest) and [field.read(each) for each in rest[0]] == rest[0]
        return
    low, high, *_, whole, empty = rest
    assert [field.low, field.high, field.unit, field.whole, field.empty] == rest
    ends = [field.read(f"{each:.17g}") for each in (low, low - 1, high, 2 * high)]
    assert [*map(float, ends)] == [low, low, high, high]
    assert float(field.read(f"{low + 0.75:g}")) == (low + 1 if whole else low + 0.75)
    assert field.read("") == field.read(" ") == ("" if empty else default)


def test_a_number_of_the_form_is_read_up_to_forty_characters_and_what_is_none_is_the_default():
    long = "7".zfill(40)
    assert [FORM_FIELDS["n"].read(each) for each in (long, long + "1")] == ["7", "7"]
    assert [FORM_FIELDS["n"].read(each) for each in ("inf", "nan", "1e400")] == ["4", "4", "4"]
    assert read_fields({"n": 7, "in": None, "hit": "7"}) == read_fields({}) | {"hit": "7"}


def rows_of(found, section):
    return {row["name"]: row for part in found["sections"] if part["id"] == section for row in part["rows"]}


@pytest.mark.parametrize(
    ("share", "percents"), [(0.0004, "0.1"), (0.0567, "5.7"), (0.0996, "10"), (0.1, "10"), (0.567, "57"), (1.0, "100")]
)
def test_a_fill_is_told_in_whole_percents_or_in_tenths_below_ten(monkeypatch, share, percents):
    monkeypatch.setattr(fill, "usable_of", lambda *_, **__: share)
    assert fill.search_fill(CHAT) == (percents, "")


def test_a_fill_that_no_limit_leaves_is_a_sentence_and_no_number(monkeypatch):
    assert fill.search_fill(replace(CHAT, tpot_slo_s=0.001))[0] == ""

    def none(*_, **__):
        raise BytebillError("None in time; take a lower attainment.")

    monkeypatch.setattr(fill, "usable_of", none)
    share, sentence = fill.search_fill(CHAT)
    assert share == "" and sentence.startswith("None in time; these limits") and "attainment" not in sentence


@pytest.mark.parametrize(
    ("usd_per_s", "at_scale", "once", "always"),
    [
        (1.2341, 0.8, 1.24, 4.94),  # five replicas' price at scale is four's at the host: 4 * 1.2341
        (123.41, 0.5, 124, 124),
        (0.0012341, 0.5, 0.00124, 0.00124),
        (9.991, 0.1, 10, 10),
        (9.99, 0.1, 9.99, 9.99),
        (1.2341, 1.0, 1.2341, None),
    ],
)
def test_rates_from_which_a_replica_pays_are_rounded_up_to_three_digits(usd_per_s, at_scale, once, always):
    assert pays_from(usd_per_s, 1.0, at_scale) == (once, always)


def test_the_page_of_the_calculator_says_the_arithmetic_of_a_replica():
    """80 layers keep a key and a value of 8 heads, 128 wide, 2 bytes each, of every token of the 80 at once."""
    found = answer({}, quick=True)
    speed, money = rows_of(found, "speed"), rows_of(found, "money")
    held_bytes = 80 * (1155 + 211 / 2) / HELD_SHARE * 80 * 2 * 8 * 128 * 2 / 4
    assert {part["name"]: part["value"] for part in found["memory"]["parts"]}["cache in use"] == pytest.approx(
        held_bytes
    )
    per_s = speed["That is"]["value"]
    assert speed["A full replica gives"]["value"] == pytest.approx(per_s * 211)
    assert speed["One user gets"]["value"] * speed["Each further one (TPOT)"]["value"] == pytest.approx(1)
    needed = 40 * 1.33 / (per_s * 0.6)
    assert money["… if replicas came in fractions"]["value"] == pytest.approx(needed * 4 * 3.49 / 3600 / 40 / 211 * 1e6)
    assert money["Replicas"]["value"] == ceil(needed) and money["Devices"]["value"] == 4 * ceil(needed)


@pytest.mark.parametrize("hit", ["0", "50"])
def test_a_million_in_and_a_million_out_are_apart_by_the_device_time_that_each_takes(hit):
    case = Form.read(form_of(read_fields({"hit": hit}))).case
    batch_size = statement(case).batch_size
    money = rows_of(answer({"hit": hit}, quick=True), "money")
    each_in, each_out = (
        money[name]["value"] for name in ("Shared by device time: a million in", "… and a million out")
    )
    counts = {"batch_size": batch_size, "n_input_tokens": 1155, "n_output_tokens": 211}
    assert each_out / each_in == pytest.approx(phase_time(case.clock, **counts, hit_rate=float(hit) / 100).ratio)


def test_the_roof_is_the_devices_and_both_steps_stand_under_it():
    found = answer({}, quick=True)["roofline"]
    assert (found["peak"], found["bandwidth"]) == (989.4e12, 3.35e12)
    assert found["ridge"] == pytest.approx(989.4 / 3.35)
    prompt, decode = found["points"]
    assert (
        prompt["bound"] == "compute" and decode["bound"] == "bandwidth" and prompt["x"] > found["ridge"] > decode["x"]
    )
    assert 0.1 * found["peak"] < prompt["y"] < found["peak"] and decode["y"] < decode["x"] * found["bandwidth"]


def test_notes_beside_a_price_come_at_their_bounds():
    near, under = (" ".join(answer({"fill": text}, quick=True)["notes"]) for text in ("90", "89.9"))
    assert "A fill near one" in near and "A fill near one" not in under
    small, large = (rows_of(answer({"rps": text}, quick=True), "money") for text in ("0.1", "1000"))
    assert small["Invoice, a month"]["printed"].endswith("(same fleet at both ends)")
    low, high = large["Invoice, a month"]["printed"].replace(",", "").rstrip(")").split("(")[1].split(" to ")
    assert float(low) < large["Invoice, a month"]["value"] < float(high)


def test_what_is_asked_the_other_way_round_is_the_arithmetic_of_one_replica():
    found = answer({})
    rows = {name.partition(" beats")[0]: row for name, row in rows_of(found, "reverse").items()}
    offer = next(iter(rows_of(found, "offers").values()))["value"] / (40 * 3600 * 730)
    per_s = rows_of(found, "speed")["That is"]["value"]
    share = rows["Utilization from which it"]["value"]
    assert 0 <= share - 4 * 3.49 / 3600 / (per_s * offer) < 0.001 and round(share, 3) == share
    rent = rows["Highest rent that"]["value"]
    invoice = rows_of(found, "money")["Invoice, a month"]["value"]
    assert 0 <= 3.49 * offer * 40 * 3600 * 730 / invoice - rent < 0.01
    none = rows_of(answer({"rps": "0.0001"}), "reverse")
    assert next(row for name, row in none.items() if name.startswith("Highest rent"))["printed"].startswith("none of a")


A_YEAR = rent_of("h100-sxm", terms=CONTRACT).usd_per_gpu_hour
H200, B200 = (accelerator(id).name for id in ("h200-sxm", "b200"))


@pytest.mark.parametrize(
    ("fields", "there", "gone"),
    [
        ({}, {H200, "half to Llama-3.1-8B", "contract for a year"}, {B200}),
        ({"gpu": "h200-sxm"}, {B200}, {H200}),
        ({"gpu": "b200"}, set(), {B200, H200}),
        ({"m": "llama-3.1-8b", "n": "1"}, {H200}, {"half to Llama-3.1-8B"}),
        ({"rent": "0.5"}, {H200}, {"contract for a year"}),
        ({"rent": f"{A_YEAR}"}, {H200}, {"contract for a year"}),
        ({"rent": f"{A_YEAR + 0.01}"}, {H200, "contract for a year"}, set()),
    ],
)
def test_a_lever_that_would_change_nothing_is_no_row(fields, there, gone):
    case = Form.read(form_of(read_fields(fields))).case
    names = {pulled.lever.name for pulled, _ in levers_of(case)}
    assert there <= names and not gone & names


@pytest.mark.parametrize(
    ("usd", "factor", "in_place", "told"),
    [
        (1234.4, 2.0, False, "saves USD 1,234 a month, 2 times cheaper at scale"),
        (0.6, 1.004, False, "saves USD 1 a month, the same at scale"),
        (0.4, 0.996, False, "the same invoice, the same at scale"),
        (-0.4, 0.5, False, "the same invoice, 2 times dearer at scale"),
        (-700.0, 0.99, False, "USD 700 a month more, 1.01 times dearer at scale"),
        (700.0, 4.0, True, "without it USD 700 a month more, 4 times dearer at scale"),
    ],
)
def test_a_levers_effect_is_told_from_half_a_dollar_and_half_a_percent_on(usd, factor, in_place, told):
    lever = replace(LEVERS[0], in_place=in_place)
    assert effect_told(LeverEffect(lever=lever, saved_usd=usd, factor=factor, bytes_factor=1.0)) == told


def test_a_snippet_prints_twenty_thousand_characters_at_most():
    printed = [run_snippet(f"print('x' * {n}, end='')")["printed"] for n in (19_999, 20_000, 20_001)]
    assert [len(each) for each in printed] == [19_999, 20_000, 20_000]


def test_fields_are_told_to_a_form_in_its_units():
    given = {"hit": "50", "fill": "70", "tpot": "40", "ttft": "3", "rent": "2", "rps": "7", "peak": "1.5", "out": "9"}
    found = form_of(read_fields(given))
    names = "hit_rate fill tpot_slo_s ttft_slo_s usd_per_device_hour requests_per_s peak_over_mean n_output_tokens"
    assert [found[name] for name in names.split()] == pytest.approx([0.5, 0.7, 0.04, 3, 2, 7, 1.5, 9])
    one = form_of(read_fields({"out": "1", "ttft": ""}))
    assert (one["tpot_slo_s"], one["ttft_slo_s"]) == (None, None)


def test_hosts_are_of_the_model_itself_by_its_own_name_or_another_and_of_one_closed_model():
    for id, names in (("llama-3.1-70b", {"Llama 3.1 70B", "Llama 3.3 70B"}), ("gpt-oss-120b", {"gpt-oss-120b"})):
        found = statement(Form.read(form_of(read_fields({"m": id}))).case)
        assert {offer.price.model_name for offer in hosts_of(found).same} == names, id
        assert hosts_of(found).other == hosts_of(found, closed="Llama 3.3 70B").other == ()
    assert {offer.price.model_name for offer in hosts_of(found, closed="GPT-4o").other} == {"GPT-4o"}


def test_the_verdict_of_hosts_is_their_rows_over_the_invoice():
    found = answer({}, quick=True)
    invoice = rows_of(found, "money")["Invoice, a month"]["value"]
    rows = [row["value"] for name, row in rows_of(found, "offers").items() if not name.startswith("another")]
    *first, last = [f"{usd / invoice:.0%}" for usd in rows]
    told = f"{len(rows)} offers by hosts of this model on file would ask {', '.join(first)} and {last} of this."
    assert first and found["notes"][0] == told and rows == sorted(rows)
    alone = answer({"m": "llama-3-8b", "n": "1"}, quick=True)
    (usd,) = [row["value"] for name, row in rows_of(alone, "offers").items() if not name.startswith("another")]
    share = f"{usd / rows_of(alone, 'money')['Invoice, a month']['value']:.0%}"
    assert alone["notes"][0] == f"1 offer by a host of this model on file would ask {share} of this."


def test_a_token_waits_for_its_step_and_for_others_prompts():
    found = answer({}, quick=True)
    step = rows_of(found, "step")
    beside = step["… others' prompts alone"]["value"] + step["A decode step takes"]["value"]
    assert beside == pytest.approx(rows_of(found, "speed")["Each further one (TPOT)"]["value"])


def printed(section):
    return [row["printed"] for row in section["rows"]]


def test_rows_of_speed_are_a_statements_numbers(typed):
    section = answering._speed(typed())
    assert printed(section) == [
        "1,234 at once in a replica",
        "TPOT",
        "1.23 s",
        "40.4 ms",
        "24.8 tokens/s",
        "2,110 output tokens/s",
        "10 requests/s",
    ]
    values = [row["value"] for row in section["rows"]]
    assert values[0] == 1234 and values[2:] == pytest.approx([1.2346, 0.0404, 1 / 0.0404, 2110, 10])


@pytest.fixture
def money(typed):
    """5.32 replicas, USD 52,560 over 52,560,000 requests; half as fast eleven of them, and at the other end nobody."""
    found = typed(requests_per_s=20, rentals=(), hit_rate=0.0, program="vllm")
    answered = answering._Answered(found)
    answered.__dict__["ends"] = (replace(found, capacity_per_s=5.0), None)
    return answering._money(answered, "50%, as I say")


def test_rows_of_money_are_a_statements_numbers(money):
    told = ["20", "6 (5.32 are needed)", "24", "50%, as I say", "33.3%"]
    assert printed(money)[1:6] == told and printed(money)[7] == "USD 1.00"
    at_scale = 5.32 * 12 / 3600 / 20 / 211 * 1e6
    assert printed(money)[9] == f"USD {at_scale:.2f}"
    values = [row["value"] for row in money["rows"]]
    assert values[:8] == pytest.approx([3, 20, 6, 24, 0.5, 1 / 3, 52560, 1])
    assert values[8:10] == pytest.approx([1e3 / 211, at_scale])


def test_rows_of_money_tell_both_ends_of_the_clocks_error(money):
    clock = replace(CHAT, program="vllm").clock
    ratio = phase_time(clock, batch_size=1234, n_input_tokens=1155, n_output_tokens=211).ratio
    usd_in = 1e3 / (1155 + ratio * 211)
    assert [printed(money)[row] for row in (6, 8)] == [
        "USD 52,560 (96,360 to not within the limits)",
        "USD 4.74 (8.69 to not within the limits)",
    ]
    for row, usd in ((10, usd_in), (11, ratio * usd_in)):
        assert printed(money)[row] == f"USD {usd:.2f} ({usd * 11 / 6:.2f} to not within the limits)"
        assert money["rows"][row]["value"] == pytest.approx(usd)
    assert f"may be {exp(VLLM.error) - 1:.0%} off" in money["note"]


def test_a_headline_says_when_both_ends_need_the_same_fleet(typed):
    answered = answering._Answered(typed())
    answered.__dict__["ends"] = (typed(), typed())
    assert answering._headline(answered) == (
        "Llama-3-70B on 44 x H100 SXM5: USD 87,600 a month, USD 3.95 (same fleet at both ends) per million output "
        "tokens, input included,"
    )


def test_a_clock_is_too_slow_at_one_end_of_its_error_and_too_fast_at_the_other():
    case = replace(CHAT, program="vllm")
    low, high = answering._Answered(statement(case)).ends
    assert [low.case.speed, high.case.speed] == pytest.approx([exp(VLLM.error), exp(-VLLM.error)])
    tight = replace(case, tpot_slo_s=case.tpot_s(1) * 1.01)
    low, high = answering._Answered(statement(tight)).ends
    assert low.tpot_s <= tight.tpot_slo_s and high is None


@pytest.mark.parametrize(
    ("users", "longest", "fewest", "told"),
    [
        ((320, 276, 348), 4716, 4, ["yes", "2.00 GB (1.86 GiB)", "320 (276 to 348)", "4,716 tokens", "4"]),
        (
            (5, 0, 1234),
            0,
            None,
            [
                "perhaps: not if all that is uncertain takes most",
                "2.00 GB (1.86 GiB)",
                "5 (0 to 1,234)",
                "none",
                "no even group of up to 64",
            ],
        ),
        ((0, 0, 3), 0, 8, ["no", "2.00 GB (1.86 GiB)", "0 (0 to 3)", "none", "8"]),
    ],
)
def test_rows_of_what_fits_are_what_a_footprint_says(users, longest, fewest, told):
    at = dict(zip(("value", "high", "low"), users, strict=True))
    served = SimpleNamespace(
        users=lambda n, corner: at[corner] if n == 1366 else None,
        longest_context=lambda n: longest if n == 1 else None,
        weight_bytes=2e9,
    )
    case = SimpleNamespace(n_input_tokens=1155, n_output_tokens=211, fewest_devices=fewest)
    section = answering._fits(served, case)
    assert printed(section) == told
    assert [row["value"] for row in section["rows"]] == [float(users[0] > 0), None, users[0], longest, fewest]
    assert (answering._perhaps(served, case) == "") == (users[1] > 0)


def test_a_cache_in_use_is_no_more_than_there_is_room_for(typed):
    served = Footprint(deployment=CHAT.deployment, program=program("vllm"))
    room = served.at("value").cache_bytes
    for n, held in ((1234, room), (8, 8 * CHAT.deployment.user_bytes((1155 - 288 + 105.5) / HELD_SHARE) / 4)):
        memory = answering._memory(served, replace(typed(), batch_size=n))
        assert [part["value"] for part in memory["parts"][-2:]] == pytest.approx([held, room - held])
    assert [part["value"] for part in answering._memory(served, None)["parts"][-2:]] == pytest.approx([0, room])


def test_a_step_without_others_prompts_waits_for_its_own_longest_part(typed):
    section = answering._step(replace(typed(hit_rate=0.0), tpot_s=0.0, batch_size=1))
    rows = {row["name"]: row for row in section["rows"]}
    assert rows["… others' prompts alone"]["value"] == 0
    assert (
        rows["… and with others' prompts"]["printed"] == rows["Longest part of the step itself"]["printed"] == "weights"
    )


def test_points_under_a_roof_are_a_steps_arithmetic_over_its_bytes_and_its_time():
    case = replace(CHAT, hit_rate=0.5, ttft_slo_s=inf)
    found = statement(case)
    loads = (
        Load(chunks=(Chunk(context_len=577, n_new_tokens=578),)),
        Load.decode(batch_size=found.batch_size, context_len=1260),
    )
    for point, load in zip(answering._roofline(found)["points"], loads, strict=True):
        cost = CHAT.deployment.step_cost(load)
        assert (point["x"], point["y"]) == pytest.approx(
            (cost.flops / cost.bytes, cost.flops / CHAT.clock.step_s(load) / 4)
        )


@pytest.mark.parametrize(
    ("given", "quick", "ids"),
    [
        ({}, True, "fits speed step money offers"),
        ({}, False, "fits speed step money offers reverse levers in-place"),
        ({"n": "1"}, False, "fits"),
        ({"n": "3"}, False, ""),
    ],
)
def test_an_answer_has_the_parts_that_could_be_answered(given, quick, ids):
    found = answer(given, quick=quick)
    assert [part["id"] for part in found["sections"]] == ids.split()
    priced = "money" in ids
    assert (
        (found["refused"] is None) == priced == bool(found["headline"]) == bool(found["yaml"]) == bool(found["notes"])
    )
    assert (found["markdown"] != "") == (priced and not quick) and (found["roofline"] is not None) == priced
    assert (found["memory"] is not None) == bool(ids)


@pytest.mark.parametrize(
    ("usd_per_request", "rent", "share", "traffic"),
    [
        (
            11 / 24_000,
            "USD 1.50 an hour a device",
            "72.8%",
            "at no rate: at this fill and peak, full replicas ask more",
        ),
        (1e-9, "none of a cent or more", "at none: 33333333.4% would be needed", "at no rate"),
        (0.0017734, "USD 5.80 an hour a device", "18.8%", "1.88 requests/s, and always beyond"),
        (
            0.0011083,
            "USD 3.62 an hour a device",
            "30.1%",
            "3.01 requests/s, dearer again at each new replica; always beyond 15.1",
        ),
    ],
)
def test_a_host_is_beaten_by_a_rent_a_utilization_and_a_rate(typed, usd_per_request, rent, share, traffic):
    """A replica costs USD 12 an hour and serves 36,000 requests; eleven of them USD 96,360 for 105,120,000."""
    found = typed(rentals=())
    price = api_price("Llama 3.3 70B", host="Groq")
    month = usd_per_request * 105_120_000
    offer = Offer(price=price, cache="none", usd_per_request=usd_per_request, usd_per_month=month)
    stub = SimpleNamespace(longest_context=lambda n: 7 if n == 1234 else None, users=lambda n: 1000 + n)
    asked = [*questions(found, Hosts(same=(offer,), other=()), stub)]
    told = {name: said for name, said, _ in asked}
    assert [*told.values()][:2] == ["7 tokens", "2,366"]
    at = price.name
    assert (told[f"Highest rent that beats {at}"], told[f"Utilization from which it beats {at}"]) == (rent, share)
    assert told[f"Traffic from which it beats {at}"].startswith(traffic)
    assert (asked[2][2] is None) == rent.startswith("none") and (asked[4][2] is None) == traffic.startswith("at no")


@pytest.mark.parametrize(
    ("code", "printed", "wrong"),
    [
        ("def f():\n    1 / 0\n\nf()", "", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('')", "", "line 2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("print(1)\nNone", "1\n", None),
        ("display(3)", "3\n", None),
        ("x = 3", "", None),
        ("__name__", "'__main__'\n", None),
        ("'a'\n'b'", "'b'\n", None),
        ("'\ud800'", "", "line 1: UnicodeEncodeError: 'utf-8' codec can't encode character"),
    ],
)
def test_a_snippet_shows_its_last_value_or_the_line_that_went_wrong(code, printed, wrong):
    found = run_snippet(code)
    assert found["printed"] == printed and (found["wrong"] or "").startswith(wrong or "")
    assert (found["wrong"] is None) == (wrong is None)


def test_a_snippet_is_asked_and_answered_as_json():
    assert snippet_text(json.dumps("print('é')")) == '{"printed": "é\\n", "wrong": null}'


def test_a_page_asks_for_all_or_quickly_or_for_a_fill(monkeypatch):
    monkeypatch.setattr(answering, "answer", lambda given, quick=False: {"…": [given, quick]})
    monkeypatch.setattr(answering, "fill_of", lambda given: {"fill": given})
    texts = [answer_text(json.dumps({"what": what, "fields": {"n": "4"}})) for what in ("all", "quick", "fill")]
    assert texts == ['{"…": [{"n": "4"}, false]}', '{"…": [{"n": "4"}, true]}', '{"fill": {"n": "4"}}']


def test_a_fill_that_is_found_has_its_mark_and_one_that_is_not_has_that_of_its_limits(monkeypatch):
    fields = {"n": "4", "in": "900"}
    asked = read_fields(fields)
    monkeypatch.setattr(answering, "search_fill", lambda case: ("41", ""))
    marked = {"refused": None, "fill": "41", "found": fill.fill_mark(asked | {"fill": "41"})}
    assert answering.fill_of(fields) == answering.fill_of(fields | {"config": 7}) == marked
    monkeypatch.setattr(answering, "search_fill", lambda case: ("", "No."))
    none = {"refused": "No.", "fill": None, "found": None, "limits": fill.limits_mark(asked)}
    assert answering.fill_of(fields) == none
    assert "split evenly" in answering.fill_of({"n": "3"})["refused"]


def test_a_pasted_model_begins_with_a_brace_and_a_blank_is_none():
    asked = read_fields({})
    assert form_of(asked, "  {}")["model"] == "  {}" and form_of(asked, " \n")["model"] == "llama-3.1-70b"
    with pytest.raises(BytebillError, match="begins with a brace"):
        form_of(asked, "x{}")


def test_the_cheapest_host_is_the_first_of_the_same_model():
    found = statement(replace(CHAT, requests_per_s=1.0))
    hosts = hosts_of(found, closed="GPT-4o")
    assert hosts.cheapest == hosts.same[0] and hosts.offers == hosts.same + hosts.other and hosts.other
    usd = [offer.usd_per_month for offer in hosts.same]
    assert usd == sorted(usd) and len(usd) > 1
    assert Hosts(same=(), other=hosts.other).cheapest is None


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ((0.5,), "1 offer by a host of this model on file would ask 50% of this."),
        ((0.0049, 0.006), "2 offers by hosts of this model on file would ask under 1% and 1% of this."),
        ((0.1, 0.2, 12.345), "3 offers by hosts of this model on file would ask 10%, 20% and 1,234% of this."),
        ((), "No host of this model is on file."),
    ],
)
def test_offers_of_hosts_are_told_as_shares_of_the_invoice(typed, shares, told):
    same = tuple(SimpleNamespace(usd_per_month=87_600 * share) for share in shares)
    assert answering._verdict(typed(), Hosts(same=same, other=())) == told


@pytest.mark.parametrize(
    ("id", "fill", "n_out", "tpot", "n_notes"),
    [
        ("h100-sxm", 0.9, 2, "50", 2),
        ("h100-sxm", 0.89, 1, "50", 2),
        ("h100-sxm", 0.89, 1, "", 1),
        ("mi300x", 0.95, 1, "50", 4),
    ],
)
def test_notes_are_as_many_as_there_is_to_know(typed, id, fill, n_out, tpot, n_notes):
    case = typed(fill=fill, n_output_tokens=n_out, n_hidden_tokens=0).case.on(accelerator=accelerator(id))
    notes = answering._notes(replace(typed(), case=case), Hosts(same=(), other=()), {"tpot": tpot})
    assert len(notes) == n_notes and notes[0] == "No host of this model is on file."


def test_choices_are_labelled_and_what_is_served_today_comes_first():
    labels = {name: field.options() for name, field in FORM_FIELDS.items() if field.options}
    assert list(labels["m"])[: len(PUBLISHED)] == list(PUBLISHED) and labels["m"]["llama-3.1-8b"] == "Llama-3.1-8B"
    assert labels["gpu"]["h100-sxm"] == "H100 SXM5" and labels["by"]["trtllm"] == "TensorRT-LLM"
    assert next(iter(labels["w"].items())) == ("auto", "as published") and labels["kv"] == {
        "bf16": "bf16",
        "fp8": "fp8",
    }
    assert labels["load"] == {"rate": "requests a second", "users": "requests at once"}
    assert labels["attn"] == {"tensor": "devices share heads", "data": "each its own users"}
    assert next(iter(labels["api"].items())) == ("", "none") and labels["api"]["GPT-4o"] == "GPT-4o"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("half to Llama-3.1-8B", "if half of the requests are as well answered by the smaller model"),
        ("contract for a year", "C"),
        ("H200 SXM", "F"),
        ("8-bit cache", "if quality holds"),
        ("limits twice as long", "if users wait twice as long, at the same fill"),
    ],
)
def test_a_lever_says_what_it_takes_for_granted(name, told):
    pulled = LeverEffect(lever=replace(LEVERS[0], name=name), saved_usd=1.0, factor=1.0, bytes_factor=1.0)
    assert assumed_by(pulled, faster="F", contract="C") == told
    plain = {lever.name for lever in LEVERS} - {"half to Llama-3-8B", "contract for a year", "H200 SXM"}
    assert {*ASSUMES} == plain


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (1.004, "the same at scale"),
        (0.996, "the same at scale"),
        (1.006, "1.01 times cheaper at scale"),
        (0.994, "1.01 times dearer at scale"),
        (12.34, "12.3 times cheaper at scale"),
    ],
)
def test_a_factor_is_told_from_half_a_percent_on(factor, told):
    assert times_told(factor) == told


def test_levers_of_the_page_are_at_rents_on_file_and_promise_slots_for_the_longest():
    case = Form.read(form_of(read_fields({}))).case
    told = {pulled.lever.name: (pulled.lever, assumed) for pulled, assumed in levers_of(case)}
    h200_usd = rent_of("h200-sxm").usd_per_gpu_hour
    assert told["contract for a year"][1] == f"at USD {A_YEAR:,.2f} an hour a device, paid all year"
    assert told[H200][1].startswith(f"at USD {h200_usd:,.2f} an hour a device, on the cheapest even group")
    moved = {name: lever.move(case, as_filled)[0] for name, (lever, _) in told.items()}
    assert moved["contract for a year"].usd_per_device_hour == A_YEAR and moved[H200].usd_per_device_hour == h200_usd
    assert moved["paging the cache"].reserved_tokens == case.deployment.model.context_len == 131_072
