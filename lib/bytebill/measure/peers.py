"""How fast do others decode the same model on the same machine, in the same minutes?

Each peer runs in a process of its own (`python -m bytebill.measure.peers NAME DEVICE`) with the same prompt and as many
new tokens: this book's engine and `transformers.generate` in fp32, and llama.cpp (the wheel
`xllamacpp`) on the Q4_1 file the weights come from, which reads an eighth as many bytes. The clock runs from
the call to the last token, prefill included; each is warmed up once. llama.cpp's wheel is one for CPUs, so on a GPU it
is left out: what it does on the CPU beside is no peer.
"""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from bytebill.engine.processes import result_of
from bytebill.engine.weights.smollm2 import gguf_file, smollm2, smollm2_folder, tokenizer
from bytebill.measure.timing import timed, times

PROMPT = "The price of a token is the price of moving"
N_NEW_TOKENS = 64
_TIMEOUT_S = 300


def all_in_turns(*, device: str = "cpu", rounds: int = 2) -> dict[str, float | None]:
    """The best of each peer's processes, taken in turns: where a process's pages lie decides how fast it reads."""
    alone = [peer for peer, (_, n_users) in PEERS.items() if n_users == 1]
    found = [{peer: tokens_per_s(peer, device=device) for peer in alone} for _ in times(rounds)]
    return {peer: max(each[peer] or 0.0 for each in found) or None for peer in alone}


def tokens_per_s(peer: str, *, device: str = "cpu") -> float | None:
    """New tokens a second of one peer (of all its users together), or None where it is not installed or not for the
    device."""
    if peer.startswith("llamacpp") and (device != "cpu" or find_spec("xllamacpp") is None):
        return None
    command = [sys.executable, "-m", __name__, peer, device]
    return float(result_of(command, what=f"Measuring {peer}", timeout_s=_TIMEOUT_S))


def _bytebill(device: str) -> Callable[[], object]:
    from bytebill.engine.generation import generate
    from bytebill.engine.transformer import Transformer

    model, prompt = Transformer(smollm2(), dtype="fp32", device=device), tokenizer().encode(PROMPT).ids
    return lambda: generate(model, [prompt], n_new_tokens=N_NEW_TOKENS)


def _transformers(device: str) -> Callable[[], object]:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(smollm2_folder(), dtype=torch.float32)
    model = model.to(device)
    ids = torch.tensor([tokenizer().encode(PROMPT).ids], device=device)
    exactly = {"min_new_tokens": N_NEW_TOKENS, "max_new_tokens": N_NEW_TOKENS}
    return lambda: model.generate(ids, do_sample=False, **exactly)


def _llamacpp(device: str, *, n_slots: int = 1) -> Callable[[], object]:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel = str(gguf_file()), 512 * n_slots, n_slots
    settings.cpuparams.n_threads = torch.get_num_threads()
    server = xllamacpp.Server(settings)
    request = {
        "prompt": PROMPT,
        "n_predict": N_NEW_TOKENS,
        "temperature": 0.0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    pool = ThreadPoolExecutor(n_slots)
    return lambda: list(pool.map(server.handle_completions, [request] * n_slots))


PEERS: dict[str, tuple[Callable[[str], Callable[[], object]], int]] = {  # how each is made ready, and its users
    "bytebill": (_bytebill, 1),
    "transformers": (_transformers, 1),
    "llamacpp": (_llamacpp, 1),
    "llamacpp_8_slots": (partial(_llamacpp, n_slots=8), 8),
}


def main(peer: str, device: str = "cpu") -> None:
    """Print a peer's new tokens a second, the best of three runs after a warm-up."""
    make, n_users = PEERS[peer]
    times_s = timed(make(device), sync=lambda: None, repeats=3).samples_s
    print(json.dumps(n_users * N_NEW_TOKENS / min(times_s)))


if __name__ == "__main__":
    main(*sys.argv[1:])
