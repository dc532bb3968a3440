"""The five pictures show what the package computes, in words that can be read, and stand where they are explained."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bytebill.data import REPOSITORY
from bytebill.plotting import diagrams
from bytebill.site.look import dark, pictures

DRAWN = pictures.five_pictures()
PAGE = (REPOSITORY / "book" / "pictures.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
CHAR_WIDTH = 0.57  # of the size of a letter, on average: DejaVu, wider than most


@pytest.mark.parametrize("name", DRAWN)
def test_the_file_is_what_the_package_draws(name):
    assert (pictures.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == DRAWN[name], (
        "draw them again: python -m bytebill.site.look.pictures"
    )


def test_no_other_file_lies_beside_them_and_each_is_on_the_page():
    assert {path.stem for path in pictures.FOLDER.iterdir()} == set(DRAWN)
    assert set(re.findall(r"assets/diagrams/(\w+)\.svg", PAGE)) == set(DRAWN)


@pytest.mark.parametrize("svg", DRAWN.values(), ids=DRAWN)
def test_words_are_words_and_lie_within_the_picture(svg):
    texts = [*ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert len(texts) >= 5
    for each in texts:
        width = CHAR_WIDTH * 13 * len(each.text or "")
        left = float(each.get("x", "")) - {"end": width, "middle": width / 2}.get(each.get("text-anchor", ""), 0)
        assert left >= 0 and left + width <= diagrams.VIEW_WIDTH, each.text


@pytest.mark.parametrize("svg", DRAWN.values(), ids=DRAWN)
def test_every_colour_has_a_twin_in_the_dark(svg):
    colours = {colour.lower() for colour in re.findall(r"#[0-9a-fA-F]{6}", svg)}
    assert colours <= {colour.lower() for colour in dark.TWINS}
    assert not colours & set(re.findall(r"#[0-9a-f]{6}", dark.lit(svg)))


@pytest.mark.parametrize("place", [diagrams.slots_in_batches, diagrams.slots_refilled])
def test_every_request_is_served_once_and_no_slot_twice_at_a_time(place):
    passes = place(pictures.LENGTHS, n_slots=pictures.N_SLOTS)
    assert [length for _, _, length in passes] == list(pictures.LENGTHS)
    taken = [(slot, start + at) for slot, start, length in passes for at in range(length)]
    assert len(taken) == len(set(taken)) and {slot for slot, _, _ in passes} == set(range(pictures.N_SLOTS))


def test_time_is_to_scale():
    boxes = ElementTree.fromstring(DRAWN["prefill_and_decode"]).findall(f"{SVG}rect")
    wide, narrow = float(boxes[0].get("width", "")), float(boxes[2].get("x", "")) - float(boxes[1].get("x", ""))
    assert wide / narrow == pytest.approx(pictures.PREFILL_S / pictures.STEP_S, rel=1e-3)


def test_as_many_experts_are_lit_as_are_met():
    lit = [
        box
        for box in ElementTree.fromstring(DRAWN["experts"]).findall(f"{SVG}rect")
        if box.get("fill-opacity") == "0.95"
    ]
    assert len(lit) == sum(round(pictures.experts_expected(n_tokens)) for n_tokens in pictures.BATCHES)
