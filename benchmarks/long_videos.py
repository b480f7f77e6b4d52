"""Windows of a long video: cost against predicting them one by one, and memory over an hour.

    python benchmarks/long_videos.py --minutes 60

One by one means: each window is a video file of its own, of which frames, flow and networks are
computed as `predict` does; of a few windows, times their number. The files are cut before. Both
take turns (A B A B). The networks are ResNet18 of both streams, untrained, which changes no time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np
import torch

from flow_extract.extraction.settings import extraction_settings
from flow_extract.video.decode import read_frames
from fusion.tables.windows import Span, window_grid
from twostream.compute.device import Runtime
from twostream.data.protocols import find_protocol
from twostream.models.checkpoint import NetworkSpec, network_from_spec
from twostream.prediction.networks import Stream
from twostream.prediction.windows import WindowPass, window_protocol

FPS, WINDOW, STRIDE, SAMPLE = 25, 2.0, 0.5, 6
MEGABYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=int, default=20, help="of the film whose cost is measured"
    )
    parser.add_argument("--minutes", type=int, default=60, help="of the film with small frames")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runtime = Runtime(torch.device("cpu"), "fp32", options.threads, views_per_forward=32)
    with tempfile.TemporaryDirectory() as folder:
        cost(Path(folder), runtime, seconds=options.seconds, turns=options.turns)
        memory(Path(folder), runtime, minutes=options.minutes)


def make_stream(
    stream: str, *, model: str, input_size: int, short_side: int, protocol: str
) -> Stream:
    spec = NetworkSpec(
        model=model, model_options={}, stream=stream, clip_length=10 if stream == "motion" else 1,
        frame_interval=1, resize=(), class_names=tuple(map(str, range(101))), num_segments=3,
        consensus="mean", consensus_options={}, input_size=input_size, epoch=0, selected_on="val",
        flow={},
    )  # fmt: skip
    settings = extraction_settings("dis", {}, bound=20.0, short_side=short_side)
    return Stream(spec, network_from_spec(spec).eval(), settings, find_protocol(protocol))


def cost(folder: Path, runtime: Runtime, *, seconds: int, turns: int) -> None:
    """Time of all windows in one pass, and one by one."""
    film = write_film(folder / "film.mp4", seconds * FPS, size=(240, 320))
    window, stride = round(WINDOW * FPS), round(STRIDE * FPS)
    grid = window_grid(seconds * FPS, window=window, stride=stride)
    some = grid[:: max(1, len(grid) // SAMPLE)]
    frames = list(read_frames(film))
    cuts = [write_cut(folder / f"{a}.mp4", frames[a:b]) for a, b in some]
    for name in ("segments:3", "segments:8", "clips19"):
        streams = {
            key: make_stream(key, model="resnet18", input_size=224, short_side=240, protocol=name)
            for key in ("spatial", "motion")
        }

        def together() -> None:
            for _ in WindowPass(film, streams, Span(WINDOW), Span(STRIDE), runtime):  # noqa: B023
                pass

        def one_by_one() -> None:
            for cut in cuts:
                with tempfile.TemporaryDirectory(dir=folder) as store:
                    for stream in streams.values():  # noqa: B023
                        stored, _ = stream.extract(
                            cut, work_dir=Path(store), threads=runtime.threads
                        )
                        same = window_protocol(
                            stream.protocol,
                            stream.spec.modality,
                            length=stored.length,
                            stride=stride,
                        )
                        stream._replace(protocol=same).logits(stored, runtime)

        pairs = [(timed(together), timed(one_by_one) * len(grid) / len(cuts)) for _ in range(turns)]
        ratios = [a / b for a, b in pairs]
        print(
            f"{name:11} {len(grid)} windows: {median(a for a, _ in pairs):6.1f} s in one pass, "
            f"{median(b for _, b in pairs):6.1f} s one by one; ratio {median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def memory(folder: Path, runtime: Runtime, *, minutes: int) -> None:
    """Memory of the process while it goes through a film of small frames."""
    film = write_film(folder / "hour.mp4", minutes * 60 * FPS, size=(48, 64))
    streams = {
        key: make_stream(
            key, model="shufflenet_v2_x0_5", input_size=32, short_side=48, protocol="segments:3"
        )
        for key in ("spatial", "motion")
    }
    windows = WindowPass(film, streams, Span(WINDOW), Span(STRIDE), runtime)
    began, next_mark, marks = time.perf_counter(), 0.0, []
    for _, window, _ in windows:
        minute = window.end / FPS / 60
        if minute >= next_mark:
            marks.append((minute, resident() / MEGABYTE))
            next_mark += minutes / 6
    marks.append((minutes, resident() / MEGABYTE))
    print(f"{minutes} minutes of film in {time.perf_counter() - began:.0f} s; frames held at most: "
          f"{windows.most_held}")  # fmt: skip
    print("minute: MB  " + ", ".join(f"{minute:.0f}: {size:.0f}" for minute, size in marks))


def resident() -> int:
    """Bytes of memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")


def moving_frames(count: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A texture that moves, uint8 (H, W, 3)."""
    height, width = size
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(
        rng.integers(0, 256, (2 * height, 2 * width, 3), np.uint8), (9, 9), 3
    )
    for number in range(count):
        top = int((height - 1) * (0.5 + 0.5 * np.sin(number / 37)))
        left = int((width - 1) * (0.5 + 0.5 * np.cos(number / 53)))
        yield np.ascontiguousarray(texture[top : top + height, left : left + width])


def write_film(path: Path, count: int, *, size: tuple[int, int]) -> Path:
    return write_cut(path, moving_frames(count, size))


def write_cut(path: Path, frames: Iterator[np.ndarray] | list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def timed(function: object) -> float:
    began = time.perf_counter()
    function()  # type: ignore[operator]
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
