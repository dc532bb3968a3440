"""`python -m bytebill.data`, after editing a table: say what is wrong, or renew the checksums where nothing is.

`python -m bytebill.data bundle.json` writes the core's tables into one file besides.
"""

import sys
from pathlib import Path

from bytebill import data
from bytebill.data import bundle

if __name__ == "__main__":
    if problems := data.validate(checksums=False):
        sys.exit("\n".join(problems))
    data.rehash()
    for path in sys.argv[1:]:
        bundle.write(Path(path))
    print("data: no problems")
