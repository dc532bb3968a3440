"""Of a replica that serves a load always at full speed, how much is usable within limits?"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from bytebill.errors import BytebillError
from bytebill.serving import Poisson, Slo, Workload
from bytebill.serving.workload.published import quantile_table
from bytebill.sim import usable
from bytebill.sim.closed_loop import policy_of
from bytebill.sim.server import serve_on
from bytebill.sim.usable import usable_share
from statement_cases import CHAT, VLLM


def test_without_limits_all_of_a_replica_is_usable():
    given = {"program_id": "vllm", "constants": CHAT.constants, "n_input_tokens": 100, "n_output_tokens": 10}
    assert usable_share(CHAT.deployment, capacity_per_s=5.0, **given) == 1.0


def late_at(rate_per_s, policy, limits):
    """Share of two draws' answers that are late."""
    lengths = [quantile_table("azure-conv", side).stretched(n) for side, n in (("input", 900), ("output", 50))]
    each = []
    for seed in (0, 3):
        arrivals = Poisson(rate_per_s, seed=seed)
        asked = Workload(50, inputs=lengths[0], outputs=lengths[1], arrivals=arrivals, seed=seed)
        each.append(1 - Slo(**limits).share(serve_on(CHAT.deployment, asked, policy, constants=VLLM).metrics))
    return fmean(each)


@pytest.mark.parametrize(
    ("limits", "settings", "changed"),
    [
        ({"ttft_s": 0.6, "attainment": 0.9}, {}, {}),
        ({"ttft_s": 0.6, "attainment": 0.9}, {"n_slots": 3}, {"n_slots": 3}),
        ({"ttft_s": 0.6, "attainment": 0.8}, {"step_tokens": 256}, {"token_budget": 256}),
        ({"tpot_s": 0.02, "attainment": 0.8}, {"n_slots": 10**6}, {}),
    ],
)
def test_of_a_replica_as_much_is_usable_as_keeps_the_limits(limits, settings, changed):
    policy = replace(policy_of("vllm", CHAT.deployment.accelerator), **changed)
    given = {"program_id": "vllm", "constants": VLLM, "capacity_per_s": 30.0, "n_requests": 50, "seeds": (0, 3)}
    given |= {"n_input_tokens": 900, "n_output_tokens": 50}
    found = usable_share(CHAT.deployment, **given, **limits, **settings)
    assert 0 < found < 1
    assert late_at(30 * found, policy, limits) <= 1 - limits["attainment"] + 1e-9
    assert late_at(30 * found * 1.04, policy, limits) > 1 - limits["attainment"] + 1e-9


@pytest.fixture
def paced(monkeypatch):
    """A server of which so many answers are late, by rate and seed, and what it was asked."""
    tried = []

    def of(late):
        def served(group, policy, constants, inputs, outputs, n_requests, rate_per_s, seed):
            tried.append((round(rate_per_s, 9), seed, n_requests, policy))
            return late(rate_per_s, seed)

        monkeypatch.setattr(usable, "_served", served)
        monkeypatch.setattr(Slo, "share", lambda self, late_share: 1 - late_share)
        usable_share.cache_clear()
        return tried

    yield of
    usable_share.cache_clear()


def usable_of_ten(**given):
    """Of a replica that serves ten a second, on CHAT's devices."""
    asked = {"program_id": "vllm", "constants": VLLM, "capacity_per_s": 10.0, "tpot_s": 1.0}
    return usable_share(CHAT.deployment, **asked | {"n_input_tokens": 900, "n_output_tokens": 50} | given)


@pytest.mark.parametrize("most_per_s", [9.9, 5.0, 1.9, 0.3, 0.005])
def test_a_usable_share_is_found_to_four_percent(paced, most_per_s):
    tried = paced(lambda rate, seed: 0.0 if rate <= most_per_s else 1.0)
    found = usable_of_ten()
    assert most_per_s / 10 / 1.04 <= found <= most_per_s / 10
    kept = [seed for rate, seed, *_ in tried if rate == round(10 * found, 9)]
    assert kept == [0, 1, 2, 3, 4] and {n for _, _, n, _ in tried} == {500}


def test_all_of_a_replica_is_usable_where_its_capacity_is_in_time(paced):
    paced(lambda rate, seed: 0.0 if rate <= 10 else 1.0)
    assert usable_of_ten() == 1.0


@pytest.mark.parametrize(("most_per_s", "refused"), [(0.0033, False), (0.0031, True)])
def test_below_a_thousandth_nothing_is_usable(paced, most_per_s, refused):
    """A fifth of a fifth and so on: the last point is 1 in 3,125."""
    paced(lambda rate, seed: 0.0 if rate <= most_per_s else 0.25)
    if refused:
        with pytest.raises(
            BytebillError, match=r"a replica gives 75\.00% of answers within the limits, and 99\.00% are"
        ):
            usable_of_ten()
    else:
        assert usable_of_ten() == pytest.approx(most_per_s / 10, rel=0.04)


@pytest.mark.parametrize(
    ("late", "attainment", "kept"),
    [
        ({0: 0.05}, 0.99, True),
        ({4: 0.051}, 0.99, False),
        ({0: 0.01, 1: 0.01, 2: 0.01, 3: 0.01, 4: 0.01}, 0.99, True),
        ({0: 0.25, 3: 0.25}, 0.9, True),
        ({0: 0.25, 3: 0.26}, 0.9, False),
    ],
)
def test_answers_of_all_draws_are_counted_together(paced, late, attainment, kept):
    paced(lambda rate, seed: late.get(seed, 0.0) if rate > 9.99 else 0.0)
    given = {} if attainment == 0.99 else {"attainment": attainment}
    assert (usable_of_ten(**given) == 1.0) == kept


@pytest.mark.parametrize(
    ("given", "n_slots", "budget"),
    [({}, 256, 8192), ({"n_slots": 7}, 7, 8192), ({"n_slots": 10**6}, 256, 8192), ({"step_tokens": 512}, 256, 512)],
)
def test_a_replica_is_tried_with_the_slots_and_steps_of_its_program_or_fewer(paced, given, n_slots, budget):
    tried = paced(lambda rate, seed: 0.0)
    usable_of_ten(**given)
    assert {(policy.n_slots, policy.token_budget) for *_, policy in tried} == {(n_slots, budget)}
    with pytest.raises(BytebillError, match="some requests a second, not 0"):
        usable_of_ten(capacity_per_s=0)
