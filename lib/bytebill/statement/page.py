"""What goes into a design document? A statement on one page, as Markdown and as JSON, and what it hangs on."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from math import exp, inf
from typing import Any

from bytebill.errors import BytebillError
from bytebill.programs import PROGRAMS
from bytebill.sim.constants import CALIBRATED
from bytebill.statement.bill import Statement, statement

RANGES = {"usd_per_device_hour": 1.3, "peak_over_mean": 1.5, "n_output_tokens": 1.5, "n_input_tokens": 1.5}
_MISSED = 1.5  # of what is not cached, where a case has a hit rate
_LITTLE = 0.1  # of a replica: below it limits, not load, size the fleet


def markdown(found: Statement, *, lengths: str | None = None, attainment: float = 0.99) -> str:
    """One page for a design document: the price, and the qualifiers without which it says nothing.

    `lengths` and `attainment` are those of the form whose fill was simulated; without them it was given.
    """
    case, group = found.case, found.case.deployment
    mean, peak = found.in_flight
    cached = f", {case.hit_rate:.0%} of it cached" if case.hit_rate else ""
    hidden = f" ({case.n_hidden_tokens:,} of them hidden)" if case.n_hidden_tokens else ""
    simulated = (
        f": {attainment:.1%} of the answers in time, lengths of {lengths}, simulated" if lengths else ", as given"
    )
    little = " (so little: try more devices a replica)" if case.fill < _LITTLE else ""
    rows = {
        "Model": group.model.name,
        "Precision": f"{group.precision.name}, {_n(group.n_devices, 'device')} a replica",
        "Context": f"{case.n_input_tokens:,} tokens in{cached}, {case.n_output_tokens:,} out{hidden}, on average",
        "Batch": f"{found.batch_size} at once at most in a replica (limit: {found.limit}); "
        f"{_flight(peak, 0)} at the peak, {_flight(mean, 1)} on average",
        "Fill": f"{case.fill:.0%} of a replica is promised{simulated}{little}",
        "Utilization": f"{found.utilization:.0%} of {_n(found.replicas, 'replica')} over the day; "
        f"{found.needed:,.2f} are needed",
        "Hardware": f"{found.n_devices:,} x {group.accelerator.name} at USD {case.usd_per_device_hour:.2f} an hour"
        f"{' where no rental says otherwise' if case.rentals else ''}",
        "Traffic": f"{case.requests_per_s:g} requests/s on average, {case.peak_over_mean:.2f} times that at peak",
        "Latency, no queue": f"TTFT {_ms(found.ttft_s)}, TPOT {_ms(found.tpot_s)} "
        f"(limits: TTFT {_ms(case.ttft_slo_s)}, TPOT {_ms(case.tpot_slo_s)})",
        **{f"USD a month: {name}": f"{usd:,.0f}" for name, usd in found.invoice.items()},
        "Bill": f"USD {found.usd_per_month:,.0f} a month, {found.usd_per_request * 1e3:,.2f} for a thousand requests",
        "Price": f"USD {found.usd_per_m_output:,.2f} per million output tokens, input included; "
        f"{found.at_scale_usd_per_request / case.n_output_tokens * 1e6:,.2f} if replicas came in fractions",
    }
    swings = [f"{name} {low:,.0f} to {high:,.0f}" for name, (low, high) in tornado(found).items() if high < inf]
    rows["Hangs on"] = (
        f"{'; '.join(swings[:3])} USD a month, with rent off by 1.3, lengths and peak"
        f"{' and what no cache has' if case.hit_rate else ''} by 1.5, at this fill"
    )
    if by := PROGRAMS.get(case.program or ""):
        error = exp(case.constants.error) - 1
        known = group.accelerator.id in CALIBRATED
        rows["Clock"] = (
            f"{by.name}'s, at least eight of ten predictions within {error:.0%}; take the bill as a floor"
            + ("" if known else ", for kernels of this device were not measured")
        )
    told = {_plain(key): _plain(text) for key, text in rows.items()}
    return "\n".join(
        [f"### {_plain(case.name)}", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in told.items())]
    )


def _plain(text: str) -> str:
    """A text that Markdown cannot take for more: a bar would end its cell, a line its heading, and names are anyone's.

    >>> print(_plain("a|b <b>c"))
    a/b &lt;b>c
    """
    return " ".join(text.split()).replace("|", "/").replace("<", "&lt;")


def as_json(found: Statement) -> dict[str, Any]:
    """The same as numbers; an infinite limit is null."""
    case, group = found.case, found.case.deployment
    mean, peak = found.in_flight
    return {
        "name": case.name,
        "model": group.model.id,
        "accelerator": group.accelerator.id,
        "precision": group.precision.name,
        "devices_per_replica": group.n_devices,
        "program": case.program,
        "batch_size": found.batch_size,
        "limit": found.limit,
        "in_flight_mean": mean,
        "in_flight_peak": peak,
        "fill": case.fill,
        "replicas_needed": found.needed,
        "replicas": found.replicas,
        "n_devices": found.n_devices,
        "utilization": found.utilization,
        "ttft_s": found.ttft_s,
        "tpot_s": found.tpot_s,
        "ttft_slo_s": None if case.ttft_slo_s == inf else case.ttft_slo_s,
        "tpot_slo_s": None if case.tpot_slo_s == inf else case.tpot_slo_s,
        "requests_per_s_of_a_replica": found.capacity_per_s,
        "invoice_usd_per_month": found.invoice,
        "usd_per_month": found.usd_per_month,
        "usd_per_request": found.usd_per_request,
        "usd_per_m_output": found.usd_per_m_output,
        "at_scale_usd_per_request": found.at_scale_usd_per_request,
        "tornado_usd_per_month": {
            name: [None if usd == inf else usd for usd in ends] for name, ends in tornado(found).items()
        },
    }


def tornado(found: Statement, factors: Mapping[str, float] = RANGES) -> dict[str, tuple[float, float]]:
    """What the invoice becomes where one input is so many times less and more [USD a month], the widest first.

    The clock is tried within its error, and of a hit rate the share of the prompt that is missed. An end at which the
    case cannot be served is infinite.
    """
    case = found.case
    ends = {name: (getattr(case, name) / factor, getattr(case, name) * factor) for name, factor in factors.items()}
    ends["speed"] = exp(case.constants.error), exp(-case.constants.error)
    if case.hit_rate:
        missed = 1 - case.hit_rate
        ends["hit_rate"] = max(0.0, 1 - missed * _MISSED), 1 - missed / _MISSED
    whole = {"n_output_tokens", "n_input_tokens"}
    rows = {}
    for name, values in ends.items():
        usd = [inf, inf]
        for i, value in enumerate(values):
            with suppress(BytebillError):
                chosen: Any = max(1, round(value)) if name in whole else max(1.0, value) if "peak" in name else value
                hidden = min(case.n_hidden_tokens, chosen - 1) if name == "n_output_tokens" else case.n_hidden_tokens
                usd[i] = statement(replace(case, n_hidden_tokens=hidden, **{name: chosen})).usd_per_month
        rows[name] = (min(usd), max(usd))
    return dict(sorted(rows.items(), key=lambda row: row[1][0] - row[1][1]))


def _n(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _flight(n: float, digits: int) -> str:
    return f"{n:.{digits}f}" if n >= 1 else f"{n:.2g}"


def _ms(seconds: float) -> str:
    return "none" if seconds == inf else f"{seconds * 1e3:,.0f} ms"
