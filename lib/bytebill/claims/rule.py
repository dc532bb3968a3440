"""Which word does a claim get? One rule for the whole book; words are computed, never typed.

    ? cannot be tested             the claim names no source, and a counted part does not hold
    ✗ wrong                        half or more of the directions fail, or the only figure is off by more than 2
                                   and nothing else holds
    × right idea, wrong number     a figure is off by more than 1.25
    ≠ right number, wrong reason   a named cause makes less than half of the effect
    ● safe to repeat               all of it holds, in at least 90% of the panel, or it is about one case
    ◐ true with a condition        the same in 50 to 90%, or a minority of directions fails
    ◔ only in its own case         the same in less than half

The word is computed at the numbers found and at both ends of their intervals. Where it changes the verdict carries an
edge, which says what decides. Self-tests and cases outside a claim's own terms are shown and never counted. What a
claim says is `register`; how a verdict looks is `view`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite
from statistics import fmean, median
from typing import Any

from bytebill.claims import view as view
from bytebill.claims.opening import fill
from bytebill.claims.prose import pin_that
from bytebill.claims.register import CLAIMS, HALF, Claim, ClaimPart
from bytebill.errors import require_known
from bytebill.units import show

MIME = "application/vnd.bytebill.claim+json"
SAFE, CONDITION, OWN_CASE = "safe to repeat", "true with a condition", "only in its own case"
REASON, NUMBER, WRONG, UNTESTABLE = (
    "right number, wrong reason",
    "right idea, wrong number",
    "wrong",
    "cannot be tested",
)
WORDS = (SAFE, CONDITION, OWN_CASE, REASON, NUMBER, WRONG, UNTESTABLE)
NEARLY_ALL = 0.9
BESIDE = ("outside", "self-test")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found for one part: a number, its interval, and an input for which it comes out otherwise."""

    value: float
    low: float
    high: float
    flips: tuple[str, float]
    samples: tuple[float, ...]
    of: str  # "seeds" or "machines"
    machines: Mapping[str, float]


def found(
    value: float | None = None,
    low: float | None = None,
    high: float | None = None,
    *,
    flips: tuple[str, float],
    samples: Sequence[float] = (),
    machines: Mapping[str, float] | None = None,
) -> Found:
    """A number found, with its interval.

    `samples` are the values of seeds: their median is the number and their range the interval. `machines` are the
    values that the machines of `data/measured/` gave; they widen it, and so does the number itself. Without a number
    and samples they answer alone: where what could be timed here is not what the claim speaks of. `flips` is the
    counterfactual, (input, number).

    >>> found(samples=[0.78, 0.8, 0.81], flips=("paged", 0.03)).value
    0.8
    >>> found(machines={"H200, 16 users": 16.0, "H200, 64 users": 9.6}, flips=("64 tokens", 1.1)).low
    9.6
    """
    others = tuple(map(float, (machines or {}).values()))
    known = tuple(map(float, samples)) or (*(() if value is None else (float(value),)), *others)
    if not known:
        raise ValueError("a number or samples")
    number = median(known) if value is None else float(value)
    return Found(
        value=number,
        low=min((number, *(known if low is None else (low,)), *others)),
        high=max((number, *(known if high is None else (high,)), *others)),
        flips=(flips[0], float(flips[1])),
        samples=known if len(known) > 1 else (),
        of="machines" if others and not samples else "seeds",
        machines={name: float(number) for name, number in (machines or {}).items()},
    )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """In which cases of its panel a claim is true; None where it does not apply."""

    cases: Mapping[str, bool | None]
    boundary: str
    unsure: tuple[str, ...]

    @property
    def n(self) -> int:
        """Cases to which the claim applies."""
        return sum(true is not None for true in self.cases.values())

    @property
    def shares(self) -> tuple[float, float, float]:
        """Share of them in which it is true; the least and the most, if those at the edge turn."""
        true = {name for name, holds in self.cases.items() if holds}
        edge = {name for name in self.unsure if self.cases.get(name) is not None}
        ends = (len(true), len(true - edge), len(true | edge))
        central, low, high = (count / self.n if self.n else 0.0 for count in ends)
        return central, low, high


def reach(cases: Mapping[str, bool | None], *, boundary: str, unsure: Iterable[str] = ()) -> Reach:
    """The panel of a claim, case by case, and where it turns; `unsure` are cases that an interval turns.

    >>> reach({"a": True, "b": False, "c": None}, boundary="dense models").shares[0]
    0.5
    """
    plain = {name: None if true is None else bool(true) for name, true in cases.items()}
    return Reach(cases=plain, boundary=boundary, unsure=tuple(unsure))


def beside(
    kind: str, text: str, *, found: float, how: str = "derived", unit: str = "", note: str = ""
) -> dict[str, Any]:
    """A number that is shown and never counted: a case outside the claim's own terms, or a test of our instrument."""
    require_known("kind of check beside", kind, BESIDE)
    number = _plain(found)
    ends = {"stated": None, "test": note, "low": number, "high": number, "off_by": None, "passed": None, "flips": None}
    return {"key": "", "kind": kind, "text": text, "how": how, "unit": unit, "found": number, **ends}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim, what was found for its parts, and what the rule makes of them."""

    claim: Claim
    found: Mapping[str, Found]
    reach: Reach | None = None
    say: str
    stake: float | None = None
    beside: tuple[dict[str, Any], ...] = ()
    device: str | None = None

    @property
    def word(self) -> str:
        """One of `WORDS`, at the numbers found."""
        outcomes = {key: part.outcome(self.found[key].value) for key, part in self.claim.parts.items()}
        return word_of(self.claim, outcomes, self.reach.shares[0] if self.reach else 1.0)

    @property
    def edge(self) -> str | None:
        """What decides, where the word changes within the intervals; None where it does not."""
        words = {self.word: None, **dict.fromkeys(self._words())}
        if len(words) == 1:
            return None
        others = " or ".join(f"'{word}'" for word in list(words)[1:])
        return f"{others} within the intervals: {'; '.join(self._deciding())}"

    @property
    def reason(self) -> str:
        """What made the word, in one line."""
        failing = [part for key, part in self.claim.parts.items() if part.outcome(self.found[key].value) != "holds"]
        if failing:
            said = "; ".join(f"{part.text}: {self._number(part)}, not {part.test}" for part in failing)
            return (
                f"the claim names no source, and what can be tried fails: {said}" if self.word == UNTESTABLE else said
            )
        if self.reach is None:
            return f"all parts hold; {self.claim.reach_text or 'it is about one case'}"
        return f"all parts hold, in {self.reach.shares[0]:.0%} of {self.reach.n} {self.claim.panel}"

    def to_json(self) -> dict[str, Any]:
        """The verdict for programs, for the ledger and for what is drawn of it."""
        return {
            "id": self.claim.id,
            "chapter": self.claim.chapter,
            "statement": self.claim.statement,
            "terms": self.claim.terms,
            "paragraph": list(self.claim.paragraph),
            "word": self.word,
            "parts": [*(self._part(part) for part in self.claim.parts.values()), *self.beside],
            "reach": self._reach(),
            "say": self.say,
            "stake": _plain(self.stake),
            "edge": self.edge,
            "reason": self.reason,
            "device": self.device,
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        content = self.to_json()
        return {MIME: content, "text/html": view.box(content), "text/plain": view.as_text(content)}

    def _words(self) -> Iterable[str]:
        possible = [sorted({part.outcome(x) for x in self._within(part)}) for part in self.claim.parts.values()]
        for outcomes in product(*possible):
            for share in self.reach.shares if self.reach else (1.0,):
                yield word_of(self.claim, dict(zip(self.claim.parts, outcomes, strict=True)), share)

    def _ends(self, key: str) -> tuple[float, float, float]:
        return self.found[key].value, self.found[key].low, self.found[key].high

    def _within(self, part: ClaimPart) -> Iterable[float]:
        """The number found and the ends of its interval; where the interval spans what is right, that as well."""
        value, low, high = self._ends(part.key)
        right = [part.stated] if part.stated is not None else [end for end in (part.low, part.high) if isfinite(end)]
        middle = fmean(right) if right else value
        return (value, low, high, *([middle] if low < middle < high else ()))

    def _deciding(self) -> Iterable[str]:
        for key, part in self.claim.parts.items():
            outcomes = [part.outcome(x) for x in self.found[key].samples or self._ends(key)]
            if len(set(outcomes)) > 1 or len({part.outcome(x) for x in self._within(part)}) > 1:
                held, of = outcomes.count("holds"), self.found[key].of
                of = "repeats" if (of, part.how) == ("seeds", "measured") else of
                count = f", holds on {held} of {len(outcomes)} {of}" if self.found[key].samples else ""
                yield f"{part.text}, {self._interval(part)} against {part.test}{count}"
        if self.reach and len(set(self.reach.shares)) > 1:
            _, low, high = self.reach.shares
            yield f"true in {low:.0%} to {high:.0%} of the panel"

    def _number(self, part: ClaimPart) -> str:
        return show(self.found[part.key].value, unit=part.unit)

    def _interval(self, part: ClaimPart) -> str:
        _, *ends = self._ends(part.key)
        return " to ".join(show(end, unit=part.unit) for end in ends)

    def _part(self, part: ClaimPart) -> dict[str, Any]:
        given = self.found[part.key]
        ends = [end if isfinite(end) else None for end in (part.low, part.high)]
        return {
            "key": part.key,
            "kind": part.kind,
            "text": part.text,
            "how": part.how,
            "unit": part.unit,
            "found": _plain(given.value),
            "stated": part.stated if part.stated is not None else ends,
            "test": part.test,
            "low": _plain(given.low),
            "high": _plain(given.high),
            "off_by": _plain(part.off_by(given.value)) if part.kind == "figure" else None,
            "passed": part.outcome(given.value) == "holds",
            "flips": {"text": given.flips[0], "found": _plain(given.flips[1])},
            **({"machines": {name: _plain(x) for name, x in given.machines.items()}} if given.machines else {}),
            **({"samples": [*map(_plain, given.samples)]} if given.samples and part.how == "measured" else {}),
        }

    def _reach(self) -> dict[str, Any] | None:
        if self.reach is None:
            return None
        return {
            "panel": self.claim.panel,
            "text": self.claim.reach_text,
            "n": self.reach.n,
            "share": _plain(self.reach.shares[0]),
            "boundary": self.reach.boundary,
            "cases": dict(self.reach.cases),
        }


def word_of(claim: Claim, outcomes: Mapping[str, str], share: float) -> str:
    """The rule: what the outcomes of a claim's parts, and the share of its panel, make of it."""
    by_kind: dict[str, list[str]] = {"figure": [], "direction": [], "cause": []}
    for key, part in claim.parts.items():
        by_kind[part.kind].append(outcomes[key])
    figures, directions, causes = by_kind.values()
    failing, beside = directions.count("fails"), [*directions, *causes]
    if not claim.sourced and set(outcomes.values()) != {"holds"}:
        return UNTESTABLE
    if (directions and failing >= len(directions) * HALF) or (figures == ["far"] and "holds" not in beside):
        return WRONG
    if set(figures) - {"holds"}:
        return NUMBER
    if "fails" in causes:
        return REASON
    if share < HALF:
        return OWN_CASE
    return SAFE if share >= NEARLY_ALL and not failing else CONDITION


def judge(
    id: str,
    parts: Mapping[str, Found],
    *,
    say: str,
    reach: Reach | None = None,
    stake: float | None = None,
    beside: Sequence[dict[str, Any]] = (),
    device: object = None,
) -> Verdict:
    """The verdict on a claim, given what was found for each of its parts.

    Raises ValueError where the parts, the panel or the device are not those that the register asks for.
    """
    claim = CLAIMS[id]
    if not parts or set(parts) != set(claim.parts):
        raise ValueError(f"{id} has the parts {sorted(claim.parts)}, not {sorted(parts)}")
    if (claim.panel is None) != (reach is None):
        raise ValueError(f"{id} is judged on {claim.panel or 'one case'}, as the register says")
    if device is None and any(part.how == "measured" for part in claim.parts.values()):
        raise ValueError(f"{id} rests on a measurement: name its device")
    for key, part in claim.parts.items():
        text, number = parts[key].flips
        holds, turned = (part.outcome(x) == "holds" for x in (parts[key].value, number))
        if part.how != "measured":
            pin_that(f"{id}, {part.text}: comes out otherwise for {text}", turned != holds)
        elif holds and turned:  # a timing, which other programs may spoil, fails no run
            print(f"{part.text}: here {text} comes out alike.")
    name = None if device is None else str(getattr(device, "name", device))
    verdict = Verdict(
        claim=claim, found=dict(parts), reach=reach, say=say, stake=stake, beside=tuple(beside), device=name
    )
    fill(verdict.to_json())
    return verdict


def _plain(number: float | None) -> float | None:
    # Nine digits: two processors may disagree in the last bits of a sum, and nbval compares this text.
    if number is None or not isfinite(number):
        return None
    return int(number) if isinstance(number, int) else float(f"{float(number):.9g}")
