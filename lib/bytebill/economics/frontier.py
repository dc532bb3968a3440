"""Which settings are worth having if price, first token and next token all count? Those that no other beats in all.

    frontier   = points that no other point equals or betters in every quantity and betters in one     less is better
    regret     = of a point, the largest of its quantities, each over the least of that quantity among all points   >= 1
    compromise = the point of the least regret: it is within that factor of the best in everything at once

A regret of 1 is a setting that wins everything. Quantities must be positive; their units cancel. Ignores what a team
makes of a second or a dollar: whoever has limits minimises the price within them instead.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from bytebill.errors import require

Name = TypeVar("Name", bound=Hashable)


def unbeaten(points: Mapping[Name, Sequence[float]]) -> list[Name]:
    """The names of the points that no other beats, in the order given.

    >>> unbeaten({"cheap": (1, 9), "fast": (9, 1), "neither": (9, 9), "between": (3, 3)})
    ['cheap', 'fast', 'between']
    """

    def beaten(mine: Sequence[float]) -> bool:
        return any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and tuple(other) != tuple(mine)
            for other in points.values()
        )

    return [name for name, mine in points.items() if not beaten(mine)]


def regrets(points: Mapping[Name, Sequence[float]]) -> dict[Name, float]:
    """How many times the best of each quantity a point takes, in the quantity where it is worst.

    >>> regrets({"cheap": (1, 9), "fast": (9, 1), "between": (3, 3)})
    {'cheap': 9.0, 'fast': 9.0, 'between': 3.0}
    """
    require(bool(points), "Nothing can be regretted among no points; give one.")
    require(
        all(value > 0 for values in points.values() for value in values),
        "Ratios are taken of positive quantities only.",
    )
    best = [min(values) for values in zip(*points.values(), strict=True)]
    return {name: max(a / b for a, b in zip(values, best, strict=True)) for name, values in points.items()}


def compromise(points: Mapping[Name, Sequence[float]]) -> tuple[Name, float]:
    """The point of the least regret, and that regret.

    >>> compromise({"cheap": (1, 9), "fast": (9, 1), "between": (3, 3)})
    ('between', 3.0)
    """
    found = regrets(points)
    name = min(found, key=lambda each: found[each])
    return name, found[name]
