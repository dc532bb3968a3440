"""Figures of prompts and answers: what a token of either takes, and what is asked for it."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, MONEY, Curve, finished, only_ticks

_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def ratio_strips(
    ax: Axes,
    strips: Mapping[str, Sequence[float]],
    *,
    listed: Sequence[str],
    published: Mapping[str, float],
    claimed: tuple[float, float],
) -> Axes:
    """Output over input, one row of dots for each name, log: what price lists say (`listed`, purple) and what device
    time says (blue); hollow marks are published measurements, the band is what is claimed. Equal values are stacked."""
    ax.axvspan(*claimed, color=IDLE, alpha=0.2, linewidth=0)
    ax.text((claimed[0] * claimed[1]) ** 0.5, -0.62, "claimed", ha="center", color=INK, fontsize=10)
    for row, (name, values) in enumerate(strips.items()):
        seen: dict[float, int] = {}
        for value in sorted(values):
            near = round(value, 1)
            rank = seen[near] = seen.get(near, -1) + 1
            ax.plot(
                [value], [row - 0.06 * rank], "o", color=MONEY if name in listed else BYTES, markersize=5, alpha=0.7
            )
    marks = len(strips)
    ax.plot(list(published.values()), [marks] * len(published), "D", color=BYTES, markerfacecolor="none", markersize=8)
    said = ", ".join(f"{name} {value:.1f}" for name, value in published.items())
    ax.annotate(said, (max(published.values()), marks), (10, 0), textcoords="offset points", va="center", fontsize=10)
    ax.set_yticks(range(marks + 1), [*strips, "measured and published"])
    ax.set_xscale("log")
    only_ticks(ax.xaxis, _TICKS)
    return finished(
        ax, no_grid="y", xlabel="an output token over an input token", xlim=(0.85, 150), ylim=(marks + 0.4, -0.95)
    )


def token_time_by_tokens(ax: Axes, curves: Mapping[str, Curve], *, turn: float, label: str) -> Axes:
    """Time of each token of a step over the tokens in it, log-log [s; drawn in ms]: the first curve prompts, the second
    decodes; where reading and multiplying take the same is a line at `turn`."""
    for (name, (x, y)), color in zip(curves.items(), (FLOPS, BYTES), strict=False):
        ax.loglog(x, [each * 1e3 for each in y], "o-", color=color, markersize=6, linewidth=1, label=name)
    ax.axvline(turn, color=INK, linewidth=0.9, linestyle="--")
    ax.annotate(
        "  arithmetic takes over", (turn, 0.97), (2, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
        va="top", fontsize=10,
    )  # fmt: skip
    ax.text(0.99, 0.86, label, transform=ax.transAxes, ha="right", color=IDLE)
    return finished(ax, legend="lower left", xlabel="tokens in the step", ylabel="time for each of them [ms]")


def ratio_curves(axes: Sequence[Axes], panels: Mapping[str, Mapping[str, Curve]], *, band: tuple[float, float]) -> None:
    """Output over input by batch, one small panel for each device, one line for each context, named at its end; the
    band is what is claimed."""
    for ax, (device, curves) in zip(axes, panels.items(), strict=True):
        ax.axhspan(*band, color=IDLE, alpha=0.2, linewidth=0)
        for (name, (x, y)), alpha in zip(curves.items(), (0.4, 0.7, 1.0), strict=False):
            ax.loglog(x, y, color=BYTES, alpha=alpha)
            ax.annotate(name, (x[-1], y[-1]), (3, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set_title(device, fontsize=11, loc="left")
        only_ticks(ax.xaxis, [1, 4, 16, 64, 256])
        only_ticks(ax.yaxis, _TICKS)
        finished(ax, xlabel="users who decode", xlim=(0.9, 1400))
    axes[0].set_ylabel("an output token over an input token")
