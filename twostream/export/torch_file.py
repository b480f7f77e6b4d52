"""Programs of `torch.export`: a `.pt2` file runs wherever torch does, without our code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram


def check_installed() -> None:
    """Nothing but torch is needed."""


def write(program: ExportedProgram, path: Path, *, metadata: str) -> None:
    """Write the program.

    Args:
        metadata: stands among its extra files as `twostream`.
    """
    program.example_inputs = None  # would be pickled, and of clips they weigh as much as weights
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"twostream": metadata})


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in a file: clips uint8 (N, S, T, C, H, W) -> logits float32 (N, S, classes)."""
    with path.open("rb") as file:
        module: Callable[[Tensor], Tensor] = torch.export.load(file).module()
    return module
