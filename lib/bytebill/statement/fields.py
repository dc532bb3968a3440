"""What can be filled in on the calculator's page? Its fields by their names in the page's address, and what they allow.

A page's address can hold anything, so everything is read through here: a name that is no field is ignored, a choice
that does not exist or a number that is none is the default, and a number out of bounds is the nearest bound. What is
left may still be no deployment; `statement.answer` says so in a sentence. Used by the live calculator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from bytebill.economics.prices import ApiPrice, latest
from bytebill.hardware import ACCELERATORS
from bytebill.memory.footprint import WIDTHS
from bytebill.models import MODELS, PUBLISHED
from bytebill.programs import PROGRAMS

RATE, USERS = "rate", "users"
_LONGEST_NUMBER = 40  # characters


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field: a choice where it has options, otherwise a number."""

    name: str
    label: str
    default: str
    unit: str = ""
    low: float = 0.0
    high: float = 1e6
    whole: bool = False
    empty: str = ""  # what it says when it is left empty; "": it may not be
    options: Callable[[], Mapping[str, str]] | None = None  # from values to labels

    def read(self, text: str) -> str:
        """The value that a text stands for.

        >>> hit = Field(name="hit", label="Found in a cache", default="0", high=99)
        >>> [hit.read(text) for text in ("70", "1e9", "nan", "<script>")]
        ['70', '99', '0', '0']
        """
        if self.options is not None:
            return text if text in self.options() else self.default
        if self.empty and not text.strip():
            return ""
        try:
            number = float(text[:_LONGEST_NUMBER])
        except ValueError:
            return self.default
        if not isfinite(number):
            return self.default
        number = min(max(number, self.low), self.high)
        return f"{round(number) if self.whole else number:.10g}"


def models_to_choose() -> dict[str, str]:
    """Models with their published shapes, those that are served today first."""
    published = {id: each.name for id, each in PUBLISHED.items()}
    return published | {id: spec.name for id, spec in MODELS.items()}


def on_sale() -> tuple[ApiPrice, ...]:
    """The newest price of every model at every host, as of the last day on file, without what was withdrawn by then."""
    last = max(price.as_of for price in latest())
    return latest(last)


def closed_offers() -> dict[str, str]:
    """Models that only their makers serve."""
    return {"": "none"} | {price.model_name: price.model_name for price in on_sale() if price.weights == "closed"}


def _named(*values: str) -> Callable[[], Mapping[str, str]]:
    return lambda: {value: value for value in values}


FORM_FIELDS = {
    field.name: field
    for field in (
        Field(name="m", label="Model", default="llama-3.1-70b", options=models_to_choose),
        Field(name="w", label="Weights", default="auto", options=lambda: {"auto": "as published", **_named(*WIDTHS)()}),
        Field(name="kv", label="Cache", default="bf16", options=_named("bf16", "fp8")),
        Field(
            name="gpu",
            label="Accelerator",
            default="h100-sxm",
            options=lambda: {id: each.name for id, each in ACCELERATORS.items()},
        ),
        Field(name="n", label="Devices a replica", default="4", low=1, high=64, whole=True),
        Field(
            name="attn",
            label="Attention",
            default="tensor",
            options=lambda: {"tensor": "devices share heads", "data": "each its own users"},
        ),
        Field(
            name="by", label="Program", default="vllm", options=lambda: {id: each.name for id, each in PROGRAMS.items()}
        ),
        Field(name="in", label="Prompt, mean", default="1155", unit="tokens", low=1, high=1e6, whole=True),
        Field(name="out", label="Answer, mean", default="211", unit="tokens", low=1, high=1e6, whole=True),
        Field(
            name="hit", label="Prompt found in a cache, as one prefix that all share", default="0", unit="%", high=99
        ),
        Field(
            name="load",
            label="Traffic is given as",
            default=RATE,
            options=lambda: {RATE: "requests a second", USERS: "requests at once"},
        ),
        Field(name="rps", label="Requests a second, mean", default="40", low=1e-4, high=1e5),
        Field(name="users", label="Requests at once, mean", default="300", low=1, high=1e6, whole=True),
        Field(name="peak", label="Peak over mean", default="1.33", low=1, high=100),
        Field(name="ttft", label="First token within", default="2", unit="s", low=1e-3, high=3600, empty="no limit"),
        Field(
            name="tpot", label="Each further one within", default="50", unit="ms", low=0.1, high=1e5, empty="no limit"
        ),
        Field(name="fill", label="Fill: what may be promised", default="60", unit="%", low=0.1, high=100),
        Field(name="found", label="Mark of a fill", default="", high=2**32 - 1, whole=True, empty="assumed"),
        Field(name="rent", label="Rent", default="", unit="USD/h a device", low=0.01, high=1000, empty="as on file"),
        Field(name="api", label="Compare with", default="Claude Sonnet 5", options=closed_offers),
        Field(
            name="price",
            label="Price to reach",
            default="",
            unit="USD a million output",
            low=1e-3,
            high=1e5,
            empty="none",
        ),
    )
}


def read_fields(given: Mapping[str, object]) -> dict[str, str]:
    """Every field's value, whatever was given.

    >>> found = read_fields({"n": "999", "m": "no-such-model", "evil": "x", "tpot": ""})
    >>> found["n"], found["m"], found["tpot"], "evil" in found
    ('64', 'llama-3.1-70b', '', False)
    """
    return {
        name: field.read(text) if isinstance(text := given.get(name, field.default), str) else field.default
        for name, field in FORM_FIELDS.items()
    }
