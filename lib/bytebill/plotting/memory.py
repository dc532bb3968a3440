"""Figures of memory: who fits, and beside what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bytebill.plotting.style import FLOPS, KV


def users_by_context(
    ax: Axes, *, lengths: Sequence[int], users: Mapping[str, Sequence[int]], critical: float, names: Mapping[str, str]
) -> Axes:
    """Users that fit against their context, log-log, a line per deployment, with the critical batch."""
    styles = dict(zip(users, ("-", "--", "-.", ":"), strict=False))
    for id, fit in users.items():
        shown = [(length, n) for length, n in zip(lengths, fit, strict=True) if n]
        ax.loglog(*zip(*shown, strict=True), styles[id], color=KV, label=names[id])
    ax.axhline(critical, color=FLOPS, linestyle="--", linewidth=1.2)
    ax.annotate(
        f"critical batch, {critical:.0f}",
        (lengths[-1], critical),
        (0, 5),
        textcoords="offset points",
        ha="right",
        color=FLOPS,
    )
    ax.set(xlabel="context of each user [tokens]", ylabel="users that fit at once", ylim=(1, None))
    ax.legend(loc="lower left")
    return ax
