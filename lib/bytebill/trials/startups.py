"""What did servers say when they started? Public logs of startups, each beside what we say of it.

    error = cache predicted / cache logged - 1          in tokens, or in bytes where only those were logged

The logs: `data/published_startups.csv`, those of models and devices that the register has. A startup is predicted under
the program of today, whatever its release; `held_out` ones were looked at only after its quantities were fixed.
"""

from dataclasses import dataclass, replace

from bytebill import data
from bytebill.deployment import Deployment
from bytebill.hardware import ACCELERATORS, accelerator
from bytebill.memory import Footprint
from bytebill.models import MODELS, PUBLISHED, find, precision
from bytebill.programs import program
from bytebill.units import GiB


@dataclass(frozen=True, kw_only=True)
class Startup:
    """One logged startup, and the footprint that we predict for it."""

    name: str
    held_out: bool
    started: bool
    context_len: int | None
    served: Footprint
    logged_bytes: float | None  # of cache, on one device
    logged_tokens: float | None

    @property
    def fits(self) -> bool:
        """Whether we say that it fits."""
        return self.served.fits(self.context_len)

    @property
    def error(self) -> float | None:
        """Cache predicted over cache logged, minus one; None where no cache was logged."""
        if self.logged_tokens:
            return self.served.cache_tokens(self.context_len) / self.logged_tokens - 1
        if self.started and self.logged_bytes and self.logged_bytes > 0:
            return self.served.at("value").cache_bytes / self.logged_bytes - 1
        return None

    @property
    def in_range(self) -> bool:
        """Whether the tokens logged lie between those predicted at the dear and at the cheap end."""
        if self.logged_tokens is None:
            return False
        least, most = (self.served.cache_tokens(self.context_len, corner=corner) for corner in ("high", "low"))
        return least <= self.logged_tokens <= most


def startups() -> list[Startup]:
    """All logged startups of models and devices of the register.

    >>> all(not each.fits for each in startups() if not each.started)
    True
    """
    return [
        _startup(row)
        for row in data.rows("published_startups")
        if (row["model_id"] in PUBLISHED or row["model_id"] in MODELS) and row["accelerator"] in ACCELERATORS
    ]


def _startup(row: data.Row) -> Startup:
    spec, stored = find(row["model_id"])
    width = stored if stored.name == row["weights"] else precision(row["weights"])  # with what a checkpoint leaves wide
    return Startup(
        name=row["case"],
        held_out=row["held_out"],
        started=row["started"],
        context_len=row["context_len"],
        served=Footprint(
            deployment=Deployment(
                model=spec,
                accelerator=accelerator(row["accelerator"]),
                precision=replace(width, kv_bytes_per_value=1) if row["kv"] == "fp8" else width,
                n_devices=row["devices"],
            ),
            program=program(row["program"]),
            utilization=row["utilization"],
            step_tokens=row["step_tokens"],
            max_users=row["max_users"],
            draft=replace(spec, n_layers=row["draft_layers"]) if row["draft_layers"] else None,
        ),
        logged_bytes=row["cache_gib"] and row["cache_gib"] * GiB,
        logged_tokens=row["cache_tokens"],
    )
