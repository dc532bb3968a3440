"""A strip is drawn of whatever a verdict holds, says in words what it shows, and puts every mark where it belongs."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.claims import strip
from bytebill.claims.strip import GREEN, LEFT, MIDDLE, RIGHT_END
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
    assert {label: strip._x(ratio)[0] for ratio, label in strip.TICKS.items() if label != "stated"} == {
        f"{sign}{n}": at(n if sign == "×" else 1 / n) for sign in "÷×" for n in (30, 10, 3)
    }
    assert numbers == ticks and (ticks[0], ticks[3], ticks[-1]) == (LEFT, MIDDLE, RIGHT_END) and len(ticks) == 7


def at(ratio: float) -> float:
    """Where a ratio stands: thirty times to the right end."""
    return MIDDLE + (RIGHT_END - MIDDLE) * math.log(ratio) / math.log(30)


def marks(*parts: dict, **more: object) -> list[tuple[str, ...]]:
    """What is drawn after the axis with its seven numbers and ticks: tags and rounded places."""
    names = {"rect": "x y width", "line": "x1 x2 y1 y2", "circle": "cx cy r", "path": "d", "text": "x y"}
    drawn = list(parsed({"parts": list(parts)} | more))[15:]
    return [(each.tag, *(each.get(name) for name in names[each.tag].split())) for each in drawn if each.tag in names]


def line(x1: float, x2: float, y1: float, y2: float) -> tuple[str, ...]:
    return ("line", *(f"{number:.1f}" for number in (x1, x2, y1, y2)))


def test_a_part_that_fails_is_a_band_a_tick_an_error_an_interval_and_a_mark():
    assert marks(part("figure", 10.0, 5.0, passed=False, how="measured")) == [
        ("rect", f"{at(0.8):.1f}", "17", f"{at(1.25) - at(0.8):.1f}"),
        line(MIDDLE, MIDDLE, 16, 40),
        line(MIDDLE, at(2), 28, 28),
        line(at(1.8), at(2.2), 28, 28),
        line(at(1.8), at(1.8), 24.5, 31.5),
        line(at(2.2), at(2.2), 24.5, 31.5),
        ("circle", f"{at(2):.1f}", "28", "5.0"),
    ]


def test_an_error_begins_at_the_nearest_bound_and_each_bound_has_a_tick():
    one = 0.48**0.5
    found = marks(part("figure", 0.2, [0.6, 0.8], passed=False, low=None))
    assert found[1:4] == [
        line(at(0.6 / one), at(0.6 / one), 16, 40),
        line(at(0.8 / one), at(0.8 / one), 16, 40),
        line(at(0.6 / one), at(0.2 / one), 28, 28),
    ]
    assert marks(part("figure", 4.0, [0.6, 0.8], passed=False, low=None))[3] == line(at(0.8 / one), at(4 / one), 28, 28)


@pytest.mark.parametrize(
    ("stated", "left", "width"),
    [([2, None], MIDDLE, RIGHT_END - MIDDLE), ([None, 2], LEFT, MIDDLE - LEFT), ([2, 2], MIDDLE, 2.0)],
)
def test_the_band_of_a_sentence_ends_at_its_bound_or_with_the_axis(stated, left, width):
    found = marks(part("direction", 2.0, stated, low=2.0, high=2.0))
    assert found[0] == ("rect", f"{left:.1f}", "17", f"{width:.1f}")
    assert found[1:] == [line(MIDDLE, MIDDLE, 16, 40), line(MIDDLE, MIDDLE, 19, 37)]  # no error, no interval, a mark


@pytest.mark.parametrize(
    ("low", "high", "n"), [(4.9, 5.1, 3), (4.99, 5.01, 0), (5.0, 5.0, 0), (None, 6.0, 0), (6.0, 5.0, 3)]
)
def test_an_interval_is_drawn_where_it_can_be_seen(low, high, n):
    assert len(marks(part("figure", 5.0, 5.0, low=low, high=high))) == 3 + n


@pytest.mark.parametrize(("found", "head"), [(1e9, "M295 28L287 22L287 34Z"), (-4.0, "M5 28L13 22L13 34Z")])
def test_an_arrow_points_away_from_the_axis(found, head):
    assert marks(part("figure", found, 5.0, low=None, passed=False))[-1] == ("path", head)


@pytest.mark.parametrize(
    ("content", "axis", "height"),
    [({}, True, 42), ({}, False, 28), ({"reach": {"cases": {"a": True}}}, True, 64), ({"reach": {}}, True, 42)],
)
def test_a_strip_is_as_high_as_what_it_holds(content, axis, height):
    drawing = ElementTree.fromstring(strip.strip(content, axis=axis))
    assert (drawing.get("viewBox"), drawing.get("height")) == (f"0 0 300 {height}", str(height))
    assert len(list(drawing)) == (15 if axis else 8) + (height == 64)


def test_a_part_without_an_axis_is_a_dash():
    assert marks(part("figure", None, 5.0)) == [("text", "150.0", "25")] and marks() == []
    assert marks(part("direction", 3.0, [0.0, None])) == [("text", "150.0", "25")]


@pytest.mark.parametrize(
    ("cases", "squares", "share", "y"),
    [
        ({"a": None}, 1, "0 of 1", "10"),
        ({"a": False, "b": True, "c": True, "d": None}, 4, "67% of 3", "10"),
        (dict.fromkeys(map(str, range(24)), True), 24, "100% of 24", "10"),
        (dict.fromkeys(map(str, range(25)), False), 25, "0% of 25", "14"),
    ],
)
def test_a_lane_has_a_square_a_case_and_their_share(cases, squares, share, y):
    (lane,) = [each for each in parsed({"reach": {"cases": cases}}) if each.get("transform")]
    *found, told = list(lane)
    assert (len(found), told.text, told.get("y"), told.get("text-anchor")) == (squares, share, y, "start")
    n_true = [*cases.values()].count(True)
    assert [GREEN in ElementTree.tostring(each, "unicode") for each in found] == [True] * n_true + [False] * (
        squares - n_true
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        ({"kind": "figure", "stated": [0.6, None], "unit": "fraction"}, "above 60%, within 1.25×"),
        ({"kind": "figure", "stated": [None, 2]}, "below 2, within 1.25×"),
        ({"kind": "direction", "stated": [None, 2]}, "below 2"),
        ({"kind": "direction", "stated": [2, None], "unit": "GPUs"}, "above 2 GPUs"),
        ({"kind": "figure", "stated": [2, 2]}, "2"),
        ({"kind": "figure", "stated": 7, "unit": "GPUs"}, "7 GPUs"),
        ({"kind": "figure", "stated": [1, 2, 3], "test": "a test"}, "a test"),
        ({"kind": "figure", "stated": True}, "–"),
        ({"kind": "cause", "stated": 3}, "at least half"),
    ],
)
def test_what_is_stated_is_told_with_its_bounds(one, said):
    assert strip.stated(one) == said


@pytest.mark.parametrize(
    ("found", "stated", "factor"),
    [
        (2.5, 5.0, 2.0),
        (10.0, 5.0, 2.0),
        (0.3, [0.6, 0.8], 2.0),
        (1.6, [0.6, 0.8], 2.0),
        (0.6, [0.6, 0.8], 1.0),
        (-1.0, 5.0, math.inf),
        (0.0, 5.0, math.inf),
        (None, 5.0, math.inf),
        (-10.0, -5.0, 2.0),
        (1.0, "x", math.inf),
    ],
)
def test_the_distance_is_a_factor_to_what_would_be_right(found, stated, factor):
    assert strip.distance({"kind": "figure", "stated": stated, "found": found}) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("word", "order"),
    [
        ("wrong", "dfcDFC"),
        ("right number, wrong reason", "cdfCDF"),  # figures and directions are alike then, and stay as they came
        ("right idea, wrong number", "fdcFDC"),
        (None, "fdcFDC"),
    ],
)
def test_parts_come_failing_first_then_by_what_the_word_is_about_and_causes_last(word, order):
    kinds = {"f": "figure", "d": "direction", "c": "cause"}
    parts = [part(kinds[key.lower()], 1.0, 1.0, key=key, passed=key.isupper()) for key in "CDFcdf"]
    parts.append(part("self-test", 1.0, 1.0, key="s"))
    assert "".join(each["key"] for each in strip.ordered({"word": word, "parts": parts})) == order


def test_the_drawings_of_the_legend_stand_in_their_middle():
    drawn = [next(iter(ElementTree.fromstring(svg))) for svg, _ in strip.legend()]
    upright = ["7.0", "1.0", "7.0", "13.0"]
    assert [[drawn[i].get(name) for name in ("x1", "y1", "x2", "y2")] for i in (0, 4)] == [upright] * 2
    assert {(each.get("cx"), each.get("cy")) for each in drawn[1:4]} == {("7.0", "7")}
    assert {each.get("transform") for each in drawn[5:]} == {"translate(3 3)"}
    assert [float(each.get("stroke-width")) for each in (drawn[0], drawn[4])] == [3, 1.2]


def test_the_legend_has_a_drawing_for_every_mark():
    drawn = [(ElementTree.fromstring(svg), said) for svg, said in strip.legend()]
    inside = [[each.tag for each in svg.iter()][1:] for svg, _ in drawn]
    assert inside == [["line"], ["circle"], ["circle"], ["circle"], ["line"], *[["g", "rect"]] * 2, ["g", "path"]]
    assert [said for _, said in drawn][:4] == ["derived (D)", "measured (M)", "simulated (S)", "published (P)"]
    assert [float(svg[0].get("r")) for svg, _ in drawn[1:4]] == [5.0, 3.2, 5.0]
    assert [GREEN in ElementTree.tostring(svg, "unicode") for svg, _ in drawn[5:7]] == [True, False]
    assert {(svg.get("width"), svg.get("aria-hidden")) for svg, _ in drawn} == {("14", "true")}
    assert [each.text for each in ElementTree.fromstring(strip.heading())] == list(strip.TICKS.values())
