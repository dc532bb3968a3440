"""What does somebody write down of a deployment to have it priced? A form, as a YAML file or a mapping.

    model, accelerator, devices, program, weights, kv, attention      as in a sweep and in `bytebill fits`; a device
                                                                      that is not on file as a mapping, `Device`
    the other names                                                   fields of `Case`, one to one
    fill                                                              a share, or `auto`: found by simulation
    lengths, attainment                                               then: the trace whose shape lengths have, and the
                                                                      share of answers that keeps the limits
    rentals                                                           a list of mappings, each the fields of `Rental`

A name that is no field, a value that is no number and a deployment that cannot be are refused in a sentence. `auto`
fill is found anew for every case that is priced, levers included, since it belongs to the limits. `EXAMPLE` is a form
with every field. Used by chapter 20 and `bytebill price`.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import inf, isfinite, nan
from reprlib import repr as short
from typing import Any, Self

from bytebill.errors import require, require_known
from bytebill.hardware import Accelerator
from bytebill.memory import footprint_of
from bytebill.sim.own_program import own_program
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
_CASE = {field.name: field for field in fields(Case) if field.name not in ("deployment", "program", "own")}
CASE_FIELDS = (*sorted(_OWN), *_CASE)
NEEDED = ("model", "accelerator", "n_input_tokens", "n_output_tokens", "requests_per_s", "usd_per_device_hour")
DTYPES = ("bf16", "fp16", "fp8", "int8", "fp4")  # of whose products a device has units
_TEXTS = {"model", "program", "weights", "kv", "attention", "lengths", "name", "terms", "vendor"}
_COUNTS = {name for name, field in _CASE.items() if "int" in str(field.type) and "tuple" not in str(field.type)}
_COUNTS |= {"devices", "replicas"}
_NONE = {
    "ttft_slo_s": inf,
    "tpot_slo_s": inf,
    "reserved_tokens": None,
    "memory_utilization": None,
    "step_tokens": None,
}  # fields that may be empty, and what that says
EXAMPLE = """\
# What will a deployment cost? Fill in and save as FILE.yaml, then: bytebill price --case FILE.yaml [--json]
model: llama-3.1-70b          # an id, a name on Hugging Face, or the path of a config.json
accelerator: h100-sxm         # an id of data/accelerators.csv, or one of your own, tflops dense, as in
                              # {name: Mine, vendor: AMD, memory_gb: 48, bandwidth_gb_per_s: 864, tflops: {bf16: 181}}
devices: 4                    # of one replica
n_input_tokens: 1155          # mean prompt
n_output_tokens: 211          # mean answer, hidden reasoning included
requests_per_s: 40            # mean over the day, all replicas together
peak_over_mean: 1.33          # what the fleet must serve, over that mean
ttft_slo_s: 2                 # limit of the first token [s]; null: none
tpot_slo_s: 0.05              # and of each further one
usd_per_device_hour: 3.49     # rents with their dates: data/gpu_rents.csv

# What you leave out is as below.
program: vllm                 # or sglang, trtllm, FILE.json of `bytebill probe`: its speed, and the memory it takes
weights: auto                 # as published; or bf16, fp8, int8, int4, mxfp4, nvfp4
kv: bf16                      # width of the cache; or fp8
attention: tensor             # devices share heads; data: each has its own users
memory_utilization: null      # as the program's own setting, where memory is the limit: 0.95, say
step_tokens: null             # most tokens of a step: fewer leave more memory
n_hidden_tokens: 0            # of n_output_tokens, reasoning that nobody sees
hit_rate: 0                   # share of a prompt that a prefix cache has: 0.7, not 70%
prefix_gap_s: 0               # seconds until a conversation comes back for its own prefix; 0: one prefix for all
attainment: 0.99              # share of answers that is to keep the limits
lengths: azure-conv           # shape of lengths; or azure-code, mooncake-conversation, mooncake-synthetic
fill: auto                    # share of a replica that can be promised: simulated from the two above; or a share
min_replicas: 1
spare_replicas: 0             # on top of what the peak needs: 1 is N+1
rentals: []                   # filled up first, as in [{terms: spot, replicas: 2, usd_per_device_hour: 2, lost: 0.1}]
hours_per_day: 24             # in which all others are held: scaled to zero in the rest
staff_usd_per_month: 0
idle_usd_per_device_hour: 0   # what an idle hour earns with other work, at night say
n_draft_tokens: 0             # guessed ahead in each step
acceptance_rate: 0.7          # of these
max_batch_size: 4096          # requests of a replica at once, at most
reserved_tokens: null         # slots that each is promised; null: paged
refills: true                 # false: a batch waits for its longest answer
speed: 1                      # times as fast as the clock says, if you have measured it
"""


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
            require_known("field of a case", str(name), CASE_FIELDS, where="`bytebill price`")
        given = _filled_in(asked)
        _require_all("A case", given, NEEDED)
        group = {name: given.get(name, default) for name, default in _GROUP.items()}
        own = None
        if str(group["program"]).endswith(".json"):
            card = group["accelerator"]
            own = own_program(group["program"], card if isinstance(card, str) else card.id)
            require(
                not own.policy,
                f"{group['program']} names a policy, which no bill reads; take it out there, or use `bytebill score`.",
            )
            group["program"] = own.like
        served = footprint_of(given["model"], n_devices=group.pop("devices"), **group)
        vendor = served.deployment.accelerator.vendor
        require(
            group["program"] != "trtllm" or vendor in ("NVIDIA", ""),
            f"TensorRT-LLM runs on NVIDIA's devices alone, not on {vendor}'s; take another program or device.",
        )
        auto = given.get("fill", "auto") == "auto"
        chosen = {name: value for name, value in given.items() if name in _CASE and not (name == "fill" and auto)}
        chosen.setdefault("name", f"{served.deployment.model.name} on {served.deployment.accelerator.name}")
        chosen["rentals"] = tuple(_rental(each) for each in chosen.get("rentals") or ())
        case = Case(deployment=served.deployment, program=group["program"], own=own, **chosen)
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
    """The share of a case's capacity that its limits leave usable: `sim.usable`.

    The simulated server knows neither drafts nor tokens that a prefix cache has, but for the room that they take. So it
    is held to the TPOT at which it runs the batch that the case's own limit allows, and the rate that is found is told
    as a share of what it serves without limits: the same share of the case's can be promised, up to its capacity.
    Limits move neither, so a bill never falls as they get stricter.
    """
    require(case.program is not None, f"{case.name}: a fill is found for a program; name one, or give a fill.")
    found = statement(case)
    free = replace(case, ttft_slo_s=inf, tpot_slo_s=inf)
    plain = replace(
        free,
        n_input_tokens=case.n_input_tokens - case.n_found_tokens,
        hit_rate=0.0,
        prefix_gap_s=0.0,
        n_draft_tokens=0,
        speed=1.0,
        max_batch_size=min(case.max_batch_size, case.memory_batch),
    )
    share = usable_share(
        plain.served,
        program_id=plain.program or "",
        constants=plain.constants,
        capacity_per_s=statement(plain).capacity_per_s,
        n_input_tokens=plain.n_input_tokens,
        n_output_tokens=plain.n_output_tokens,
        ttft_s=case.ttft_slo_s - (case.ttft_s(1) - plain.ttft_s(1)),
        tpot_s=_tpot_of_same_batch_s(case, plain),
        trace_id=trace_id,
        step_tokens=plain.step_tokens,
        n_slots=plain.max_batch_size,
        **how,
    )
    return min(1.0, share * statement(free).capacity_per_s / found.capacity_per_s)


def _tpot_of_same_batch_s(case: Case, plain: Case) -> float:
    """TPOT of the plain case at the batch at which the case has its limit [s], between two batches in proportion."""
    limit_s, most = case.tpot_slo_s, plain.max_batch_size
    n = bisect_left(range(1, most + 1), True, key=lambda n: case.tpot_s(n) > limit_s)
    if n == most:
        return plain.tpot_s(n) * limit_s / case.tpot_s(n)
    (at_s, next_s), (plain_s, plain_next_s) = ((each.tpot_s(n), each.tpot_s(n + 1)) for each in (case, plain))
    return plain_s + (plain_next_s - plain_s) * (limit_s - at_s) / (next_s - at_s)


def _rental(asked: Any) -> Rental:
    return Rental(**_part("A rental", asked, [field.name for field in fields(Rental)], 3))


def _device(asked: Mapping[Any, Any]) -> Accelerator:
    """A device that its owner describes; its peaks are dense."""
    given = _part("A device", asked, ["name", "memory_gb", "bandwidth_gb_per_s", "tflops", "vendor"], 4)
    peaks = given["tflops"]
    require(isinstance(peaks, Mapping), "The field tflops gives dense rates by dtype, as in {bf16: 181, fp8: 362}.")
    for dtype in peaks:
        require_known("dtype", str(dtype), DTYPES)
    return Accelerator(
        id=given["name"],
        name=given["name"],
        vendor=given.get("vendor", ""),
        memory_bytes=given["memory_gb"] * 1e9,
        bandwidth_bytes_per_s=given["bandwidth_gb_per_s"] * 1e9,
        peak_flops_per_s={dtype: _number("tflops", rate) * 1e12 for dtype, rate in peaks.items()},
    )


def _part(what: str, asked: Any, names: Sequence[str], n_needed: int) -> dict[str, Any]:
    """The fields of a part of a form, of which it needs the first few."""
    require(isinstance(asked, Mapping), f"{what} gives {', '.join(names[:n_needed])}.")
    for name in asked:
        require_known(f"field of {what.lower()}", str(name), names)
    given = _filled_in(asked)
    _require_all(what, given, names[:n_needed])
    return given


def _filled_in(asked: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields that say something, each as its kind."""
    return {name: _checked(name, value) for name, value in asked.items() if value is not None or name in _NONE}


def _require_all(what: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    missing = [name for name in names if given.get(name) is None]
    require(not missing, f"{what} needs {', '.join(missing)} too.")


def _checked(name: str, value: Any) -> Any:
    """The value of a field as its kind."""
    if name == "rentals":
        require(isinstance(value, (list, tuple)), "Rentals are a list.")
        return value
    if name == "accelerator":
        require(isinstance(value, (str, Mapping)), f"The field accelerator is a name or a device, not {short(value)}.")
        return value if isinstance(value, str) else _device(value)
    if name == "tflops":
        return value
    if name in _TEXTS:
        require(isinstance(value, str), f"The field {name} is a name, not {short(value)}.")
        return value
    if name == "refills":
        require(isinstance(value, bool), f"The field {name} is true or false, not {short(value)}.")
        return value
    if name == "fill" and value == "auto":
        return value
    return _NONE[name] if value is None else _number(name, value)


def _number(name: str, value: Any) -> float | int:
    """A number, whole where the field counts."""
    try:
        number = float(value) if not isinstance(value, bool) else nan
    except (TypeError, ValueError, OverflowError):
        number = nan
    require(isfinite(number) or (number == inf and name in _NONE), f"The field {name} is a number, not {short(value)}.")
    if name in _COUNTS:
        require(number.is_integer() and abs(number) < 1e12, f"The field {name} is a whole number, not {short(value)}.")
        return int(number)
    return number
