"""What the command line says to a mistake, to a failure and to a program that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from bytebill import cli
from conftest import write_notebook


def bytebill(toy, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, on the toy book."""
    command = [sys.executable, "-m", "bytebill.cli", *arguments]
    environment = {**os.environ, "BYTEBILL_ROOT": str(toy.root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "01_dubling"], "There is no chapter '01_dubling'; nearest: 01_doubling."),
        (["run", "01", "-p", "profil", "full"], "There is no parameter 'profil'; nearest: profile."),
        (["run", "--device", "cudda"], "There is no device 'cudda'; nearest: cuda"),
        (["run", "--profile", "ful"], "There is no profile 'ful'; nearest: full."),
        (["run", "-p", "n"], "-p takes a name and a value"),
        (["bench", "--only", "stak"], "There is no part of the bench 'stak'; nearest: stack"),
        (["run", "²"], "There is no chapter '²'; there are: 01_doubling, 02_where, ledger."),
        (["refresh", "3"], "There is no chapter '3'; there are: 01_doubling, 02_where, ledger."),
        (["ledger", "--word", "wrnog"], "There is no word of a verdict 'wrnog'; nearest: wrong."),
        (["ledger", "--chapter", "99"], "There is no chapter '99'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(toy, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setenv("BYTEBILL_ROOT", str(toy.root))
    monkeypatch.setattr(sys, "argv", ["bytebill", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    said = capsys.readouterr()
    assert done.value.code == 2 and said.out == ""
    assert said.err.startswith(sentence) and said.err.count("\n") == 1


def test_what_the_system_refuses_and_ctrl_c_are_one_sentence(toy, monkeypatch, capsys):
    for trouble, code, sentence in (
        (OSError(28, "No space left on device", "x.csv"), 2, "x.csv: No space left on device."),
        (OSError(28, "No space left on device"), 2, "The output: No space left on device."),
        (MemoryError(), 2, "This machine has too little free memory for that; close other programs."),
        (KeyboardInterrupt(), 130, "Stopped; nothing is half written."),
    ):

        def fails(*_, trouble=trouble, **__):
            raise trouble

        monkeypatch.setattr("bytebill.chapters.run", fails)
        monkeypatch.setattr(sys, "argv", ["bytebill", "run", "01"])
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert done.value.code == code and capsys.readouterr().err.strip() == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "²"], "There is no chapter '²'"),
        (["run", "9" * 5000], "There is no chapter '999"),
        (["run", "01", "-p", "n", "9" * 5000], "n takes at most 1,000 characters, not 5,000."),
        (["run", "01", "-p", "n", "&a [*a]"], "n takes a number, as in 2, not '&a [*a]'."),
        (["run", "01", "-p", "n", ".nan"], "n takes a number, as in 2, not '.nan'."),
        (["run", "01", "-p", "n", "a: &a [x, x], b: [*a, *a]"], "n takes a number"),
    ],
)
def test_a_value_of_no_kind_is_one_sentence_and_exit_2(toy, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setenv("BYTEBILL_ROOT", str(toy.root))
    monkeypatch.setattr("sys.argv", ["bytebill", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert end.value.code == 2 and said.out == ""
    assert said.err.startswith(sentence) and said.err.count("\n") == 1


def test_dates_lists_and_powers_of_ten_reach_the_chapter(toy, monkeypatch):
    values = 'day = "2026-11-24"\nvolumes = (3e6, 7e6)\nrate = 40.0\nn = 2\nfast = False'
    write_notebook(toy.notebooks / "01_doubling.ipynb", "print(day, volumes, rate, n, fast)", parameters=values)
    monkeypatch.setenv("BYTEBILL_ROOT", str(toy.root))
    asked = {"day": "2026-01-31", "volumes": "[3e6, 8e6]", "rate": "1e2", "n": "1e3", "fast": "true"}
    given = [argument for name, value in asked.items() for argument in ("-p", name, value)]
    monkeypatch.setattr("sys.argv", ["bytebill", "run", "01", *given])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "2026-01-31 [3000000.0, 8000000.0] 100.0 1000 True" in (toy.executed / "01_doubling.ipynb").read_text()


def test_a_failing_chapter_is_exit_1_and_the_others_still_run(toy):
    write_notebook(toy.notebooks / "01_doubling.ipynb", "1 / 0")
    done = bytebill(toy, "run", "1", "2")
    assert done.returncode == 1
    assert "01_doubling failed: cell [2] raised ZeroDivisionError: division by zero" in done.stderr
    assert "02_where passed" in done.stderr and "Traceback" not in done.stderr


def test_run_takes_several_parameters_and_says_what_it_does(toy):
    done = bytebill(toy, "run", "01", "-p", "n", "4", "--profile", "full", "-p", "device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "01_doubling starts" in done.stderr and "01_doubling passed" in done.stderr
    assert "8 full cpu" in (toy.executed / "01_doubling.ipynb").read_text()


def test_the_expected_time_is_shown_once_it_is_known(toy):
    assert bytebill(toy, "refresh", "01").returncode == 0
    assert "01_doubling starts: about " in bytebill(toy, "run", "01").stderr


def test_the_ledger_for_programs_is_one_object_on_stdout(toy):
    done = bytebill(toy, "ledger", "--json")
    assert done.stderr == "" and len(json.loads(done.stdout)["claims"]) == 56


def test_the_ledger_for_people_is_a_table(toy, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # a terminal that knows no sign of ours
    done = bytebill(toy, "ledger")
    assert done.returncode == 0 and "not yet tried" in done.stdout and "C56" in done.stdout


def test_the_bench_for_programs_is_one_object_on_stdout(monkeypatch, capsys, tmp_path):
    def run(*, only, device, progress):
        progress("reading", 0, 1)
        return {"only": only, "device": device}

    fake = SimpleNamespace(run=run, overview=lambda found: f"a table of {found}", as_record=lambda found: found)
    written: dict[str, object] = {}
    monkeypatch.setattr("bytebill.records.write_record", lambda path, record: written.update({path.name: record}))
    monkeypatch.setitem(sys.modules, "bytebill.trials.bench", fake)
    monkeypatch.setattr("bytebill.trials.bench", fake, raising=False)
    cli.bench(only="read", as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out) == {"only": "read", "device": "auto"} and "reading" in said.err
    cli.bench(only=None, out=str(tmp_path / "mine.json"), as_json=False)
    assert set(written) == {"bench-read.json", "mine.json"}
    assert capsys.readouterr().out.startswith("a table of")


def test_the_book_is_staged_from_this_machine_or_rendered_as_committed(toy, monkeypatch, capsys):
    rendered = []
    monkeypatch.setenv("BYTEBILL_ROOT", str(toy.root))
    monkeypatch.setattr("bytebill.site.build.render", lambda source, root: rendered.append(source) or root / "x")
    cli.book(committed=True)
    cli.book(profile="full", committed=False)
    assert rendered == [toy.root, toy.build / "stage"]
    assert "4 full auto" in (toy.build / "stage" / "notebooks" / "01_doubling.ipynb").read_text()
    assert "open " in capsys.readouterr().out


def test_help_loads_nothing_that_is_slow(toy):
    assert bytebill(toy, "--help").returncode == 0
    loaded = "import sys, bytebill.cli; print({'torch', 'papermill', 'nbformat', 'yaml'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "set()"


def test_an_old_python_is_told_so():
    old = "import sys; sys.version_info = (3, 10, 4); sys.version = '3.10.4 (main)'; import bytebill.cli"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "The Byte Bill needs Python 3.11 or newer; this is 3.10.4. Try: make book\n"
