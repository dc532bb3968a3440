"""How far above its prediction is a step, on each machine? One small drawing a model and dtype, a line a machine.

Drawn as SVG by hand, so that it follows the page's colours. A machine has its colour and its own mark, and the legend
names both; the numbers stand in a table below.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import log2
from typing import Any

PanelPoints = Mapping[str, Sequence[tuple[int, float]]]  # batch and ratio, by machine

_WIDTH, _HEIGHT = 320, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 308, 14, 178
_MARKS = (  # drawn around 0, one a machine
    '<circle r="4.5"/>',
    '<rect x="-4" y="-4" width="8" height="8"/>',
    '<path d="M0 -5.5L5 4H-5Z"/>',
    '<path d="M0 -6L6 0L0 6L-6 0Z"/>',
    '<path d="M0 5.5L5 -4H-5Z"/>',
    '<path d="M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z"/>',
)


def panels_html(steps: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """A drawing for each model and dtype, and what the marks mean."""
    drawings = "".join(_panel(title, points, names) for title, points in panel_points(steps).items())
    return f'<div class="bb-panels">{drawings}</div>{_legend(names)}'


def panel_points(steps: Sequence[Mapping[str, Any]]) -> dict[str, PanelPoints]:
    """Measured over predicted by batch, for each model and dtype at the context that most machines have timed."""
    by_title: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for (model, dtype), context_len in _contexts(steps).items():
        said = f", {context_len:,} tokens each" if context_len else ""
        points = by_title.setdefault(f"{model}, {dtype}{said}", {})
        for row in steps:
            if (row["model"], row["dtype"], row["context_len"]) == (model, dtype, context_len):
                for name, ratio in row["over_predicted"].items():
                    points.setdefault(name, []).append((row["batch"], ratio))
    return {title: points for title, points in by_title.items()}


def _contexts(steps: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int | None]:
    """Of each model and dtype the context with the most machines, then with the most steps."""
    counted: dict[tuple[str, str], dict[int | None, tuple[int, int]]] = {}
    for row in steps:
        of = counted.setdefault((row["model"], row["dtype"]), {})
        machines, n = of.get(row["context_len"], (0, 0))
        of[row["context_len"]] = (max(machines, len(row["over_predicted"])), n + 1)
    return {key: max(of, key=of.__getitem__) for key, of in counted.items()}


def _panel(title: str, points: PanelPoints, names: Sequence[str]) -> str:
    batches = sorted({batch for each in points.values() for batch, _ in each})
    most = max((ratio for each in points.values() for _, ratio in each), default=1.0)
    top = max(2.0, 0.5 * -(-most // 0.5))  # the next half above
    drawn = "".join(_line(points[name], names.index(name), batches, top) for name in names if name in points)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(described_panel(title, points))}">{"".join(_axes(batches, top))}{drawn}</svg></figure>'
    )


def described_panel(title: str, points: PanelPoints) -> str:
    """The drawing in words.

    >>> described_panel("m, bf16", {"a": [(1, 1.5), (8, 0.9)]})
    'Measured over predicted time of a step of m, bf16, by batch. a: 1.50 at batch 1, 0.90 at batch 8.'
    """
    told = "; ".join(
        f"{name}: {each[0][1]:.2f} at batch {each[0][0]}, {each[-1][1]:.2f} at batch {each[-1][0]}"
        for name, each in points.items()
    )
    return f"Measured over predicted time of a step of {title}, by batch. {told}."


def _axes(batches: Sequence[int], top: float) -> Iterator[str]:
    ticks = [0.5 * i for i in range(int(2 * top) + 1)] if top <= 3 else [float(i) for i in range(int(top) + 1)]
    for tick in ticks:
        y, strong = _y(tick, top), ' class="bb-one"' if tick == 1 else ""
        yield f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"{strong}/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for x, batch in ticks_apart([(_x(batch, batches), batch) for batch in batches]):
        yield f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{batch:,}</text>'
    yield f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_BOTTOM + 36}" text-anchor="middle">batch [sequences]</text>'


def ticks_apart(ticks: Sequence[tuple[float, int]], *, room: float = 34.0) -> list[tuple[float, int]]:
    """Of ticks in order the last, and those before it whose numbers do not touch.

    >>> ticks_apart([(0, 1), (40, 2), (60, 4), (90, 8)])
    [(0, 1), (40, 2), (90, 8)]
    """
    kept = list(ticks[-1:])
    for tick in reversed(ticks[:-1]):
        if kept[-1][0] - tick[0] >= room:
            kept.append(tick)
    return kept[::-1]


def _line(points: Sequence[tuple[int, float]], index: int, batches: Sequence[int], top: float) -> str:
    places = [(_x(batch, batches), _y(ratio, top)) for batch, ratio in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = "".join(f'<g transform="translate({x:.1f} {y:.1f})">{_mark(index)}</g>' for x, y in places)
    return f'<g class="bb-machine-{index % len(_MARKS)}"><polyline points="{path}" fill="none"/>{marks}</g>'


def _mark(index: int) -> str:
    return _MARKS[index % len(_MARKS)]


def _legend(names: Sequence[str]) -> str:
    keys = "".join(
        f'<li><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
        f'<g class="bb-machine-{index % len(_MARKS)}">{_mark(index)}</g></svg> {escape(name)}</li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="bb-machine-names">{keys}</ul>'


def _x(batch: int, batches: Sequence[int]) -> float:
    low, high = log2(batches[0]), log2(batches[-1])
    return _LEFT + 8 + (log2(batch) - low) / ((high - low) or 1) * (_RIGHT - _LEFT - 16)


def _y(ratio: float, top: float) -> float:
    return _BOTTOM - ratio / top * (_BOTTOM - _TOP)
