"""Loops that numba compiles: how, and when."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba

Function = Callable[..., Any]

# For what only loops call: it is compiled as part of them.
part = numba.njit(fastmath=True, error_model="numpy")


def compiled(signature: str) -> Callable[[Function], Function]:
    """Compile a loop for these types when its module is imported, or load it from the disk.

    So a process that has imported the module hands the loops, ready to run, to those it forks.
    They run without Python's lock. LLVM makes vector code of a loop over slices of single rows, and
    only if all its scalars are float32, or int32: one Python number would make it 64 bits wide.
    """

    # fastmath reorders sums; last bits differ between processors: test with a tolerance.
    jit = partial(numba.njit, signature, nogil=True, fastmath=True, error_model="numpy")

    def compile_or_load(function: Function) -> Function:
        try:
            return jit(cache=True)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return jit()(function)

    return compile_or_load
