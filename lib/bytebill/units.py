"""Which unit is this number in? Prefixes at the edge, plain SI inside.

Inside the package every quantity is in bytes, seconds, FLOPs and US dollars. Prefixes appear where a
published figure comes in (`to_si`) and where a number is shown to a reader (`show`, `si`, `gib`).

    GB = 1e9 bytes      GiB = 2**30 bytes: 7.4% apart, so a number always says which
"""

from math import floor, isfinite, log10

KB, MB, GB, TB = 1e3, 1e6, 1e9, 1e12
KiB, MiB, GiB, TiB = 2**10, 2**20, 2**30, 2**40
GFLOP, TFLOP, PFLOP = 1e9, 1e12, 1e15
BITS_PER_BYTE = 8
BLOCK_SIZE_TOKENS = 16  # what a paged cache is counted in, unless somebody says otherwise

_SCALES = {"P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
PREFIXED = ("B", "B/s", "s", "FLOP", "FLOP/s")
_UNITS = {"KiB": KiB, "MiB": MiB, "GiB": GiB, "TiB": TiB} | {
    prefix + base: scale for base in (*PREFIXED, "OP/s") for prefix, scale in _SCALES.items()
}


def to_si(value: float, unit: str) -> float:
    """A published figure in its base unit: B, B/s, FLOP, FLOP/s or s. An integer OP counts as a FLOP.

    >>> to_si(3.35, "TB/s"), to_si(80, "GB"), to_si(2, "GiB"), to_si(5, "ms")
    (3350000000000.0, 80000000000.0, 2147483648.0, 0.005)
    """
    if unit not in _UNITS:
        raise ValueError(f"no conversion for the unit '{unit}'")
    # 15 digits, for 1.638 * 1e12 is 1637999999999.9998 and readers compare these tables by eye.
    return float(f"{value * _UNITS[unit]:.15g}")


def si(value: float, unit: str, *, digits: int = 3) -> str:
    """A number for a reader: prefix chosen, significant digits kept.

    >>> si(140e9, "B"), si(3.35e12, "B/s"), si(0.0268, "s"), si(295.3, "FLOP/B"), si(0, "B")
    ('140 GB', '3.35 TB/s', '26.8 ms', '295 FLOP/B', '0 B')
    """
    if value == 0 or not isfinite(value):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.{digits}g}")
    prefix = next((prefix for prefix, scale in _SCALES.items() if abs(rounded) >= scale), "n")
    return f"{_fixed(rounded / _SCALES[prefix], digits=digits)} {prefix}{unit}"


def show(value: float, *, unit: str = "") -> str:
    """A number and its unit for a reader: prefixes for bytes, seconds and FLOPs, shares as percentages.

    >>> show(140e9, unit="B"), show(0.985, unit="fraction"), show(64, unit="fraction"), show(2500, unit="tokens/s")
    ('140 GB', '98.5%', '6,400%', '2,500 tokens/s')
    >>> show(999.4, unit="requests"), show(1000, unit="requests")
    ('999.4 requests', '1,000 requests')
    >>> show(0.00012, unit="fraction"), show(4e-7, unit="fraction")
    ('0.012%', '0%')
    """
    if not isfinite(value):
        return f"{value} {unit}".strip()
    if unit in PREFIXED:
        return si(value, unit)
    if unit == "fraction":
        return f"{100 * value * (abs(value) >= 1e-6):.3g}%" if abs(value) < 10 else f"{value:,.0%}"
    return f"{format(value, ',.0f' if abs(value) >= 1000 else '.4g')} {unit}".strip()


def plain(value: float, *, digits: int = 3) -> str:
    """A number without a unit: whole ones in full, others with that many significant digits.

    >>> plain(64.0), plain(1.3148), plain(0.39), plain(9450.7), plain(999.7)
    ('64', '1.31', '0.390', '9,451', '1,000')
    """
    whole = not isfinite(value) or value == int(value) or abs(value) > 10**digits - 0.5
    return f"{value:,.0f}" if whole else _fixed(value, digits=digits)


def gib(value_bytes: float, *, digits: int = 3) -> str:
    """Bytes in binary gibibytes, as memory tools print them.

    >>> gib(6_710_886_400)
    '6.25 GiB'
    """
    return f"{_fixed(value_bytes / GiB, digits=digits)} GiB"


def _fixed(value: float, *, digits: int) -> str:
    """Plain decimal text with at least that many significant digits, never an exponent."""
    return f"{value:.{max(0, digits - 1 - floor(log10(abs(value)))) if value else 0}f}"
