"""Figures of what prompts do to those who decode: gaps over a run, steps by tokens of prompt, budgets, a map."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, Curve, finished, only_ticks


def gaps_over_run(ax: Axes, runs: Mapping[str, Curve], *, predicted: Mapping[str, float], arrives_s: float) -> Axes:
    """Every gap of one user [s; drawn in ms, log] at the time of its token: a colour a run, a line at the longest gap
    that was predicted for it, and one where the long prompt arrives."""
    for (name, (x, y)), color in zip(runs.items(), (FLOPS, BYTES, KV), strict=False):
        ax.semilogy(x, [each * 1e3 for each in y], "o", color=color, markersize=5, label=name)
        ax.axhline(predicted[name] * 1e3, color=color, linewidth=1, linestyle="--")
    ax.axvline(arrives_s, color=IDLE, linewidth=1)
    ax.annotate(" prompt arrives", (arrives_s, 0.02), xycoords=("data", "axes fraction"), color=INK, fontsize=10)
    return finished(ax, legend="upper right", xlabel="time of the token [s]", ylabel="gap before it [ms]")


def step_by_prompt(ax: Axes, measured: Curve, *, predicted: Curve, apart: Curve) -> Axes:
    """A step with decodes over the tokens of a prompt in it [s; drawn in ms, log-log]: measured marks, a predicted
    line, and what two steps of one kind each take together."""
    for (x, y), form, color, name in (
        (apart, "s--", IDLE, "two steps, one of each kind"),
        (predicted, "-", BYTES, "predicted"),
        (measured, "o", BYTES, "one step, measured"),
    ):
        ax.loglog(x, [each * 1e3 for each in y], form, color=color, markersize=6, label=name)
    only_ticks(ax.xaxis, measured[0])
    return finished(ax, legend="upper left", xlabel="tokens of a prompt in the step", ylabel="step [ms]")


def by_budget(axes: Sequence[Axes], panels: Mapping[str, Mapping[str, Curve]], *, defaults: Mapping[str, int]) -> None:
    """A quantity a panel over the token budget, a colour a device; a ring where the device's default is."""
    for ax, (quantity, curves) in zip(axes, panels.items(), strict=True):
        for (device, (x, y)), color in zip(curves.items(), (BYTES, FLOPS), strict=False):
            ax.loglog(x, y, ".-", color=color, label=device)
            at = list(x).index(defaults[device])
            ax.plot(x[at], y[at], "o", color=color, markerfacecolor="none", markersize=11)
            ax.minorticks_off()
        only_ticks(ax.xaxis, [128, 512, 2048, 8192])
        ax.set_title(quantity, fontsize=11, loc="left")
        finished(ax, xlabel="token budget of a step")
    axes[0].legend(loc="lower right")


def wins_and_losses(
    ax: Axes, cells: Sequence[Sequence[float | None]], *, columns: Sequence[str], rows: Sequence[str], says: str
) -> Axes:
    """A ratio a cell, written there: blue where it is above one, grey below, the fuller the farther; none: a dash."""
    for y, row in enumerate(cells):
        for x, value in enumerate(row):
            strength = 0.0 if value is None else min(0.85, 0.15 + abs(value - 1))
            color = IDLE if value is None or value < 1 else BYTES
            ax.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=color, alpha=strength, linewidth=0)
            ax.text(x, y, "–" if value is None else f"{value:.2f}", ha="center", va="center", color=INK)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.text(0.0, 1.02, says, transform=ax.transAxes, fontsize=10, color=INK)
    return finished(ax, no_grid="both", xlabel="prompt and answer [tokens]", ylabel="P99 gap allowed [ms]")
