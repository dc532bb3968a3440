"""Which verdicts rest on a machine, and would another machine's number turn one? The parts that were measured.

A part is steady where it comes out alike at the number found, at both ends of its interval, which spans the repeats
here and the machines on record, at each of these machines, and in the runs of others. Where it is not, `words` has what
the rule makes of the claim with that machine's number in the place of the one found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bytebill.claims.register import CLAIMS
from bytebill.claims.rule import word_of
from bytebill.records.machines import Machine


@dataclass(frozen=True, kw_only=True)
class MeasuredPart:
    """A counted part of a claim that was measured, here and elsewhere."""

    id: str
    word: str
    text: str
    test: str
    unit: str
    found: float
    low: float
    high: float
    passed: bool
    ends: tuple[bool, bool]
    elsewhere: Mapping[str, tuple[float, bool]]
    words: Mapping[str, str]  # of machines whose number makes another one

    @property
    def steady(self) -> bool:
        """Whether it comes out alike wherever it was measured."""
        return {self.passed} == {self.passed, *self.ends, *(passed for _, passed in self.elsewhere.values())}


def measured_parts(machine: Machine, others: Sequence[Machine] = ()) -> Iterator[MeasuredPart]:
    """The measured parts of all claims that a machine has judged, in order, beside the same of other machines."""
    for id, content in sorted(machine.verdicts.items()):
        theirs = {other.name: other.verdicts[id] for other in others if id in other.verdicts}
        for part in content["parts"]:
            known = id in CLAIMS and part.get("key") in CLAIMS[id].parts
            if known and part.get("how") == "measured" and part.get("found") is not None:
                yield _part(content, part, theirs)


def _part(content: Mapping[str, Any], part: Mapping[str, Any], theirs: Mapping[str, Mapping[str, Any]]) -> MeasuredPart:
    asked = CLAIMS[content["id"]].parts[part["key"]]
    numbers = dict(part.get("machines") or {})
    runs = {name: each for name, other in theirs.items() for each in other["parts"] if each["key"] == part["key"]}
    numbers |= {name: each["found"] for name, each in runs.items()}
    words = {name: _word_with(content, part["key"], number) for name, number in (part.get("machines") or {}).items()}
    words |= {name: other["word"] for name, other in theirs.items()}
    low, high = (part["found"] if part.get(end) is None else part[end] for end in ("low", "high"))
    return MeasuredPart(
        id=content["id"],
        word=content["word"],
        text=part["text"],
        test=asked.test,
        unit=asked.unit,
        found=part["found"],
        low=low,
        high=high,
        passed=asked.outcome(part["found"]) == "holds",
        ends=(asked.outcome(low) == "holds", asked.outcome(high) == "holds"),
        elsewhere={name: (x, asked.outcome(x) == "holds") for name, x in numbers.items() if x is not None},
        words={name: word for name, word in words.items() if word and word != content["word"]},
    )


def _word_with(content: Mapping[str, Any], key: str, number: float) -> str:
    """The word of a claim with another number for one of its parts."""
    claim = CLAIMS[content["id"]]
    found = {part["key"]: part["found"] for part in content["parts"] if part["key"] in claim.parts} | {key: number}
    outcomes = {name: claim.parts[name].outcome(x) for name, x in found.items() if x is not None}
    share = content.get("share")
    return word_of(claim, outcomes, 1.0 if share is None else share) if set(outcomes) == set(claim.parts) else ""
