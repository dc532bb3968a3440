"""How many bytes is a model, stored and per cached token? The published models, and both sizes.

    weight_bytes = sum of n_params * bits_per_weight / 8 over the matrices   [bytes]
    cache_bytes  = sum over layers of entries(context) * entry_bytes         [bytes]   2 * K * H values an entry, or
                                                                                       kv_lora_rank + d_rope (MLA)
    state_bytes  = sum over layers of state and convolution                  [bytes]   whatever the context

Symbols: K `n_kv_heads`, H `d_head`. Shapes are counted in `bytebill.models.shapes`, what a layer keeps in
`bytebill.models.layers`, widths in `bytebill.models.precisions`; published shapes and their sources:
`data/models.csv`. Ignores what a runtime adds to the weights (workspace, fragmentation: `bytebill.deployment`).
"""

from dataclasses import fields

from bytebill import data
from bytebill.models.precisions import Precision
from bytebill.models.shapes import MLASpec, ModelSpec, MoESpec, matrices


def weight_bytes(model: ModelSpec, *, precision: Precision) -> float:
    """Bytes of the stored weights, each matrix in its format, group scales counted.

    >>> from bytebill.models import precision
    >>> weight_bytes(model("llama-2-13b"), precision=precision("bf16")) / 1e9    # n_params * 2
    26.03172864
    """
    return sum(precision.weight_bytes(matrix) for matrix in matrices(model))


def kv_stored_bytes_per_token(model: ModelSpec, *, precision: Precision) -> float:
    """Bytes that one more token of a short context adds to the caches of all layers.

    2 (K and V) * n_layers * n_kv_heads * d_head * kv_bytes_per_value     [bytes/token]
    n_layers * (kv_lora_rank + d_rope) * kv_bytes_per_value               for MLA

    Once windows are full a token adds less: see `cache_bytes`.

    >>> from bytebill.models import precision
    >>> kv_stored_bytes_per_token(model("llama-2-13b"), precision=precision("bf16"))    # 2*40*40*128*2
    819200.0
    >>> kv_stored_bytes_per_token(model("deepseek-v3"), precision=precision("bf16"))    # 61*(512+64)*2
    70272.0
    """
    return cache_bytes(model, 1, precision=precision)


def cache_bytes(model: ModelSpec, context_len: float, *, precision: Precision) -> float:
    """Bytes that the caches of all layers keep of one sequence of this length; states not counted.

    >>> from bytebill.models import precision
    >>> [cache_bytes(model("mistral-7b"), n, precision=precision("bf16")) / 131_072 for n in (100, 10_000)]
    [100.0, 4096.0]
    """
    width = precision.kv_bytes_per_value
    return sum(
        (
            kind.n_layers * kept.entries(context_len) * kept.entry_bytes(width)
            for kind in model.kinds
            for kept in kind.caches
        ),
        0.0,
    )


def state_bytes(model: ModelSpec) -> float:
    """Bytes that recurrent layers keep of one sequence, whatever its length; 0 where all layers attend."""
    return sum((kind.n_layers * kind.state.bytes for kind in model.kinds if kind.state), 0.0)


def _from_row(row: data.Row) -> ModelSpec:
    known = {key: value for key, value in row.items() if value is not None and key not in data.PROVENANCE}
    moe, mla = (
        {part.name: known.pop(part.name) for part in fields(kind) if part.name in known} for kind in (MoESpec, MLASpec)
    )
    return ModelSpec(**known, moe=MoESpec(**moe) if moe else None, mla=MLASpec(**mla) if mla else None)


MODELS = data.Register("model", lambda: {row["id"]: _from_row(row) for row in data.rows("models")})


def model(id: str) -> ModelSpec:
    """The model with this id.

    >>> model("llama-3-70b").queries_per_kv_head
    8
    """
    return MODELS[id]
