"""The panels are believable, sourced and runnable: every case fits its memory and its program's clock."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path

import pytest

from bytebill import data
from bytebill.deployment import tensor_parallel_sizes
from bytebill.economics.prices import rent_of
from bytebill.errors import BytebillError
from bytebill.hardware import ACCELERATORS, accelerator
from bytebill.models import precision
from bytebill.programs import PROGRAMS
from bytebill.trials import panels
from bytebill.trials.panels import CLOSED_OFFERS, DEPLOYMENTS, DEVICES, OFFERS, TRACES, PanelCase, bill
from bytebill.trials.score import predicted

CATALOG = {  # workloads of inference-perf, input and output tokens
    "interactive-chat": (4000, 300),
    "batch-summarization-rag": (15_000, 500),
    "batch-synthetic-data-generation": (500, 4000),
    "reasoning": (1000, 8000),
    "deep-research": (45_000, 300),
}
CASES = list(DEPLOYMENTS)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> PanelCase:
    return DEPLOYMENTS[request.param]


# ---- each case


def test_a_case_fits_its_memory_with_all_its_users(case: PanelCase) -> None:
    group = case.loop.deployment
    assert group.users(case.n_input_tokens + case.n_output_tokens) >= 1
    assert case.loop.n_running == case.users, "some of its users would wait for room"
    assert case.n_input_tokens + case.n_output_tokens <= group.model.context_len


def test_the_clock_gives_a_case_a_time_and_a_bill(case: PanelCase) -> None:
    assert case.program in PROGRAMS
    assert 0.001 < case.loop.tpot_s < 0.15 and 0 < case.loop.ttft_s < 5  # a reader's patience
    assert 0 < bill(case, usd_per_gpu_hour=3.0) < math.inf


def test_a_case_splits_its_heads_and_is_no_toy(case: PanelCase) -> None:
    group = case.deployment
    assert group.attention == "data" or group.n_devices in tensor_parallel_sizes(group.model)
    assert group.accelerator.id in DEVICES and group.model.n_params > 7e9
    assert case.context_len == case.n_input_tokens + case.n_output_tokens / 2


def test_a_case_says_who_runs_it_and_whose_lengths_it_takes(case: PanelCase) -> None:
    what, _, place = case.source.rpartition("; ")
    assert what and (place.startswith("data/") or place.startswith("https://"))
    if case.lengths in TRACES:
        said = {row["value"] for row in TRACES[case.lengths] if row["statistic"] in ("mean", "p50")}
        for n in (case.n_input_tokens, case.n_output_tokens):
            assert any(abs(n - value) < 1 for value in said), f"{n} is not of {case.lengths}"
    elif case.lengths != "source":
        assert CATALOG[case.lengths] == (case.n_input_tokens, case.n_output_tokens)


def test_a_case_that_cites_a_benchmark_is_a_row_of_it() -> None:
    names = ("program", "model", "accelerator", "n_devices", "weights", "kv", "concurrency", "n_input_tokens")
    published = {tuple(str(row[name]) for name in names) for row in data.rows("published_inferencex")}
    cited = [row for row in data.panels()["deployments"] if row["source"][0] == "published_inferencex"]
    assert len(cited) >= 5
    for row in cited:
        assert tuple(str({**row, "concurrency": row["users"]}[name]) for name in names) in published


# ---- the panel


def test_the_panel_is_large_and_no_grid() -> None:
    rows = data.panels()["deployments"]
    assert len({row["id"] for row in rows}) == len(rows) == len(DEPLOYMENTS) >= 35
    assert max(Counter(row["model"] for row in rows).values()) <= len(rows) / 4
    assert max(Counter(row["accelerator"] for row in rows).values()) <= len(rows) / 2
    assert len({(row["model"], row["accelerator"], row["n_devices"], row["lengths"]) for row in rows}) == len(rows)
    small = [case.id for case in DEPLOYMENTS.values() if case.deployment.accelerator.memory_bytes <= 24e9]
    low = [case.id for case in DEPLOYMENTS.values() if case.users <= 8]
    assert 3 <= len(small) <= len(rows) / 6 and len(rows) / 5 <= len(low) <= len(rows) / 2


def test_a_cases_loop_is_what_score_predicts() -> None:
    """Where attention can be spread in one way only."""
    row = next(row for row in data.panels()["deployments"] if row["id"] == "chat-70b-8xh100")
    cells = {name: str(value) for name, value in row.items() if name not in ("source", "lengths", "id", "users")}
    scored = predicted({**cells, "concurrency": str(row["users"]), "tpot_ms": "10"})
    assert scored.tpot_pred_ms == pytest.approx(DEPLOYMENTS[row["id"]].loop.tpot_s * 1e3)


def test_stakes_are_told_in_a_case_of_the_panel_at_a_rent_on_file() -> None:
    reference = panels.REFERENCE
    assert DEPLOYMENTS[reference.id] is reference
    rent = rent_of(reference.deployment.accelerator.id)
    loop, n = reference.loop, reference.n_output_tokens
    tokens = reference.users * n / (loop.ttft_s + (n - 1) * loop.tpot_s)
    usd = rent.usd_per_gpu_hour * reference.deployment.n_devices / (tokens * 3600) * 1e6
    assert bill(reference) == pytest.approx(usd) and 0.1 < usd < 20
    assert bill(reference, utilization=0.5) == pytest.approx(2 * usd)
    with pytest.raises(AttributeError, match="has no OTHER"):
        _ = panels.OTHER


def test_a_bill_follows_what_changes() -> None:
    case = panels.REFERENCE
    assert bill(case, users=1) > 10 * bill(case)
    assert bill(case, precision=precision("fp8"), n_devices=2) < bill(case)
    assert bill(case, accelerator=accelerator("h200-sxm")) != bill(case)
    assert bill(case, deployment=case.deployment) == bill(case)
    with pytest.raises(BytebillError, match=r"^1 x H100 SXM5 hold no user of .*\.$"):
        bill(case, n_devices=1)


def test_every_device_is_known_and_has_a_rent_but_those_that_are_bought() -> None:
    assert set(DEVICES) < set(ACCELERATORS)
    for id in set(DEVICES) - {"mi300x"}:
        assert 0.1 < rent_of(id).usd_per_gpu_hour < 20
    with pytest.raises(BytebillError, match=r"^No rent of mi300x is on file; name one as usd_per_gpu_hour\.$"):
        bill(DEPLOYMENTS["rag-70b-mi300x"])


def test_offers_are_of_today_and_apart() -> None:
    assert len(OFFERS) >= 20 and len(CLOSED_OFFERS) >= 20 and not set(OFFERS) & set(CLOSED_OFFERS)
    assert {price.weights for price in OFFERS.values()} == {"open"}
    assert len({price.as_of for price in (*OFFERS.values(), *CLOSED_OFFERS.values())}) == 1


def test_all_programs_are_in_it() -> None:
    assert {case.program for case in DEPLOYMENTS.values()} == set(PROGRAMS)


# ---- what is not there


@pytest.mark.parametrize("register", [DEPLOYMENTS, TRACES, OFFERS, CLOSED_OFFERS, DEVICES])
def test_an_unknown_id_is_one_sentence(register: data.Register[object]) -> None:
    with pytest.raises(BytebillError, match=r"^There is no (closed )?\w+ of the panel 'nothing-like-it'; [^.]*.*\.$"):
        register["nothing-like-it"]


def test_panels_are_read_where_the_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data.REPOSITORY / "data", folder)
    path = folder / "panels.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("chat-8b-h100", "chat-of-another"), encoding="utf-8")
    monkeypatch.setenv("BYTEBILL_DATA", str(folder))
    assert "chat-of-another" in DEPLOYMENTS and "chat-8b-h100" not in DEPLOYMENTS
