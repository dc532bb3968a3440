"""What does SmolLM2 lose at every width, group and method? The record that chapter 11 reads.

`python -m bytebill.trials.quantized > data/measured/NAME.json` takes some minutes on two CPU cores: the whole grid in
one rotated basis, and the case that is judged in nine more. Losses depend on the text, which is Python's own help and
changes with its version, and next to nothing on the machine.
"""

import hashlib
import json
import platform
import sys
from dataclasses import asdict
from itertools import product
from typing import Any

from bytebill.device import Device, pick
from bytebill.engine.weights import smollm2
from bytebill.measure.quality import reference_text
from bytebill.measure.quantization import METHODS, Recipe, losses
from bytebill.trials.record import made_on

_BITS, _GROUPS, _SEEDS = (8, 4, 3, 2), (32, 64, 192), range(1, 10)
_JUDGED = tuple(Recipe(method, 4, 64) for method in METHODS)
_SIZE = {"n_rows": 16, "length": 128, "n_calibration": 2048}


def losses_on_record(device: Device) -> dict[str, Any]:
    """Extra nats a token of every recipe, with what made them."""
    weights = smollm2()
    recipes = [Recipe(*each) for each in product(METHODS, _BITS, _GROUPS)]
    before, found = losses(weights, recipes, device, **_SIZE)
    for seed in _SEEDS:
        print(f"rotation {seed}", file=sys.stderr)
        found += losses(weights, _JUDGED, device, seed=seed, **_SIZE)[1]
    return made_on(device, program="python -m bytebill.trials.quantized") | {
        "model": weights.spec.name,
        "text": "pydoc_data.topics",
        "text_sha256": hashlib.sha256(reference_text().encode()).hexdigest(),
        "python": platform.python_version(),
        **_SIZE,
        "perplexity": before.perplexity,
        "accuracy": before.accuracy,
        "losses": [asdict(each) | {"recipe": each.recipe._asdict()} for each in found],
    }


if __name__ == "__main__":
    print(json.dumps(losses_on_record(pick()), indent=1))
