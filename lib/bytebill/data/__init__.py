"""Where do the book's numbers come from? Tables with their sources (`tables`), and the rules they keep (`rules`)."""

from bytebill.data.register import Register
from bytebill.data.rules import validate
from bytebill.data.tables import (
    PROVENANCE,
    REPOSITORY,
    Row,
    claims,
    measured,
    names,
    raw_rows,
    rehash,
    root,
    sha256,
    sidecar,
    table,
    typed,
)
