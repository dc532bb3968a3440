"""What no config.json may say is refused in one sentence, and the largest that is read is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytebill.errors import BytebillError
from bytebill.models import find
from bytebill.models.config_json import load_config, pasted_config, stored_precision
from bytebill.models.config_json.fields import Fields
from config_cases import CONFIGS, SIX, TINY, read
from conftest import refuses

ODD = {"quant_method": "fp8", "modules_to_not_convert": ["x" * 400, "re:" + ".*" * 3 + "X", "*x*y*z*a"]}
NESTED = {"text_config": {"llm_config": {"thinker_config": TINY}}}


@pytest.mark.parametrize(
    ("most", "more", "words"),
    [
        ({"vocab_size": 10**9}, {"vocab_size": 10**9 + 1}, "vocab_size"),
        ({"hidden_size": 64.0}, {"hidden_size": 64.5}, "hidden_size"),
        ({"rms_norm_eps": 1e-300}, {"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"num_hidden_layers": 2000}, {"num_hidden_layers": 2001}, "2,001 layers"),
        ({"intermediate_size": [8, 16]}, {"intermediate_size": [8]}, "1 values for more layers"),
        ({"layer_types": ["full_attention"] * 2}, {"layer_types": ["full_attention"]}, "1 for 2 layers"),
        ({"num_nextn_predict_layers": 2}, {"num_nextn_predict_layers": 3}, "3 draft layers"),
        (NESTED, {"text_config": {**NESTED, "model_type": "nobody"}}, "model_type"),
        ({"quantization_config": ODD}, {"quantization_config": {**ODD, "ignore": ["x" * 401]}}, "no list of names"),
        (
            {"quantization_config": {**ODD, "ignore": ["x"] * 100_000}},
            {"quantization_config": {**ODD, "ignore": ["x"] * 100_001}},
            "no list of names",
        ),
    ],
)
def test_the_largest_that_is_read(most: dict[str, Any], more: dict[str, Any], words: str) -> None:
    def read_whole(change: dict[str, Any]) -> None:
        told = {**TINY, **change} if "text_config" not in change else change
        stored_precision(told, read(told))

    read_whole(most)
    refuses(lambda: read_whole(more), words)


def test_a_pasted_config_may_be_so_long_and_so_deep() -> None:
    for text, words in (("{}" + " " * (2**20 - 2), "model_type"), (" " + "{}" + " " * (2**20 - 2), "larger than any")):
        refuses(lambda text=text: pasted_config(text), words)
    for deep, words in ((63, "model_type"), (64, "nests deeper")):
        refuses(lambda deep=deep: pasted_config('{"a": ' + "[" * deep + "]" * deep + "}"), words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "nobody"}, "nothing is known of its model_type 'nobody'"),
        ({"model_type": None}, "model_type"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"num_hidden_layers": 10**9}, "1,000,000,000 layers"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": 10**30}, "hidden_size"),
        ({"hidden_size": {"a": {}}}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": [1] * 9}, "vocab_size"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"rope_theta": "far"}, "rope_theta"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": ["full_attention", "telepathy"]}, "telepathy"),
        ({"layer_types": [3, None]}, "layer of type"),
        ({"layer_types": "full"}, "layer_types"),
        ({"per_layer_config": {"x": 1}}, "per_layer_config"),
        ({"model_type": "deepseek_v3"}, "has no '"),
        ({"model_type": "deepseek_v4", "layer_types": ["sliding_attention", "full_attention"]}, "are of the types"),
        ({"model_type": "gpt_oss", "layer_types": ["sliding_attention"] * 2}, "sliding_window|num_local_experts"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "spelt"),
        ({"num_nextn_predict_layers": 10**8}, "draft"),
        ({"text_config": {"text_config": {"text_config": {"text_config": {}}}}}, "model_type|has no"),
    ],
)
def test_what_describes_no_decoder_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    refuses(lambda: read({**TINY, **change}), words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "deepseek_v3", "mlp_layer_types": ["sparse"] * 5}, "layer 5 is of the unknown type 'None'"),
        ({"model_type": "deepseek_v3", "mlp_layer_types": ["sparse", "odd"] * 3}, "layer 1 is of the unknown type"),
        ({"model_type": "deepseek_v3", "moe_intermediate_size": [24] * 5 + [40]}, "differ in their experts"),
        ({"model_type": "nemotron_h"}, "no 'hybrid_override_pattern'"),
        ({"model_type": "mimo_v2_flash"}, "no 'hybrid_layer_pattern'"),
        ({"model_type": "deepseek_v4", "compress_ratios": [4] * 5}, "fewer than its layers"),
        ({"model_type": "deepseek_v4", "compress_ratios": [-1] * 6}, "compress_ratios"),
        ({"model_type": "opt", "word_embed_proj_dim": 32}, "differs from its 'hidden_size'"),
        ({"model_type": "opt", "do_layer_norm_before": False}, "'do_layer_norm_before' is false"),
        *(({"model_type": "step3p5", "moe_layers_enum": odd}, "no list of layers") for odd in (3, "1,x", [None])),
        *(({"per_layer_config": odd}, "no mapping by layer") for odd in ({"1": 3}, {"-1": {}})),
    ],
)
def test_layers_that_cannot_be_told_apart_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    refuses(lambda: read({**SIX, **change}), words)


@pytest.mark.parametrize(
    ("kind", "field", "least"),
    [
        ("qwen2", "max_window_layers", 0),
        ("mistral", "sliding_window", 0),
        ("gemma3n", "num_kv_shared_layers", 0),
        ("gemma3", "sliding_window_pattern", 0),
        ("gemma4", "hidden_size_per_layer_input", 0),
        *(("jamba", field, 0) for field in ("attn_layer_offset", "expert_layer_offset")),
        *(("jamba", field, 1) for field in ("attn_layer_period", "expert_layer_period")),
        *((kind, "first_k_dense_replace", 0) for kind in ("deepseek_v3", "step3p5")),
        *(("glm4_moe", field, 0) for field in ("num_dense_layers", "n_shared_experts")),
        ("laguna", "shared_expert_intermediate_size", 0),
        ("laguna", "n_shared_experts", 0),
        *((kind, "num_local_experts", 0) for kind in ("qwen3_moe", "granitemoehybrid")),
        ("longcat_flash", "zero_expert_num", 0),
        ("youtu", "q_lora_rank", 0),
        ("llama", "num_nextn_predict_layers", 0),
        ("ernie4_5_moe", "moe_layer_start_index", 0),
        ("ernie4_5_moe", "moe_layer_interval", 1),
        ("ernie4_5_moe", "moe_layer_end_index", -1),
        ("llama4", "interleave_moe_layer_step", 1),
        ("qwen3_moe", "decoder_sparse_step", 1),
        ("lfm2", "block_multiple_of", 1),
        *(("bamba", field, 1) for field in ("mamba_n_groups", "mamba_expand", "mamba_d_conv", "mamba_d_state")),
    ],
)
def test_a_number_of_layers_or_experts_begins_where_it_can(kind: str, field: str, least: int) -> None:
    config = {**SIX, "model_type": kind, "use_sliding_window": True, "shared_expert_intermediate_size": 40}
    assert read({**config, field: least}).n_params
    refuses(lambda: read({**config, field: least - 1}), f"its '{field}' is {least - 1}, no whole number")


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "id", ["llama-3.1-8b", "gpt-oss-20b", "deepseek-v4-pro", "nemotron-3-super", "gemma-4-26b-a4b"]
)
@settings(max_examples=60, derandomize=True)
@given(data=st.data())
def test_whatever_a_field_says_the_answer_is_a_shape_or_a_sentence(id: str, data: Any) -> None:
    config = dict(CONFIGS[id].get("text_config", CONFIGS[id]))
    changed = {**config, data.draw(st.sampled_from(sorted(config))): data.draw(ANYTHING)}
    try:
        stored_precision(changed, read(changed))
    except BytebillError as error:
        assert str(error).endswith(".") and "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, "\0", '{"model_type": 1}', "NaN"])
def test_a_file_that_is_no_config_is_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(text, encoding="utf-8")
    refuses(lambda: load_config(file), "config.json")
    refuses(lambda: load_config(tmp_path / "nowhere.json"), "no file")


def test_a_folder_and_modelopts_file_beside_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    spec, stored = find(str(tmp_path))
    assert (spec.name, stored.name) == (tmp_path.name, "fp8")


def test_the_config_itself_counts_before_the_file_beside_it_and_a_file_gives_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({**TINY, "quantization_config": {"quant_method": "gptq"}}))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    for spec, stored in (load_config(tmp_path / "mine.json"), find(str(tmp_path / "mine.json"))):
        assert (spec.id, spec.name, stored.name) == ("mine", "mine", "int4")
    refuses(lambda: find(str(tmp_path / "yours.json")), "no file")


def test_a_file_of_sixteen_megabytes_is_the_largest_that_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for n_bytes, words in ((2**24, "model_type"), (2**24 + 1, "larger than any")):
        file.write_text("{}".ljust(n_bytes))
        refuses(lambda: load_config(file), words)


def test_a_pasted_config_is_read_as_a_file_is() -> None:
    spec, stored = find(f" {json.dumps({**TINY, 'quantization_config': {'quant_method': 'fp8'}})}")
    assert (spec.n_params, spec.id, stored.name) == (read(TINY).n_params, "the pasted model", "fp8")


@pytest.mark.parametrize("text", ["[" * 99, '\\"' + "[" * 99, "]" * 99 + "[" * 99])
def test_brackets_in_a_pasted_string_nest_nothing(text: str) -> None:
    refuses(lambda: pasted_config('{"a": "' + text + '"}'), "model_type")


@pytest.mark.parametrize(
    ("values", "name", "found"),
    [
        ({"hidden_size": 4, "n_embd": 8}, "d_model", 4),
        ({"hidden_size": None, "n_embd": 8}, "d_model", 8),
        ({"n_embd": None}, "d_model", 7),
        ({"head_dim": 16.0}, "d_head", 16),
        ({"head_dim": [2, 4]}, "d_head", 4),
        ({"head_dim": [2, None], "attention_head_dim": 6}, "d_head", 6),
        ({"head_dim": [2, None]}, "d_head", 7),
        ({"per_layer_config": {"1": {"head_dim": 3}}, "head_dim": 2}, "d_head", 3),
        ({"per_layer_config": {"0": {"head_dim": 3}}, "head_dim": 2}, "d_head", 2),
    ],
)
def test_the_first_spelling_that_says_a_number_counts(values: dict[str, Any], name: str, found: int) -> None:
    assert Fields(values).at(1).count(name, 7) == found


@pytest.mark.parametrize(
    ("read_field", "words"),
    [
        (lambda: Fields({"x": 0}).count("x"), "'x' is 0, no whole number from 1 to 1,000,000,000"),
        (lambda: Fields({"x": -1}).count("x", least=0), "no whole number from 0"),
        (lambda: Fields({"x": True}).count("x"), "'x' is True, no whole number"),
        (lambda: Fields({"n_embd": "x"}).count("d_model"), "'n_embd' is 'x'"),
        (lambda: Fields({}).count("d_model"), "it has no 'hidden_size'"),
        (lambda: Fields({"x": 1.0}).flag("x"), "'x' is 1.0, not true or false"),
        *((lambda odd=odd: Fields({"x": odd}).number("x", 1), "no positive number") for odd in (0, True, "1", 1e999)),
        (lambda: Fields({"x": {}}).listed("x"), "not a list"),
        (lambda: Fields({"x": []}).mapping("x"), "not a mapping"),
        (lambda: Fields({"x": [1]}).at(1).get("x"), "'x' has 1 values for more layers"),
        (lambda: Fields({"x": "y" * 38}).count("x"), f"'{'y' * 38}', no"),
        (lambda: Fields({"x": "y" * 39}).count("x"), f"'{'y' * 36}..., no"),
    ],
)
def test_a_field_of_another_kind_is_refused_by_its_name(read_field: Callable[[], Any], words: str) -> None:
    with pytest.raises(BytebillError, match=re.escape(words)):
        read_field()


def test_fields_that_say_nothing_are_taken_as_their_defaults() -> None:
    fields = Fields({"off": 0, "on": 1, "zero": 0, "two": 2, "none": None, "hidden_size": None, "n_embd": [3]})
    assert [fields.flag(name, name == "none") for name in ("off", "on", "none", "absent")] == [False, True, True, False]
    assert (fields.count("zero", 5, least=0), fields.number("two", 1), fields.number("none", 1.5)) == (0, 2, 1.5)
    assert (fields.listed("none"), fields.listed("d_model"), fields.mapping("none")) == (None, [3], {})
    assert [fields.size(text) for text in (7, "7", "two", "two*two-1", "2*two+3*two")] == [7, 7, 2, 2, 20]
