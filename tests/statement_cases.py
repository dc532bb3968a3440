"""Cases that several tests of statements price."""

from __future__ import annotations

from math import inf

from bytebill.deployment import Deployment
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.sim.constants import calibrated_constants
from bytebill.statement import Case, Rental
from bytebill.statement.levers import standard_levers

CHAT = Case(
    name="chat",
    deployment=Deployment(
        model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"), n_devices=4
    ),
    n_input_tokens=1155,
    n_output_tokens=211,
    requests_per_s=40,
    peak_over_mean=1.33,
    ttft_slo_s=2,
    tpot_slo_s=0.05,
    usd_per_device_hour=3.0,
)
VLLM = calibrated_constants("vllm", "h100-sxm")
LEVERS = standard_levers(
    faster=accelerator("h200-sxm"),
    faster_usd_per_hour=4.0,
    contract_usd_per_hour=2.0,
    longest_tokens=8192,
    smaller=model("llama-3-8b"),
)
RESERVED = Rental(terms="contract", replicas=3, usd_per_device_hour=2.0)
SWINGS = {"a": (1e3, 2e3), "b": (0.4, inf), "c": (1.0, 1234.6), "d": (2.0, 3.0), "e": (4.0, 5.0)}
