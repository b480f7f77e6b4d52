"""kill -9 of a training at random steps; the same command again ends as if nothing had been.

python tests/faults/kill_training.py --runs 20 --kills 5
python tests/faults/kill_training.py --runs 5 --kills 2 --processes 2
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import ROOT, digests, expect, forks, write_video
from scene import run as extract

EPOCHS, STEPS = 3, 4
GROUPS = {"train": range(3, 9), "test": range(1, 3)}

# Convolutions, batch statistics and dropout in the network: all that a run has to take up again.
# It kills its own process at a training step; so it does not matter how fast this machine is.
NETWORK = """
import os
from torch import nn
from twostream.models.segment_network import SegmentNetwork
STEP, RANK = os.environ.get("KILL_AT_STEP"), os.environ.get("KILL_RANK")


class Deadly(nn.Identity):
    steps = 0

    def forward(self, features):
        Deadly.steps += self.training
        if self.training and str(Deadly.steps) == STEP and os.environ.get("RANK", RANK) == RANK:
            os.kill(os.getpid(), 9)
        return features


def tiny(*, modality, num_classes, weights):
    channels = modality.channels * modality.snippet_length
    layers = [
        nn.Conv2d(channels, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), Deadly(),
    ]
    return SegmentNetwork(nn.Sequential(*layers), nn.Linear(8, num_classes), modality)
"""
OPTIONS = [
    "--stream", "motion", "--model", "deadly:tiny", "--weights", "none", "--dataset", "ucf101",
    "--annotations", "lists", "--store", "store", "--input-size", "32", "--batch-size", "4",
    "--epochs", str(EPOCHS), "--val-fraction", "0.3", "--protocol", "segments3", "--device", "cpu",
    "--precision", "fp32", "--lr", "0.01", "--schedule", "cosine", "--warmup", "1", "--dropout",
    "0.5", "--ema", "0.9", "--clip-norm", "1", "--label-smoothing", "0.1", "--nesterov",
    "--dump-scores", "last:2",
]  # fmt: skip


def main(folder: Path, runs: int, kills: int, processes: int) -> None:
    """Kill `runs` runs once, and one more run `kills` times; each must end as the undisturbed."""
    make_project(folder)
    rng = random.Random(runs)
    train(folder, "undisturbed", processes=processes)
    good = outcome(folder, "undisturbed")
    plan = {f"killed-{number}": 1 for number in range(runs)} | {"killed-often": kills}
    for name, count in plan.items():
        steps = [
            disturb(folder, name, rng, processes=processes, left=EPOCHS * STEPS // count)
            for _ in range(count)
        ]
        train(folder, name, "--threads", str(rng.randint(1, 3)), processes=processes)
        expect(outcome(folder, name) == good, f"{name}, killed at {steps}: not the same")
    print(
        f"{runs} runs killed at a random step and one killed {kills} times, {processes} "
        "process(es), 1 to 3 loader threads: weights, scores and log all identical"
    )


def make_project(folder: Path) -> None:
    """Videos of two classes, their store, their lists, and the network."""
    (folder / "deadly.py").write_text(NETWORK)
    (folder / "lists").mkdir()
    (folder / "lists" / "classInd.txt").write_text("1 A\n2 B\n")
    for subset, groups in GROUPS.items():
        rows = [f"{c}/v_{c}_g{g:02d}_c0{n}.avi" for c in "AB" for g in groups for n in (1, 2)]
        for row in rows:
            write_video(folder / "videos" / row, seed=sum(row.encode()))
        numbered = "".join(f"{row} {'AB'.index(row[0]) + 1}\n" for row in rows)
        (folder / "lists" / f"{subset}list01.txt").write_text(numbered)
    extract(folder, "store")


def disturb(
    folder: Path, name: str, rng: random.Random, *, processes: int, left: int
) -> tuple[int, str]:
    """Kill one process of the run within its next `left` steps."""
    step, save_every = rng.randint(1, max(1, left)), rng.choice(["0", "600"])
    kill = {"KILL_AT_STEP": str(step), "KILL_RANK": str(rng.randrange(processes))}
    options = ["--threads", str(rng.randint(1, 3)), "--save-every", save_every]
    train(folder, name, *options, processes=processes, killed=kill)
    return step, save_every


def train(
    folder: Path, name: str, *options: str, processes: int, killed: dict[str, str] | None = None
) -> None:
    """Run `twostream train` to its end, or to the kill."""
    command = ["train", *OPTIONS, "--runs", name, *options]
    if processes == 1:
        process = forks("twostream").start(command, cwd=folder, environment=killed or {})
        output, errors = process.communicate()
    else:
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        torchrun += ["--nproc-per-node", str(processes), "-m", "twostream"]
        process = subprocess.run(
            [sys.executable, *torchrun, *command],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | (killed or {}),
            capture_output=True,
            text=True,
        )
        output, errors = process.stdout, process.stderr
    wanted = 0 if not killed else 1 if processes > 1 else -signal.SIGKILL
    expect(process.returncode == wanted, f"exit {process.returncode}: {output}{errors}")


def outcome(folder: Path, name: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Digests of weights and scores, and the log without times and marks of restarts."""
    run = folder / name / "ucf101-split1" / "motion-deadly.tiny"
    files = {k: v for k, v in digests(run).items() if k.endswith(".safetensors")}
    expect(len(files) == 8, f"{run} holds {', '.join(files)}")
    rows = csv.DictReader((run / "log.csv").read_text().splitlines())
    own = ("run_id", "restarts")
    return files, [
        {k: v for k, v in row.items() if not k.endswith("_time") and k not in own} for row in rows
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
