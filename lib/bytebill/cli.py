"""The command line: run the chapters, build the book, show the ledger, measure the machine, say whether a model fits.

Thin on purpose: what a command does is in `chapters`, `claims`, `models`, `memory`, `site` and `trials`. A mistake of
the caller ends in one sentence on stderr and exit code 2, a chapter that fails in exit code 1. Imports are made inside
the commands, so that `bytebill --help` does not wait for torch.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an old interpreter must be told before it meets a newer import
    sys.exit("The Byte Bill needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make book")

import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bytebill.errors import BytebillError, require

if TYPE_CHECKING:
    from rich.table import Table

    from bytebill.chapters import Ending
    from bytebill.models import ModelSpec, Precision

app = typer.Typer(
    help="Every claim about the cost of LLM inference, on trial with code you can re-run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Chapters = Annotated[list[str] | None, typer.Argument(metavar="CHAPTER", help="01 or a whole name; all if none.")]
Profile = Annotated[str | None, typer.Option(help="quick (two CPU cores, under 45 s a chapter) or full.")]
OnDevice = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command()
def run(
    chapters: Chapters = None,
    profile: Profile = None,
    device: OnDevice = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME VALUE", help="A name of the chapter's parameters cell.")
    ] = None,
) -> None:
    """Run chapters on this machine, into _build/executed, with a record of each in _build/records."""
    _run(chapters or [], profile=profile, device=device, parameters=dict(map(_pair, parameter or [])))


@app.command()
def book(
    profile: Profile = None,
    device: OnDevice = None,
    committed: Annotated[
        bool, typer.Option("--committed", help="Run nothing: render the outputs as committed.")
    ] = False,
) -> None:
    """Run all chapters here and render the book with the numbers of this machine."""
    from bytebill import chapters
    from bytebill.site.build import render

    here = chapters.this_book()
    if not committed:
        _run([], profile=profile, device=device, parameters={})
    typer.echo("rendering the pages", err=True)
    page = render(here.root if committed else chapters.stage(here), root=here.root)
    typer.echo(f"The book is rendered; open {page}")


@app.command("slides")
def make_slides() -> None:
    """Make the slides of each session anew from the rendered book, and say where they are."""
    from bytebill import chapters
    from bytebill.site.teaching import slides

    for path in slides.write_decks(chapters.this_book().build / "html"):
        typer.echo(path)


@app.command("pdf")
def print_pages(
    pages: Annotated[
        list[str] | None, typer.Argument(metavar="PAGE.html", help="As in slides/an-hour.html; all.")
    ] = None,
) -> None:
    """Print the rendered pages and the slides into _build/pdf, by Chromium."""
    from bytebill import chapters
    from bytebill.site import printed

    build = chapters.this_book().build
    for path in printed.to_pdf(build / "html", build / "pdf", only=pages or ()):
        typer.echo(path)


@app.command("refresh")
def refresh_committed(chapters: Chapters = None) -> None:
    """Run chapters afresh and, only if all of them pass, replace the committed notebooks."""
    from bytebill import chapters as book

    _report(book.refresh(chapters or [], watch=_watch()))


@app.command()
def ledger(
    as_json: AsJson = False,
    executed: Annotated[bool, typer.Option("--executed", help="Read what this machine ran, where it ran it.")] = False,
    word: Annotated[str, typer.Option(help="Only claims with this word, as in 'wrong'.")] = "all",
    chapter: Annotated[str, typer.Option(metavar="N", help="Only claims of this chapter.")] = "all",
) -> None:
    """Show which claims may be repeated, and what to say instead of the others."""
    from bytebill import chapters
    from bytebill.claims import ledger as book

    here = chapters.this_book()
    found = book.read(here.executed if executed else None, book=here)
    entries = book.select(found, word=word, chapter=chapter)
    if as_json:
        typer.echo(json.dumps({"claims": [entry.to_json() for entry in entries]}, ensure_ascii=False, indent=1))
    else:
        Console().print(book.for_terminal(entries))


@app.command()
def bench(
    only: Annotated[str | None, typer.Option(metavar="PART", help="Measure one part.")] = None,
    device: OnDevice = None,
    out: Annotated[str | None, typer.Option(metavar="FILE.json", help="The record; _build/records/bench.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure this machine: how fast it reads, multiplies and decodes."""
    from bytebill import chapters, records
    from bytebill.chapters import watch
    from bytebill.trials import bench as machine

    name = f"bench-{only}.json" if only else "bench.json"
    path = Path(out) if out else chapters.this_book().records / name
    with watch.counter(console=Console(stderr=True)) as count:
        found = machine.run(only=only, device=device or "auto", progress=count)
    record = machine.as_record(found)
    records.write_record(path, record)
    if as_json:
        typer.echo(json.dumps(record))
    else:
        Console().print(machine.overview(found))
    typer.echo(f"on record: {path}", err=True)


@app.command("compare")
def compare_machines(
    machines: Annotated[
        list[str],
        typer.Argument(metavar="A B...", help="Records, folders of them, machines of data/measured, or 'committed'."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show machines side by side: ceilings, steps over their predictions, and claims that come out otherwise."""
    from bytebill import records
    from bytebill.claims import run_record

    known = {run_record.COMMITTED: run_record.committed_machine}
    found = records.side_by_side([known.get(each, partial(records.find_machine, each))() for each in machines])
    typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False) if as_json else records.as_tables(found))


@app.command("score")
def score_table(
    path: Annotated[str, typer.Argument(metavar="FILE.csv", help="Served rows; columns: see `bytebill.trials.score`.")],
    as_json: AsJson = False,
) -> None:
    """Hold the clock against measured rows of your own, and tell how far off it is."""
    from bytebill.trials import score

    rows = score.score(path)
    if as_json:
        found = {"rows": [row.to_json() for row in rows], "summary": score.errors_by_group(rows)}
        typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(score.as_lines(rows))


@app.command("sweep")
def sweep_points(
    path: Annotated[str, typer.Argument(metavar="FILE.yaml", help="A base, a grid, seeds: see `bytebill.sim.sweep`.")],
    out: Annotated[str | None, typer.Option(metavar="FILE.csv", help="The table: .csv or .parquet; stdout.")] = None,
    jobs: Annotated[int | None, typer.Option(metavar="N", help="Local processes; all cores.")] = None,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler's, instead of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate every operating point of a grid; a run that was stopped goes on when it is asked for again."""
    from bytebill.chapters import watch
    from bytebill.data import read_yaml
    from bytebill.sim.sweep import Sweep
    from bytebill.trials import sweeps

    require(out is None or Path(out).resolve() != Path(path).resolve(), f"{out} is the sweep; name another table.")
    asked = Sweep.read(read_yaml(path))
    try:
        with watch.counter(console=Console(stderr=True)) as count:
            rows = sweeps.run(asked, jobs=jobs, dask=dask, out=out, progress=partial(count, "operating points"))
    except KeyboardInterrupt:
        kept = "" if out is None else f"; what is done stands in {out}.part, and the same command goes on with it"
        raise BytebillError(f"The sweep was stopped{kept}.") from None
    if as_json:
        typer.echo(json.dumps({"rows": rows}, allow_nan=False))
    elif out is None:
        typer.echo(sweeps.as_csv(rows), nl=False)
    reasons = dict.fromkeys(row["refused"] for row in rows if row["refused"])
    require(
        not reasons or any(not row["refused"] for row in rows), f"No point can be served: {next(iter(reasons), '')}"
    )


@app.command()
def fits(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the register, as in llama-3-8b.")],
    accelerator: Annotated[str, typer.Option(metavar="ID", help="A device of the register, as in h100-sxm.")],
    devices: Annotated[int, typer.Option(metavar="N", help="Devices that hold the model together.")] = 1,
    program: Annotated[str, typer.Option(help="vllm, sglang or trtllm.")] = "vllm",
    utilization: Annotated[
        float | None, typer.Option(metavar="SHARE", help="gpu_memory_utilization, or what the program has for it.")
    ] = None,
    max_step_tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens of the largest step.")] = None,
    context: Annotated[int | None, typer.Option(metavar="N", help="Tokens of a user; the model's longest.")] = None,
    users: Annotated[int, typer.Option(metavar="N", help="Users that must fit at once.")] = 1,
    weights: Annotated[str, typer.Option(help="auto, bf16, fp8, int8, int4, mxfp4 or nvfp4.")] = "auto",
    kv: Annotated[str, typer.Option(help="Width of the cache: bf16 or fp8.")] = "bf16",
    attention: Annotated[str, typer.Option(help="tensor: devices share heads; data: each its own users.")] = "tensor",
    draft: Annotated[str | None, typer.Option(metavar="MODEL", help="A draft model beside it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say where the memory of each device goes, and how many tokens and users it leaves room for."""
    from bytebill.memory import view
    from bytebill.memory.footprint import footprint_of

    served = footprint_of(
        model,
        accelerator=accelerator,
        n_devices=devices,
        program=program,
        weights=weights,
        kv=kv,
        attention=attention,
        draft=draft,
        utilization=utilization,
        step_tokens=max_step_tokens,
    )
    require(users >= 1, f"At least one user must fit, not {users}.")
    wanted = {"context_len": served.context_len if context is None else context, "n_users": users}
    if as_json:
        typer.echo(json.dumps(view.answers(served, **wanted)))
    else:
        Console().print(view.picture(served, **wanted))


@app.command()
def price(
    case: Annotated[str | None, typer.Option(metavar="FILE.yaml", help="The form of a deployment, filled in.")] = None,
    program: Annotated[
        str | None, typer.Option(metavar="FILE.json", help="Your server as `bytebill probe` found it, as its program.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Price a deployment of your own: batch, fleet, invoice, on one page. Without --case: the form, to be filled in."""
    from bytebill import statement
    from bytebill.data import read_yaml
    from bytebill.statement.form import EXAMPLE, Form

    if case is None:
        typer.echo(EXAMPLE, nl=False)
        return
    asked = read_yaml(case)
    form = Form.read({**asked, "program": program} if program and isinstance(asked, dict) else asked)
    found = form.statement()
    if as_json:
        typer.echo(json.dumps(statement.as_json(found), allow_nan=False))
    else:
        typer.echo(statement.markdown(found, lengths=form.lengths, attainment=form.attainment))


@app.command("probe")
def probe_server(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="An OpenAI-compatible server, as http://localhost:8000/v1.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="The model, as the server calls it.")],
    accelerator: Annotated[str, typer.Option(metavar="ID", help="What it runs on: a device of the register.")],
    shape: Annotated[
        str | None, typer.Option(metavar="ID|CONFIG.json", help="The model, as the register calls it; as the server.")
    ] = None,
    devices: Annotated[int, typer.Option(metavar="N", help="Devices that hold it together.")] = 1,
    weights: Annotated[str, typer.Option(help="auto, bf16, fp8, int8, int4, mxfp4 or nvfp4.")] = "auto",
    kv: Annotated[str, typer.Option(help="Width of the cache: bf16 or fp8.")] = "bf16",
    like: Annotated[str, typer.Option(help="The program it is most like: vllm, sglang or trtllm.")] = "vllm",
    key_env: Annotated[str | None, typer.Option(metavar="VAR", help="Environment variable with the key.")] = None,
    prompt_tokens: Annotated[int, typer.Option(metavar="N", help="The longest prompt.")] = 512,
    answer_tokens: Annotated[int, typer.Option(metavar="N", help="The longest answer.")] = 64,
    at_once: Annotated[int, typer.Option(metavar="N", help="Most requests at once.")] = 16,
    max_minutes: Annotated[float, typer.Option(metavar="N", help="It ends by then.")] = 3.0,
    out: Annotated[str | None, typer.Option(metavar="FILE.json", help="The program's file, for `price`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a server of yours, fit its constants, and hold their predictions to loads they have not seen."""
    from bytebill.chapters import watch
    from bytebill.data import write_whole
    from bytebill.trials import probe

    require(out is None or Path(out).resolve().parent.is_dir(), f"There is no folder for {out}.")
    allowed = probe.Allowed(
        n_input_tokens=prompt_tokens, n_output_tokens=answer_tokens, n_at_once=at_once, minutes=max_minutes
    )
    group = probe.group_of(shape or model, accelerator=accelerator, n_devices=devices, weights=weights, kv=kv)
    with watch.counter(console=Console(stderr=True)) as count:
        found = probe.run(url, model=model, group=group, allowed=allowed, like=like, key_env=key_env, progress=count)
    typer.echo(json.dumps(found.to_json()) if as_json else probe.as_answer(found))
    if out is not None:  # after the answer: a disk that is full by then has not cost the measurement
        write_whole(out, json.dumps(found.to_json(), indent=1) + "\n")


@app.command("model")
def show_model(
    name: Annotated[str, typer.Argument(metavar="ID|CONFIG.json", help="llama-3.1-8b, Qwen/Qwen3-32B, or a file.")],
    context: Annotated[list[int] | None, typer.Option(metavar="TOKENS", help="Several are several columns.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how large a model is: parameters, weights as stored, and what it keeps of a sequence."""
    from bytebill import models

    spec, stored = models.find(name)
    found = models.summary(spec, precision=stored, context_lens=context or ())
    if as_json:
        typer.echo(json.dumps(found))
        return
    Console().print(_model_table(spec, stored, found))
    from bytebill.engine.weights.names import require_llama

    try:
        require_llama(spec)
    except BytebillError as error:
        typer.echo(error)


def main() -> None:
    """The entry point: what a reader can mend ends in one sentence."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII alone still gets the words
    try:
        app(args=list(_joined(sys.argv[1:])), prog_name="bytebill")
    except BytebillError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except MemoryError:
        print("This machine has too little free memory for that; close other programs.", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:  # what the system refuses: a full disk, a folder that may not be written
        if error.strerror is None:
            raise
        print(f"{error.filename or 'The output'}: {error.strerror}.", file=sys.stderr)
        raise SystemExit(2) from None


def _run(names: list[str], *, profile: str | None, device: str | None, parameters: dict[str, Any]) -> None:
    from bytebill import chapters

    if device in ("cuda", "mps"):
        os.environ["OMP_PROC_BIND"] = "false"  # pinned threads are for timing CPUs; kernels here would inherit one core
        from bytebill.device import pick

        pick(device)  # before any chapter starts: one that is not there should not be found out chapter by chapter
    _report(_on_record(chapters.run(names, profile=profile, device=device, parameters=parameters, watch=_watch())))


def _on_record(outcomes: Iterable[Ending]) -> Iterator[Ending]:
    """Write a record of each chapter that passes."""
    from bytebill.chapters import this_book
    from bytebill.claims.run_record import write_run

    for outcome in outcomes:
        if outcome.error is None:
            write_run(outcome.name, book=this_book(), run_s=outcome.run_s)
        yield outcome


def _report(outcomes: Iterable[Ending]) -> None:
    """Say how each chapter ended; exit code 1 unless all passed."""
    n_failed = 0
    for outcome in outcomes:
        n_failed += outcome.error is not None
        end = "passed" if outcome.error is None else f"failed: {outcome.error}"
        typer.echo(f"{outcome.name} {end} ({outcome.run_s:.0f} s)", err=True)
    if n_failed:
        raise typer.Exit(1)


def _model_table(spec: ModelSpec, stored: Precision, found: dict[str, Any]) -> Table:
    from rich.table import Table

    from bytebill.models import weights_by_width
    from bytebill.units import show

    table = Table("", "", title=f"{spec.name}, stored in {stored.name}", title_justify="left")
    for key in ("n_params", "n_active_params", "n_embedding_params"):
        table.add_row(key.removeprefix("n_").replace("_", " "), f"{found[key]:,}")
    layers = ", ".join(f"{n} {kind}" for kind, n in found["layers"].items())
    table.add_row("layers", layers, end_section=True)
    for (group, width), n_bytes in weights_by_width(spec, precision=stored).items():
        table.add_row(f"{group} in {width}", show(n_bytes, unit="B"))
    table.add_row("weights", show(found["weight_bytes"], unit="B"), end_section=True)
    for each in found["cache_bytes"]:
        table.add_row(f"cache of {each['context']:,} tokens", show(each["bytes"], unit="B"))
    table.add_row("state of a sequence", show(found["state_bytes"], unit="B"))
    return table


def _watch() -> Any:
    from bytebill.chapters import watch

    return partial(watch.watch, console=Console(stderr=True))


def _joined(arguments: list[str]) -> Iterator[str]:
    """`-p NAME VALUE` as `-p NAME=VALUE`: the library of the command line has no repeated pairs.

    >>> list(_joined(["run", "01", "-p", "batch", "8", "-p", "name=x"]))
    ['run', '01', '-p', 'batch=8', '-p', 'name=x']
    """
    rest = iter(arguments)
    for argument in rest:
        yield argument
        if argument == "-p":
            name = next(rest, "")
            yield name if "=" in name else f"{name}={next(rest, '')}"


def _pair(text: str) -> tuple[str, str]:
    """Name and value of a parameter, both as text: `chapters.parameters` reads the value as the chapter has it.

    >>> _pair("batch=8"), _pair("model=llama-3-8b"), _pair("ratios=[1, 2]")
    (('batch', '8'), ('model', 'llama-3-8b'), ('ratios', '[1, 2]'))
    """
    name, _, value = text.partition("=")
    require(bool(name and value), f"-p takes a name and a value, as in: -p profile full (given: '{name} {value}').")
    return name, value


if __name__ == "__main__":
    main()
