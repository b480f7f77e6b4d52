"""Speed of the flow methods beside OpenCV's own, on the same frames and the same core.

    PYTHONPATH=. python benchmarks/flow_speed.py

Every frame pair goes through all methods in turn, twice, on one core; compared are CPU seconds,
pair by pair, so that other work on the machine hurts both sides alike. Writes
`benchmarks/results/flow_speed.md` and fails where a figure is not reached. Takes about 7 minutes.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import cv2
import numpy as np
from contrib_tvl1 import ROOT, SCRIPT, TimedFlow, contrib_python, contrib_tvl1
from machines import write_section
from real_pairs import DATA, clips, grey, middlebury, pairs_of
from whole_process import cost_of

from flow_extract.methods import FLOW_METHODS
from flow_extract.store.codecs import quantize
from flow_extract.synthetic import endpoint_error

RESULTS = ROOT / "benchmarks" / "results" / "flow_speed.md"
CLIPS, PAIRS_OF_A_CLIP, ROUNDS = 15, 2, 2
WHOLE_ROUNDS = 3
CLASS = DATA / "ucf101-clips" / "videos" / "JavelinThrow"

HEAD = f"""
# Speed of the flow methods

Made by `benchmarks/flow_speed.py`: {CLIPS} UCF101 clips (320x240), {PAIRS_OF_A_CLIP} pairs of each,
{ROUNDS} rounds, one core and one thread; speeds are medians of paired ratios of CPU time.
"""

ClipMethod = Callable[[np.ndarray], np.ndarray]


class Row(NamedTuple):
    """A figure, what it must be (at least, at most, or free), and how it is printed."""

    name: str
    value: float
    at_least: float = -np.inf
    at_most: float = np.inf
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.at_least <= self.value <= self.at_most


def main() -> None:
    core = max(os.sched_getaffinity(0))
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    rows = []
    with contrib_tvl1() as contrib:
        rows += against_contrib(contrib)
        rows += middlebury_errors(contrib)
    rows += dis_against_farneback()
    os.sched_setaffinity(0, all_cores)
    rows += whole_process(core)
    rows += two_cores()
    print(write_section(RESULTS, head=HEAD, body=report(rows)))
    missed = [row.name for row in rows if not row.holds]
    if missed:
        raise SystemExit(f"not reached: {', '.join(missed)}")


def against_contrib(contrib: TimedFlow) -> list[Row]:
    pairs = [pair for clip in clips(CLIPS) for pair in pairs_of(clip, PAIRS_OF_A_CLIP)]
    methods = {name: FLOW_METHODS[name]() for name in ("tvl1", "tvl1-fast")}
    for method in methods.values():
        method(pairs[0])  # compiled, or loaded, before the clock runs
    ratios: dict[str, list[float]] = {name: [] for name in methods}
    differences, identical = [], []
    for number, pair in enumerate(pairs * ROUNDS):
        expected, contrib_seconds = contrib(*grey(pair))
        for name, method in methods.items():
            flow, seconds = timed(method, pair)
            ratios[name].append(contrib_seconds / seconds)
            if name == "tvl1" and number < len(pairs):
                differences.append(float(np.abs(flow - expected).mean()))
                identical.append(float((quantize(flow) == quantize(expected)).mean()))
        print(f"pair {number + 1} of {len(pairs) * ROUNDS}", file=sys.stderr, end="\r")
    return [
        Row("tvl1: speed, contrib = 1", median(ratios["tvl1"]), at_least=8, unit="x"),
        Row(
            "tvl1: mean absolute difference to contrib", mean(differences), at_most=0.01, unit="px"
        ),
        Row("tvl1: identical stored values", 100 * mean(identical), at_least=95, unit="%"),
        Row("tvl1-fast: speed, contrib = 1", median(ratios["tvl1-fast"]), at_least=25, unit="x"),
    ]


def timed(method: ClipMethod, pair: np.ndarray) -> tuple[np.ndarray, float]:
    start = time.process_time()
    flow = method(pair)[0]
    return flow, time.process_time() - start


def middlebury_errors(contrib: TimedFlow) -> list[Row]:
    rows = []
    methods = {name: FLOW_METHODS[name]() for name in ("tvl1", "tvl1-fast")}
    for name, frames, truth in middlebury():
        theirs = endpoint_error(contrib(*grey(frames))[0], truth)
        ours = endpoint_error(methods["tvl1"](frames)[0], truth)
        fast = endpoint_error(methods["tvl1-fast"](frames)[0], truth)
        change = 100 * (ours / theirs - 1)
        rows += [
            Row(f"{name}: endpoint error of contrib", theirs, unit="px"),
            Row(f"{name}: endpoint error of tvl1", ours, unit="px"),
            Row(f"{name}: tvl1 relative to contrib", change, -1, 1, "%"),
            Row(f"{name}: endpoint error of tvl1-fast", fast, unit="px"),
        ]
    return rows


def dis_against_farneback() -> list[Row]:
    dis, farneback = FLOW_METHODS["dis"](), FLOW_METHODS["farneback"]()
    pairs = [pair for clip in clips(CLIPS) for pair in pairs_of(clip, PAIRS_OF_A_CLIP)]
    ratios = [timed(farneback, pair)[1] / timed(dis, pair)[1] for _ in range(5) for pair in pairs]
    errors = [
        (endpoint_error(dis(frames)[0], truth), endpoint_error(farneback(frames)[0], truth))
        for _, frames, truth in middlebury(size=(320, 240))
    ]
    of_dis, of_farneback = (mean(column) for column in zip(*errors, strict=True))
    return [
        Row("dis: speed at 320x240, farneback = 1", median(ratios), at_least=1, unit="x"),
        Row("dis: mean endpoint error at 320x240", of_dis, at_most=of_farneback, unit="px"),
        Row("farneback: mean endpoint error at 320x240", of_farneback, unit="px"),
    ]


def whole_process(core: int) -> list[Row]:
    """CPU time of the command, start-up included, beside the loop that users write today."""
    videos = sorted(CLASS.glob("*_g2[12]_*.avi"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "videos").mkdir()
        for video in videos:
            (folder / "videos" / video.name).symlink_to(video)
        tree = [contrib_python(), SCRIPT, "tree", folder / "tree", *videos]
        _, theirs = cost_of(tree, cwd=ROOT, cores={core})
        ours = median(
            cost_of(extraction(folder / "videos", folder / f"{k}"), cwd=ROOT, cores={core})[1]
            for k in range(WHOLE_ROUNDS)
        )
    return [
        Row(f"extract-flow, {len(videos)} clips: CPU", ours, unit="s"),
        Row("loop with contrib that writes u/ v/ JPEG: CPU", theirs, unit="s"),
        Row("extract-flow: CPU saved, loop = 1", theirs / ours, at_least=8, unit="x"),
    ]


def two_cores() -> list[Row]:
    """Wall time of the command on one core and on two, in turns."""
    others = cores_used_by_others()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(WHOLE_ROUNDS):
            walls = []
            for cores in ({0}, {0, 1}):
                command = extraction(CLASS, Path(folder, f"{number}-{len(cores)}"))
                walls.append(cost_of(command, cwd=ROOT, cores=cores)[0])
            ratios.append(walls[0] / walls[1])
    return [
        Row("cores that other work on the machine used just before", others),
        Row("extract-flow: speed on 2 cores, 1 core = 1", median(ratios), at_least=1.7, unit="x"),
    ]


def extraction(videos: Path, store: Path) -> list[str | Path]:
    """The command; it runs as many videos at one time as it may use cores."""
    command = [sys.executable, "-m", "twostream", "extract-flow", "--quiet", "--method", "tvl1"]
    return [*command, "--videos", videos, "--store", store]


def cores_used_by_others(seconds: float = 5.0) -> float:
    """How many cores are busy while this process does nothing; wall times hang on that."""
    before = busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - before) / seconds


def busy_seconds() -> float:
    """Time that all cores have spent on work since the machine was started (Linux)."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def report(rows: list[Row]) -> str:
    table = [
        f"| {row.name} | {row.value:.4f} {row.unit} | {wanted(row)} | {verdict(row)} |"
        for row in rows
    ]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "numba"))
    return "\n".join(
        [
            f"Python {platform.python_version()}, OpenCV {cv2.__version__}, {versions}.",
            "",
            "| figure | value | wanted | holds |",
            "|---|---|---|---|",
            *table,
        ]
    )


def verdict(row: Row) -> str:
    if not wanted(row):
        return ""
    return "yes" if row.holds else "NO"


def wanted(row: Row) -> str:
    limits = ((">=", row.at_least), ("<=", row.at_most))
    return ", ".join(f"{sign} {limit:.4g}" for sign, limit in limits if np.isfinite(limit))


if __name__ == "__main__":
    main()
