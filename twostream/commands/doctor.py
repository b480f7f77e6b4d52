"""`twostream doctor`."""

from __future__ import annotations

import inspect
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from flow_extract.methods import FLOW_METHODS
from twostream.commands import console
from twostream.commands.option_types import OUT_PATH
from twostream_base import plugins
from twostream_base.versions import library_version, tool_version

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "click", "safetensors")
OPENCV_BUILDS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@click.command(cls=console.Command, example="twostream doctor --store store")
@click.option("--store", type=OUT_PATH, default=Path(), help="Folder whose disk is checked.")
@console.json_option
def doctor(store: Path, as_json: bool) -> None:
    """Check what works on this machine, and say how to fix what does not."""
    findings = list(examine(store))
    if as_json:
        console.print_json({"findings": findings})
        return
    for finding in findings:
        mark = "ok " if finding["ok"] else "-- "
        cure = [] if finding["ok"] else [f"       {finding['cure']}"]
        console.show(f"{mark} {finding['what']}: {finding['found']}", *cure)


def examine(folder: Path) -> Iterator[dict[str, Any]]:
    """Findings about versions, devices, libraries, flow methods and the disk of `folder`.

    Each is a dict of JSON values: `what`, `found`, `ok`, and `cure` where it is not ok.
    """
    import torch

    from twostream_base.vision import has_operators

    yield _finding(
        "twostream",
        f"{tool_version()}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )
    versions = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    yield _finding("libraries", versions)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield _finding(f"GPU {index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
    elif torch.backends.mps.is_available():
        yield _finding("GPU", "Apple silicon (mps)")
    else:
        cure = "training on the CPU works, slowly; a GPU needs its driver and a CUDA build of torch"
        yield _finding("GPU", "none that torch can use", ok=False, cure=cure)
    operators = "loaded" if has_operators else "absent (usual beside a CPU build of torch)"
    yield _finding("torchvision's compiled operators", f"{operators}; nothing here needs them")
    yield from _opencv()
    for name in FLOW_METHODS:
        problem, cure = _try_method(name)
        yield _finding(f"flow method {name}", problem or "works", ok=not problem, cure=cure)
        options = inspect.signature(plugins.load(name, FLOW_METHODS)).parameters
        if torch.cuda.is_available() and "device" in options:
            problem, cure = _try_method(name, device="cuda")
            what = f"flow method {name} on the GPU"
            yield _finding(what, problem or "works", ok=not problem, cure=cure)
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    yield _finding(
        f"disk of {existing}",
        f"{free:,.0f} GiB free",
        ok=free > 70,
        cure="UCF101's frames and flow need about 70 GiB at full size",
    )


def _finding(what: str, state: str, *, ok: bool = True, cure: str = "") -> dict[str, Any]:
    return {"what": what, "found": state, "ok": ok, "cure": cure}


def _opencv() -> Iterator[dict[str, Any]]:
    builds = [name for name in OPENCV_BUILDS if library_version(name) != "absent"]
    try:
        import cv2
    except ImportError as error:
        cure = "pip install --force-reinstall opencv-python-headless (needs no system libraries)"
        yield _finding("OpenCV", f"cannot be imported: {error}", ok=False, cure=cure)
        return
    version = f"{cv2.__version__} ({', '.join(builds) or 'of unknown origin'})"
    cure = f"they overwrite each other's files: pip uninstall {' '.join(builds)}, then install one"
    yield _finding("OpenCV", version, ok=len(builds) < 2, cure=cure)
    reads = any(
        line.split()[:2] == ["FFMPEG:", "YES"] for line in cv2.getBuildInformation().splitlines()
    )
    yield _finding(
        "OpenCV reads videos by FFmpeg",
        "yes" if reads else "no",
        ok=reads,
        cure="install opencv-python or opencv-python-headless by pip",
    )


def _try_method(name: str, **options: str) -> tuple[str, str]:
    """Why a flow method does not work here (empty if it does), and how to fix it.

    It computes the flow of two small frames; RAFT only where that needs no download.
    """
    import numpy as np

    if name == "raft":
        from flow_extract.methods.raft import default_weights
        from twostream_base.vision import cached_file

        if not cached_file(default_weights()).exists():
            return (
                "its weights are not on this machine",
                "its first use fetches them; without a network: --method-option weights=FILE",
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            method = plugins.load(name, FLOW_METHODS)(**options)
            method(np.zeros((2, 64, 64, 3), dtype=np.uint8))
    except RuntimeWarning as warning:  # Triton is missing, or what it needs
        return f"slow: {warning}", "install a C compiler and the Triton of this build of torch"
    except Exception as error:  # whatever it is, the user is told
        return f"fails: {error}", "install what it names, or choose another method"
    return "", ""
