"""Figures of one request: what its times are called."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, finished

_HEIGHT = 0.5


def request_timeline(ax: Axes, *, scheduled_s: float, tokens_s: Sequence[float]) -> Axes:
    """A request that arrives at 0: it waits until `scheduled_s`, and its tokens come at `tokens_s`. Grey waits, orange
    is the prompt, blue the answer, a dot a token; brackets name TTFT, one ITL, the time that TPOT divides, and E2E."""
    first, *_, before, last = tokens_s
    long = max(range(1, len(tokens_s)), key=lambda i: tokens_s[i] - tokens_s[i - 1])
    for start, end, colour in ((0.0, scheduled_s, IDLE), (scheduled_s, first, FLOPS), (first, last, BYTES)):
        ax.barh(0, end - start, left=start, height=_HEIGHT, color=colour, alpha=0.45, linewidth=0)
    for name, at in (("queue", scheduled_s / 2), ("prefill", (scheduled_s + first) / 2)):
        ax.annotate(name, (at, 0), ha="center", va="center", fontsize=10)
    ax.plot(tokens_s, [0] * len(tokens_s), "o", color=BYTES, markersize=7)
    _named(ax, 0, "arrival", ha="left")
    _named(ax, first, "first token", ha="center")
    _named(ax, last, "last token", ha="right")
    _span(ax, -0.75, 0, first, "TTFT")
    _span(ax, -0.75, tokens_s[long - 1], tokens_s[long], "ITL")
    _span(ax, -0.75, before, last, "ITL")
    _span(ax, -1.45, first, last, f"TPOT is this, over {len(tokens_s) - 1} gaps")
    _span(ax, -2.15, 0, last, f"E2E; the inclusive TPOT is this, over {len(tokens_s)} tokens")
    ax.spines["left"].set_visible(False)
    return finished(
        ax,
        no_grid="both",
        xlabel="time since the request arrived [s]",
        xlim=(0, 1.01 * last),
        ylim=(-2.6, 0.8),
        yticks=[],
    )


def _named(ax: Axes, at: float, name: str, *, ha: str) -> None:
    ax.annotate(name, (at, _HEIGHT / 2), (0, 5), textcoords="offset points", ha=ha, fontsize=10)


def _span(ax: Axes, y: float, start: float, end: float, name: str) -> None:
    """An arrow from one time to another, its name below."""
    ends = {"arrowstyle": "<->", "color": INK, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (end, y), (start, y), arrowprops=ends)
    ax.annotate(name, ((start + end) / 2, y), (0, -4), textcoords="offset points", ha="center", va="top", fontsize=10)
