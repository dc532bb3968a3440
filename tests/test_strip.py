"""A strip is drawn of whatever a verdict holds, says in words what it shows, and puts every mark where it belongs."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.claims import strip
from bytebill.claims.strip import LEFT, MIDDLE, RIGHT_END
from sample_verdicts import REACH, SAMPLES, part, verdict

NUMBERS = st.none() | st.floats() | st.integers() | st.just("a word")
PARTS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["figure", "direction", "cause", "outside", "self-test", "new"])},
    optional={
        "stated": NUMBERS | st.lists(NUMBERS, max_size=3),
        "found": NUMBERS,
        "low": NUMBERS,
        "high": NUMBERS,
        "off_by": NUMBERS,
        "passed": st.booleans() | st.none(),
        "how": st.sampled_from(["derived", "measured", "simulated", "published", "new"]),
        "text": st.text(alphabet="a<&\"'"),
    },
)
CASES = st.dictionaries(st.text(max_size=3), st.booleans() | st.none(), max_size=99)


def parsed(content: dict) -> ElementTree.Element:
    return ElementTree.fromstring(strip.strip(content))


def mark(found: float, stated: object, kind: str = "figure", **more: object) -> ElementTree.Element:
    """The last thing drawn of one part: its mark."""
    return list(parsed({"parts": [part(kind, found, stated, **more)]}))[-1]


@given(st.lists(PARTS, max_size=4), st.none() | CASES)
def test_no_verdict_crashes_it(parts, cases):
    reach = None if cases is None else {"cases": cases}
    drawing = parsed({"id": "C01", "word": "wrong", "parts": parts, "reach": reach})
    assert drawing.get("aria-label", "").startswith("C01: ")
    assert not (drawing.text or "").strip() and all(not (each.tail or "").strip() for each in drawing.iter())
    for x in re.findall(r' (?:x|x1|x2|cx)="([^"]+)"', ElementTree.tostring(drawing, encoding="unicode")):
        assert 0 <= float(x) <= strip.WIDTH


def test_a_number_as_stated_stands_at_the_tall_tick_and_others_on_their_side():
    assert float(mark(5.0, 5.0).get("x1")) == MIDDLE
    assert float(mark(10.0, 5.0).get("x1")) - MIDDLE == pytest.approx(MIDDLE - float(mark(2.5, 5.0).get("x1")), abs=0.2)
    assert LEFT < float(mark(1.0, 5.0).get("x1")) < MIDDLE < float(mark(20.0, 5.0).get("x1")) < RIGHT_END


def test_marks_go_by_the_evidence():
    shapes = {how: mark(5.0, 5.0, how=how) for how in ("derived", "measured", "simulated", "published")}
    assert [shape.tag for shape in shapes.values()] == ["line", "circle", "circle", "circle"]
    assert float(shapes["simulated"].get("r")) < float(shapes["measured"].get("r"))
    assert "stroke" in shapes["published"].get("style") and "stroke" not in shapes["measured"].get("style")


@pytest.mark.parametrize(("found", "side"), [(1e9, RIGHT_END), (0.0, LEFT), (-4.0, LEFT), (0.1, LEFT)])
def test_what_runs_off_the_axis_is_an_arrow(found, side):
    arrow = mark(found, 5.0, passed=False)
    assert arrow.tag == "path" and arrow.get("d").startswith(f"M{side + (9 if side == RIGHT_END else -9)} ")


def test_the_band_is_what_counts_as_right():
    assert strip.placed(part("figure", 0.7, [0.6, 0.8]))[1] == pytest.approx(
        (0.8 * (3 / 4) ** 0.5, 1.25 * (4 / 3) ** 0.5)
    )
    assert strip.placed(part("direction", 3.0, [2.0, None]))[1] == (1.0, float("inf"))
    assert strip.placed(part("cause", 0.23, None)) == (0.5, (1.0, float("inf")))
    assert strip.placed(part("direction", 3.0, [0.0, None])) is None


def test_the_part_that_decided_is_the_first():
    kinds = {id: strip.ordered(content)[0]["kind"] for id, content in SAMPLES.items()}
    assert (kinds["C04"], kinds["C05"], kinds["C06"]) == ("cause", "figure", "direction")
    near, far = part("figure", 8.0, 5.0, passed=False), part("figure", 50.0, 5.0, passed=False)
    assert strip.ordered(verdict("C01", "right idea, wrong number", near, far))[0] is far


def test_the_strip_says_in_words_what_it_shows():
    assert strip.described(SAMPLES["C04"]) == (
        "C04: <cause> of a step: stated at least half, found 23%, simulated; does not count as right; 1 more below"
    )
    assert strip.described(SAMPLES["C02"]).endswith("true in 28 of 38 deployments (74%), 1 outside its terms")
    assert strip.described({"id": "C01"}) == "C01: nothing to draw"


def test_the_panel_is_a_lane_of_squares():
    drawing = strip.strip({"parts": [], "reach": REACH | {"cases": {"a": True, "b": False, "c": None}}})
    assert (drawing.count("<rect"), drawing.count("M1.5 1.5")) == (2, 1) and "50% of 2" in drawing


@pytest.mark.parametrize(
    ("n_cases", "last_x", "last_y", "share_x"),
    [
        (3, 14 + 2 * 9.5, 2, 14 + 3 * 9.5 + 4),
        (24, 14 + 23 * 208 / 24, 2, 226),
        (48, 14 + 23 * 208 / 24, 2 + 208 / 24, 226),
    ],
)
def test_a_panel_fills_its_lane_column_by_column_in_one_row_or_two(n_cases, last_x, last_y, share_x):
    drawing = strip.strip({"parts": [], "reach": {"cases": dict.fromkeys(map(str, range(n_cases)), True)}})
    x, y = re.findall(r"translate\(([\d.]+) ([\d.]+)\) scale", drawing)[-1]
    assert (float(x), float(y)) == pytest.approx((last_x, last_y), abs=0.01)
    assert float(re.findall(r'<text x="([\d.]+)"', drawing)[-1]) == pytest.approx(share_x, abs=0.06)


def test_ticks_stand_under_their_numbers_from_end_to_end():
    assert MIDDLE - LEFT == RIGHT_END - MIDDLE
    drawing = parsed({"parts": []})
    numbers = [float(each.get("x")) for each in drawing if (each.text or "")[:1] in tuple("÷×s")]
    ticks = [float(each.get("x1")) for each in drawing if each.get("x1", "") == each.get("x2")]
    assert numbers == ticks and (ticks[0], ticks[3], ticks[-1]) == (LEFT, MIDDLE, RIGHT_END) and len(ticks) == 7
