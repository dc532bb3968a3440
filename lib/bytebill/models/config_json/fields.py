"""What does a config.json say? Its fields under one name each, checked as they are read.

Model families spell the same size differently (`hidden_size`, `n_embd`, `d_model`): `SPELLINGS` lists them, the first
that is there counts, and null is as good as absent. A list of as many values as there are layers is a value a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bytebill.errors import BytebillError, require

LARGEST, MOST_LAYERS = 10**9, 2000
SPELLINGS: dict[str, tuple[str, ...]] = {
    "n_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "d_model": ("hidden_size", "n_embd", "d_model"),
    "d_ff": ("intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner", "block_ff_dim"),
    "n_heads": ("num_attention_heads", "n_head", "n_heads"),
    "n_kv_heads": ("num_key_value_heads", "num_kv_heads", "num_attention_groups"),
    "d_head": ("head_dim", "attention_head_dim"),
    "d_value": ("v_head_dim",),
    "vocab_size": ("vocab_size",),
    "context_len": ("max_position_embeddings", "n_positions", "max_seq_len", "model_max_length", "seq_length"),
    "n_experts": ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"),
    "n_experts_per_token": (
        *("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_k", "moe_top_k"),
        "top_k_experts",
    ),
    "d_ff_expert": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "n_shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"),
    "n_draft_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers"),
    "rms_norm_eps": ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"),
    "activation": ("hidden_act", "hidden_activation", "activation_function", "activation", "mlp_hidden_act"),
    "mamba_heads": ("mamba_n_heads", "mamba_num_heads", "num_heads"),
    "mamba_d_head": ("mamba_d_head", "mamba_head_dim", "head_dim"),
    "mamba_groups": ("mamba_n_groups", "n_groups"),
    "mamba_d_state": ("mamba_d_state", "ssm_state_size", "state_size"),
    "mamba_kernel": ("mamba_d_conv", "conv_kernel"),
    "mamba_expand": ("mamba_expand", "expand"),
    "mamba_conv_bias": ("mamba_conv_bias", "use_conv_bias"),
    "mamba_proj_bias": ("mamba_proj_bias", "use_bias"),
    "state_dtype": ("mamba_ssm_dtype", "mamba_ssm_cache_dtype"),
}


@dataclass(frozen=True)
class Fields:
    """The fields of one decoder, and of one of its layers once `at` has chosen it."""

    values: Mapping[str, Any]
    layer: int | None = None

    def get(self, name: str) -> Any:
        """What a field says under any of its spellings; None where it is absent or null."""
        for spelling in SPELLINGS.get(name, (name,)):
            if (value := self.values.get(spelling)) is not None:
                if isinstance(value, list) and self.layer is not None:
                    require(len(value) > self.layer, f"its '{spelling}' has {len(value)} values for more layers")
                    value = value[self.layer]
                if value is not None:
                    return value
        return None

    def count(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number from `least` up; refused by its name where it is something else, or absent with no default."""
        value = self.get(name)
        if value is None and default is not None:
            return default
        spelling = next(
            (each for each in SPELLINGS.get(name, ()) if each in self.values), SPELLINGS.get(name, (name,))[0]
        )
        require(value is not None, f"it has no '{spelling}'")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        require(
            isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST,
            f"its '{spelling}' is {_short(value)}, no whole number from {least} to {LARGEST:,}",
        )
        return int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(name)
        require(value is None or isinstance(value, (bool, int)), f"its '{name}' is {_short(value)}, not true or false")
        return default if value is None else bool(value)

    def number(self, name: str, default: float) -> float:
        """A positive number."""
        value = self.get(name)
        if value is None:
            return default
        require(
            isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf"),
            f"its '{name}' is {_short(value)}, no positive number",
        )
        return float(value)

    def listed(self, name: str) -> list[Any] | None:
        """A list; None where there is none."""
        value = next(
            (self.values[each] for each in SPELLINGS.get(name, (name,)) if self.values.get(each) is not None), None
        )
        require(value is None or isinstance(value, list), f"its '{name}' is {_short(value)}, not a list")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A mapping; an empty one where there is none."""
        value = self.values.get(name)
        require(value is None or isinstance(value, Mapping), f"its '{name}' is {_short(value)}, not a mapping")
        return value or {}

    def size(self, text: str | int) -> int:
        """A product of fields and numbers, each with something added or taken away if need be.

        >>> Fields({"hc_mult": 4, "hidden_size": 10}).size("hc_mult+2*hc_mult*d_model")
        240
        """
        if isinstance(text, int):
            return text
        product = 1
        for factor in text.split("*"):
            sign = next((each for each in "+-" if each in factor), "")
            name, _, more = factor.partition(sign) if sign else (factor, "", "")
            value = int(name) if name.isdigit() else self.count(name)
            product *= value + int(f"{sign}{more}") if sign else value
        return product

    def at(self, layer: int) -> "Fields":
        """The fields as one layer has them."""
        own = self._per_layer.get(layer)
        return Fields({**self.values, **own} if own else self.values, layer)

    @property
    def overridden(self) -> bool:
        """Whether the config tells this layer's sizes apart."""
        return self.layer in self._per_layer

    def over(self, **values: Any) -> "Fields":
        """The same with some fields changed."""
        return Fields({**self.values, **{key: value for key, value in values.items() if value is not None}}, self.layer)

    @cached_property
    def _per_layer(self) -> dict[int, Mapping[str, Any]]:
        found = self.mapping("per_layer_config")
        require(
            all(str(key).isdigit() and isinstance(value, Mapping) for key, value in found.items()),
            "its 'per_layer_config' is no mapping by layer",
        )
        return {int(key): value for key, value in found.items()}

    @cached_property
    def n_layers(self) -> int:
        n_layers = self.count("n_layers")
        require(n_layers <= MOST_LAYERS, f"its {n_layers:,} layers are more than any model has ({MOST_LAYERS:,})")
        return n_layers


def told(name: str, error: Exception) -> BytebillError:
    """What is wrong with a config.json, as one sentence."""
    return BytebillError(f"The config.json of {name} describes no decoder that is known: {str(error).rstrip('.')}.")


def _short(value: Any) -> str:
    text = repr(value)
    return " ".join(text.split()) if len(text) <= 40 else f"{' '.join(text[:37].split())}..."
