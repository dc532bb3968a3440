"""What does the model say? Greedy decoding of a batch, each sequence from its own prompt.

    token[t] = argmax over v of logits(tokens before t)[v]

One prefill pass over the right-padded prompts, then one step per token for the whole batch: a static batch,
which runs until its longest member ends. Ignores sampling, and time: `on_step` is called after each step,
for whoever holds a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from bytebill.engine.transformer import Transformer


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    n_new_tokens: int,
    stop_token: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """The tokens that follow each prompt, at most `n_new_tokens` of them, `stop_token` not included.

    `on_step(i)` is called when token i of every sequence is known (i = 0: after the prefill).
    """
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs at least one token")
    n_input = [len(prompt) for prompt in prompts]
    cache = model.new_cache(len(prompts), max(n_input) + n_new_tokens)
    tokens = torch.zeros(len(prompts), max(n_input), dtype=torch.long)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = torch.as_tensor(prompt)
    logits = model.forward(tokens.to(model.device), cache, n_new=n_input)
    chosen: list[list[int]] = [[] for _ in prompts]
    for step in range(n_new_tokens):
        latest = logits[:, -1].argmax(-1, keepdim=True)  # [B, 1]
        for row, token in zip(chosen, latest[:, 0].tolist(), strict=True):
            row.append(token)
        if on_step is not None:
            on_step(step)
        if step + 1 == n_new_tokens or all(stop_token in row for row in chosen):
            break
        logits = model.forward(latest, cache)
    return [_before(row, stop_token) for row in chosen]


def _before(tokens: list[int], stop_token: int | None) -> list[int]:
    return tokens[: tokens.index(stop_token)] if stop_token in tokens else tokens
