"""How large is a model? Its layers (`layers`) and its shape (`shapes`), its widths (`precisions`), and the published
ones (`register`).
"""

from bytebill.models.layers import VECTORS, LayerKind, Matrix, SequenceState, TokenCache
from bytebill.models.precisions import PRECISIONS, Precision, precision
from bytebill.models.register import MODELS, cache_bytes, kv_stored_bytes_per_token, model, state_bytes, weight_bytes
from bytebill.models.shapes import MLASpec, ModelSpec, MoESpec, matrices
