"""What does a model's memory hold, by name? The engine's own state dict, and random values for any shape.

    embedding [V, D]    final_norm [D]    head [V, D] if untied;    in each layer, behind "layers.{i}.":
    attention_norm [D]    qkv [(N + 2 K) H, D]    attention_out [D, N H]
    mlp_norm [D]          gate_up [2 F, D]         down [D, F]
with experts, in place of gate_up and down, in all but the first n_dense_layers:
    router [E, D]    router_bias [E]    experts.{e}.gate_up [2 f, D]    experts.{e}.down [D, f]
    shared.gate_up [2 S f, D]           shared.down [D, S f]
with latent attention, in place of qkv and of attention_out's N H:
    latents_down [q + c + r, D]    q_latent_norm [q]     q_up [N (d_nope + r), q]
    kv_latent_norm [c]    kv_up [N (d_nope + d_v), c]    attention_out [D, N d_v]

Symbols: D `d_model`, F `d_ff`, V `vocab_size`, N, K, H as in `models`; q, c and r the ranks of the latents of query
and token and `d_rope`; E experts of width f, and S that all tokens share, side by side in one MLP. Matrices that read
the same input are one matrix: query, key and value; gate and up. Tensors are made or read one by one when asked for,
so that a model is packed without ever being in memory twice. Ignores how a checkpoint is stored: see `folder`.
"""

from collections.abc import Callable, Iterator, Mapping
from math import sqrt
from zlib import crc32

import torch
from torch import Tensor

from bytebill.engine.rotary import rope_frequencies
from bytebill.errors import require
from bytebill.models import MLASpec, ModelSpec, MoESpec

MOST_EXPERTS = 1 << 18  # in all layers: five times those of the largest model that is known
Shapes = dict[str, tuple[int, ...]]  # by name of the tensor


class Weights(Mapping[str, Tensor]):
    """A model's shape, its tensors by name, each read when asked for, and its rotary frequencies."""

    def __init__(self, spec: ModelSpec, read: Callable[[str], Tensor], *, frequencies: Tensor | None = None) -> None:
        self.spec, self._read = spec, read
        self.frequencies = rope_frequencies(spec) if frequencies is None else frequencies
        self._names = dict.fromkeys(tensor_shapes(spec))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def tensor_shapes(spec: ModelSpec) -> Shapes:
    """Shape of every tensor by name. Their sizes add up to `spec.n_params`.

    >>> from math import prod
    >>> from bytebill.models import model
    >>> spec = model("llama-3-8b")
    >>> sum(prod(shape) for shape in tensor_shapes(spec).values()) == spec.n_params
    True
    """
    require_llama(spec)
    n_experts = spec.n_layers * (spec.moe.n_experts if spec.moe else 0)
    require(
        n_experts <= MOST_EXPERTS, f"{spec.name} has {n_experts:,} experts; the engine names at most {MOST_EXPERTS:,}."
    )
    table = (spec.vocab_size, spec.d_model)
    layers = {
        f"layers.{layer}.{name}": shape
        for layer in range(spec.n_layers)
        for name, shape in _layer_shapes(spec, layer).items()
    }
    head: Shapes = {} if spec.tied_embeddings else {"head": table}
    return {"embedding": table, **layers, "final_norm": (spec.d_model,), **head}


def is_sparse(spec: ModelSpec, layer: int) -> bool:
    """Whether a layer has experts in place of its MLP."""
    return spec.moe is not None and layer >= spec.moe.n_dense_layers


def _layer_shapes(spec: ModelSpec, layer: int) -> Shapes:
    attention = _attention_shapes(spec) if spec.mla is None else _latent_shapes(spec, spec.mla)
    mlp = (
        _expert_shapes(spec, spec.moe)
        if spec.moe is not None and is_sparse(spec, layer)
        else _mlp_shapes("", spec.d_model, spec.d_ff)
    )
    return {"attention_norm": (spec.d_model,), **attention, "mlp_norm": (spec.d_model,), **mlp}


def _mlp_shapes(prefix: str, d_model: int, d_ff: int) -> Shapes:
    return {prefix + "gate_up": (2 * d_ff, d_model), prefix + "down": (d_model, d_ff)}


def _expert_shapes(spec: ModelSpec, moe: MoESpec) -> Shapes:
    bias: Shapes = {"router_bias": (moe.n_experts,)} if moe.router_bias else {}
    shapes: Shapes = {"router": (moe.n_experts, spec.d_model), **bias}
    for expert in range(moe.n_experts):
        shapes |= _mlp_shapes(f"experts.{expert}.", spec.d_model, moe.d_ff_expert)
    if moe.n_shared_experts:
        shapes |= _mlp_shapes("shared.", spec.d_model, moe.n_shared_experts * moe.d_ff_expert)
    return shapes


def _attention_shapes(spec: ModelSpec) -> Shapes:
    query, heads = spec.n_heads * spec.d_head, (spec.n_heads + 2 * spec.n_kv_heads) * spec.d_head
    bias: Shapes = {"qkv_bias": (heads,)} if spec.qkv_bias else {}
    norms: Shapes = {"q_norm": (spec.d_head,), "k_norm": (spec.d_head,)} if spec.qk_norm else {}
    return {"qkv": (heads, spec.d_model), **bias, **norms, "attention_out": (spec.d_model, query)}


def _latent_shapes(spec: ModelSpec, mla: MLASpec) -> Shapes:
    return {
        "latents_down": (mla.q_lora_rank + mla.kv_lora_rank + mla.d_rope, spec.d_model),
        "q_latent_norm": (mla.q_lora_rank,),
        "q_up": (spec.n_heads * (mla.d_nope + mla.d_rope), mla.q_lora_rank),
        "kv_latent_norm": (mla.kv_lora_rank,),
        "kv_up": (spec.n_heads * (mla.d_nope + mla.d_v), mla.kv_lora_rank),
        "attention_out": (spec.d_model, spec.n_heads * mla.d_v),
    }


def require_llama(spec: ModelSpec) -> None:
    """Refuse a shape that this decoder does not run, naming what it lacks."""
    lacks = {
        f"layers of {len(spec.layers)} kinds" if len(spec.layers) > 1 else "layers of a kind of their own": bool(
            spec.layers
        ),
        "weights besides its layers": bool(spec.besides),
        f"{spec.norms_per_layer} norms a layer": spec.norms_per_layer != 2,
        "layer norms": spec.norm != "rms",
        f"a {spec.mlp} MLP": spec.mlp != "swiglu",
        "learned positions": spec.positions != "rope",
        "biases on every layer": spec.biases,
        "attention and MLP in parallel": spec.parallel,
        "heads of an odd width": (spec.d_head if spec.mla is None else spec.mla.d_rope) % 2 == 1,
    }
    found = [what for what, present in lacks.items() if present]
    require(not found, f"{spec.name} is not of the Llama family the engine runs: it has {' and '.join(found)}.")


def random_weights(spec: ModelSpec, seed: int = 0, *, device: torch.device | str = "cpu") -> Weights:
    """Weights of any Llama shape, the same for the same seed and device, each tensor made when asked for.

    Uniform with variance 1 / n_in, so that activations neither vanish nor explode; norms are 1. A GPU draws its own:
    one CPU thread takes minutes for 8 billion, and a link its time for the bytes.

    >>> from bytebill.models import model
    >>> weights = random_weights(model("smollm2-135m"))
    >>> weights["layers.0.qkv"].shape, round(float(weights["layers.0.qkv"].var() * 576), 2)
    (torch.Size([960, 576]), 1.0)
    """
    shapes = tensor_shapes(spec)

    def read(name: str) -> Tensor:
        if name.endswith("norm"):
            return torch.ones(shapes[name], device=device)
        bound = sqrt(3 / shapes[name][-1])
        generator = torch.Generator(device).manual_seed(crc32(f"{seed} {name}".encode()))
        return torch.empty(shapes[name], device=device).uniform_(-bound, bound, generator=generator)

    return Weights(spec, read)
