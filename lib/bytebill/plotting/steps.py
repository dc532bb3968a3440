"""Figures of a step: its time, or what it yields, over bytes and batch; predicted as lines, measured as marks."""

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bytebill.plotting.style import (
    BYTES,
    FLOPS,
    IDLE,
    INK,
    KV,
    MONEY,
    WEIGHTS,
    Curve,
    finished,
    only_ticks,
    round_numbers,
)

_PARTS = (
    ("its bytes at full bandwidth", BYTES, 1.0),
    ("more, read matrix by matrix", BYTES, 0.45),
    ("all that is not a weight", IDLE, 1.0),
)
_LINES = ("-", "--", ":", "-.")  # where a colour says what is moved, the line says by whom


def line_of_bytes(
    ax: Axes, *, stacks: Curve, line: Curve, models: Mapping[str, tuple[float, float]], model: str
) -> Axes:
    """Measured time per token over the bytes it reads [B, s; drawn in GB, ms], of bare stacks and of one model in
    several widths, and the line predicted from the read bandwidth. Names stand on the side where the line is not."""
    (x, y), (bytes_read, step_s) = line, stacks
    ax.plot(_scaled(x, 1e-9), _scaled(y, 1e3), color=BYTES, zorder=1, label="predicted: bytes / bandwidth")
    ax.plot(_scaled(bytes_read, 1e-9), _scaled(step_s, 1e3), "o", color=BYTES, markersize=7, label="decode, bare stack")
    for i, (name, (size, seconds)) in enumerate(models.items()):
        said, above = None if i else model, seconds >= size * y[-1] / x[-1]
        ax.plot([size / 1e9], [seconds * 1e3], "o", color=IDLE, markersize=7, label=said)
        offset, side = ((-8, 0), "right") if above else ((8, -8), "left")
        ax.annotate(
            name, (size / 1e9, seconds * 1e3), offset, textcoords="offset points", ha=side, va="center", color=IDLE
        )
    longest = max(y[-1], *step_s, *(seconds for _, seconds in models.values()))
    return finished(
        ax,
        legend="lower right",
        xlabel="weights read for one token [GB]",
        ylabel="time for one token [ms]",
        xlim=(0, None),
        ylim=(0, 1.1e3 * longest),
    )


def _scaled(values: Sequence[float], by: float) -> list[float]:
    return [each * by for each in values]


def step_parts(ax: Axes, parts: Mapping[str, tuple[float, float, float]], *, bounds: Mapping[str, float]) -> Axes:
    """Where the time of each step goes [ms]: the read of its weights, all else, and apart its arithmetic; as a line its
    bound, bytes over bandwidth. Each part in seconds: arithmetic, read matrix by matrix, step."""
    longest = max(max(step_s, bounds[step]) for step, (_, _, step_s) in parts.items())
    drawn: set[str] = set()
    for i, (step, (arithmetic_s, read_s, step_s)) in enumerate(parts.items()):
        bound_s, read_s = bounds[step], min(read_s, step_s)
        ends = (0.0, min(bound_s, read_s), read_s, step_s)
        for start, end, (label, color, alpha) in zip(ends, ends[1:], _PARTS, strict=False):
            if end - start > longest / 500:  # what cannot be seen is not in the legend
                said = None if label in drawn else label
                drawn.add(label)
                ax.barh(i, (end - start) * 1e3, left=start * 1e3, height=0.42, color=color, alpha=alpha, label=said)
        said, line = (None, None) if i else ("arithmetic at the peak", "the announced bound")
        ax.barh(i + 0.31, arithmetic_s * 1e3, height=0.12, color=FLOPS, label=said)
        ax.plot([bound_s * 1e3] * 2, [i - 0.32, i + 0.26], color=INK, linewidth=1.8, label=line)
        beyond = max(step_s, bound_s) * 1e3
        ax.annotate(f"step {step_s * 1e3:.1f} ms", (beyond, i), (6, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(parts)), list(parts))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.18e3 * longest)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9)
    return finished(ax, xlabel="time for one token [ms]", no_grid="y")


def bending_over(ax: Axes, measured: Mapping[str, Curve], *, predicted: Mapping[str, Curve]) -> Axes:
    """Tokens a second over batch, log-log: predictions as lines, measurements as marks; kinds of attention differ in
    their lines and marks and are named at the lines' ends; all are of the colour of caches."""
    marks = dict(zip(measured, "osD^", strict=False))
    for (name, (x, y)), line in zip(measured.items(), _LINES, strict=False):
        ax.loglog(*predicted[name], line, color=KV, linewidth=1.3)
        ax.loglog(x, y, marks[name], color=KV, markersize=7)
        ax.plot([], [], marks[name], color=KV, markersize=7, label=name)
    lowest, last = 0.0, max(max(x) for x, _ in measured.values())
    for name in sorted(measured, key=lambda name: predicted[name][1][-1]):
        lowest = max(predicted[name][1][-1], 1.17 * lowest)  # names are a line apart
        ax.text(1.12 * last, lowest, name, color=KV, va="center", fontsize=10)
    ax.set_xlim(right=1.7 * last)
    only_ticks(ax.xaxis, sorted({tick for x, _ in measured.values() for tick in x}))
    only_ticks(ax.yaxis, round_numbers(*ax.get_ylim()), "{:,}")
    return finished(ax, legend="upper left", xlabel="sequences in the batch", ylabel="tokens a second")


def between_two(
    ax: Axes,
    predicted: Mapping[str, Curve],
    *,
    measured: Mapping[str, Curve],
    published: Mapping[str, Curve] | None = None,
    ylabel: str,
) -> Axes:
    """Time [s] over tokens in a step, log-log [ms]: a mixture, then the small and the large dense model that it lies
    between. Lines are predicted, filled marks measured, by the same names; hollow ones are the mixture as published."""
    styles = ((WEIGHTS, "-", "D"), (INK, "--", "o"), (INK, ":", "s"))
    for (name, (x, y)), (color, line, mark) in zip(predicted.items(), styles, strict=True):
        ax.loglog(x, [each * 1e3 for each in y], line, color=color, linewidth=2.5 if color == WEIGHTS else 1.3)
        at, found = measured[name]
        ax.loglog(at, [each * 1e3 for each in found], mark, color=color, markersize=6)
        ax.plot([], [], line, marker=mark, color=color, label=name)
    for (name, (x, y)), mark in zip((published or {}).items(), "^v", strict=False):
        hollow = {"markerfacecolor": "none", "markersize": 8, "label": f"mixture, published: {name}"}
        ax.loglog(x, [each * 1e3 for each in y], mark, color=WEIGHTS, **hollow)
    largest = max(max(x) for x, _ in (*predicted.values(), *measured.values()))
    _batch_axis(ax, largest, step=4 if largest > 256 else 2)
    only_ticks(ax.yaxis, round_numbers(*ax.get_ylim()))
    return finished(ax, legend="upper left", xlabel="tokens in a step", ylabel=ylabel)


def over_active(ax: Axes, curves: Mapping[str, Curve], *, fits: Mapping[str, tuple[float, float]]) -> Axes:
    """Step time of mixtures over that of dense models of their active size, by batch; a square at the largest batch
    that `fits`."""
    for (name, (x, y)), line in zip(curves.items(), _LINES, strict=False):
        ax.loglog(x, y, line, color=WEIGHTS, linewidth=2)
        top = max(range(len(y)), key=y.__getitem__)
        ax.annotate(name, (x[top], y[top]), (0, 6), textcoords="offset points", ha="center", fontsize=10)
        ax.loglog(*([each] for each in fits[name]), "s", color=KV, markersize=8)
    ax.plot([], [], "s", color=KV, markersize=8, label="where memory ends")
    ax.axhline(1, color=INK, linewidth=0.8)
    _batch_axis(ax, max(max(x) for x, _ in curves.values()), step=4)
    only_ticks(ax.yaxis, [1, 2, 4, 8, 16])
    return finished(
        ax,
        legend="upper right",
        ylim=(0.85, 1.5 * max(max(y) for _, y in curves.values())),
        xlabel="tokens in a step",
        ylabel="step time, mixture over\ndense model of its active size",
    )


def turning_contexts(
    ax: Axes, groups: Mapping[str, Curve], *, fits: Sequence[tuple[float, float]], highest: float
) -> Axes:
    """S* over context [tokens], log-log: a mark for each deployment, by kind of model. Above the line some batch makes
    decode wait for arithmetic, below it none does; rings where such a batch fits. S* of 0 and of inf have lanes."""
    low, right = 64.0, highest * 1.6
    bottom, top, ends = low / 6, highest * 6, [low, highest]
    lanes = {0.0: low / 2.7, inf: highest * 2.7}  # the middles of what is left below and above the ticks
    ax.fill_between([low, highest, right], [low, highest, highest], [highest] * 3, color=FLOPS, alpha=0.1, linewidth=0)
    ax.fill_between([low, highest, right], [low] * 3, [low, highest, highest], color=BYTES, alpha=0.08, linewidth=0)
    ax.axhspan(highest, top, color=FLOPS, alpha=0.2, linewidth=0)
    ax.axhspan(bottom, low, color=BYTES, alpha=0.2, linewidth=0)
    ax.loglog(ends, ends, color=INK, linewidth=1)
    for (name, (x, y)), color, mark in zip(groups.items(), (BYTES, MONEY, KV), "osD", strict=False):
        drawn = [lanes.get(each, each) for each in y]
        ax.loglog(x, drawn, mark, color=color, markersize=6, alpha=0.8, label=name)
    if fits:
        x, y = np.transpose(fits)
        ax.loglog(x, y, "o", color=INK, markerfacecolor="none", markersize=13, label="and such a batch fits")
    for length, text in {0.0: "no batch at any context", inf: "some batch at any context"}.items():
        ax.text(low * 1.15, lanes[length], text, va="center", color=INK)
    ax.text(low * 1.15, highest * 0.75, "some batch waits for arithmetic", va="top", color=FLOPS)
    ax.text(right * 0.9, low * 1.35, "every batch waits for memory", ha="right", color=BYTES)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0.77))
    ticks = [4**n for n in range(3, 12) if low <= 4**n <= highest]
    only_ticks(ax.xaxis, ticks, "{:,}")
    only_ticks(ax.yaxis, ticks, "{:,}")
    return finished(
        ax,
        xlabel="mean context of its users [tokens]",
        ylabel="S*: context from which no\nbatch is compute-bound [tokens]",
        xlim=(low, right),
        ylim=(bottom, top),
    )


def token_time(ax: Axes, published: Curve, *, predicted: Mapping[str, Curve], knee: float) -> Axes:
    """Time of an output token [s] over users, the first axis logarithmic: hollow marks as published, lines as
    predicted, and the critical batch as a vertical line."""
    for (name, (x, y)), (color, style) in zip(
        predicted.items(), ((WEIGHTS, "-"), (KV, "-"), (INK, "--")), strict=False
    ):
        ax.semilogx(x, [each * 1e3 for each in y], style, color=color, label=name)
    ax.semilogx(
        published[0],
        [each * 1e3 for each in published[1]],
        "o",
        color=INK,
        markerfacecolor="none",
        markersize=8,
        label="published",
    )
    ax.axvline(knee, color=FLOPS, linewidth=1)
    ax.annotate(
        f"critical batch, {knee:.0f}",
        (knee, 0.04),
        (-5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        color=FLOPS,
    )
    _batch_axis(ax, max(max(x) for x, _ in predicted.values()), step=2)
    return finished(ax, legend="upper left", xlabel="users", ylabel="time of an output token [ms]", ylim=(0, None))


def where_a_step_goes(ax: Axes, parts: Mapping[str, Sequence[float]], *, batches: Sequence[int]) -> Axes:
    """Time of one decode step by batch, a bar of its parts [s, drawn in ms]: attention, products, the host, others."""
    bottom = np.zeros(len(batches))
    for (name, seconds), color in zip(parts.items(), (KV, WEIGHTS, IDLE, "#D0D0D0"), strict=True):
        heights = np.array(seconds) * 1e3
        ax.bar(range(len(batches)), heights, bottom=bottom, width=0.7, color=color, label=name)
        bottom += heights
    ax.set_xticks(range(len(batches)), [f"{batch:,}" for batch in batches])
    return finished(
        ax, legend="upper left", no_grid="x", xlabel="sequences in the batch", ylabel="one decode step [ms]"
    )


def _batch_axis(ax: Axes, largest: float, *, step: int = 2) -> None:
    """Powers of `step` from 1 to the largest batch."""
    only_ticks(ax.xaxis, [step**n for n in range(40) if step**n <= largest], "{:,}")


def residuals(ax: Axes, regimes: Mapping[str, Mapping[str, Sequence[float]]], *, within: float) -> Axes:
    """Predicted over measured, minus one: a column of dots for each value of each regime, the middle of them as a bar,
    and a band of `within` to both sides. Columns of a regime stand together under its name."""
    place, ticks, names = 0.0, [], []
    for regime, columns in regimes.items():
        first = place
        for name, errors in columns.items():
            spread = np.linspace(-0.28, 0.28, len(errors)) if len(errors) > 1 else [0.0]
            ax.plot(place + np.array(spread), sorted(errors), "o", color=BYTES, markersize=3, alpha=0.5)
            ax.hlines(np.median(errors), place - 0.38, place + 0.38, color=INK, linewidth=2)
            ticks.append(place)
            names.append(name)
            place += 1
        ax.text((first + place - 1) / 2, 1.02, regime, transform=ax.get_xaxis_transform(), ha="center", fontsize=10)
        place += 0.8
    ax.axhspan(-within, within, color=IDLE, alpha=0.15, linewidth=0)
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xticks(ticks, names, fontsize=9)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return finished(ax, no_grid="x", ylabel="predicted over measured, minus one", xlim=(-0.7, place - 1.1))
