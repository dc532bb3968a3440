"""What is left of a matrix in b bits? Weights put on a coarse grid and back, by rounding or with amends by the rest.

    rounding    w' = lo + s round((w - lo) / s)         lo the least of a group of inputs, s = (hi - lo) / (2^b - 1)
    GPTQ        e = (w_j - w'_j) / U_jj,   w_k -= e U_jk for all k > j          U = chol(inverse(H + d I)) upper
    rotation    norm gains into the matrices that read, then x -> x Q           Q orthogonal, the function unchanged

Symbols: w a row of a matrix [n_out, n_in], H = X'X the products of its inputs (`engine.calibration`), d a hundredth of
H's mean diagonal, Q [D, D]. Offset and step of a group are kept in 16 bits: b + 32 / group bits a weight. Rounding
changes a weight by s / 2 at most; GPTQ changes it by more, so that outputs change by less (Frantar et al. 2023,
arXiv:2210.17323, algorithm 1). Rotating (Ashkboos et al. 2024, arXiv:2404.00456) takes a checkpoint off a grid that it
was stored on, which rounding at the same group would find again for nothing. Weights come back in fp32, to be run by
any kernel: this is about what they say, and `kernels.dtypes` about what they weigh. Embedding, head and vectors are
left alone, as in the papers. Ignores quantized activations, and formats with an exponent.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bytebill.engine.weights.names import Weights, tensor_shapes
from bytebill.errors import require

_WRITES = ("attention_out", "down")  # matrices whose outputs are added to it
_NORM_OF = {  # of the matrices whose inputs are the normed residual stream
    "qkv": "attention_norm",
    "latents_down": "attention_norm",
    "gate_up": "mlp_norm",
    "router": "mlp_norm",
}
_DAMPING = 0.01  # of the mean of H's diagonal
Points = tuple[Tensor, Tensor, int]  # of a grid: offset, step and number of steps


@dataclass(frozen=True)
class Grid:
    """2^bits even steps between the least and the largest of each `group` inputs of an output."""

    bits: int
    group: int

    def __post_init__(self) -> None:
        require(1 <= self.bits <= 8, f"A grid has 1 to 8 bits a weight, not {self.bits}.")
        require(self.group >= 1, f"A group has one input or more, not {self.group}.")

    def bits_per_weight(self, n_in: int) -> float:
        """Bits of one weight with its share of offsets and steps; a last group may be shorter.

        >>> Grid(4, 32).bits_per_weight(576), Grid(4, 128).bits_per_weight(576)    # 18 groups; 4 whole ones and a half
        (5.0, 4.277777777777778)
        """
        return self.bits + 32 * -(-n_in // self.group) / n_in


def rounded(weight: Tensor, grid: Grid) -> Tensor:
    """The weight [..., n_in] on the grid of each of its groups, every value at its nearest point.

    >>> rounded(torch.tensor([[0.0, 1.0, 2.2, 3.0]]), Grid(2, 4)).tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """
    parts = weight.split(min(grid.group, weight.shape[-1]), -1)
    return torch.cat([_snapped(part, *_points(part, grid)) for part in parts], -1)


def gptq(weight: Tensor, products: Tensor, grid: Grid) -> Tensor:
    """The weight [..., n_out, n_in] on its grid, the later inputs of each row making up for the errors of the earlier.

    `products` [..., n_in, n_in] are those of its inputs. Offset and step of a group are taken when its turn comes.
    Errors are passed on by halves, a first half's to the second at once: few products in place of many small ones.
    """
    left = weight.flatten(0, -3).mT.contiguous() if weight.dim() > 2 else weight.T.contiguous()[None]
    factor = _factor(products.flatten(0, -3) if products.dim() > 2 else products[None])
    _settle(left, torch.empty_like(left), factor, (0, left.shape[1]), grid)
    return left.mT.reshape(weight.shape)


def _settle(
    left: Tensor, errors: Tensor, factor: Tensor, span: tuple[int, int], grid: Grid, points: Points | None = None
) -> None:
    """Put a span of inputs on the grid in place, [matrices, inputs, outputs], and note the errors to pass on."""
    start, stop = span
    width = stop - start
    if points is None and width <= grid.group:
        points = _points(left[:, start:stop], grid, dim=1)
    if width == 1:
        exact = left[:, start:stop].clone()
        left[:, start:stop] = _snapped(exact, *(points or _points(exact, grid, dim=1)))
        errors[:, start:stop] = (exact - left[:, start:stop]) / factor[:, start:stop, start:stop]
        return
    whole = 1 if points else grid.group  # groups stay together until their turn
    middle = start + whole * max(1, width // whole // 2)
    _settle(left, errors, factor, (start, middle), grid, points)
    left[:, middle:stop].baddbmm_(factor[:, start:middle, middle:stop].mT, errors[:, start:middle], alpha=-1)
    _settle(left, errors, factor, (middle, stop), grid, points)


def _factor(products: Tensor) -> Tensor:
    """The upper triangle U with U'U = inverse(H + d I). Inputs that never came get a product of 1."""
    diagonal = products.diagonal(dim1=-2, dim2=-1)
    damping = _DAMPING * diagonal.mean(-1, keepdim=True) + (diagonal == 0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(products + torch.diag_embed(damping)))
    return torch.linalg.cholesky(inverse, upper=True)


def _points(group: Tensor, grid: Grid, *, dim: int = -1) -> Points:
    """Offset and step of each row of a group, as 16 bits hold them, and the number of steps."""
    low, high = group.aminmax(dim=dim, keepdim=True)
    n_steps = 2**grid.bits - 1
    step = ((high - low) / n_steps).half().float().clamp_min(torch.finfo(torch.float16).tiny)
    return low.half().float(), step, n_steps


def _snapped(values: Tensor, low: Tensor, step: Tensor, n_steps: int) -> Tensor:
    return ((values - low) / step).round_().clamp_(0, n_steps).mul_(step).add_(low)


def quantized(weights: Weights, grid: Grid, products: Mapping[str, Tensor] | None = None) -> Weights:
    """The model with the matrices of its layers on a grid: by rounding, or by GPTQ where their inputs' products are
    given.

    Matrices of one shape in all layers go through GPTQ together, which takes a few seconds and holds them in fp32.
    """
    inside = {
        name for name, shape in tensor_shapes(weights.spec).items() if name.startswith("layers.") and len(shape) == 2
    }
    if products is None:
        return _with(weights, lambda name: rounded(weights[name].float(), grid) if name in inside else weights[name])
    missing = inside - set(products)
    require(not missing, f"GPTQ needs the products of the inputs of {min(missing, default='')}.")
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(inside):
        alike[name.split(".", 2)[2]].append(name)
    made: dict[str, Tensor] = {}
    for names in alike.values():
        matrices, of_inputs = (torch.stack([each[name].float() for name in names]) for each in (weights, products))
        made |= dict(zip(names, gptq(matrices, of_inputs, grid), strict=True))
    return _with(weights, lambda name: made.get(name, weights[name]))


def rotated(weights: Weights, *, seed: int = 0) -> Weights:
    """The same function with its residual stream turned by a random rotation, and every norm's gains folded away.

        norm(x Q) = norm(x) Q          once its gains g are in the matrix that reads: W' = W diag(g) Q, and V' = Q' V

    A tied head parts from its embedding, since only the head takes the last norm's gains. All of it is held in fp32.
    """
    spec = replace(weights.spec, tied_embeddings=False)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(spec.d_model, spec.d_model, generator=generator, dtype=torch.float64))[0].float()
    tied = weights.spec.tied_embeddings

    def reads(name: str, norm: str) -> Tensor:
        return (weights[name].float() * weights[norm].float()) @ turn

    def turned(name: str) -> Tensor:
        last = name.rpartition(".")[2]
        if last in ("attention_norm", "mlp_norm", "final_norm"):
            return torch.ones_like(weights[name])
        if name == "embedding":
            return weights[name].float() @ turn
        if name == "head":
            return reads("embedding" if tied else "head", "final_norm")
        if last in _NORM_OF:
            return reads(name, f"{'.'.join(name.split('.')[:2])}.{_NORM_OF[last]}")
        return turn.T @ weights[name].float() if last in _WRITES else weights[name]

    made = {name: turned(name) for name in tensor_shapes(spec)}
    return Weights(spec, made.__getitem__, frequencies=weights.frequencies)


def _with(weights: Weights, read: Callable[[str], Tensor]) -> Weights:
    return Weights(weights.spec, read, frequencies=weights.frequencies)
