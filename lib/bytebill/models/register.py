"""How many bytes is a model, stored and per cached token? The published models, and both sizes.

    weight_bytes = n_params * bits_per_weight / 8                          [bytes]
    kv_stored_bytes_per_token = 2 * L * K * H * kv_bytes_per_value         [bytes/token]   (MHA, GQA, MQA)
                              = L * (kv_lora_rank + d_rope) * kv_bytes_per_value           (MLA)

Symbols: L `n_layers`, K `n_kv_heads`, H `d_head`. Shapes are counted in `bytebill.models.shapes`, widths in
`bytebill.models.precisions`; published shapes and their sources: `data/models.csv`. Ignores what a
runtime adds to the weights (workspace, fragmentation: `bytebill.deployment`).
"""

from dataclasses import fields

from bytebill import data
from bytebill.models.precisions import Precision
from bytebill.models.shapes import MLASpec, ModelSpec, MoESpec


def weight_bytes(model: ModelSpec, *, precision: Precision) -> float:
    """Bytes of the stored weights, every parameter at the precision's width, group scales counted.

    n_params * bits_per_weight / 8     [bytes]

    >>> from bytebill.models import precision
    >>> weight_bytes(model("llama-2-13b"), precision=precision("bf16")) / 1e9
    26.03172864
    """
    return model.n_params * precision.bytes_per_weight


def kv_stored_bytes_per_token(model: ModelSpec, *, precision: Precision) -> float:
    """KV-cache bytes kept for one token, over all layers.

    2 (K and V) * n_layers * n_kv_heads * d_head * kv_bytes_per_value     [bytes/token]
    n_layers * (kv_lora_rank + d_rope) * kv_bytes_per_value               for MLA

    >>> from bytebill.models import precision
    >>> kv_stored_bytes_per_token(model("llama-2-13b"), precision=precision("bf16"))    # 2*40*40*128*2
    819200.0
    >>> kv_stored_bytes_per_token(model("deepseek-v3"), precision=precision("bf16"))    # 61*(512+64)*2
    70272.0
    """
    mla = model.mla
    per_layer = 2 * model.n_kv_heads * model.d_head if mla is None else mla.kv_lora_rank + mla.d_rope
    return model.n_layers * per_layer * float(precision.kv_bytes_per_value)


def kept_context_len(model: ModelSpec, context_len: int) -> int:
    """Tokens of a context that the cache must keep: all of them, or those a sliding window still reaches.

    >>> kept_context_len(model("mistral-7b"), 10_000), kept_context_len(model("llama-2-7b"), 10_000)
    (4096, 10000)
    """
    return min(context_len, model.window_len or context_len)


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
