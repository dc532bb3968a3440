"""Which accelerators, models, prices are there? Records by their id, read from the data when first asked for.

A `Register` is a mapping that knows what it holds: a name that is not there is an error that tells the nearest ones.
It reads once for each place that the data come from, so that a test or a page may name another one.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Generic, TypeVar

from bytebill.data import tables
from bytebill.errors import require_known

T = TypeVar("T")


class Register(Mapping[str, T], Generic[T]):
    """Records of one kind by id, in the order of their table.

    >>> toys = Register("toy", lambda: {"ball": 1, "doll": 2})
    >>> toys["ball"], list(toys), "bal" in toys
    (1, ['ball', 'doll'], False)
    >>> toys["bal"]
    Traceback (most recent call last):
    bytebill.errors.UnknownNameError: There is no toy 'bal'; nearest: ball.
    """

    def __init__(self, kind: str, read: Callable[[], Mapping[str, T]]) -> None:
        self._kind, self._read_from = kind, cache(lambda place: read())

    def __getitem__(self, id: str) -> T:
        records = self._records
        require_known(self._kind, id, records)
        return records[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def _records(self) -> Mapping[str, T]:
        return self._read_from(tables.kept_in())
