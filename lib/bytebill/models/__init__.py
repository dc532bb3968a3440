"""How large is a model? Its layers (`layers`) and its shape (`shapes`), its widths (`precisions`), how a config.json
tells all of it (`config_json`), the published ones (`register`), and what there is to print of one (`summary`).
"""

from bytebill.models.layers import VECTORS, Expanded, LayerKind, Matrix, SequenceState, TokenCache
from bytebill.models.precisions import PRECISIONS, Precision, precision
from bytebill.models.register import (
    MODELS,
    PUBLISHED,
    cache_bytes,
    checkpoint_precision,
    find,
    kv_stored_bytes_per_token,
    model,
    state_bytes,
    weight_bytes,
)
from bytebill.models.shapes import MLASpec, ModelSpec, MoESpec, matrices, multi_head
from bytebill.models.summary import summary, weights_by_width
