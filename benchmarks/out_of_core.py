"""Pooling and fusion of score files larger than one wants in memory: time, and peak of memory.

    python benchmarks/out_of_core.py --videos 60000 --turns 5

The files (videos x 25 x 400 float32: 2.4 GB for 60,000) lie in a temporary folder and are deleted.
Pooling is timed in turns with plain reads of the same file: whole (numpy.fromfile), and into one
small buffer that is thrown away, the least that reading can take. All reads are of cached files
where the memory suffices. Variance is timed against numpy's form on the whole array, which takes
twice the file's size of memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from fusion.mapped_scores import MappedScores, map_scores
from fusion.pooling import POOLS, pool_parts
from fusion.score_file import ScoreTable
from fusion.score_stream import write_scores_in_parts

ROOT = Path(__file__).parents[1]
SEGMENTS, CLASSES, PORTION = 25, 400, 500
BUFFER = 8 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=60_000)
    parser.add_argument("--fused-videos", type=int, default=240_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = make_scores(Path(folder) / "large.safetensors", options.videos, SEGMENTS, seed=0)
        report_pooling(path, options.turns)
    with tempfile.TemporaryDirectory() as folder:
        report_fusion(Path(folder), options.fused_videos)


def make_scores(path: Path, videos: int, segments: int, *, seed: int) -> Path:
    """A score file of normal numbers; the same portion over and over, the labels in turn."""
    scores = np.random.default_rng(seed).normal(size=(PORTION, segments, 1, CLASSES))
    portion = scores.astype(np.float32)
    whole = ScoreTable(
        names=tuple(f"v{row:06d}" for row in range(videos)),
        class_names=tuple(f"c{row:03d}" for row in range(CLASSES)),
        scores=np.broadcast_to(np.float32(0), (videos, segments, 1, CLASSES)),
        labels=np.arange(videos) % CLASSES,
        kind="logits",
        about={"stream": f"stream{seed}"},
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


def report_pooling(path: Path, turns: int) -> None:
    mapped = map_scores(path)
    for how in POOLS:
        turn = [
            (timed(pool_all, mapped, how), timed(whole_read, path), timed(plain_read, path))
            for _ in range(turns)
        ]
        print(
            f"pool {how}: {median(pooled for pooled, _, _ in turn):.2f} s, "
            f"{median(pooled / read for pooled, read, _ in turn):.2f} x a read of the whole file, "
            f"{median(pooled / read for pooled, _, read in turn):.2f} x one into a small buffer; "
            f"peak {peak(how, path):.0f} MB over start"
        )
    gains = [
        timed(whole_variance, mapped) / timed(pool_all, mapped, "variance") for _ in range(turns)
    ]
    print(f"variance in parts: {median(gains):.1f} times as fast as numpy on the whole array")
    check_equal(mapped)


def pool_all(mapped: MappedScores, how: str) -> None:
    for _ in pool_parts(mapped, POOLS[how]):
        pass


def plain_read(path: Path) -> None:
    buffer = bytearray(BUFFER)
    with path.open("rb", buffering=0) as stream:
        while stream.readinto(buffer):
            pass


def whole_read(path: Path) -> None:
    np.fromfile(path, np.uint8)


def whole_variance(mapped: MappedScores) -> np.ndarray:
    block = mapped.block
    scores = np.memmap(block.path, block.dtype, "r", block.offset, block.shape)[:, :, 0]
    return (scores.var(axis=-1, ddof=1, keepdims=True) * scores).sum(axis=1)


def check_equal(mapped: MappedScores) -> None:
    ours = np.concatenate(list(pool_parts(mapped, POOLS["variance"])))
    np.testing.assert_allclose(ours, whole_variance(mapped), rtol=1e-4, atol=1e-4)


def report_fusion(folder: Path, videos: int) -> None:
    files = [make_scores(folder / f"{seed}.safetensors", videos, 1, seed=seed) for seed in (1, 2)]
    command = [sys.executable, "-m", "twostream", "fuse", *map(str, files), "--json"]
    results = {}
    for engine in ("shards", "dask"):
        out = folder / f"fused-{engine}"
        start = time.perf_counter()
        arguments = [*command, "--engine", engine, "--out", str(out)]
        results[engine] = (
            json.loads(subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True).stdout),
            out.read_bytes(),
        )
        print(f"fuse 2 x {videos:,} videos, {engine}: {time.perf_counter() - start:.1f} s")
    assert results["shards"] == results["dask"], "the engines differ"
    print(f"fuse in shards: peak {peak('fuse', folder):.0f} MB over start")


def peak(what: str, path: Path) -> float:
    """The peak of memory, in MB, of one piece of work in a process of its own."""
    arguments = [sys.executable, __file__, "--measure", what, str(path)]
    done = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(what: str, path: Path) -> None:
    from fusion.shard_engines import one_by_one
    from fusion.shards import fuse_in_shards
    from fusion.step import MEAN

    start = most_memory()
    if what == "fuse":
        mapped = {name: map_scores(path / f"{name}.safetensors") for name in "12"}
        steps = {"crops": MEAN, "segments": MEAN, "streams": MEAN}
        files = dict.fromkeys(mapped, "")
        fuse_in_shards(mapped, engine=one_by_one, files=files, steps=steps, out=path / "measured")
    else:
        pool_all(map_scores(path), what)
    print((most_memory() - start) / 1024)


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
