"""Verdicts of all seven words, as JSON, to draw and to list: their numbers are examples, not results."""

from __future__ import annotations

from typing import Any

from bytebill.claims import CLAIMS

CASES = {f"case {n}": True for n in range(28)} | {f"case {n}": False for n in range(28, 38)} | {"toy": None}


def part(kind: str, found: float | None, stated: Any = None, *, how: str = "derived", **more: Any) -> dict[str, Any]:
    """One part; its interval is a tenth to both sides."""
    wide = {} if found is None else {"low": found * 0.9, "high": found * 1.1}
    plain = {"key": kind, "kind": kind, "text": f"<{kind}> of a step", "how": how, "unit": "", "stated": stated}
    plain |= {"test": "", "found": found, "low": None, "high": None, "off_by": None, "passed": True}
    return plain | wide | {"flips": {"text": "no batch", "found": 0.64}} | more


def verdict(id: str, word: str | None, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A verdict with its claim's statement."""
    content = {"id": id, "chapter": CLAIMS[id].chapter, "statement": CLAIMS[id].statement, "terms": "70B, batch 64"}
    content |= {"paragraph": [12], "word": word, "parts": list(parts), "reach": None, "say": f"Say <{id}> so."}
    return content | {"stake": None, "edge": None, "device": None, "reason": "the part that decided"} | more


REACH = {"panel": "deployments", "text": "it is true", "n": 38, "share": 28 / 38, "boundary": "long <contexts>"}
SAMPLES = {
    content["id"]: content
    for content in (
        verdict("C01", "safe to repeat", part("figure", 139e9, 140e9, unit="B", off_by=1.007)),
        verdict(
            "C02",
            "true with a condition",
            part("direction", 0.98, [0.9, None], unit="fraction", how="measured"),
            part("self-test", 64.0, flips=None, passed=None),
            reach=REACH | {"cases": CASES},
            edge="5 of 6 machines",
            device="A CPU",
            stake=-0.3,
        ),
        verdict("C03", "only in its own case", part("figure", 1.4, [1, 2]), reach=REACH | {"cases": {"a": False}}),
        verdict(
            "C04",
            "right number, wrong reason",
            part("figure", 23.5, 23.0, how="published", off_by=1.02),
            part("cause", 0.23, [0.5, None], unit="fraction", how="simulated", passed=False),
        ),
        verdict("C05", "right idea, wrong number", part("figure", 9000.0, 5.0, off_by=1800.0, passed=False), stake=4.0),
        verdict("C06", "wrong", part("direction", -3.0, [None, 2.0], passed=False)),
        verdict("C07", "cannot be tested", part("figure", None, [0.7, 0.8], passed=False)),
    )
}
