"""The store against the classical tree: u/ and v/, one JPEG 95 a picture, read with PIL.

Flow of real clips is written and read in both ways, in turns, on one core, with the same quality.
The tree is written with PIL and with OpenCV, as the usual scripts do, and once more with each file
synced, as the store is. Writing is shown, and is no goal: it is a small part of an extraction, and
`flow_speed.py` measures that as a whole. From a clone:
`PYTHONPATH=. python benchmarks/store.py [FOLDER]`, where FOLDER is on the disk to be measured.
Writes `benchmarks/results/store.md`, and fails where a figure is missed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from flow_extract.methods import FLOW_METHODS
from flow_extract.store.codecs import CODECS, quality_of, quantize
from flow_extract.store.header import make_header
from flow_extract.store.reader import StoreEntry, entry_path
from flow_extract.store.writer import EntryWriter
from flow_extract.video.decode import read_frames

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT.parent / "shared" / "data" / "ucf101-clips" / "videos"
RESULTS = ROOT / "benchmarks" / "results" / "store.md"
NUM_CLIPS, TURNS = 8, 7
STACK = 10
# What should hold for the default codec on one core, as ratios to the tree.
GOALS = {"cold": 1.5, "disk": 0.75}


class Figures(NamedTuple):
    """Of one way of storing: pairs written per second, milliseconds for a stack, and so on."""

    write: float
    hot: float
    cold: float
    disk: float
    files: float
    error: float


def main() -> None:
    cv2.setNumThreads(1)
    clips = list(flow_of_clips())
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        ways: dict[str, tuple[Callable, Callable]] = {
            "tree": (write_tree, read_tree),
            "cv2 tree": (write_cv2_tree, read_tree),
            "synced tree": (write_synced_tree, read_tree),
        }
        for codec in CODECS:
            ways[codec] = (store_writer(codec), read_store)
        figures = measure(ways, clips, Path(folder))
    ratios = compare(figures)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(table(figures, ratios, clips))
    print(RESULTS.read_text())
    ours = ratios["jpeg"]
    missed = [
        f"{name} {ours[name]:.2f} ({goal})"
        for name, goal in GOALS.items()
        if (ours[name] > goal) == (name == "disk")
    ]
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


def flow_of_clips() -> Iterator[np.ndarray]:
    """Quantised flow of real clips, each uint8 (N, H, W, 2)."""
    videos = sorted(CLIPS.rglob("*.avi"))
    for video in videos[:: len(videos) // NUM_CLIPS][:NUM_CLIPS]:
        yield quantize(FLOW_METHODS["dis"]()(np.stack(list(read_frames(video)))))


def write_tree(root: Path, name: str, pairs: np.ndarray, *, save: Callable | None = None) -> None:
    for key, component in (("u", 0), ("v", 1)):
        folder = root / key / name
        folder.mkdir(parents=True)
        for number, pair in enumerate(pairs, 1):
            picture = np.ascontiguousarray(pair[..., component])
            (save or save_with_pil)(str(folder / f"frame{number:06}.jpg"), picture)


def save_with_pil(path: str, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(path, quality=95)


def save_with_cv2(path: str, picture: np.ndarray) -> None:
    cv2.imwrite(path, picture, [cv2.IMWRITE_JPEG_QUALITY, 95])


write_cv2_tree = partial(write_tree, save=save_with_cv2)


def write_synced_tree(root: Path, name: str, pairs: np.ndarray) -> None:
    write_tree(root, name, pairs)
    for path in root.glob(f"?/{name}/*.jpg"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def read_tree(root: Path, name: str, start: int) -> np.ndarray:
    pictures = [
        np.asarray(Image.open(root / key / name / f"frame{number:06}.jpg"))
        for number in range(start + 1, start + STACK + 1)
        for key in ("u", "v")
    ]
    return np.stack(pictures).reshape(STACK, 2, *pictures[0].shape).transpose(0, 2, 3, 1)


def store_writer(codec: str) -> Callable[[Path, str, np.ndarray], None]:
    """Writes, checks and syncs a store file; its frames are one byte each."""
    quality = quality_of(codec)

    def write(root: Path, name: str, pairs: np.ndarray) -> None:
        height, width = pairs.shape[1:3]
        with EntryWriter(root, name) as entry:
            for _ in range(len(pairs) + 1):
                entry.rgb.append(b"\0")
            for pair in pairs:
                entry.flow.append(CODECS[codec].encode_flow(pair, quality=quality))
            header = make_header(
                {"method": {"name": "dis"}, "codec": codec},
                name=name,
                status="ok",
                reason="",
                size={"height": height, "width": width},
                fps=None,
                counts={"promised": None, "frames": len(pairs) + 1, "flows": len(pairs)},
                source={"path": name, "size": None, "mtime_ns": None},
            )
            entry.finish(header)

    return write


def read_store(root: Path, name: str, start: int) -> np.ndarray:
    return StoreEntry(entry_path(root, name)).read_flow(start, STACK)


def measure(
    ways: dict[str, tuple[Callable, Callable]], clips: list[np.ndarray], folder: Path
) -> dict[str, list[Figures]]:
    """Figures of each turn. The ways take turns, so that all meet the same disturbances."""
    figures: dict[str, list[Figures]] = {way: [] for way in ways}
    generator = np.random.default_rng(0)
    num_pairs = sum(map(len, clips))
    for turn in range(TURNS):
        roots = {way: folder / f"{way}{turn}" for way in ways}
        seconds = {way: 0.0 for way in ways}
        for number, pairs in enumerate(clips):
            for way, (write, _) in ways.items():
                os.sync()  # else it pays for what the one before has left to be written
                seconds[way] += timed(write, roots[way], f"v{number}", pairs)
        os.sync()
        starts = [int(generator.integers(0, len(pairs) - STACK)) for pairs in clips]
        for way, (_, read) in ways.items():
            files = [path for path in roots[way].rglob("*") if path.is_file()]
            chosen = [(f"v{n}", start) for n, start in enumerate(starts)]
            _drop_from_memory(files)
            cold = [timed(read, roots[way], *stack) for stack in chosen]
            hot = [timed(read, roots[way], *stack) for stack in chosen]
            read_back = [read(roots[way], *stack).astype(int) for stack in chosen]
            wanted = [clips[n][start : start + STACK] for n, start in enumerate(starts)]
            figures[way].append(
                Figures(
                    write=num_pairs / seconds[way],
                    hot=1000 * median(hot),
                    cold=1000 * median(cold),
                    disk=sum(path.stat().st_blocks * 512 for path in files) / num_pairs,
                    files=len(files) / len(clips),
                    error=float(np.mean(np.abs(np.subtract(read_back, wanted)))),
                )
            )
    return figures


def _drop_from_memory(files: list[Path]) -> None:
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def timed(function: Callable, *arguments: object) -> float:
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin


def compare(figures: dict[str, list[Figures]]) -> dict[str, dict[str, float]]:
    """Ratios to the tree: times as fast, or share of the disk; the median of the turns."""
    assert abs(figures["jpeg"][0].error - figures["tree"][0].error) < 0.01, "not the same quality"
    ratios = {}
    for way, turns in figures.items():
        both = list(zip(turns, figures["tree"], strict=True))
        write = [own.write / tree.write for own, tree in both]
        ratios[way] = {
            "write": median(write),
            "slowest write": min(write),
            "fastest write": max(write),
            "synced": median(
                own.write / tree.write
                for own, tree in zip(turns, figures["synced tree"], strict=True)
            ),
            "hot": median(tree.hot / own.hot for own, tree in both),
            "cold": median(tree.cold / own.cold for own, tree in both),
            "disk": median(own.disk / tree.disk for own, tree in both),
        }
    return ratios


def table(
    figures: dict[str, list[Figures]], ratios: dict[str, dict[str, float]], clips: list[np.ndarray]
) -> str:
    height, width = clips[0].shape[1:3]
    lengths = sorted(map(len, clips))
    columns = ("", "pairs written/s", "to synced tree", "stack of ten, cold, ms", "hot, ms",
               "disk, bytes/pair", "files/video", "mean error, levels")  # fmt: skip
    lines = [
        "# The store against one JPEG a picture",
        "",
        f"Made by `benchmarks/store.py`: DIS flow of {len(clips)} UCF101 clips of {lengths[0]} to "
        f"{lengths[-1]} pairs of {width} x {height},",
        f"one core, median of {TURNS} turns. In brackets: times as fast as the tree; for the disk, "
        "the share of it.",
        "The ways take turns, so that other work on the machine slows all of them: compare the "
        "ratios, not the rates.",
        "A store file is synced and checked before it gets its name. How long a file system takes "
        "to make the tree's",
        "many files varies most: the ratio of writing is given with its span over the turns, and "
        "to the synced tree too.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    names = {
        "tree": "u/ and v/, JPEG 95, PIL",
        "cv2 tree": "the same, OpenCV",
        "synced tree": "PIL, each file synced",
    } | {codec: f"store, {codec}" for codec in CODECS}
    for way, name in names.items():
        own = Figures(*(median(column) for column in zip(*figures[way], strict=True)))
        ratio = ratios[way]
        lines.append(
            f"| {name} | {own.write:,.0f} ({ratio['write']:.2f}, {ratio['slowest write']:.2f} to "
            f"{ratio['fastest write']:.2f}) | {ratio['synced']:.2f} | {own.cold:.2f} "
            f"({ratio['cold']:.2f}) | {own.hot:.2f} ({ratio['hot']:.2f}) | {own.disk:,.0f} "
            f"({ratio['disk']:.2f}) | {own.files:g} | {own.error:.3f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
