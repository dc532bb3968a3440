"""What does somebody write down of a deployment to have it priced? A form, as a YAML file or a mapping.

    model, accelerator, devices, program, weights, kv, attention      as in a sweep and in `bytebill fits`
    the other names                                                   fields of `Case`, one to one
    fill                                                              a share, or `auto`: found by simulation
    lengths, attainment                                               then: the trace whose shape lengths have, and the
                                                                      share of answers that keeps the limits
    rentals                                                           a list of mappings, each the fields of `Rental`

A name that is no field, a value that is no number and a deployment that cannot be are refused in a sentence. `auto`
fill is found anew for every case that is priced, levers included, since it belongs to the limits. Used by chapter 20
and `bytebill price`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, Self

from bytebill.errors import BytebillError, require, require_known
from bytebill.memory import footprint_of
from bytebill.sim.usable import usable_share
from bytebill.statement.bill import Statement, statement
from bytebill.statement.case import Case, Rental

_GROUP: dict[str, Any] = {
    "accelerator": None,
    "devices": 1,
    "program": "vllm",
    "weights": "auto",
    "kv": "bf16",
    "attention": "tensor",
}
_OWN = {"model", *_GROUP, "lengths", "attainment"}
_CASE = {field.name: field for field in fields(Case) if field.name not in ("deployment", "program")}
CASE_FIELDS = (*sorted(_OWN), *_CASE)
_TEXTS = {"model", "accelerator", "program", "weights", "kv", "attention", "lengths", "name", "terms"}
_COUNTS = {name for name, field in _CASE.items() if "int" in str(field.type) and "tuple" not in str(field.type)}
_COUNTS |= {"devices", "replicas"}
_NONE = {
    "ttft_slo_s": inf,
    "tpot_slo_s": inf,
    "reserved_tokens": None,
    "memory_utilization": None,
    "step_tokens": None,
}  # fields that may be empty, and what that says


@dataclass(frozen=True, kw_only=True)
class Form:
    """A case, and how its fill is known."""

    case: Case
    lengths: str | None = None  # a trace of `data/trace_lengths.csv`; None: `case.fill` is as given
    attainment: float = 0.99  # share of the answers that is to keep the limits

    @classmethod
    def read(cls, asked: Any) -> Self:
        """The form that a file's mapping fills in.

        >>> form = Form.read({"model": "llama-3.1-8b", "accelerator": "h100-sxm", "n_input_tokens": 1155, "fill": 0.5,
        ...                   "n_output_tokens": 211, "requests_per_s": 2, "usd_per_device_hour": 3.49})
        >>> form.case.deployment.n_devices, form.case.program, form.lengths
        (1, 'vllm', None)
        """
        require(
            isinstance(asked, Mapping),
            "A case's file gives fields their values, as in `model: llama-3.1-8b`; this one does not.",
        )
        for name in asked:
            require_known("field of a case", str(name), CASE_FIELDS)
        given = {name: _checked(name, value) for name, value in asked.items() if value is not None or name in _NONE}
        needed = [
            *("model", "accelerator", "n_input_tokens", "n_output_tokens", "requests_per_s", "usd_per_device_hour")
        ]
        missing = [name for name in needed if given.get(name) is None]
        require(not missing, f"A case needs {', '.join(missing)} too.")
        group = {name: given.get(name, default) for name, default in _GROUP.items()}
        served = footprint_of(given["model"], n_devices=group.pop("devices"), **group)
        auto = given.get("fill", "auto") == "auto"
        chosen = {name: value for name, value in given.items() if name in _CASE and not (name == "fill" and auto)}
        chosen.setdefault("name", f"{served.deployment.model.name} on {served.deployment.accelerator.name}")
        chosen["rentals"] = tuple(_rental(each) for each in chosen.get("rentals") or ())
        case = Case(deployment=served.deployment, program=group["program"], **chosen)
        return cls(
            case=case,
            lengths=given.get("lengths", "azure-conv") if auto else None,
            attainment=given.get("attainment", 0.99),
        )

    def filled(self, case: Case | None = None, **how: Any) -> Case:
        """The case, or one that it was changed into, with the fill that its limits leave."""
        case = case or self.case
        if not self.lengths:
            return case
        return replace(case, fill=usable_of(case, self.lengths, attainment=self.attainment, **how))

    def statement(self, **how: Any) -> Statement:
        """What the form comes to."""
        return statement(self.filled(**how))


def usable_of(case: Case, trace_id: str, **how: Any) -> float:
    """The share of a case's capacity that its limits leave usable: `sim.usable`, to a hundredth.

    Both are of what is computed: drafts are left out, since the simulated server knows none, and so are tokens that a
    prefix cache has, but for the room that they take.
    """
    require(case.program is not None, f"{case.name}: a fill is found for a program; name one, or give a fill.")
    plain = replace(
        case,
        n_input_tokens=case.n_input_tokens - case.n_found_tokens,
        hit_rate=0.0,
        prefix_gap_s=0.0,
        n_draft_tokens=0,
        speed=1.0,
        max_batch_size=max(1, min(case.max_batch_size, case.memory_batch)),
    )
    try:
        capacity_per_s = statement(plain).capacity_per_s
    except BytebillError:  # its limits are kept with drafts alone
        return case.fill
    share = usable_share(
        plain.served,
        program_id=plain.program or "",
        constants=plain.constants,
        capacity_per_s=capacity_per_s,
        n_input_tokens=plain.n_input_tokens,
        n_output_tokens=plain.n_output_tokens,
        ttft_s=plain.ttft_slo_s,
        tpot_s=plain.tpot_slo_s,
        trace_id=trace_id,
        step_tokens=plain.step_tokens,
        n_slots=plain.max_batch_size,
        **how,
    )
    return max(0.01, round(share, 2))


def _rental(asked: Any) -> Rental:
    require(isinstance(asked, Mapping), "A rental gives terms, replicas and usd_per_device_hour.")
    names = [field.name for field in fields(Rental)]
    for name in asked:
        require_known("field of a rental", str(name), names)
    missing = [name for name in ("terms", "replicas", "usd_per_device_hour") if asked.get(name) is None]
    require(not missing, f"A rental needs {', '.join(missing)} too.")
    return Rental(**{name: _checked(name, value) for name, value in asked.items()})


def _checked(name: str, value: Any) -> Any:
    """The value of a field as its kind."""
    if name == "rentals":
        require(value is None or isinstance(value, (list, tuple)), "Rentals are a list.")
        return value
    if name in _TEXTS:
        require(isinstance(value, str), f"The field {name} is a name, not {value!r}.")
        return value
    if name == "refills":
        require(isinstance(value, bool), f"The field {name} is true or false, not {value!r}.")
        return value
    if name == "fill" and value == "auto":
        return value
    if value is None:
        return _NONE[name]
    try:
        number = float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        number = None
    if number is None or number != number:
        raise BytebillError(f"The field {name} is a number, not {value!r}.")
    if name in _COUNTS:
        require(number.is_integer() and abs(number) < 1e12, f"The field {name} is a whole number, not {value!r}.")
        return int(number)
    return number
