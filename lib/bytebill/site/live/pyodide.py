"""Where does the pages' own Python come from? Pyodide from npm: pinned, checked, kept in the environment, in no commit.

`make pyodide` asks npm for one archive, and only one with the checksum below is kept. Without npm or a network it says
so in a sentence and fails; the installation goes on without it, and the book is rendered without its live calculator,
which then shows its table.

Usage: python -m bytebill.site.live.pyodide
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "314.0.7"
SHA512 = (
    "d18bd7c4485f11da4b7dbfd790cd8114078c44eab488c517d9bcf31fda4eb6dc"
    "8c716930abe1db139bb2b860fcd8b37bcb6abe48dbe2ffa579244b0e943d91d4"
)
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
_PATIENCE_S = 300
WITHOUT = "The book is rendered without its live calculator; its table of worked cases is there."


def archive() -> Path:
    """Where the archive is kept: in the environment that runs this."""
    return Path(sys.prefix) / "share" / "bytebill" / f"pyodide-{VERSION}.tgz"


def is_whole(path: Path) -> bool:
    """Whether a file is the archive that this book was made for."""
    return path.is_file() and hashlib.sha512(path.read_bytes()).hexdigest() == SHA512


def fetch() -> str:
    """Get the archive if it is not there yet; what happened, in a sentence."""
    kept = archive()
    if is_whole(kept):
        return f"Pyodide {VERSION} is here."
    npm = shutil.which("npm")
    if npm is None:
        return f"Pyodide was not fetched: there is no npm on this machine. {WITHOUT}"
    command = [npm, "pack", f"pyodide@{VERSION}", "--silent", "--fetch-retries=1", "--fetch-timeout=60000"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return f"Pyodide was not fetched: npm took longer than {_PATIENCE_S} s. {WITHOUT}"
        got = Path(folder) / kept.name
        if done.returncode or not got.is_file():
            return f"Pyodide was not fetched: npm could not get it (is there a network?). {WITHOUT}"
        if not is_whole(got):
            return f"Pyodide was not fetched: what npm got has another checksum than this book's. {WITHOUT}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(got, kept)
    return f"Pyodide {VERSION} is here."


def lay_runtime(folder: Path, *, kept: Path | None = None) -> bool:
    """Lay the files that a page needs into a folder; False where there is no whole archive."""
    kept = kept or archive()
    if not is_whole(kept):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(kept) as packed:
        for name in RUNTIME:
            member = packed.extractfile(f"package/{name}")
            if member is None:
                return False
            (folder / name).write_bytes(member.read())
    return True


def main() -> int:
    """Fetch, and say whether the runtime is here."""
    print(fetch())
    return 0 if is_whole(archive()) else 1


if __name__ == "__main__":
    sys.exit(main())
