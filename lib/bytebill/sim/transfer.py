"""How long does a prompt's cache take to where it is decoded? Bytes by shape, seconds by link.

    bytes   = cache of the prompt as the receiver keeps it, copies of heads counted, and states of recurrent layers
    seconds = latency + bytes / (share * smaller of both groups' rates)     rate = link of a device * devices sharing it

A group of n devices that outnumber the KV heads keeps n / heads copies of each, and each device is sent its own. With
data-parallel attention one device keeps a user's cache, and one device's link carries it. `share` is what transfers
reach of the links' nominal rate. Ignores that a transfer may begin layer by layer while the prompt is computed, and
that both groups may cut blocks differently.
"""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from numbers import Real

from bytebill.deployment import Deployment
from bytebill.errors import require
from bytebill.sim.constants import BETWEEN_NODES, CALIBRATED


def network_bytes_per_s() -> float:
    """What one device's port to the network between nodes carries, as calibrated on 400 Gb/s ports [B/s].

    >>> round(network_bytes_per_s() / 1e9)
    47
    """
    return CALIBRATED[BETWEEN_NODES].of("link_bytes_per_s", BETWEEN_NODES)


def check_link(link: float | None) -> None:
    """Refuse what is no rate of a link [B/s]; None stands for the network's."""
    known = link is None or (isinstance(link, Real) and 1 <= link < inf)
    require(known, f"A link carries at least a byte per second, not {link}.")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The move of caches from one deployment to another; `link_bytes_per_s` is of a device, None: the network's.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> eight = Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"),
    ...                    precision=precision("bf16"), n_devices=8)
    >>> move = Transfer(sender=eight, receiver=eight, link_bytes_per_s=50e9)
    >>> round(move.moved_bytes(8192) / 1e9, 2), round(1e3 * move.seconds(8192), 2)    # 320 KiB a token; 400 GB/s
    (2.68, 6.71)
    """

    sender: Deployment
    receiver: Deployment
    link_bytes_per_s: float | None = None
    share: float = 1.0
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        check_link(self.link_bytes_per_s)
        require(0 < self.share <= 1, f"Transfers reach a share of the link from above 0 to 1, not {self.share}.")
        latency = isinstance(self.latency_s, Real) and 0 <= self.latency_s < inf
        require(latency, f"A latency is a time from 0 up, not {self.latency_s}.")
        require(
            self.sender.model == self.receiver.model,
            f"A cache of {self.sender.model.name} is of no use to {self.receiver.model.name}: prefill and decode need "
            "one model.",
        )
        widths = [each.precision.kv_bytes_per_value for each in (self.sender, self.receiver)]
        require(widths[0] == widths[1], "Prefill and decode keep their caches in different formats; take one for both.")

    @cached_property
    def bytes_per_s(self) -> float:
        """What all links of the slower side carry, as far as transfers use them."""
        each = network_bytes_per_s() if self.link_bytes_per_s is None else self.link_bytes_per_s
        return self.share * each * min(self.sender.n_sharing, self.receiver.n_sharing)

    def moved_bytes(self, n_tokens: int) -> float:
        """Bytes of a prompt's cache, as the receiver keeps it."""
        require(n_tokens >= 0, f"A cache holds tokens from none up, not {n_tokens}.")
        return self.receiver.user_bytes(n_tokens)

    def seconds(self, n_tokens: int) -> float:
        """From the first byte sent to the last one there."""
        return self.latency_s + self.moved_bytes(n_tokens) / self.bytes_per_s
