"""Where do weights come from? One import for the three sources, all of them a `Weights`: a shape and
tensors by name.

`random_weights(spec, seed)` for any Llama shape, `smollm2()` for the real model with its `tokenizer()`, and
`load_llama_folder(path)` for a Hugging Face folder of the reader's own. See `state` for the names of the
tensors.
"""

from bytebill.engine.huggingface import load_llama_folder
from bytebill.engine.smollm2 import smollm2, smollm2_folder, tokenizer
from bytebill.engine.state import Weights, random_weights

__all__ = ["Weights", "load_llama_folder", "random_weights", "smollm2", "smollm2_folder", "tokenizer"]
