"""What does the model say? Greedy decoding of a batch, each sequence from its own prompt.

    token[t] = argmax over v of logits(tokens before t)[v]

One prefill pass over the right-padded prompts, then one step per token for the whole batch: a static batch,
which runs until its longest member ends. Ignores sampling, and time: `on_step` is called after each step,
for whoever holds a clock.
"""

from collections.abc import Callable, Sequence

import torch

from bytebill.engine.transformer import Transformer


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    n_new_tokens: int,
    stop_token: int | None = None,
    on_step: Callable[[int], object] = lambda step: None,
) -> list[list[int]]:
    """The tokens that follow each prompt, at most `n_new_tokens` of them, `stop_token` not included.

    `on_step(i)` is called when token i of every sequence is known (i = 0: after the prefill).
    """
    n_input = [len(prompt) for prompt in prompts]
    if not n_input or not all(n_input):
        raise ValueError("every prompt needs at least one token")
    cache = model.new_cache(len(prompts), max(n_input) + n_new_tokens)
    padded = torch.tensor([[*prompt, *[0] * (max(n_input) - len(prompt))] for prompt in prompts], device=model.device)
    logits = model.forward(padded, cache, n_new=n_input)
    chosen: list[list[int]] = [[] for _ in prompts]
    for step in range(n_new_tokens):
        latest = logits[:, -1].argmax(-1, keepdim=True)  # [B, 1]
        for row, token in zip(chosen, latest[:, 0].tolist(), strict=True):
            row.append(token)
        on_step(step)
        if step + 1 == n_new_tokens or all(stop_token in row for row in chosen):
            break
        logits = model.forward(latest, cache)
    return [row[: row.index(stop_token)] if stop_token in row else row for row in chosen]
