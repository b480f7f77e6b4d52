"""A flow method and a fusion strategy of your own, measured and used, in a minute.

    python examples/own_methods.py           # in a new folder, own-methods/

Both are functions in `my_methods.py`. Python takes the functions themselves; the command line
takes `my_methods:block_matching`, from the folder that you are in.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from my_methods import block_matching, trimmed

import flow_extract
import fusion

STEPS = {"whole pixels": (2.0, -1.0), "parts of pixels": (1.4, 0.7)}


def command(*words: str) -> None:
    """Print a command line, and run it."""
    print(f"\n$ twostream {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "twostream", *words], check=True)


def moving_texture(u: float, v: float, *, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a texture that moves by (u, v) pixels per frame, and their true flow."""
    noise = np.random.default_rng(0).uniform(size=(96, 128)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 1, cv2.NORM_MINMAX)
    return flow_extract.moving_clip(texture, [np.array([[1, 0, u], [0, 1, v]])] * (frames - 1))


def measure_flow() -> None:
    """The endpoint error of block matching beside that of DIS, where the true flow is known."""
    methods = {"block_matching": block_matching(), "dis": flow_extract.FLOW_METHODS["dis"]()}
    print("mean endpoint error, pixels")
    for title, step in STEPS.items():
        frames, truth = moving_texture(*step, frames=4)
        errors = {
            name: flow_extract.endpoint_error(method(frames), truth)
            for name, method in methods.items()
        }
        print(
            f"  {title:<16}", *(f"{name} {error:.3f}" for name, error in errors.items()), sep="  "
        )


def use_flow() -> None:
    """Extract a store with it. Every store file says which method and options made it."""
    Path("videos").mkdir()
    for name, step in (("right", (2, 0)), ("down", (0, 2))):
        folder = Path("videos") / name  # a folder of numbered pictures is a video
        folder.mkdir()
        for number, frame in enumerate(moving_texture(*step, frames=12)[0]):
            cv2.imwrite(str(folder / f"{number:04d}.png"), frame[..., ::-1])
    command(
        "extract-flow", "--videos", "videos", "--store", "store",
        "--method", "my_methods:block_matching", "--method-option", "reach=3",
    )  # fmt: skip
    command("show-flow", "right", "--store", "store", "--out", "right.png")
    pair = flow_extract.open_entry("store", "right").read_flow(0, 1)
    u, v = flow_extract.dequantize(pair, bound=20).mean(axis=(0, 1, 2))
    print(f"right: mean flow in the store ({u:.2f}, {v:.2f}), true (2, 0)")


def use_strategy() -> None:
    """Fuse segments, some of which show something else, by the mean and by the trimmed mean."""
    rng = np.random.default_rng(0)
    videos, segments, classes = 300, 10, 6
    labels = rng.integers(classes, size=videos)
    streams = {}
    for stream in ("spatial", "motion"):
        scores = rng.normal(size=(videos, segments, classes))
        scores[np.arange(videos), :, labels] += 0.5
        broken = rng.uniform(size=(videos, segments)) < 0.1  # a cut, a title, a black frame
        scores[broken] = rng.normal(scale=12, size=(broken.sum(), classes))
        streams[stream] = scores.astype(np.float32)[:, :, None]  # one crop
        table = fusion.ScoreTable(
            names=tuple(f"video{row:03d}" for row in range(videos)),
            labels=labels,
            scores=streams[stream],
            class_names=tuple(f"class{label}" for label in range(classes)),
            score_type="logits",
            metadata={"stream": stream},
        )
        fusion.write_scores(f"{stream}.safetensors", table)

    results = {
        title: fusion.fuse(streams, segments=segments, labels=labels).scores
        for title, segments in (("mean", "mean"), ("trimmed", trimmed))
    }
    pair = fusion.compare(results, labels)["pairs"][0]
    print(f"\ntrimmed against mean, as a fusion of segments: p = {pair['p']:.2g}")
    command("fuse", "spatial.safetensors", "motion.safetensors", "--segments", "my_methods:trimmed")


def main() -> None:
    """Measure both in Python, then use both at the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("own-methods"), help="a new folder")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("my_methods.py"), options.folder)
    os.chdir(options.folder)
    measure_flow()
    use_flow()
    use_strategy()


if __name__ == "__main__":
    main()
