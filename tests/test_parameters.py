"""What the command line's values become: the kind of the default, or one sentence."""

from __future__ import annotations

from math import inf

import pytest

from bytebill.chapters.parameters import LONGEST, like
from bytebill.errors import BytebillError

BOMB = "&a [x, x] &b [*a, *a]"


@pytest.mark.parametrize(
    ("default", "text", "meant"),
    [
        (40.0, "1e2", 100.0),
        (40.0, "8", 8),
        (2500, "1e4", 10_000),
        (2500, "2_500", 2500),
        (2.0, ".inf", inf),
        (2.0, "inf", inf),
        ("2026-11-24", "2026-11-24", "2026-11-24"),
        ("2026-11-24", "20261124", "20261124"),
        ("h100-sxm", "true", "true"),
        ((3e6, 7e6), "[3e6, 7e6]", [3e6, 7e6]),
        ((3e6, 7e6), "3e6, 7_000_000", (3e6, 7_000_000)),
        (False, "true", True),
        (None, "null", None),
        (None, "False", False),
        (None, "0.2", 0.2),
        (None, BOMB, BOMB),
    ],
)
def test_a_value_is_read_as_its_default_is_written(default, text, meant):
    found = like(default, text, name="value")
    assert found == meant and type(found) is type(meant)


@pytest.mark.parametrize(
    ("name", "default", "text", "sentence"),
    [
        ("n_devices", 4, ".nan", "n_devices takes a number, as in 4, not '.nan'."),
        ("n_devices", 4, "eight", "n_devices takes a number, as in 4, not 'eight'."),
        ("n_devices", 4, "2.5", "n_devices takes a whole number, zero or more, not '2.5'."),
        ("context_len", 256, "-5", "context_len takes a whole number, zero or more, not '-5'."),
        ("rate", 40.0, "true", "rate takes a number, as in 40.0, not 'true'."),
        ("rate", 40.0, BOMB, f"rate takes a number, as in 40.0, not '{BOMB}'."),
        ("rate", 40.0, "&a [*a]", "rate takes a number, as in 40.0, not '&a [*a]'."),
        ("usd_per_hour", 2.5, "0", "usd_per_hour takes a price above zero, not '0'."),
        ("volumes", (3e6, 7e6), "[1]", "volumes takes 2 numbers, as in [3000000.0, 7000000.0], not '[1]'."),
        ("volumes", (3e6, 7e6), "[a, b]", "volumes takes 2 numbers, as in [3000000.0, 7000000.0], not '[a, b]'."),
        ("fast", True, "maybe", "fast takes true or false, not 'maybe'."),
        ("n", 2, "9" * 5000, f"n takes at most {LONGEST:,} characters, not 5,000."),
        ("n", 2, "[" * LONGEST, f"n takes a number, as in 2, not '{'[' * LONGEST}'."),
    ],
)
def test_what_is_of_another_kind_is_one_sentence(name, default, text, sentence):
    with pytest.raises(BytebillError) as caught:
        like(default, text, name=name)
    assert str(caught.value) == sentence
