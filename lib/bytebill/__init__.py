"""The Byte Bill's package: the arithmetic, the engine and the measurements behind the chapters.

Importing it pins OpenMP threads to cores, if torch has not been imported yet: libgomp reads these variables
once, when it loads, and unpinned threads on a small machine cost a factor of ten (see `bytebill.device`).
"""

import os
import sys

__version__ = "0.1.0"

if "torch" not in sys.modules and sys.platform == "linux":
    os.environ.setdefault("OMP_PROC_BIND", "close")
    os.environ.setdefault("OMP_PLACES", "cores")
