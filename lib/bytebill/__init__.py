"""The Byte Bill's package: the arithmetic, the engine and the measurements behind the chapters.

Importing it pins OpenMP threads to cores, if torch has not been imported yet: libgomp reads these variables
once, when it loads, and unpinned threads on a small machine cost a factor of ten (see `bytebill.device`). A worker
process begins with the one core of the thread that started it, where two of them would share it: it takes all that
its parent was given.
"""

import multiprocessing
import os
import sys

__version__ = "0.1.0"

if "torch" not in sys.modules and sys.platform == "linux":
    os.environ.setdefault("OMP_PROC_BIND", "close")
    os.environ.setdefault("OMP_PLACES", "cores")
    given = os.environ.setdefault("BYTEBILL_CORES", " ".join(map(str, os.sched_getaffinity(0))))
    if multiprocessing.parent_process():
        os.sched_setaffinity(0, map(int, given.split()))
