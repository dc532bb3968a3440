"""Code is compiled once for this user and processor; whatever is wrong with the cache, the kernel runs."""

import ctypes
import os
import sys
import time
from pathlib import Path

import pytest

from bytebill.engine.kernels import machine_code, openmp
from bytebill.errors import BytebillError

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


def another_users(shelf, monkeypatch):
    monkeypatch.setattr(machine_code.os, "getuid", lambda: os.stat(shelf).st_uid + 1)


def open_to_all(shelf, monkeypatch):
    shelf.chmod(0o777)


def elsewhere(shelf, monkeypatch):
    shelf.rename(shelf.parent / "aside")
    shelf.symlink_to(shelf.parent / "aside")


@pytest.mark.parametrize("spoil", [another_users, open_to_all, elsewhere])
def test_code_that_others_may_have_written_is_not_run(shelf, monkeypatch, spoil):
    maker = Maker()
    machine_code.address_of(maker, "six")
    assert shelf.stat().st_mode & 0o077 == 0
    spoil(shelf, monkeypatch)
    assert result_of(machine_code.address_of(maker, "six"), 2) == 12 and maker.n_made == 2


def test_nobody_waits_for_ever_for_a_stopped_process(shelf, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    shelf.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(machine_code, "_PATIENCE_S", 0.1)
    handle = os.open(shelf, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert result_of(machine_code.address_of(Maker(), "six"), 2) == 12 and not list(shelf.iterdir())
    os.close(handle)


def test_a_setting_of_numbas_is_another_version(monkeypatch):
    before = machine_code._version()
    machine_code._version.cache_clear()
    monkeypatch.setenv("NUMBA_OPT", "0")
    assert machine_code._version() != before
    machine_code._version.cache_clear()


def test_a_numba_that_cannot_be_imported_is_told(shelf, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(BytebillError, match=r"numba cannot be used here .*BYTEBILL_KERNELS=torch"):
        machine_code.address_of(lambda: lambda p: None, "nothing")


def test_without_a_cache_each_process_compiles(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    maker = Maker()
    assert [result_of(machine_code.address_of(maker, "six"), 2) for _ in range(2)] == [12, 12] and maker.n_made == 2


def test_code_of_other_versions_goes_when_it_is_old(shelf):
    days = {"0" * 16: 40, "1" * 16: 20, "of somebody": 40}
    for name, age in days.items():
        (shelf.parent / name).mkdir(parents=True)
        os.utime(shelf.parent / name, times=(time.time() - age * 86_400,) * 2)
    (shelf.parent / ("2" * 16)).symlink_to("/nowhere")
    machine_code.address_of(Maker(), "six")
    assert {path.name for path in shelf.parent.iterdir()} == {"1" * 16, "of somebody", "2" * 16, shelf.name}


def test_a_region_that_calls_python_is_refused_before_the_linker_ends_the_process():
    def region(p):
        print(p[0])

    with pytest.raises(RuntimeError, match=r"a kernel asks for .*Py"):
        machine_code.compiled(region)


def test_a_user_without_a_home_compiles(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert result_of(machine_code.address_of(Maker(), "six"), 2) == 12
