"""Figures of prompts that come again: how much is found, what that saves, and when it pays."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, IDLE, INK, KV, MONEY, Curve, finished


def hits_by_size(
    ax: Axes, simulated: Mapping[str, Curve], *, replayed: Mapping[str, Curve], marks: Mapping[str, float], room: float
) -> Axes:
    """Share of input tokens found over the size of the cache [tokens]: simulated dots, replayed traces hollow,
    published shares at the right edge; a line at the `room` of one deployment."""
    for (name, (x, y)), color in zip(simulated.items(), (KV, BYTES, MONEY), strict=False):
        ax.plot(x, [100 * share for share in y], ".-", color=color, markersize=8, linewidth=1)
        ax.annotate(
            name, (x[-1], 100 * y[-1]), (0, 7), textcoords="offset points", color=color, ha="right", fontsize=10
        )
    for (name, (x, y)), marker in zip(replayed.items(), ("o", "s"), strict=False):
        ax.plot(x, [100 * share for share in y], marker, color=INK, markerfacecolor="none", markersize=7, label=name)
    right = max(x[-1] for x, _ in simulated.values()) * 2
    for name, share in marks.items():
        ax.plot([right], [100 * share], "D", color=INK, markerfacecolor="none", markersize=7)
        ax.annotate(name, (right, 100 * share), (8, 0), textcoords="offset points", va="center", fontsize=9)
    ax.axvline(room, color=IDLE, linewidth=1.2, linestyle="--")
    ax.text(room, 107, " kept by four H100s beside a 70B and its users", color=INK, fontsize=9, va="top")
    ax.set_xscale("log")
    return finished(
        ax,
        legend="upper left" if replayed else None,
        xlabel="size of the cache [tokens]",
        ylabel="input tokens found [%]",
        ylim=(-2, 128),
        yticks=range(0, 101, 20),
    )


def ttft_by_found(ax: Axes, found: Sequence[float], measured_s: Mapping[float, Sequence[float]], bound: Curve) -> Axes:
    """Time to the first token over the tokens found, log: measured repeats filled, their predicted bound a line."""
    ax.semilogy(
        bound[0], [1e3 * each for each in bound[1]], "-", color=BYTES, label="the larger of arithmetic and reading"
    )
    for n in found:
        ax.plot([n] * len(measured_s[n]), [1e3 * each for each in measured_s[n]], "o", color=KV, markersize=6)
    ax.plot([], [], "o", color=KV, label="measured here")
    return finished(ax, legend="lower left", xlabel="tokens found", ylabel="time to first token [ms]")


def bill_by_share(ax: Axes, lines: Mapping[str, Curve], turns: Mapping[str, float]) -> Axes:
    """Input bill with the cache over without, over the share of calls in time; a dot where a rule's line crosses 1."""
    for (name, (x, y)), style in zip(lines.items(), ("-", "--", "-.", ":"), strict=False):
        ax.plot([100 * each for each in x], y, style, color=MONEY, label=name)
    ax.axhline(1, color=INK, linewidth=0.9)
    for name, share in turns.items():
        ax.plot([100 * share], [1], "o", color=MONEY, markersize=7)
        ax.annotate(name, (100 * share, 1), (6, 8), textcoords="offset points", fontsize=10)
    return finished(
        ax,
        legend="upper right",
        xlabel="calls that come in time [%]",
        ylabel="input bill, cached over uncached",
        ylim=(0, 2.2),
    )
