"""Constants of the present device: steps timed by the engine, fitted by the clock. Small, so only laws are tested."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bytebill.device import pick
from bytebill.engine.weights.names import random_weights
from bytebill.models import model
from bytebill.serving.plan import Plan
from bytebill.trials import machine as measuring
from bytebill.trials.fit import BOUNDS
from bytebill.trials.machine import FREE, TimedSteps

SPEC = replace(model("smollm2-135m"), id="small", n_layers=3, vocab_size=512)


@pytest.fixture(scope="module")
def measured():
    """A real measurement, small enough for a test."""
    patch = pytest.MonkeyPatch()
    patch.setattr(measuring, "peak_flops_per_s", lambda device, *, dtype: 2e12)
    try:
        steps = TimedSteps(
            pick("cpu"),
            dtype="fp32",
            weights=random_weights(SPEC),
            decodes=((1, 16), (4, 64)),
            prefills=(32,),
            mixed=((2, 16, 8),),
        )
        steps.time(3)
        yield steps.constants()
    finally:
        patch.undo()


def test_every_constant_is_physical_and_has_a_range(measured):
    for name in FREE:
        estimate = getattr(measured.constants, name)
        assert BOUNDS[name][0] <= estimate.low <= estimate.value <= estimate.high <= BOUNDS[name][1]
    assert measured.constants.link_bytes_per_s.low == float("inf")  # one device has no link to measure


def test_the_steps_are_the_ones_asked_for_and_two_hollow_depths(measured):
    names = [point.name for point in measured.points]
    assert names[:3] == ["small B=1 S=16 T=0", "small B=4 S=64 T=0", "small B=0 S=0 T=32"]
    assert names[3] == "small B=2 S=16 T=8" and len(names) == 8 and all("hollow" in name for name in names[4:])
    assert all(point.measured > 0 for point in measured.points)


def test_its_clock_tells_the_time_that_the_fit_says(measured):
    plan = Plan(n_decodes=4, n_context_tokens=4 * 64)
    low, mid, high = measured.clock(SPEC).range_s(plan)
    assert mid == pytest.approx(measured.points[1].predict(measured.constants))
    assert low <= mid <= high
