"""The README's main job and the examples of docs/python.md with an installed package.

`bin/check-wheel` runs it in an empty folder, by the interpreter of an environment that has the
wheel; the folder of the clone is the argument, for its documents.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import flow_extract
import fusion
import twostream
from twostream.data import toy
from twostream.models.published import published

CLASSES = ("BlueVertical", "RedHorizontal")
GROUPS = {"train": range(3, 9), "test": range(1, 3)}
# The main job has no options that make it short.
SHORT = (
    "--epochs 1 --weights none --input-size 32 --batch-size 4 --val-fraction 0.3 "
    "--val-protocol segments:1 --protocol segments:1 --device cpu --threads 2"
)


def write_videos() -> None:
    """Sixteen generated videos in the folders that the README names."""
    lists = Path("ucfTrainTestlist")
    lists.mkdir()
    (lists / "classInd.txt").write_text("".join(f"{i} {n}\n" for i, n in enumerate(CLASSES, 1)))
    for subset, groups in GROUPS.items():
        rows = [
            (f"{name}/v_{name}_g{group:02d}_c01.avi", label, group)
            for label, name in enumerate(CLASSES)
            for group in groups
        ]
        for path, label, group in rows:
            clip = toy.make_clip(CLASSES[label], rng=np.random.default_rng((label, group)))
            toy.write_video(Path("UCF-101") / path, clip)
        text = "".join(f"{path} {label + 1}\n" for path, label, _ in rows)
        for split in (1, 2, 3):
            (lists / f"{subset}list{split:02d}.txt").write_text(text)


def write_random_scores(path: Path, *, seed: int) -> None:
    """Logits of 60 videos, 10 scenes of each of 3 classes, that are right more often than not."""
    rng = np.random.default_rng(seed)
    class_names = ("Archery", "Bowling", "Diving")
    labels = np.repeat(np.arange(3), 20)
    scores = rng.normal(size=(60, 3, 1, 3)).astype(np.float32)
    scores[np.arange(60), ..., labels] += 1
    names = tuple(
        f"{name}/v_{name}_g{scene:02d}_c{clip:02d}"
        for name in class_names
        for scene in range(1, 11)
        for clip in (1, 2)
    )
    about = {"stream": path.stem}
    table = fusion.ScoreTable(
        names=names,
        labels=labels,
        scores=scores,
        class_names=class_names,
        score_type="logits",
        metadata=about,
    )
    fusion.write_scores(path, table)


def write_inputs() -> None:
    """The score files and the truth that docs/python.md reads."""
    for seed, stream in enumerate(("spatial", "motion")):
        write_random_scores(Path(f"{stream}.safetensors"), seed=seed)
    Path("truth.csv").write_text("video,start,end,label,duration\nfilm,2,3,jump,5\n")


def main_job(readme: str) -> list[str]:
    """The commands of the section, as they stand there; trainings are made short."""
    section = readme.partition("## The main job\n")[2]
    block = re.match(r"\n((?:    .+\n)+)", section)
    assert block
    commands = [line.strip() for line in block[1].splitlines()]
    return [f"{line} {SHORT}" if " train " in line else line for line in commands]


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    for package in (twostream, fusion, flow_extract):
        assert package.__file__
        assert not Path(package.__file__).resolve().is_relative_to(root), package.__file__
    assert len(published()) > 30  # a file of data
    write_videos()
    commands = main_job((root / "README.md").read_text())
    assert len(commands) == 6
    for command in commands:
        print(f"$ {command}", flush=True)
        words = shlex.split(command)
        subprocess.run([Path(sys.executable).with_name(words[0]), *words[1:]], check=True)
    assert Path("report.html").stat().st_size > 10_000

    Path("videos").symlink_to("UCF-101")
    Path("annotations").symlink_to("ucfTrainTestlist")
    Path("clip.avi").symlink_to("UCF-101/RedHorizontal/v_RedHorizontal_g01_c01.avi")
    Path("runs/ucf101-split1").symlink_to("ucf101-split2")
    write_inputs()
    examples = re.findall(r"```python\n(.*?)```", (root / "docs/python.md").read_text(), re.S)
    scope: dict[str, Any] = {}
    for example in examples:
        exec(example, scope)
    assert scope["clips"].shape == (4, 3, 10, 2, 64, 64)
    assert abs(sum(scope["network"].predict("clip.avi").values()) - 1) < 1e-5
    print(f"the wheel does {len(commands)} commands and {len(examples)} examples")


if __name__ == "__main__":
    main()
