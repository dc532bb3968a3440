"""Records of runs: written whole, read in every shape, refused where they cannot be true, and held side by side."""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from bytebill import chapters, data, records
from bytebill.claims import CLAIMS, run_record
from bytebill.claims.on_machines import MeasuredPart, measured_parts
from bytebill.claims.rule import MIME, judge, reach
from bytebill.claims.rule import found as found_for
from bytebill.cli import app
from bytebill.errors import BytebillError
from bytebill.records import machines, notes, origin, plausible, schema
from bytebill.records.machines import Machine
from bytebill.records.reading import Record, of_schema
from bytebill.site.aids import machines_figure, machines_page
from conftest import refuses, write_notebook

COMMITTED = sorted((data.REPOSITORY / "data" / "measured").rglob("*.json"))
CHAPTERS = sorted((data.REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
TODAY = datetime.datetime.now(datetime.UTC).date()
STEP = {
    "model": "smollm2",
    "dtype": "bf16",
    "batch": 4,
    "context_len": 256,
    "step_s": 0.02,
    "predicted_s": 0.016,
    "weight_bytes": 269_030_016,
    "tokens_per_s": 200.0,
    "samples_s": [0.019, 0.02, 0.024],
}
PART = {
    "key": "shared",
    "kind": "direction",
    "text": "step of eight over one",
    "how": "measured",
    "found": 1.4,
    "low": 1.3,
    "high": 1.5,
    "passed": True,
}
GOOD: dict[str, Any] = {
    "schema": schema.SCHEMA_NAME,
    "kind": "bench",
    "provenance": {
        "device": "AMD EPYC",
        "device_kind": "cpu",
        "threads": 2,
        "date": TODAY.isoformat(),
        "command": "bytebill bench",
        "bytebill": "0.1.0",
        "python": "3.11.7",
        "torch": "2.13.0+cpu",
        "commit": None,
    },
    "parameters": {"parts": ["smollm2"]},
    "ceilings": {"read_bytes_per_s": 30e9, "peak_flops_per_s": {"fp32": 2e11, "bf16": 4e11}},
    "steps": [STEP],
    "verdicts": [{"id": "C10", "word": "right idea, wrong number", "parts": [PART]}],
}


def changed(**at: Any) -> dict[str, Any]:
    """A good record but for what stands at some paths, as `steps__0__step_s`."""
    found = copy.deepcopy(GOOD)
    for path, value in at.items():
        *way, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        inside: Any = found
        for key in way:
            inside = inside[key]
        inside[last] = value
    return found


def stored(folder: Path, found: Any, name: str = "mine.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found if isinstance(found, str) else json.dumps(found), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_record_may_be_shown(path: Path) -> None:
    """What CI holds a contribution to: schema, or a shape of before it, and nothing faster than physics."""
    found = records.read_record(path, old=True)
    assert list(records.doubts(found)) == []
    assert found.device and len(str(found.provenance["date"])) == 10


def test_a_new_record_is_of_the_schema_and_only_known_files_are_older() -> None:
    """The shapes before the schema are read for the sake of these, and none is added."""
    older = {path.stem for path in COMMITTED if json.loads(path.read_text("utf-8")).get("schema") != schema.SCHEMA_NAME}
    kit = {"attention", "ceilings", "decode", "engine", "experts", "experts-grouped", "facts", "gemm", "launch"}
    kit |= {"llama-3-8b", "mixed", "paging", "prefill", "quantized", "seventy", "smollm2", "utilization"}
    kit |= {"bench-engine", "bench-smollm2", "bench-stack", "b-ceilings", "b-decode", "b-launch"}
    first = {"two-core-epyc", "two-core-epyc-quality", "two-core-epyc-neighbours"}
    assert older <= {f"h200-{part}" for part in kit} | first


def test_a_record_is_written_and_read_back(tmp_path: Path) -> None:
    path = records.write_record(tmp_path / "deep" / "mine.json", GOOD)
    found = records.checked(path)
    (step,) = found.steps
    assert (found.name, found.kind, found.device, step.over_predicted) == ("mine", "bench", "AMD EPYC", 1.25)
    assert found.verdicts[0]["id"] == "C10" and [each.name for each in path.parent.iterdir()] == ["mine.json"]


def test_what_is_no_number_is_written_as_null_and_half_a_record_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = records.write_record(tmp_path / "a.json", GOOD | {"found": {"peer": math.nan, "list": (math.inf, 1)}})
    assert json.loads(path.read_text())["found"] == {"peer": None, "list": [None, 1]}
    before = path.read_bytes()
    refuses(lambda: records.write_record(path, changed(steps__0__step_s=-1.0)), "The record is not written, steps")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refuses(
        lambda: records.write_record(path, GOOD | {"kind": "run"}),
        "could not be written .the disk is full.; it is as it was",
    )
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["a.json"]


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: "", "cannot be read"),
    "no JSON": (lambda: "{'a': 1}", "cannot be read"),
    "a list": (lambda: "[]", "holds a list, not a record"),
    "deep": (lambda: "[" * 100_000, "nested too deep"),
    "deep and closed": (lambda: '{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
    "deeper than a record": (lambda: json.dumps(changed(parameters__x=json.loads("[" * 30 + "]" * 30))), "too deep"),
    "huge": (lambda: json.dumps(changed(provenance__command="x" * 5_000_000)), "has 5,000,.* bytes; a record has"),
    "NaN": (lambda: json.dumps(changed(steps__0__step_s=math.nan)), "NaN is no number"),
    "infinity": (lambda: json.dumps(changed(steps__0__step_s=math.inf)), "Infinity is no number"),
    "too large": (lambda: json.dumps(GOOD).replace("0.016", "1e999"), "1e999 is no number"),
    "too long": (lambda: json.dumps(GOOD).replace("0.016", "9" * 400), "is no number of anything"),
    "no text": (lambda: "\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + "\0", "cannot be read"),
    "text for a number": (lambda: changed(steps__0__step_s="fast"), "steps.0..step_s: 'fast' is not of type"),
    "a list for a name": (lambda: changed(provenance__device=["a"]), "provenance.device: "),
    "HTML in a name": (lambda: changed(provenance__device="<b>H100</b>"), "is not allowed here"),
    "a line in a name": (lambda: changed(steps__0__model="a\nb"), "is not allowed here"),
    "a line at its end": (lambda: changed(steps__0__dtype="bf16\n"), "is not allowed here"),
    "a terminal's escape": (lambda: changed(verdicts__0__parts__0__text="\x1b[2J"), "is not allowed here"),
    "HTML in a key": (lambda: changed(ceilings__peak_flops_per_s={"<i>": 1.0}), "is no record"),
    "no provenance": (lambda: {key: GOOD[key] for key in GOOD if key != "provenance"}, "'provenance' is a required"),
    "another kind": (lambda: changed(kind="dream"), "kind: 'dream' is not one of"),
    "a later schema": (
        lambda: changed(schema="bytebill-record/2"),
        "it is of the schema bytebill-record/2, and this book knows bytebill-record/1: update the book",
    ),
    "no batch": (lambda: changed(steps__0__batch=0), "steps.0..batch: 0 is less than"),
    "no claim": (lambda: changed(verdicts__0__id="C1x"), "is no record"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_record_ends_in_one_sentence(name: str, tmp_path: Path) -> None:
    made, sentence = HOSTILE[name]
    path = stored(tmp_path, made())
    refuses(lambda: records.checked(path), sentence)


IMPLAUSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "faster than it reads": (
        changed(steps__0__step_s=0.007, steps__0__samples_s=[0.007], steps__0__tokens_per_s=571.4),
        "smollm2 in bf16 at batch 4: it reads 38 GB/s, over 1.25 times the 30 GB/s that this machine reads",
    ),
    "faster than it multiplies": (
        changed(steps__0__batch=64, steps__0__tokens_per_s=3200.0, ceilings__peak_flops_per_s={"bf16": 5e11}),
        "at batch 64: it multiplies faster than 1.25 times the highest peak of its own record, 5e.11 FLOP/s",
    ),
    "another median": (changed(steps__0__samples_s=[0.01, 0.01, 0.02]), "the median of its samples is 0.01 s"),
    "no time": (changed(steps__0__samples_s=[0.0, 0.02, 0.03]), "a time of zero or less"),
    "other tokens": (changed(steps__0__tokens_per_s=300.0), "300 tokens/s are not its batch over its time"),
    "a ceiling of zero": (changed(ceilings__peak_flops_per_s={"fp32": 0.0}), "a ceiling of zero or less"),
    "a CPU that reads too fast": (changed(ceilings__read_bytes_per_s=4e12), "above what 2 threads can issue"),
    "a CPU that multiplies too fast": (
        changed(ceilings__peak_flops_per_s={"fp32": 1e12}),
        "its ceiling of fp32, 1e.12 FLOP/s, is above what 2 threads can issue at 7.5 GHz",
    ),
    "a GPU above its datasheet": (
        changed(
            provenance__device="NVIDIA H100 80GB HBM3",
            provenance__device_kind="cuda",
            ceilings__read_bytes_per_s=4.2e12,
        ),
        "its ceiling of memory, 4.2e.12 B/s, is above the datasheet of the H100 SXM5 or H100 PCIe, 3.35e.12 B/s",
    ),
    "a sparse peak": (
        changed(
            provenance__device="NVIDIA H200",
            provenance__device_kind="cuda",
            ceilings__peak_flops_per_s={"bf16": 1.6e15},
        ),
        "its ceiling of bf16, 1.6e.15 FLOP/s, is above the datasheet of the H200 SXM",
    ),
    "tomorrow's week": (changed(provenance__date=(TODAY + datetime.timedelta(days=7)).isoformat()), "has not come yet"),
    "no day": (changed(provenance__date="2026-02-31"), "'2026-02-31' is no day"),
    "no device": (changed(provenance__device="  "), "it names no device"),
    "no threads": (changed(provenance__threads=None), "how many threads ran"),
}


@pytest.mark.parametrize("name", IMPLAUSIBLE)
def test_what_cannot_be_true_is_not_shown(name: str, tmp_path: Path) -> None:
    found, sentence = IMPLAUSIBLE[name]
    path = stored(tmp_path, found)
    records.read_record(path)  # the schema alone does not see it
    refuses(lambda: records.checked(path), f"mine.json is not shown: .*{sentence}")


def test_a_record_at_its_limits_is_shown() -> None:
    """The checks leave room for what machines do: a step at 1.25 times the read, a peak as on the label."""
    at_read = GOOD["steps"][0]["weight_bytes"] / (1.24 * 30e9)
    step = {"steps__0__step_s": at_read, "steps__0__samples_s": [at_read], "steps__0__tokens_per_s": 4 / at_read}
    assert list(records.doubts(of_schema(changed(**step), name="a"))) == []
    sheet = {"provenance__device": "NVIDIA H200", "provenance__device_kind": "cuda"}
    full = changed(**sheet, ceilings__read_bytes_per_s=4.8e12, ceilings__peak_flops_per_s={"bf16": 989e12})
    assert list(records.doubts(of_schema(full, name="a"))) == []


@pytest.mark.parametrize(
    ("device", "ids"),
    [
        ("NVIDIA A100-SXM4-80GB", {"a100-sxm-40", "a100-sxm-80", "a100-pcie-80"}),
        ("NVIDIA GeForce RTX 4090", {"rtx-4090"}),
        ("NVIDIA L4", {"l4"}),
        ("NVIDIA GH200 480GB", set()),
        ("Intel(R) Xeon(R) Processor", set()),
    ],
)
def test_a_drivers_name_finds_its_datasheets(device: str, ids: set[str]) -> None:
    assert {each.id for each in plausible.datasheets(device)} == ids


def test_the_older_shapes_say_the_same_of_their_steps() -> None:
    measured = {path.stem: records.read_record(path, old=True) for path in COMMITTED if path.parent.name == "measured"}
    decode, bench, kit = (measured[name] for name in ("two-core-epyc", "h200-bench-smollm2", "h200-decode"))
    assert [(s.model, s.dtype, s.batch, s.context_len) for s in decode.steps][:2] == [
        ("smollm2", "fp32", 1, 256),
        ("smollm2", "fp32", 8, 256),
    ]
    assert {step.model for step in bench.steps} == {"smollm2"} and bench.warnings
    assert kit.kind == "kit" and len(kit.steps) == 58 and {step.dtype for step in kit.steps} == {"bf16"}
    assert all(step.samples_s for step in kit.steps)
    with pytest.raises(BytebillError, match=r"two-core-epyc\.json is no record: "):
        records.read_record(next(path for path in COMMITTED if path.stem == "two-core-epyc"))


def test_machines_are_told_apart_by_what_their_files_are_called() -> None:
    there = {machine.name: machine for machine in records.machines_on_record()}
    assert {"two-core-epyc", "h200", "h200-b"} <= set(there)
    assert {record.name for record in there["h200-b"].records} == {"h200-b-ceilings", "h200-b-decode", "h200-b-launch"}
    assert [bool(record.warnings) for record in there["h200"].records].index(True) >= len(there["h200"].records) - 3
    assert there["two-core-epyc"].first.name == "two-core-epyc"
    assert there["two-core-zen3"].first.kind == "bench"  # and not the first chapter that measured in passing


def test_a_folder_in_the_data_is_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (data.REPOSITORY / "data").glob("accelerators.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("BYTEBILL_DATA", str(tmp_path))
    stored(tmp_path / "measured" / "my-box", GOOD, "bench.json")
    stored(tmp_path / "measured" / "my-box", GOOD | {"kind": "run", "steps": []}, "03_x.json")
    (machine,) = records.machines_on_record()
    assert machine.name == "my-box" and len(machine.records) == 2 and list(machine.verdicts) == ["C10"]
    assert records.find_machine("my-box") == machine
    stored(tmp_path / "measured" / "my-box", changed(provenance__device=""), "bad.json")
    refuses(records.machines_on_record, "bad.json is no record: provenance.device")


def machine(name: str, **at: Any) -> Machine:
    return Machine(name=name, records=(of_schema(changed(**at), name=name),))


def test_side_by_side_has_common_steps_and_claims_that_differ() -> None:
    turned = PART | {"found": 4.2, "passed": False}
    ours, theirs = machine("a"), machine("b", steps__0__step_s=0.024, verdicts__0__parts=[turned])
    found = records.side_by_side([ours, theirs])
    (step,) = found["steps"]
    assert step["step_s"] == {"a": 0.02, "b": 0.024} and step["over_predicted"] == {"a": 1.25, "b": 1.5}
    (row,) = found["verdicts"]
    assert row["id"] == "C10" and row["parts"][0]["found"] == {"a": 1.4, "b": 4.2}
    text = records.as_tables(found)
    assert "a 1.4 ✓, b 4.2 ✗" in text and "30.0 GB/s" in text and "1.25" in text
    alike = records.side_by_side([ours, machine("b")])
    assert alike["verdicts"] == [] and "All 1 claims that two of them have judged come out alike" in records.as_tables(
        alike
    )
    alone = machine("c", steps=[], verdicts=[])
    assert "No two of them have judged the same claim" in records.as_tables(records.side_by_side([ours, alone]))


def test_another_word_is_a_difference_even_where_no_part_turns() -> None:
    found = records.side_by_side([machine("a"), machine("b", verdicts__0__word="wrong")])
    assert found["verdicts"] == [{"id": "C10", "word": {"a": GOOD["verdicts"][0]["word"], "b": "wrong"}, "parts": []}]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["two-core-epyc"], "One machine cannot be compared"),
        (["two-core-epyc", "h20"], "There is no machine on record 'h20'; nearest: h200"),
        (["two-core-epyc", "nowhere.json"], "There is no file nowhere.json"),
        (["two-core-epyc", "/etc/passwd"], "passwd cannot be read"),
        (["two-core-epyc", "x" * 5000], "'xxx"),
        (["two-core-epyc", "two-core-epyc"], "Two of these have one name"),
        (["two-core-epyc", "../measured/h200"], "There is no machine on record '../measured/h200'"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_one_sentence_and_exit_2(
    names: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bytebill import cli

    monkeypatch.setattr("sys.argv", ["bytebill", "compare", *names])
    with pytest.raises(SystemExit) as done:
        cli.main()
    said = capsys.readouterr()
    assert (done.value.code, said.out) == (2, "") and said.err.startswith(sentence) and said.err.count("\n") == 1


def test_machines_are_compared_on_the_command_line(tmp_path: Path) -> None:
    mine = stored(tmp_path, GOOD)
    done = CliRunner().invoke(app, ["compare", str(mine), "two-core-epyc", "committed", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [each["name"] for each in found["machines"]] == ["mine", "two-core-epyc", "committed"]
    assert found["judged"] == 1  # C10, by `mine` and by the committed chapters
    told = CliRunner().invoke(app, ["compare", "two-core-epyc", "h200"])
    assert told.exit_code == 0 and "smollm2 bf16" in told.stdout and "4.40 TB/s" in told.stdout


def test_a_run_leaves_a_record_of_each_chapter(toy: chapters.Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters out of the notebook, the device and the ceilings as its kernel noted them, verdicts as stored."""
    verdict = {"id": "C10", "word": "wrong", "parts": [PART | {"flips": None}, PART | {"kind": "outside"}]}
    write_notebook(
        toy.notebooks / "01_doubling.ipynb",
        "from bytebill.records.notes import note\n"
        "note(device={'name': 'Toy', 'kind': 'cpu', 'n_threads': 3}, read_bytes_per_s=1e9)\n"
        "note(read_bytes_per_s=2e9, peak_flops_per_s={'fp32': 3e9})",
        f"from IPython.display import display\ndisplay({{'{MIME}': {verdict!r}}}, raw=True)",
    )
    monkeypatch.setenv("BYTEBILL_ROOT", str(toy.root))
    done = CliRunner().invoke(app, ["run", "01", "-p", "n=5"])
    assert done.exit_code == 0, done.output
    found = records.checked(toy.records / "01_doubling.json")
    assert (found.kind, found.device, found.provenance["threads"]) == ("run", "Toy", 3)
    assert found.parameters == {"n": 5, "profile": "quick", "device": "auto"}
    assert (found.read_bytes_per_s, found.peak_flops_per_s) == (2e9, {"fp32": 3e9})
    assert [part["key"] for part in found.verdicts[0]["parts"]] == ["shared"]  # what counts
    assert sorted(path.name for path in toy.records.iterdir()) == ["01_doubling.json"]


def test_a_chapter_that_measures_nothing_still_says_where_it_ran(toy: chapters.Book) -> None:
    (outcome,) = chapters.run(["02"], book=toy)
    path = run_record.write_run(outcome.name, book=toy, run_s=outcome.run_s)
    found = records.checked(path)
    assert found.device == origin.cpu_name() and found.read_bytes_per_s is None and found.parameters == {"m": 1}


def test_a_failing_chapter_leaves_no_record(toy: chapters.Book, monkeypatch: pytest.MonkeyPatch) -> None:
    write_notebook(toy.notebooks / "01_doubling.ipynb", "raise ValueError('no')")
    monkeypatch.setenv("BYTEBILL_ROOT", str(toy.root))
    assert CliRunner().invoke(app, ["run", "01"]).exit_code == 1
    assert not toy.records.exists()


def test_nothing_is_noted_where_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BYTEBILL_NOTES", raising=False)
    monkeypatch.chdir(tmp_path)
    notes.note(read_bytes_per_s=1.0)
    assert list(tmp_path.iterdir()) == []


def test_the_committed_chapters_are_a_record_of_their_machine() -> None:
    committed = run_record.committed_machine()
    notebook = nbformat.read(data.REPOSITORY / "notebooks" / "03_the_batching_crossover.ipynb", as_version=4)
    third = next(record for record in committed.records if record.name.startswith("03"))
    assert third.parameters == run_record.parameters_of(notebook) and third.parameters["profile"] == "quick"
    assert len(committed.verdicts) == len(CLAIMS) and committed.first.device
    assert {content["word"] for content in committed.verdicts.values()} > {"wrong"}


@pytest.mark.parametrize(
    "path", sorted((data.REPOSITORY / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem
)
def test_every_chapter_as_it_is_makes_a_record_of_the_schema(path: Path, tmp_path: Path) -> None:
    written = records.write_record(tmp_path / "run.json", run_record.run_record(path, run_s=1.0))
    assert records.checked(written).verdicts and written.stat().st_size < 100_000


def test_verdicts_keep_what_each_machine_and_each_repeat_gave() -> None:
    """`machines` and `samples` of a part that was measured stand in its JSON, and nowhere else."""
    claim = CLAIMS["C06"]
    given = {
        key: found_for(2.0, samples=(1.9, 2.0), machines={"H200": 2.1}, flips=("x", 9.0))
        if part.how == "measured"
        else found_for(part.stated, flips=("x", 1e30))
        for key, part in claim.parts.items()
    }
    carried = None if claim.panel is None else reach({"a": True}, boundary="nowhere")
    verdict = judge("C06", given, say="x", reach=carried, device="Toy")
    for part in verdict.to_json()["parts"]:
        measured = part["how"] == "measured"
        assert part.get("machines") == ({"H200": 2.1} if measured else None)
        assert part.get("samples") == ([1.9, 2.0] if measured else None)


def test_a_part_turns_where_one_machine_says_otherwise() -> None:
    asked = CLAIMS["C10"].parts["shared"]
    assert asked.how == "measured" and asked.outcome(1.4) == "holds" and asked.outcome(5.0) == "fails"
    whole = next(c for c in run_record.committed_machine().verdicts.values() if c["id"] == "C10")
    content = copy.deepcopy(whole)
    part = next(each for each in content["parts"] if each["key"] == "shared")
    part["machines"] = {"a slow card": 5.0, "a usual one": 1.4}
    here = Machine(name="here", records=(Record(name="03", kind="run", provenance={}, verdicts=(content,)),))
    (row,) = measured_parts(here)
    assert not row.steady and row.elsewhere == {"a slow card": (5.0, False), "a usual one": (1.4, True)}
    other = copy.deepcopy(content) | {"word": "wrong"}
    next(each for each in other["parts"] if each["key"] == "shared").update(found=1.2, machines={})
    there = Machine(name="there", records=(Record(name="03", kind="run", provenance={}, verdicts=(other,)),))
    (row,) = measured_parts(here, [there])
    assert row.elsewhere["there"] == (1.2, True) and row.words["there"] == "wrong"
    html = machines_page.verdicts_html(here, [there], to_ledger="l.html")
    assert "1 turns" in html and "a slow card: 5 ✗" in html and 'href="l.html#C10"' in html and "both ways" in html


def test_the_page_shows_every_machine_and_escapes_what_it_shows() -> None:
    evil = Machine(name="<b>", records=(of_schema(changed(), name="a"),))
    for html in (machines_page.ceilings_html([evil]), machines_page.steps_html([evil, machine("c")])):
        assert "<b>" not in html and "&lt;b&gt;" in html
    there = records.machines_on_record()
    soup = BeautifulSoup(machines_page.ceilings_html(there), "html.parser")
    assert {row.th.get_text() for row in soup.tbody.find_all("tr")} >= {"two-core-epyc", "h200", "h200-b"}
    assert {cell["data-of"] for cell in soup.tbody.find_all("td")} >= {"device", "reads", "bf16"}


def test_a_drawing_has_a_mark_a_machine_and_says_what_it_shows() -> None:
    steps = list(records.side_by_side([machine("a"), machine("b", steps__0__step_s=0.024)])["steps"])
    soup = BeautifulSoup(machines_figure.panels_html(steps, ["a", "b"]), "html.parser")
    assert soup.svg["aria-label"].endswith("a: 1.25 at batch 4, 1.25 at batch 4; b: 1.50 at batch 4, 1.50 at batch 4.")
    drawn = [str(group.g) for group in soup.svg.find_all("g", class_=True)]
    assert len(drawn) == 2 and drawn[0].split(">", 1)[1] != drawn[1].split(">", 1)[1]
    assert [key.get_text(strip=True) for key in soup.ul.find_all("li")] == ["a", "b"]


def test_a_drawing_takes_the_context_that_most_machines_have_timed() -> None:
    rows = [
        {"model": "m", "dtype": "bf16", "context_len": at, "batch": b, "over_predicted": dict.fromkeys(names, 1.0)}
        for at, b, names in ((128, 1, "ab"), (128, 2, "ab"), (256, 1, "abc"))
    ]
    assert list(machines_figure.panel_points(rows)) == ["m, bf16, 256 tokens each"]


def test_the_bounds_of_a_core_are_above_every_cpu_on_record() -> None:
    for each in records.machines_on_record():
        if each.first.device_kind == "cpu" and each.first.read_bytes_per_s and each.told("threads"):
            threads = each.told("threads")
            assert each.first.read_bytes_per_s < threads * plausible._CLOCK_HZ * plausible._LOADED_BYTES


def test_a_machine_is_what_stands_before_the_part() -> None:
    assert machines.machine_of("two-core-zen3-bench") == "two-core-zen3"


def test_a_record_tells_no_path_of_its_author(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/home/me/bytebill", "bench", "--out", "/home/me/mine.json"])
    made = origin.provenance(device="x", device_kind="cpu", command=origin.typed_command("bytebill"))
    assert made["command"] == "bytebill bench --out mine.json"
    assert not [value for value in made.values() if "/home" in str(value) or os.uname().nodename == value]


def judged(id: str = "C10", word: str = "safe to repeat", share: float | None = None, **shared: Any) -> dict[str, Any]:
    """A verdict on C10, which is wrong as soon as its one measured part is 4 or more: that is one sentence of two."""
    parts = [
        {"key": "bytes", "kind": "figure", "text": "bytes", "how": "derived", "found": 1.1},
        {"key": "intensity", "kind": "direction", "text": "FLOPs a byte", "how": "derived", "found": 60.0},
        {**PART, "text": "a step of eight", **shared},
        {"key": "gone", "kind": "cause", "text": "what the register no longer asks", "how": "derived", "found": 0.1},
    ]
    return {"id": id, "word": word, "share": share, "parts": parts}


def judged_by(name: str, *contents: dict[str, Any]) -> Machine:
    return Machine(name=name, records=(Record(name="03", kind="run", provenance={}, verdicts=contents),))


def row_of(content: dict[str, Any], *others: dict[str, Any]) -> MeasuredPart:
    (row,) = measured_parts(judged_by("here", content), [judged_by(f"b{i}", each) for i, each in enumerate(others)])
    return row


def test_a_measured_part_is_told_with_what_is_asked_of_it() -> None:
    row = row_of(judged())
    there = {"id": "C10", "word": "safe to repeat", "text": "a step of eight", "test": "below 4", "unit": ""}
    numbers = {"found": 1.4, "low": 1.3, "high": 1.5, "passed": True, "ends": (True, True)}
    assert row == MeasuredPart(**there, **numbers, elsewhere={}, words={}) and row.steady
    alone = row_of(judged(low=None, high=None))
    assert (alone.low, alone.high, alone.ends) == (1.4, 1.4, (True, True))


@pytest.mark.parametrize(("ends", "passed"), [((1.0, 4.5), (True, False)), ((0.0, 4.0), (True, False))])
def test_a_part_whose_interval_crosses_its_bound_is_not_steady(
    ends: tuple[float, float], passed: tuple[bool, bool]
) -> None:
    row = row_of(judged(low=ends[0], high=ends[1]))
    assert row.ends == passed and row.passed and not row.steady


@pytest.mark.parametrize(
    "content",
    [
        judged(how="simulated"),
        judged(key="unknown"),
        judged(found=None),
        judged(id="C99"),
        {"id": "C10", "word": "wrong", "parts": [{"how": "measured", "found": 1.0}]},
    ],
)
def test_parts_that_were_not_measured_or_are_not_in_the_register_are_no_rows(content: dict[str, Any]) -> None:
    assert [*measured_parts(judged_by("here", content))] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (judged(machines={"slow": 5.0, "fast": 1.2}), {"slow": "wrong"}),
        (judged(machines={"slow": 5.0}, found=6.0, word="wrong"), {}),
        (judged(machines={"fast": 1.2}, found=6.0, word="wrong"), {"fast": "safe to repeat"}),
        (judged(machines={"fast": 1.2}, share=0.5), {"fast": "true with a condition"}),
        (judged(machines={"fast": 1.2}, share=0.0), {"fast": "only in its own case"}),
    ],
)
def test_a_machines_number_gets_the_word_that_the_rule_makes_of_it(
    content: dict[str, Any], words: dict[str, str]
) -> None:
    assert row_of(content).words == words
    content["parts"][0]["found"] = None  # nobody can tell a word of a claim of which a part is missing
    assert row_of(content).words == {}


def test_runs_of_others_are_told_by_their_own_numbers_and_words() -> None:
    lacking = judged(word="wrong")
    del lacking["parts"][2]
    others = (judged(found=4.5, word="wrong"), judged(found=1.3), judged(id="C11"), judged(found=None), lacking)
    row = row_of(judged(machines={"slow": 5.0, "b1": 9.0}), *others)
    assert row.elsewhere == {"slow": (5.0, False), "b0": (4.5, False), "b1": (1.3, True)}
    assert row.words == {"slow": "wrong", "b0": "wrong", "b4": "wrong"} and not row.steady
    assert row_of(judged(), judged(found=1.3)).steady


def test_rows_come_in_the_order_of_claims() -> None:
    later = {"id": "C18", "word": "wrong", "parts": [PART | {"key": "here"}, PART | {"key": "here", "found": 1.0}]}
    rows = [*measured_parts(judged_by("here", later, judged()))]
    assert [(row.id, row.passed) for row in rows] == [("C10", True), ("C18", True), ("C18", False)]


def test_parameters_are_plain_assignments_of_tagged_cells() -> None:
    cells = [
        {"source": ["n: int = 2\n", "m: int\n", "a = b = 'x'\n"], "metadata": {"tags": ["parameters"]}},
        {"source": "n = 9", "metadata": {"tags": ["other"]}},
        {"source": "n = 8", "metadata": {}},
        {"source": "n = 7"},
        {"source": "c = n * 2\nx.y = 3\nprint(n)\nd = (1, 2.5)", "metadata": {"tags": ["hide", "injected-parameters"]}},
    ]
    found = run_record.parameters_of({"cells": cells})
    assert found == {"n": 2, "a": "x", "b": "x", "c": None, "d": (1, 2.5)}


def test_a_verdict_is_kept_short() -> None:
    counted = PART | {"unit": "s", "test": "below 4", "samples": [1.4], "machines": {"x": 1.0}}
    parts = [counted | {"flips": {}, "stated": 3}, PART | {"kind": "self-test"}, {"kind": "cause"}]
    kept = {"id": "C10", "word": "wrong", "edge": "x", "device": "y"}
    found = run_record.short_verdict(kept | {"say": "z", "reach": {"share": 0.5, "n": 2}, "parts": parts})
    assert found == kept | {"share": 0.5, "parts": [counted, {"kind": "cause"}]}
    empty = dict.fromkeys(("id", "word", "edge", "device", "share")) | {"parts": []}
    assert run_record.short_verdict({"reach": None, "parts": None}) == run_record.short_verdict({}) == empty


JUDGED = {"source": "", "outputs": [{"data": {MIME: {"id": "C10", "word": "wrong", "parts": [PART]}}}]}


def test_the_committed_machine_is_what_its_notebooks_printed_and_judged(toy: chapters.Book) -> None:
    told = {"text": ["Toy CPU, 3 threads, 24 GB free, torch 2.13.0+cpu\n"]}
    cells = [{"source": "n = 5", "metadata": {"tags": ["parameters"]}}]
    cells += [{"source": "", "metadata": {"tags": ["measured"]}, "outputs": [told]}, JUDGED]
    there = {"metadata": {"bytebill": {"outputs_of": "2026-11-01"}}, "cells": cells}
    for name in ("01_doubling", "ledger"):  # which is no chapter; the second chapter has no verdict
        (toy.notebooks / f"{name}.ipynb").write_text(json.dumps(there))
    machine = run_record.committed_machine(toy)
    (first,) = machine.records
    assert (machine.name, first.name, first.kind, first.parameters) == ("committed", "01_doubling", "run", {"n": 5})
    assert first.provenance == {"device": "Toy CPU", "device_kind": "cpu", "threads": 3, "date": "2026-11-01"}
    assert first.verdicts[0]["parts"] == [PART]


def test_a_chapter_that_measured_nothing_names_no_device(toy: chapters.Book) -> None:
    (toy.notebooks / "02_where.ipynb").write_text(json.dumps({"cells": [JUDGED]}))
    (found,) = run_record.committed_machine(toy).records
    nothing = {"device": "", "device_kind": "cuda", "threads": None, "date": None}
    assert (found.name, found.provenance) == ("02_where", nothing)


def test_a_record_of_a_run_has_what_its_kernel_noted_of_the_device(
    toy: chapters.Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = {"name": "Toy", "kind": "mps", "n_threads": 3, "pinned": True, "memory_bytes": 7}
    monkeypatch.setattr(run_record, "noted", lambda path: {"device": device, "ceilings": {"read_bytes_per_s": 1.0}})
    monkeypatch.setattr(run_record, "provenance", lambda **given: given)
    monkeypatch.setattr("sys.argv", ["/bin/x", "run", "01"])
    found = run_record.run_record(toy.notebooks / "01_doubling.ipynb", run_s=1.26)
    told = {"device": "Toy", "device_kind": "mps", "threads": 3, "pinned": True, "memory_bytes": 7}
    assert found.pop("provenance") == told | {"command": "bytebill run 01", "run_s": 1.3}
    here = {"schema": schema.SCHEMA_NAME, "kind": "run", "chapter": "01_doubling", "steps": [], "verdicts": []}
    there = {"ceilings": {"read_bytes_per_s": 1.0}, "parameters": {"n": 2, "profile": "quick", "device": "auto"}}
    assert found == here | there
