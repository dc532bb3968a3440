"""What would everybody have to rent? Each model on the smallest group of each device that holds it.

A deployment is a model, a device, the smallest tensor-parallel group that holds the weights, and one length for
every user. The register's models and devices give some hundreds of them: a population in which "almost always" and
"usually" can be counted. Ignores what the deployments are worth: each counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bytebill.capacity import RUNTIME_RESERVE, Limit, first_limit, kv_budget_bytes, max_users, min_group
from bytebill.hardware import ACCELERATORS, Accelerator
from bytebill.models import MODELS, ModelSpec, Precision
from bytebill.roofline import Step, step_cost

CONTEXT_LENS = (2048, 8192, 32_768)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model on a group of devices, every user with a context of one length."""

    model: ModelSpec
    accelerator: Accelerator
    precision: Precision
    n_devices: int
    context_len: int
    reserve: float = RUNTIME_RESERVE

    @property
    def users(self) -> int:
        """Users that fit at once."""
        return max_users(self.model, context_len=self.context_len, n_devices=self.n_devices, **self._held)

    @property
    def limit(self) -> Limit:
        """What a growing number of users meets first."""
        return first_limit(self.model, context_len=self.context_len, n_devices=self.n_devices, **self._held)

    @property
    def _held(self) -> dict[str, Any]:
        """What every question about this deployment's memory is asked with."""
        return {"accelerator": self.accelerator, "precision": self.precision, "reserve": self.reserve}

    @property
    def cache_share(self) -> float:
        """Share of the cache in what users add to the weights, counting every layer's activations, which is more
        than ever live at once."""
        step = Step.decode(batch_size=max(self.users, 1), context_len=self.context_len)
        cost = step_cost(self.model, step=step, precision=self.precision)
        return cost.kv_read_bytes / (cost.kv_read_bytes + cost.activation_bytes + cost.logit_bytes)

    @property
    def gain_of_one_more_device(self) -> float:
        """Room for caches per device with one device more, over the room per device now."""
        sizes = (self.n_devices, self.n_devices + 1)
        now, more = (kv_budget_bytes(self.model, n_devices=n, **self._held) / n for n in sizes)
        return more / now if now else float("inf")


def smallest_deployments(
    *, precision: Precision, context_lens: Iterable[int] = CONTEXT_LENS, reserve: float = RUNTIME_RESERVE
) -> list[Deployment]:
    """Every model of the register on every device, on the smallest even group, at the contexts it was made for.

    >>> from bytebill.models import precision
    >>> len(smallest_deployments(precision=precision("bf16"), context_lens=(2048,)))    # 16 * 15, less 7 too large
    233
    """
    found = []
    for model in MODELS.values():
        for accelerator in ACCELERATORS.values():
            n = min_group(model, accelerator=accelerator, precision=precision, reserve=reserve)
            lengths = [length for length in context_lens if length <= model.context_len] if n else []
            found += [
                Deployment(
                    model=model,
                    accelerator=accelerator,
                    precision=precision,
                    n_devices=n or 0,
                    context_len=length,
                    reserve=reserve,
                )
                for length in lengths
            ]
    return found
