"""Code is compiled once for this user and processor; whatever is wrong with the cache, the kernel runs."""

import ctypes
import os
import time
from pathlib import Path

import pytest

from bytebill.engine.kernels import machine_code, openmp

pytestmark = pytest.mark.skipif(not openmp.available(), reason="no compiled kernels here")


class Maker:
    """Makes a region that writes 6 * p[1] to the address p[0], and counts how often it was asked to."""

    def __init__(self) -> None:
        self.n_made = 0

    def __call__(self):
        from bytebill.engine.kernels import simd

        self.n_made += 1
        store_one = simd.operations(4)["store_one"]

        def region(p):
            store_one(p[0], 6.0 * p[1] + openmp_rank())

        openmp_rank = openmp.thread_functions()["thread_num"]
        return region


def result_of(address, x):
    y = ctypes.c_float()
    args = (ctypes.c_int64 * 2)(ctypes.addressof(y), x)
    openmp.parallel()(address, ctypes.addressof(args), 1, 0)
    return y.value


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bytebill" / "kernels" / machine_code._version()


def test_code_is_made_once_for_what_it_is_made_for(shelf):
    maker = Maker()
    assert [result_of(machine_code.address_of(maker, "six", each), 7) for each in (1, 1, 2)] == [42] * 3
    assert maker.n_made == 2 and len(list(shelf.iterdir())) == 2


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.write_bytes(path.read_bytes()[:-100]), lambda path: path.write_bytes(b""), os.unlink],
    ids=["cut", "empty", "gone"],
)
def test_a_damaged_object_is_made_anew(shelf, spoil):
    maker = Maker()
    machine_code.address_of(maker, "six")
    (kept,) = shelf.glob("*/kernel.o")
    spoil(kept)
    assert result_of(machine_code.address_of(maker, "six"), 2) == 12 and maker.n_made == 2
    assert result_of(machine_code.address_of(maker, "six"), 3) == 18 and maker.n_made == 2


def test_another_users_code_is_not_run(shelf, monkeypatch):
    maker = Maker()
    machine_code.address_of(maker, "six")
    monkeypatch.setattr(machine_code.os, "getuid", lambda: os.stat(shelf).st_uid + 1)
    assert result_of(machine_code.address_of(maker, "six"), 2) == 12 and maker.n_made == 2


def test_without_a_cache_each_process_compiles(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    maker = Maker()
    assert [result_of(machine_code.address_of(maker, "six"), 2) for _ in range(2)] == [12, 12] and maker.n_made == 2


def test_code_of_other_versions_goes_when_it_is_old(shelf):
    old, recent = shelf.parent / "old", shelf.parent / "recent"
    for other, age_s in ((old, 40 * 86_400), (recent, 20 * 86_400)):
        other.mkdir(parents=True)
        os.utime(other, times=(time.time() - age_s,) * 2)
    machine_code.address_of(Maker(), "six")
    assert {path.name for path in shelf.parent.iterdir()} == {"recent", shelf.name}


def test_a_region_that_calls_python_is_refused_before_the_linker_ends_the_process():
    def region(p):
        print(p[0])

    with pytest.raises(AssertionError, match=r"a kernel asks for .*Py"):
        machine_code.compiled(region)


def test_a_user_without_a_home_compiles(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert result_of(machine_code.address_of(Maker(), "six"), 2) == 12
