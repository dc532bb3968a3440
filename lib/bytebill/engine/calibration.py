"""What do a matrix's inputs look like? Their products, summed over a text as the model reads it.

    H = sum over tokens of x' x          x [n_in] the input of a matrix, H [n_in, n_in]

GPTQ weighs the errors of a weight by them (`weights.quantized`). A loader stands by each matrix and watches what goes
in; all of it comes from the unquantized model in one pass, where the paper quantizes layer by layer. Ignores experts
that no token chose: they have no products.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from bytebill.engine.build import Linear, Loader
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import Weights


class PlainLoader(Loader):
    """Every matrix as torch has it: for a model that reads a text once, packing would take longer than reading."""

    packs = False


class WatchingLoader(PlainLoader):
    """Every matrix, and the products of its inputs so far by name."""

    def __init__(
        self, weights: Weights, *, products: dict[str, Tensor], dtype: str, device: torch.device | str
    ) -> None:
        super().__init__(weights, dtype=dtype, device=device)
        self.products = products

    def linear(self, name: str) -> Linear:  # type: ignore[override]
        """A matrix that adds its inputs to the products."""
        matrix = super().linear(name)
        products, n_in = self.products, matrix.n_in

        def watched(x: Tensor) -> Tensor:
            flat = x.reshape(-1, n_in).float()
            products[name] = products[name].addmm_(flat.T, flat) if name in products else flat.T @ flat
            return matrix(x)

        return watched


def input_products(
    weights: Weights, tokens: Sequence[int], *, length: int, dtype: str = "bf16", device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The products [n_in, n_in] of each matrix's inputs, by its name, over rows of `length` of the tokens."""
    products: dict[str, Tensor] = {}
    model = Transformer(weights, dtype=dtype, device=device, loader=partial(WatchingLoader, products=products))
    for start in range(0, len(tokens), length):
        row = tokens[start : start + length]
        model.forward(torch.tensor([row], device=model.device), model.new_cache(1, len(row)))
    return products
