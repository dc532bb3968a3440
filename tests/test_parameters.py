"""What the command line's values become: the kind of the default, or one sentence."""

from __future__ import annotations

import re
from math import inf

import nbformat
import pytest

from bytebill import data
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


def code_of(chapter: str) -> list[tuple[set[str], str]]:
    """The cells of a chapter's code and their tags."""
    stored = nbformat.read(data.REPOSITORY / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    return [(set(cell.metadata.get("tags", ())), cell.source) for cell in stored if cell.cell_type == "code"]


def recomputed(chapter: str, **changed: object) -> dict[str, object]:
    """The names of a chapter whose code was run here, with other values of its parameters."""
    names: dict[str, object] = {}
    for tags, source in code_of(chapter):
        exec(compile(source, chapter, "exec"), names)
        if "parameters" in tags:
            assert set(changed) <= set(names)
            names |= changed
    return names


FALLING = "19_falling_prices"


@pytest.mark.parametrize(
    "changed",
    [
        {"saved_today": 0.95, "term_months": 7, "by_month": 0, "wait_months": 0, "bill_usd": 1},
        {"saved_today": -0.2, "term_months": 20, "by_month": 50, "wait_months": 99, "level": 0.5, "seed": -7},
        {"saved_today": 0, "term_months": 1, "bill_usd": 1e12, "gpu_price_usd": 0, "host_usd": 1e9},
        {"running_usd_per_month": 1e7, "level": 0.999, "seed": 10**12, "device": "cpu"},
    ],
    ids=str,
)
def test_falling_prices_follow_their_parameters(changed, monkeypatch, capsys):
    monkeypatch.delenv("BYTEBILL_PINS", raising=False)
    names = recomputed(FALLING, **changed)
    year, mean_year = names["year"], names["mean_year"]
    assert set(year) == set(names["three"]) and len(year) == 3
    n, cost = names["term_months"], 1 - names["saved_today"]
    for of_buyer in year.values():
        assert of_buyer["commit now"] == pytest.approx(n * cost)
    assert names["asked"] <= min(mean_year["commit now"], mean_year["by the token"]) + 1e-9
    assert "written for the default parameters" in capsys.readouterr().out  # and no traceback


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"saved_today": 1}, "A commitment costs something: saved_today lies below 1."),
        ({"bill_usd": -5}, "A bill is positive"),
        ({"by_month": 2.5}, "Months are counted whole"),
        ({"wait_months": 10**9}, "Months are counted whole"),
        ({"wait_months": 3.0}, "Months are counted whole"),
        ({"term_months": 12.0}, "A term is a whole number of months"),
        ({"host_usd": -1}, "Nobody is paid for taking a GPU"),
        ({"gpu_price_usd": 0, "host_usd": 0}, "or gets one and its host for nothing"),
        ({"level": 1}, "A level of confidence lies between 0 and 1, not at 1."),
        ({"term_months": 0}, "A term is a whole number of months from 1 to 1,200, not 0."),
        ({"term_months": 24}, "Prices are on file for 21 months and not for 24; take a term_months of 21 or less."),
        ({"running_usd_per_month": -1}, "Running costs nothing or more"),
    ],
    ids=str,
)
def test_falling_prices_say_what_cannot_be(changed, sentence, monkeypatch):
    monkeypatch.delenv("BYTEBILL_PINS", raising=False)
    with pytest.raises(BytebillError, match=re.escape(sentence)):
        recomputed(FALLING, **changed)


def test_every_parameter_of_falling_prices_was_changed():
    (mark,) = test_falling_prices_follow_their_parameters.pytestmark
    tried = {name for case in mark.args[1] for name in case}
    (source,) = (source for tags, source in code_of(FALLING) if "parameters" in tags)
    assert tried | {"profile"} == {line.split(" = ")[0] for line in source.splitlines()}
