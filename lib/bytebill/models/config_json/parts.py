"""What is one layer made of? Its matrices with the names of the modules that hold them, and what it keeps.

A checkpoint says by module what it left at 16 bits (`model.layers.3.self_attn.q_proj`), so a part remembers its path
in the layer; of experts, which are alike, that of the first. A part without a path is no linear layer, which nothing
quantizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bytebill.models.layers import Matrix, SequenceState, TokenCache


@dataclass(frozen=True, kw_only=True)
class Part:
    """Equal matrices of one layer, and the module that holds them."""

    matrix: Matrix
    paths: tuple[str, ...] = ()  # the last of them as some checkpoints have it


@dataclass(frozen=True, kw_only=True)
class Mixer:
    """How tokens meet in a layer: its matrices, its caches and its state."""

    name: str
    parts: tuple[Part, ...] = ()
    caches: tuple[TokenCache, ...] = ()
    state: SequenceState | None = None


def linear(
    name: str, group: str, n_in: int, n_out: int, *paths: str, bias: bool = False, copies: int = 1
) -> Iterator[Part]:
    """A linear layer, and its bias where it has one."""
    yield Part(matrix=Matrix(name=name, group=group, n_in=n_in, n_out=n_out, copies=copies), paths=paths)
    if bias:
        yield vector(f"{name}_bias", n_out, group="bias", copies=copies)


def vector(name: str, width: int, *, group: str = "vector", copies: int = 1) -> Part:
    """Numbers that nothing is multiplied with as a matrix."""
    return Part(matrix=Matrix(name=name, group=group, n_in=1, n_out=width, copies=copies))
