"""Where do the book's numbers come from? Tables with their sources (`tables`), and the rules they keep (`rules`);
records of them by name (`register`), and the core's tables in one file (`bundle`).
"""

from bytebill.data.register import Register
from bytebill.data.rules import validate
from bytebill.data.tables import (
    PROVENANCE,
    REPOSITORY,
    Row,
    article,
    claims,
    grouped,
    measured,
    names,
    panels,
    raw_rows,
    read_yaml,
    rehash,
    root,
    rows,
    sha256,
    sidecar,
    typed,
)
from bytebill.data.whole import write_whole
