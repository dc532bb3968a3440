"""Chapters are run beside the committed notebooks, never in them; what stops a run is said in a sentence."""

from __future__ import annotations

import datetime
import errno
import importlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from bytebill import chapters
from bytebill.chapters import Book, execute
from bytebill.claims import ledger
from bytebill.cli import app
from bytebill.engine.kept import seal
from bytebill.engine.weights import smollm2_folder
from bytebill.errors import BytebillError
from conftest import write_notebook


def stdout(path: Path) -> str:
    """All that a stored notebook printed."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", ())]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def committed(book: Book) -> dict[str, bytes]:
    """The notebooks folder, byte for byte, whatever files it has."""
    return {path.name: path.read_bytes() for path in book.notebooks.iterdir()}


def test_the_book_is_run_in_order_and_the_ledger_last(toy):
    assert [path.stem for path in chapters.in_order(toy)] == ["01_doubling", "02_where", "ledger"]


@pytest.mark.parametrize("name", ["1", "01", "01_doubling", "notebooks/01_doubling.ipynb"])
def test_a_chapter_has_several_names(toy, name):
    assert [path.stem for path in chapters.named([name], book=toy)] == ["01_doubling"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"names": ["01_dubling"]}, "There is no chapter '01_dubling'; nearest: 01_doubling."),
        ({"names": ["7"]}, "There is no chapter '7'; there are: 01_doubling, 02_where, ledger."),
        ({"names": ["01"], "parameters": {"m": 1}}, "There is no parameter 'm'; there are: device, n, profile."),
        ({"parameters": {"profil": 1}}, "There is no parameter 'profil'; nearest: profile."),
        ({"device": "cdua"}, "There is no device 'cdua'; nearest: cuda"),
        ({"profile": "fast"}, "There is no profile 'fast'; there are: quick, full."),
    ],
)
def test_an_unknown_name_is_answered_before_anything_runs(toy, asked, sentence):
    with pytest.raises(BytebillError) as caught:
        chapters.run(**asked, book=toy)
    assert str(caught.value).startswith(sentence)
    assert not toy.build.exists()


def test_parameters_take_effect_and_nothing_committed_changes(toy):
    before = committed(toy)
    outcomes = list(chapters.run(book=toy, profile="full", device="cpu", parameters={"n": 21}))
    assert [(outcome.name, outcome.error) for outcome in outcomes] == [
        ("01_doubling", None),
        ("02_where", None),
        ("ledger", None),
    ]
    assert stdout(toy.executed / "01_doubling.ipynb") == "42 full cpu\n"
    assert stdout(toy.executed / "ledger.ipynb") == f"{toy.executed}\n"
    assert committed(toy) == before


def test_pins_are_strict_unless_a_parameter_was_changed(toy):
    list(chapters.run(["02"], book=toy, profile="full", device="cpu"))
    assert stdout(toy.executed / "02_where.ipynb") == "strict\n"
    list(chapters.run(["02"], book=toy, parameters={"m": 2}))
    assert stdout(toy.executed / "02_where.ipynb") == "lenient\n"


def test_a_failing_cell_is_named_and_an_older_copy_does_not_pass_for_it(toy):
    assert [outcome.error for outcome in chapters.run(["01"], book=toy)] == [None]
    write_notebook(toy.notebooks / "01_doubling.ipynb", "raise ValueError('no such\\nluck')", "print('never')")
    (outcome,) = chapters.run(["01"], book=toy)
    assert "cell [2] raised ValueError: no such; as far as it came:" in str(outcome.error)
    assert not (toy.executed / "01_doubling.ipynb").exists()
    with pytest.raises(BytebillError, match="01_doubling has not been run"):
        chapters.stage(toy)


def test_a_dead_kernel_is_one_sentence(toy):
    write_notebook(toy.notebooks / "01_doubling.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    before = committed(toy)
    (outcome,) = chapters.run(["01"], book=toy)
    assert re.search(r"its kernel died, .* \(\d+\.\d GB are free here now\)", str(outcome.error))
    assert committed(toy) == before


def test_a_refresh_keeps_how_much_memory_a_chapter_took_and_a_dead_kernel_is_told_it(toy):
    path = write_notebook(
        toy.notebooks / "01_doubling.ipynb", "import bytebill.records.notes\nheld = b'x' * 300_000_000"
    )
    assert [outcome.error for outcome in chapters.refresh(["01"], book=toy)] == [None]
    notebook = nbformat.read(path, as_version=4)
    assert 300 < notebook.metadata["bytebill"]["peak_mb"] < 600
    notebook.cells[-1].source = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    nbformat.write(notebook, path)
    (outcome,) = chapters.run(["01"], book=toy)
    assert re.search(r"\(a run of ours took 0\.\d GB, \d+\.\d GB are free", str(outcome.error))


def test_a_full_disk_is_one_sentence(toy, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(execute.os, "replace", full)
    with pytest.raises(BytebillError, match="the disk is full"):
        list(chapters.run(["01"], book=toy))


def test_refresh_replaces_only_when_all_passed(toy):
    before = committed(toy)
    write_notebook(toy.notebooks / "02_where.ipynb", "1 / 0")
    broken = committed(toy)
    assert [bool(outcome.error) for outcome in chapters.refresh(book=toy)] == [False, True]
    assert committed(toy) == broken
    (toy.notebooks / "02_where.ipynb").write_bytes(before["02_where.ipynb"])
    assert not any(outcome.error for outcome in chapters.refresh(book=toy))
    after = committed(toy)
    assert set(after) == set(before) and all(after[name] != before[name] for name in before)


def test_a_refreshed_notebook_is_tidy_and_a_second_refresh_changes_nothing(toy, monkeypatch):
    running = importlib.import_module("bytebill.chapters.run")  # `chapters.run` is its function
    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=itertools.count().__next__))  # a run takes 1 s
    path = toy.notebooks / "01_doubling.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].metadata["tags"] = ["measured"]
    notebook.cells[
        2
    ].source += "\nfrom bytebill import data\nassert data.rows('models') and data.measured('two-core-epyc')"
    nbformat.write(notebook, path)
    list(chapters.refresh(["01"], book=toy))
    first, notebook = path.read_bytes(), nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"bytebill", "kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert chapters.expected_s(path) == notebook.metadata.bytebill.run_s == 1
    assert notebook.metadata.bytebill.reads == ["models", "two-core-epyc"]
    assert notebook.metadata.bytebill.outputs_of == datetime.date.today().isoformat()
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2]
    assert notebook.cells[2].metadata == {"tags": ["measured", "nbval-ignore-output"]}
    list(chapters.refresh(["01"], book=toy))
    assert path.read_bytes() == first


def test_two_runs_at_once_keep_apart_and_this_process_keeps_its_environment(toy):
    slow = "import time\ntime.sleep(2)"
    write_notebook(toy.notebooks / "01_doubling.ipynb", "print(n)", slow, "print('end')")
    before = dict(os.environ)
    command = [sys.executable, "-c", "from bytebill import chapters; print(*list(chapters.run(['01'])))"]
    other = subprocess.Popen(command, env={**os.environ, "BYTEBILL_ROOT": str(toy.root)}, stdout=subprocess.PIPE)
    (outcome,) = chapters.run(["01"], book=toy)
    assert outcome.error is None and dict(os.environ) == before
    assert b"error=None" in other.communicate()[0]
    assert stdout(toy.executed / "01_doubling.ipynb") == "2\nend\n"


def test_a_disk_that_fills_during_a_refresh_leaves_every_notebook_whole(toy, monkeypatch):
    before, write = committed(toy), Path.write_text

    def fills(path, text, *args, **kwargs):
        if path.name.startswith(".02"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", fills)
    with pytest.raises(BytebillError, match=r"the disk is full\); 'git status' shows how far"):
        list(chapters.refresh(book=toy))
    assert committed(toy) == before


@pytest.mark.parametrize("command", ["run", "refresh"])
def test_a_run_killed_half_way_leaves_the_committed_notebooks_alone(toy, tmp_path, command):
    flag = tmp_path / "half-way"
    sleeper = f"from pathlib import Path\nPath({str(flag)!r}).touch()\nimport time; time.sleep(60)"
    write_notebook(toy.notebooks / "02_where.ipynb", sleeper)
    before = committed(toy)
    script = f"from bytebill import chapters; list(chapters.{command}())"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "BYTEBILL_ROOT": str(toy.root)}, start_new_session=True
    )
    while not flag.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert committed(toy) == before
    assert not (toy.executed / "02_where.ipynb").exists()


def test_stage_lays_out_the_executed_book(toy):
    list(chapters.run(book=toy))
    stage = chapters.stage(toy)
    names = sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file())
    notebooks = [f"notebooks/{stem}.ipynb" for stem in ("01_doubling", "02_where", "ledger")]
    assert names == ["_config.yml", "_toc.yml", "book/index.md", *notebooks]
    assert stdout(stage / "notebooks" / "01_doubling.ipynb") == "4 quick auto\n"


def test_a_full_disk_while_staging_is_one_sentence(toy, monkeypatch):
    list(chapters.run(book=toy))

    def full(*_, **__):
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(BytebillError, match="could not be written"):
        chapters.stage(toy)


def test_verdicts_come_from_the_folder_and_otherwise_from_what_is_committed(toy):
    source = """from bytebill.claims import MIME
word = "safe to repeat" if n == 2 else "wrong"
display({MIME: {"id": "C01", "word": word}, "text/plain": word}, raw=True)"""
    write_notebook(toy.notebooks / "01_doubling.ipynb", source)
    list(chapters.refresh(["01"], book=toy))
    list(chapters.run(["01"], book=toy, parameters={"n": 3}))
    assert [entry.word for entry in ledger.read(toy.executed, book=toy)][:2] == ["wrong", "no verdict"]
    assert [entry.word for entry in ledger.read(toy.root / "nowhere", book=toy)][:2] == ["safe to repeat", "no verdict"]


def test_without_a_book_the_sentence_says_where_to_look(tmp_path, monkeypatch):
    monkeypatch.setenv("BYTEBILL_ROOT", str(tmp_path))
    with pytest.raises(BytebillError, match=r"no _toc\.yml"):
        chapters.this_book()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"cells": [', "\x00\x01", '{"cells": 3}', '{"cells": [1]}', "[" * 100_000]
)
def test_a_damaged_notebook_is_one_sentence(content, toy):
    (toy.notebooks / "01_doubling.ipynb").write_text(content)
    for use in (lambda: list(chapters.run(["01"], book=toy)), lambda: ledger.read(toy.notebooks, book=toy)):
        with pytest.raises(BytebillError, match="is damaged and no notebook; `git checkout` brings it back"):
            use()


def test_a_damaged_copy_is_made_again_and_not_checked_out(toy):
    toy.executed.mkdir(parents=True)
    (toy.executed / "01_doubling.ipynb").write_text("{")
    with pytest.raises(BytebillError, match="no notebook; delete it, and a run makes it again"):
        ledger.read(toy.executed, book=toy)


def test_a_notebook_of_a_newer_format_is_one_sentence(toy):
    path = toy.notebooks / "01_doubling.ipynb"
    path.write_text(path.read_text().replace('"nbformat": 4', '"nbformat": 5'))
    for use in (lambda: list(chapters.run(["01"], book=toy)), lambda: ledger.read(toy.notebooks, book=toy)):
        with pytest.raises(BytebillError, match="is a notebook of format 5; this version reads format 4"):
            use()


@pytest.mark.parametrize("trouble", ["MemoryError()", "RuntimeError('unable to mmap')"])
def test_want_of_memory_is_named(toy, trouble):
    write_notebook(toy.notebooks / "02_where.ipynb", f"raise {trouble}", parameters="m = 1")
    (outcome,) = chapters.run(["02"], book=toy)
    assert "too little memory was free" in str(outcome.error)


def test_a_kernel_that_never_answers_is_one_sentence(toy, monkeypatch):
    def never(path, growing, **_):
        Path(growing).write_text("as papermill leaves it")
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr(papermill, "execute_notebook", never)
    (outcome,) = chapters.run(["02"], book=toy)
    assert str(outcome.error).startswith("Kernel didn't respond in 60 seconds; kernels are spoken to over 127.0.0.1")


def unmeasured(path: Path) -> list[str]:
    """The outputs of a notebook that the same parameters give on every machine."""
    cells = nbformat.read(path, as_version=4).cells
    kept = (
        cell for cell in cells if not {"measured", "filled", "injected-parameters"} & set(cell.metadata.get("tags", ()))
    )
    return [str(output) for cell in kept for output in cell.get("outputs", ())]


FORM_OF_A_CASE = str(Path(__file__).with_name("case.yaml"))
# One other sensible value of every parameter; a set is one run.
OTHERS = {
    "01": [{"model_id": "qwen3-30b-a3b", "accelerator_id": "mi300x", "usd_per_gpu_hour": 4, "context_len": 0}],
    "02": [
        {
            "model_id": "deepseek-v3",
            "accelerator_id": "h200-sxm",
            "program_id": "sglang",
            "context_len": 1000,
            "usd_per_gpu_hour": 3,
        }
    ],
    "03": [{"model_id": "llama-3-8b", "accelerator_id": "a100-sxm-80", "context_len": 1, "usd_per_gpu_hour": 1.2}],
    "04": [{"model_id": "llama-2-13b", "accelerator_id": "h100-sxm", "cap_tokens": 512, "usd_per_gpu_hour": 2.5}],
    "05": [{"n_slots": 4000, "max_len_tokens": 1500, "block_size_tokens": 7, "usd_per_gpu_hour": 3}],
    "06": [
        {
            "model_id": "mistral-7b",
            "accelerator_id": "h200-sxm",
            "program": "vllm",
            "trace_id": "azure-code",
            "benchmark": "llama2-70b",
            "scenario": "server",
            "usd_per_hour": 3.5,
            "stated_tokens_per_s": 1000,
            "n_fleet": 7,
        }
    ],
    "07": [
        {
            "usd_per_gpu_hour": 1.99,
            "tokens_per_s": 1500,
            "several_million": [2e6, 5e6],
            "as_of": "2026-09-30",
            "program": "trtllm",
            "staff": 1.5,
            "usd_per_person_year": 120_000,
        }
    ],
    "08": [
        {
            "model_id": "qwen3-30b-a3b",
            "accelerator_id": "h200-sxm",
            "n_devices": 1,
            "n_input_tokens": 8192,
            "n_output_tokens": 0,
            "measured_len": 64,
        }
    ],
    "09": [
        {
            "model_id": "llama-3-8b",
            "accelerator_id": "a100-sxm-80",
            "n_devices": 1,
            "n_users": 16,
            "n_input_tokens": 600,
            "ttft_limit_s": 1.0,
            "itl_limit_s": 0.1,
            "usd_per_gpu_hour": 1.99,
        }
    ],
    "10": [{"usd_per_gpu_hour": 1.3, "tokens_per_s_per_user": 33}],
    "11": [{"model_id": "llama-3-8b", "context_len": 100, "group": 48, "n_rows": 2}],
    "12": [
        {
            "of_dear": 0.8,
            "n_rows": 12,
            "n_alike": 3,
            "n_first_tokens": 0,
            "n_new_tokens": 100,
            "n_output_tokens": 50,
            "n_turns": 3,
        }
    ],
    "13": [  # nothing to find, and a host without a price for it
        {"api_model": "Gemini 1.5 Flash", "n_prompt_tokens": 0, "n_documents": 0, "n_quoted": 0, "agents_per_s": 0}
    ],
    "14": [{"n_draft_tokens": 5, "acceptance_rate": 1, "n_new_tokens": 0}],
    "15": [{"deployment_id": "rag-8b-a100", "more": 3, "n_users": 1, "prompt_tokens": 1}],
    "16": [{"usd_per_h100_hour": 2.0, "usd_per_h200_hour": 3.0, "context_len": 512, "skew": 0.0}],
    "17": [{"accelerator_id": "a100-sxm-80", "context_len": 1000, "measured_len": 300, "usd_per_gpu_hour": 1.5}],
    "18": [
        {
            "dense_id": "chat-70b-2xh200",
            "mixture_id": "public-120b-b200",
            "trace_id": "azure-code",
            "workload_id": "reasoning",
            "n_requests": 40,
        }
    ],
    "19": [
        {
            "saved_today": 0.2,
            "term_months": 18,
            "by_month": 11,
            "wait_months": 6,
            "bill_usd": 5000,
            "level": 0.5,
            "gpu_price_usd": 20_000,
            "host_usd": 0,
            "running_usd_per_month": 0,
            "seed": 7,
        }
    ],
    "20": [  # whole deployments unlike the default: a small service, a mixture, an agent, a batch job, a form
        {
            "model_id": "qwen3-32b",
            "precision_name": "fp8",
            "accelerator_id": "l40s",
            "n_devices": 2,
            "requests_per_s": 0.2,
            "peak_over_mean": 8.0,
            "ttft_slo_s": 3.0,
            "tpot_slo_s": 0.1,
            "usd_per_gpu_hour": 1.09,
            "api_model": "no such model",
            "n_drawn": 50,
        },
        {"model_id": "openai/gpt-oss-120b", "precision_name": "auto", "n_devices": 1, "n_drawn": 50},
        {
            "n_input_tokens": 20_000,
            "n_output_tokens": 500,
            "hit_rate": 0.9,
            "ttft_slo_s": 6.0,
            "tpot_slo_s": 0.1,
            "n_drawn": 50,
        },
        {
            "ttft_slo_s": float("inf"),
            "tpot_slo_s": float("inf"),
            "program": "trtllm",
            "peak_over_mean": 1.0,
            "n_drawn": 50,
        },
        {"case_file": FORM_OF_A_CASE, "n_drawn": 50},
    ],
    "twenty_numbers": [
        {"model_id": "llama-3-8b", "accelerator_id": "l4", "usd_per_gpu_hour": 0.5, "context_len": 4096}
    ],
    "what_fits": [{"model_id": "llama-3-8b", "accelerator_id": "l40s", "n_devices": 1, "context_len": 5000}],
    "two_clocks": [{}],
    "definitions": [{"ttft_s": 0.5, "tpot_s": 0.03, "n_output_tokens": 200, "rate_per_s": 8.0}],
}
RUNS = [(name, others) for name, sets in OTHERS.items() for others in sets if others]


@pytest.fixture(scope="session")
def short_smollm2(tmp_path_factory):
    """A cache with the first six of SmolLM2's 30 layers: it says nothing of sense, in a fifth of the time."""
    cache, whole = tmp_path_factory.mktemp("cache"), smollm2_folder()
    short = cache / whole.parent.name / whole.name
    short.mkdir(parents=True)
    config = json.loads((whole / "config.json").read_text()) | {"num_hidden_layers": 6}
    (short / "config.json").write_text(json.dumps(config))
    shutil.copy(whole / "tokenizer.json", short)
    tensors = load_file(whole / "model.safetensors")
    left_out = re.compile(r"model\.layers\.([6-9]|\d\d)\.")
    save_file({name: tensors[name] for name in tensors if not left_out.match(name)}, short / "model.safetensors")
    seal(short)
    kernels = whole.parent / "kernels"
    kernels.mkdir(exist_ok=True)
    (short.parent / "kernels").symlink_to(kernels)
    return cache


@pytest.mark.slow
@pytest.mark.parametrize(("name", "others"), RUNS, ids=[f"{name}-{next(iter(others))}" for name, others in RUNS])
def test_a_chapter_takes_every_parameter_changed(name, others, short_smollm2, tmp_path, monkeypatch):
    """It runs to its end, and what it derives is another result; what it measures is thrown away."""
    monkeypatch.setenv("BYTEBILL_REPEATS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(short_smollm2))
    (path,) = chapters.named([name], book=chapters.this_book())
    (outcome,) = chapters.run([name], parameters=others, into=tmp_path)
    assert outcome.error is None and unmeasured(tmp_path / path.name) != unmeasured(path)


def test_the_command_prints_the_page_of_the_chapter(tmp_path):
    """The form that `bytebill price` hands out is chapter 20's default."""
    form = tmp_path / "form.yaml"
    form.write_text(CliRunner().invoke(app, ["price"]).stdout + "name: Chat assistant\n", encoding="utf-8")
    said = CliRunner().invoke(app, ["price", "--case", str(form)]).stdout.strip().splitlines()
    (path,) = chapters.named(["20"], book=chapters.this_book())
    (page,) = (output for output in unmeasured(path) if "### Chat assistant" in output)
    assert len(said) > 10 and all(line in page for line in said)


@pytest.mark.parametrize(
    "path",
    [path for path in chapters.in_order(chapters.this_book()) if path.stem != "ledger"],
    ids=lambda path: path.stem,
)
def test_every_parameter_of_every_chapter_is_tried(path):
    tried = next(sets for name, sets in OTHERS.items() if path.stem == name or path.stem.startswith(f"{name}_"))
    assert {name for others in tried for name in others} | {"profile", "device"} == set(
        papermill.inspect_notebook(str(path))
    )
