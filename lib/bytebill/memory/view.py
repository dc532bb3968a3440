"""What does a reader see of a footprint? One bar of a device's memory, a line an answer; or six numbers in JSON."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bytebill.memory.footprint import DeviceMemory, Footprint
from bytebill.units import gib

BAR_CELLS = 72
COLOURS = {
    "outside": "grey50",
    "context and links": "magenta",
    "weights": "blue",
    "draft": "cyan",
    "activations": "yellow",
    "graphs": "red",
    "cache": "green",
}
MARKS = dict(zip(COLOURS, ".xwdag#", strict=True))  # what tells the parts apart where there is no colour


def answers(served: Footprint, *, context_len: int, n_users: int = 1) -> dict[str, Any]:
    """The answers as numbers; `_low` and `_high` are the ends of the range of cache tokens."""
    return {
        "weight_bytes_per_device": round(served.weight_bytes),
        "cache_tokens": served.cache_tokens(context_len),
        "cache_tokens_low": served.cache_tokens(context_len, corner="high"),
        "cache_tokens_high": served.cache_tokens(context_len, corner="low"),
        "fits": served.fits(context_len, n_users=n_users),
        "users": served.users(context_len),
    }


def picture(served: Footprint, *, context_len: int, n_users: int = 1) -> RenderableType:
    """The bar of one device, and a line an answer."""
    group, where = served.deployment, served.at("value")
    devices = f"{group.n_devices} x {group.accelerator.name}"
    title = f"{group.model.name} in {group.precision.name} on {devices} under {served.program.name}, each device"
    lines = Table.grid(padding=(0, 2))
    for question, answer in _lines(served, context_len, n_users):
        lines.add_row(question, answer)
    return Group(Text(title, style="bold"), _bar(where), _legend(where), lines)


def _bar(where: DeviceMemory) -> Text:
    """Parts to scale, rounded so that they end where the memory does; what is too much runs over the end."""
    bar, filled, cells = Text(), 0.0, 0
    for name, n_bytes in where.parts.items():
        filled += max(0.0, n_bytes)
        until = round(BAR_CELLS * filled / where.driver_bytes)
        bar.append(MARKS[name] * (until - cells), style=COLOURS[name])
        cells = until
    return bar


def _legend(where: DeviceMemory) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, n_bytes in where.parts.items():
        if n_bytes:
            table.add_row(
                Text(MARKS[name], style=COLOURS[name]), name, gib(n_bytes), f"{n_bytes / where.driver_bytes:.0%}"
            )
    table.add_row("", "in all, by the driver", gib(where.driver_bytes), "")
    return table


def _lines(served: Footprint, context_len: int, n_users: int) -> list[tuple[str, str]]:
    def ranged(count: Any) -> str:
        value, low, high = (count(context_len, corner=corner) for corner in ("value", "high", "low"))
        return f"{value:,} ({low:,} to {high:,})"

    wanted = f"{n_users:,} user{'s' if n_users > 1 else ''}"
    surely, likely = served.fits(context_len, n_users=n_users), served.users(context_len) >= n_users
    longest = served.longest_context(n_users)
    fewest = served.fewest_devices(context_len, n_users=n_users)
    return [
        ("cache tokens", ranged(served.cache_tokens)),
        (f"users at {context_len:,} tokens", ranged(served.users)),
        (
            f"{wanted} at {context_len:,} tokens",
            "fits" if surely else "may fit: not if all that is uncertain takes most" if likely else "does not fit",
        ),
        (f"longest context for {wanted}", f"{longest:,} tokens" if longest else "none"),
        ("fewest devices", f"{fewest}" if fewest else "no even group of up to 64"),
        ("widest weights", served.widest_weights(context_len, n_users=n_users) or "none"),
    ]
