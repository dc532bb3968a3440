"""How is a file written so that nobody ever meets half of it? Beside its place first, on the disk, and then renamed.

A full disk or a kill leaves what was there before. What is no file (a pipe, a terminal) is written as it comes.
"""

import os
from pathlib import Path

from bytebill.errors import disk_errors


def write_whole(path: Path | str, content: str | bytes, *, otherwise: str = "it is as it was") -> None:
    """Write a text or bytes to a file; one sentence where that cannot be done, and then the file is as it was."""
    path, written = Path(path), content.encode() if isinstance(content, str) else content
    target = path.resolve()  # a link stays one
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with disk_errors(path, ending=f"; {otherwise}"):
            if target.exists() and not target.is_file():
                target.write_bytes(written)
                return
            with new.open("wb") as file:
                file.write(written)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)
