"""How are the sources rendered? Jupyter Book into `_build/html`, every warning an error, slides, and a check.

The old pages go first, because Jupyter Book would leave those of a chapter that is no more. The new ones grow in
`_build/rendering` and take their place when they are all there: a build that was stopped is never shown. The log stays
quiet while all is well and is printed when it is not, unless the disk was at fault: then one sentence says more.
"""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bytebill.errors import BytebillError
from bytebill.site import check
from bytebill.site.teaching import slides

# It cannot be run with -m. The module that is hidden checks international addresses in a configuration, which ours has
# not, and makes forty parsers when it is imported: three seconds.
BUILDER = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_book.cli.main import main; main()"
STRICT = ("-W", "--keep-going", "-n", "--all", "-q")
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def render(source: Path, *, root: Path) -> Path:
    """Build the book in `source` into `_build/html` below `root`, and return its first page."""
    html, growing = root / "_build" / "html", root / "_build" / "rendering"
    for stale in (html, growing):
        shutil.rmtree(stale, ignore_errors=True)
    command = [sys.executable, "-c", BUILDER, "build", str(source), "--path-output", str(growing), *STRICT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        for number in DISK_ERRORS:
            if f"[Errno {number}]" in done.stderr + done.stdout:
                raise BytebillError(f"The book was not rendered into {html}: {os.strerror(number).lower()}.")
        sys.stderr.write(done.stdout + done.stderr)
        raise BytebillError("The book was not rendered: Sphinx warned (above), and a warning counts as an error.")
    made = growing / "_build" / "html"
    slides.write_decks(made)
    made.rename(html)
    shutil.rmtree(growing, ignore_errors=True)
    if found := check.problems(html):
        sys.stderr.write("\n".join(found) + "\n")
        raise BytebillError(f"The book was rendered, and {len(found)} faults were found in its pages (above).")
    return html / "index.html"
