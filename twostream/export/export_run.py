"""What `twostream export` does: the network of a run as a file that other programs run, checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from twostream.errors import InputError
from twostream.export import onnx_file, torch_file
from twostream.files import atomic_path, sha256_file
from twostream.training.checkpoint import WEIGHTS, NetworkCard, load_network
from twostream.versions import library_version, tool_version

FORMATS = {".onnx": onnx_file, ".pt2": torch_file}
TOLERANCE = 1e-4  # of the largest logit, or of 1 where all are smaller
# Videos and segments. Those that are checked differ in both from those that are followed, so that
# a size that was taken for a constant is found out.
FOLLOWED, CHECKED = (2, 3), ((1, 2), (3, 1))


class UnequalError(Exception):
    """The written file does not compute what the network does."""


def check_suffix(path: Path) -> None:
    """Refuse a file of another format, or of one that this machine cannot write.

    Raises:
        InputError: the suffix is none of FORMATS, or a package is missing.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: networks are exported to {' or '.join(FORMATS)} files")
    FORMATS[path.suffix.lower()].check_installed()


def export_run(run: Path, path: Path, *, checkpoint: str) -> dict[str, Any]:
    """Write the network of a run folder to `path`, run that file, and compare.

    Args:
        path: its suffix decides the format.
        checkpoint: `best` or `last`.

    Returns:
        The result as JSON values.

    Raises:
        InputError: there is no such network, or it cannot be exported: the message says why.
        UnequalError: the file gives other logits than the network; it is not kept.
    """
    check_suffix(path)
    card, network = load_network(run / checkpoint)
    network.eval()
    metadata = describe(card, run / checkpoint)
    largest, difference = write_checked(network, card, path, metadata=metadata)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "largest_difference": difference,
        "largest_logit": largest,
        "checked": [list(clips_shape(card, *sizes)) for sizes in CHECKED],
        "metadata": metadata,
    }


def describe(card: NetworkCard, checkpoint: Path) -> dict[str, Any]:
    """All that whoever runs the file must know, as JSON values."""
    return {
        **asdict(card),
        "input": {
            "name": "clips",
            "type": "uint8",
            "axes": ["videos", "segments", "time", "channels", "height", "width"],
            "shape": ["videos", "segments", *clips_shape(card, 1, 1)[2:]],
            "channels": ["u", "v"] if card.modality.name == "flow" else ["red", "green", "blue"],
        },
        "output": {
            "name": "logits",
            "type": "float32",
            "axes": ["videos", "segments", "classes"],
        },
        "checkpoint": sha256_file(checkpoint / WEIGHTS),
        "versions": {"twostream": tool_version(), "torch": library_version("torch")},
    }


def clips_shape(card: NetworkCard, videos: int, segments: int) -> tuple[int, ...]:
    """(N, S, T, C, H, W) of what the network takes."""
    side = card.input_size
    return videos, segments, card.modality.snippet_length, card.modality.channels, side, side


def write_checked(
    network: nn.Module, card: NetworkCard, path: Path, *, metadata: dict[str, Any]
) -> tuple[float, float]:
    """Write the file, and keep it if it computes what the network does.

    Returns:
        The largest logit, and the largest difference to it, by absolute value.

    Raises:
        InputError, UnequalError: as `export_run`.
    """
    form = FORMATS[path.suffix.lower()]
    samples = [_noise(clips_shape(card, *sizes)) for sizes in CHECKED]
    with torch.inference_mode():
        expected = [network(clips) for clips in samples]
    with atomic_path(path) as temporary:
        try:  # the network has just run, so what fails now fails for the sake of the format
            program = follow(network, _noise(clips_shape(card, *FOLLOWED)))
            form.write(program, temporary, metadata=json.dumps(metadata, sort_keys=True))
            loaded = form.load(temporary)
            found = [loaded(clips).detach() for clips in samples]
        except Exception as error:  # exporters raise whatever they come upon
            raise InputError(
                f"network {card.model} with consensus {card.consensus} cannot be exported to "
                f"{path.suffix}: {_reason(error)}"
            ) from error
        return _compared(expected, found, path)


def follow(network: nn.Module, clips: Tensor) -> ExportedProgram:
    """The network as a program for any number of videos and segments."""
    sizes = {0: Dim("videos"), 1: Dim("segments")}
    program = torch.export.export(network, (clips,), dynamic_shapes=(sizes,))
    for node in program.graph.nodes:  # a file names no paths of the machine that it was made on
        node.meta.pop("stack_trace", None)
    return program


def _noise(shape: Sequence[int]) -> Tensor:
    """Random bytes, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _compared(
    expected: Sequence[Tensor], found: Sequence[Tensor], path: Path
) -> tuple[float, float]:
    largest = max(logits.abs().max().item() for logits in expected)
    pairs = zip(expected, found, strict=True)
    differences = torch.stack([(other - logits).abs().max() for logits, other in pairs])
    difference = differences.max().item()
    if not difference <= TOLERANCE * max(1.0, largest):  # so that NaN is refused too
        raise UnequalError(
            f"{path}: the file gives other logits than the network, by up to {difference:.1e} "
            f"where the largest is {largest:.3g}; it is not kept"
        )
    return largest, difference


def _reason(error: BaseException) -> str:
    """What lay at the bottom of it, in two lines at most."""
    while error.__cause__:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
