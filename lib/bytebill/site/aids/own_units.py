"""What is this number in the unit I think in? The book's units and the usual others, as definitions a page converts by.

A unit says how its number becomes the base unit of its kind: times a factor, or the factor divided by it, and times
powers of what a reader assumes (words in a token, words on a page, tokens in a request). The directive `{own-units}`
writes them into the page, with a table of examples that needs no script; `book/assets/aids.js` converts what is typed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from math import prod
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bytebill.economics.cost import SECONDS_PER_DAY, SECONDS_PER_MONTH
from bytebill.errors import require_known
from bytebill.units import GB, MB, TB, GiB, MiB, plain


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How a number in this unit becomes one in the base unit of its kind."""

    factor: float = 1.0
    inverse: bool = False  # tokens per second are one over seconds per token
    by: Mapping[str, int] = field(default_factory=dict)  # powers of assumptions

    def scale(self, assumed: Mapping[str, float]) -> float:
        """The factor with the assumptions in it."""
        return self.factor * prod(assumed[name] ** power for name, power in self.by.items())


@dataclass(frozen=True, kw_only=True)
class UnitKind:
    """Units of one quantity, and an example in the first of them."""

    example: float
    units: Mapping[str, Unit]


# What a reader may change: rules of thumb for English prose, and a chat of middling length.
ASSUMED = {"words per token": 0.75, "words per page": 500.0, "tokens per request": 1000.0}
_WORDS, _PAGE, _REQUEST = ASSUMED
KINDS: Mapping[str, UnitKind] = {
    "speed for one user": UnitKind(
        example=20.0,
        units={
            "ms per token (TPOT)": Unit(factor=1e-3),
            "tokens/s per user": Unit(inverse=True),
            "words/s per user": Unit(inverse=True, by={_WORDS: 1}),
            "seconds per page": Unit(by={_WORDS: 1, _PAGE: -1}),
        },
    ),
    "price": UnitKind(
        example=2.0,
        units={
            "USD per million tokens": Unit(factor=1e-6),
            "tokens per USD": Unit(inverse=True),
            "USD per 1,000 requests": Unit(factor=1e-3, by={_REQUEST: -1}),
            "USD per 1,000 pages": Unit(factor=1e-3, by={_WORDS: 1, _PAGE: -1}),
        },
    ),
    "load": UnitKind(
        example=1.0,
        units={
            "requests/s": Unit(),
            "requests per day": Unit(factor=1 / SECONDS_PER_DAY),
            "tokens/s": Unit(by={_REQUEST: -1}),
            "million tokens per day": Unit(factor=1e6 / SECONDS_PER_DAY, by={_REQUEST: -1}),
            "million tokens per month": Unit(factor=1e6 / SECONDS_PER_MONTH, by={_REQUEST: -1}),
        },
    ),
    "memory": UnitKind(
        example=80.0,
        units={
            "GB": Unit(factor=GB),
            "GiB": Unit(factor=GiB),
            "MB": Unit(factor=MB),
            "MiB": Unit(factor=MiB),
            "TB": Unit(factor=TB),
        },
    ),
    "text": UnitKind(
        example=1000.0,
        units={"tokens": Unit(), "words": Unit(by={_WORDS: -1}), "pages": Unit(by={_PAGE: 1, _WORDS: -1})},
    ),
}


def converted(value: float, *, unit: str, to: str, kind: str, assumed: Mapping[str, float] | None = None) -> float:
    """A number in another unit of the same kind.

    >>> converted(20, unit="ms per token (TPOT)", to="tokens/s per user", kind="speed for one user")
    50.0
    >>> converted(80, unit="GiB", to="GB", kind="memory")
    85.89934592
    >>> converted(2, unit="USD per million tokens", to="tokens per USD", kind="price")
    500000.0
    """
    require_known("kind of unit", kind, KINDS)
    units, given = KINDS[kind].units, {**ASSUMED, **(assumed or {})}
    for name in (unit, to):
        require_known("unit", name, units)
    here, there = units[unit], units[to]
    base = here.scale(given) / value if here.inverse else here.scale(given) * value
    return there.scale(given) / base if there.inverse else base / there.scale(given)


def exported() -> dict[str, Any]:
    """Everything that the page's script needs, as JSON holds it."""
    kinds = {
        name: {
            unit: {"factor": each.factor, "inverse": each.inverse, "by": dict(each.by)}
            for unit, each in kind.units.items()
        }
        for name, kind in KINDS.items()
    }
    return {"assumed": ASSUMED, "kinds": kinds}


def units_page() -> str:
    """The converter as HTML: what is assumed, and a table a kind, filled with its example."""
    asked = "".join(
        f'<label>{escape(name)} <input type="number" min="0" step="any" value="{value:g}" disabled '
        f'data-assumed="{escape(name)}"></label>'
        for name, value in ASSUMED.items()
    )
    definitions = json.dumps(exported()).replace("<", "\\u003c")
    return (
        f'<div class="bb-units" role="group" aria-label="Converter of units"><p class="bb-assumed">{asked}</p>'
        f'<p class="bb-units-said" role="status"></p>'
        f"{''.join(_table(name, kind) for name, kind in KINDS.items())}"
        f'<script type="application/json" class="bb-unit-definitions">{definitions}</script></div>'
    )


class OwnUnits(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """The converter."""
        return [nodes.raw("", units_page(), format="html")]


def _table(name: str, kind: UnitKind) -> str:
    first = next(iter(kind.units))
    rows = ""
    for unit in kind.units:
        value = converted(kind.example, unit=first, to=unit, kind=name)
        shown = plain(value) if value >= 1e-3 else f"{value:.3g}"
        rows += f'<tr><th scope="row">{escape(unit)}</th><td data-unit="{escape(unit)}">{shown}</td></tr>'
    caption = f"{name[0].upper()}{name[1:]}: {kind.example:g} {first}"
    head = f'<table class="bb-unit" data-kind="{escape(name)}"><caption>{escape(caption)}</caption>'
    return f"{head}<tbody>{rows}</tbody></table>"
