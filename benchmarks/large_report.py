"""Reports of many videos: CPU time, peak of memory, and size of the page.

    python benchmarks/large_report.py --out benchmarks/results/large_report.md

Two streams are generated, in a temporary folder, with groups of five videos, so that the report
calibrates and tunes in grouped folds, and compares five fusions before and after: once as many as
UCF101's test list (3,783 videos, 101 classes), once 20,000 videos, 3 segments and 400 classes (two
files of 96 MB). Fails above 5 s of CPU or a page of 1.5 MB for the first, 60 s or 700 MB of memory
for the second. `--command` measures another command with the second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machines import machine

from fusion.tables.score_file import ScoreTable, write_scores

OF_GROUP = 5
WIDTHS = {"spatial": 1.0, "motion": 2.5}


class Size(NamedTuple):
    """How much a report is about, and what it may cost: CPU seconds, MB of memory and of page."""

    videos: int
    segments: int
    classes: int
    seconds: float
    memory: float
    page: float

    def __str__(self) -> str:
        return f"{self.videos:,} videos x {self.segments} segments x {self.classes} classes"


SIZES = (Size(3_783, 1, 101, 5, 700, 1.5), Size(20_000, 3, 400, 60, 700, 1.5))


class Cost(NamedTuple):
    """What a command took: CPU seconds, MB of memory, and MB of the page that it wrote."""

    seconds: float
    memory: float
    page: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--command", default="report", choices=["report", "tune", "compare", "fuse"]
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    costs = {}
    for size in SIZES if options.command == "report" else SIZES[1:]:
        cost = costs[size] = measure(options.command, size)
        print(
            f"{options.command} of {size}: {cost.seconds:.1f} s of CPU, peak {cost.memory:.0f} MB, "
            f"page {cost.page:.2f} MB",
            flush=True,
        )
    if options.out:
        rows = "".join(
            f"| `{options.command}` | {size} | {cost.seconds:.1f} s | {cost.memory:.0f} MB | "
            f"{cost.page:.2f} MB |\n"
            for size, cost in costs.items()
        )
        options.out.write_text(
            "# Reports of many videos\n\n"
            f"Made by `benchmarks/large_report.py` on {machine()}, numpy {np.__version__}: two "
            f"streams,\nvideos in groups of {OF_GROUP}.\n\n"
            "| command | of each stream | CPU time | peak of memory | page |\n"
            "|---|---|---|---|---|\n" + rows
        )
    for size, cost in costs.items():
        if any(have > may for have, may in zip(cost, size[3:], strict=True)):
            raise SystemExit(
                f"{size}: expected at most {size.seconds:g} s, {size.memory:g} MB of memory and a "
                f"page of {size.page:g} MB"
            )


def measure(name: str, size: Size) -> Cost:
    """Run a command on generated scores of that size."""
    with tempfile.TemporaryDirectory() as folder:
        files = [
            make_scores(Path(folder) / f"{stream}.safetensors", stream, size=size)
            for stream in WIDTHS
        ]
        page = Path(folder) / "report.html"
        more = {
            "report": ["--out", str(page)],
            "tune": ["--choose", "crossfit"],
            "compare": [],
            "fuse": ["--calibrate", "crossfit"],
        }[name]
        command = [sys.executable, "-m", "twostream", name, *map(str, files), *more]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the command failed: {status}")
        megabytes = page.stat().st_size / 1e6 if page.exists() else 0.0
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, megabytes)


def make_scores(path: Path, stream: str, *, size: Size) -> Path:
    """A score file of noisy logits, with the true class above the others."""
    rng = np.random.default_rng(list(WIDTHS).index(stream))
    videos, classes = size.videos, size.classes
    labels = np.arange(videos) % classes
    scores = rng.normal(size=(videos, size.segments, 1, classes)).astype(np.float32)
    scores[np.arange(videos), :, 0, labels] += 2.5
    table = ScoreTable(
        names=tuple(f"class{label:03d}/v{row:05d}" for row, label in enumerate(labels)),
        class_names=tuple(f"class{label:03d}" for label in range(classes)),
        scores=scores * np.float32(WIDTHS[stream]),
        labels=labels,
        score_type="logits",
        metadata={"stream": stream, "dataset": "generated", "split": 1, "subset": "test"},
        groups=tuple(f"{row % classes}-{row // classes // OF_GROUP}" for row in range(videos)),
    )
    write_scores(path, table)
    return path


if __name__ == "__main__":
    main()
