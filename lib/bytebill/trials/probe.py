"""How fast is a server of yours, and what does that say of loads it was not tried at? Any OpenAI-compatible endpoint.

    1 prompts of growing length, one at a time           TTFT    the front end, and what a prompt's tokens cost
    2 users in a closed loop, 1, 2, 4, ...               steps   what a step costs, and what a user adds to it
    3 the constants of the program that fit these        `bytebill.trials.fit`
    4 loads held out of the fit: predicted, then run     predicted over measured

Of a loop those gaps between tokens count in which all of its users decode and none waits: they are steps, and nothing
else. What is left over of the time to the first token is the front end's. The held-out loads have other lengths and
numbers of users, and differ in length among each other. Everything is told with its range, and written as a program's
file that `bytebill price --program` and `bytebill score` read. Ignores what chance does to one run: the held-out loads
show it. A server that does other work meanwhile is measured with it.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from statistics import fmean, median
from typing import Any

from bytebill import hardware
from bytebill.deployment import Deployment
from bytebill.display import Shown, table
from bytebill.errors import require, require_known
from bytebill.hardware import Accelerator
from bytebill.measure.endpoint import Answer, Endpoint, closed_loop, step_times_s
from bytebill.memory.footprint import WIDTHS
from bytebill.models import checkpoint_precision, find
from bytebill.roofline import Load
from bytebill.sim import Clock, ClosedLoop, Constants
from bytebill.sim.closed_loop import POLICIES
from bytebill.sim.own_program import OwnProgram, program_json
from bytebill.trials.fit import Observation, calibrate

FITTED = ("bandwidth_share", "flops_share", "step_s", "sequence_s")
THIS = "this-machine"  # as an accelerator
LONGEST_MINUTES, MOST_AT_ONCE = 60.0, 1024
N_PROMPTS, LOOP_ROUNDS = 5, 3
PROMPT_SHARES = (0.125, 0.5, 1.0)  # of the longest prompt
HELD_SPREAD = 0.5  # lengths of a held-out load are uniform from half of nominal to nominal
SHARE_OF_TIME = 0.6  # for the loops that are fitted; the rest is for those held out,
SHARE_WITH_HELD = 0.9  # which end by then
_HEADINGS = (
    "",
    "users",
    "prompt [tokens]",
    "answer [tokens]",
    "",
    "measured [ms:.1f]",
    "predicted [ms:.1f]",
    "ratio [:.2f]",
)

Probing = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a user allows a probe: lengths, users at once, minutes."""

    n_input_tokens: int = 512
    n_output_tokens: int = 64
    n_at_once: int = 16
    minutes: float = 3.0

    def __post_init__(self) -> None:
        require(
            16 <= self.n_input_tokens <= 1 << 20 and 8 <= self.n_output_tokens <= 1 << 16,
            "A probe asks with prompts of 16 tokens or more, for answers of 8 tokens or more.",
        )
        require(1 <= self.n_at_once <= MOST_AT_ONCE, f"A probe has from 1 to {MOST_AT_ONCE:,} users at once.")
        require(0.1 <= self.minutes <= LONGEST_MINUTES, f"A probe takes from 0.1 to {LONGEST_MINUTES:g} minutes.")

    @property
    def users(self) -> list[int]:
        """Users at once of the loops that are fitted: 1, 2, 4 and so on."""
        return [1 << i for i in range(self.n_at_once.bit_length())]

    @property
    def held(self) -> list[tuple[int, int, int]]:
        """Users, prompt and answer of the loads that are held out."""
        n_in, n_out = self.n_input_tokens, self.n_output_tokens
        both = [
            (max(1, round(0.75 * self.n_at_once)), n_in * 3 // 4, n_out),
            (max(1, self.n_at_once // 3), n_in // 4, max(2, n_out // 2)),
        ]
        return both if self.n_at_once > 2 else both[1:]


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A closed loop as it was run: nominal lengths in the server's tokens, and what its answers took."""

    n_at_once: int
    n_input_tokens: int
    n_output_tokens: int
    n_answers: int
    ttft_s: float
    tpot_s: float
    step_s: float | None  # the median step in which all of its users got a token; None: there was none
    seconds: float
    client_s: float = 0.0  # of this machine's processor, for asking and reading

    @property
    def name(self) -> str:
        return f"{self.n_at_once} at once"

    @property
    def decodes(self) -> Load:
        """The step that all its users share, at their mean context."""
        return Load.decode(batch_size=self.n_at_once, context_len=self.n_input_tokens + self.n_output_tokens / 2)

    def row(self, part: str) -> tuple[Any, ...]:
        return part, self.n_at_once, self.n_input_tokens, self.n_output_tokens


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a probe found."""

    deployment: Deployment
    program: OwnProgram
    prompts: tuple[tuple[int, float], ...]  # tokens, and the median time to the first token
    loops: tuple[Loop, ...]
    held: tuple[tuple[Loop, ClosedLoop], ...]
    client_s_per_100_tokens: float  # of this machine's processor
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def clock(self) -> Clock:
        return Clock(self.deployment, self.program.constants)

    def to_json(self) -> dict[str, Any]:
        """The program's file: its constants, and where they were measured."""
        group = self.deployment
        probed = {
            "date": datetime.now(UTC).date().isoformat(),
            "model": group.model.id,
            "accelerator": group.accelerator.id,
            "n_devices": group.n_devices,
            "precision": group.precision.name,
            "seconds": self.seconds,
            "client_s_per_100_tokens": self.client_s_per_100_tokens,
            "prompts": [{"n_input_tokens": n, "ttft_s": ttft_s} for n, ttft_s in self.prompts],
            "loops": [vars(loop) for loop in self.loops],
            "held_out": [
                vars(loop) | {"tpot_predicted_s": each.tpot_s, "ttft_predicted_s": each.ttft_s}
                for loop, each in self.held
            ],
            "notes": list(self.notes),
        }
        return program_json(self.program, measured=FITTED, probed=probed)


def run(
    url: str,
    *,
    model: str,
    group: Deployment,
    allowed: Allowed,
    like: str = "vllm",
    key_env: str | None = None,
    progress: Probing = lambda label, done, total: None,
) -> Probed:
    """Measure the server at an address; `key_env` names the environment variable that holds its key."""
    require_known("program", like, POLICIES)
    key = os.environ.get(key_env) if key_env else None
    require(bool(key) or not key_env, f"The environment has no variable {key_env} with a key in it.")
    deadline_s = time.monotonic() + allowed.minutes * 60
    server = Endpoint(url=url, model=model, key=key, deadline_s=deadline_s)
    return asyncio.run(probe(server, group, allowed=allowed, like=like, progress=progress))


def group_of(name: str, *, accelerator: str, n_devices: int, weights: str, kv: str) -> Deployment:
    """What the server runs, by the names of everything; `this-machine` is a device as measured now."""
    spec, stored = find(name)
    require_known("width of weights", weights, ("auto", *WIDTHS))
    require_known("width of the cache", kv, ("bf16", "fp8"))
    width = stored if weights == "auto" else checkpoint_precision(weights, spec)
    card = _this_machine() if accelerator == THIS else hardware.accelerator(accelerator)
    precision = replace(width, kv_bytes_per_value=1) if kv == "fp8" else width
    return Deployment(model=spec, accelerator=card, precision=precision, n_devices=n_devices)


def _this_machine() -> Accelerator:
    from bytebill.device import pick
    from bytebill.measure.ceilings import machine  # torch comes with it

    return machine(pick("auto"))


async def probe(
    server: Endpoint,
    group: Deployment,
    *,
    allowed: Allowed,
    like: str = "vllm",
    progress: Probing = lambda label, done, total: None,
) -> Probed:
    """Measure a server that runs `group`, fit its program, predict the loads that were held out, and run them."""
    started_s = time.monotonic()
    fit_until_s, until_s = (started_s + share * allowed.minutes * 60 for share in (SHARE_OF_TIME, SHARE_WITH_HELD))
    n_parts = 1 + len(allowed.users) + len(allowed.held)
    async with server:
        progress("prompts", 0, n_parts)
        await server.find()
        prompts = await _prompts(server, allowed)
        loops: list[Loop] = []
        notes: list[str] = []
        for n_at_once in allowed.users:
            progress(f"{n_at_once} at once", 1 + len(loops), n_parts)
            if loops and time.monotonic() + 2 * loops[-1].seconds > fit_until_s:
                notes.append(f"The time limit left no room for {n_at_once} users at once.")
                break
            loop = await _loop(server, _equal(allowed), n_at_once=n_at_once, until_s=fit_until_s)
            if loop.step_s is None:
                notes.append(
                    f"Of {n_at_once} users some always waited: the server runs fewer at once, or answers are too short "
                    "beside prompts."
                )
                break
            loops.append(loop)
        require(bool(loops), "Not one step was seen in which nothing but one answer went on; ask for longer answers.")
        program = fitted(group, prompts, loops, like=like)
        held = []
        for n_at_once, *lengths in allowed.held:
            if n_at_once <= loops[-1].n_at_once:
                if time.monotonic() + 2 * loops[-1].seconds > until_s:
                    notes.append(f"The time limit left no room for {n_at_once} users of a load that is held out.")
                    continue
                progress("held out", n_parts - 1, n_parts)
                ends = [(max(1, round((1 - HELD_SPREAD) * n)), n) for n in lengths]
                predicted = _predicted(group, program, n_at_once, *lengths)
                ran = await _loop(server, ends, n_at_once=n_at_once, until_s=until_s)
                held.append((ran, predicted))
    ran_all = (*loops, *(loop for loop, _ in held))
    n_tokens = sum(loop.n_answers * loop.n_output_tokens for loop in ran_all)
    return Probed(
        deployment=group,
        program=program,
        prompts=tuple(prompts),
        loops=tuple(loops),
        held=tuple(held),
        client_s_per_100_tokens=sum(loop.client_s for loop in ran_all) / n_tokens * 100,
        seconds=time.monotonic() - started_s,
        notes=tuple(notes),
    )


def fitted(group: Deployment, prompts: Sequence[tuple[int, float]], loops: Sequence[Loop], *, like: str) -> OwnProgram:
    """The program whose steps took these times on a group; what they leave of the first token is its front end's.

    Prompts are fitted by what the longer ones take more than the shortest, in which no front end has a part.
    """
    (n_short, short_s), *longer = prompts
    more = [(n, s - short_s) for n, s in longer if s > short_s]
    require(bool(more), "Longer prompts took no longer: a cache answers them, or they are too short to tell.")
    points = [Observation(name=f"{n} tokens", measured=s, predict=partial(_more_s, group, n, n_short)) for n, s in more]
    points += [
        Observation(name=loop.name, measured=loop.step_s or 0.0, predict=partial(_step_s, group, loop))
        for loop in loops
    ]
    constants = calibrate(points, start=Constants.exact(bandwidth_share=0.7, flops_share=0.5), free=FITTED)
    clock = Clock(group, constants)
    front_s = median(s - clock.step_s(Load.prefill(n_tokens=n)) for n, s in prompts)
    off = fmean(abs(point.error(constants)) for point in points)
    return OwnProgram(like=like, constants=replace(constants, error=off), request_s=max(0.0, front_s))


def as_table(found: Probed) -> Shown:
    """Predicted over measured, fitted loads first."""
    rows: list[tuple[Any, ...]] = []
    for n, seconds in found.prompts:
        predicted_s = found.program.request_s + found.clock.step_s(Load.prefill(n_tokens=n))
        rows.append(("prompt, fitted", 1, n, 1, "TTFT", seconds, predicted_s, predicted_s / seconds))
    for loop in found.loops:
        predicted_s = found.clock.step_s(loop.decodes)
        measured_s = loop.step_s or 0.0
        rows.append((*loop.row("fitted"), "step", measured_s, predicted_s, predicted_s / measured_s))
    for loop, each in found.held:
        rows.append((*loop.row("held out"), "TPOT", loop.tpot_s, each.tpot_s, each.tpot_s / loop.tpot_s))
        rows.append((*loop.row("held out"), "TTFT", loop.ttft_s, each.ttft_s, each.ttft_s / loop.ttft_s))
    return table(*_HEADINGS, rows=rows)


def as_answer(found: Probed) -> str:
    """The table, the constants with their ranges, and what the probe itself cost."""
    told = {name: getattr(found.program.constants, name) for name in FITTED}
    lines = [f"{name:16} {each.value:.4g} ({each.low:.4g} to {each.high:.4g})" for name, each in told.items()]
    lines.append(f"{'request_s':16} {found.program.request_s:.4g}")
    cost = (
        f"It took {found.seconds:.0f} s, and asking and reading {found.client_s_per_100_tokens:.2%} of a core of this "
        "machine per 100 tokens/s."
    )
    return "\n".join([str(as_table(found)), "", *lines, "", *found.notes, cost])


def _more_s(group: Deployment, n: int, n_short: int, constants: Constants) -> float:
    """What a prompt takes more than a shorter one."""
    clock = Clock(group, constants)
    return clock.step_s(Load.prefill(n_tokens=n)) - clock.step_s(Load.prefill(n_tokens=n_short))


def _step_s(group: Deployment, loop: Loop, constants: Constants) -> float:
    return Clock(group, constants).step_s(loop.decodes)


def _predicted(group: Deployment, program: OwnProgram, n_at_once: int, n_in: int, n_out: int) -> ClosedLoop:
    return ClosedLoop(
        deployment=group,
        constants=program.constants,
        concurrency=n_at_once,
        n_input_tokens=n_in,
        n_output_tokens=n_out,
        length_spread=HELD_SPREAD,
        request_s=program.request_s,
    )


def _equal(allowed: Allowed) -> list[tuple[int, int]]:
    """Lengths of a loop that is fitted: short prompts, so that users decode together most of the time."""
    return [(n, n) for n in (max(8, round(PROMPT_SHARES[0] * allowed.n_input_tokens)), allowed.n_output_tokens)]


async def _prompts(server: Endpoint, allowed: Allowed) -> list[tuple[int, float]]:
    """Tokens of prompts and the median time to their first token, one prompt after another, lengths in turns."""
    asked = [max(8, round(share * allowed.n_input_tokens)) for share in PROMPT_SHARES]
    found: dict[int, list[Answer]] = {n: [] for n in asked}
    for _ in range(N_PROMPTS):
        for n in asked:
            found[n].append(await server.ask(n_input_tokens=n, n_output_tokens=2))
    return [
        (round(fmean(each.n_input_tokens for each in answers)), median(each.ttft_s for each in answers))
        for answers in found.values()
    ]


async def _loop(
    server: Endpoint, ends: Sequence[tuple[int, int]], *, n_at_once: int, until_s: float, seed: int = 0
) -> Loop:
    """A closed loop of users whose prompts and answers are drawn between two ends."""
    draw, (inputs, outputs) = random.Random(seed), ends

    def ask() -> Awaitable[Answer]:
        return server.ask(n_input_tokens=draw.randint(*inputs), n_output_tokens=draw.randint(*outputs))

    begun_s, cpu_s = time.monotonic(), time.process_time()
    answers = await closed_loop(ask, n_at_once=n_at_once, n_rounds=LOOP_ROUNDS, until_s=until_s)
    seconds, client_s = time.monotonic() - begun_s, time.process_time() - cpu_s
    rates = [each.tpot_s for each in answers if each.tpot_s is not None]
    require(bool(rates), "The server ended its answers after one token, which has no time per token.")
    steps_s = step_times_s(answers, n_at_once=n_at_once)
    return Loop(
        n_at_once=n_at_once,
        n_input_tokens=round(fmean(each.n_input_tokens for each in answers)),
        n_output_tokens=round(fmean(each.n_output_tokens for each in answers)),
        n_answers=len(answers),
        ttft_s=fmean(each.ttft_s for each in answers),
        tpot_s=fmean(rates),
        step_s=median(steps_s) if steps_s else None,
        seconds=seconds,
        client_s=client_s,
    )
