"""The data files are good, and every kind of fault planted in a copy of them is reported."""

from __future__ import annotations

import datetime
import re
import runpy
import shutil
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bytebill import data
from bytebill.data import bundle
from bytebill.errors import BytebillError
from bytebill.models import MODELS
from bytebill.units import si, to_si


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder to spoil."""
    folder = tmp_path / "data"
    shutil.copytree(data.REPOSITORY / "data", folder)
    monkeypatch.setenv("BYTEBILL_DATA", str(folder))
    assert data.validate() == []
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first match, after making sure that there is one; tables get their new sha256."""
    text = path.read_text(encoding="utf-8")
    assert re.search(old, text, flags=re.MULTILINE), f"{old} is not in {path.name}"
    path.write_text(re.sub(old, new, text, count=1, flags=re.MULTILINE), encoding="utf-8")
    if path.suffix == ".csv":
        data.rehash()


def test_the_data_of_the_book_have_no_problem() -> None:
    assert data.validate() == []


FAULTS = {
    "a missing source": ("models.csv", r",litgpt,", r",,", "missing source_id"),
    "a source nobody lists": ("models.csv", r",litgpt,", r",hearsay,", "unknown source_id 'hearsay'"),
    "a missing place in the source": ("published_decode.csv", r'"README[^"]*"', r"", "missing source_locator"),
    "an unknown kind of value": ("accelerators.csv", r",datasheet,", r",guess,", "unknown value_kind 'guess'"),
    "an unknown caution": ("accelerators.csv", r",read-2nd$", r",maybe", "unknown caution 'maybe'"),
    "a date that is not ISO": ("accelerators.csv", r",2026-11-23,", r",23/11/2026,", "is not an ISO date"),
    "a missing date": ("accelerators.csv", r",2026-11-23,", r",,", "missing as_of"),
    "gigabytes posing as terabytes": (
        "accelerators.csv",
        r"bandwidth,,,3\.35,",
        r"bandwidth,,,3350,",
        "bandwidth [TB/s] 3350 is out of range",
    ),
    "a unit of another quantity": (
        "accelerators.csv",
        r"bandwidth,,,3\.35,TB/s",
        r"bandwidth,,,3.35,GB",
        "bandwidth is in TB/s, not in 'GB'",
    ),
    "a quantity nobody knows": ("accelerators.csv", r"memory,,,80,", r"power,,,80,", "quantity 'power' is not one of"),
    "a sparse 16-bit peak": (
        "accelerators.csv",
        r"h100-sxm(.*)989\.4",
        r"h100-sxm\g<1>1978.9",
        "h100-sxm: the 8-bit peak is 1.00 times",
    ),
    "a sparse fp8 peak": (
        "accelerators.csv",
        r"h100-sxm(.*)fp8,dense,1978\.9",
        r"h100-sxm\g<1>fp8,dense,3957.8",
        "h100-sxm: the 8-bit peak is 4.00 times",
    ),
    "a sparse int8 peak where there is no fp8": (
        "accelerators.csv",
        r"a100-sxm-40(.*)int8,dense,624",
        r"a100-sxm-40\g<1>int8,dense,1248",
        "a100-sxm-40: the 8-bit peak is 4.00 times",
    ),
    "a peak that says it is sparse": ("accelerators.csv", r",dense,", r",2:4,", "a peak must be dense"),
    "a word for a number": (
        "models.csv",
        r",40,5120,13824",
        r",forty,5120,13824",
        "n_layers 'forty' is not of type int",
    ),
    "an empty required cell": ("models.csv", r",40,5120,13824", r",,5120,13824", "missing n_layers"),
    "more than all of the time": (
        "published_attention_stalls.csv",
        r",83\.5,",
        r",183.5,",
        "stall_share 183.5 is out of range",
    ),
    "a row that stands twice": ("models.csv", r"^(llama-2-13b,.*\n)", r"\1\1", "repeats line"),
    "a sidecar without a licence": ("models.yml", r"^license:.*\n", r"", "missing key 'license'"),
    "a wrong checksum": ("models.yml", r"^sha256: \w{4}", r"sha256: 0000", "sha256 is not that of the table"),
    "a column without a unit": (
        "models.yml",
        r"^- name: d_ff\n  type: int\n  unit: ''\n",
        "- name: d_ff\n  type: int\n",
        "column 'd_ff' has no 'unit'",
    ),
    "a column the sidecar does not know": ("models.csv", r"^id,name,", r"id,title,", "differ from the sidecar's"),
    "a claim left out": ("claims.yaml", r"^- id: C17\n", r"- id: C18\n", "the ids are not C01 to C56"),
    "a claim shown by magic": ("claims.yaml", r"how: \[D\]", r"how: [X]", "how is out of D, M, S, R"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_reported(fault: str, copy: Path) -> None:
    file, old, new, expected = FAULTS[fault]
    edit(copy / file, old, new)
    assert any(expected in problem for problem in data.validate()), data.validate()


def test_an_edited_table_is_noticed_until_it_is_rehashed(copy: Path) -> None:
    path = copy / "models.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("Llama-2-13B", "Llama 2 13B"), encoding="utf-8")
    assert [problem for problem in data.validate() if "sha256" in problem]
    data.rehash()
    assert data.validate() == []


BROKEN = {
    "no sidecar": ("models.yml", lambda old: None, "There is no file "),
    "a sidecar cut off": ("models.yml", lambda old: old[:300] + b": [", "models.yml cannot be read: while"),
    "a key named twice": ("models.yml", lambda old: b"title: x\n" + old, "'title' is named twice, line"),
    "a sidecar that runs code": (
        "models.yml",
        lambda old: b"!!python/object/apply:os.getcwd []",
        "models.yml cannot be read: could not determine a constructor",
    ),
    "a list for a sidecar": ("models.yml", lambda old: b"- 1", "models.yml holds a list, not a dict"),
    "a sidecar without columns": ("models.yml", lambda old: b"title: x", "models.yml: no columns"),
    "a sidecar with a word for columns": ("models.yml", lambda old: b"columns: id", "models.yml: no columns"),
    "a type nobody knows": ("models.yml", lambda old: old.replace(b"type: int", b"type: whole", 1), "of type whole"),
    "a range of one end": ("models.yml", lambda old: re.sub(rb"range: .*", b"range: 3", old), "that no rule can read"),
    "an empty table": ("models.csv", lambda old: b"", "models.csv: no heading"),
    "a binary table": ("models.csv", lambda old: bytes(range(256)), "models.csv cannot be read: no UTF-8 in line 2"),
    "a byte order mark": ("models.csv", lambda old: b"\xef\xbb\xbf" + old, "differ from the sidecar's"),
    "an extra cell": (
        "models.csv",
        lambda old: old.replace(b"\n", b",more\n").replace(b",more\n", b"\n", 3),
        "not as many cells as that in lines [4,",
    ),
    "a cell too few": (
        "models.csv",
        lambda old: old.rstrip().rsplit(b",", 1)[0] + b"\n",
        "not as many cells as that in lines",
    ),
    "not a number": ("models.csv", lambda old: old.replace(b",1e-05,", b",nan,", 1), "norm_eps 'nan' is not of type"),
    "a column gone": (
        "accelerators.csv",
        lambda old: old.replace(b",value,", b",", 1),
        "not as many cells as that in lines",
    ),
    "claims cut off": ("claims.yaml", lambda old: old[:1500], "claims.yaml"),
    "claims that are words": ("claims.yaml", lambda old: b"{article: {}, claims: [C01]}", "a claim is a mapping"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_reported_in_a_sentence_and_loads_as_one(name: str, copy: Path) -> None:
    file, spoil, says = BROKEN[name]
    path = copy / file
    spoilt = spoil(path.read_bytes())
    path.unlink() if spoilt is None else path.write_bytes(spoilt)
    assert any(says in problem for problem in data.validate()), data.validate()
    if path.stem != "claims" and "range" not in name:
        with pytest.raises(BytebillError):
            data.rows(path.stem)


def test_nothing_is_rehashed_that_has_problems(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copy / "models.yml").read_bytes()
    path = copy / "models.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("Llama-2-13B", "Llama 2 13B"), encoding="utf-8")
    (copy / "claims.yaml").write_text("{article: {}, claims: [C01]}", encoding="utf-8")
    with pytest.raises(SystemExit, match="a claim is a mapping"):
        runpy.run_module("bytebill.data", run_name="__main__")
    assert (copy / "models.yml").read_bytes() == before


def test_a_sound_edit_is_rehashed_and_bundled(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "models.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("Llama-2-13B", "Llama 2 13B"), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["bytebill.data", str(copy / "bundle.json")])
    runpy.run_module("bytebill.data", run_name="__main__")
    assert capsys.readouterr().out == "data: no problems\n" and data.validate() == []
    assert "Llama 2 13B" in (copy / "bundle.json").read_text(encoding="utf-8")


def test_a_bundle_gives_the_rows_of_its_tables_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: data.rows(name) for name in data.names()}
    assert set(bundle.CORE) <= set(rows)
    bundle.write(tmp_path / "all.json", rows)
    bundle.write(tmp_path / "core.json")
    monkeypatch.setenv("BYTEBILL_DATA", str(tmp_path / "all.json"))
    assert {name: data.rows(name) for name in data.names()} == rows
    assert repr(data.rows("accelerators")) == repr(rows["accelerators"])  # types as well
    monkeypatch.setenv("BYTEBILL_DATA", str(tmp_path / "core.json"))
    assert data.names() == bundle.CORE
    with pytest.raises(BytebillError, match="no data table 'published_decode'"):
        data.rows("published_decode")
    with pytest.raises(BytebillError, match=r"no data folder at .*json"):
        data.claims()


@pytest.mark.parametrize("content", ["[1]", "3", '{"a": ', "[" * 100_000, "", "\0"])
def test_a_record_that_cannot_be_read_says_so(content: str, copy: Path) -> None:
    (copy / "measured" / "broken.json").write_text(content, encoding="utf-8")
    with pytest.raises(BytebillError, match=r"broken.json (cannot be read: .*|holds an? .*)\."):
        data.measured("broken")


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "kept.txt", tmp_path / "link.txt"
    link.symlink_to(path)
    data.write_whole(path, "old\n")
    data.write_whole(link, "öld\n")
    assert link.is_symlink() and path.read_text(encoding="utf-8") == "öld\n"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BytebillError, match=r"could not be written \(the disk is full\); it is as it was"):
        data.write_whole(path, "new\n")
    assert path.read_text(encoding="utf-8") == "öld\n" and sorted(tmp_path.iterdir()) == [path, link]
    data.write_whole("/dev/null", "gone")
    with pytest.raises(BytebillError, match="could not be written"):
        data.write_whole(tmp_path / "no folder" / "x", "new")


BOMBS = {
    "aliases": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklm")),
    "merges": "a: &a {x: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in pairwise("abcdefgh")),
    "itself": "a: &a [*a]",
    "depth": "[" * 500,
    "length": "#" * (data.tables.MOST_OF_A_USER + 1),
    "no end": Path("/dev/zero"),
}
SAID = {"aliases": None, "merges": "too many keys are merged here, line", "itself": None, "depth": "recursion depth"}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_yaml_is_read_or_refused_at_once(name: str, tmp_path: Path) -> None:
    bomb, path = BOMBS[name], tmp_path / "bomb.yaml"
    path.write_text(bomb) if isinstance(bomb, str) else path.symlink_to(bomb)
    began_s, said = time.monotonic(), SAID.get(name, "more than 131,072 characters")
    if said is None:
        assert isinstance(data.read_yaml(path), dict)
    else:
        with pytest.raises(BytebillError, match=said):
            data.read_yaml(path)
    assert time.monotonic() - began_s < 60  # not minutes, and not for ever


def test_a_record_is_named_and_never_a_path(copy: Path) -> None:
    (copy / "elsewhere.json").write_text("{}", encoding="utf-8")
    for name in (str(copy / "elsewhere"), "../elsewhere"):
        with pytest.raises(BytebillError, match="no measured run"):
            data.measured(name)
    assert data.measured("two-core-epyc")


def test_a_register_reads_anew_where_the_data_are_others(copy: Path) -> None:
    edit(copy / "models.csv", "llama-2-13b,", "llama-2-14b,")
    assert "llama-2-14b" in MODELS and "llama-2-13b" not in MODELS and MODELS.get("llama") is None


def test_a_claim_without_a_statement_is_reported(copy: Path) -> None:
    article = data.article()
    del article["claims"][10]["statement"]
    (copy / "claims.yaml").write_text(yaml.safe_dump(article), encoding="utf-8")
    assert "claims.yaml: C11 has no 'statement'" in data.validate()


def test_cells_come_typed_and_empty_ones_unknown() -> None:
    row = next(row for row in data.rows("models") if row["id"] == "llama-2-13b")
    assert (row["n_layers"], row["tied_embeddings"], row["window_len"]) == (40, False, None)
    assert row["as_of"] == datetime.date(2026, 6, 29)


def test_a_table_is_not_changed_by_its_reader() -> None:
    data.rows("models")[0]["n_layers"] = -1
    assert data.rows("models")[0]["n_layers"] != -1


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(BytebillError, match="nearest: models"):
        data.rows("model")


def test_a_missing_data_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYTEBILL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(BytebillError, match="There is no data folder at"):
        data.names()


def test_what_was_not_read_at_its_source_says_so() -> None:
    rows = {row["device_id"]: row for row in data.rows("accelerators") if row["dtype"] == "bf16"}
    assert rows["h800-sxm"]["caution"] == "memory"
    assert rows["h100-sxm"]["caution"] == "read-2nd"
    assert rows["tpu-v5e"]["caution"] is None


def test_measured_kernels_never_beat_their_datasheet() -> None:
    """Weight bytes over time against the bandwidth, FLOPs over time against the peak."""
    from bytebill.hardware import accelerator

    for row in data.rows("published_gemm"):
        device, seconds = accelerator(row["device_id"]), to_si(row["time_ms"], "ms")
        m, n, k = row["n_tokens"], row["n_out"], row["n_in"]
        assert 2 * n * k / seconds <= device.bandwidth_bytes_per_s
        assert 2 * m * n * k / seconds <= device.peak("bf16")


def test_two_cards_of_one_kind_agree_where_launches_are_not_timed() -> None:
    """Chapter 1 says how far two H200s differ: in what each reads and multiplies, and in decode steps of an 8B.

    The records were made by one kit on one software, on two days; a datasheet would have the ratio at 1.
    """
    records = {
        part: (data.measured(f"h200-{part}"), data.measured(f"h200-b-{part}"))
        for part in ("ceilings", "decode", "launch")
    }
    for first, second in records.values():
        made, later = first["provenance"], second["provenance"]
        assert made["date"] < later["date"] and not (made["tiny"] or later["tiny"])
        assert [made[key] for key in ("device", "torch", "kit")] == [later[key] for key in ("device", "torch", "kit")]
        assert (first["question"], first["conditions"]) == (second["question"], second["conditions"])
        assert second["finished"] and not second["errors"]

    def ratios(part: str, **like: object) -> list[float]:
        ours, theirs = ([p for p in each["points"] if like.items() <= p.items()] for each in records[part])
        assert [p.get("batch_size") for p in ours] == [p.get("batch_size") for p in theirs]
        return [b["median_s"] / a["median_s"] for a, b in zip(ours, theirs, strict=True)]

    first, second = records["ceilings"]
    assert second["read_bytes_per_s"] / first["read_bytes_per_s"] == pytest.approx(1, abs=0.02)
    for dtype in ("bf16", "fp8", "tf32"):
        assert second["peak_flops_per_s"][dtype] / first["peak_flops_per_s"][dtype] == pytest.approx(1, abs=0.03)
    steps = ratios("decode", what="step", graph=True)
    assert len(steps) == 58 and min(steps) >= 0.90 and max(steps) <= 1.01
    replayed, launched = (
        [ratio for id in ("smollm2-135m", "llama-3-8b") for ratio in ratios("launch", what=f"step of {id}", way=way)]
        for way in ("replayed", "launched")
    )
    assert max(abs(ratio - 1) for ratio in replayed) < 0.01
    assert min(launched) > 1.1  # the same steps, launched by Python: the host's time, and no agreement


def test_the_bibliography_is_valid_bibtex() -> None:
    database = pytest.importorskip("pybtex.database")
    entries = database.parse_file(data.REPOSITORY / "book" / "references.bib").entries
    assert all(entry.fields.get("title") and entry.fields.get("year") for entry in entries.values())
    assert all(entry.persons for entry in entries.values())


@given(st.floats(min_value=1e-8, max_value=9e17), st.integers(min_value=2, max_value=6))
def test_a_number_shown_reads_back_as_itself(value: float, digits: int) -> None:
    number, unit = si(value, "B", digits=digits).split(" ")
    scale = {"P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
    assert float(number) * scale[unit.removesuffix("B")] == pytest.approx(value, rel=10 ** (1 - digits))
    assert "e" not in number


def test_unknown_units_are_refused() -> None:
    with pytest.raises(ValueError, match="no conversion"):
        to_si(3, "furlong")
