"""Which constants does a device have, judging by what was measured on it? Least squares over few named constants.

    minimise   sum over points ((predicted / measured - 1) / NOISE)^2
             + sum over free constants ((x - x_start) / width)^2          a pull too weak to matter where points speak

x are the free constants (shares and the link by their inverse, since times are linear in those); `BOUNDS` are
physical: a share lies below 1, a time is not negative, and `width` is the whole distance between the bounds, so that
a constant that the points say nothing about keeps its start and the range of its bounds. The range of an estimate is
two standard errors to each side, from the same normal equations, with the scatter of the points or NOISE, whichever
is larger. Ignores correlations between constants, and everything about a program that six numbers cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bytebill.errors import unknown
from bytebill.sim.constants import NAMES, TIMES, Constants, Estimate

NOISE = 0.03  # published points agree with themselves no better than this
BOUNDS = {
    "bandwidth_share": (0.3, 1.0),
    "flops_share": (0.2, 1.0),
    "step_s": (0.0, 0.05),
    "layer_s": (0.0, 1e-3),
    "sequence_s": (0.0, 1e-3),
    "link_bytes_per_s": (1e9, 1e12),
}
_ROUNDS = 40


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
        if name not in NAMES:
            raise unknown("constant", name, NAMES)
    low, high = np.array([sorted(_to_x(name, end) for end in BOUNDS[name]) for name in free]).T
    origin = np.clip([_to_x(name, getattr(start, name).value) for name in free], low, high)

    def residuals(x: np.ndarray) -> np.ndarray:
        constants = _with(start, free, x)
        misses = [point.error(constants) / NOISE for point in points]
        return np.array([*misses, *((x - origin) / (high - low))])

    x = _minimum(residuals, origin, low, high)
    error = _standard_errors(residuals, x, low, high, n_points=len(points))
    ends = zip(np.clip(x - 2 * error, low, high), x, np.clip(x + 2 * error, low, high), strict=True)
    return replace(start, **{name: _estimate(name, *three) for name, three in zip(free, ends, strict=True)})


def _minimum(
    residuals: Callable[[np.ndarray], np.ndarray], x: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Levenberg-Marquardt inside a box: a step that does not help is taken again, shorter."""
    damping, now = 1e-3, residuals(x)
    for _ in range(_ROUNDS):
        slopes = _slopes(residuals, x, low, high)
        normal, downhill = slopes.T @ slopes, -slopes.T @ now
        stuck = ((x <= low) & (downhill < 0)) | ((x >= high) & (downhill > 0))
        free = np.flatnonzero(~stuck)
        if not len(free):
            break
        square = normal[np.ix_(free, free)]
        step = np.zeros_like(x)
        step[free] = np.linalg.solve(square + damping * np.diag(np.diag(square)), downhill[free])
        tried = np.clip(x + step, low, high)
        then = residuals(tried)
        if then @ then < now @ now:
            x, now, damping = tried, then, damping / 5
        else:
            damping *= 5
    return x


def _slopes(
    residuals: Callable[[np.ndarray], np.ndarray], x: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Derivatives by differences, taken towards the inside of the box."""
    columns = []
    for i, width in enumerate(high - low):
        there = x.copy()
        there[i] += 1e-5 * width if x[i] < (low[i] + high[i]) / 2 else -1e-5 * width
        columns.append((residuals(there) - residuals(x)) / (there[i] - x[i]))
    return np.array(columns).T


def _standard_errors(
    residuals: Callable[[np.ndarray], np.ndarray], x: np.ndarray, low: np.ndarray, high: np.ndarray, *, n_points: int
) -> np.ndarray:
    slopes = _slopes(residuals, x, low, high)
    misses = residuals(x)[:n_points]
    scatter = misses @ misses / max(1, n_points - len(x))
    variances: np.ndarray = np.diag(np.linalg.inv(slopes.T @ slopes)) * max(1.0, scatter)
    return np.sqrt(variances)


def _to_x(name: str, value: float) -> float:
    return value if name in TIMES else 1 / value


def _with(start: Constants, free: Sequence[str], x: np.ndarray) -> Constants:
    values = {name: _estimate(name, value, value, value) for name, value in zip(free, x, strict=True)}
    return replace(start, **values)


def _estimate(name: str, low: float, value: float, high: float) -> Estimate:
    ends = sorted(_to_x(name, float(each)) for each in (low, value, high))
    return Estimate(low=ends[0], value=ends[1], high=ends[2])
