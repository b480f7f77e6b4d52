"""kill -9 of a scoring at a random video; the same command again ends with the same bytes.

python tests/faults/kill_scoring.py --rounds 50
"""

from __future__ import annotations

import argparse
import random
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from forks import Fork
from kill_training import make_project, train
from scene import expect, forks

from twostream_base.files import sha256_file

# Each video is a part of its own, and takes its time: a kill finds some done and some not.
PROGRAM = """
import time
from twostream.scoring import logits, score_file
load = logits.load_batches
def load_slowly(write, *arguments, **options):
    def write_slowly(item, out):
        time.sleep(0.003)
        write(item, out)
    return load(write_slowly, *arguments, **options)
logits.load_batches, score_file.VIEWS_PER_PART = load_slowly, 1
from twostream.cli import main
main()
"""
VIDEOS = 24
RUN = "trained/ucf101-split1/motion-deadly.tiny"
OPTIONS = ["--dataset", "ucf101", "--annotations", "lists", "--store", "store", "--subset",
           "train", "--on-training-videos", "--threads", "1", "--device", "cpu", "--batch-size",
           "19", "--trust-plugins"]  # fmt: skip


def main(folder: Path, rounds: int) -> None:
    """Kill `rounds` scorings; whenever one comes to its end, compare, and begin a new file."""
    make_project(folder)
    (folder / "slow_score.py").write_text(PROGRAM)
    train(folder, "trained", processes=1)
    expect(start(folder, "undisturbed").wait() == 0, "the undisturbed scoring failed")
    good = sha256_file(folder / "undisturbed")

    rng = random.Random(rounds)
    killed = files = 0
    while killed < rounds:
        process = start(folder, f"scores{files}")
        # By what it has done: so it does not matter how fast this machine is.
        parts = folder / f"scores{files}.parts"
        last = rng.randrange(len(list(parts.glob("*"))), VIDEOS + 2)
        while len(list(parts.glob("*"))) < last and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        if process.wait() == -signal.SIGKILL:
            killed += 1
            continue
        check(folder, files, good)
        files += 1
    expect(start(folder, f"scores{files}").wait() == 0, "the last scoring failed")
    check(folder, files, good)
    print(f"{killed} kills, {files + 1} score files: all identical, nothing left behind")


def start(folder: Path, out: str) -> Fork:
    """Start `twostream score` in `folder`."""
    command = ["score", RUN, *OPTIONS, "--out", out]
    return forks("twostream").start(command, cwd=folder, program=folder / "slow_score.py")


def check(folder: Path, number: int, good: str) -> None:
    """The score file is that of the undisturbed scoring, and its parts are gone."""
    path = folder / f"scores{number}"
    expect(sha256_file(path) == good, f"{path}: not the undisturbed file")
    expect(not (folder / f"{path.name}.parts").exists(), f"{path}: parts are left")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
