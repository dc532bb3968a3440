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
ROUTED = "routed"  # as a dtype of flops_share: what grouped products reach of the share of large ones
OTHER_DEVICE = "other"  # owner of the constants of a device whose kernels nobody measured
UNPACKED = "unpacked"  # as a dtype: weights that are stored narrow and multiplied in 16 bits
BETWEEN_NODES = "nodes"  # of the link and of a sum's latency: over the network that joins nodes


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
    by_kind: tuple[tuple[str, str, Estimate], ...] = ()  # (name, kind, ...): what holds for one kind instead
    error: float = 0.0  # how far off, as a logarithm, eight of ten predictions were that saw no measured point

    def __post_init__(self) -> None:
        shares = [(name, getattr(self, name)) for name in SHARES]
        for name, share in [*shares, *((name, each) for name, _, each in self.by_kind if name in SHARES)]:
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

    def of(self, name: str, kind: str) -> float:
        """The value of a constant for a kind, mostly a dtype: its own, or else what holds for all.

        >>> narrow = ("flops_share", "fp8", Estimate.exact(0.6))
        >>> known = Constants(flops_share=Estimate.exact(0.8), by_kind=(narrow,))
        >>> known.of("flops_share", "fp8"), known.of("flops_share", "bf16")
        (0.6, 0.8)
        """
        own = (each.value for known, its, each in self.by_kind if (known, its) == (name, kind))
        return next(own, getattr(self, name).value)

    def routed_share_of(self, dtype: str) -> float:
        """Achieved share of a dtype's FLOP/s in grouped products of routed tokens: a share of what large ones reach."""
        own = (each.value for name, kind, each in self.by_kind if (name, kind) == ("flops_share", ROUTED))
        return self.of("flops_share", dtype) * next(own, 1.0)

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

    def moved(self, name: str, end: str) -> Self:
        """With one constant at its "low" or its "high" end, for every dtype, and all others as they are.

        >>> wide = Estimate(value=2.0, low=1.0, high=4.0)
        >>> both = Constants(by_kind=(("layer_s", "fp8", wide), ("step_s", "fp8", wide)))
        >>> [each.value for _, _, each in both.moved("layer_s", "low").by_kind]
        [1.0, 2.0]
        """
        own = tuple(
            (known, dtype, Estimate.exact(getattr(each, end)) if known == name else each)
            for known, dtype, each in self.by_kind
        )
        there: dict[str, Any] = {name: Estimate.exact(getattr(getattr(self, name), end))}
        return replace(self, **there, by_kind=own)

    def _at(self, *, shares: str, times: str) -> Self:
        found = self
        for name in NAMES:
            found = found.moved(name, times if name in TIMES else shares)
        return found


IDEAL = Constants()  # the roofline itself: full rates, and nothing besides


def _read() -> dict[str, Constants]:
    """Constants by owner, a device or a program, as calibrated; what a row does not name is as in `IDEAL`."""
    return {owner: _of_rows(rows) for owner, rows in data.grouped("constants", "owner").items()}


def _of_rows(rows: list[data.Row]) -> Constants:
    found = {
        (row["quantity"], row["kind"]): Estimate(value=row["value"], low=row["low"], high=row["high"]) for row in rows
    }
    error = found.pop(("error", None), _NOTHING).value
    named: dict[str, Any] = {quantity: estimate for (quantity, kind), estimate in found.items() if kind is None}
    own = tuple((quantity, kind, each) for (quantity, kind), each in found.items() if kind is not None)
    return Constants(**named, by_kind=own, error=error)


CALIBRATED = data.Register("calibrated device or program", _read)


def calibrated_constants(program: str, device_id: str) -> Constants:
    """The constants of a device under a program: a device's rates, and what the program costs besides.

    A device without measured kernels takes those of "other": the middle of the devices that have them, and the whole
    range. A program that reached other rates than the device's kernels do says so in rows of its own.

    >>> found = calibrated_constants("trtllm", "h100-sxm")
    >>> 0.8 < found.bandwidth_share.value < 1, found.of("flops_share", "fp8") < found.of("flops_share", "bf16")
    (True, True)
    """
    device = CALIBRATED[device_id if device_id in CALIBRATED else OTHER_DEVICE]
    own, nodes = CALIBRATED[program], CALIBRATED[BETWEEN_NODES]
    its = {name: getattr(own, name) for name in NAMES if getattr(own, name) != getattr(IDEAL, name)}
    return replace(device, **its, by_kind=(*own.by_kind, *device.by_kind, *nodes.by_kind), error=own.error)
