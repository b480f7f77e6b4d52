"""Decoding: its CPU time beside OpenCV's, and the memory of long and of large videos.

    PYTHONPATH=. python benchmarks/decoding.py            # both, writes results/decoding.md
    PYTHONPATH=. python benchmarks/decoding.py --memory   # or --speed: one of them, writes nothing
    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/decoding.py --beside CLONE

Speed: UCF101 clips, the ways in turns, one core. Decoding alone, and RGB alone: the frames decoded
and stored as JPEG, by `extract-flow` without flow and by a loop over `cv2.VideoCapture` that writes
a file a picture.

Memory: generated videos, each extracted in a process of its own whose resident memory is looked at
all the time: 600 frames of 3840 x 2160, and two hours (180,000 frames) of 64 x 48, without flow and
with DIS (which takes a quarter of an hour for the large one). Fails above 1.5 GB, or where the
second half of the time, which ends with the writing of the store file, needs over 5 % and 20 MB
more than the first.

Beside a clone of another commit: the CPU time of the whole command `extract-flow` (DIS, every third
clip, one core), that commit and this one in turns; and how far the pixels of all clips are from
those of its decoder and of `cv2.VideoCapture`. Adds a section of its own to the results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np
from machines import machine, write_section
from whole_process import cost_of

from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.synthetic import smooth_texture
from flow_extract.video.decode import read_frames

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT.parent / "shared" / "data" / "ucf101-clips" / "videos"
RESULTS = ROOT / "benchmarks" / "results" / "decoding.md"
NUM_CLIPS, TURNS = 12, 7
WHOLE_CLIPS, WHOLE_TURNS = 20, 5
HEAD = "# Decoding\n\nMade by `benchmarks/decoding.py`, which says how.\n"
MOST_MB, MOST_GROWTH, GROWTH_MB = 1536, 1.05, 20
DISTINCT = 12  # frames of a generated video, which repeats them
# Title -> height, width, frames, method.
VIDEOS = {
    "4K, RGB alone": (2160, 3840, 600, None),
    "4K, DIS": (2160, 3840, 600, "dis"),
    "two hours, RGB alone": (48, 64, 180_000, None),
    "two hours, DIS": (48, 64, 180_000, "dis"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--beside", type=Path, metavar="CLONE")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return watch_extraction(Path(options.child[0]), options.child[1] or None)
    if options.beside:
        return compare_with(options.beside)
    both = options.memory == options.speed
    lines = [] if options.memory and not both else speed()
    lines += [] if options.speed and not both else memory()
    if both:
        write_section(
            RESULTS,
            head=HEAD,
            body="\n".join(lines),
            name=f"{machine()}, PyAV {av.__version__}, OpenCV {cv2.__version__}",
        )
    return None


def speed() -> list[str]:
    """A table of CPU time a frame, as ratios to OpenCV."""
    cv2.setNumThreads(1)
    clips = sorted(CLIPS.glob("*/*.avi"))[:: 60 // NUM_CLIPS]
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, tuple[Callable[[Path], int], Callable[[Path], int]]] = {
            "decoding": (decode, decode_by_opencv),
            "RGB alone": (
                partial(store_frames, folder=Path(folder), settings=extraction_settings("dis")),
                partial(write_frames_by_opencv, folder=Path(folder)),
            ),
        }
        lines = ["| | ms/frame | OpenCV's loop | times as fast |", "|---|---|---|---|"]
        for name, pair in ways.items():
            spent: list[list[float]] = []
            for _ in range(TURNS):
                for clip in clips:
                    turn = []
                    for way in pair:
                        begin = time.process_time()
                        count = way(clip)
                        turn.append(1000 * (time.process_time() - begin) / count)
                    spent.append(turn)
            ours, theirs = (median(column) for column in zip(*spent, strict=True))
            ratio = median(theirs / ours for ours, theirs in spent)
            lines.append(f"| {name} | {ours:.2f} | {theirs:.2f} | {ratio:.2f} |")
            print(lines[-1])
    return [*lines, ""]


def decode(clip: Path) -> int:
    return sum(1 for _ in read_frames(clip))


def decode_by_opencv(clip: Path) -> int:
    capture, count = cv2.VideoCapture(str(clip)), 0
    while capture.read()[0]:
        count += 1
    return count


def store_frames(clip: Path, *, folder: Path, settings: dict[str, Any]) -> int:
    settings = settings | {"method": None}
    return extract_video(Job("v", clip, clip.name, folder / "store", settings)).frames


def write_frames_by_opencv(clip: Path, *, folder: Path) -> int:
    capture, count = cv2.VideoCapture(str(clip)), 0
    (folder / "tree").mkdir(exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    while (read := capture.read())[0]:
        count += 1
        cv2.imwrite(str(folder / "tree" / f"img_{count:05d}.jpg"), read[1], quality)
    return count


def compare_with(clone: Path) -> None:
    """Whole extraction and pixels, of a clone of another commit and of ours: a section of both."""
    commits = {
        folder: subprocess.check_output(
            ["git", "log", "-1", "--format=%h (%cs)"], cwd=folder, text=True
        ).strip()
        for folder in (clone, ROOT)
    }
    core = min(os.sched_getaffinity(0))
    clips = sorted(CLIPS.glob("*/*.avi"))
    seconds: dict[Path, list[float]] = {clone: [], ROOT: []}
    with tempfile.TemporaryDirectory() as temporary:
        videos = Path(temporary, "videos")
        videos.mkdir()
        for clip in clips[:: len(clips) // WHOLE_CLIPS]:
            (videos / clip.name).symlink_to(clip)
        for turn in range(WHOLE_TURNS):
            for number, folder in enumerate((clone, ROOT)):
                python = ["env", f"PYTHONPATH={folder.resolve()}", sys.executable]
                command = [*python, "-m", "twostream", "extract-flow", "--method", "dis"]
                command += ["--videos", str(videos), "--store", f"{temporary}/{turn}-{number}"]
                seconds[folder].append(cost_of(command, cwd=folder, cores={core})[1])
                print(commits[folder], f"{seconds[folder][-1]:.1f} s", flush=True)
    ratios = [ours / theirs for theirs, ours in zip(seconds[clone], seconds[ROOT], strict=True)]
    lines = [
        f"Commit {commits[ROOT]} beside {commits[clone]}, one core; measured on {date.today()}.",
        "",
        f"`extract-flow --method dis`, {WHOLE_CLIPS} clips: CPU time x {median(ratios):.3f}, "
        f"median of {WHOLE_TURNS} turns ({min(ratios):.3f} to {max(ratios):.3f}).",
        "",
        f"| pixels of {len(clips)} clips beside | difference, levels | of the worst clip |",
        "|---|---|---|",
    ]
    for title, command in (
        (f"the decoder of {commits[clone]}", [sys.executable, "-c", DECODE_ALL]),
        ("`cv2.VideoCapture`", [sys.executable, "-c", DECODE_ALL_BY_OPENCV]),
    ):
        differences = pixel_differences(clips, command=command, cwd=clone)
        largest = max(differences)
        lines.append(f"| {title} | {np.mean(differences):.3f} | {largest:.3f} |")
        if largest > 1:
            raise SystemExit(f"the pixels of a clip differ by {largest:.3f} levels from {title}")
    print("\n".join(lines))
    write_section(
        RESULTS, head=HEAD, body="\n".join(lines), name=f"{machine()}, beside another commit"
    )


DECODE_ALL = """
import sys
from flow_extract.video.decode import read_frames
for path in sys.argv[1:]:
    for frame in read_frames(path):
        sys.stdout.buffer.write(frame.tobytes())
"""
DECODE_ALL_BY_OPENCV = """
import sys
import cv2
for path in sys.argv[1:]:
    capture = cv2.VideoCapture(path)
    while (read := capture.read())[0]:
        sys.stdout.buffer.write(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB).tobytes())
"""


def pixel_differences(clips: list[Path], *, command: list[str], cwd: Path) -> list[float]:
    """The mean difference of each clip from the RGB frames that a command writes of all clips.

    Raises:
        AssertionError: the command writes more frames or fewer.
    """
    differences = []
    environment = os.environ | {"PYTHONPATH": str(cwd.resolve())}
    with subprocess.Popen(
        [*command, *map(str, clips)], cwd=cwd, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for clip in clips:
            of_frames = []
            for frame in read_frames(clip):
                theirs = np.frombuffer(process.stdout.read(frame.nbytes), np.uint8)
                assert theirs.size == frame.size, f"{clip}: fewer frames"
                difference = cv2.absdiff(frame, theirs.reshape(frame.shape))
                of_frames.append(float(difference.mean()))
            differences.append(float(np.mean(of_frames)))
        assert not process.stdout.read(1), "more frames"
    return differences


def memory() -> list[str]:
    """A table of resident memory."""
    lines = ["| video | frames | peak, MB | second half against first |", "|---|---|---|---|"]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for title, (height, width, frames, method) in VIDEOS.items():
            path = write_video(Path(folder, "v.mp4"), height=height, width=width, frames=frames)
            command = [sys.executable, __file__, "--child", str(path), method or ""]
            facts = json.loads(subprocess.check_output(command, text=True))
            if (facts["status"], facts["frames"]) != ("ok", frames):
                raise SystemExit(f"{title}: {facts}")
            first, second = facts["halves"]
            lines.append(
                f"| {title} | {frames:,} | {max(first, second):.0f} | {second / first:.2f} |"
            )
            print(lines[-1], f"{facts['seconds']:.0f} s", flush=True)
            if max(first, second) > MOST_MB or second > max(MOST_GROWTH * first, first + GROWTH_MB):
                wrong.append(title)
    if wrong:
        raise SystemExit(f"too much memory, or ever more: {wrong}")
    return lines


def write_video(path: Path, *, height: int, width: int, frames: int) -> Path:
    """H.264 in MP4: a few frames of a moving texture are encoded once, and repeated."""
    texture = smooth_texture((height, width), rng=np.random.default_rng(0))
    texture = (255 * texture).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.gop_size = DISTINCT
        packets = []
        for number in range(DISTINCT):
            picture = np.ascontiguousarray(np.roll(texture, 3 * number, axis=1))
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, "gray"))
        packets += stream.encode(None)
        data = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(frames):
            content, is_key = data[number % DISTINCT]
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, packets[0].time_base
            packet.pts = packet.dts = number
            packet.is_keyframe = is_key
            container.mux(packet)
    return path


def watch_extraction(video: Path, method: str | None) -> None:
    """Extract a video; print what became of it, and the most memory of both halves, in MB."""
    samples: list[tuple[float, float]] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            samples.append((time.monotonic(), pages * 4096 / 2**20))

    settings = extraction_settings("dis") | ({} if method else {"method": None})
    threading.Thread(target=look, daemon=True).start()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = extract_video(Job("v", video, video.name, Path(folder), settings))
    done.set()
    # Not what is there before the first frames.
    seconds = time.monotonic() - begin
    start, middle = begin + 0.1 * seconds, begin + 0.5 * seconds
    halves = [
        max(amount for moment, amount in samples if low <= moment < high)
        for low, high in ((start, middle), (middle, begin + seconds))
    ]
    facts = {"status": result.status, "frames": result.frames, "halves": halves}
    print(json.dumps(facts | {"seconds": seconds}))


if __name__ == "__main__":
    main()
