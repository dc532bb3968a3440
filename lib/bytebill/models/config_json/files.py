"""Which file is that? A config.json on disk, read or refused in one sentence."""

import json
import re
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError, require
from bytebill.models.config_json.quantization import stored_precision
from bytebill.models.config_json.specs import read_config
from bytebill.models.precisions import Precision
from bytebill.models.shapes import ModelSpec

MOST_BYTES = 2**24
MOST_PASTED, DEEPEST = 2**20, 64  # characters; brackets in brackets: a browser's Python has little room for nesting
PASTED = "the pasted model"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)', re.DOTALL)  # one that is not closed goes to the end: no second try


def is_config(text: str) -> bool:
    """Whether a text names a config.json, or a folder that may have one, rather than a model."""
    try:
        return text.endswith(".json") or Path(text).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # too long for a path, or in nobody's home
        return False


def pasted_config(text: str) -> tuple[ModelSpec, Precision]:
    """The model of a config.json that is given as text, and the widths it is stored in.

    >>> pasted_config("[1, 2]")
    Traceback (most recent call last):
    bytebill.errors.BytebillError: The pasted config.json is no JSON that holds a mapping of fields.
    """
    require(len(text) <= MOST_PASTED, "The pasted config.json is larger than any.")
    require(_depth(text) <= DEEPEST, "The pasted config.json nests deeper than any does.")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    require(isinstance(config, dict), "The pasted config.json is no JSON that holds a mapping of fields.")
    spec = read_config(config, id=PASTED, name=PASTED)
    return spec, stored_precision(config, spec)


def load_config(path: str | Path) -> tuple[ModelSpec, Precision]:
    """The model of a config.json, or of a folder that has one, and the widths it is stored in.

    A `hf_quant_config.json` beside it (modelopt) counts where the config itself says nothing of widths.
    """
    try:
        file = Path(path).expanduser()
        file = file / "config.json" if file.is_dir() else file
    except (OSError, RuntimeError, ValueError):
        raise BytebillError(f"{str(path)[:80]} is no path.") from None
    config = read_json(file)
    beside = file.with_name("hf_quant_config.json")
    if not config.get("quantization_config") and beside.is_file():
        config = {**config, "quantization_config": read_json(beside)}
    name = file.resolve().parent.name if file.name == "config.json" else file.stem
    spec = read_config(config, id=name, name=name)
    return spec, stored_precision(config, spec)


def _depth(text: str) -> int:
    """How deep the brackets of a JSON text nest, those in its strings left out."""
    steps = ((each in "[{") - (each in "]}") for each in re.findall(r"[\[\]{}]", _STRING.sub("", text)))
    return max(accumulate(steps), default=0)


def read_json(file: Path) -> Mapping[str, Any]:
    """What a JSON file holds, if it is one mapping."""
    try:
        require(file.is_file(), f"There is no file {file}.")
        require(file.stat().st_size <= MOST_BYTES, f"{file} is larger than any config.json.")
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BytebillError(f"{file} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    require(isinstance(found, dict), f"{file} holds no mapping of fields.")
    return dict(found)
