"""What must be known of a device and a program besides the datasheet? Eight constants, each measurable in a minute.

    bandwidth_share     achieved share of the published bandwidth           a large matrix times one token
    flops_share         achieved share of the published FLOP/s              the same times 4,096 tokens, by dtype
    all_reduce_s        seconds that a sum over the group takes at least    a sum of one token
    link_bytes_per_s    rate of an all-reduce over one device's link        the sum of a layer's output
    step_s              seconds a step costs whatever is in it              steps of a hollow model: what
    layer_s             seconds a layer costs whatever is in it             stays at no layer, what each
    sequence_s          seconds a sequence adds whatever its length         layer, what each sequence adds
    routed_layer_s      seconds that experts add to a layer                 a layer of experts, its bytes apart

The first four are the device's, whoever runs on it; the others the program's (`bytebill.sim.programs`). Each is an
`Estimate`: a value between the lowest and the highest that what it was calibrated on allows. A step's time is monotone
in every constant, so all at their fast ends and all at their slow ends bound a prediction. That range is wider than
likely: it lets every constant be off in the same direction. Ignores that shares depend on shape and clock: the spread
is there for that.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, Self

from bytebill import data

SHARES = ("bandwidth_share", "flops_share")
TIMES = ("all_reduce_s", "step_s", "layer_s", "sequence_s", "routed_layer_s")
UNITS = dict.fromkeys(SHARES, "fraction") | dict.fromkeys(TIMES, "s") | {"link_bytes_per_s": "B/s"}
NAMES = tuple(UNITS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value, and the range that its calibration leaves it.

    >>> Estimate(value=0.9, low=0.8, high=0.95).spread    # (0.95 - 0.8) / 0.9
    0.16666666666666657
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high:
            raise ValueError(f"an estimate lies inside its range, from 0 upwards: {self}")

    @classmethod
    def exact(cls, value: float) -> Self:
        """A value without a range."""
        return cls(value=value, low=value, high=value)

    @property
    def spread(self) -> float:
        """Width of the range over the value; 0 for a value of 0 known exactly, and for no limit at all."""
        return 0.0 if self.low == self.high else (self.high - self.low) / self.value if self.value else inf


_FULL, _NOTHING, _NO_LIMIT = Estimate.exact(1.0), Estimate.exact(0.0), Estimate.exact(inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constants:
    """The constants of one device under one program. What is not given costs nothing."""

    bandwidth_share: Estimate = _FULL
    flops_share: Estimate = _FULL
    step_s: Estimate = _NOTHING
    layer_s: Estimate = _NOTHING
    sequence_s: Estimate = _NOTHING
    link_bytes_per_s: Estimate = _NO_LIMIT
    all_reduce_s: Estimate = _NOTHING
    routed_layer_s: Estimate = _NOTHING
    shares: tuple[tuple[str, Estimate], ...] = ()  # achieved share of a dtype's peak where `flops_share` is not it

    def __post_init__(self) -> None:
        shares = [("bandwidth_share", self.bandwidth_share), ("flops_share", self.flops_share), *self.shares]
        for name, share in shares:
            if share.low <= 0 or share.high > 1:
                raise ValueError(f"{name} is a share of the published rate, above 0 and at most 1: {share}")
        if not self.link_bytes_per_s.low > 0:
            raise ValueError(f"a link carries something: {self.link_bytes_per_s}")

    @classmethod
    def exact(cls, **values: float) -> Self:
        """Constants without ranges.

        >>> Constants.exact(bandwidth_share=0.8, step_s=1e-3).values()["bandwidth_share"]
        0.8
        """
        found: dict[str, Any] = {name: Estimate.exact(value) for name, value in values.items()}
        return cls(**found)

    def values(self) -> dict[str, float]:
        """The values alone, by name."""
        return {name: getattr(self, name).value for name in NAMES}

    def share_of(self, dtype: str) -> float:
        """Achieved share of a dtype's published FLOP/s.

        >>> Constants(flops_share=Estimate.exact(0.8), shares=(("fp8", Estimate.exact(0.6)),)).share_of("fp8")
        0.6
        """
        return dict(self.shares).get(dtype, self.flops_share).value

    @property
    def fastest(self) -> Self:
        """Every constant at the end of its range that makes a step shortest."""
        return self._at(shares="high", times="low")

    @property
    def slowest(self) -> Self:
        """Every constant at the end of its range that makes a step longest.

        >>> wide = Constants(step_s=Estimate(value=1.0, low=0.5, high=2.0))
        >>> wide.fastest.step_s.value, wide.slowest.step_s.value
        (0.5, 2.0)
        """
        return self._at(shares="low", times="high")

    def _at(self, *, shares: str, times: str) -> Self:
        ends = dict.fromkeys(NAMES, shares) | dict.fromkeys(TIMES, times)
        found = self.exact(**{name: getattr(getattr(self, name), end) for name, end in ends.items()})
        by_dtype = tuple((dtype, Estimate.exact(getattr(share, shares))) for dtype, share in self.shares)
        return replace(found, shares=by_dtype)


IDEAL = Constants()  # the roofline itself: full rates, and nothing besides


def _calibrated() -> dict[str, Constants]:
    boards: dict[str, dict[str, Any]] = {
        board: {row["quantity"]: Estimate(value=row["value"], low=row["low"], high=row["high"]) for row in rows}
        for board, rows in data.grouped("constants", "board").items()
    }
    return {board: Constants(**found) for board, found in boards.items()}


CALIBRATED = data.Register("scoreboard", _calibrated)


def calibrated_constants(board: str) -> Constants:
    """The constants that a board of `bytebill.trials.scoreboard` found: of one device under one program.

    >>> 0.8 < calibrated_constants("trtllm-h100").bandwidth_share.value < 1
    True
    """
    return CALIBRATED[board]
