"""How is a form's fill known, and what rate are so many requests at once? What the calculator's page finds by search.

    found by simulation    only beside the mark of the case that it was found for: all fields that limits and load touch
    requests at once       the rate at which a fleet of that rate has so many in flight, mean: Little's law

The mark is a checksum of those fields, so that a fill goes back to being assumed as soon as one of them changes, and is
found again when it changes back. Between two batches a replica's pace is taken in proportion. Used by the live
calculator.
"""

from bisect import bisect_left
from collections.abc import Mapping
from math import ceil, floor
from zlib import crc32

from bytebill.errors import BytebillError
from bytebill.statement.bill import statement
from bytebill.statement.case import Case
from bytebill.statement.fields import FORM_FIELDS
from bytebill.statement.form import usable_of

AUTO_TRACE, AUTO_ATTAINMENT = "azure-conv", 0.99
LEAST_PERCENT = FORM_FIELDS["fill"].low
_TOUCHES = ("m", "w", "kv", "gpu", "n", "attn", "by", "in", "out", "hit", "ttft", "tpot", "fill")


def fill_mark(asked: Mapping[str, str], pasted: str = "") -> str:
    """The mark that a fill carries which was found for these fields, itself among them.

    >>> asked = dict.fromkeys(_TOUCHES, "1") | {"rps": "40"}
    >>> fill_mark(asked) == fill_mark(asked | {"rps": "2"}), fill_mark(asked) == fill_mark(asked | {"tpot": "20"})
    (True, False)
    """
    return str(crc32("|".join([*(asked[name] for name in _TOUCHES), pasted.strip()]).encode()))


def limits_mark(asked: Mapping[str, str], pasted: str = "") -> str:
    """The mark of what a fill is sought for: the same whatever fill, rate and rent are asked.

    >>> asked = dict.fromkeys(_TOUCHES, "1")
    >>> limits_mark(asked) == limits_mark(asked | {"fill": "2"}), limits_mark(asked) == limits_mark(asked | {"n": "2"})
    (True, False)
    """
    return fill_mark({**asked, "fill": ""}, pasted)


def fill_told(asked: Mapping[str, str], pasted: str = "") -> str:
    """A form's fill, and how it is known."""
    known = "found by simulation" if asked["found"] == fill_mark(asked, pasted) else "assumed"
    return f"{asked['fill']}%, {known}"


def search_fill(case: Case) -> tuple[str, str]:
    """The fill that a case's limits leave, in percents, or none and the sentence that says why."""
    try:
        statement(case)
    except BytebillError as error:
        return "", str(error)
    try:
        share = usable_of(case, AUTO_TRACE, attainment=AUTO_ATTAINMENT)
    except BytebillError as error:
        told = str(error).partition(";")[0]
        return "", (
            f"{told}; these limits cannot be kept by any fleet, and the price is withdrawn. Loosen a limit, or take "
            "more or faster devices."
        )
    percents = max(LEAST_PERCENT, round(100 * share, 0 if share >= 0.1 else 1))
    return f"{percents:g}", ""


def rate_of_users(case: Case, n_users: int) -> float:
    """The mean rate at which the fleet that this rate needs has so many requests in flight."""
    found = statement(case)
    most = found.capacity_per_s * case.fill / case.peak_over_mean  # of a replica, at the day's mean

    def enough(n_replicas: int) -> bool:
        return _pace_per_s(case, n_users / n_replicas) <= most

    largest = max(n_users, ceil(n_users * case.requests_per_s_of_one(1) / most)) + 1
    n_replicas = bisect_left(range(1, largest), True, key=enough) + 1
    return n_replicas * _pace_per_s(case, n_users / n_replicas)


def _pace_per_s(case: Case, n: float) -> float:
    """Requests a second of a replica that has so many in flight; without an end, whatever its memory holds."""
    if n <= 1:
        return n * case.requests_per_s_of_one(1)
    low, high = (case.requests_per_s_of_one(each) for each in (floor(n), ceil(n)))
    return low + (high - low) * (n - floor(n))
