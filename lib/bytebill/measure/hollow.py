"""What does a step take besides its weights? A hollow twin has the layers and none of the bytes.

The same layers, heads, routes and context with next to nothing in its matrices: what its step takes is the time of
some hundreds of small operations and of attention over the cache. In a 135M model that is a large term, so it is named
and measured by itself rather than hidden in an efficiency.
"""

from __future__ import annotations

from dataclasses import replace

from bytebill.models import ModelSpec

_WIDTH = 64  # of everything that a matrix has as a side


def hollow(spec: ModelSpec) -> ModelSpec:
    """The shape with next to no weights.

    >>> from bytebill.models import model
    >>> small = model("smollm2-135m")
    >>> hollow(small).n_layers == small.n_layers, hollow(small).n_params < 0.07 * small.n_params
    (True, True)
    """
    moe = spec.moe and replace(spec.moe, d_ff_expert=_WIDTH)
    return replace(spec, id=f"{spec.id}-hollow", moe=moe, d_model=_WIDTH, d_ff=_WIDTH, vocab_size=_WIDTH)
