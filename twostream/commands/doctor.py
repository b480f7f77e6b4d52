"""`twostream doctor`."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands.console import Command, json_option, print_json
from twostream_base import plugins
from twostream_base.versions import library_version, tool_version


@click.command(cls=Command, example="twostream doctor --store store")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder whose disk is checked.",
)
@json_option
def doctor(store: Path, as_json: bool) -> None:
    """Check what works on this machine, and say how to fix what does not."""

    findings = examine(store)
    if as_json:
        print_json({"findings": findings})
        return
    for finding in findings:
        mark = "ok " if finding["ok"] else "-- "
        cure = "" if finding["ok"] else f"\n       {finding['cure']}"
        click.echo(f"{mark} {finding['what']}: {finding['found']}{cure}")


# What works on this machine: one small function a question.
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "click", "safetensors")
OPENCV_BUILDS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def examine(folder: Path) -> list[dict[str, Any]]:
    """Findings about versions, devices, libraries, flow methods and the disk of `folder`.

    Each is a dict of JSON values: `what`, `found`, `ok`, and `cure` where it is not ok.
    """
    return [
        _finding(
            "twostream",
            f"{tool_version()}, Python {platform.python_version()}, "
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        ),
        _finding("libraries", ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)),
        *_torch(),
        _torchvision(),
        *_opencv(),
        *_flow_methods(),
        _disk(folder),
    ]


def _finding(what: str, found: str, *, ok: bool = True, cure: str = "") -> dict[str, Any]:
    return {"what": what, "found": found, "ok": ok, "cure": cure}


def _torch() -> Iterator[dict[str, Any]]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield _finding(f"GPU {index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
    elif torch.backends.mps.is_available():
        yield _finding("GPU", "Apple silicon (mps)")
    else:
        cure = "training on the CPU works, slowly; a GPU needs its driver and a CUDA build of torch"
        yield _finding("GPU", "none that torch can use", ok=False, cure=cure)


def _torchvision() -> dict[str, Any]:
    from twostream_base.vision import has_operators

    found = "loaded" if has_operators else "absent (usual beside a CPU build of torch)"
    return _finding("torchvision's compiled operators", f"{found}; nothing here needs them")


def _opencv() -> Iterator[dict[str, Any]]:
    builds = [name for name in OPENCV_BUILDS if library_version(name) != "absent"]
    try:
        import cv2
    except ImportError as error:
        cure = "pip install --force-reinstall opencv-python-headless (needs no system libraries)"
        yield _finding("OpenCV", f"cannot be imported: {error}", ok=False, cure=cure)
        return
    found = f"{cv2.__version__} ({', '.join(builds) or 'of unknown origin'})"
    cure = f"they overwrite each other's files: pip uninstall {' '.join(builds)}, then install one"
    yield _finding("OpenCV", found, ok=len(builds) < 2, cure=cure)
    reads = any(
        line.split()[:2] == ["FFMPEG:", "YES"] for line in cv2.getBuildInformation().splitlines()
    )
    yield _finding(
        "OpenCV reads videos by FFmpeg",
        "yes" if reads else "no",
        ok=reads,
        cure="install opencv-python or opencv-python-headless by pip",
    )


def _flow_methods() -> Iterator[dict[str, Any]]:
    """Try each method on two small frames: what is promised here has just worked."""
    for name in FLOW_METHODS:
        problem, cure = _try_raft() if name == "raft" else _try_method(name)
        yield _finding(f"flow method {name}", problem or "works", ok=not problem, cure=cure)


def _try_method(name: str) -> tuple[str, str]:
    """Why a method does not work here (empty if it does), and how to mend it."""
    import numpy as np

    try:
        plugins.load(name, FLOW_METHODS)()(np.zeros((2, 64, 64, 3), dtype=np.uint8))
    except Exception as error:  # whatever it is, the user is told
        return f"fails: {error}", "install what it names, or choose another method"
    return "", ""


def _try_raft() -> tuple[str, str]:
    """RAFT is tried only where that needs no download."""
    from flow_extract.methods.raft import default_weights
    from twostream_base.vision import are_cached

    if are_cached(default_weights()):
        return _try_method("raft")
    return (
        "its weights are not on this machine",
        "its first use fetches them; without a network: --method-option weights=FILE",
    )


def _disk(folder: Path) -> dict[str, Any]:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    return _finding(
        f"disk of {existing}",
        f"{free:,.0f} GiB free",
        ok=free > 70,
        cure="UCF101's frames and flow need about 70 GiB at full size",
    )
