"""Figures of mixtures of experts: a step between two dense models, and what its experts cost until a batch is large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, INK, KV, MONEY, only_ticks, round_numbers

Curve = tuple[Sequence[float], Sequence[float]]  # x, y


def between_two(ax: Axes, measured: Mapping[str, Curve], *, predicted: Mapping[str, Curve]) -> Axes:
    """Step time [s] over batch, log-log: predictions as lines, measurements as marks of the same colour."""
    for (name, (x, y)), color, mark in zip(measured.items(), (MONEY, BYTES, KV), "Dos", strict=False):
        lines = predicted[name]
        ax.loglog(lines[0], [each * 1e3 for each in lines[1]], color=color, linewidth=1.5)
        ax.loglog(x, [each * 1e3 for each in y], mark, color=color, markersize=7, label=name)
    _batch_axis(ax, max(max(x) for x, _ in measured.values()))
    only_ticks(ax.yaxis, round_numbers(*ax.get_ylim()))
    ax.set(xlabel="sequences in the batch", ylabel="one decode step [ms]")
    ax.legend(loc="upper left")
    return ax


def over_active(ax: Axes, curves: Mapping[str, Curve], *, fits: Mapping[str, tuple[float, float]]) -> Axes:
    """Step time of mixtures over that of dense models of their active size, by batch; hollow marks at the largest batch
    that `fits`."""
    for (name, (x, y)), color in zip(curves.items(), (BYTES, KV, FLOPS), strict=False):
        ax.loglog(x, y, color=color, linewidth=2, label=name)
        ax.loglog(*([each] for each in fits[name]), "o", color=color, markersize=9, markerfacecolor="none", mew=2)
    ax.axhline(1, color=INK, linewidth=0.8)
    _batch_axis(ax, max(max(x) for x, _ in curves.values()), step=4)
    only_ticks(ax.yaxis, [1, 2, 4, 8, 16])
    ax.set(xlabel="tokens in a step", ylabel="step time, mixture over\ndense model of its active size")
    ax.legend(loc="upper right")
    return ax


def _batch_axis(ax: Axes, largest: float, *, step: int = 2) -> None:
    """Powers of `step` from 1 to the largest batch."""
    only_ticks(ax.xaxis, [step**n for n in range(40) if step**n <= largest], "{:,}")
