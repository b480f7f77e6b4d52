"""From videos of your own to the report, in some five minutes on two CPU cores.

    python examples/own_videos.py            # in a new folder, own-videos/
    python examples/own_videos.py --quick    # half a minute, to see that all works

The videos are made here: a red ball or a blue box that bounces or slides in a dim room. Replace
the folder `videos` with yours, one folder per class, and the rest stays as it is.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

import fusion
import twostream

SHAPES = {"Ball": (255, 140, 90), "Box": (90, 160, 255)}  # and their colours, RGB
MOTIONS = ("Bounces", "Slides")
SIDE, FRAMES = 96, 24


def command(*words: str) -> None:
    """Print a command line, and run it."""
    print(f"\n$ twostream {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "twostream", *words], check=True)


def draw_clip(shape: str, motion: str, room: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Frames uint8 (24, 96, 96, 3), RGB: the shape moves up and down, or from side to side."""
    pattern = cv2.resize(rng.uniform(0.3, 1, (7, 7)), (28, 28))
    skin = pattern[..., None] * SHAPES[shape]
    mask = np.zeros((28, 28), np.uint8)
    if shape == "Ball":
        cv2.circle(mask, (14, 14), 13, 1, cv2.FILLED)
    else:
        mask[2:26, 2:26] = 1
    phase, speed, place = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.4), rng.integers(10, 58)
    frames = []
    for time in range(FRAMES):
        along = int(34 + 30 * np.sin(phase + speed * time))
        y, x = (along, place) if motion == "Bounces" else (place, along)
        frame = room.copy()
        frame[y : y + 28, x : x + 28][mask > 0] = skin[mask > 0]
        frames.append(frame.astype(np.uint8))
    return np.stack(frames)


def write_videos(folder: Path, *, scenes: int) -> None:
    """`BallBounces/BallBounces_scene03_take1.avi` and so on; each scene has two takes."""
    rng = np.random.default_rng(0)
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    for shape, motion, scene in itertools.product(SHAPES, MOTIONS, range(scenes)):
        name = f"{shape}{motion}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        room = cv2.resize(rng.uniform(20, 90, (9, 9)), (SIDE, SIDE))[..., None] * np.ones(3)
        for take in (1, 2):
            path = folder / name / f"{name}_scene{scene:02d}_take{take}.avi"
            writer = cv2.VideoWriter(str(path), codec, 25, (SIDE, SIDE))
            for frame in draw_clip(shape, motion, room, rng=rng):
                writer.write(np.ascontiguousarray(frame[..., ::-1]))
            writer.release()


def main() -> None:
    """Make the videos, run the commands, then use the results from Python."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("own-videos"), help="a new folder")
    parser.add_argument("--quick", action="store_true", help="few videos, tiny networks")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    os.chdir(options.folder)

    write_videos(Path("videos"), scenes=4 if options.quick else 20)

    # Takes of one scene look alike. The pattern keeps them on one side of every split.
    command(
        "init", "--dataset", "folder", "--videos", "videos", "--group-pattern", "_(scene[0-9]+)_"
    )
    command("extract-flow")

    # The videos are small and from no camera, so networks begin at random. For real videos leave
    # these options out: the defaults are ImageNet weights and 224 pixels.
    small = ["--weights", "none", "--batch-size", "16", "--lr", "0.003", "--select-by", "loss"]
    small += ["--protocol", "segments3"]
    if options.quick:
        small += ["--model", "shufflenet_v2_x0_5", "--input-size", "32", "--epochs", "1"]
    else:
        small += ["--input-size", "96", "--epochs", "10"]
    command("train", "--stream", "spatial", *small)
    command("train", "--stream", "motion", *small)

    command("fuse")
    command("report", "--title", "Balls and boxes")

    # The same results from Python.
    runs = {path.name.partition("-")[0]: path for path in Path("runs/folder-split1").iterdir()}
    fused = fusion.fuse({name: run / "scores" / "test.safetensors" for name, run in runs.items()})
    top1 = fusion.evaluate(fused.scores, fused.labels, fused.groups)["top1"]
    print(f"\nfused: {top1['correct']} of {top1['of']}, {top1['percent']:.1f} %")

    network = twostream.load(runs["motion"], protocol="segments3")
    clip = f"videos/{fused.table.names[0]}.avi"
    name, probability = next(iter(network.predict(clip).items()))
    print(f"{clip}: the motion network says {name}, with {probability:.0%}")
    print(f"\nOpen {Path('report.html').absolute()} in a browser.")


if __name__ == "__main__":
    main()
