"""The house rules that a machine can check in the committed notebooks: whole, short, captioned, sourced, judged."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from bytebill import chapters, claims, data
from bytebill.claims import ledger

ROOT = data.REPOSITORY
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if chapters.number(path) is not None]
N_LINES, N_WORDS, N_CELLS = 25, 3000, (20, 35)
IMAGES = {"image/png", "image/svg+xml", "image/jpeg"}

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path: Path, kind: str | None = None) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if kind in (None, cell.cell_type)]


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def syntax(path: Path) -> list[ast.AST]:
    """Every node of a notebook's code; lines for IPython alone are left out."""
    lines = (line for cell in cells(path, "code") for line in cell.source.splitlines())
    return list(ast.walk(ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))))


def library_names() -> set[str]:
    """The public functions and classes of the package."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "lib").rglob("*.py"))
    nodes = (node for tree in trees for node in tree.body)
    return {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))} - {"main"}


@every_notebook
def test_it_was_run_once_from_top_to_bottom(path):
    nbformat.validate(nbformat.read(path, as_version=4))
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1)), "run: bytebill refresh"
    for cell in cells(path, "code"):
        assert not [output for output in cell.outputs if output.output_type == "error"]


@every_notebook
def test_it_keeps_nothing_of_the_run(path):
    assert set(nbformat.read(path, as_version=4).metadata) <= {"bytebill", "kernelspec", "language_info"}
    for cell in cells(path):
        assert not {"papermill", "execution"} & set(cell.metadata), "run: bytebill refresh"
        assert "injected-parameters" not in tags(cell)


@every_notebook
def test_it_has_one_parameters_cell(path):
    found = [cell for cell in cells(path, "code") if "parameters" in tags(cell)]
    assert len(found) == 1
    if path in CHAPTERS:
        assert {"profile", "device"} <= {
            target.id
            for node in ast.walk(ast.parse(found[0].source))
            if isinstance(node, ast.Assign)
            for target in node.targets
        }


@every_notebook
def test_cells_and_prose_are_short(path):
    for cell in cells(path, "code"):
        assert len(cell.source.splitlines()) <= N_LINES, cell.source
    n_words = sum(len(cell.source.split()) for cell in cells(path, "markdown"))
    assert n_words <= N_WORDS


@every_notebook
def test_the_library_is_the_truth(path):
    nodes = syntax(path)
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
    defined = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert not defined & library_names()


@every_notebook
def test_what_depends_on_the_machine_is_not_compared(path):
    for cell in cells(path, "code"):
        assert ("measured" in tags(cell)) == ("nbval-ignore-output" in tags(cell)), "the tags go together"


@every_notebook
def test_every_figure_has_words(path):
    for cell in cells(path, "code"):
        if IMAGES & {kind for output in cell.outputs for kind in output.get("data", ())}:
            about = cell.metadata.get("mystnb", {})
            assert about.get("image", {}).get("alt"), f"no alt text: {cell.source[:80]}"
            assert about.get("figure", {}).get("caption"), f"no caption: {cell.source[:80]}"
            assert about["figure"].get("name", "").startswith("fig-"), f"no name: {cell.source[:80]}"


@every_chapter
def test_it_opens_with_its_claim(path):
    first, second = cells(path)[:2]
    assert re.search(r"^\(ch-[\w-]+\)=\n# \S", first.source, re.MULTILINE), "a target and the claim as the title"
    box = first.source + second.source
    assert re.search(r":class:.*\bclaim\b", box), "the claim box comes first"
    assert "Fails when" in box


@every_chapter
def test_it_closes_with_its_sources(path):
    headings = [line for cell in cells(path, "markdown") for line in re.findall(r"^## .*", cell.source, re.MULTILINE)]
    assert headings[-1] == "## Sources"


@every_chapter
def test_it_has_a_chapters_length(path):
    assert N_CELLS[0] <= len(cells(path)) <= N_CELLS[1]


@every_chapter
def test_it_judges_its_claims_once_each(path):
    number = f"{chapters.number(path):02d}"
    ours = [id for id, claim in claims.CLAIMS.items() if claim.chapter == number]
    assert sorted(content["id"] for content in ledger.verdicts_in(path)) == ours


@every_chapter
def test_each_verdict_rests_on_the_evidence_the_register_asks_for(path):
    to_come = set() if (ROOT / "lib" / "bytebill" / "sim").is_dir() else {"simulated"}
    for content in ledger.verdicts_in(path):
        given = {evidence["how"] for evidence in content["evidence"]}
        assert given >= set(claims.claim(content["id"]).how) - to_come, content["id"]


def test_no_claim_of_a_chapter_is_left_without_a_verdict():
    assert [entry.claim.id for entry in ledger.read(ROOT / "notebooks") if entry.word == ledger.NO_VERDICT] == []


def test_the_table_of_contents_is_what_is_there():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    named = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]} | {toc["root"]}
    pages = [*NOTEBOOKS, *(ROOT / "book").glob("*.md")]
    assert named == {str(path.relative_to(ROOT).with_suffix("")) for path in pages}
