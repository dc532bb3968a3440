"""Frontier and compromise: laws that any set of points keeps."""

from __future__ import annotations

import random

import pytest

from bytebill.economics.frontier import compromise, regrets, unbeaten
from bytebill.errors import BytebillError


def drawn(seed: int, n: int = 60) -> dict[int, tuple[float, ...]]:
    rng = random.Random(seed)
    return {name: tuple(rng.choice((1, 2, 3, 5, 8)) * 1.5 for _ in range(3)) for name in range(n)}


@pytest.mark.parametrize("seed", range(5))
def test_every_point_is_on_the_frontier_or_beaten_by_one_that_is(seed):
    points = drawn(seed)
    kept = unbeaten(points)
    for name, mine in points.items():
        betters = [
            other
            for other in kept
            if points[other] != mine and all(a <= b for a, b in zip(points[other], mine, strict=True))
        ]
        assert (name in kept) == (not betters)


@pytest.mark.parametrize("seed", range(5))
def test_the_compromise_needs_no_point_that_is_beaten(seed):
    points = drawn(seed)
    alone = {name: points[name] for name in unbeaten(points)}
    assert compromise(points)[1] == compromise(alone)[1] == min(regrets(points).values())


@pytest.mark.parametrize("seed", range(5))
def test_units_do_not_matter_and_a_point_that_wins_everything_regrets_nothing(seed):
    points = drawn(seed)
    scaled = {name: (a * 1e6, b / 1e3, c) for name, (a, b, c) in points.items()}
    assert regrets(scaled) == pytest.approx(regrets(points))
    assert compromise(points | {"ideal": (1.0, 1.0, 1.0)}) == ("ideal", 1.0)


def test_who_ties_is_not_beaten():
    points = {"a": (1.0, 2.0), "twin": (1.0, 2.0), "dearer": (1.0, 3.0), "other": (2.0, 1.0)}
    assert unbeaten(points) == ["a", "twin", "other"] and unbeaten({}) == []


@pytest.mark.parametrize(
    ("points", "says"),
    [({}, "among no points"), ({"free": (0.0, 1.0)}, "positive"), ({"a": (1.0, 1.0), "owed": (1.0, -1.0)}, "positive")],
)
def test_nothing_and_free_things_are_refused(points, says):
    with pytest.raises(BytebillError, match=says):
        compromise(points)
