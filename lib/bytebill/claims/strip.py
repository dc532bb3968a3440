"""How far is a number from what was said of it? One line of a verdict, drawn as an SVG from its JSON.

The part that decided the word is drawn; the others stand in the table. The axis is logarithmic, from a thirtieth of the
stated number to thirty times it. The tall tick is what is stated (of a direction or a cause, the bound) and the green
band what counts as right. A mark is what was found, by the evidence for it as in the book's figures: a line
is derived, a small dot simulated, a filled one measured, a hollow one published. The thin bar is its interval, the
thick one the error, an arrowhead says that it runs off the axis. The squares below are the panel: filled where the
sentence is true, hollow where it is false, a cross where it does not apply. Nothing here may crash.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from html import escape
from math import ceil, inf, isfinite, log, sqrt
from typing import Any, TypeGuard

from bytebill.claims.register import COUNTED_KINDS, HALF, RIGHT
from bytebill.units import show

Content = Mapping[str, Any]
Bounds = tuple[float, float]

WIDTH, LEFT, RIGHT_END, MIDDLE = 300, 14, 286, 150
SPAN = 30.0
TICKS = {1 / 30: "÷30", 1 / 10: "÷10", 1 / 3: "÷3", 1.0: "stated", 3.0: "×3", 10.0: "×10", 30.0: "×30"}
GREEN, BLUE, GROUND = "var(--bb-safe, #1a7f37)", "var(--bb-bytes, #0072b2)", "var(--pst-color-background, #fff)"
LEGEND = (  # what a drawing means, for a page or a slide that has to say it
    ("tall tick", "what is stated, or its bound"),
    ("green band", "what counts as right"),
    ("mark", "what was found: a line is derived, a small dot simulated, a full one measured, a hollow one published"),
    ("bar", "the error, from the green band to the mark; a thin one is the interval of what was found"),
    ("squares", "the panel of deployments: full where the sentence is true, hollow where it is false"),
)
TONE, _INK = "var(--bb-tone, #57606a)", "currentColor"


def strip(content: Content, *, axis: bool = True) -> str:
    """The strip of a verdict; with `axis` the numbers stand over it, for places where no heading has them."""
    parts = ordered(content)
    top, below = (14 if axis else 0), _lane(content.get("reach"))
    height = top + 28 + (22 if below else 0)
    drawn = [_scale(top, numbers=axis), *map(partial(_part, top=top), parts[:1])]
    if parts and placed(parts[0]) is None:
        drawn.append(_text(MIDDLE, top + 11, "–", "middle"))
    body = "".join([*drawn, f'<g transform="translate(0 {top + 28})">{below}</g>' if below else ""])
    return (
        f'<svg class="bb-strip" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(described(content))}" style="max-width: 100%">{body}</svg>'
    )


def heading() -> str:
    """The axis alone, to stand over many strips."""
    return (
        f'<svg class="bb-strip" viewBox="0 0 {WIDTH} 14" width="{WIDTH}" height="14" aria-hidden="true" '
        f'style="max-width: 100%">{_numbers(10)}</svg>'
    )


def ordered(content: Content) -> list[Content]:
    """The counted parts, the one that decided the word first.

    >>> ordered({"word": "wrong", "parts": [{"kind": "figure"}, {"kind": "direction", "passed": False}]})[0]["kind"]
    'direction'
    """
    parts = [part for part in content.get("parts") or () if part.get("kind") in COUNTED_KINDS]
    first = {"wrong": "direction", "right number, wrong reason": "cause"}.get(str(content.get("word")), "figure")

    def weight(part: Content) -> tuple[bool, bool, bool, float]:
        far = distance(part)
        return bool(part.get("passed")), part["kind"] != first, part["kind"] == "cause", -far

    return sorted(parts, key=weight)


def bounds(part: Content) -> Bounds | None:
    """What a part states: one number twice, or the two ends, where infinity is no end; None where it states none.

    >>> bounds({"kind": "direction", "stated": [0.9, None]}), bounds({"kind": "figure", "stated": 140e9})
    ((0.9, inf), (140000000000.0, 140000000000.0))
    """
    if part.get("kind") == "cause":
        return HALF, inf
    stated = part.get("stated")
    low, high = stated if isinstance(stated, list | tuple) and len(stated) == 2 else (stated, stated)
    if not (_is_number(low) or _is_number(high)):
        return None
    return (float(low) if _is_number(low) else -inf), (float(high) if _is_number(high) else inf)


def distance(part: Content) -> float:
    """The factor between what was found and what would be right; 1 where it is right, infinite across zero."""
    ends, found = bounds(part), part.get("found")
    if ends is None or not _is_number(found):
        return inf
    if ends[0] <= found <= ends[1]:
        return 1.0
    nearest = ends[0] if found < ends[0] else ends[1]
    return max(found / nearest, nearest / found) if found * nearest > 0 else inf


def placed(part: Content) -> tuple[float, Bounds] | None:
    """The number that stands at 1 on a part's axis, and what counts as right, over it; None where there is no axis.

    >>> placed({"kind": "figure", "stated": 5.0, "found": 4.0})
    (5.0, (0.8, 1.25))
    >>> placed({"kind": "direction", "stated": [None, 2], "found": 4.0})
    (2.0, (-inf, 1.0))
    >>> placed({"kind": "direction", "stated": [-1, 4], "found": 2.0})
    (4.0, (-0.25, 1.0))
    """
    ends = bounds(part)
    if ends is None or not _is_number(part.get("found")):
        return None
    finite = [end for end in ends if isfinite(end)]
    both = len(finite) == 2 and finite[0] * finite[1] > 0
    one = sqrt(finite[0] * finite[1]) if both else max(finite, key=abs)
    one = -one if both and finite[0] < 0 else one
    if one == 0:
        return None
    slack = RIGHT if part.get("kind") == "figure" else 1.0
    low, high = sorted(end / one for end in ends)
    return one, (low / slack, high * slack)


def described(content: Content) -> str:
    """The strip in words."""
    parts = ordered(content)
    said = "; ".join(filter(None, (*map(_said, parts[:1]), reached(content.get("reach")))))
    more = f"; {len(parts) - 1} more below" if len(parts) > 1 else ""
    return f"{content.get('id', '')}: {said or 'nothing to draw'}{more}"


def reached(reach: Content | None) -> str:
    """How far a claim carries, in words.

    >>> reached({"panel": "deployments", "share": 0.5, "n": 2, "cases": {"a": True, "b": False, "c": None}})
    'true in 1 of 2 deployments (50%), 1 outside its terms'
    """
    cases = list(((reach or {}).get("cases") or {}).values())
    if not reach or not cases:
        return ""
    true, of, outside = cases.count(True), len(cases) - cases.count(None), cases.count(None)
    beside = f", {outside} outside its terms" if outside else ""
    return f"true in {true} of {of} {reach.get('panel') or 'cases'} ({true / of if of else 0:.0%}){beside}"


def shown_number(value: object, unit: object = "") -> str:
    """A number of a verdict with its unit; a dash where there is none.

    >>> shown_number(140e9, "B"), shown_number(64, "fraction"), shown_number(None)
    ('140 GB', '6,400%', '–')
    """
    if not _is_number(value):
        return "–"
    return show(value, unit=str(unit or ""))


def stated(part: Content) -> str:
    """What a part states or asks for, in words.

    >>> stated({"kind": "figure", "stated": [0.6, 0.8], "unit": "fraction"}), stated({"kind": "cause"})
    ('60% to 80%', 'at least half')
    """
    ends, unit = bounds(part), part.get("unit")
    if part.get("kind") == "cause":
        return "at least half"
    if ends is None:
        return str(part.get("test") or "–")
    low, high = (shown_number(end, unit) for end in ends)
    if isfinite(ends[0]) and isfinite(ends[1]):
        return low if low == high else f"{low} to {high}"
    slack = f", within {RIGHT}×" if part.get("kind") == "figure" else ""
    return (f"above {low}" if isfinite(ends[0]) else f"below {high}") + slack


def _said(part: Content) -> str:
    off_by = part.get("off_by")
    off = f", off by {off_by:.3g}" if _is_number(off_by) else ""
    result = "counts as right" if part.get("passed") else "does not count as right"
    found = shown_number(part.get("found"), part.get("unit"))
    return f"{part.get('text', '')}: stated {stated(part)}, found {found}{off}, {part.get('how', '')}; {result}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _x(ratio: float) -> tuple[float, int]:
    """Where a ratio stands, and on which side it runs off the axis: -1, 0 or 1.

    >>> [_x(ratio)[1] for ratio in (0.9 / SPAN, 1 / SPAN, SPAN, 1.1 * SPAN)]
    [-1, 0, 0, 1]
    """
    if ratio <= 0 or ratio < 1 / SPAN:
        return LEFT, -1
    if ratio > SPAN:
        return RIGHT_END, 1
    return MIDDLE + (RIGHT_END - MIDDLE) * log(ratio) / log(SPAN), 0


def _scale(top: int, *, numbers: bool) -> str:
    y = top + 14
    ticks = "".join(_line(_x(tick)[0], y - 3, _x(tick)[0], y + 3, _INK, 1, 0.45) for tick in TICKS)
    return (_numbers(top - 4) if numbers else "") + _line(LEFT, y, RIGHT_END, y, _INK, 1, 0.3) + ticks


def _numbers(y: int) -> str:
    return "".join(_text(_x(tick)[0], y, name, "middle") for tick, name in TICKS.items())


def _part(part: Content, top: int) -> str:
    """The part that decided, on the axis: what counts as right, its interval, its error, its mark."""
    if (place := placed(part)) is None:
        return ""
    one, right = place
    x, off = _x(part["found"] / one)
    y, tone = top + 14, part.get("how")
    drawn = [_band(right, top), _tall(part, one, top)]
    if not part.get("passed"):
        start = _x(_nearest(part, one))[0]
        drawn.append(_line(start, y, x, y, TONE, 3))
    drawn.append(_interval(part, one, y))
    drawn.append(_arrow(off, y) if off else _mark(str(tone), x, y))
    return "".join(drawn)


def _band(right: Bounds, top: int) -> str:
    left, end = _x(right[0])[0], _x(right[1])[0]
    shape = f'x="{left:.1f}" y="{top + 3}" width="{max(end - left, 2):.1f}" height="22" rx="1.5"'
    return f'<rect {shape} style="fill: {GREEN}" opacity=".17"/>'


def _tall(part: Content, one: float, top: int) -> str:
    ends = {end / one for end in bounds(part) or () if isfinite(end)}
    return "".join(_line(_x(end)[0], top + 2, _x(end)[0], top + 26, _INK, 1.2, 0.8) for end in sorted(ends))


def _nearest(part: Content, one: float) -> float:
    """The stated end that is nearest to what was found, over the number at 1."""
    ends = [end for end in bounds(part) or () if isfinite(end)]
    return min(ends, key=lambda end: abs(end - part["found"])) / one


def _interval(part: Content, one: float, y: int) -> str:
    low, high = part.get("low"), part.get("high")
    if not (_is_number(low) and _is_number(high)) or low == high:
        return ""
    left, end = sorted(_x(value / one)[0] for value in (low, high))
    caps = "".join(_line(x, y - 3.5, x, y + 3.5, _INK, 1.2) for x in (left, end))
    return _line(left, y, end, y, _INK, 1.2) + caps if end - left > 1 else ""


def _mark(how: str, x: float, y: int) -> str:
    size = 5.0
    if how == "published":
        style = f"fill: {GROUND}; stroke: {_INK}"
        return f'<circle cx="{x:.1f}" cy="{y}" r="{size}" style="{style}" stroke-width="1.8"/>'
    if how in ("measured", "simulated"):
        radius = size if how == "measured" else size * 0.64
        return f'<circle cx="{x:.1f}" cy="{y}" r="{radius:.1f}" style="fill: {_INK}"/>'
    return _line(x, y - 9, x, y + 9, BLUE, 3)


def _arrow(side: int, y: int) -> str:
    """The head of an arrow at an end of the axis: what is meant lies beyond."""
    x = (LEFT if side < 0 else RIGHT_END) + 9 * side
    base = x - 8 * side
    return f'<path d="M{x} {y}L{base} {y - 6}L{base} {y + 6}Z" style="fill: {TONE}"/>'


def _lane(reach: Content | None) -> str:
    """The panel as squares, and the share in words."""
    cases = list(((reach or {}).get("cases") or {}).values())
    if not reach or not cases:
        return ""
    inside = [bool(case) for case in cases if case is not None]
    outside = len(cases) - len(inside)
    rows = 1 if len(cases) <= 24 else 2  # filled column by column, so that the share is a length in both
    columns = ceil(len(cases) / rows)
    pitch = min(9.5, 208 / columns)
    squares = [*(_square(true) for true in sorted(inside, reverse=True)), *[_cross()] * outside]
    drawn = "".join(
        f'<g transform="translate({LEFT + index // rows * pitch:.2f} {2 + index % rows * pitch:.2f}) '
        f'scale({pitch / 10:.3f})">{square}</g>'
        for index, square in enumerate(squares)
    )
    share = f"{sum(inside) / len(inside):.0%} of {len(inside)}" if inside else f"0 of {len(cases)}"
    return drawn + _text(LEFT + columns * pitch + 4, 10 + 4 * (rows - 1), share, "start")


def _square(true: bool) -> str:
    if true:
        return f'<rect width="8" height="8" style="fill: {GREEN}"/>'
    return f'<rect x=".75" y=".75" width="6.5" height="6.5" style="fill: none; stroke: {TONE}" stroke-width="1.5"/>'


def _cross() -> str:
    return f'<path d="M1.5 1.5L6.5 6.5M6.5 1.5L1.5 6.5" style="stroke: {_INK}" stroke-width="1.2" opacity=".55"/>'


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float, opacity: float = 1) -> str:
    faint = f' opacity="{opacity}"' if opacity < 1 else ""
    at = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {at} style="stroke: {stroke}" stroke-width="{width}"{faint}/>'


def _text(x: float, y: float, said: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="11.5" text-anchor="{anchor}" style="fill: {_INK}" '
        f'opacity=".85">{escape(said)}</text>'
    )


def legend() -> Iterable[tuple[str, str]]:
    """Each mark as a small drawing, and what it means."""

    def small(inside: str) -> str:
        return f'<svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">{inside}</svg>'

    for how in ("derived", "measured", "simulated", "published"):
        yield small(_mark(how, 7, 7) if how != "derived" else _line(7, 1, 7, 13, BLUE, 3)), f"{how} ({how[0].upper()})"
    yield small(_line(7, 1, 7, 13, _INK, 1.2)), "stated, or the bound of a direction or a cause"
    for drawn, meaning in ((_square(True), "a case where it is true"), (_square(False), "where it is false")):
        yield small(f'<g transform="translate(3 3)">{drawn}</g>'), meaning
    yield small(f'<g transform="translate(3 3)">{_cross()}</g>'), "outside its own terms"
