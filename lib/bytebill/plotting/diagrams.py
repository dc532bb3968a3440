"""What does a chart not show? How things lie and move: five drawings for the first meeting with an idea.

Each takes the numbers it prints and returns an SVG: text as text, 360 units wide, so that it reads on a phone without
being shrunk, in the book's colours, which get their twins for the dark like any figure's. `bytebill.site.look.pictures`
computes the numbers and says where the drawings go.
"""

import random
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, WEIGHTS

VIEW_WIDTH = 360
Pass = tuple[int, int, int]  # a request's place: slot, first step, number of steps


def _drawing(parts: Iterable[str], *, height: float) -> str:
    """The parts as one SVG.

    >>> _drawing([_label(8, 20, "a < b")], height=30).splitlines()[1]
    '<text x="8" y="20" fill="#333333">a &lt; b</text>'
    """
    frame = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {VIEW_WIDTH} {height:g}" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    return "\n".join([frame, *parts, "</svg>", ""])


def _label(x: float, y: float, text: str, *, anchor: str = "", bold: bool = False, size: float = 0) -> str:
    """A line of text, its foot at y."""
    more = f' text-anchor="{anchor}"' if anchor else ""
    more += ' font-weight="700"' if bold else ""
    more += f' font-size="{size:g}"' if size else ""
    return f'<text x="{x:g}" y="{y:g}" fill="{INK}"{more}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, *, colour: str, filled: float = 0.0) -> str:
    """A rectangle: its edge in a colour, its ground the same one, as opaque as `filled` says."""
    ground = f'fill="{colour}" fill-opacity="{filled:g}"' if filled else 'fill="none"'
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {ground} stroke="{colour}"/>'


def _arrow(x1: float, y1: float, x2: float, y2: float, *, colour: str = INK) -> str:
    """A straight arrow along one axis."""
    back_x, back_y = ((x2 > x1) - (x2 < x1)) * 6, ((y2 > y1) - (y2 < y1)) * 6
    wing_x, wing_y = (0, 4) if back_x else (4, 0)
    foot_x, foot_y = x2 - back_x, y2 - back_y
    head = f"M{foot_x - wing_x:g} {foot_y - wing_y:g}L{x2:g} {y2:g}L{foot_x + wing_x:g} {foot_y + wing_y:g}"
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}{head}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _titled(title: str, parts: Iterable[str], *, height: float) -> str:
    """A drawing below the name of its case."""
    return _drawing(
        [_label(8, 18, title, bold=True), '<g transform="translate(0 24)">', *parts, "</g>"], height=height + 24
    )


def kv_cache(
    *,
    model: str,
    n_layers: int,
    n_kv_heads: int,
    bytes_of_cell: float,
    bytes_of_token: float,
    bytes_read: float,
    context_len: int,
) -> str:
    """Layers by tokens: a step reads every column and writes one."""
    left, top, side, n_columns, rows = 66, 46, 24, 10, (1, 2, 3, n_layers)
    tops = [top + at * (side + 2) + (12 if at == len(rows) - 1 else 0) for at in range(len(rows))]
    parts = [_label(left, 18, "a column for every token so far"), _label(left, 36, "read in every step", bold=True)]
    for y, row in zip(tops, rows, strict=True):
        parts.append(_label(left - 6, y + 17, f"layer {row}", anchor="end"))
        parts += [_box(left + at * side, y, side - 2, side, colour=KV, filled=0.3) for at in range(n_columns)]
        parts.append(_box(left + n_columns * side + 6, y, side - 2, side, colour=KV, filled=0.95))
    parts.append(_label(left - 6, tops[-1] - 1, "…", anchor="end"))
    new, foot = left + n_columns * side + 6 + side / 2 - 1, tops[-1] + side
    parts += [
        _label(352, 18, "new", anchor="end"),
        _label(352, 36, "written", anchor="end", bold=True),
        _label(left, foot + 22, f"One cell: K and V of {n_kv_heads} KV heads,"),
        _label(left, foot + 40, f"{bytes_of_cell:,.0f} bytes."),
        *(_box(left + at * 14, foot + 50, 11, 22, colour=KV, filled=0.3) for at in range(n_kv_heads)),
        _arrow(new, foot + 30, new, foot + 4, colour=KV),
        _label(352, foot + 46, "in every layer", anchor="end"),
        _label(8, foot + 96, f"Written a step: {n_layers} cells = {bytes_of_token:,.0f} bytes."),
        _label(8, foot + 115, f"Read a step at {context_len:,} tokens: {bytes_read / 1e9:.2f} GB."),
    ]
    return _titled(model, parts, height=foot + 125)


def prefill_and_decode(*, prefill_s: float, step_s: float, n_input: int, n_output: int, model: str) -> str:
    """One request on two axes of time: the first moments, and the whole."""
    left, right, n_shown = 8, 352, 8
    first_s = prefill_s + n_shown * step_s
    scale = (right - left) / first_s
    whole_s = prefill_s + (n_output - 1) * step_s
    tight = (right - left) / whole_s
    wide, each = prefill_s * scale, step_s * scale
    parts = [
        _label(left, 18, model, bold=True),
        _label(left, 38, f"The first {first_s * 1e3:,.0f} ms"),
        _box(left, 48, wide, 70, colour=FLOPS, filled=0.35),
        _label(left + 6, 70, "prefill:"),
        _label(left + 6, 88, f"{n_input:,} tokens"),
        _label(left + 6, 106, f"{prefill_s * 1e3:,.0f} ms"),
        *(_box(left + wide + at * each, 98, each - 2, 20, colour=BYTES, filled=0.35) for at in range(n_shown)),
        _label(left + wide + 8, 70, f"decode: {step_s * 1e3:.0f} ms for each token,"),
        _label(left + wide + 8, 88, "all weights read each time"),
        *_axis(124, left, right, ends=("0", f"{first_s * 1e3:,.0f} ms")),
        _label(left, 172, f"The whole request, {n_output} tokens out"),
        _box(left, 182, prefill_s * tight, 24, colour=FLOPS, filled=0.6),
        _box(left + prefill_s * tight, 182, (whole_s - prefill_s) * tight, 24, colour=BYTES, filled=0.35),
        _label(left + 60, 199, f"decode: {(whole_s - prefill_s) / whole_s:.0%} of the time"),
        *_axis(212, left, right, ends=("0", f"{whole_s:.1f} s")),
    ]
    return _drawing(parts, height=240)


def _axis(y: float, left: float, right: float, *, ends: tuple[str, str]) -> list[str]:
    """A line of time with words at its ends."""
    line = (
        f'<path d="M{left:g} {y - 3:g}v6M{left:g} {y:g}H{right:g}M{right:g} {y - 3:g}v6" fill="none" stroke="{INK}"/>'
    )
    return [line, _label(left, y + 17, ends[0]), _label(right, y + 17, ends[1], anchor="end")]


def slots_over_time(*, static: Sequence[Pass], continuous: Sequence[Pass], n_slots: int) -> str:
    """The same requests in the same slots, twice."""
    parts: list[str] = []
    unit = 344 / last_step(static)
    halves = (
        ("Static: a batch waits for its longest", static),
        ("Continuous: a free slot is filled at once", continuous),
    )
    for top, (name, passes) in zip((0, 150), halves, strict=True):
        last = last_step(passes)
        busy = sum(length for _, _, length in passes)
        parts.append(_label(8, top + 18, name, bold=True))
        parts += [_box(8, top + 28 + slot * 22, last * unit, 18, colour=IDLE, filled=0.15) for slot in range(n_slots)]
        for number, (slot, start, length) in enumerate(passes, 1):
            x, y = 8 + start * unit, top + 28 + slot * 22
            parts.append(_box(x, y, length * unit, 18, colour=BYTES, filled=0.35))
            parts.append(_label(x + 5, y + 14, str(number)))
        idle = 1 - busy / (last * n_slots)
        parts.append(_label(8, top + 28 + n_slots * 22 + 14, f"{last} steps, {idle:.0%} of the slots idle (grey)"))
    return _drawing(parts, height=150 + 28 + n_slots * 22 + 24)


def last_step(passes: Sequence[Pass]) -> int:
    """Steps until the last request is done.

    >>> last_step([(0, 0, 3), (1, 0, 5)])
    5
    """
    return max(start + length for _, start, length in passes)


def slots_in_batches(lengths: Sequence[int], *, n_slots: int) -> list[Pass]:
    """Where requests lie if a batch starts when the one before it has wholly ended.

    >>> slots_in_batches([3, 5, 2], n_slots=2)
    [(0, 0, 3), (1, 0, 5), (0, 5, 2)]
    """
    placed, start = [], 0
    for first in range(0, len(lengths), n_slots):
        batch = lengths[first : first + n_slots]
        placed += [(slot, start, length) for slot, length in enumerate(batch)]
        start += max(batch)
    return placed


def slots_refilled(lengths: Sequence[int], *, n_slots: int) -> list[Pass]:
    """Where requests lie if each takes the slot that is free first.

    >>> slots_refilled([3, 5, 2], n_slots=2)
    [(0, 0, 3), (1, 0, 5), (0, 3, 2)]
    """
    free, placed = [0] * n_slots, []
    for length in lengths:
        slot = free.index(min(free))
        placed.append((slot, free[slot], length))
        free[slot] += length
    return placed


def experts_met(*, n_experts: int, met: dict[int, int], n_each: int, n_shared: int, model: str) -> str:
    """The experts of one layer, and those that batches of several sizes meet."""
    pick, side, across = random.Random(7), 6.6, 16
    order = pick.sample(range(n_experts), n_experts)
    parts = [
        _label(8, 18, f"One layer of {model}", bold=True),
        _box(8, 28, 200, 26, colour=FLOPS, filled=0.15),
        _label(16, 46, f"router: {n_each} experts a token"),
        _box(226, 28, 126, 26, colour=WEIGHTS, filled=0.15),
        _label(234, 46, f"{n_shared} shared: always"),
        _arrow(108, 56, 108, 76),
    ]
    for at, (n_tokens, n_met) in enumerate(met.items()):
        x0, lit = 8 + at * 119, set(order[:n_met])
        for each in range(n_experts):
            x, y = x0 + each % across * side, 84 + each // across * side
            colour, filled = (WEIGHTS, 0.95) if each in lit else (IDLE, 0.12)
            parts.append(_box(x, y, side - 1.6, side - 1.6, colour=colour, filled=filled))
        foot = 84 + n_experts / across * side
        parts.append(_label(x0, foot + 18, f"{n_tokens} {'token' if n_tokens == 1 else 'tokens'}:"))
        parts.append(_label(x0, foot + 35, f"{n_met} of {n_experts}", bold=True))
    return _drawing(parts, height=84 + n_experts / across * side + 46)


def hand_over(
    *, model: str, n_input: int, cache_bytes: float, step_bytes: float, prefill_s: float, step_s: float
) -> str:
    """Prompts here, tokens there, and a cache that moves once."""
    parts = [
        _label(8, 18, "prefill pool", bold=True),
        _label(8, 36, "waits for arithmetic"),
        *(_box(8, 46 + at * 34, 122, 28, colour=FLOPS, filled=0.3) for at in range(2)),
        _label(16, 65, f"a prompt: {prefill_s * 1e3:,.0f} ms"),
        _label(16, 99, "the next prompt"),
        _label(240, 18, "decode pool", bold=True),
        _label(240, 36, "waits for bytes"),
        *(_box(236, 46 + at * 34, 116, 28, colour=BYTES, filled=0.3) for at in range(2)),
        _label(248, 65, f"a step: {step_s * 1e3:,.0f} ms"),
        _label(248, 99, "many users"),
        _arrow(132, 77, 233, 77, colour=KV),
        _box(153, 64, 58, 26, colour=KV, filled=0.95),
        _label(182, 56, "cache, once", anchor="middle"),
        _label(182, 107, f"{cache_bytes / 1e6:,.0f} MB", anchor="middle", bold=True),
        _label(8, 138, f"The cache of {n_input:,} tokens crosses once: as many"),
        _label(8, 156, f"bytes as {cache_bytes / step_bytes:.1%} of what one decode step reads."),
    ]
    return _titled(model, parts, height=166)
