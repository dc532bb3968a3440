"""What goes into a design document? A statement on one page of Markdown."""

from math import inf

from bytebill.economics.cost import SECONDS_PER_MONTH
from bytebill.statement.bill import Statement


def markdown(found: Statement) -> str:
    """One page for a design document: the price, and the five qualifiers without which it says nothing."""
    case = found.case
    group = case.deployment
    per_request = found.usd_per_month / (case.requests_per_s * SECONDS_PER_MONTH)
    cached = f", {case.hit_rate:.0%} of it cached" if case.hit_rate else ""
    rows = {
        "Model": group.model.name,
        "Precision": f"{group.precision.name}, {group.n_devices} devices a replica",
        "Context": f"{case.n_input_tokens:,} tokens in{cached}, {case.n_output_tokens:,} out, on average",
        "Batch and utilization": f"{found.batch_size} at once (limit: {found.limit}), {found.utilization:.0%} of "
        f"{found.n_devices // group.n_devices} replicas over the day",
        "Hardware": f"{found.n_devices} x {group.accelerator.name} at USD {case.usd_per_device_hour:.2f} an hour",
        "Traffic": f"{case.requests_per_s:g} requests/s on average, {case.peak_over_mean:.2f} times that at peak",
        "Latency, no queue": f"TTFT {_ms(found.ttft_s)}, TPOT {_ms(found.tpot_s)} "
        f"(limits: TTFT {_ms(case.ttft_slo_s)}, TPOT {_ms(case.tpot_slo_s)})",
        "Bill": f"USD {found.usd_per_month:,.0f} a month, {per_request * 1e3:.2f} for a thousand requests",
        "Price": f"USD {per_request / case.n_output_tokens * 1e6:.2f} per million output tokens, input included",
    }
    return "\n".join([f"### {case.name}", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def _ms(seconds: float) -> str:
    return "none" if seconds == inf else f"{seconds * 1e3:,.0f} ms"
