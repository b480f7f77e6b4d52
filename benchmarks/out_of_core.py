"""Fusion of score files that are read from disk a few videos at a time: time, and peak of memory.

    python benchmarks/out_of_core.py --videos 60000

Two files (videos x 25 x 400 float32: 2.4 GB each for 60,000) lie in a temporary folder and are
deleted. Fusion is timed beside plain reads of the same files, into one small buffer that is thrown
away: the least that reading can take. All reads are of cached files where the memory suffices.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from fusion.combining.inputs import FusionOptions
from fusion.tables.score_file import ScoreTable, write_scores_in_parts
from fusion.workflows import fuse_files

ROOT = Path(__file__).parents[1]
SEGMENTS, CLASSES, PORTION = 25, 400, 500
BUFFER = 8 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=60_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--measure", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        start = most_memory()
        fuse_all(Path(options.measure))
        print((most_memory() - start) / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [make_scores(Path(folder) / f"{seed}.safetensors", options.videos, seed=seed)
                 for seed in (1, 2)]  # fmt: skip
        turns = [
            (timed(fuse_all, Path(folder)), sum(timed(plain_read, file) for file in files))
            for _ in range(options.turns)
        ]
        command = [sys.executable, __file__, "--measure", folder]
        peak = float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
        size = sum(file.stat().st_size for file in files) / 1e9
        print(
            f"fuse 2 x {options.videos:,} videos, {size:.1f} GB: "
            f"{median(fused for fused, _ in turns):.1f} s, "
            f"{median(fused / read for fused, read in turns):.1f} x a read of both files; "
            f"peak {peak:.0f} MB over start"
        )


def make_scores(path: Path, videos: int, *, seed: int) -> Path:
    """A score file of normal numbers; the same portion over and over, the labels in turn."""
    scores = np.random.default_rng(seed).normal(size=(PORTION, SEGMENTS, 1, CLASSES))
    portion = scores.astype(np.float32)
    whole = ScoreTable(
        names=tuple(f"v{row:06d}" for row in range(videos)),
        class_names=tuple(f"c{row:03d}" for row in range(CLASSES)),
        scores=np.broadcast_to(np.float32(0), (videos, SEGMENTS, 1, CLASSES)),
        labels=np.arange(videos) % CLASSES,
        score_type="logits",
        metadata={"stream": f"stream{seed}"},
    )

    def parts() -> Iterator[ScoreTable]:
        for begin in range(0, videos, PORTION):
            names = whole.names[begin : begin + PORTION]
            yield replace(
                whole,
                names=names,
                labels=whole.labels[begin : begin + PORTION],
                scores=portion[: len(names)],
            )

    write_scores_in_parts(path, parts(), whole=whole)
    return path


def fuse_all(folder: Path) -> None:
    files = [folder / f"{name}.safetensors" for name in "12"]
    fuse_files(FusionOptions(files=files), out=folder / "fused")


def plain_read(path: Path) -> None:
    buffer = bytearray(BUFFER)
    with path.open("rb", buffering=0) as stream:
        while stream.readinto(buffer):
            pass


def most_memory() -> int:
    """The peak of this process so far, in kB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def timed(function, *arguments) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
