"""How far is the simulator from the engine? One scheduler, one workload, two clocks, at rising loads.

    capacity = requests/s of the simulator with everybody there at once       predicted before anything is served
    load     = arrival rate / capacity                                         Poisson arrivals, the same for both
    ratio    = simulated / measured                                            of throughput, TTFT and TPOT

The engine serves SmolLM2 on the wall clock; the simulator serves the same requests under a clock made of this machine's
constants (`bytebill.trials.machine`). They are fitted to steps timed before, between and after the loads, because a
machine is not equally fast all day; no step that was served is among them. The engine's own times, played back, must
lead to the same schedule (`bytebill.trials.replay`): if they do, what remains between the two is the clock's. Arrival
rates are set from a first fit, made before anything is served. Used on the page about the two clocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bytebill.device import Device
from bytebill.engine.weights import Weights
from bytebill.measure.users import N_BLOCKS, serve_afresh
from bytebill.serving import Metrics, Poisson, Policy, Schedule, Scheduler, Uniform, Workload, mean, quantile
from bytebill.sim import Clock, simulate
from bytebill.trials.machine import MachineConstants, TimedSteps
from bytebill.trials.replay import ReplayClock

SHARES_OF_CAPACITY = (0.5, 0.8, 1.5)
MAX_BATCH_SIZE = 8
INPUTS, OUTPUTS = Uniform(8, 64), Uniform(4, 32)
# Steps like those that will be served.
_DECODES = tuple((batch_size, context_len) for context_len in (32, 80) for batch_size in (1, 3, 8))
_PREFILLS, _MIXED = (16, 64), ((7, 48, 16), (7, 48, 48))

QUANTITIES: dict[str, Callable[[Metrics], float]] = {
    "output tokens/s": lambda run: run.output_tokens_per_s,
    "TTFT mean [s]": lambda run: mean(run.ttft_s),
    "TTFT p99 [s]": lambda run: quantile(run.ttft_s, 0.99),
    "TPOT mean [s]": lambda run: mean(run.tpot_s),
    "TPOT p99 [s]": lambda run: quantile(run.tpot_s, 0.99),
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The engine's numbers at one load beside the simulator's."""

    load: float  # arrival rate over the predicted capacity
    rate_per_s: float
    measured: Metrics
    simulated: Metrics
    same_schedule: bool  # the engine's own times, played back, give the engine's schedule

    def ratio(self, quantity: str) -> float:
        """Simulated over measured of one of QUANTITIES."""
        return QUANTITIES[quantity](self.simulated) / QUANTITIES[quantity](self.measured)


def scheduler() -> Scheduler:
    """A fresh one, as engine and simulator are both given."""
    return Policy(n_slots=MAX_BATCH_SIZE).scheduler(N_BLOCKS)


def requests(n_requests: int, *, rate_per_s: float | None = None, seed: int = 0) -> Workload:
    """The workload: all at once, or at a rate. Lengths do not depend on it."""
    arrivals = None if rate_per_s is None else Poisson(rate_per_s, seed=seed)
    return Workload(n_requests, inputs=INPUTS, outputs=OUTPUTS, arrivals=arrivals, seed=seed)


def capacity_per_s(clock: Clock, *, n_requests: int, seed: int = 0) -> float:
    """Requests a second of the simulator when everybody is there at once."""
    return simulate(scheduler(), requests(n_requests, seed=seed), clock).metrics.requests_per_s


def agreements(
    device: Device,
    *,
    dtype: str = "fp32",
    weights: Weights | None = None,
    loads: Sequence[float] = SHARES_OF_CAPACITY,
    n_requests: int = 100,
    repeats: int = 3,
    seed: int = 0,
) -> tuple[MachineConstants, list[Agreement]]:
    """Serve the workload at each load on the engine with SmolLM2 or other weights, and simulate it with the
    machine's constants."""
    steps = TimedSteps(device, dtype=dtype, weights=weights, decodes=_DECODES, prefills=_PREFILLS, mixed=_MIXED)
    spec, served = steps.model.spec, {}
    serve_afresh(steps.model, requests(MAX_BATCH_SIZE), n_slots=MAX_BATCH_SIZE)  # to warm up
    steps.time(repeats)
    capacity = capacity_per_s(steps.constants().clock(spec), n_requests=n_requests, seed=seed)
    streams = {load: requests(n_requests, rate_per_s=load * capacity, seed=seed) for load in loads}
    for load, stream in streams.items():
        served[load] = serve_afresh(steps.model, stream, n_slots=MAX_BATCH_SIZE)
        steps.time(repeats)
    machine = steps.constants()
    return machine, [
        Agreement(
            load=load,
            rate_per_s=load * capacity,
            measured=served[load].metrics,
            simulated=simulate(scheduler(), stream, machine.clock(spec)).metrics,
            same_schedule=_replayed(served[load].schedule, stream) == served[load].schedule.rows,
        )
        for load, stream in streams.items()
    ]


def _replayed(schedule: Schedule, stream: Workload) -> object:
    clock = ReplayClock(schedule.begins_s, schedule.ends_s)
    return simulate(scheduler(), stream, clock, schedule=True).schedule.rows
