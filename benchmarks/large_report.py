"""A report of many videos: its CPU time and its peak of memory.

    python benchmarks/large_report.py --out benchmarks/results/large_report.md

Two streams of 20,000 videos, 3 segments and 400 classes are generated (two files of 96 MB, in a
temporary folder), with groups of five videos, so that the report calibrates and tunes in grouped
folds, and compares five fusions before and after. Fails above 700 MB or 60 s of CPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machines import machine

from fusion.tables.score_file import ScoreTable, write_scores

VIDEOS, SEGMENTS, CLASSES, OF_GROUP = 20_000, 3, 400, 5
MOST_MB, MOST_SECONDS = 700, 60
WIDTHS = {"spatial": 1.0, "motion": 2.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument(
        "--command", default="report", choices=["report", "tune", "compare", "fuse"]
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [
            make_scores(Path(folder) / f"{stream}.safetensors", stream, videos=options.videos)
            for stream in WIDTHS
        ]
        more = {
            "report": ["--out", f"{folder}/report.html"],
            "tune": ["--choose", "crossfit"],
            "compare": [],
            "fuse": ["--calibrate", "crossfit"],
        }[options.command]
        command = [sys.executable, "-m", "twostream", options.command, *map(str, files), *more]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
    seconds, megabytes = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(
        f"{options.command} of {options.videos:,} videos x {SEGMENTS} segments x {CLASSES} classes:"
        f" {seconds:.0f} s of CPU, peak {megabytes:.0f} MB"
    )
    if status:
        raise SystemExit(f"the command failed: {status}")
    if options.out:
        options.out.write_text(
            "# A report of many videos\n\n"
            f"Made by `benchmarks/large_report.py` on {machine()}, numpy "
            f"{np.__version__}:\ntwo streams of {options.videos:,} videos, {SEGMENTS} segments and "
            f"{CLASSES} classes, in groups of {OF_GROUP}.\n\n"
            "| command | CPU time | peak of memory |\n|---|---|---|\n"
            f"| `{options.command}` | {seconds:.0f} s | {megabytes:.0f} MB |\n"
        )
    if options.videos == VIDEOS and (seconds > MOST_SECONDS or megabytes > MOST_MB):
        raise SystemExit(f"expected at most {MOST_SECONDS} s and {MOST_MB} MB")


def make_scores(path: Path, stream: str, *, videos: int) -> Path:
    """A score file of noisy logits, with the true class above the others."""
    rng = np.random.default_rng(list(WIDTHS).index(stream))
    labels = np.arange(videos) % CLASSES
    scores = rng.normal(size=(videos, SEGMENTS, 1, CLASSES)).astype(np.float32)
    scores[np.arange(videos), :, 0, labels] += 2.5
    table = ScoreTable(
        names=tuple(f"class{label:03d}/v{row:05d}" for row, label in enumerate(labels)),
        class_names=tuple(f"class{label:03d}" for label in range(CLASSES)),
        scores=scores * np.float32(WIDTHS[stream]),
        labels=labels,
        score_type="logits",
        metadata={"stream": stream, "dataset": "generated", "split": 1, "subset": "test"},
        groups=tuple(f"{row % CLASSES}-{row // CLASSES // OF_GROUP}" for row in range(videos)),
    )
    write_scores(path, table)
    return path


if __name__ == "__main__":
    main()
