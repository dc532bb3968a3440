"""Figures of memory: what holds it, where the cache's slots go, and what a block's size trades."""

from collections.abc import Mapping, Sequence
from math import inf

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, MONEY, WEIGHTS, Curve, finished, only_ticks

_KINDS = {
    "used": (KV, "#FFFFFE", "holds a token"),
    "reservation": ("#8FD3BD", "#222222", "reserved, filled later"),
    "internal": (IDLE, "#FFFFFE", "given, never filled"),
    "external": ("#CFCFCF", "#222222", "lost between chunks"),
}


def memory_bars(ax: Axes, bars: Mapping[str, Mapping[str, float]], *, says: Sequence[str]) -> Axes:
    """A bar a deployment, its memory by what holds it [share], and at its end what is said of it."""
    colors = (WEIGHTS, IDLE, FLOPS, KV)
    for i, parts in enumerate(bars.values()):
        left = 0.0
        for (name, share), color in zip(parts.items(), colors, strict=True):
            width = min(100 * max(0.0, share), 100 - left)
            ax.barh(i, width, left=left, color=color, height=0.7, label=name if i == 0 else None)
            if width > 6:
                ink = "#222222" if color in (WEIGHTS, FLOPS) else "#FFFFFE"
                ax.annotate(f"{width:.0f}%", (left + width / 2, i), ha="center", va="center", color=ink)
            left += width
        ax.annotate(says[i], (102, i), va="center", annotation_clip=False)
    ax.set_yticks(range(len(bars)), labels=list(bars))
    ax.invert_yaxis()
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=4, fontsize=9)
    return finished(ax, no_grid="y", xlabel="share of the memory that the driver reports [%]", xlim=(0, 100))


def shrink_or_buy(
    ax: Axes, cases: Mapping[str, Sequence[tuple[float, float]]], *, line: Curve, threshold: float
) -> Axes:
    """Users a dollar, a smaller cache over more devices, against the weights' share of the memory [%].

    A line for groups that double, a mark a deployment, by what the next group does with the cache.
    """
    for (name, points), mark in zip(cases.items(), ("s", "^"), strict=True):
        ax.plot(*zip(*((100 * x, y) for x, y in points), strict=True), mark, color=KV, alpha=0.8, label=name)
    ax.plot([100 * x for x in line[0]], line[1], color=WEIGHTS, label="a next group of twice the devices")
    ax.axhline(1, color=INK, linewidth=1)
    ax.axvline(100 * threshold, color=INK, linestyle=":", linewidth=1.2)
    ax.annotate(f"{threshold:.0%}", (100 * threshold, 0), (4, 4), textcoords="offset points")
    for text, place, align in (("shrink the cache", (1, 1.04), "bottom"), ("buy devices", (1, 0.96), "top")):
        ax.annotate(text, place, va=align, ha="left")
    return finished(
        ax,
        legend="upper right",
        xlabel="weights' share of what a server leaves for weights and cache [%]",
        ylabel="users a dollar, 8-bit cache over next group",
        xlim=(0, 100),
        ylim=(0, None),
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
