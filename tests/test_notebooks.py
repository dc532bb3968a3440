"""The house rules that a machine can check in the committed notebooks: whole, short, captioned, sourced, judged."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from statistics import median

import nbformat
import pytest
import yaml

from bytebill import chapters, claims, data
from bytebill.claims import ledger
from prose_pins import GIVEN, GIVEN_IN, WITH_UNIT

ROOT = data.REPOSITORY
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if chapters.number(path) is not None]
READ = [path for path in NOTEBOOKS if path.stem != "ledger"]  # the ledger has no code of its own
N_LINES, N_WORDS, N_CELLS = 25, 3000, (20, 40)
N_COLUMNS, MEDIAN_LINES, PLUMBING_SHARE = 92, 8, 0.25
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
PLUMBING = {"print", "display", "table", "claims.pin", "claims.pins", "claims.pin_that"}
NUMBER = re.compile(r"(?<![\w.,-])(\d[\d,]*(?:\.\d+)?)(?![\w-])")
SMALL = 12  # up to here a whole number without a unit is a word
SCALES = (1, 0.01, 1e-6, 1e-3, 1e3, 1e6, 1e9, 1e12)  # 42.9 GB is 42.9e9, 25% is 0.25
NO_PROSE = r"\$\$.*?\$\$|(?<!\\)\$[^$]*(?<!\\)\$|\{[\w:]+\}`[^`]*`|`[^`]*`|^(:::|```|:\w+:).*?$|\]\([^)]*\)"
IMAGES = {"image/png", "image/svg+xml", "image/jpeg"}

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
every_read = pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@cache
def notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def cells(path: Path, kind: str | None = None) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook(path).cells if kind in (None, cell.cell_type)]


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def syntax(path: Path) -> list[ast.AST]:
    """Every node of a notebook's code; lines for IPython alone are left out."""
    lines = (line for cell in cells(path, "code") for line in cell.source.splitlines())
    return list(ast.walk(ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))))


def visible(path: Path) -> list[str]:
    """The code that a reader of the book sees."""
    return [cell.source for cell in cells(path, "code") if not HIDDEN & tags(cell)]


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that are not blank."""
    return {number for number, line in enumerate(source.splitlines(), start=1) if line.strip()}


def plumbing(source: str) -> set[int]:
    """Numbers of the lines that import, pin, format or print."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        call = node.value if isinstance(node, ast.Expr) else None
        says = isinstance(call, ast.Call) and ast.unparse(call.func) in PLUMBING
        if says or isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
            found |= set(range(node.lineno, node.end_lineno + 1))
    return found & code_lines(source)


def assigned(source: str) -> set[str]:
    """The global names that a cell assigns; those of functions and comprehensions are their own."""
    found, open_nodes = set(), list(ast.parse(source).body)
    for node in open_nodes:  # grows as it is read
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, (ast.comprehension, ast.Lambda)):
            open_nodes += ast.iter_child_nodes(node)
    return found


def sections(path: Path) -> Iterator[tuple[str, str]]:
    """The kind and source of every piece; of each section the code comes first, for its prose speaks of it."""
    parts: list[tuple[list[str], list[str]]] = [([], [])]
    for cell in cells(path):
        if cell.cell_type == "code":
            parts[-1][0].append(cell.source)
            continue
        rest, *openings = re.split(r"^(?=## )", cell.source, flags=re.MULTILINE)
        parts[-1][1].append(rest)
        parts += [([], [text]) for text in openings]
    for code, texts in parts:
        yield from (("code", source) for source in code)
        yield from (("markdown", text) for text in texts)


def prose(source: str, *, given: Iterable[str]) -> str:
    """The sentences of a piece of Markdown in one line, without formulas, code, roles and what is given."""
    text = re.sub(r"\s+", " ", re.sub(NO_PROSE, " ", source, flags=re.MULTILINE | re.DOTALL))
    for fragment in given:
        text = text.replace(fragment, " ")
    return text


def owners(source: str) -> list[float]:
    """Every number typed in code."""
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [float(node.value) for node in nodes if isinstance(node.value, (int, float))]


@cache
def library_names() -> set[str]:
    """The public functions and classes of the package."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "lib").rglob("*.py"))
    nodes = (node for tree in trees for node in tree.body)
    return {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))} - {"main"}


@every_notebook
def test_it_was_run_once_from_top_to_bottom(path):
    nbformat.validate(notebook(path))
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1)), "run: bytebill refresh"
    for cell in cells(path, "code"):
        assert not [output for output in cell.outputs if output.output_type == "error"]


@every_notebook
def test_it_keeps_nothing_of_the_run(path):
    assert set(notebook(path).metadata) <= {"bytebill", "kernelspec", "language_info"}
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
        assert len(tags(cell) & {"measured", "filled"}) == ("nbval-ignore-output" in tags(cell)), "tags go together"


@every_notebook
def test_every_figure_has_words(path):
    for cell in cells(path, "code"):
        if IMAGES & {kind for output in cell.outputs for kind in output.get("data", ())}:
            about = cell.metadata.get("mystnb", {})
            assert about.get("image", {}).get("alt"), f"no alt text: {cell.source[:80]}"
            assert about.get("figure", {}).get("caption"), f"no caption: {cell.source[:80]}"
            assert about["figure"].get("name", "").startswith("fig-"), f"no name: {cell.source[:80]}"


def ids_of(path: Path) -> list[str]:
    """The claims that a chapter tries."""
    return [id for id, claim in claims.CLAIMS.items() if int(claim.chapter) == chapters.number(path)]


@every_chapter
def test_it_opens_with_the_answer(path):
    """Title, the set-up folded, the verdicts, the main figure; only then prose and code."""
    title, setup, opening, *rest = cells(path)
    assert re.search(r"^\(ch-[\w-]+\)=\n# \S", title.source, re.MULTILINE), "a target and a title"
    assert tags(setup) & {"hide-input", "hide-cell"} and tags(opening) & HIDDEN
    asked = re.search(r"claims\.opening\((.*?)\)", opening.source, re.DOTALL)
    assert asked and re.findall(r"C\d\d", asked[1]) == ids_of(path)
    shown = [kind for output in opening.outputs for kind in output.get("data", ())]
    assert shown.count("text/html") == len(ids_of(path)) and "Judged below" not in str(opening.outputs)
    assert "filled" in tags(opening), "by cells further down, of which some measure"
    first = next(cell for cell in rest if cell.cell_type == "markdown" or IMAGES & kinds_of(cell))
    assert IMAGES & kinds_of(first), "the main figure stands above the prose"


def kinds_of(cell: nbformat.NotebookNode) -> set[str]:
    """The kinds of what a cell shows."""
    return {kind for output in cell.get("outputs", ()) for kind in output.get("data", ())}


@every_chapter
def test_it_closes_with_its_sources(path):
    headings = [line for cell in cells(path, "markdown") for line in re.findall(r"^## .*", cell.source, re.MULTILINE)]
    assert headings[-1] == "## Sources"


@every_chapter
def test_it_has_a_chapters_length(path):
    shown = [cell for cell in cells(path) if not tags(cell) & {"remove-cell", "remove-input"}]
    assert N_CELLS[0] <= len(shown) <= N_CELLS[1]


@every_read
def test_its_imports_stand_in_one_folded_cell(path):
    importing = [cell for cell in cells(path, "code") if re.search(r"^(import|from) ", cell.source, re.MULTILINE)]
    assert len(importing) == 1 and tags(importing[0]) & {"hide-input", "hide-cell"}


@every_read
def test_its_judges_are_folded_and_its_pins_removed(path):
    for cell in cells(path, "code"):
        if "claims.judge(" in cell.source:
            assert "hide-input" in tags(cell), cell.source
        if "claims.pin" in cell.source or "pins" in tags(cell):
            assert {"pins", "remove-cell"} <= tags(cell), cell.source
            assert cell.metadata.jupyter.source_hidden and not cell.metadata.jupyter.get("outputs_hidden")
            assert "claims.pin(" not in cell.source, "pins of a section stand together"


@every_read
def test_its_code_reads_as_insight(path):
    sizes = {source: len(code_lines(source)) for source in visible(path)}
    assert median(sizes.values()) <= MEDIAN_LINES and max(sizes.values()) <= N_LINES
    assert sum(len(plumbing(source)) for source in sizes) <= PLUMBING_SHARE * sum(sizes.values())
    assert not re.search(r"^\s*assert\b", "\n".join(sizes), re.MULTILINE)


@every_notebook
def test_no_line_is_wider_than_the_page(path):
    lines = [line for cell in cells(path, "code") for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > N_COLUMNS] == []


@every_read
def test_no_global_name_is_assigned_in_two_cells(path):
    names = Counter(name for cell in cells(path, "code") for name in assigned(cell.source))
    assert [name for name, count in names.items() if count > 1] == []


@every_read
def test_every_number_of_its_prose_has_an_owner(path):
    """A pin or a number in the code, of the same section or an earlier one; otherwise it is listed as given."""
    owned: list[float] = []
    for kind, source in sections(path):
        if kind == "code":
            owned += owners(source)
            continue
        text = prose(source, given=(*GIVEN, *GIVEN_IN.get(path.stem, ())))
        for found in NUMBER.finditer(text):
            value = float(found[1].replace(",", "").rstrip("."))
            near = (abs(value * scale - abs(owner)) <= 1e-9 * abs(owner) for owner in owned for scale in SCALES)
            small = value == int(value) and value <= SMALL and not WITH_UNIT.match(text, found.start())
            assert small or any(near), f"nobody computes: …{text[max(0, found.start() - 40) : found.end() + 20]}…"


@every_chapter
def test_it_judges_its_claims_once_each(path):
    assert sorted(content["id"] for content in ledger.verdicts_in(path)) == ids_of(path)


@every_chapter
def test_each_verdict_rests_on_the_evidence_the_register_asks_for(path):
    for content in ledger.verdicts_in(path):
        assert {part["how"] for part in content["parts"]} >= set(claims.CLAIMS[content["id"]].how), content["id"]


@every_chapter
def test_it_has_four_exercises_a_plan_and_a_drawing(path):
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    assert len(re.findall(r"^[`:]{3,}\{exercise\}", text, re.MULTILINE)) == 4
    teaching = text.split("## Teaching this")[1].split("\n## ")[0]
    assert re.search(r"^\| *Minutes", teaching, re.MULTILINE), "ten minutes as a table"
    assert re.search(r"\{figure\} \S+\.svg", teaching), "a drawing for the board"


def test_no_claim_of_a_chapter_is_left_without_a_verdict():
    assert [entry.claim.id for entry in ledger.read(ROOT / "notebooks") if entry.word == ledger.NO_VERDICT] == []


def test_the_table_of_contents_is_what_is_there():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    named = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]} | {toc["root"]}
    pages = [*NOTEBOOKS, *(ROOT / "book").glob("*.md")]
    assert named == {str(path.relative_to(ROOT).with_suffix("")) for path in pages}
