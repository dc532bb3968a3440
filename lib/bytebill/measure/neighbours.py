"""What does a machine still do when neighbours take its bandwidth? The same calls on one core, alone and beside others.

    loss = log(time beside a neighbour / time alone)              of any call; that of a plain read is the bandwidth's

A machine's bandwidth has no switch, but programs on its other cores can take a part of it. One that reads memory takes
bandwidth and leaves this core its arithmetic; one that multiplies within its own cache takes neither, and shows what a
neighbour costs by being there: a lower clock, a shared cache. States take turns, so that a drift of the machine meets
all of them alike, and a neighbour is stopped while it is not wanted. On one core the time is the thread's own, so what
other programs take of that core is not counted; on all cores it is that of the wall. Ignores that a reader also fills
a shared cache. Used by chapter 15.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import psutil
import torch

from bytebill.errors import require
from bytebill.measure.timing import Call, Timing, times

ALL_CORES, ALONE, READER, MULTIPLIER = "all cores", "one core", "one, a reader beside", "one, a multiplier beside"
STATES = (ALL_CORES, ALONE, READER, MULTIPLIER)
_MOST = 32  # neighbours
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_NEIGHBOUR = """
import contextlib, ctypes, os, sys
parent = os.getppid()
with contextlib.suppress(AttributeError, OSError):
    os.sched_setaffinity(0, {int(sys.argv[2])})
    ctypes.CDLL(None).prctl(1, 9)  # Linux: killed as its parent is, even while it is stopped
import numpy
numbers = numpy.ones(1 << 26 if sys.argv[1] == "reads" else (192, 192), numpy.float32)
print("ready", flush=True)
while os.getppid() == parent:
    numbers @ numbers
"""


def beside_neighbours(make: Callable[[], Mapping[str, Call]], *, repeats: int = 5) -> dict[str, dict[str, Timing]]:
    """Seconds of each call in each of `STATES`; a BytebillError where there is no second core for a neighbour.

    `make` makes the calls: once for all cores and once for one, since what is built may count its threads.

    >>> found = beside_neighbours(lambda: {"count": lambda: sum(range(9))}, repeats=1)    # doctest: +SKIP
    >>> list(found) == list(STATES)    # doctest: +SKIP
    True
    """
    n_threads, cores = torch.get_num_threads(), other_cores()
    require(bool(cores), "This machine has one core: nobody beside it can take its bandwidth.")
    calls = {}
    with ExitStack() as until_done, torch.inference_mode():
        until_done.callback(torch.set_num_threads, n_threads)
        kinds = {READER: "reads", MULTIPLIER: "multiplies"}
        there = {state: until_done.enter_context(_neighbours(kind, cores)) for state, kind in kinds.items()}
        for n in (n_threads, 1):
            torch.set_num_threads(n)
            calls[n] = dict(make())
        samples: dict[str, dict[str, list[float]]] = {state: {name: [] for name in calls[1]} for state in STATES}
        for _ in times(repeats, at_least=2):  # one is left out in turn
            for state, into in samples.items():
                n = n_threads if state == ALL_CORES else 1
                torch.set_num_threads(n)
                with _running(there.get(state, ())):
                    for name, call in calls[n].items():
                        into[name].append(_seconds(call, time.perf_counter if n > 1 else time.thread_time))
    return {
        state: {name: Timing(samples_s=tuple(found)) for name, found in of.items()} for state, of in samples.items()
    }


def other_cores() -> list[int]:
    """The cores given to this process that this thread does not keep to, all but the first where it keeps to none."""
    given = os.environ.get("BYTEBILL_CORES", "").split()  # a taskset or a container may leave it few of the machine's
    cores = set(map(int, given)) or set(range(os.cpu_count() or 1))
    with suppress(AttributeError, OSError):
        mine = os.sched_getaffinity(0)
        return sorted(cores - (mine if mine != cores else {min(mine)}))
    return sorted(cores)[1:]


def _seconds(call: Call, clock: Callable[[], float]) -> float:
    """Time of the second of two calls: the first finds the caches as another call has left them."""
    call()
    start = clock()
    call()
    return clock() - start


@contextmanager
def _neighbours(kind: str, cores: list[int]) -> Iterator[list[psutil.Process]]:
    """A program on each of these cores, stopped until it is wanted."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _NEIGHBOUR, kind, str(core)],
            env={**os.environ, **_ONE_THREAD},
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in cores[:_MOST]
    ]
    try:
        ready = [each.stdout.readline() for each in started if each.stdout]
        require(all(ready), "A neighbour could not be started.")
        found = [psutil.Process(each.pid) for each in started]
        for process in found:
            process.suspend()
        yield found
    finally:
        for each in started:
            each.kill()
            each.communicate()


@contextmanager
def _running(neighbours: Sequence[psutil.Process]) -> Iterator[None]:
    for each in neighbours:
        each.resume()
    try:
        yield
    finally:
        for each in neighbours:
            each.suspend()
