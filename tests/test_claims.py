"""The rule of verdicts: every word can be reached, and a verdict turns when its numbers do."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bytebill.claims import CLAIMS, MIME, SIGNS, check, judge, pin, pin_that, pins, view
from bytebill.errors import BytebillError

RIGHT = check("found what was said", found=1.0, near=1)
WRONG = check("found something else", found=2.0, near=1)

RULE = [
    ("holds", [RIGHT, RIGHT], [RIGHT], True),
    ("holds", [RIGHT], [], True),
    ("holds with conditions", [RIGHT], [RIGHT, WRONG], True),
    ("loose", [RIGHT, WRONG], [RIGHT], True),
    ("loose", [RIGHT, WRONG], [WRONG], True),
    ("refuted", [WRONG, WRONG], [RIGHT], True),
    ("unsourced", [WRONG], [], False),
    ("unsourced", [RIGHT, WRONG], [], False),
    ("holds", [RIGHT], [], False),
    ("holds with conditions", [RIGHT], [WRONG], False),
]


@pytest.mark.parametrize(("word", "core", "limits", "sourced"), RULE)
def test_rule(word, core, limits, sourced):
    assert judge("C01", stated="as said", core=core, limits=limits, sourced=sourced).word == word


def test_every_word_is_reached():
    assert {word for word, *_ in RULE} == set(SIGNS)


@pytest.mark.parametrize(("intensity", "word"), [(1.0, "holds"), (1.9, "holds"), (2.6, "loose"), (400.0, "refuted")])
def test_a_verdict_turns_when_the_numbers_do(intensity, word):
    core = [
        check("FLOPs a byte at batch 1", found=intensity, between=(1, 2), unit="FLOP/byte"),
        check("of an H100's ridge", found=intensity / 295.3, below=0.01, unit="fraction"),
    ]
    assert judge("C03", stated="1 to 2 FLOP/byte", core=core).word == word


def test_bounds_are_what_their_words_say():
    assert not check("x", found=1, above=1).passed
    assert not check("x", found=1, below=1).passed
    assert check("x", found=1, between=(1, 1)).passed
    assert check("x", found=math.inf, above=1).passed
    assert not check("x", found=math.nan, above=1).passed
    assert check("x", found=-99.5, near=-100).passed
    assert check("x", found=6_710_886_400, near=6_710_886_400, rtol=0).test == "exactly 6,710,886,400"
    assert not check("x", found=6_710_886_401, near=6_710_886_400, rtol=0).passed


def test_a_check_has_one_bound_and_a_known_kind_of_evidence():
    with pytest.raises(ValueError, match="exactly one"):
        check("x", found=1)
    with pytest.raises(ValueError, match="exactly one"):
        check("x", found=1, above=0, below=2)
    with pytest.raises(ValueError, match="rtol"):
        check("x", found=1, above=0, rtol=0.1)
    with pytest.raises(BytebillError, match="nearest: measured"):
        check("x", found=1, above=0, how="mesured")


def test_a_verdict_needs_a_core_a_known_claim_and_a_device_for_measurements():
    with pytest.raises(ValueError, match="core check"):
        judge("C01", stated="", core=[], limits=[RIGHT])
    with pytest.raises(BytebillError, match="There is no claim 'C99'"):
        judge("C99", stated="", core=[RIGHT])
    with pytest.raises(ValueError, match="device"):
        judge("C01", stated="", core=[check("x", found=1, near=1, how="measured")])


def test_json_has_the_agreed_shape_and_survives_json():
    core = [check("bytes a token", found=np.float64(140e9) * 1.0, near=140e9, unit="B"), WRONG]
    verdict = judge(
        "C01", stated="140 GB", core=core, limits=[check("nothing", found=math.nan, above=0)], device="A CPU"
    )
    content = verdict._repr_mimebundle_()[MIME]
    keys = ["id", "chapter", "statement", "verdict", "stated", "found", "evidence", "rule", "device"]
    assert list(content) == keys
    assert (content["id"], content["chapter"], content["verdict"]) == ("C01", "01", "loose")
    assert content["evidence"][0] == {
        "how": "derived",
        "text": "bytes a token",
        "found": 140e9,
        "test": "within 1% of 140 GB",
        "passed": True,
        "unit": "B",
        "role": "core",
    }
    assert content["evidence"][2]["found"] is None
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert "1 of 2 core checks pass, 0 of 1 limits" in content["rule"]


@pytest.mark.parametrize(("word", "core", "limits", "sourced"), RULE)
def test_html_and_text_say_the_word_and_the_sign(word, core, limits, sourced):
    bundle = judge("C01", stated="a < b", core=core, limits=limits, sourced=sourced)._repr_mimebundle_()
    html, text = bundle["text/html"], bundle["text/plain"]
    assert f"{SIGNS[word]}</span> {word}</strong>" in html
    assert f"{SIGNS[word]} {word}" in text
    assert 'id="claim-c01"' in html and "a &lt; b" in html


def test_a_stored_verdict_is_shown_without_the_register_and_cannot_inject_anything():
    stored = judge("C01", stated="s", core=[RIGHT]).to_json()
    del stored["statement"]  # as stored until 2026-11
    stored |= {"id": 'C01"><b>', "verdict": 'holds"><script>'}
    assert "<b>" not in view.box(stored) and "<script>" not in view.box(stored)
    assert "found what was said" in view.as_text(stored)


def test_conditions_are_named():
    verdict = judge("C01", stated="", core=[RIGHT], limits=[check("with MHA", found=4.0, near=1)])
    assert verdict.conditions == ("with MHA",)
    assert verdict.rule.endswith("holds with conditions, except: with MHA")


def test_every_sign_is_different():
    assert len(set(SIGNS.values())) == len(SIGNS)


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


def test_the_register_is_complete():
    assert list(CLAIMS) == [f"C{n:02d}" for n in range(1, 57)]
    assert all(claim.how and claim.statement for claim in CLAIMS.values())
    assert sorted({claim.chapter for claim in CLAIMS.values()}) == [f"{n:02d}" for n in range(1, 21)]
