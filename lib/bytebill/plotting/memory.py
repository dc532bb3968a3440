"""Figures of memory: what holds it, where the cache's slots go, and what a block's size trades."""

from collections.abc import Mapping, Sequence
from math import inf

from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpecFromSubplotSpec

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, MONEY, WEIGHTS, Curve, finished, only_ticks

_KINDS = {
    "used": (KV, "#FFFFFE", "holds a token"),
    "reservation": ("#8FD3BD", "#222222", "reserved, filled later"),
    "internal": (IDLE, "#FFFFFE", "never filled (internal fragmentation)"),
    "external": ("#CFCFCF", "#222222", "lost between chunks (external)"),
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
    ax.set_axisbelow(True)
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


def kinds_of_slots(
    ax: Axes,
    shares: Mapping[str, Mapping[str, float]],
    *,
    published_used: Mapping[str, float],
    between: Mapping[str, tuple[float, float]],
) -> Axes:
    """A bar an allocator, its slots by kind [%], a hollow marker at the published share that held tokens, and a bar
    from the lowest to the highest share `between` which seeds found it.

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
    for i, ends in enumerate(between.values()):
        ax.plot([100 * end for end in ends], [i + 0.24] * 2, color="#222222", label="seeds" if i == 0 else None)
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
    ax.legend(loc="upper center", bbox_to_anchor=(0.42, 1.26), ncols=2, fontsize=9)
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
    ax: Axes,
    sizes: Sequence[int],
    *,
    waste: Mapping[str, Sequence[float]],
    times: Mapping[str, Mapping[int, float]],
    limit: float,
) -> Axes:
    """Against block size, above: slots wasted inside blocks by kind of request [%, log], simulated; below: time of
    attention over that of one long block by size, measured on one device or more. `limit` is the waste claimed."""
    above, shown_sizes = ax, (sizes[0] / 1.3, sizes[-1] * 1.4)
    measured = {name: each for name, each in times.items() if each}
    if measured and (place := above.get_subplotspec()):
        halves = GridSpecFromSubplotSpec(2, 1, place, height_ratios=(3, 2))
        above.set_subplotspec(halves[0])
        below = above.figure.add_subplot(halves[1])
        for (name, each), mark in zip(measured.items(), "os^D", strict=False):
            below.plot(list(each), list(each.values()), mark, color=BYTES, markersize=8, label=name)
        below.axhline(1, color=INK, linewidth=1)
        finished(
            below,
            legend="upper right",
            ylabel="attention,\none block = 1",
            xlabel="block size [tokens]",
            xscale="log",
            ylim=(0, 1.15 * max(ratio for each in measured.values() for ratio in each.values())),
        )
        only_ticks(below.xaxis, sizes)
        below.set_xlim(shown_sizes)
    for (name, shares), style in zip(waste.items(), ("-", "--", ":"), strict=False):
        shown = [(size, 100 * share) for size, share in zip(sizes, shares, strict=True) if share > 0]
        above.loglog(*zip(*shown, strict=True), style, marker=".", color=KV)
        above.annotate(name, shown[-1], (-6, 6), textcoords="offset points", color=KV, ha="right")
    above.axhline(100 * limit, color=INK, linewidth=1)
    above.annotate(f"{limit:.0%}, as claimed", (sizes[0], 100 * limit), (0, 3), textcoords="offset points")
    only_ticks(above.xaxis, sizes)
    only_ticks(above.yaxis, (0.1, 1, 10, 100))
    xlabel = "" if measured else "block size [tokens]"
    return finished(above, ylabel="wasted inside blocks [%]", xlabel=xlabel, xlim=shown_sizes)
