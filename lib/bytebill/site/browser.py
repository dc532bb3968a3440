"""What do the pages do in a real browser? Each is opened in headless Chromium, served from this machine.

Wrong is: a request to another host, an error or warning in the console, an answer of 400 or more, a formula that is
not drawn, a picture that cannot be shown, a page wider than a phone or heavier than `PAGE_LIMIT_BYTES` with all it
loads before anybody clicks, and what the `PAGE_TRIALS` find: a ledger that cannot be used, a search that finds other
things, a calculator that does not answer, whatever keeps somebody from using a page. Two browsers share the pages, and
some pages are opened as files, with no server. With `--shots FOLDER` each page is also photographed: at a desk, on a
phone and a tablet, in the dark. No browser here: that is said, and the exit code is 0.

Usage: python -m bytebill.site.browser _build/html [PAGE ...] [--shots FOLDER]
"""

import argparse
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bytebill.site import check
from bytebill.site.tried import access, calculator_trial, ledger_trial, margin_trial, search_trial
from bytebill.units import MB

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 375, "height": 812}
TABLET = {"width": 768, "height": 1024}
VIEWS: Mapping[str, tuple[dict[str, int], str]] = {
    "desk": (DESK, "light"),
    "phone": (PHONE, "light"),
    "tablet": (TABLET, "light"),
    "dark": (DESK, "dark"),
}
BROKEN = """() => [...document.images].filter(each => each.checkVisibility() && each.complete && !each.naturalWidth)
    .map(each => each.getAttribute("src"))"""
SETTLED = "() => document.fonts.ready.then(() => true)"
UNDRAWN = """() => [...document.querySelectorAll("div.math, span.math")].filter(each => {
    const drawn = each.querySelector("math");
    return !drawn || drawn.querySelector("merror") || (drawn.checkVisibility() && !drawn.getBoundingClientRect().width);
}).length"""
FIRST_PAGES = ("index.html", "book/index.html")  # the first leads on to the second
PAGE_LIMIT_BYTES = {True: 1.0 * MB, False: 1.5 * MB}  # of a first page, of any other; raw, as a plain server sends them
PATIENCE_MS = 60_000  # a page is ready in one second, and a busy machine is not hurried
N_BROWSERS = 2
AS_FILES = 6  # every sixth page is opened without a server too

PAGE_TRIALS: tuple[Callable[[Any], Iterable[str]], ...] = (
    margin_trial.crowded,
    access.unreached,
    ledger_trial.faults,
    search_trial.search_faults,
    calculator_trial.calculator_faults,  # last: what it loads is no page's weight
)


def executable() -> str | None:
    """The browser of this machine: CHROMIUM in the environment, or one of the usual names."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def hosted(root: Path) -> Iterator[str]:
    """A folder at an address of this machine while the block runs."""
    handler = partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def look(root: Path, names: Sequence[str], *, program: str, shots: Path | None = None) -> list[str]:
    """Open the pages, and show each in every view; what is wrong, one line each."""
    from playwright.sync_api import sync_playwright

    found: list[str] = []
    asked: set[str] = set()
    with hosted(root) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags())
        for name in names:
            page = browser.new_page(reduced_motion="reduce")
            faults = _load(page, base, name)
            for view in VIEWS:
                faults += [*_show(page, view), *access.barriers(page, view, asked=asked)]
                if shots:
                    stem = name.removesuffix(".html").replace("/", "_")
                    page.screenshot(path=shots / f"{stem}_{view}.png", full_page=True)
            _show(page, "desk")
            faults += [fault for trial in PAGE_TRIALS for fault in trial(page)]
            found += [f"{name}: {fault}" for fault in faults]
            page.close()
        browser.close()
    return found


def open_as_files(root: Path, names: Sequence[str], *, program: str) -> list[str]:
    """Open pages as files, with no server; what is wrong, one line each."""
    from playwright.sync_api import sync_playwright

    found: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags())
        for name in names:
            page = browser.new_page(reduced_motion="reduce")
            found += [f"{name} as a file: {fault}" for fault in _load(page, f"{root.as_uri()}/", name)]
            page.close()
        browser.close()
    return found


def look_at_once(root: Path, names: Sequence[str], *, program: str, shots: Path | None = None) -> list[str]:
    """The same by several browsers, each with a share of the pages."""
    n_browsers = min(N_BROWSERS, len(names))
    shares = [names[at::n_browsers] for at in range(n_browsers)]
    with ProcessPoolExecutor(n_browsers) as pool:
        return [fault for part in pool.map(partial(look, root, program=program, shots=shots), shares) for fault in part]


def flags() -> list[str]:
    """What Chromium is started with; root may not use its sandbox."""
    return [*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]


def _load(page: Any, base: str, name: str) -> list[str]:
    """Open one page and wait until it has settled; what it asked for in vain, and what it complained of."""
    faults: list[str] = []
    loaded: list[int] = []

    def route(asked: Any) -> None:
        url = asked.request.url
        if url.startswith((base, "data:", "blob:")):
            asked.continue_()
        else:
            faults.append(f"asks another host: {url}")
            asked.abort()

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            faults.append(f"console {message.type}: {message.text[:200]}")

    def response(got: Any) -> None:
        loaded.append(int(got.headers.get("content-length", 0)))
        if got.status >= 400:
            faults.append(f"{got.status} {got.url}")

    page.route("**/*", route)
    page.on("console", console)
    page.on("pageerror", lambda error: faults.append(f"script error: {str(error)[:200]}"))
    page.on("response", response)
    _show(page, "desk")
    page.goto(base + name, wait_until="networkidle", timeout=PATIENCE_MS)
    page.evaluate(SETTLED)
    if n_undrawn := page.evaluate(UNDRAWN):
        faults.append(f"{n_undrawn} formulas are not drawn")
    return [*faults, *_overweight(name, sum(loaded))]


def _overweight(name: str, n_bytes: int) -> list[str]:
    most = PAGE_LIMIT_BYTES[name in FIRST_PAGES]
    return [f"weighs {n_bytes / MB:.2f} MB, more than {most / MB:g}"] if n_bytes > most else []


def _show(page: Any, view: str) -> list[str]:
    """Bring a loaded page into a view; whether it fits the screen and its pictures are there."""
    size, scheme = VIEWS[view]
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    faults = [f"is {wide} px wider than the screen ({view})"] if wide > 0 else []
    return faults + [f"cannot show {path} ({view})" for path in page.evaluate(BROKEN)]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the report says what matters."""


def main() -> int:
    """Open every page of a built site, or those named."""
    parser = argparse.ArgumentParser(description="Open built pages in headless Chromium.")
    parser.add_argument("root", type=Path)
    parser.add_argument("pages", nargs="*")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the pages")
    given = parser.parse_args()
    root, program = given.root.resolve(), executable()
    if program is None:
        print("Not checked: the pages in a browser (no Chromium on this machine; name one with CHROMIUM=path).")
        return 0
    names = given.pages or [path.relative_to(root).as_posix() for path in check.pages(root)]
    if given.shots:
        given.shots.mkdir(parents=True, exist_ok=True)
    found = look_at_once(root, names, program=program, shots=given.shots)
    found += open_as_files(root, names[::AS_FILES], program=program)
    print(
        "\n".join(found)
        or f"{len(names)} pages in Chromium: no outside request, no console error, nothing cut, nobody kept out."
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
