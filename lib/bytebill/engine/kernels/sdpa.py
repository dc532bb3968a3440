"""Which of torch's attentions serves a prompt? On a GPU those that need no plan for each new length.

torch prefers cuDNN's on an H100, and that builds a plan for every length of prompt it meets: served prompts of many
lengths then stall, each for tens of milliseconds or more. Flash, memory-efficient and plain attention take any length.
On other devices torch chooses as it does. Ignores masks and groups, which are the caller's.
"""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

WITHOUT_PLANS = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def without_plans(q: Tensor) -> AbstractContextManager[None]:
    """Where to call `scaled_dot_product_attention` for these queries.

    >>> import torch
    >>> with without_plans(torch.ones(1)) as nothing:  # a CPU: torch's own choice
    ...     print(nothing)
    None
    """
    return sdpa_kernel([*WITHOUT_PLANS]) if q.is_cuda else nullcontext()
