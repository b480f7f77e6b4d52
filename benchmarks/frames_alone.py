"""`extract-flow --method none` against a plain OpenCV loop.

The loop decodes with VideoCapture, resizes and writes each frame as a JPEG of the same quality, in
one process, as scripts do that make folders of frames. Each is a command of its own, on one core;
they take turns. Compared are CPU seconds, of all processes: of wall-clock time other work on the
machine takes its part. What a command needs to start is measured with a video of two frames and
taken off: it is a second, whether ten videos follow or ten thousand. From a clone: `PYTHONPATH=.
python benchmarks/frames_alone.py`. Writes `benchmarks/results/frames_alone.md`, and fails where the
loop is faster or where what is stored differs from it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from whole_process import cost_of

from flow_extract.store.reader import open_entry, scan_store

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT.parent / "shared" / "data" / "ucf101-clips" / "videos"
RESULTS = ROOT / "benchmarks" / "results" / "frames_alone.md"
SHORT_SIDE, TURNS = 256, 5
GOAL = 1.0  # times as fast as the loop
LOOP = """
import sys
from pathlib import Path
import cv2
cv2.setNumThreads(1)
videos, out = map(Path, sys.argv[1:3])
for video in sorted(videos.rglob("*.avi")):
    folder = out / video.relative_to(videos).with_suffix("")
    folder.mkdir(parents=True)
    capture, number = cv2.VideoCapture(str(video)), 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        number += 1
        height, width = frame.shape[:2]
        scale = int(sys.argv[3]) / min(height, width)
        size = round(width * scale), round(height * scale)
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), frame)
"""


def main() -> None:
    seconds: dict[str, list[float]] = {"loop": [], "none": []}
    starts: dict[str, list[float]] = {"loop": [], "none": []}
    clips = sorted(CLIPS.rglob("*.avi"))[::2]
    for turn in range(TURNS):
        for way in seconds:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "videos").mkdir()
                write_short_video(Path(folder) / "videos" / "short.avi")
                starts[way].append(cpu_seconds(way, Path(folder)))
            with tempfile.TemporaryDirectory() as folder:
                videos = Path(folder) / "videos"
                videos.mkdir()
                for clip in clips:
                    (videos / clip.name).symlink_to(clip)
                seconds[way].append(cpu_seconds(way, Path(folder)))
                print(f"turn {turn}, {way}: {starts[way][-1]:.2f}, {seconds[way][-1]:.2f} s")
                if way == "none" and not turn:
                    frames = check_equal(videos, Path(folder) / "out")
    start = {way: median(starts[way]) for way in starts}
    work = {way: [value - start[way] for value in seconds[way]] for way in seconds}
    ratios = [loop / ours for loop, ours in zip(work["loop"], work["none"], strict=True)]
    whole = [loop / ours for loop, ours in zip(seconds["loop"], seconds["none"], strict=True)]
    RESULTS.write_text(
        "# Frames alone, against a plain OpenCV loop\n\n"
        f"Made by `benchmarks/frames_alone.py`: {len(clips)} UCF101 clips, {frames:,} frames,\n"
        f"short side {SHORT_SIDE}, one core, {TURNS} turns, CPU seconds of whole commands, medians."
        "\n\n| | start | the clips after it | times as fast as the loop (each turn) | start "
        "included |\n|---|---|---|---|---|\n"
        f"| OpenCV loop, a JPEG file a frame | {start['loop']:.2f} | {median(work['loop']):.2f} | "
        "1 | 1 |\n"
        f"| `extract-flow --method none` | {start['none']:.2f} | {median(work['none']):.2f} | "
        f"{median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}) | "
        f"{median(whole):.2f} |\n"
    )
    print(RESULTS.read_text())
    if median(ratios) < GOAL:
        raise SystemExit(f"missed: {median(ratios):.2f} ({GOAL})")


def write_short_video(path: Path) -> None:
    """Two grey frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(2):
        writer.write(np.full((48, 64, 3), 128, np.uint8))
    writer.release()


def cpu_seconds(way: str, folder: Path) -> float:
    """Of one command that reads `folder / "videos"` and writes below `folder / "out"`."""
    core = {min(os.sched_getaffinity(0))}
    videos, out = folder / "videos", folder / "out"
    if way == "loop":
        command = [sys.executable, "-c", LOOP, videos, out, str(SHORT_SIDE)]
    else:
        options = ["--videos", videos, "--store", out, "--short-side", str(SHORT_SIDE), "--quiet"]
        extract = ["extract-flow", "--method", way]
        command = [sys.executable, "-m", "twostream", *extract, *options]
    return cost_of(command, cwd=ROOT, cores=core)[1]


def check_equal(videos: Path, store: Path) -> int:
    """Frames that are stored; those of a clip must be those of the loop, but for its decoder."""
    headers = scan_store(store)
    name = next(iter(headers))
    capture = cv2.VideoCapture(str(videos / f"{name}.avi"))
    entry = open_entry(store, name)
    width, height = entry.header["size"]["width"], entry.header["size"]["height"]
    differences = []
    for index in range(entry.num_frames):
        frame = cv2.resize(capture.read()[1], (width, height))[..., ::-1]
        differences.append(np.abs(frame - entry.read_rgb([index])[0].astype(int)).mean())
    assert not capture.read()[0], f"{name}: the loop has more frames"
    assert max(differences) < 3, f"{name}: {max(differences):.2f} levels"
    return sum(header["counts"]["frames"] for header in headers.values())


if __name__ == "__main__":
    main()
