"""Where do weights come from? One import for the three sources, all of them a `Weights`: a shape and
tensors by name.

`random_weights(spec, seed)` for any Llama shape, `smollm2()` for the real model with its `tokenizer()`, and
`load_llama_folder(path)` for a Hugging Face folder of the reader's own. See `names` for those of the
tensors.
"""

from bytebill.engine.weights.folder import load_llama_folder
from bytebill.engine.weights.names import Weights, random_weights
from bytebill.engine.weights.smollm2 import smollm2, smollm2_folder, tokenizer
