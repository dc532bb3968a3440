"""Do caches move as fast as published? The bytes by shape, and three times predicted from a fourth.

    error = modelled / published - 1

The share of the links' nominal rate comes from one row (`CALIBRATES`) and is used for all others; no latency is fitted.
Sizes of Qwen3-8B are printed as GB and read as 2**30 bytes here, since only so do the source's size, time and rate
agree: an inference, not the source's word. Its prompts hold up to a block more than their names say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bytebill.deployment import Deployment
from bytebill.hardware import accelerator
from bytebill.models import find, precision
from bytebill.sim import Transfer

CALIBRATES = ("qwen3-8b", 8192)


@dataclass(frozen=True, kw_only=True)
class MovedCache:
    """A published transfer beside the model's."""

    model: str
    n_tokens: int
    moved_bytes: float
    modelled_bytes: float
    seconds: float
    modelled_s: float
    calibrates: bool

    @property
    def bytes_error(self) -> float:
        return self.modelled_bytes / self.moved_bytes - 1

    @property
    def seconds_error(self) -> float:
        return self.modelled_s / self.seconds - 1


def moved_caches(rows: Sequence[Mapping[str, Any]]) -> list[MovedCache]:
    """Rows of model, tp, n_tokens, moved_bytes, seconds and link_bytes_per_s (of all links of a side)."""
    known = next(row for row in rows if (row["model"], row["n_tokens"]) == CALIBRATES)
    share = _transfer(known, 1.0).seconds(known["n_tokens"]) / known["seconds"]
    return [
        MovedCache(
            model=row["model"],
            n_tokens=row["n_tokens"],
            moved_bytes=row["moved_bytes"],
            modelled_bytes=_transfer(row, share).moved_bytes(row["n_tokens"]),
            seconds=row["seconds"],
            modelled_s=_transfer(row, share).seconds(row["n_tokens"]),
            calibrates=row is known,
        )
        for row in rows
    ]


def _transfer(row: Mapping[str, Any], share: float) -> Transfer:
    """On any device with room: a transfer knows links, shapes and copies, and no peak."""
    group = Deployment(
        model=find(row["model"])[0],
        accelerator=accelerator("h200-sxm"),
        precision=precision("bf16"),
        n_devices=row["tp"],
    )
    return Transfer(sender=group, receiver=group, link_bytes_per_s=row["link_bytes_per_s"] / row["tp"], share=share)
