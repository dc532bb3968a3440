"""Engine and simulator asked the same: same requests, same decisions, their numbers side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bytebill.device import pick
from bytebill.engine.weights.names import random_weights
from bytebill.models import model
from bytebill.trials.agreement import MAX_BATCH_SIZE, QUANTITIES, agreements, capacity_per_s, requests

SPEC = replace(model("smollm2-135m"), id="small", n_layers=2, vocab_size=512)
N_REQUESTS = 12


@pytest.fixture(scope="module")
def found():
    """A real comparison, with a model small enough for a test; far below capacity, and far above."""
    return agreements(pick("cpu"), weights=random_weights(SPEC), loads=(0.3, 20.0), n_requests=N_REQUESTS, repeats=2)


def test_both_serve_every_token_of_the_same_requests(found):
    asked = list(requests(N_REQUESTS))
    for row in found[1]:
        for run in (row.measured, row.simulated):
            assert run.n_finished == N_REQUESTS
            assert run.n_output_tokens == sum(request.n_output_tokens for request in asked)
            assert run.n_input_tokens == sum(request.n_input_tokens for request in asked)


def test_with_the_engines_times_the_simulator_decides_as_the_engine_did(found):
    assert all(row.same_schedule for row in found[1])


def test_every_quantity_is_there_for_both_and_their_ratio_is_theirs(found):
    for row in found[1]:
        for name, value in QUANTITIES.items():
            assert row.ratio(name) * value(row.measured) == pytest.approx(value(row.simulated))
            assert value(row.measured) > 0


def test_loads_are_shares_of_a_capacity_that_was_predicted(found):
    machine, (low, high) = found
    assert high.rate_per_s / low.rate_per_s == pytest.approx(20 / 0.3)
    capacity = capacity_per_s(machine.clock(SPEC), n_requests=N_REQUESTS)
    # what is simulated with everybody there is what the server can do, so an open loop does no better
    assert low.simulated.requests_per_s < capacity and high.simulated.requests_per_s <= capacity * 1.001
    assert high.simulated.mean_running <= MAX_BATCH_SIZE


def test_lengths_do_not_depend_on_the_rate():
    slow, fast = (list(requests(20, rate_per_s=rate)) for rate in (1, 100))
    for one, other in zip(slow, fast, strict=True):
        assert (one.n_input_tokens, one.n_output_tokens) == (other.n_input_tokens, other.n_output_tokens)
    assert slow[5].arrival_s == pytest.approx(100 * fast[5].arrival_s)
