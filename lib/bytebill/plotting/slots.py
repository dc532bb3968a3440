"""Figures of batching: who holds which slot when, and a gain taken apart into its factors."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, IDLE, INK, WEIGHTS, finished, only_ticks, round_numbers
from bytebill.serving.schedule import SlotUse


def slot_timelines(ax: Axes, panels: Mapping[str, Sequence[SlotUse]], *, n_slots: int) -> Axes:
    """One row a slot and one panel a policy, over the same steps: two blues that alternate from request to request,
    grey where a slot is held and computes nothing of use, nothing where it is empty."""
    for i, (name, spans) in enumerate(panels.items()):
        top = -i * (n_slots + 1.6)
        seen: list[list[int]] = [[] for _ in range(n_slots)]
        for span in sorted(spans, key=lambda span: span.start_step):
            if span.id not in seen[span.slot]:
                seen[span.slot].append(span.id)
            useful = span.kind in ("prefill", "decode")
            ax.barh(
                top - span.slot,
                span.end_step - span.start_step,
                left=span.start_step,
                height=0.86,
                linewidth=0,
                color=(BYTES, WEIGHTS)[len(seen[span.slot]) % 2] if useful else IDLE,
                alpha=1.0 if useful else 0.45,
            )
        end = max(span.end_step for span in spans)
        ax.plot([end, end], [top + 0.6, top - n_slots + 0.4], color=INK, linewidth=1.2)
        ax.annotate(f"done: step {end}", (end, top + 0.6), (0, 3), textcoords="offset points", ha="right")
        ax.annotate(name, (0, top + 0.6), (0, 3), textcoords="offset points", fontsize=13, weight="bold")
    return finished(
        ax,
        no_grid="both",
        xlabel="step of the model",
        ylabel="slots of the batch",
        xlim=(0, None),
        ylim=(-(len(panels) - 1) * (n_slots + 1.6) - n_slots + 0.2, 1.9),
        yticks=[],
    )


def factors_waterfall(
    ax: Axes,
    *,
    start: tuple[str, float],
    factors: Mapping[str, float],
    end: tuple[str, float],
    unit: str,
    unexplained: Sequence[str] = (),
    spread: Mapping[str, tuple[float, float]] | None = None,
    published: Mapping[str, tuple[str, float]] | None = None,
) -> Axes:
    """From one published value to another, a bar a factor on a log axis: what multiplies up, what divides, and in
    grey what no mechanism of ours accounts for. `spread` is the range of a factor, a line at its bar's end; hollow
    marks are `published` levels that should be reached behind a bar."""
    level, last = start[1], len(factors) + 1
    ax.bar([0], [level], width=0.7, fill=False, edgecolor=INK, linewidth=1.5)
    ax.annotate(f"{start[1]:,.0f}", (0, level), (0, 4), textcoords="offset points", ha="center")
    for i, (name, factor) in enumerate(factors.items(), start=1):
        bottom, top = sorted((level, level * factor))
        ax.bar([i], [top - bottom], bottom=bottom, color=IDLE if name in unexplained else BYTES, width=0.7)
        ax.plot([i - 0.65, i + 0.35], [level, level], color=INK, linewidth=0.8)
        low, high = (level * end for end in (spread or {}).get(name, (factor, factor)))
        ax.plot([i, i], [low, high], color=INK, linewidth=1.2)
        ax.annotate(
            f"× {factor:.{1 if factor >= 1 else 2}f}",
            (i, max(top, high)),
            (0, 4),
            textcoords="offset points",
            ha="center",
            weight="bold",
        )
        level *= factor
        if name in (published or {}):
            _hollow_level(ax, i + 0.5, *(published or {})[name])
    ax.bar([last], [end[1]], width=0.7, fill=False, edgecolor=INK, linewidth=1.5)
    ax.annotate(f"{end[1]:,.0f}", (last, end[1]), (0, 4), textcoords="offset points", ha="center")
    ax.set_xticks(range(last + 1), labels=[start[0], *factors, end[0]], fontsize=9)
    return finished(ax, no_grid="x", ylabel=unit, yscale="log", ylim=(start[1] / 2, 2.2 * max(end[1], level)))


def _hollow_level(ax: Axes, x: float, name: str, value: float) -> None:
    """A published level between two bars, its name below."""
    ax.plot([x], [value], "D", color=INK, fillstyle="none", markersize=7, markeredgewidth=1.5, zorder=3)
    ax.annotate(name, (x + 0.12, value), (6, -11), textcoords="offset points", fontsize=9)


def latency_by_rate(
    ax: Axes, curves: Mapping[str, Mapping[float, float]], *, published: tuple[str, Mapping[float, float]]
) -> Axes:
    """How long an answer takes by how many are asked for: a curve of simulated means a server, its name at an
    end (grey the first two, which hold their slots), and hollow marks for what somebody measured."""
    looks = ((IDLE, "-"), (IDLE, "--"), (BYTES, "--"), (BYTES, "-"))
    for (name, points), (colour, line) in zip(curves.items(), looks, strict=False):
        rates, seconds = list(points), list(points.values())
        ax.plot(rates, seconds, line, marker=".", color=colour)
        at, above = (0 if colour == IDLE else -1), (4 if (colour, line) != looks[1] else -12)
        ax.annotate(name, (rates[at], seconds[at]), (4, above), textcoords="offset points", fontsize=9)
    name, found = published
    ax.plot(list(found), list(found.values()), "D", color=INK, fillstyle="none", markersize=7)
    ax.annotate(name, max(found.items()), (0, 8), textcoords="offset points", fontsize=9, ha="center")
    finished(ax, xlabel="requests that arrive [1/s]", ylabel="from request to last token, mean [s]")
    ax.set(xscale="log", yscale="log")
    only_ticks(ax.xaxis, round_numbers(*ax.get_xlim()))
    low, high = ax.get_ylim()
    only_ticks(ax.yaxis, [*round_numbers(low / 3, low)[-1:], *round_numbers(low, high)])  # one below the curves
    return ax
