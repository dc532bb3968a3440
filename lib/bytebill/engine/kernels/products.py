"""In which numbers does torch multiply 16-bit matrices on a CPU? In its own bf16 where the CPU has such products.

Without instructions for them torch still answers, by loops 7 (`multiplied`) and 30 times (`bmm`) as slow as its fp32
products, and more: measured on a Zen 3, which has AVX2 alone. There both sides are widened first, and the result is
rounded once, as bf16 instructions do it too: they add up in fp32. What is stored, and what a step reads, stays 16 bits
wide.

Ignores float16, which no part of the engine stores.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional


@functools.cache
def has_bf16() -> bool:
    """Whether this CPU multiplies bf16 by itself, as oneDNN, which torch asks, sees it."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def bmm(x: Tensor, y: Tensor) -> Tensor:
    """x [n, a, b] @ y [n, b, c] -> [n, a, c], in the dtype of x."""
    return torch.bmm(x.float(), y.float()).to(x.dtype) if _widens(x) else torch.bmm(x, y)


def multiplied(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., n_in] @ weight.T, weight [n_out, n_in], in the dtype of x."""
    return functional.linear(x.float(), weight.float()).to(x.dtype) if _widens(x) else functional.linear(x, weight)


def _widens(x: Tensor) -> bool:
    return x.dtype is torch.bfloat16 and x.device.type == "cpu" and not has_bf16()
