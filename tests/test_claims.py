"""The rule of verdicts: every word can be reached, a word turns when its numbers do, and an edge says what decides."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from bs4 import BeautifulSoup

from bytebill import data
from bytebill.claims import (
    CLAIMS,
    MIME,
    SIGNS,
    beside,
    found,
    judge,
    ledger,
    pin,
    pin_that,
    pins,
    reach,
    register,
    rule,
    view,
)
from bytebill.claims.register import Claim, ClaimPart
from bytebill.errors import BytebillError
from sample_verdicts import SAMPLES

FIGURE = ClaimPart(key="f", kind="figure", text="a price", stated=10.0)
ALONE = {"f": FIGURE}
SENTENCES = {f"d{n}": ClaimPart(key=f"d{n}", kind="direction", text=f"sentence {n}", low=1.0) for n in range(3)}
CAUSE = {"c": ClaimPart(key="c", kind="cause", text="the reason", low=0.5)}
JUDGED = [
    content
    for path in sorted(data.REPOSITORY.glob("notebooks/*.ipynb"))
    for content in ledger.verdicts_in(path)
    if "word" in content
]
PARTS = [
    (content["id"], CLAIMS[content["id"]].parts[part["key"]], part)
    for content in JUDGED
    for part in content["parts"]
    if part["kind"] in ("figure", "direction", "cause")
]


def claim(parts: dict[str, ClaimPart], *, sourced: bool = True) -> Claim:
    return Claim(id="C01", chapter="01", statement="as said", how=("derived",), parts=parts, sourced=sourced)


RULE = [
    (rule.SAFE, ALONE | SENTENCES | CAUSE, {}, 1.0, True),
    (rule.SAFE, ALONE, {}, 0.9, True),
    (rule.CONDITION, ALONE, {}, 0.89, True),
    (rule.CONDITION, ALONE, {}, 0.5, True),
    (rule.OWN_CASE, ALONE, {}, 0.49, True),
    (rule.CONDITION, SENTENCES, {"d0": "fails"}, 1.0, True),
    (rule.WRONG, SENTENCES, {"d0": "fails", "d1": "fails"}, 1.0, True),
    (rule.OWN_CASE, SENTENCES, {"d0": "fails"}, 0.1, True),
    (rule.NUMBER, ALONE | SENTENCES, {"f": "fails"}, 1.0, True),
    (rule.NUMBER, ALONE | SENTENCES, {"f": "far"}, 1.0, True),
    (rule.NUMBER, ALONE, {"f": "fails"}, 1.0, True),
    (rule.WRONG, ALONE, {"f": "far"}, 1.0, True),
    (rule.WRONG, ALONE | CAUSE, {"f": "far", "c": "fails"}, 1.0, True),
    (rule.NUMBER, ALONE | CAUSE, {"f": "far"}, 1.0, True),
    (rule.REASON, ALONE | SENTENCES | CAUSE, {"c": "fails"}, 1.0, True),
    (rule.REASON, CAUSE, {"c": "fails"}, 0.1, True),
    (rule.UNTESTABLE, ALONE, {"f": "fails"}, 1.0, False),
    (rule.SAFE, ALONE, {}, 1.0, False),
]


@pytest.mark.parametrize(("word", "parts", "failing", "share", "sourced"), RULE)
def test_rule(word, parts, failing, share, sourced):
    outcomes = dict.fromkeys(parts, "holds") | failing
    assert rule.word_of(claim(parts, sourced=sourced), outcomes, share) == word


def test_every_word_is_reached_and_has_a_sign_of_its_own():
    assert {word for word, *_ in RULE} == set(SIGNS) == set(rule.WORDS)
    assert len(set(SIGNS.values())) == len(SIGNS)


@pytest.mark.parametrize(
    ("number", "outcome"), [(10, "holds"), (12.5, "holds"), (8, "holds"), (12.6, "fails"), (20, "fails"), (20.1, "far")]
)
def test_a_figure_is_right_within_a_quarter(number, outcome):
    assert FIGURE.outcome(number) == outcome
    assert FIGURE.outcome(math.inf) == FIGURE.outcome(-10) == FIGURE.outcome(0) == "far"
    assert FIGURE.outcome(math.nan) == "far"


def test_bounds_are_what_their_words_say():
    above, below = (ClaimPart(key="x", kind="direction", text="x", **end) for end in ({"low": 1.0}, {"high": 1.0}))
    between = ClaimPart(key="x", kind="direction", text="x", low=1.0, high=2.0)
    assert [each.outcome(1.0) for each in (above, below, between)] == ["fails", "fails", "holds"]
    assert [each.outcome(math.nan) for each in (above, below, between)] == ["fails"] * 3
    assert [each.test for each in (above, below, between)] == ["above 1", "below 1", "between 1 and 2"]
    assert CAUSE["c"].outcome(0.5) == "holds"
    share = ClaimPart(key="x", kind="figure", text="a share", low=0.6, high=0.8, unit="fraction")
    assert [round(share.off_by(x), 2) for x in (0.3, 0.7, 1.0)] == [2.0, 1.0, 1.25]


HERE = {"reach": reach({"a": True}, boundary="chats"), "say": "Say it."}


def of_paging(worst: float, **options):
    """A verdict on C17 in which everything but the worst case is as the paper has it."""
    given = {
        "worst": found(worst, **options, flips=("paged", 0.97)),
        "paged": found(0.026, flips=("blocks of 64", 0.11)),
        "published": found(0.204, flips=("powers of two", 0.6)),
        "published_paged": found(0.037, flips=("powers of two", 0.4)),
        "fragmentation": found(0.82, flips=("an oracle", 0.2)),
    }
    parts = CLAIMS["C17"].parts
    return judge("C17", {key: given.get(key, found(1.0, flips=("", 0.0))) for key in parts}, **HERE)


def test_a_word_that_changes_within_an_interval_carries_an_edge():
    firm, soft = of_paging(0.21, low=0.2, high=0.3), of_paging(0.21, low=0.1, high=0.7)
    assert (firm.word, firm.edge) == (rule.SAFE, None)
    wide = of_paging(0.9, low=0.01, high=0.95)  # both ends fail, and what is right lies between
    assert wide.word == rule.NUMBER and wide.edge.startswith(f"'{rule.SAFE}' within the intervals")
    assert soft.word == rule.SAFE and soft.edge.startswith(
        f"'{rule.NUMBER}' within the intervals: slots that hold a token"
    )


def test_an_edge_counts_the_seeds_and_the_machines_that_decide():
    seeds = [0.3] * 11 + [0.7] * 5
    edge = of_paging(None, samples=seeds).edge
    assert edge.endswith("holds on 11 of 16 seeds")
    assert of_paging(0.3, machines={"a Xeon": 0.7}).edge.endswith("holds on 1 of 2 machines")
    assert of_paging(0.3, machines={"a Xeon": 0.35}).edge is None
    assert of_paging(None, samples=[0.3] * 5, machines={"a Xeon": 0.7}).edge.endswith("holds on 5 of 5 seeds")


@pytest.mark.parametrize(
    ("number", "sourced", "panel", "reason"),
    [
        (20.0, True, None, "a price: 20, not within 1.25x of 10"),
        (
            20.0,
            False,
            None,
            "the claim names no source, and what can be tried fails: a price: 20, not within 1.25x of 10",
        ),
        (10.0, True, None, "all parts hold; it is about one case"),
        (10.0, True, {"a": True, "b": False, "c": None}, "all parts hold, in 50% of 2 traces"),
    ],
)
def test_a_reason_names_the_parts_that_fail_or_how_far_all_carry(number, sourced, panel, reason):
    given = {"f": found(number, flips=("", 1.0)), "d0": found(2.0, flips=("", 1.0))}
    spec = replace(claim(ALONE | {"d0": SENTENCES["d0"]}, sourced=sourced), panel=panel and "traces")
    there = panel and reach(panel, boundary="x")
    assert rule.Verdict(claim=spec, found=given, reach=there, say="").reason == reason


def test_a_reach_at_its_bound_carries_an_edge():
    panel = reach({str(n): n < 9 for n in range(10)}, boundary="x", unsure=("8", "9"))
    assert panel.shares == (0.9, 0.8, 1.0)
    verdict = rule.Verdict(claim=claim(ALONE), found={"f": found(10.0, flips=("", 1.0))}, reach=panel, say="")
    assert verdict.word == rule.SAFE and "80% to 100% of the panel" in verdict.edge


def test_a_case_to_which_a_claim_does_not_apply_is_not_counted():
    assert reach({"a": True, "b": None, "c": False}, boundary="x").n == 2
    assert reach({"a": None}, boundary="x").shares == (0.0, 0.0, 0.0)


def test_what_is_shown_beside_is_never_counted():
    notes = [beside("outside", "another model", found=99.0), beside("self-test", "our engine", found=math.nan)]
    verdict = rule.Verdict(claim=claim(ALONE), found={"f": found(10.0, flips=("", 1.0))}, say="", beside=tuple(notes))
    assert verdict.word == rule.SAFE
    assert [part["passed"] for part in verdict.to_json()["parts"]] == [True, None, None]
    with pytest.raises(BytebillError, match="outside"):
        beside("outsde", "x", found=1.0)


def test_a_judgement_has_the_parts_the_panel_and_the_device_that_the_register_asks_for():
    with pytest.raises(BytebillError, match="There is no claim 'C99'"):
        judge("C99", {}, say="")
    with pytest.raises(ValueError, match="has the parts"):
        judge("C01", {}, say="")
    some = found(1.0, flips=("", 0.0))
    with pytest.raises(ValueError, match=r"has the parts .*, not \['other'\]"):
        judge("C01", {"other": some}, say="")
    with pytest.raises(ValueError, match="one case"):
        judge("C29", dict.fromkeys(CLAIMS["C29"].parts, some), say="", reach=reach({"a": True}, boundary=""))
    measured = next(each for each in CLAIMS.values() if any(part.how == "measured" for part in each.parts.values()))
    panel = measured.panel and reach({"a": True}, boundary="")
    with pytest.raises(ValueError, match="device"):
        judge(measured.id, dict.fromkeys(measured.parts, some), say="", reach=panel)
    with pytest.raises(ValueError, match="a number or samples"):
        found(flips=("", 1.0))


def test_a_counterfactual_that_turns_nothing_stops_a_strict_run(monkeypatch):
    monkeypatch.setenv("BYTEBILL_PINS", "strict")
    parts = {"peak": found(278, flips=("the average", 226.75)), "cost": found(87_072, flips=("the peak", 106_752))}
    with pytest.raises(AssertionError, match="comes out otherwise for the peak"):
        judge("C29", parts | {"peak": found(278, flips=("one node", 1.0))}, say="")


def test_a_measured_part_stops_no_run_whatever_comes_out(monkeypatch, capsys):
    """Where the part holds and its counterfactual too, a sentence says so: timings fail no run."""
    monkeypatch.setenv("BYTEBILL_PINS", "strict")
    claim = CLAIMS["C18"]
    given = {
        key: found(2.0, flips=("nothing gained", 0.0)) for key, part in claim.parts.items() if part.how != "measured"
    }
    here = {"reach": reach({"a": True}, boundary="x"), "say": "x", "device": "a CPU"}
    assert judge("C18", given | {"here": found(1.1, flips=("no queue", 1.0))}, **here).word == rule.CONDITION
    assert not capsys.readouterr().out
    judge("C18", given | {"here": found(2.0, flips=("no queue", 1.5))}, **here)
    assert "here no queue comes out alike" in capsys.readouterr().out


def test_json_has_the_agreed_shape_and_survives_json():
    content = of_paging(np.float64(0.79))._repr_mimebundle_()[MIME]
    keys = "id chapter statement terms paragraph word parts reach say stake edge reason device"
    assert list(content) == keys.split()
    part = content["parts"][0]
    assert {"kind", "text", "stated", "found", "low", "high", "off_by", "passed", "how"} <= set(part)
    assert set(content["reach"]) == {"panel", "text", "n", "share", "boundary", "cases"}
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_the_register_is_complete():
    assert list(CLAIMS) == [f"C{n:02d}" for n in range(1, 57)]
    n_paragraphs = data.article()["article"]["paragraphs"]
    for each in CLAIMS.values():
        assert each.how and each.statement
        assert each.paragraph and all(1 <= at <= n_paragraphs for at in each.paragraph)
        assert bool(each.parts) == bool(each.reach_text), f"{each.id} has parts and a panel, or neither yet"
    assert sorted({each.chapter for each in CLAIMS.values()}) == [f"{n:02d}" for n in range(1, 21)]


def test_every_claim_that_is_tried_could_get_another_word():
    for each in CLAIMS.values():
        outcomes = [
            ["holds", "fails", "far"] if part.kind == "figure" else ["holds", "fails"] for part in each.parts.values()
        ]
        words = {
            rule.word_of(each, dict(zip(each.parts, given, strict=True)), share)
            for given in product(*outcomes)
            for share in ((1.0, 0.7, 0.2) if each.panel else (1.0,))
        }
        assert not each.parts or len(words) > 1, each.id


@pytest.mark.parametrize(("id", "spec", "part"), PARTS, ids=[f"{id}-{part['key']}" for id, _, part in PARTS])
def test_every_counted_check_comes_out_otherwise_somewhere(id, spec, part):
    """The counterfactual of a check, computed by its chapter, is on the other side of its bound."""
    assert part["passed"] == (spec.outcome(part["found"]) == "holds")
    assert part["flips"]["text"] and (spec.outcome(part["flips"]["found"]) == "holds") != part["passed"]


def test_no_kind_of_check_always_fails_and_none_always_passes():
    for kind in ("figure", "direction", "cause"):
        assert {part["passed"] for _, _, part in PARTS if part["kind"] == kind} == {True, False}, kind


def test_a_stored_verdict_is_what_the_rule_makes_of_its_numbers():
    """Read back from the notebooks: nobody typed a word."""
    for content in JUDGED:
        spec = CLAIMS[content["id"]]
        counted = {part["key"]: part for part in content["parts"] if part["key"]}
        outcomes = {key: part.outcome(counted[key]["found"]) for key, part in spec.parts.items()}
        share = content["reach"]["share"] if content["reach"] else 1.0
        assert content["word"] == rule.word_of(spec, outcomes, share), content["id"]
        assert content["say"].endswith(".") and len(content["say"]) <= 160, content["id"]


def test_a_stored_part_comes_out_otherwise_for_its_counterfactual():
    """Of measured ones too: a busy machine may run a chapter, but what it spoiled is not committed."""
    for content in JUDGED:
        for part in (part for part in content["parts"] if part["flips"]):
            outcome = CLAIMS[content["id"]].parts[part["key"]].outcome
            found, turned = (outcome(number) == "holds" for number in (part["found"], part["flips"]["found"]))
            assert found != turned or (part["how"] == "measured" and not found), (content["id"], part["text"])


def test_reach_is_judged_on_its_panel_and_turns_somewhere():
    from bytebill.trials import panels

    members = {"deployments": set(panels.DEPLOYMENTS), "traces": set(panels.TRACES), "offers": set(panels.OFFERS)}
    members |= {"prices": set(panels.PRICES), "closed offers": set(panels.CLOSED_OFFERS)}
    for content in JUDGED:
        if content["reach"]:
            assert set(content["reach"]["cases"]) <= members[content["reach"]["panel"]], content["id"]
            assert content["reach"]["n"] >= 3 and content["reach"]["boundary"], content["id"]


def test_pin_is_silent_when_right(capsys, monkeypatch):
    monkeypatch.setenv("BYTEBILL_PINS", "strict")
    pin(295, 295.3)
    assert capsys.readouterr().out == ""


def test_pin_stops_a_strict_run(monkeypatch):
    monkeypatch.setenv("BYTEBILL_PINS", "strict")
    with pytest.raises(AssertionError, match=r"the prose says 295, this run gives 153 \(ridge point\)"):
        pin(295, 153.0, what="ridge point")


def test_pin_says_so_on_a_readers_run(capsys, monkeypatch):
    monkeypatch.delenv("BYTEBILL_PINS", raising=False)
    pin(295, 153.0)
    assert capsys.readouterr().out.startswith("written for the default parameters: the prose says 295")


def test_the_pins_of_a_section_are_held_together(capsys, monkeypatch):
    section = {"ridge point": (295, 153.0), "price": (3.11, np.float32(3.113)), "who turns": ("nobody", "nobody")}
    monkeypatch.delenv("BYTEBILL_PINS", raising=False)
    pins(section)
    assert capsys.readouterr().out.count("written for the default parameters") == 1
    pins({"first to turn": (512, None)})
    assert "the prose says 512, this run gives None (first to turn)" in capsys.readouterr().out
    monkeypatch.setenv("BYTEBILL_PINS", "strict")
    with pytest.raises(AssertionError, match=r"\(ridge point\); .* \(price\)"):
        pins(section, rtol=0)


def test_a_sentence_is_pinned_as_a_number_is(capsys, monkeypatch):
    monkeypatch.setenv("BYTEBILL_PINS", "strict")
    pin_that("it never turns", True)
    with pytest.raises(AssertionError, match=r"the prose says so, this run gives not so \(it never turns\)"):
        pin_that("it never turns", False)
    monkeypatch.delenv("BYTEBILL_PINS")
    assert capsys.readouterr().out == ""
    pin_that("it never turns", False)
    assert capsys.readouterr().out.startswith("written for the default parameters: the prose says so")


@pytest.mark.parametrize(
    ("written", "found", "rtol", "agree"),
    [
        (100, 100.5, {}, True),
        (100, 100.51, {}, False),
        (100.51, 100, {}, False),
        (100, 102, {"rtol": 0.02}, True),
        (100, 102.1, {"rtol": 0.02}, False),
        ("512", 512, {}, False),
        (512, "512", {}, False),
        (None, None, {}, True),
        (None, 0, {}, False),
        ("a", "a", {}, True),
    ],
)
def test_a_pin_holds_within_half_a_percent_or_as_told(capsys, monkeypatch, written, found, rtol, agree):
    monkeypatch.delenv("BYTEBILL_PINS", raising=False)
    pins({"x": (written, found)}, **rtol)
    pin(written, found, **rtol)
    assert capsys.readouterr().out.count("written for the default parameters") == (0 if agree else 2)


def test_a_pin_of_nothing_in_particular_names_nothing(capsys, monkeypatch):
    monkeypatch.setenv("BYTEBILL_PINS", "loose")
    pin(1234.5, 2e6)
    assert (
        capsys.readouterr().out
        == "written for the default parameters: the prose says 1,234, this run gives 2,000,000\n"
    )


TEXT = """\
C02 ◐ true with a condition\N{NO-BREAK SPACE}±: As said.
  In its own terms: 70B, batch 64
  Say: Say <C02> so.
  <direction> of a step; would turn at: no batch: 64% | direction | above 90% | 98%; 88.2% to 108% | ✓ right | measured
  <self-test> of a step; a note | self-test | 64 | derived
  How far it carries: it is true: true in 28 of 38 deployments (74%), 1 outside its terms
  It turns at: long <contexts>
  Why this word: the part that decided
  At an edge (±): 5 of 6 machines
  To who believes it: the bill of the reference deployment is 1.4 times as expected
  Measured on: A CPU"""
SHOWN = SAMPLES["C02"] | {"statement": "As said."}
SHOWN["parts"] = [SHOWN["parts"][0], SHOWN["parts"][1] | {"test": "a note"}]


def test_a_verdict_as_text_says_all_of_it():
    assert view.as_text(SHOWN) == TEXT


def test_a_verdict_as_text_leaves_out_what_it_has_not():
    bare = {"id": "C01", "word": "wrong", "statement": "x", "parts": [{"kind": "figure", "stated": 2.0, "found": 5.0}]}
    assert view.as_text(bare) == "C01 ✗ wrong: x\n  figure | 2 | 5 | ✗ not right"
    assert view.as_text({}) == " – no verdict: "


def test_a_box_has_its_blocks_in_order_under_the_claims_anchor():
    box = BeautifulSoup(view.box(SHOWN), "html.parser").div
    assert box["class"] == ["bb-verdict", "bb-verdict-true-with-a-condition"] and box["id"] == "claim-c02"
    assert box["role"] == "group" and box["aria-label"] == "Verdict on claim C02: true with a condition"
    said = [(block.name, " ".join(block["class"])) for block in box.find_all(recursive=False)]
    assert said == [
        *(("p", f"bb-verdict-{name}") for name in ("head", "claim", "terms", "say")),
        ("div", "bb-verdict-strip"),
        ("table", "bb-checks"),
        ("table", "bb-checks bb-beside"),
        *(("p", f"bb-verdict-{name}") for name in ("reach", "reach", "rule", "rule", "rule", "rule")),
    ]


def test_a_boxs_head_has_id_word_and_edge_and_what_to_say_stands_out():
    box = BeautifulSoup(view.box(SHOWN), "html.parser").div
    head, say = box.p, box.select_one(".bb-verdict-say")
    assert [each.get_text() for each in head.find_all("strong")] == [
        "C02",
        "◐ true with a condition\N{NO-BREAK SPACE}±",
    ]
    assert head.abbr["title"] == "5 of 6 machines" and head.span["aria-hidden"] == "true"
    assert say.em.get_text() == "Say:" and say.strong.get_text() == "Say <C02> so."
    assert box.select_one(".bb-verdict-claim").em is None and box.select_one(".bb-verdict-strip svg") is not None


def test_a_tables_first_cells_are_headings_and_its_further_lines_are_small():
    checks, beside = BeautifulSoup(view.box(SHOWN), "html.parser").find_all("table")
    assert [each.get_text() for each in checks.thead.find_all("th")] == list(view.COLUMNS)
    assert [each.get_text() for each in beside.thead.find_all("th")] == list(view.BESIDE_COLUMNS)
    first, *others = checks.tbody.tr.find_all(recursive=False)
    assert (first.name, first["scope"], {cell.name for cell in others}) == ("th", "row", {"td"})
    assert first.small.get_text() == "would turn at: no batch: 64%" and others[2].small.get_text() == "88.2% to 108%"
    assert [cell.get_text("|") for cell in others] == [
        *("direction", "above 90%", "98%|88.2% to 108%", "", "✓ right", "measured")
    ]


@pytest.mark.parametrize(
    ("more", "cells"),
    [
        ({"off_by": 1.2345, "passed": True}, ("a", "figure", "2 GPUs", "5 GPUs", "1.23×", "✓ right", "derived")),
        ({"low": 5.0, "high": 5.0}, ("a", "figure", "2 GPUs", "5 GPUs", "", "✗ not right", "derived")),
        (
            {"low": 5.0, "high": 6.0},
            ("a", "figure", "2 GPUs", "5 GPUs\n5 GPUs to 6 GPUs", "", "✗ not right", "derived"),
        ),
        (
            {"flips": {"text": "b", "found": 3}},
            ("a\nwould turn at: b: 3 GPUs", "figure", "2 GPUs", "5 GPUs", "", "✗ not right", "derived"),
        ),
        ({"off_by": None, "how": None}, ("a", "figure", "2 GPUs", "5 GPUs", "", "✗ not right", "None")),
    ],
)
def test_cells_of_a_part(more, cells):
    plain = {"kind": "figure", "text": "a", "stated": 2.0, "found": 5.0, "unit": "GPUs", "how": "derived"}
    assert view.cells(plain | more) == cells


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (0.0099, ""),
        (-0.0099, ""),
        (0.01, "0.99 times as expected"),
        (-0.01, "1.0 times as expected"),
        (-1, ""),
        (-0.999, "1.0e+03 times as expected"),
        (1, "0.50 times as expected"),
        ("much", ""),
    ],
)
def test_a_stake_is_told_from_a_hundredth_on(changed, told):
    assert view.stake({"stake": changed}) == told


def test_a_drawing_alone_shows_how_far_a_claim_carries():
    reach = {"panel": "deployments", "cases": {"a": True}}
    names = [
        [block.name for block in view.blocks({"id": "C01"} | more)] for more in ({}, {"reach": reach}, {"parts": [{}]})
    ]
    assert names == [
        ["bb-verdict-head"],
        ["bb-verdict-head", "bb-verdict-strip", "bb-verdict-reach"],
        ["bb-verdict-head", "bb-checks bb-beside"],
    ]


def test_a_word_can_be_marked_without_a_verdict():
    assert view.marked(None, word="not yet tried") == (
        '<strong class="bb-word bb-word-not-yet-tried"><span aria-hidden="true">–</span> not yet tried</strong>'
    )
    assert "no verdict" in view.marked(None) and "wrong" in view.marked({"word": "wrong"})
    assert "&quot;" in view.marked({"word": "wrong", "edge": '"'}) and view.lettered({"edge": "x"}).endswith("±")


@pytest.mark.parametrize(
    ("given", "value", "ends", "samples", "of"),
    [
        ({"value": 2}, 2, (2, 2), (), "seeds"),
        ({"value": 2, "low": 1, "high": 3}, 2, (1, 3), (), "seeds"),
        ({"value": 2, "low": 3, "high": 1}, 2, (2, 2), (), "seeds"),
        ({"samples": [7]}, 7, (7, 7), (), "seeds"),
        ({"samples": [3, 1, 2]}, 2, (1, 3), (3, 1, 2), "seeds"),
        ({"value": 2, "samples": [3, 4]}, 2, (2, 4), (3, 4), "seeds"),
        ({"value": 2, "low": 1, "samples": [3, 4]}, 2, (1, 4), (3, 4), "seeds"),
        ({"machines": {"a": 5}}, 5, (5, 5), (), "machines"),
        ({"value": 2, "machines": {"a": 5, "b": 4}}, 2, (2, 5), (2, 5, 4), "machines"),
        ({"value": 2, "low": 1.5, "high": 2.5, "machines": {"a": 5}}, 2, (1.5, 5), (2, 5), "machines"),
        ({"value": 2, "samples": [1, 3], "machines": {"a": 5}}, 2, (1, 5), (1, 3), "seeds"),
    ],
)
def test_an_interval_spans_what_was_found_by_seeds_and_by_machines(given, value, ends, samples, of):
    made = found(**given, flips=("x", 0))
    assert (made.value, made.low, made.high, made.samples, made.of) == (value, *ends, samples, of)
    assert made.machines == given.get("machines", {}) and made.flips == ("x", 0.0)


WHOLE = replace(
    claim(
        {
            "f": replace(FIGURE, unit="USD"),
            "d": ClaimPart(key="d", kind="direction", text="here", how="measured", low=1.0, high=2.0),
            "c": replace(CAUSE["c"], unit="fraction"),
        }
    ),
    panel="traces",
    reach_text="it holds",
    terms="70B",
    paragraph=(3, 4),
)
FOUND = {
    "f": found(40 / 3, flips=("y", 10)),
    "d": found(1.5, samples=[1.4, 1.6], machines={"a": 1.7}, flips=("x", math.inf)),
    "c": found(0.6, samples=[0.5, 0.7], flips=("z", 0.1)),
}


THERE = {"a": True, "b": False, "c": None, "d": True}
WHOLE_VERDICT = rule.Verdict(
    claim=WHOLE,
    found=FOUND,
    reach=reach(THERE, boundary="b"),
    say="s",
    stake=2 / 3,
    beside=(beside("outside", "o", found=3, note="n"),),
)


def test_a_verdicts_parts_have_every_number_in_nine_digits():
    figure, direction, cause, other = WHOLE_VERDICT.to_json()["parts"]
    told = {"key": "f", "kind": "figure", "text": "a price", "how": "derived", "unit": "USD", "found": 13.3333333}
    told |= {"stated": 10.0, "test": "within 1.25x of 10 USD", "low": 13.3333333, "high": 13.3333333}
    assert figure == told | {"off_by": 1.33333333, "passed": False, "flips": {"text": "y", "found": 10.0}}
    told = {"key": "d", "kind": "direction", "text": "here", "how": "measured", "unit": "", "found": 1.5}
    told |= {"stated": [1.0, 2.0], "test": "between 1 and 2", "low": 1.4, "high": 1.7, "off_by": None, "passed": True}
    assert direction == told | {"flips": {"text": "x", "found": None}, "machines": {"a": 1.7}, "samples": [1.4, 1.6]}
    assert cause["stated"] == [0.5, None] and "samples" not in cause and "machines" not in cause
    told = {"stated": None, "test": "n", "low": 3, "high": 3, "off_by": None, "passed": None, "flips": None}
    assert other == {"key": "", "kind": "outside", "text": "o", "how": "derived", "unit": "", "found": 3} | told


def test_a_verdict_for_programs_has_its_panel_and_its_words():
    content = WHOLE_VERDICT.to_json()
    panel = {"panel": "traces", "text": "it holds", "n": 3, "share": 0.666666667, "boundary": "b", "cases": THERE}
    says = {"say": "s", "stake": 0.666666667, "edge": None, "device": None, "reach": panel, "paragraph": [3, 4]}
    assert says.items() <= content.items() and (content["word"], content["terms"]) == (rule.NUMBER, "70B")
    shown = {"text/html": view.box(content), "text/plain": view.as_text(content)}
    assert WHOLE_VERDICT._repr_mimebundle_() == {MIME: content} | shown


@pytest.mark.parametrize(
    ("kind", "given", "edge"),
    [
        ("measured", {"samples": [0.9, 1.1, 1.2]}, "0.9 to 1.2 against above 1, holds on 2 of 3 repeats"),
        ("simulated", {"samples": [0.9, 1.1, 1.2]}, "0.9 to 1.2 against above 1, holds on 2 of 3 seeds"),
        ("measured", {"value": 1.1, "machines": {"a": 0.5}}, "0.5 to 1.1 against above 1, holds on 1 of 2 machines"),
        ("measured", {"value": 1.1, "low": 0.9, "high": 1.5}, "0.9 to 1.5 against above 1"),
    ],
)
def test_an_edge_says_what_decides_and_by_what_it_was_tried(kind, given, edge):
    parts = {"d": ClaimPart(key="d", kind="direction", text="it", how=kind, low=1.0), "e": replace(FIGURE, key="e")}
    there = {"d": found(**given, flips=("x", 0)), "e": found(10, 9, 11, flips=("x", 99))}
    verdict = rule.Verdict(claim=claim(parts), found=there, say="")
    assert verdict.edge == f"'wrong' within the intervals: it, {edge}"


def test_an_edge_names_every_word_within_reach():
    there = {"f": found(10, 1, 11, flips=("x", 99)), "c": found(0.6, 0.4, 0.7, flips=("x", 0.1))}
    verdict = rule.Verdict(claim=claim(ALONE | CAUSE), found=there, say="")
    words, told = verdict.edge.split(" within the intervals: ")
    assert {*words.split(" or ")} == {f"'{word}'" for word in (rule.REASON, rule.NUMBER, rule.WRONG)}
    assert told == "a price, 1 to 11 against within 1.25x of 10; the reason, 0.4 to 0.7 against above 0.5"


def test_a_reach_says_its_bounds_once_and_what_is_not_in_it_turns_nothing():
    assert reach({"a": True, "b": None}, boundary="", unsure=("b", "x")).shares == (1.0, 1.0, 1.0)
    assert reach({"a": 1, "b": 0}, boundary="").cases == {"a": True, "b": False}
    told = replace(claim(ALONE), reach_text="it is arithmetic")
    verdict = rule.Verdict(claim=told, found={"f": found(10, flips=("x", 99))}, say="")
    assert verdict.reason == "all parts hold; it is arithmetic" and verdict.to_json()["reach"] is None


def test_a_judgement_is_put_into_its_head_and_names_its_device(monkeypatch):
    filled = []
    monkeypatch.setattr(rule, "fill", filled.append)
    parts = {key: found(2.0, flips=("x", 0)) for key in CLAIMS["C10"].parts}
    parts |= {"bytes": found(1, flips=("x", 9)), "intensity": found(60, flips=("x", 1))}
    there = {"reach": reach({"a": True}, boundary="x"), "say": "s", "stake": 0.5}
    note = beside("self-test", "t", found=1.0)
    made = judge("C10", parts, **there, device=SimpleNamespace(name="Toy"), beside=[note])
    assert (made.device, made.stake, made.say, made.beside, made.word) == ("Toy", 0.5, "s", (note,), rule.SAFE)
    assert judge("C10", parts, **there, device="a CPU").device == "a CPU"
    assert [content["device"] for content in filled] == ["Toy", "a CPU"] and filled[0] == made.to_json()


BOUNDS = [
    ({"kind": "figure", "stated": 3, "unit": "B"}, {"stated": 3, "unit": "B"}),
    ({"kind": "figure", "between": [1, 2]}, {"low": 1.0, "high": 2.0}),
    ({"kind": "direction", "above": 3, "how": "measured"}, {"low": 3.0, "how": "measured"}),
    ({"kind": "direction", "below": 3}, {"high": 3.0}),
    ({"kind": "cause", "unit": "B"}, {"low": 0.5, "unit": "fraction"}),
]


@pytest.mark.parametrize(("given", "made"), BOUNDS)
def test_a_part_is_read_with_its_bounds(given, made):
    read = register._part("x", given | {"text": 7})
    assert read == ClaimPart(key="x", text="7", kind=given["kind"], **made)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "figure"}, r"part 'x': a figure with the bounds \[\]"),
        ({"kind": "figure", "stated": 1, "below": 2}, "with the bounds"),
        ({"kind": "direction", "stated": 1}, "a direction with the bounds"),
        ({"kind": "cause", "above": 1}, "a cause with the bounds"),
    ],
)
def test_a_part_has_one_bound_of_its_kind(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        register._part("x", given | {"text": "x"})
    for unknown in ({"kind": "effect"}, {"kind": "cause", "how": "M"}):
        with pytest.raises(BytebillError, match="There is no kind of"):
            register._part("x", unknown | {"text": "x"})


def test_a_claim_is_read_as_it_stands_or_with_what_it_leaves_out():
    row = {"id": "C01", "chapter": 1, "statement": " as said\n", "how": "D M X"}
    assert register._claim(row) == replace(claim({}), how=("derived", "measured", "X"))
    more = {"section": 3, "terms": "t", "paragraph": [4], "sourced": False, "reach": "one case", "how": ["R", "S"]}
    more["parts"] = {"c": {"kind": "cause", "text": "the reason"}}
    told = {"section": "3", "terms": "t", "paragraph": (4,), "sourced": False, "how": ("published", "simulated")}
    parts = {"c": replace(CAUSE["c"], unit="fraction")}
    assert register._claim(row | more) == replace(claim(parts), **told, reach_text="one case")
    carried = register._claim(row | {"reach": {"panel": "traces", "text": "x"}})
    assert (carried.panel, carried.reach_text) == ("traces", "x")


@pytest.mark.parametrize(
    ("bounds", "found", "off_by"),
    [
        ({"stated": 5.0}, 5.0, 1.0),
        ({"stated": 0.0}, 0.0, 1.0),
        ({"stated": 0.0}, 1.0, math.inf),
        ({"stated": -5.0}, -10.0, 2.0),
        ({"stated": 5.0}, -5.0, math.inf),
        ({"low": 1.0, "high": 2.0}, 4.0, 2.0),
        ({"low": 1.0, "high": 2.0}, 0.5, 2.0),
        ({"low": 1.0, "high": 2.0}, 2.0, 1.0),
        ({"low": 1.0}, 0.5, 2.0),
        ({"high": 1.0}, 3.0, 3.0),
    ],
)
def test_a_figure_is_off_by_the_factor_to_the_nearest_number_stated(bounds, found, off_by):
    assert ClaimPart(key="x", kind="figure", text="x", **bounds).off_by(found) == pytest.approx(off_by)
