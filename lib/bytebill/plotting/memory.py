"""Figures of memory: who fits, where the cache's slots go, and what a block's size trades."""

from collections.abc import Mapping, Sequence
from math import inf

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, MONEY, WEIGHTS, finished, only_ticks

_KINDS = {
    "used": (KV, "#FFFFFE", "holds a token"),
    "reservation": ("#8FD3BD", "#222222", "reserved, filled later"),
    "internal": (IDLE, "#FFFFFE", "given, never filled"),
    "external": ("#CFCFCF", "#222222", "lost between chunks"),
}


def users_by_context(
    ax: Axes, *, lengths: Sequence[int], users: Mapping[str, Sequence[int]], critical: float, names: Mapping[str, str]
) -> Axes:
    """Users that fit against their context, log-log, a line per deployment, with the critical batch."""
    for (id, fit), style in zip(users.items(), ("-", "--", "-.", ":"), strict=False):
        shown = [(length, n) for length, n in zip(lengths, fit, strict=True) if n]
        ax.loglog(*zip(*shown, strict=True), style, color=KV, label=names[id])
    ax.axhline(critical, color=FLOPS, linestyle="--", linewidth=1.2)
    ax.annotate(
        f"critical batch, {critical:.0f}",
        (lengths[-1], critical),
        (0, 5),
        textcoords="offset points",
        ha="right",
        color=FLOPS,
    )
    return finished(
        ax, legend="lower left", xlabel="context of each user [tokens]", ylabel="users that fit at once", ylim=(1, None)
    )


def kinds_of_slots(ax: Axes, shares: Mapping[str, Mapping[str, float]], *, published_used: Mapping[str, float]) -> Axes:
    """A bar an allocator, its slots by kind [%], and a hollow marker at the published share that held tokens.

    Figures inside bars keep their ink in the dark, since the bars keep their fill.
    """
    for i, found in enumerate(shares.values()):
        left = 0.0
        for kind, (color, ink, label) in _KINDS.items():
            width = 100 * found[kind]
            ax.barh(i, width, left=left, color=color, height=0.7, label=label if i == 0 else None)
            if width > 5:
                ax.annotate(f"{width:.0f}%", (left + width / 2, i), ha="center", va="center", color=ink, weight="bold")
            left += width
    ax.plot(
        [100 * share for share in published_used.values()],
        [list(shares).index(name) for name in published_used],
        "D",
        color=INK,
        markerfacecolor="white",
        markersize=8,
        label="published: holds a token",
    )
    ax.set_yticks(range(len(shares)), labels=list(shares))
    ax.invert_yaxis()
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, 1.22), ncols=3, fontsize=9)
    return finished(ax, no_grid="y", xlabel="share of the cache's slots [%]", xlim=(0, 100))


def cache_by_context(ax: Axes, lengths: Sequence[int], kept: Mapping[str, Sequence[float]]) -> Axes:
    """What one sequence keeps [GB] against its context, log-log, a line a model, named at its end."""
    colors = dict(zip(kept, (KV, BYTES, FLOPS, WEIGHTS, MONEY, INK, IDLE), strict=False))
    above = inf
    for name, sizes in sorted(kept.items(), key=lambda each: -each[1][-1]):
        ax.loglog(lengths, [size / 1e9 for size in sizes], color=colors[name])
        above = min(sizes[-1] / 1e9, above / 1.35)  # names keep their distance where lines meet
        ax.annotate(name, (lengths[-1], above), (4, -3), textcoords="offset points", color=colors[name], fontsize=9)
    only_ticks(ax.xaxis, lengths[::2], "{:,.0f}")
    return finished(
        ax, xlabel="context [tokens]", ylabel="kept of one sequence [GB]", xlim=(lengths[0], 9 * lengths[-1])
    )


def where_memory_goes(ax: Axes, devices: Mapping[str, Mapping[str, float]]) -> Axes:
    """A bar a device, its memory by what holds it [GiB], the cache at the right; a negative cache is left out."""
    colors = dict(zip(next(iter(devices.values())), ("#CFCFCF", IDLE, WEIGHTS, MONEY, FLOPS, INK, KV), strict=True))
    for i, parts in enumerate(devices.values()):
        left = 0.0
        for name, size in parts.items():
            width = max(0.0, size) / 2**30
            if not any(each[name] for each in devices.values()):
                continue
            ax.barh(i, width, left=left, color=colors[name], height=0.7, label=name if i == 0 else None)
            if width > 6:
                ax.annotate(f"{width:.0f}", (left + width / 2, i), ha="center", va="center", color="#FFFFFE")
            left += width
    ax.set_yticks(range(len(devices)), devices)
    ax.invert_yaxis()
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.3), ncols=3, fontsize=9)
    return finished(ax, no_grid="y", xlabel="memory of one device [GiB]")


def waste_and_time(
    ax: Axes, sizes: Sequence[int], *, waste: Mapping[str, Sequence[float]], times: Sequence[float], limit: float
) -> Axes:
    """Against block size: slots wasted inside blocks by kind of request [%], simulated, and measured time of attention
    over that of one long block [ratio, right axis]; `limit` is the waste that is claimed not to be exceeded."""
    for (name, shares), style in zip(waste.items(), ("-", "--", ":"), strict=False):
        ax.semilogx(sizes, [100 * share for share in shares], style, base=2, marker=".", color=KV)
        ax.annotate(name, (sizes[-1], 100 * shares[-1]), (-9, 5), textcoords="offset points", color=KV, ha="right")
    ax.axhline(100 * limit, color=INK, linewidth=1)
    ax.annotate(f"{limit:.0%}", (sizes[0], 100 * limit), (0, 3), textcoords="offset points")
    ax.yaxis.label.set_color(KV)
    right = ax.twinx()
    right.plot(sizes, times, "o", color=BYTES, markersize=8)
    right.set_ylabel("attention time, one long block = 1", color=BYTES)
    right.set_ylim(0, max(times) * 1.1)
    right.spines["right"].set_visible(True)
    right.grid(False)
    return finished(
        ax,
        xlabel="block size [tokens]",
        ylabel="slots wasted inside blocks [%]",
        ylim=(0, None),
        xticks=sizes,
        xticklabels=[str(size) for size in sizes],
    )
