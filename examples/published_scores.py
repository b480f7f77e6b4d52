"""From score files that others published to the table of a paper, in a minute.

    python examples/published_scores.py      # in a new folder, published-scores/

No published scores are in this repository, so files like them are made here: of two streams, as
two tools write them, for the three splits of a small data set with UCF101's lists.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

import fusion

CLASSES = ("Archery", "Bowling", "Diving", "Fencing", "Rowing", "Surfing", "TaiChi", "YoYo")
SCENES, TAKES, SUMMED = 24, 4, 19


def command(*words: str) -> None:
    """Print a command line, and run it."""
    print(f"\n$ twostream {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "twostream", *words], check=True)


def write_lists(folder: Path) -> dict[int, list[tuple[str, int]]]:
    """UCF101's files; returns split -> its test videos, as (name, label). Scenes stay together."""
    folder.mkdir()
    numbered = "".join(f"{label + 1} {name}\n" for label, name in enumerate(CLASSES))
    (folder / "classInd.txt").write_text(numbered)
    tests = {}
    for split in (1, 2, 3):
        parts: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
        for label, name in enumerate(CLASSES):
            for scene in range(SCENES):
                part = "test" if scene % 3 == split - 1 else "train"
                for take in range(1, TAKES + 1):
                    video = f"{name}/v_{name}_g{scene + 1:02d}_c{take:02d}"
                    parts[part].append((video, label))
        for part, videos in parts.items():
            rows = (f"{video}.avi {label + 1}\n" for video, label in videos)
            (folder / f"{part}list{split:02d}.txt").write_text("".join(rows))
        tests[split] = parts["test"]
    return tests


def draw_logits(
    videos: list[tuple[str, int]], *, skill: float, rng: np.random.Generator
) -> np.ndarray:
    """Logits float32 (videos, classes). Takes of one scene share most of what misleads them."""
    scenes = len(videos) // TAKES
    noise = np.repeat(rng.normal(size=(scenes, len(CLASSES))), TAKES, axis=0)
    logits = noise + 0.7 * rng.normal(size=noise.shape)
    logits[np.arange(len(videos)), [label for _, label in videos]] += skill
    return logits.astype(np.float32)


def main() -> None:
    """Make the files, import and fuse them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("published-scores"), help="a new one")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    os.chdir(options.folder)

    rng = np.random.default_rng(0)
    lists = ["--dataset", "ucf101", "--annotations", "lists"]
    for split, videos in write_lists(Path("lists")).items():
        # A two-stream repository pickles a dictionary: name -> the sum of the logits of 19 clips.
        rgb = SUMMED * draw_logits(videos, skill=2.5, rng=rng)
        names = [video.rpartition("/")[2].removeprefix("v_") for video, _ in videos]
        with Path(f"rgb-{split}.pickle").open("wb") as file:
            pickle.dump(dict(zip(names, rgb, strict=True)), file)
        command(
            "scores", "import", f"rgb-{split}.pickle", "--format", "two-stream-pickle",
            "--stream", "rgb", "--summed-over", str(SUMMED), *lists, "--split", str(split),
            "--out", f"rgb-{split}.safetensors",
        )  # fmt: skip

        # TSN saves arrays without names, in the order of its test list.
        flow = 3 * draw_logits(videos, skill=2.8, rng=rng)
        labels = np.array([label for _, label in videos])
        np.savez(f"flow-{split}.npz", scores=flow, labels=labels)
        command(
            "scores", "import", f"flow-{split}.npz", "--format", "tsn-npz", "--stream", "flow",
            *lists, "--split", str(split), "--order", f"lists/testlist{split:02d}.txt",
            "--out", f"flow-{split}.safetensors",
        )  # fmt: skip

    # `{split}` stands for the number in the names of the files.
    streams = ["rgb=rgb-{split}.safetensors", "flow=flow-{split}.safetensors"]
    command("fuse", *streams, "--strategy", "weighted", "--weights", "rgb=1,flow=1.5")
    command(
        "table", *streams, "--strategy", "mean", "--weights", "rgb=1,flow=1.5",
        "--calibrate", "crossfit", "--out", "table.md", "--out", "table.tex",
    )  # fmt: skip

    # From Python: is the difference between fusion and the better stream real, on split 1?
    fused = fusion.fuse({name: f"{name}-1.safetensors" for name in ("rgb", "flow")})
    flow_alone = fusion.read_scores("flow-1.safetensors").scores.mean(axis=(1, 2))
    results = {"fused": fused.scores, "flow": flow_alone}
    pair = fusion.compare(results, fused.labels, groups=fused.groups)["pairs"][0]
    print(f"\nfused against flow, by whole scenes: p = {pair['p']:.2g}")
    print(f"\n{Path('table.md').read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()
