"""ONNX files: written by torch's exporter, run by ONNX Runtime."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from twostream.errors import InputError

NEEDED = ("onnx", "onnxscript", "onnxruntime")
LIMIT = 2**31  # bytes: an ONNX file is one message of Protocol Buffers


def check_installed() -> None:
    """Refuse to begin without the packages that write and run ONNX.

    Raises:
        InputError: one is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX needs packages that are not installed ({', '.join(missing)}): "
            f"pip install {' '.join(NEEDED)}, or this package with the extra `onnx`; "
            "a .pt2 file needs none of them"
        )


def write(program: ExportedProgram, path: Path, *, metadata: str) -> None:
    """Write the program; its axes of any size are called `videos` and `segments`.

    Args:
        metadata: stands in the file's `metadata_props` as `twostream`.

    Raises:
        InputError: its weights are too large for one ONNX file.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size >= LIMIT:
        raise InputError(
            f"its weights take {size / 1e9:.1f} GB, and an ONNX file holds 2.1; write a .pt2 file"
        )
    with warnings.catch_warnings():
        # Of torch's own exporter, about torch's own copies of its trees.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        made = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["clips"],
            output_names=["logits"],
            dynamic_shapes={"clips": {0: "videos", 1: "segments"}},
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
            verbose=False,
        )
    assert made is not None
    made.model.metadata_props["twostream"] = metadata
    made.save(str(path))


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in a file: clips uint8 (N, S, T, C, H, W) -> logits float32 (N, S, classes)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run(["logits"], {"clips": clips.numpy()})[0])


def _stable_sort(values: Any, *, stable: bool, dim: int, descending: bool = False) -> Any:
    """Stable sorting, which torch's exporter does not know: of equal values TopK takes the first.

    So ONNX defines it, https://onnx.ai/onnx/operators/onnx__TopK.html.
    """
    from onnxscript import opset18 as onnx

    count = onnx.Gather(onnx.Shape(values), onnx.Constant(value_ints=[dim]))
    return onnx.TopK(values, count, axis=dim, largest=int(descending), sorted=1)
