"""Figures of quantization: what fewer bits gain by the tokens in a step, and what they lose."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, WEIGHTS, Curve, finished, only_ticks

_COLORS = (BYTES, WEIGHTS, FLOPS)


def gain_by_tokens(
    ax: Axes, published: Mapping[str, Curve], *, predicted: Mapping[str, Curve], steps: Mapping[str, Curve]
) -> Axes:
    """Time in 16 bits over time in fewer against the tokens of a step: hollow marks published, lines predicted, by the
    same names; `steps` are whole decode steps as measured."""
    for (name, (tokens, gains)), color in zip(published.items(), _COLORS, strict=False):
        ax.plot(tokens, gains, "o", color=color, markerfacecolor="none", markersize=7, label=name)
        ax.plot(*predicted[name], "-", color=color, linewidth=1.2, alpha=0.8)
    for (name, (tokens, gains)), mark in zip(steps.items(), ("s", "^"), strict=False):
        ax.plot(tokens, gains, f"{mark}-", color=KV, linewidth=1, markersize=5, label=name)
    ax.axhline(1, color=IDLE, linewidth=1)
    ax.set_xscale("log", base=2)
    only_ticks(ax.xaxis, [4**n for n in range(7)])
    return finished(
        ax, legend="upper right", xlabel="tokens in the step", ylabel="times as fast as 16 bits", ylim=(0, None)
    )


def loss_by_bits(ax: Axes, curves: Mapping[str, Curve], *, published: Mapping[str, Curve]) -> Axes:
    """Extra nats a token against bits a weight, on a logarithmic axis; published ones hollow."""
    for (name, curve), color, mark in zip(curves.items(), (FLOPS, BYTES), "so", strict=False):
        ax.semilogy(*curve, mark, color=color, markersize=6, label=name)
    for (name, curve), mark in zip(published.items(), ("^", "v", "D"), strict=False):
        ax.semilogy(*curve, mark, color=INK, markerfacecolor="none", markersize=6, label=name)
    return finished(
        ax, legend="upper right", xlabel="bits a weight, scales included [bits]", ylabel="extra nats a token"
    )
