"""What does the calculator's page show? The fields of its form in; what is printed, and the numbers behind it, out.

    {"asked": {field: value}, "refused": a sentence or None, "headline": ..., "notes": sentences beside the price,
     "sections": [{"id", "title", "note", "rows": [{"name", "printed", "value"}]}],     values in SI units and USD
     "memory": {...}, "roofline": {...}, "python": ..., "yaml": ..., "markdown": ..., "limits": the mark that a
     search's refusal carries too}

One function for three readers: the page's worker (JSON to JSON), the static table that the build prints, and the tests
that hold both to each other. What cannot be is a sentence under `refused`, beside whatever could still be answered: a
model that does not fit still has its memory drawn. Needs the standard library alone. Used by the live calculator.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, inf
from typing import Any

from bytebill.economics.prices import Rent, rent_of
from bytebill.errors import BytebillError, require
from bytebill.memory import Footprint
from bytebill.programs import program
from bytebill.roofline import Chunk, Load, StepCost
from bytebill.sim.constants import CALIBRATED
from bytebill.sim.phase_time import phase_time
from bytebill.statement.bill import Statement, statement
from bytebill.statement.case import Case
from bytebill.statement.fields import FORM_FIELDS, RATE, USERS, read_fields
from bytebill.statement.fill import fill_mark, fill_told, limits_mark, rate_of_users, search_fill
from bytebill.statement.form import Form
from bytebill.statement.lever_words import effect_told
from bytebill.statement.page import markdown
from bytebill.statement.reverse import NO_HOST, Hosts, hosts_of, levers_of, questions
from bytebill.units import gib, plain, show, si

Line = dict[str, Any]
NEAR_FULL = 0.9  # a fill at which a queue that grows slowly goes unseen: `sim.usable`
PASTED_AS = "config.json"  # how an export names a model that was pasted


def answer(given: Mapping[str, object], *, quick: bool = False) -> dict[str, Any]:
    """Everything that the page shows for a form's fields; `quick`: without the levers and what else takes a moment.

    >>> found = answer({"m": "llama-3.1-70b", "gpu": "h100-sxm", "n": "4"}, quick=True)
    >>> found["refused"], found["sections"][1]["rows"][0]["printed"]
    (None, '80 at once in a replica')
    >>> answer({"n": "1"})["refused"].partition("; ")[2]
    'take 4 devices, fewer bits or shorter prompts.'
    """
    asked, pasted = read_fields(given), given.get("config")
    found: dict[str, Any] = {"asked": asked, "refused": None, "headline": "", "notes": [], "sections": []}
    found |= {"memory": None, "roofline": None, "python": "", "yaml": "", "markdown": ""}
    pasted = pasted if isinstance(pasted, str) else ""
    found["limits"] = limits_mark(asked, pasted)
    try:
        for part in _parts(asked, pasted, quick):
            found["sections"] += part.pop("sections", [])
            found |= part
    except BytebillError as error:
        found["refused"] = str(error)
    return found


def answer_text(text: str) -> str:
    """The same from JSON to JSON, as a page's worker asks: {"what": "all", "fields": {...}}, or "quick", or "fill"."""
    asked = json.loads(text)
    what, given = asked["what"], asked["fields"]
    found = fill_of(given) if what == "fill" else answer(given, quick=what == "quick")
    return json.dumps(found, allow_nan=False, ensure_ascii=False)


def fill_of(given: Mapping[str, object]) -> dict[str, Any]:
    """The share of a replica that the limits leave, by simulation, with its mark; or why there is none."""
    text, asked = given.get("config"), read_fields(given)
    pasted = text if isinstance(text, str) else ""
    try:
        fill, refused = search_fill(Form.read(form_of(asked, pasted)).case)
    except BytebillError as error:
        fill, refused = "", str(error)
    if refused:
        return {"refused": refused, "fill": None, "found": None, "limits": limits_mark(asked, pasted)}
    return {"refused": None, "fill": fill, "found": fill_mark({**asked, "fill": fill}, pasted)}


def form_of(asked: Mapping[str, str], pasted: str = "") -> dict[str, Any]:
    """The fields as a form of `bytebill price`, in its units.

    >>> form = form_of(read_fields({"load": "users", "users": "80"}))
    >>> form["ttft_slo_s"], form["tpot_slo_s"], form["usd_per_device_hour"], form["requests_per_s"] > 7.58
    (2.0, 0.05, 3.49, True)
    """
    require(pasted.lstrip()[:1] in ("", "{"), "What is pasted is no JSON object: a config.json begins with a brace.")
    number = {name: float(text) for name, text in asked.items() if FORM_FIELDS[name].options is None and text}
    form: dict[str, Any] = {
        "model": pasted if pasted.strip() else asked["m"],
        "accelerator": asked["gpu"],
        "devices": int(number["n"]),
        "program": asked["by"],
        "weights": asked["w"],
        "kv": asked["kv"],
        "attention": asked["attn"],
        "n_input_tokens": int(number["in"]),
        "n_output_tokens": int(number["out"]),
        "hit_rate": number["hit"] / 100,
        "requests_per_s": number["rps"],
        "peak_over_mean": number["peak"],
        "ttft_slo_s": number.get("ttft"),
        "tpot_slo_s": number["tpot"] / 1e3 if "tpot" in number and number["out"] > 1 else None,
        "usd_per_device_hour": number.get("rent") or rent_on_file(asked["gpu"]).usd_per_gpu_hour,
        "fill": number["fill"] / 100,
    }
    if asked["load"] == USERS:
        form["requests_per_s"] = rate_of_users(Form.read(form | {"requests_per_s": 1e-4}).case, int(number["users"]))
    return form


def rent_on_file(device_id: str) -> Rent:
    """The rent at which this book tells bills; a sentence where there is none."""
    with suppress(BytebillError):
        return rent_of(device_id)
    raise BytebillError(f"No rent of {device_id} is on file; fill one in.")


@dataclass(frozen=True)
class _Answered:
    """A statement, and the same with the clock at both ends of its error."""

    found: Statement

    @cached_property
    def ends(self) -> tuple[Statement | None, Statement | None]:
        """With a clock that was too slow, and one that was too fast; None where nothing keeps the limits."""
        case, off = self.found.case, exp(self.found.case.constants.error)
        both: list[Statement | None] = [None, None]
        for at, speed in enumerate((off, 1 / off)):
            with suppress(BytebillError):
                both[at] = statement(replace(case, speed=speed))
        return both[0], both[1]

    def range(self, of: Callable[[Statement], float], shown: Callable[[float], str]) -> str:
        """A value as printed, with what it is at both ends, or that whole replicas make it the same at both."""
        low, high = (shown(of(end)) if end else "not within the limits" for end in self.ends)
        middle = shown(of(self.found))
        return f"{middle} ({low} to {high})" if {low, high} != {middle} else f"{middle} (same fleet at both ends)"


def _parts(asked: Mapping[str, str], pasted: str, quick: bool) -> Iterator[dict[str, Any]]:
    """The answer, part by part, until one of them refuses."""
    case = Form.read(form_of({**asked, "load": RATE, "rent": "1"}, pasted)).case  # what it holds, served or not
    served = Footprint(deployment=case.deployment, program=program(str(case.program)))
    yield {"memory": _memory(served, None), "sections": [_fits(served, case)]}
    form = form_of(asked, pasted)
    case = Form.read(form).case
    found = statement(case)
    sides = hosts_of(found, closed=asked["api"])
    answered = _Answered(found)
    headline = f"{_perhaps(served, case)}{_headline(answered)} at a fill of {fill_told(asked, pasted)}."
    yield {"memory": _memory(served, found), "headline": headline, "notes": _notes(found, sides, asked)}
    yield {
        "sections": [_speed(found), _step(found), _money(answered, fill_told(asked, pasted)), *_offers(sides, found)]
    }
    yield {"roofline": _roofline(found), **_exports(form, bool(pasted.strip()))}
    if not quick:
        yield {"sections": [_reverse(found, sides, served, asked["price"]), *_levers(case)]}
        yield {"markdown": markdown(found)}


def _section(id: str, title: str, rows: list[Line], note: str = "") -> dict[str, Any]:
    return {"id": id, "title": title, "rows": rows, "note": note}


def _row(name: str, printed: str, value: float | None = None) -> Line:
    return {"name": name, "printed": printed, "value": None if value in (inf, -inf) else value}


def _fits(served: Footprint, case: Case) -> dict[str, Any]:
    n_tokens = case.n_input_tokens + case.n_output_tokens
    users, fewest, most = (served.users(n_tokens, corner=corner) for corner in ("value", "high", "low"))
    sure = "yes" if fewest else "perhaps: not if all that is uncertain takes most" if users else "no"
    longest, devices = served.longest_context(1), case.fewest_devices
    rows = [
        _row(f"A request of {n_tokens:,} tokens fits", sure, float(users > 0)),
        _row("Weights on each device", f"{si(served.weight_bytes, 'B')} ({gib(served.weight_bytes)})"),
        _row(
            f"Requests of all {n_tokens:,} tokens at once, nothing shared, a replica",
            f"{users:,} ({fewest:,} to {most:,})",
            users,
        ),
        _row("Longest context of one user, surely", f"{longest:,} tokens" if longest else "none", longest),
        _row(
            f"Fewest devices on which {n_tokens:,} tokens surely fit",
            f"{devices}" if devices else "no even group of up to 64",
            devices,
        ),
    ]
    return _section("fits", "Does it fit?", rows, "Ranges: all that is uncertain takes most, or least.")


def _perhaps(served: Footprint, case: Case) -> str:
    """What stands before a price where a request may not fit."""
    if served.users(case.n_input_tokens + case.n_output_tokens, corner="high"):
        return ""
    return "A request fits only perhaps: not if all that is uncertain takes most. If it does: "


def _notes(found: Statement, sides: Hosts, asked: Mapping[str, str]) -> list[str]:
    """What has to be known beside a price, one sentence each."""
    card = found.case.deployment.accelerator
    notes = [_verdict(found, sides)]
    if card.id not in CALIBRATED:
        notes.append(
            f"Nobody measured kernels of {card.name} for this book: its clock is the middle of other devices', and may "
            "be off by far more than the range in brackets."
        )
    if found.case.fill >= NEAR_FULL:
        notes.append("A fill near one is read off short runs or assumed, and may be too high by up to a fifth.")
    if found.case.n_output_tokens == 1 and asked["tpot"]:
        notes.append("An answer of one token has no further ones, so the limit on TPOT is none here.")
    return notes


def _verdict(found: Statement, sides: Hosts) -> str:
    """What hosts of the same model would ask, as shares of the own invoice."""
    if not sides.same:
        return NO_HOST
    parts = [offer.usd_per_month / found.usd_per_month for offer in sides.same]
    n, shares = len(parts), [f"{part:,.0%}" if part >= 0.005 else "under 1%" for part in parts]
    told = f"{', '.join(shares[:-1])} and {shares[-1]}" if n > 1 else shares[0]
    return f"{n} {'offers by hosts' if n > 1 else 'offer by a host'} of this model on file would ask {told} of this."


def _memory(served: Footprint, found: Statement | None) -> dict[str, Any]:
    """The parts of one device, and what is too much for it."""
    where, group = served.at("value"), served.deployment
    in_use = found.batch_size * group.user_bytes(found.case.held_tokens) / group.n_devices if found else 0.0
    room = max(0.0, where.cache_bytes)
    parts = {
        "program and driver": where.outside_bytes + where.context_bytes + where.graph_bytes,
        "weights": where.weight_bytes,
        "activations": where.activation_bytes,
        "cache in use": min(in_use, room),
        "free": room - min(in_use, room),
    }
    return {
        "bytes": group.accelerator.driver_bytes,
        "printed": f"{group.accelerator.name}: {gib(group.accelerator.driver_bytes)} by the driver",
        "parts": [_row(name, gib(n_bytes), n_bytes) for name, n_bytes in parts.items()],
    }


def _headline(answered: _Answered) -> str:
    found = answered.found
    price = answered.range(lambda each: each.usd_per_m_output, "{:,.2f}".format)
    group = found.case.deployment
    name = group.model.name
    return (
        f"{name[:1].upper()}{name[1:]} on {found.n_devices:,} x {group.accelerator.name}: "
        f"USD {found.usd_per_month:,.0f} a month, USD {price} per million output tokens, input included,"
    )


def _speed(found: Statement) -> dict[str, Any]:
    n_out, one = found.case.n_output_tokens, found.batch_size
    per_s = found.capacity_per_s * n_out
    rows = [
        _row("Batch, at most: prompt and half an answer each, one prefix shared", f"{one:,} at once in a replica", one),
        _row("What limits it", found.limit),
        _row("First token, no queue (TTFT)", show(found.ttft_s, unit="s"), found.ttft_s),
        _row("Each further one (TPOT)", show(found.tpot_s, unit="s"), found.tpot_s),
        _row("One user gets", f"{plain(1 / found.tpot_s)} tokens/s", 1 / found.tpot_s),
        _row("A full replica gives", f"{plain(per_s)} output tokens/s", per_s),
        _row("That is", f"{plain(found.capacity_per_s)} requests/s", found.capacity_per_s),
    ]
    return _section("speed", "How fast, and how many at once?", rows, "Mean lengths, and nobody in the queue.")


def _step(found: Statement) -> dict[str, Any]:
    """What a token waits for: the parts of a decode step, and others' prompts beside it."""
    case, load = found.case, decode_load(found)
    terms, step_s = case.clock.terms_s(load), case.clock.step_s(load)
    terms |= {"others' prompts": max(0.0, found.tpot_s - step_s)}
    most = max(terms, key=lambda name: terms[name])
    bound = max((name for name in terms if name != "others' prompts"), key=lambda name: terms[name])
    rows = [_row("A decode step takes", show(step_s, unit="s"), step_s)]
    rows += [_row(f"… {name} alone", show(each_s, unit="s"), each_s) for name, each_s in terms.items()]
    rows += [_row("Longest part of the step itself", bound), _row("… and with others' prompts", most)]
    note = "Weights and arithmetic overlap, so the parts are more than the step."
    return _section("step", "What does a token wait for?", rows, note)


def _money(answered: _Answered, fill: str) -> dict[str, Any]:
    found = answered.found
    case, usd_in = found.case, _input_share(found)
    month = answered.range(lambda each: each.usd_per_month, "{:,.0f}".format)
    all_on_output = answered.range(lambda each: each.usd_per_m_output, "{:,.2f}".format)
    split = [
        answered.range(lambda each, of=of: each.usd_per_request * of * 1e6, "{:,.2f}".format)  # type: ignore[misc]
        for of in usd_in
    ]
    at_scale = found.at_scale_usd_per_request / case.n_output_tokens * 1e6
    rows = [
        _row("Rent", _rent(case), case.usd_per_device_hour),
        _row("Requests a second, mean", plain(case.requests_per_s), case.requests_per_s),
        _row("Replicas", f"{found.replicas:,} ({found.needed:,.2f} are needed)", found.replicas),
        _row("Devices", f"{found.n_devices:,}", found.n_devices),
        _row("Fill", fill, case.fill),
        _row("Utilization over the day", show(found.utilization, unit="fraction"), found.utilization),
        _row("Invoice, a month", f"USD {month}", found.usd_per_month),
        _row("A thousand requests", f"USD {1e3 * found.usd_per_request:,.2f}", 1e3 * found.usd_per_request),
        _row("A million output tokens, input included", f"USD {all_on_output}", found.usd_per_m_output),
        _row("… if replicas came in fractions", f"USD {at_scale:,.2f}", at_scale),
        _row("Shared by device time: a million in", f"USD {split[0]}", found.usd_per_request * usd_in[0] * 1e6),
        _row("… and a million out", f"USD {split[1]}", found.usd_per_request * usd_in[1] * 1e6),
    ]
    error = exp(case.constants.error) - 1
    note = (
        f"Rent only. In brackets: the clock may be {error:.0%} off either way, as eight of ten predictions were "
        "at most; queues beyond the fill, staff, spare machines and network come on top."
    )
    return _section("money", "What does it cost?", rows, note)


def _rent(case: Case) -> str:
    """A case's rent, with its provider and its day if it is the one on file."""
    told = f"USD {case.usd_per_device_hour:.2f} an hour a device"
    with suppress(BytebillError):
        rent = rent_on_file(case.deployment.accelerator.id)
        if rent.usd_per_gpu_hour == case.usd_per_device_hour:
            told += f" ({rent.provider}, {rent.terms}, {rent.as_of})"
    return told


def _input_share(found: Statement) -> tuple[float, float]:
    """What one input token and one output token are of a request's price, if each pays for its device time."""
    case = found.case
    ratio = phase_time(
        case.clock,
        batch_size=found.batch_size,
        n_input_tokens=case.n_input_tokens,
        n_output_tokens=case.n_output_tokens,
        hit_rate=case.hit_rate,
    ).ratio
    each = 1 / (case.n_input_tokens + ratio * case.n_output_tokens)
    return each, ratio * each


def _offers(sides: Hosts, found: Statement) -> list[dict[str, Any]]:
    """What hosts ask for the same requests."""
    rows = [] if sides.same else [_row("This model", NO_HOST)]
    rows += [
        _row(
            f"{'' if offer in sides.same else 'another model: '}{offer.price.name}, {offer.price.as_of}",
            f"USD {offer.usd_per_month:,.0f} a month, {plain(offer.usd_per_month / found.usd_per_month)} times the own",
            offer.usd_per_month,
        )
        for offer in sides.offers
    ]
    note = "List prices for this traffic, what a cache finds at its price where the host has one."
    return [_section("offers", "What would an API ask?", rows, note)]


def _levers(case: Case) -> list[dict[str, Any]]:
    """Alternatives, and apart from them what the case has already."""
    alternatives: list[Line] = []
    in_place: list[Line] = []
    for pulled, assumed in levers_of(case):
        name = f"{pulled.lever.name} (chapter {pulled.lever.chapter}): {assumed}"
        rows = in_place if pulled.lever.in_place else alternatives
        rows.append(_row(name, effect_told(pulled), pulled.saved_usd))
    note = "Each alone, at this fill. Savings do not add up. At scale: if replicas came in fractions."
    return [
        _section("levers", "What would each alternative save?", alternatives, note),
        _section("in-place", "What is already in place?", in_place, "What letting go of each would cost."),
    ]


def _reverse(found: Statement, sides: Hosts, served: Footprint, price: str) -> dict[str, Any]:
    rows = [_row(*each) for each in questions(found, sides, served, usd_per_m=float(price) if price else None)]
    return _section("reverse", "The other way round", rows)


def decode_load(found: Statement) -> Load:
    """A decode step of the full batch, half way through the answers."""
    case = found.case
    return Load.decode(batch_size=found.batch_size, context_len=case.n_input_tokens + case.n_output_tokens // 2)


def _roofline(found: Statement) -> dict[str, Any]:
    """One device's roof, and where a prompt's step and the decode step stand under it."""
    case = found.case
    group, card = case.deployment, case.deployment.accelerator
    dtype = card.units(group.precision.compute_dtype)
    prompt = Load(
        chunks=(Chunk(context_len=case.n_found_tokens, n_new_tokens=case.n_input_tokens - case.n_found_tokens),)
    )
    points = []
    for name, load in (("prefill of one prompt", prompt), ("decode of the full batch", decode_load(found))):
        cost: StepCost = group.step_cost(load)
        reached = cost.flops / case.clock.step_s(load) / group.n_devices
        bound = group.step_bounds(load).bound.value
        said = f"{name}: {plain(cost.arithmetic_intensity)} FLOP/byte, {si(reached, 'FLOP/s')} a device, {bound}-bound"
        points.append({"name": name, "x": cost.arithmetic_intensity, "y": reached, "bound": bound, "printed": said})
    return {
        "peak": card.peak(dtype),
        "bandwidth": card.bandwidth_bytes_per_s,
        "ridge": card.ridge_point(dtype),
        "printed": f"{card.name}, {dtype}: ridge at {plain(card.ridge_point(dtype))} FLOP/byte",
        "points": points,
    }


def _exports(form: Mapping[str, Any], pasted: bool) -> dict[str, str]:
    """The same as a line of Python and as a form for `bytebill price --case`; a pasted model stays a file's name."""
    told = dict(form) | ({"model": PASTED_AS} if pasted else {})
    require("\n" not in str(told["model"]), "A model's name is one line.")
    call = f"print(markdown(Form.read({told!r}).statement()))"
    return {
        "python": f"from bytebill.statement import markdown\nfrom bytebill.statement.form import Form\n\n{call}\n",
        "yaml": "".join(f"{name}: {json.dumps(value)}\n" for name, value in told.items()),
    }
