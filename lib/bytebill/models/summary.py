"""How large is it, in numbers to print? A model's parameters, weights, caches and state, as one record."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from bytebill.errors import require
from bytebill.models.precisions import Precision
from bytebill.models.register import cache_bytes, state_bytes, weight_bytes
from bytebill.models.shapes import ModelSpec, matrices

SHOWN_CONTEXTS = (8192, 131_072)


def summary(spec: ModelSpec, *, precision: Precision, context_lens: Iterable[int] = ()) -> dict[str, Any]:
    """Parameters, bytes of the weights, of one sequence's caches at each context, and of its state.

    >>> from bytebill.models import model, precision
    >>> found = summary(model("llama-3-8b"), precision=precision("bf16"), context_lens=[8192])
    >>> found["n_params"], found["cache_bytes"], found["layers"]
    (8030261248, [{'context': 8192, 'bytes': 1073741824.0}], {'full': 32})
    """
    contexts = tuple(context_lens) or (*(n for n in SHOWN_CONTEXTS if n < spec.context_len), spec.context_len)
    wrong = [n for n in contexts if not 1 <= n <= 10**9]
    require(not wrong, f"A context has from one to a billion tokens, not {wrong[:1]}.")
    layers: Counter[str] = Counter()
    for kind in spec.kinds:
        layers[kind.name] += kind.n_layers
    return {
        "n_params": spec.n_params,
        "n_active_params": spec.n_active_params,
        "n_embedding_params": spec.n_embedding_params,
        "weight_bytes": weight_bytes(spec, precision=precision),
        "cache_bytes": [
            {"context": context, "bytes": cache_bytes(spec, context, precision=precision)} for context in contexts
        ],
        "state_bytes": state_bytes(spec),
        "layers": dict(layers),
    }


def weights_by_width(spec: ModelSpec, *, precision: Precision) -> dict[tuple[str, str], float]:
    """Bytes of the weights by group and format."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for matrix in matrices(spec):
        for share, each in precision.formats(matrix):
            found[matrix.group, each.name] += matrix.n_params * share * each.bytes_per_weight
    return dict(found)
