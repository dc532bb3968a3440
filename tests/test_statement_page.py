"""A statement's page and its numbers for programs say what the statement holds, in whole."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf

import pytest

from bytebill.hardware import accelerator
from bytebill.models import model
from bytebill.statement import as_json, markdown, statement
from statement_cases import CHAT, SWINGS, VLLM


def test_the_page_says_its_limits_and_its_times():
    found = statement(replace(CHAT, ttft_slo_s=inf))
    assert f"TPOT {found.tpot_s * 1e3:,.0f} ms (limits: TTFT none, TPOT 50 ms)" in markdown(found)


def test_a_page_says_when_limits_leave_little_of_a_replica_and_rounds_nobody_to_zero():
    page = markdown(statement(replace(CHAT, requests_per_s=0.01, fill=0.05)))
    assert "5% of a replica is promised, as given (so little: try more devices a replica)" in page
    assert "; 0 at the peak" not in page and " 0.0 on average" not in page
    assert "so little" not in markdown(statement(replace(CHAT, fill=0.5)))


@pytest.mark.parametrize(("id", "known"), [("h100-sxm", True), ("mi300x", False)])
def test_the_page_of_a_bill_says_whose_kernels_were_not_measured(id, known):
    case = replace(CHAT.on(accelerator=accelerator(id)), program="vllm", ttft_slo_s=inf, tpot_slo_s=inf)
    assert ("kernels of this device were not measured" in markdown(statement(case))) != known


PAGE = """\
### A / &lt;b> chat

| | |
|---|---|
| Model | Llama-3-70B |
| Precision | bf16, 4 devices a replica |
| Context | 1,155 tokens in, 25% of it cached, 211 out (11 of them hidden), on average |
| Batch | 1234 at once at most in a replica (limit: TPOT); 5 at the peak, 3.6 on average |
| Fill | 50% of a replica is promised, as given |
| Utilization | 36% of 11 replicas over the day; 10.64 are needed |
| Hardware | 44 x H100 SXM5 at USD 3.00 an hour where no rental says otherwise |
| Traffic | 40 requests/s on average, 1.33 times that at peak |
| Latency, no queue | TTFT 1,235 ms, TPOT 40 ms (limits: TTFT 2,000 ms, TPOT 50 ms) |
| USD a month: 3 x 4 H100 SXM5, contract | 17,520 |
| USD a month: 8 x 4 H100 SXM5, on demand | 70,080 |
| Bill | USD 87,600 a month, 0.83 for a thousand requests |
| Price | USD 3.95 per million output tokens, input included; 4.20 if replicas came in fractions |
| Hangs on | a 1,000 to 2,000; c 1 to 1,235; d 2 to 3 USD a month, with rent off by 1.3, lengths and peak and what no \
cache has by 1.5, at this fill |"""


def test_a_page_has_every_number_of_its_statement(typed):
    """40/s * 1.33 / (10/s * 0.5) = 10.64 replicas; 730 h * 4 * (3 * USD 2 + 8 * USD 3) over 105,120,000 requests."""
    assert markdown(typed()) == PAGE
    dear = markdown(typed(program="vllm"), lengths="azure-conv", attainment=0.995).splitlines()
    assert (
        dear[:-1]
        == PAGE.replace("as given", "X")
        .replace(", X", ": 99.5% of the answers in time, lengths of azure-conv, simulated")
        .splitlines()
    )
    off = f"{exp(VLLM.error) - 1:.0%}"
    assert dear[-1] == f"| Clock | vLLM's, at least eight of ten predictions within {off}; take the bill as a floor |"


@pytest.mark.parametrize(
    ("requests_per_s", "told"), [(1, "1 at the peak, 1.0 on"), (0.5, "0.67 at the peak, 0.5 on"), (0.999, "1 at the")]
)
def test_a_page_tells_few_at_once_in_two_digits(typed, requests_per_s, told):
    assert f"; {told}" in markdown(typed(requests_per_s=requests_per_s))


def test_a_page_leaves_out_what_a_case_has_not(typed):
    plain = markdown(typed(rentals=(), hit_rate=0.0, n_hidden_tokens=0, requests_per_s=0.5, fill=0.1))
    assert "1,155 tokens in, 211 out, on average" in plain and "of 1 replica over" in plain
    assert "at USD 3.00 an hour |" in plain and "lengths and peak by 1.5" in plain and "so little" not in plain
    assert "Clock" not in plain
    one = typed(deployment=replace(CHAT.deployment, model=model("llama-3-8b"), n_devices=1))
    assert "bf16, 1 device a replica" in markdown(one)


NUMBERS = {
    "name": "A | <b>\nchat",
    "model": "llama-3-70b",
    "accelerator": "h100-sxm",
    "precision": "bf16",
    "devices_per_replica": 4,
    "program": None,
    "batch_size": 1234,
    "limit": "TPOT",
    "in_flight_mean": 40 / 11,
    "in_flight_peak": 53.2 / 11,
    "fill": 0.5,
    "replicas_needed": 10.64,
    "replicas": 11,
    "n_devices": 44,
    "utilization": 4 / 11,
    "ttft_s": 1.2346,
    "tpot_s": 0.0404,
    "ttft_slo_s": None,
    "tpot_slo_s": 0.05,
    "requests_per_s_of_a_replica": 10,
    "usd_per_month": 87600,
    "usd_per_request": 1 / 1200,
    "usd_per_m_output": 1e6 / 1200 / 211,
    "at_scale_usd_per_request": 10.64 * 4 * 3 / 3600 / 40,
}


def test_a_statement_as_numbers_is_the_page_unrounded(typed):
    found = as_json(typed(ttft_slo_s=inf))
    assert found.pop("invoice_usd_per_month") == {
        "3 x 4 H100 SXM5, contract": pytest.approx(17520),
        "8 x 4 H100 SXM5, on demand": pytest.approx(70080),
    }
    assert found.pop("tornado_usd_per_month") == {k: [*ends] for k, ends in SWINGS.items()} | {"b": [0.4, None]}
    assert found == pytest.approx(NUMBERS)
