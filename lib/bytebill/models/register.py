"""How many bytes is a model, stored and per cached token? The published models, and both sizes.

    weight_bytes = sum of n_params * bits_per_weight / 8 over the matrices   [bytes]
    cache_bytes  = sum over layers of entries(context) * entry_bytes         [bytes]   2 * K * H values an entry, or
                                                                                       kv_lora_rank + d_rope (MLA)
    state_bytes  = sum over layers of state and convolution                  [bytes]   whatever the context

Symbols: K `n_kv_heads`, H `d_head`. Shapes are counted in `bytebill.models.shapes`, what a layer keeps in
`bytebill.models.layers`, widths in `bytebill.models.precisions`; published shapes and their sources:
`data/models.csv`. Ignores what a runtime adds to the weights (workspace, fragmentation: `bytebill.deployment`).
"""

import json
from dataclasses import dataclass, fields, replace
from functools import cached_property

from bytebill import data
from bytebill.errors import unknown
from bytebill.models.config_json import is_config, load_config, pasted_config, read_config, stored_precision
from bytebill.models.precisions import EXPERTS_ONLY, Precision, precision
from bytebill.models.shapes import MLASpec, ModelSpec, MoESpec, matrices


def weight_bytes(model: ModelSpec, *, precision: Precision) -> float:
    """Bytes of the stored weights, each matrix in its format, group scales counted.

    >>> from bytebill.models import precision
    >>> weight_bytes(model("llama-2-13b"), precision=precision("bf16")) / 1e9    # n_params * 2
    26.03172864
    """
    return sum(precision.weight_bytes(matrix) for matrix in matrices(model))


def kv_stored_bytes_per_token(model: ModelSpec, *, precision: Precision) -> float:
    """Bytes that one more token of a short context adds to the caches of all layers.

    2 (K and V) * n_layers * n_kv_heads * d_head * kv_bytes_per_value     [bytes/token]
    n_layers * (kv_lora_rank + d_rope) * kv_bytes_per_value               for MLA

    Once windows are full a token adds less: see `cache_bytes`.

    >>> from bytebill.models import precision
    >>> kv_stored_bytes_per_token(model("llama-2-13b"), precision=precision("bf16"))    # 2*40*40*128*2
    819200.0
    >>> kv_stored_bytes_per_token(model("deepseek-v3"), precision=precision("bf16"))    # 61*(512+64)*2
    70272.0
    """
    return cache_bytes(model, 1, precision=precision)


def cache_bytes(model: ModelSpec, context_len: float, *, precision: Precision) -> float:
    """Bytes that the caches of all layers keep of one sequence of this length; states not counted.

    >>> from bytebill.models import precision
    >>> [cache_bytes(model("mistral-7b"), n, precision=precision("bf16")) / 131_072 for n in (100, 10_000)]
    [100.0, 4096.0]
    """
    width = precision.kv_bytes_per_value
    return sum(
        (
            kind.n_layers * kept.entries(context_len) * kept.entry_bytes(width)
            for kind in model.kinds
            for kept in kind.caches
        ),
        0.0,
    )


def state_bytes(model: ModelSpec) -> float:
    """Bytes that recurrent layers keep of one sequence, whatever its length; 0 where all layers attend."""
    return sum((kind.n_layers * kind.state.bytes for kind in model.kinds if kind.state), 0.0)


def _from_row(row: data.Row) -> ModelSpec:
    known = {key: value for key, value in row.items() if value is not None and key not in data.PROVENANCE}
    moe, mla = (
        {part.name: known.pop(part.name) for part in fields(kind) if part.name in known} for kind in (MoESpec, MLASpec)
    )
    return ModelSpec(**known, moe=MoESpec(**moe) if moe else None, mla=MLASpec(**mla) if mla else None)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that is served, as its config.json has it, and the widths of its checkpoint; read when asked for."""

    id: str
    name: str
    config: str  # as text
    names: tuple[str, ...]  # on Hugging Face, in small letters, without whose they are

    @cached_property
    def spec(self) -> ModelSpec:
        return read_config(json.loads(self.config), id=self.id, name=self.name)

    @cached_property
    def precision(self) -> Precision:
        return stored_precision(json.loads(self.config), self.spec)


def _published(row: data.Row) -> Published:
    names = (row["id"], *(_short(name) for name in row["hf_ids"].split()))
    return Published(id=row["id"], name=row["name"], config=row["config"], names=names)


MODELS = data.Register("model", lambda: {row["id"]: _from_row(row) for row in data.rows("models")})
PUBLISHED = data.Register("model", lambda: {row["id"]: _published(row) for row in data.rows("model_configs")})
CHECKPOINTS = {  # what ends the name of a checkpoint, and the widths it promises
    **{word: None for word in ("instruct", "base", "chat", "it", "hf", "thinking", "2507", "dynamic", "kv", "v2")},
    **{
        "bf16": "bf16",
        "fp8": "fp8",
        "nvfp4": "nvfp4",
        "fp4": "nvfp4",
        "awq": "int4",
        "int4": "int4",
        "w8a8": "w8a8",
        "int8": "int8",
    },
}


def model(id: str) -> ModelSpec:
    """The model with this id, or of this name on Hugging Face.

    >>> model("llama-3-70b").queries_per_kv_head, model("Qwen/Qwen3-32B").id
    (8, 'qwen3-32b')
    """
    return MODELS[id] if id in MODELS else find(id)[0]


def find(text: str) -> tuple[ModelSpec, Precision]:
    """The model that is meant by an id, a name on Hugging Face or a config.json, and the widths it is stored in.

    A config.json may also stand here itself: a text that begins with a brace.
    A name may be without its owner, in any case, and end as checkpoints' do: `-Instruct`, `-FP8`, `-NVFP4`.

    >>> [(spec.id, stored.name) for spec, stored in map(find, ("openai/gpt-oss-120b", "RedHatAI/Llama-3.1-8B-FP8"))]
    [('gpt-oss-120b', 'mxfp4'), ('llama-3.1-8b', 'fp8')]
    """
    if text.lstrip().startswith("{"):
        return pasted_config(text)
    if is_config(text):
        return load_config(text)
    if text in MODELS:
        return MODELS[text], precision("bf16")
    short, promised = _short(text), None
    while True:
        published = next((each for each in PUBLISHED.values() if short in each.names), None)
        if published:
            return published.spec, checkpoint_precision(promised, published.spec) if promised else published.precision
        if short in MODELS:
            return MODELS[short], checkpoint_precision(promised or "bf16", MODELS[short])
        short, _, ending = short.rpartition("-")
        if ending not in CHECKPOINTS:
            raise unknown("model", text, (*MODELS, *PUBLISHED), where="data/models.csv, data/model_configs.csv")
        promised = promised or CHECKPOINTS[ending]


def checkpoint_precision(name: str, model: ModelSpec) -> Precision:
    """The widths of a checkpoint of a model in a format: 4-bit ones of a mixture narrow its experts alone.

    >>> spec = model("qwen3-235b-a22b")
    >>> [share for share, _ in checkpoint_precision("nvfp4", spec).formats(matrices(spec)[1])], matrices(spec)[1].group
    ([1.0], 'attention')
    """
    found = precision(name)
    return replace(found, exceptions=EXPERTS_ONLY) if model.moe and name in ("int4", "nvfp4") else found


def _short(name: str) -> str:
    """A name on Hugging Face in small letters, without whose it is."""
    return name.rpartition("/")[2].lower().removeprefix("meta-")
