"""What does a claim say, in its own terms? The register `data/claims.yaml`: parts with their bounds, first fixed
before a number was found; later changes stand in the changelog.

    figure      is the stated number right?                      within a factor 1.25 of it, or of its bounds
    direction   does the sentence hold?                          a number on the right side of a bound
    cause       is the named reason the reason?                  at least half of the effect, in logarithms
    reach       in what share of one fixed panel does it hold?   see `bytebill.trials.panels`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from bytebill import data
from bytebill.errors import require_known
from bytebill.units import show

HOW = {"D": "derived", "M": "measured", "S": "simulated", "R": "published"}
COUNTED_KINDS = ("figure", "direction", "cause")
RIGHT, FAR, HALF = 1.25, 2.0, 0.5
_BOUNDS = ("stated", "between", "above", "below")


@dataclass(frozen=True, kw_only=True)
class ClaimPart:
    """One thing that a claim says: its kind, and the number or the bounds it states."""

    key: str
    kind: str
    text: str
    how: str = "derived"
    unit: str = ""
    stated: float | None = None
    low: float = -inf
    high: float = inf

    @property
    def test(self) -> str:
        """What is asked of the number that is found."""
        low, high = (show(end, unit=self.unit) for end in (self.low, self.high))
        if self.stated is not None:
            return f"within {RIGHT}x of {show(self.stated, unit=self.unit)}"
        if self.low == -inf:
            return f"below {high}"
        return f"above {low}" if self.high == inf else f"between {low} and {high}"

    def off_by(self, found: float) -> float:
        """The factor between what is found and the nearest number that is stated; 1 between bounds.

        >>> ClaimPart(key="x", kind="figure", text="a price", stated=5.0).off_by(2.5)
        2.0
        >>> ClaimPart(key="x", kind="figure", text="a share", low=0.6, high=0.8).off_by(0.7)
        1.0
        """
        if self.stated is None and self.low <= found <= self.high:
            return 1.0
        nearest = self.stated if self.stated is not None else self.low if found < self.low else self.high
        if found == nearest:
            return 1.0
        return max(found / nearest, nearest / found) if found * nearest > 0 else inf

    def outcome(self, found: float) -> str:
        """What a number makes of this part: 'holds' or 'fails'; of a figure also 'far', by more than twice."""
        if self.kind == "figure":
            off_by = self.off_by(found)
            return "holds" if off_by <= RIGHT else "fails" if off_by <= FAR else "far"
        return "holds" if self.low < found < self.high or (found in (self.low, self.high) and self.closed) else "fails"

    @property
    def closed(self) -> bool:
        """Whether the bounds themselves pass: those of a range and of a cause do."""
        return self.kind == "cause" or (self.low > -inf and self.high < inf)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim on trial: our words for it, the article's own terms, its parts and the panel it is carried to."""

    id: str
    chapter: str
    statement: str
    how: tuple[str, ...]
    section: str = ""
    terms: str = ""
    paragraph: tuple[int, ...] = ()
    sourced: bool = True
    parts: Mapping[str, ClaimPart]
    panel: str | None = None
    reach_text: str = ""


def _claim(row: Mapping[str, Any]) -> Claim:
    letters = row["how"].split() if isinstance(row["how"], str) else row["how"]
    reach = row.get("reach") or ""
    return Claim(
        id=row["id"],
        chapter=f"{int(row['chapter']):02d}",
        statement=str(row["statement"]).strip(),
        how=tuple(HOW.get(letter, letter) for letter in letters),
        section=str(row.get("section") or ""),
        terms=str(row.get("terms") or ""),
        paragraph=tuple(row.get("paragraph") or ()),
        sourced=bool(row.get("sourced", True)),
        parts={key: _part(key, given) for key, given in (row.get("parts") or {}).items()},
        panel=reach["panel"] if isinstance(reach, Mapping) else None,
        reach_text=reach["text"] if isinstance(reach, Mapping) else str(reach),
    )


def _part(key: str, given: Mapping[str, Any]) -> ClaimPart:
    kind = given["kind"]
    require_known("kind of part", kind, COUNTED_KINDS)
    require_known("kind of evidence", given.get("how", "derived"), HOW.values())
    bounds = {name: given[name] for name in _BOUNDS if name in given}
    if len(bounds) != (kind != "cause") or (kind == "direction" and "stated" in bounds):
        raise ValueError(f"part '{key}': a {kind} with the bounds {sorted(bounds)}")
    low, high = bounds.get("between", (bounds.get("above", -inf), bounds.get("below", inf)))
    return ClaimPart(
        key=key,
        kind=kind,
        text=str(given["text"]),
        how=given.get("how", "derived"),
        unit="fraction" if kind == "cause" else str(given.get("unit", "")),
        stated=bounds.get("stated"),
        low=HALF if kind == "cause" else float(low),
        high=inf if kind == "cause" else float(high),
    )


CLAIMS = data.Register("claim", lambda: {row["id"]: _claim(row) for row in data.claims()})
