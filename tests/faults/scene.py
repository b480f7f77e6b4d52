"""What the fault scripts share: small videos, the command, and what a store holds."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from forks import Fork, Forks

from flow_extract.synthetic import moving_clip, smooth_texture, translation
from twostream_base.files import TEMPORARY_MARK, sha256_file

ROOT = Path(__file__).parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data"
# Exit code of a script that cannot do its work here; the reason is on its last line.
CANNOT = 77


def expect(condition: object, message: str) -> None:
    """End the script with exit code 1 unless `condition` holds."""
    if not condition:
        raise SystemExit(f"FAILED: {message}")


def cannot(reason: str) -> SystemExit:
    """What to raise where this machine does not allow the script to do its work."""
    print(f"skipped: {reason}")
    return SystemExit(CANNOT)


def write_video(
    path: Path, *, frames: int = 12, size: tuple[int, int] = (48, 64), seed: int = 0
) -> Path:
    """Write a moving texture of `size` (height, width) as Motion JPEG in AVI."""
    texture = smooth_texture(size, rng=np.random.default_rng(seed))
    clip, _ = moving_clip(texture, [translation(1.5, -0.5)] * (frames - 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, size[::-1])
    expect(writer.isOpened(), f"cv2 cannot write {path}")
    for frame in clip:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def write_videos(folder: Path, count: int) -> Path:
    """Write `count` different videos of 4 to 9 frames into three class folders."""
    for n in range(count):
        write_video(folder / f"class{n % 3}" / f"v{n:02d}.avi", frames=4 + n % 6, seed=n)
    return folder


# What this script's commands are forked from.
forks = functools.cache(Forks)


def start(folder: Path, store: str, *options: str, videos: str = "videos") -> Fork:
    """Start `twostream extract-flow` in `folder`, as the leader of a process group."""
    command = ["extract-flow", "--videos", videos, "--store", store, *options]
    return forks("extraction").start(command, cwd=folder)


def run(
    folder: Path, store: str, *options: str, exit_code: int = 0, videos: str = "videos"
) -> tuple[str, str]:
    """Run the command to its end and return what it printed, on both streams."""
    process = start(folder, store, *options, videos=videos)
    output, errors = process.communicate()
    expect(process.returncode == exit_code, f"exit {process.returncode}: {output}{errors}")
    expect("Traceback" not in errors, errors)
    return output, errors


def digests(store: Path) -> dict[str, str]:
    """Path below the store -> sha256, of all files."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {path.relative_to(store).as_posix(): sha256_file(path) for path in files}


def stored(store: Path) -> dict[str, str]:
    """As `digests`, of the store files of videos alone: what readers accept."""
    return {k: v for k, v in digests(store).items() if k.endswith(".safetensors")}


def leftovers(store: Path) -> list[Path]:
    """Lock files and temporary files."""
    return [
        path
        for path in store.rglob("*")
        if path.suffix == ".lock" or path.name.startswith(TEMPORARY_MARK)
    ]


# A flow method that leaves a file in `started` for each video, and misbehaves where its first frame
# has a certain height.
MARKING_METHOD = """
import os, pathlib, time, uuid
from flow_extract.methods import FLOW_METHODS
HERE = pathlib.Path(__file__).parent
def make(*, slow=0.0, device="cpu"):
    known = []
    def flow(frames):
        height = frames.shape[1]
        if height != 32 and not known:  # 32 is the trial of the settings
            known.append((HERE / "started" / uuid.uuid4().hex).touch())
            time.sleep(slow)
        if height == 72:
            os.kill(os.getpid(), 9)
        if height == 80:
            time.sleep(1000)
        return FLOW_METHODS["dis"]()(frames)
    return flow
"""


def marking_method(folder: Path) -> list[str]:
    """Options that use `MARKING_METHOD`; `started` then holds a file for each video begun."""
    (folder / "marking.py").write_text(MARKING_METHOD)
    (folder / "started").mkdir(exist_ok=True)
    return ["--method", "marking:make"]
