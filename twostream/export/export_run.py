"""Exporting the network of a run to a file that other programs run: ONNX or torch.export."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from twostream.models.checkpoint import WEIGHTS, NetworkSpec, load_network
from twostream.models.external_networks import ExternalNetwork
from twostream_base.errors import InputError
from twostream_base.files import atomic_path, sha256_file
from twostream_base.versions import library_version, tool_version

TOLERANCE = 1e-4  # of the largest logit, or of 1 where all are smaller
# Numbers of videos and segments. Those that are compared differ in both from those of the clips
# that the program is traced with, so that a size that was taken for a constant is found out.
TRACED, COMPARED = (2, 3), ((1, 2), (3, 1))
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX_LIMIT = 2**31  # bytes: an ONNX file is one message of Protocol Buffers


class UnequalError(Exception):
    """The written file does not compute what the network does."""


def check_suffix(path: Path) -> None:
    """Refuse a file of another format, or of one that this machine cannot write.

    Raises:
        InputError: the suffix is none of FORMATS, or a package is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: networks are exported to {' or '.join(FORMATS)} files")
    packages = FORMATS[suffix].packages
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX needs packages that are not installed ({', '.join(missing)}): "
            f"pip install {' '.join(packages)}, or this package with the extra `onnx`; "
            "a .pt2 file needs none of them"
        )


def export_run(
    run: str | os.PathLike[str] | ExternalNetwork,
    path: str | os.PathLike[str],
    *,
    checkpoint: str = "best",
    trust_plugins: bool = False,
) -> dict[str, Any]:
    """Write the network of a run folder to a file, run that file, and compare.

    Args:
        run: the folder, or a network of another tool.
        path: its suffix decides the format: .onnx, or .pt2 (a program of torch.export).
        checkpoint: `best` or `last`.
        trust_plugins: whether a `module:function` that the run names may be imported.

    Returns:
        The result as JSON values.

    Raises:
        InputError: there is no such network, or it cannot be exported: the message says why.
        UnequalError: the file gives other logits than the network; it is not kept.
    """
    path = Path(path)
    check_suffix(path)
    if isinstance(run, ExternalNetwork):
        spec, network, file = run.spec, run.network, run.file
    else:
        file = Path(run) / checkpoint / WEIGHTS
        spec, network = load_network(file.parent, trust_plugins=trust_plugins)
    network.eval()
    metadata = {
        **asdict(spec),
        "input": {
            "name": "clips",
            "type": "uint8",
            "axes": ["videos", "segments", "time", "channels", "height", "width"],
            "shape": ["videos", "segments", *clips_shape(spec, 1, 1)[2:]],
            "channels": [
                name
                for part in spec.modality.parts or (spec.modality,)
                for name in (["u", "v"] if part.name == "flow" else ["red", "green", "blue"])
                * (part.stack if spec.modality.parts else 1)
            ],
        },
        "output": {"name": "logits", "type": "float32", "axes": ["videos", "segments", "classes"]},
        "checkpoint": sha256_file(file),
        "versions": {"twostream": tool_version(), "torch": library_version("torch")},
    }
    largest, difference = write_checked(network, spec, path, metadata=metadata)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "largest_difference": difference,
        "largest_logit": largest,
        "checked": [list(clips_shape(spec, *sizes)) for sizes in COMPARED],
        "metadata": metadata,
    }


def clips_shape(spec: NetworkSpec, videos: int, segments: int) -> tuple[int, ...]:
    """(N, S, T, C, H, W) of what the network takes."""
    return videos, segments, *spec.modality.snippet_shape(spec.input_size)


def write_checked(
    network: nn.Module, spec: NetworkSpec, path: Path, *, metadata: dict[str, Any]
) -> tuple[float, float]:
    """Write the file, and keep it if it computes what the network does.

    Returns:
        The largest logit, and the largest difference to it, by absolute value.

    Raises:
        InputError, UnequalError: as `export_run`.
    """
    form = FORMATS[path.suffix.lower()]

    def noise(sizes: tuple[int, int]) -> Tensor:  # always the same
        generator = torch.Generator().manual_seed(0)
        shape = clips_shape(spec, *sizes)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    samples = [noise(sizes) for sizes in COMPARED]
    with torch.inference_mode():
        expected = [network(clips) for clips in samples]
    with atomic_path(path) as temporary:
        try:  # the network has just run, so what fails now fails because of the format
            any_size = {0: Dim("videos"), 1: Dim("segments")}
            program = torch.export.export(network, (noise(TRACED),), dynamic_shapes=(any_size,))
            for node in program.graph.nodes:  # a file names no paths of the machine it is made on
                node.meta.pop("stack_trace", None)
            form.write(program, temporary, json.dumps(metadata, sort_keys=True))
            loaded = form.load(temporary)
            results = [loaded(clips).detach() for clips in samples]
        except Exception as error:  # exporters raise whatever they come upon
            cause: BaseException = error
            while cause.__cause__:
                cause = cause.__cause__
            lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
            reason = " ".join(lines[:2]) or type(cause).__name__
            raise InputError(
                f"network {spec.model} with consensus {spec.consensus} cannot be exported to "
                f"{path.suffix}: {reason}"
            ) from error
        largest = max(logits.abs().max().item() for logits in expected)
        pairs = zip(expected, results, strict=True)
        difference = torch.stack([(other - logits).abs().max() for logits, other in pairs]).max()
        if not difference.item() <= TOLERANCE * max(1.0, largest):  # so that NaN is refused too
            raise UnequalError(
                f"{path}: the file gives other logits than the network, by up to {difference:.1e} "
                f"where the largest is {largest:.3g}; it is not kept"
            )
    return largest, difference.item()


def write_onnx(program: ExportedProgram, path: Path, metadata: str) -> None:
    """Write an ONNX file by torch's exporter; its axes of any size are `videos` and `segments`.

    Args:
        metadata: stands in the file's `metadata_props` as `twostream`.

    Raises:
        InputError: its weights are too large for one ONNX file.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size >= ONNX_LIMIT:
        raise InputError(
            f"its weights take {size / 1e9:.1f} GB, and an ONNX file holds 2.1; write a .pt2 file"
        )
    with warnings.catch_warnings():
        # Of torch's own exporter, about torch's own copies of its trees.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["clips"],
            output_names=["logits"],
            dynamic_shapes={"clips": {0: "videos", 1: "segments"}},
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
            verbose=False,
        )
    assert exported is not None
    exported.model.metadata_props["twostream"] = metadata
    exported.save(str(path))


def load_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in an ONNX file, run by ONNX Runtime; see `Format.load`."""
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


def write_program(program: ExportedProgram, path: Path, metadata: str) -> None:
    """Write a program of torch.export: it runs wherever torch does, without our code.

    Args:
        metadata: stands among its extra files as `twostream`.
    """
    program.example_inputs = None  # would be pickled, and of clips they weigh as much as weights
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"twostream": metadata})


def load_program(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in a .pt2 file; see `Format.load`."""
    with path.open("rb") as file, warnings.catch_warnings():
        # torch 2.10 warns of its own way to read tensors.
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        module: Callable[[Tensor], Tensor] = torch.export.load(file).module()
    return module


class Format(NamedTuple):
    """How networks are written to files of a suffix, and run from them.

    Attributes:
        write: (program, path, metadata as JSON).
        load: path -> function from clips uint8 (N, S, T, C, H, W) to logits (N, S, classes).
        packages: that it needs besides torch.
    """

    write: Callable[[ExportedProgram, Path, str], None]
    load: Callable[[Path], Callable[[Tensor], Tensor]]
    packages: tuple[str, ...] = ()


FORMATS = {
    ".onnx": Format(write_onnx, load_onnx, ONNX_PACKAGES),
    ".pt2": Format(write_program, load_program),
}
