"""More users: a smaller cache, or more devices? Either way held against the other in users a dollar.

    shrink   tokens of the group with a cache of 8 bits / its devices
    buy      tokens of the next larger group that splits the heads, with a cache of 16 bits / its devices

The cache is taken as 16 bits wide before either, whatever the deployment has now. A device costs the same in both
groups. Where activations are small and the next group shares the cache out, shrinking wins as long as

    weights < memory / (2 - n / m),     two thirds of it where m devices are twice n.

Ignores what fewer bits cost in accuracy, and that a larger group is also faster.
"""

from dataclasses import replace
from math import inf

from bytebill.errors import BytebillError
from bytebill.memory.footprint import Footprint

WIDE_CACHE, NARROW_CACHE = 2.0, 1.0  # bytes a value


def with_cache_of(served: Footprint, bytes_per_value: float) -> Footprint:
    """The same with a cache of this width."""
    group = served.deployment
    width = replace(group.precision, kv_bytes_per_value=bytes_per_value)
    return replace(served, deployment=replace(group, precision=width))


def on_next_group(served: Footprint) -> Footprint | None:
    """The same on the next larger group of devices that it can be split over; None if there is none."""
    larger = served.deployment.next_larger
    return replace(served, deployment=larger) if larger else None


def shrink_over_buy(served: Footprint, context_len: int, *, corner: str = "value") -> float:
    """Users a dollar with a smaller cache, over users a dollar on the next larger group.

    >>> from bytebill.memory import footprint_of
    >>> [round(shrink_over_buy(footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=n), 8192), 2)
    ...  for n in (2, 4)]    # weights fill 99% and 50% of what vLLM leaves
    [0.03, 1.34]
    """
    wide = with_cache_of(served, WIDE_CACHE)
    bought = on_next_group(wide)
    if bought is None:
        raise BytebillError(f"{served.deployment.model.name} has no larger group of devices to be bought.")
    shrunk, more = (
        each.cache_tokens(context_len, corner=corner) / each.deployment.n_devices
        for each in (with_cache_of(served, NARROW_CACHE), bought)
    )
    return shrunk / more if more else inf if shrunk else 0.0


def next_group_copies(served: Footprint) -> bool:
    """Whether the next larger group keeps more bytes of a token, copies of KV heads or of a latent.

    >>> from bytebill.memory import footprint_of
    >>> [next_group_copies(footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=n)) for n in (4, 8)]
    [False, True]
    """
    bought = on_next_group(served)
    return bought is not None and bought.deployment.cache_bytes(1) > served.deployment.cache_bytes(1)
