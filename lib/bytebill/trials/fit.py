"""Which constants does a device have, judging by what was measured on it? Least squares over few named constants.

    minimise   sum over points ((predicted / measured - 1) / NOISE)^2
             + sum over free constants ((x - x_start) / width)^2          a pull too weak to matter where points speak

x are the free constants (shares and the link by their inverse, since times are linear in those); `BOUNDS` are
physical: a share lies below 1, a time is not negative, and `width` is the whole distance between the bounds, so that
a constant that the points say nothing about keeps its start and the range of its bounds. The range of an estimate is
two standard errors to each side, from the same normal equations, with the scatter of the points or NOISE, whichever
is larger. Ignores correlations between constants, and everything about a program that eight numbers cannot say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bytebill.errors import require_known
from bytebill.sim.constants import NAMES, TIMES, Constants, Estimate

NOISE = 0.03  # published points agree with themselves no better than this
BOUNDS = {
    "bandwidth_share": (0.3, 1.0),
    "flops_share": (0.2, 1.0),
    "step_s": (0.0, 0.05),
    "layer_s": (0.0, 1e-3),
    "sequence_s": (0.0, 1e-3),
    "link_bytes_per_s": (1e9, 1e12),
    "all_reduce_s": (0.0, 1e-4),
    "routed_layer_s": (0.0, 1e-3),
}
_ROUNDS = 40
_Residuals = Callable[[np.ndarray], np.ndarray]  # of a place in the box between the bounds, each side of length 1


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Something measured, and what constants predict for it, in the same unit."""

    name: str
    measured: float
    predict: Callable[[Constants], float]

    def error(self, constants: Constants) -> float:
        """Predicted over measured, minus one."""
        return self.predict(constants) / self.measured - 1


def calibrate(points: Sequence[Observation], *, start: Constants, free: Sequence[str]) -> Constants:
    """The constants that fit the points best, the ones not free left as they are.

    >>> read = Observation(name="read", measured=1.25, predict=lambda c: 1 / c.bandwidth_share.value)
    >>> found = calibrate([read], start=Constants(), free=["bandwidth_share"]).bandwidth_share
    >>> round(found.value, 2), found.low < 0.8 < found.high
    (0.8, True)
    """
    for name in free:
        require_known("constant", name, NAMES)
    powers = np.where(np.isin(free, TIMES), 1, -1)
    low, high = np.sort(np.array([BOUNDS[name] for name in free]) ** powers[:, None]).T
    begin = np.array([getattr(start, name).value for name in free]) ** powers
    origin = np.clip((begin - low) / (high - low), 0, 1)

    def constants(*places: np.ndarray) -> Constants:
        """From the lowest, the likely and the highest place of each."""
        ends = np.sort([(low * (1 - place) + high * place) ** powers for place in places], axis=0).T.tolist()
        found: dict[str, Any] = {
            name: Estimate(low=each[0], value=each[1], high=each[2]) for name, each in zip(free, ends, strict=True)
        }
        return replace(start, **found)

    def residuals(place: np.ndarray) -> np.ndarray:
        found = constants(place, place, place)
        return np.array([*(point.error(found) / NOISE for point in points), *(place - origin)])

    best = _minimum(residuals, origin)
    slopes, misses = _slopes(residuals, best), residuals(best)[: len(points)]
    scatter = max(1.0, misses @ misses / max(1, len(points) - len(free)))
    error = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)) * scatter)
    return constants(np.clip(best - 2 * error, 0, 1), best, np.clip(best + 2 * error, 0, 1))


def _minimum(residuals: _Residuals, place: np.ndarray) -> np.ndarray:
    """Levenberg-Marquardt inside the box: a step that does not help is taken again, shorter."""
    damping, now = 1e-3, residuals(place)
    for _ in range(_ROUNDS):
        slopes = _slopes(residuals, place)
        slopes *= np.where(slopes.T @ now > 0, place > 0, place < 1)  # what would leave the box is held
        normal = slopes.T @ slopes
        curvature = np.diag(normal)
        step = np.linalg.solve(normal + np.diag(damping * curvature + (curvature == 0)), -slopes.T @ now)
        tried = np.clip(place + step, 0, 1)
        then = residuals(tried)
        if then @ then < now @ now:
            place, now, damping = tried, then, damping / 5
        else:
            damping *= 5
    return place


def _slopes(residuals: _Residuals, place: np.ndarray) -> np.ndarray:
    """Derivatives by differences, taken towards the inside of the box."""
    steps, here = np.where(place < 0.5, 1e-5, -1e-5), residuals(place)
    return np.array([residuals(place + move) - here for move in np.diag(steps)]).T / steps
