"""How large is a model? Its shape (`shapes`), its widths (`precisions`), and the published ones (`register`)."""

from bytebill.models.precisions import PRECISIONS, Precision, precision
from bytebill.models.register import MODELS, kept_context_len, kv_stored_bytes_per_token, model, weight_bytes
from bytebill.models.shapes import Matrix, MLASpec, ModelSpec, MoESpec, matrices
