"""How is a claim judged? One rule for the whole book; the words of a verdict are computed, never typed.

A claim is split into checks, each a number found against a bound that is on the page before the number. A
*core* check is what the claim says; a *limit* is a circumstance it leaves out and a reader would meet. Then

    all core and all limits pass   holds                    some core pass   loose
    all core pass, a limit fails   holds with conditions    no core passes   refuted

`sourced=False` is for a figure that names neither a source nor the conditions it was found under: where our
own core checks establish it, it is judged as above, otherwise it is `unsourced`, because what names no
conditions cannot be refuted under any. Write the core so that it can come out loose: one check for the
direction, one for the number, one for the cause. The claims are `data/claims.yaml`; how a verdict looks is
`bytebill.claims.view`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, nextafter
from typing import Any

from bytebill import data
from bytebill.claims import view as view
from bytebill.errors import require_known
from bytebill.units import show

MIME = "application/vnd.bytebill.claim+json"
HOW = {"D": "derived", "M": "measured", "S": "simulated", "R": "published"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim on trial: our words for it, its conditions, and the kinds of evidence it must face."""

    id: str
    chapter: str
    statement: str
    how: tuple[str, ...]
    section: str = ""
    conditions: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One number found, and the bounds it must keep, ends included."""

    text: str
    found: float
    low: float
    high: float
    test: str
    how: str
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the number keeps its bounds; a NaN keeps none."""
        return self.low <= self.found <= self.high


def check(
    text: str,
    *,
    found: float,
    near: float | None = None,
    rtol: float | None = None,
    above: float | None = None,
    below: float | None = None,
    between: tuple[float, float] | None = None,
    how: str = "derived",
    unit: str = "",
) -> Check:
    """Compare a number with one bound: `near` (within rtol, by default 1%), `above`, `below` or `between`.

    >>> check("weights of a 70B in 16 bits", found=70e9 * 2, near=140e9, rtol=0.02, unit="B").passed
    True
    >>> check("idle share", found=0.4, above=0.9, how="measured", unit="fraction").test
    'above 90%'
    """
    require_known("kind of evidence", how, HOW.values())
    if sum(bound is not None for bound in (near, above, below, between)) != 1:
        raise ValueError(f"'{text}' needs exactly one of near, above, below, between")
    if rtol is not None and near is None:
        raise ValueError(f"'{text}': rtol goes with near")
    low, high, test = _bounds(near, rtol, above, below, between, unit=unit)
    number = found if isinstance(found, int) else float(found)  # Python's, from numpy's or torch's too
    return Check(text=text, found=number, low=low, high=high, test=test, how=how, unit=unit)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim, its checks, and what the rule makes of them."""

    claim: Claim
    stated: str
    core: tuple[Check, ...]
    limits: tuple[Check, ...] = ()
    sourced: bool = True
    device: str | None = None

    @property
    def word(self) -> str:
        """One of `view.SIGNS`, by the rule of this module."""
        n_passed = sum(check.passed for check in self.core)
        if n_passed < len(self.core):
            return ("loose" if n_passed else "refuted") if self.sourced else "unsourced"
        return "holds with conditions" if self.conditions else "holds"

    @property
    def conditions(self) -> tuple[str, ...]:
        """The limits that fail, by name."""
        return tuple(limit.text for limit in self.limits if not limit.passed)

    @property
    def found(self) -> str:
        """What the core checks found, in one line."""
        return "; ".join(f"{check.text}: {show(check.found, unit=check.unit)}" for check in self.core)

    @property
    def rule(self) -> str:
        """The rule as it applied here: the counts that made the word."""
        core, limits = (f"{sum(each.passed for each in of)} of {len(of)}" for of in (self.core, self.limits))
        beside = f", {limits} limits" if self.limits else ""
        source = "" if self.sourced else "; the stated figure names no source"
        failing = f", except: {'; '.join(self.conditions)}" if self.word == "holds with conditions" else ""
        return f"{core} core checks pass{beside}{source}: {self.word}{failing}"

    def to_json(self) -> dict[str, Any]:
        """The verdict for programs and for the ledger."""
        roles = {"core": self.core, "limit": self.limits}
        return {
            "id": self.claim.id,
            "chapter": self.claim.chapter,
            "statement": self.claim.statement,
            "verdict": self.word,
            "stated": self.stated,
            "found": self.found,
            "evidence": [_evidence(check, role) for role, checks in roles.items() for check in checks],
            "rule": self.rule,
            "device": self.device,
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        content = self.to_json()
        return {MIME: content, "text/html": view.box(content), "text/plain": view.as_text(content)}


def judge(
    id: str,
    *,
    stated: str,
    core: Sequence[Check],
    limits: Sequence[Check] = (),
    sourced: bool = True,
    device: object = None,
) -> Verdict:
    """The verdict on a claim, given what it states and the checks it must pass.

    >>> flat = check("weights read at batch 64 against batch 1", found=1.0, near=1)
    >>> kv = check("KV bytes read, likewise", found=64.0, near=1)
    >>> judge("C10", stated="bytes flat", core=[flat], limits=[kv]).word
    'holds with conditions'
    """
    if not core:
        raise ValueError(f"{id} needs a core check: a verdict must be able to come out the other way")
    if device is None and any(check.how == "measured" for check in (*core, *limits)):
        raise ValueError(f"{id} rests on a measurement: name its device")
    name = None if device is None else str(getattr(device, "name", device))
    return Verdict(
        claim=CLAIMS[id], stated=stated, core=tuple(core), limits=tuple(limits), sourced=sourced, device=name
    )


def _from_row(row: Mapping[str, Any]) -> Claim:
    letters = row["how"].split() if isinstance(row["how"], str) else row["how"]
    return Claim(
        id=row["id"],
        chapter=f"{int(row['chapter']):02d}",
        statement=str(row["statement"]).strip(),
        how=tuple(HOW.get(letter, letter) for letter in letters),
        section=str(row.get("section") or ""),
        conditions=str(row.get("conditions") or ""),
    )


CLAIMS = data.Register("claim", lambda: {row["id"]: _from_row(row) for row in data.claims()})


def _bounds(
    near: float | None,
    rtol: float | None,
    above: float | None,
    below: float | None,
    between: tuple[float, float] | None,
    *,
    unit: str,
) -> tuple[float, float, str]:
    """The lowest and highest number that pass, and the test in words; one of the four is given."""
    if near is not None:
        share = 0.01 if rtol is None else rtol
        within = f"within {show(share, unit='fraction')} of {show(near, unit=unit)}"
        exact = f"exactly {near:,} {unit}".strip()
        return near - abs(near) * share, near + abs(near) * share, within if share else exact
    if above is not None:
        return nextafter(above, inf), inf, f"above {show(above, unit=unit)}"
    if below is not None:
        return -inf, nextafter(below, -inf), f"below {show(below, unit=unit)}"
    low, high = between or (nan, nan)
    return low, high, f"between {show(low, unit=unit)} and {show(high, unit=unit)}"


def _evidence(check: Check, role: str) -> dict[str, Any]:
    # Nine digits: two processors may disagree in the last bits of a sum, and nbval compares this text.
    found = check.found if isinstance(check.found, int) else float(f"{check.found:.9g}")
    return {
        "how": check.how,
        "text": check.text,
        "found": found if isfinite(found) else None,
        "test": check.test,
        "passed": check.passed,
        "unit": check.unit,
        "role": role,
    }
