"""Loading beside the way of the field: one JPEG a picture, opened with PIL, made float one by one.

    PYTHONPATH=. python benchmarks/loading.py [STACKS]

UCF101 clips of 341 x 256 with DIS flow are written as a tree of JPEG pictures and as stores of each
codec. Both ways then load the same stacks and crops in turns; compared are paired ratios of wall
time, and the values, which may differ by the codec's error alone. Writes
`benchmarks/results/loading.md`, and fails where a figure is missed. Takes some minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from classical_loader import MEAN, STD, JpegTree, tsn_views
from machines import write_section
from real_pairs import clips
from torch.utils.data import DataLoader

from flow_extract.store.reader import StoreEntry, entry_path
from twostream.data.dataset import ViewWriter, views_shape, write_snippets
from twostream.data.loader import load_batches
from twostream.data.protocols import PROTOCOLS
from twostream.data.splits import VideoRecord
from twostream.data.stored import StoredVideo
from twostream.transforms.clips import Box, Clip, View
from twostream.transforms.presets import MODALITIES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "loading.md"
CLIPS, SIZE, LENGTH, BATCH, STACKS, TURNS = 8, 224, 10, 32, 768, 5
FLOW, RGB = MODALITIES["motion"], MODALITIES["spatial"]
# Times as fast as the classical way. RGB misses its own: both decode the same one JPEG.
GOALS = {"jpeg": 4.0, "lz4": 8.0, "raw": 20.0, "two": 5.0, "rgb": 3.0, "25x10": 20.0}
MEGABYTES = 150

Row = tuple[str, float, str, bool]


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    stacks = int(sys.argv[1]) if len(sys.argv) > 1 else STACKS
    with tempfile.TemporaryDirectory() as folder:
        stores = {codec: extract(Path(folder), codec) for codec in ("jpeg", "lz4", "raw")}
        tree = JpegTree.written(Path(folder, "tree"), stores["raw"])
        items = draw_items(stores["raw"], stacks)
        rows = [*on_one_core(tree, stores, items), on_two_cores(tree, stores["jpeg"], items)]
        rows += test_views(tree, stores["jpeg"])
    lines = [f"| {name} | {ratio:.1f} | {goal} | {'yes' if holds else 'NO'} |"
             for name, ratio, goal, holds in rows]  # fmt: skip
    print(write_section(RESULTS, head=HEAD, body="\n".join([*COLUMNS, *lines])))
    if not all(holds for *_, holds in rows):
        raise SystemExit("a figure was missed")


HEAD = f"""
# Loading, beside one JPEG a picture opened with PIL

Made by `benchmarks/loading.py`: {CLIPS} UCF101 clips of 341 x 256, DIS flow, crops of {SIZE},
epochs of {STACKS} stacks; median of {TURNS} paired ratios of time.
"""
COLUMNS = "| what | value | wanted | holds |", "|---|---|---|---|"


def extract(folder: Path, codec: str) -> list[StoredVideo]:
    videos, store = folder / "videos", folder / codec
    videos.mkdir(exist_ok=True)
    for clip in clips(CLIPS):
        if not (videos / clip.name).exists():
            (videos / clip.name).symlink_to(clip)
    command = [sys.executable, "-m", "twostream", "extract-flow", "--quiet", "--short-side", "256"]
    options = ["--videos", videos, "--store", store, "--codec", codec]
    subprocess.run([*command, *options], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    names = sorted(clip.stem for clip in clips(CLIPS))
    return [
        StoredVideo(VideoRecord(name, 0, name), path, StoreEntry(path).num_flows)
        for name in names
        for path in [entry_path(store, name)]
    ]


def draw_items(videos: list[StoredVideo], count: int) -> list[tuple[int, int, Box]]:
    """Video, first pair and crop of each stack."""
    rng, items = np.random.default_rng(0), []
    for number in range(count):
        video = videos[number % len(videos)]
        height, width = StoreEntry(video.path).size
        top, left = rng.integers(height - SIZE), rng.integers(width - SIZE)
        start = int(rng.integers(video.length - LENGTH))
        items.append((number % len(videos), start, Box(int(top), int(left), SIZE, SIZE)))
    return items


def writer(videos: list[StoredVideo], items: list, modality: object) -> Callable[[int, Clip], None]:
    length = modality.snippet_length

    def write(number: int, out: Clip) -> None:
        video, start, box = items[number]
        entry = StoreEntry(videos[video].path)
        write_snippets(
            entry.pictures,
            [list(range(start, start + length))], [View(box)], out[None, None], modality=modality,
        )  # fmt: skip

    return write


def ours(videos: list[StoredVideo], items: list, *, threads: int = 1, modality=FLOW) -> list:
    """Copies of the batches, as they came; uint8 (N, T, C, size, size)."""
    shape = (modality.snippet_length, modality.channels, SIZE, SIZE)
    numbers = list(range(len(items)))
    batches = [numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH)]
    write = writer(videos, items, modality)
    return [part for part, _ in load_batches(write, batches, shape=shape, threads=threads)]


def classical(tree: JpegTree, items: list, *, workers: int = 0, kind: str = "flow") -> list:
    return list(DataLoader(tree.dataset(items, kind=kind), batch_size=BATCH, num_workers=workers))


def paired(classical: Callable[[], object], ours: Callable[[], object]) -> float:
    ratios = []
    for _ in range(TURNS):
        ratios.append(timed(classical) / timed(ours))
    return median(ratios)


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def assert_equal_values(ours: list, expected: list, *, at_most: float) -> None:
    """Of the last batch, the one that is still in memory: mean difference in stored levels."""
    values = expected[-1]
    if values.shape[1] == 3:
        values = values * STD[:, None, None] + MEAN[:, None, None]
    last = 255 * values.numpy().reshape(ours[-1].shape)
    difference = float(np.abs(ours[-1].numpy() - last).mean())
    assert difference <= at_most, f"the values differ by {difference:.3f} levels"


def on_one_core(tree: JpegTree, stores: dict, items: list) -> list[Row]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    rows = []
    for codec, videos in stores.items():
        assert_equal_values(ours(videos, items), classical(tree, items), at_most=0.3)
        ratio = paired(lambda: classical(tree, items), lambda videos=videos: ours(videos, items))
        rows.append(row(f"motion stacks, one core, {codec}", ratio, GOALS[codec]))

    def our_frames() -> list:
        return ours(stores["jpeg"], items, modality=RGB)

    assert_equal_values(our_frames(), classical(tree, items, kind="rgb"), at_most=1.5)
    ratio = paired(lambda: classical(tree, items, kind="rgb"), our_frames)
    rows.append(row("RGB frames, one core, jpeg", ratio, GOALS["rgb"]))
    os.sched_setaffinity(0, cores)
    return rows


def on_two_cores(tree: JpegTree, videos: list[StoredVideo], items: list) -> Row:
    ratio = paired(
        lambda: classical(tree, items, workers=2), lambda: ours(videos, items, threads=2)
    )
    return row("motion stacks, two threads against two worker processes, jpeg", ratio, GOALS["two"])


def test_views(tree: JpegTree, videos: list[StoredVideo]) -> list[Row]:
    """25 snippets x 10 crops of the first video."""
    protocol = PROTOCOLS["tsn25x10"]
    portion = np.empty((3, *views_shape(FLOW, protocol, size=SIZE)), np.uint8)

    def our_views() -> None:
        write = ViewWriter(videos, FLOW, protocol).write
        for number in range(protocol.num_snippets):
            write((0, number), portion[number % len(portion)])

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory_of("VmRSS")
    our_views()
    grown = memory_of("VmHWM") - before
    starts = protocol.starts(videos[0].length - LENGTH + 1, protocol.num_snippets)
    boxes = [view.box for view in protocol.views(*StoreEntry(videos[0].path).size)[:5]]
    ratio = median(
        timed(lambda: tsn_views(tree, 0, starts, boxes)) / timed(our_views) for _ in range(2)
    )
    fits = grown <= MEGABYTES
    memory = ("25 x 10 views: memory that is added, MB", grown, f"<= {MEGABYTES}", fits)
    return [row("25 x 10 views of one video prepared, one core", ratio, GOALS["25x10"]), memory]


def memory_of(what: str) -> float:
    """Of this process, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition(f"{what}:")[2].split()[0]) / 1024


def row(name: str, ratio: float, goal: float) -> Row:
    return name, ratio, f">= {goal:g}x", ratio >= goal


if __name__ == "__main__":
    main()
