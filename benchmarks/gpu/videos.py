"""What the steps work on: synthetic clips, videos, and the store that is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.gpu.target import Target, run_command
from flow_extract.store.reader import StoreEntry, entry_paths
from flow_extract.synthetic import moving_clip, rotation, smooth_texture
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo


def synthetic_clip(num_frames: int, *, size: tuple[int, int] = (240, 320), seed: int = 0) -> Any:
    """A texture that turns and drifts: uint8 (T, H, W, 3)."""
    height, width = size
    rng = np.random.default_rng(seed)
    texture = np.stack([smooth_texture(size, rng=rng, cutoff=0.25) for _ in range(3)], axis=-1)
    step = rotation(0.6, centre=(width / 2, height / 2))
    step[:, 2] += (1.3, -0.7)
    return moving_clip(texture, [step] * (num_frames - 1))[0]


class VideoSet(NamedTuple):
    """How many videos the step `videos` makes, and of what size."""

    classes: int
    videos_per_class: int
    frames: int
    size: tuple[int, int]


def video_set(target: Target) -> VideoSet:
    return VideoSet(4, 16, 64, (256, 340)) if target.is_gpu else VideoSet(2, 4, 12, (96, 128))


def project_folder(target: Target) -> Path:
    """Where the step `videos` puts a project of one folder a class."""
    return target.folder / "project"


def videos(target: Target) -> Iterator[dict[str, Any]]:
    """Make videos and their stores with DIS flow on the CPU; of some videos also exact stores.

    The videos of a class are copies of one: reading them takes as long as if they were not.
    """
    root, made = project_folder(target), video_set(target)
    height, width = made.size
    for number in range(made.classes):
        folder = root / "videos" / f"c{number}"
        folder.mkdir(parents=True)
        first = folder / f"v_c{number}_g00.avi"
        writer = cv2.VideoWriter(str(first), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
        for frame in synthetic_clip(made.frames, size=made.size, seed=number):
            writer.write(frame[..., ::-1].copy())
        writer.release()
        for copy in range(1, made.videos_per_class):
            (folder / f"v_c{number}_g{copy:02d}.avi").write_bytes(first.read_bytes())
    run_command("init", "--dataset", "folder", "--videos", "videos", cwd=root)
    _, seconds = run_command("extract-flow", "--quiet", cwd=root)
    count = made.classes * made.videos_per_class
    yield {"videos": count, "seconds": seconds, "cpu_dis_frames_s": count * made.frames / seconds}
    some = root / "some"
    some.mkdir()
    for number in range(made.classes):
        for copy in range(4):
            name = f"v_c{number}_g{copy:02d}.avi"
            (some / name).write_bytes((root / "videos" / f"c{number}" / name).read_bytes())
    for codec in ("raw", "lz4"):
        arguments = ("--videos", some, "--store", root / f"store-{codec}", "--codec", codec)
        try:
            _, seconds = run_command("extract-flow", *arguments, "--quiet", cwd=root)
            yield {"codec": codec, "videos": 4 * made.classes, "seconds": seconds}
        except RuntimeError as error:  # lz4 is an extra
            yield {"codec": codec, "left_out": str(error)[-200:]}


def stored_videos(target: Target, *, store: str = "store") -> list[StoredVideo]:
    """All videos of a store that the step `videos` has made: `store`, `store-raw`, `store-lz4`."""
    folder = project_folder(target) / store
    return [
        StoredVideo(VideoRecord(name, 0, name), path, entry.num_flows, entry.size)
        for name, path in (entry_paths(folder) if folder.exists() else {}).items()
        for entry in [StoreEntry(path)]
    ]
