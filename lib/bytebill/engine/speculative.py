"""How is a batch decoded with drafts, without changing a word? Each pass checks what somebody guessed.

    pass over [last token, d1, ..., dg];  chosen[k] = argmax of the logits after its k-th token
    d1 = chosen[0], ..., da = chosen[a - 1], d(a+1) != chosen[a]:    the text gets d1 ... da and chosen[a]

A pass moves the weights once, whatever the number of drafts, and computes g + 1 rows a sequence. Keys and values of
refused drafts stay where they are: the cache's length goes back to the last token that holds, and the next pass
writes over them. Drafts may differ in number; the shorter ones are padded, and computed. Ignores sampling and stop
tokens. The text is that of `generation.generate` where a row of logits does not depend on its neighbours in a pass.
In fp32 that is so to the last bits, which decide no word but a tie; in bf16 kernels for one row and for many may
round apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bytebill.engine.transformer import Transformer
from bytebill.errors import require
from bytebill.serving.speculative import Acceptance, Drafter, n_accepted


@dataclass(frozen=True, kw_only=True)
class Speculated:
    """Texts of a batch, and what became of the drafts."""

    tokens: list[list[int]]
    passes: list[tuple[int, int]]  # (drafted, accepted) of each sequence in each pass that it took part in
    n_steps: int  # passes of the batch

    @property
    def acceptance(self) -> Acceptance:
        """By position in a pass."""
        return Acceptance.of(self.passes)


@torch.inference_mode()
def speculate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    n_new_tokens: int,
    drafter: Drafter,
    n_draft_tokens: int,
    on_step: Callable[[int], object] = lambda step: None,
) -> Speculated:
    """The likeliest `n_new_tokens` after each prompt, with up to `n_draft_tokens` guesses a pass.

    `on_step(i)` is called after pass i (i = 0: the prompts).
    """
    require(n_draft_tokens >= 0, f"A pass checks zero or more drafts, not {n_draft_tokens}.")
    n_input = [len(prompt) for prompt in prompts]
    require(bool(n_input) and all(n_input), "Every prompt needs at least one token.")
    cache = model.new_cache(len(prompts), max(n_input) + n_new_tokens)
    logits = model.forward(padded(prompts, device=model.device), cache, n_new=n_input)
    texts = [[*prompt, token] for prompt, token in zip(prompts, logits[:, -1].argmax(-1).tolist(), strict=True)]
    goals, passes, step = [n + n_new_tokens for n in n_input], [], 0
    on_step(step)
    while any(len(text) < goal for text, goal in zip(texts, goals, strict=True)):
        room = [max(0, min(n_draft_tokens, goal - len(text) - 1)) for text, goal in zip(texts, goals, strict=True)]
        guesses = drafter.propose(texts, max(room)) if any(room) else [[] for _ in texts]
        drafts = [guess[:n] for guess, n in zip(guesses, room, strict=True)]
        # A row that is done computes its last token again: nobody reads it.
        rows = [[text[-1], *draft] for text, draft in zip(texts, drafts, strict=True)]
        cache.set_lengths([len(text) - 1 for text in texts])
        chosen = model.forward(
            padded(rows, device=model.device), cache, n_new=[len(row) for row in rows], last_only=False
        )
        for text, goal, draft, found in zip(texts, goals, drafts, chosen.argmax(-1).tolist(), strict=True):
            if len(text) < goal:
                held = n_accepted(draft, found)
                text += found[: held + 1]
                passes.append((len(draft), held))
        step += 1
        on_step(step)
    tokens = [text[n : n + n_new_tokens] for text, n in zip(texts, n_input, strict=True)]
    return Speculated(tokens=tokens, passes=passes, n_steps=step)


class ModelDraft:
    """Drafts by another model with the same vocabulary, one small step after the other, in a cache of its own."""

    def __init__(self, model: Transformer, *, batch_size: int, max_len: int) -> None:
        self.model, self._cache = model, model.new_cache(batch_size, max_len)
        self._held: list[list[int]] = [[] for _ in range(batch_size)]  # tokens whose keys and values are there

    @torch.inference_mode()
    def propose(self, texts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
        """The `n` tokens that the model finds likeliest, or as many as its cache has room for."""
        n = min(n, self._cache.max_len + 1 - max(map(len, texts)))
        if n < 1:
            return [[] for _ in texts]
        known = [n_accepted(held, text[:-1]) for held, text in zip(self._held, texts, strict=True)]  # what still holds
        news = [list(text[k:]) for text, k in zip(texts, known, strict=True)]
        self._cache.set_lengths(known)
        device = self.model.device
        logits = self.model.forward(padded(news, device=device), self._cache, n_new=[len(new) for new in news])
        steps = [logits[:, -1].argmax(-1, keepdim=True)]  # [B, 1]
        for _ in range(n - 1):
            steps.append(self.model.forward(steps[-1], self._cache)[:, -1].argmax(-1, keepdim=True))
        guesses: list[list[int]] = torch.cat(steps, 1).tolist()
        self._held = [[*text, *guess[:-1]] for text, guess in zip(texts, guesses, strict=True)]
        return guesses


def padded(rows: Sequence[Sequence[int]], *, device: torch.device) -> torch.Tensor:
    """Rows of tokens as one tensor [B, T], filled up on the right with token 0."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
