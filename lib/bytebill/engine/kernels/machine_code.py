"""Where does a kernel's machine code come from? From this user's cache; numba compiles it where nobody has yet.

    $XDG_CACHE_HOME/bytebill/kernels/VERSION/NAME      VERSION: these sources, Python, numba, its settings, and the CPU

A chapter runs a dozen kernels, and numba takes a quarter of a second to three seconds for each. What it makes of them
depends on nothing but what VERSION and NAME say, so it is kept as an object file. The code calls OpenMP's two thread
functions, sqrt, memcpy and memset; code that calls anything else is refused. A damaged folder is made anew (`kept`). A
folder in which others may write is not used. Where nothing can be kept, every process compiles for itself. Trusts the
user's own files.
"""

import functools
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from re import fullmatch
from shutil import rmtree
from typing import Any

from bytebill.engine.kept import cache_folder, kept_folder
from bytebill.engine.kernels import openmp
from bytebill.errors import BytebillError, require

Region = Callable[..., None]  # of one pointer to 64-bit integers
ENTRY, _OBJECT = "bytebill_kernel", "kernel.o"
_OF_C = {"sqrt", "memcpy", "memset"}
_ROOM_BYTES = 1_000_000
_PATIENCE_S = 20.0  # with another process that compiles; after that this one does it alone
_OLD_S = 30 * 86_400  # code of another version that was made so long ago makes room


def address_of(make: Callable[[], Region], *made_for: object) -> int:
    """Address of the code of the region that `make()` returns; `made_for` is all that tells it from other kernels'."""
    name = sha256(repr(made_for).encode()).hexdigest()[:24]
    try:
        folder = kept_folder(
            _shelf() / name,
            lambda unfinished: _write(make(), unfinished),
            called="A kernel",
            n_bytes=_ROOM_BYTES,
            patience_s=_PATIENCE_S,
        )
        kept = (folder / _OBJECT).read_bytes()
    except (BytebillError, OSError, ImportError):
        kept = compiled(make())
    return loaded(kept)


def _shelf() -> Path:
    """The folder of this version's code, in which nobody else may write."""
    shelf = cache_folder() / "kernels" / _version()
    shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = shelf.lstat()
    alone = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    require(alone, f"Others may write into {shelf}.")
    return shelf


def compiled(region: Region) -> bytes:
    """The object that numba makes of a region, for this processor: a function `ENTRY(p)`.

    numba's function takes two pointers more, to a result and to an error, and returns whether there was one. A region
    returns nothing and raises nothing.
    """
    try:
        from llvmlite import binding
        from numba import njit, types
    except ImportError as error:
        told = f"numba cannot be used here ({error}): run `make setup`, or set {openmp.SWITCH}=torch for torch's speed."
        raise BytebillError(told) from error
    takes = (types.CPointer(types.int64),)
    code: Any = njit(types.void(*takes), **openmp.PLAINLY)(region)
    called = code.overloads[takes].fndesc.llvm_func_name
    entry = f"""
define void @{ENTRY}(ptr %p) {{
  %result = alloca i64
  %error = alloca i64
  %status = call i32 @"{called}"(ptr %result, ptr %error, ptr %p)
  ret void
}}
"""
    module = binding.parse_assembly(code.inspect_llvm(takes) + entry)
    used = {each.name for each in (*module.functions, *module.global_variables) if each.is_declaration}
    unknown = {name for name in used - _OF_C - {*openmp.team_symbols().values()} if not name.startswith("llvm.")}
    if unknown:  # the linker would end the process
        raise RuntimeError(f"a kernel asks for {', '.join(sorted(unknown))}")
    return bytes(_machine().emit_object(module))


def loaded(kernel: bytes) -> int:
    """Address of the function of an object, which is linked into this process and stays there."""
    from llvmlite import binding

    openmp.team_symbols()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(kernel))
    _KEEP.append(engine)
    return int(engine.get_function_address(ENTRY))


_KEEP: list[Any] = []  # code must outlive its address


def _write(region: Region, folder: Path) -> None:
    """The region's object into a folder."""
    _make_room(folder.parent)
    (folder / _OBJECT).write_bytes(compiled(region))


def _make_room(shelf: Path) -> None:
    """Remove the code of other versions once it is old, and nothing else that lies there."""
    for other in shelf.parent.iterdir():
        if other != shelf and fullmatch("[0-9a-f]{16}", other.name) and not other.is_symlink():
            with suppress(OSError):
                if time.time() - other.stat().st_mtime > _OLD_S:
                    rmtree(other)


def _machine() -> Any:
    """The target that code is written for: this processor."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=binding.get_host_cpu_name(), features=features, opt=3, jit=True)


@functools.cache
def _version() -> str:
    """A short hash of what the code of every kernel depends on."""
    from llvmlite import binding

    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    cpu = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten(), binding.get_default_triple()
    made_by = [sys.version, *(version(name) for name in ("numba", "llvmlite"))]
    settings = sorted(each for each in os.environ.items() if each[0].startswith("NUMBA_"))
    return sha256(repr((sources, cpu, made_by, settings)).encode()).hexdigest()[:16]
