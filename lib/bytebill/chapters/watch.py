"""What is running, since when, and for how long still? A line in a terminal, two lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar

LINES = 20  # most that a count takes in a log
REDRAWS_PER_S = 1  # a chapter measures this machine: the bar must not be seen in its numbers


class _Bar(ProgressColumn):
    """The share of the expected time that has passed; it swings where none is known."""

    def render(self, task: Task) -> ProgressBar:
        expected_s = task.fields["expected_s"]
        return ProgressBar(total=expected_s, completed=min(task.elapsed or 0.0, expected_s or 0.0), width=30)


def about(expected_s: float | None) -> str:
    """The expected time as the end of a sentence.

    >>> about(41.6), about(None)
    (' of about 42 s', '')
    """
    return "" if expected_s is None else f" of about {expected_s:.0f} s"


@contextmanager
def watch(name: str, expected_s: float | None, *, console: Console) -> Iterator[None]:
    """Show a chapter's name, elapsed and expected time while the block runs."""
    if not console.is_terminal:
        console.print(f"{name} starts{about(expected_s).replace(' of', ':')}", highlight=False)
        yield
        return
    with Progress(
        TextColumn("{task.description}"),
        _Bar(),
        TextColumn("{task.elapsed:.0f} s{task.fields[about]}"),
        console=console,
        transient=True,
        refresh_per_second=REDRAWS_PER_S,
    ) as progress:
        progress.add_task(name, expected_s=expected_s, about=about(expected_s))
        yield


@contextmanager
def counter(*, console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar over a number of parts, and the time left: call what it yields with a label, the parts done, and all.

    In a log a line for each part, or for each twentieth of them.
    """
    if not console.is_terminal:
        start_s, told = time.perf_counter(), -1

        def line(label: str, done: int, total: int) -> None:
            nonlocal told
            if (part := LINES * done // max(total, 1)) != told or total <= LINES:
                told, so_far_s = part, time.perf_counter() - start_s
                left = f", about {so_far_s * (total - done) / done:.0f} s left" if 0 < done < total > LINES else ""
                console.print(f"{done}/{total} {label}{left}", highlight=False)

        yield line
        return
    with Progress(console=console, transient=True, refresh_per_second=REDRAWS_PER_S) as progress:
        task = progress.add_task("")
        yield lambda label, done, total: progress.update(task, description=label, completed=done, total=total)
