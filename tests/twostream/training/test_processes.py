"""`torchrun -m twostream train`: two processes at one run, killed and undisturbed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fusion.tables.score_file import read_scores

from ..conftest import MiniProject
from .test_trainer import EVERYTHING, NETWORK, QUICK, Run, folder_of, log_of, weights_and_scores

TwoProcesses = Callable[..., subprocess.CompletedProcess[str]]

# Writes down which videos a process learns from; rank 1 kills itself at a step, if it is told so.
COMMAND_LINE = """
import os
from twostream.cli import main
from twostream.compute.device import MicroBatches
from twostream.data.dataset import TrainingSamples
from twostream.training import learner

rank, steps = os.environ["RANK"], []
sample, step, mix = TrainingSamples.write, MicroBatches.attempts, learner.mix_batch

def noted_sample(self, index, out, **options):
    with open(f"seen-by-{rank}", "a") as seen:
        seen.write(self.videos[index].record.name + "\\n")
    return sample(self, index, out, **options)

def deadly_step(self, *arguments, **options):
    steps.append(arguments)
    if rank == "1" and os.environ.get("KILL_AT") == str(len(steps)):
        os.kill(os.getpid(), 9)
    return step(self, *arguments, **options)

def noted_mix(clips, targets, **options):
    with open(f"mixed-by-{rank}", "a") as mixed:
        mixed.write(f"{len(clips)}\\n")
    return mix(clips, targets, **options)

TrainingSamples.write, MicroBatches.attempts = noted_sample, deadly_step
learner.mix_batch = noted_mix
main()
"""

SHORT_OF_MEMORY = """
import os
import torch
from twostream.cli import main
from twostream.training import learner, loop

rank, gradient = os.environ["RANK"], loop.accumulate_gradient

def narrow(network, clips, target, parts=1, **options):
    with open(f"tried-by-{rank}", "a") as tried:
        tried.write(f"{parts}\\n")
    if rank == "1" and len(clips) > parts:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return gradient(network, clips, target, parts, **options)

loop.accumulate_gradient = learner.accumulate_gradient = narrow
main()
"""


def test_two_processes_at_one_run(
    torchrun: TwoProcesses,
    two_processes: TwoProcesses,
    mini: MiniProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two epochs of two batches of four videos; rank 1 is killed in the second epoch.

    By torchrun itself once, which ends the other process when one has died.
    """
    (tmp_path / "network_of_trainer_tests.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    options = [*QUICK, *EVERYTHING, "--batch-size", "4", "--stream", "spatial", "--threads", "1"]
    command = ["train", *mini.arguments, *options, "--save-every", "0", "--runs"]

    done = two_processes(COMMAND_LINE, *command, "undisturbed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("==> Epoch:[1/2][training stage]") == 1
    assert "on cpu in fp32, by 2 processes" in done.stdout
    run = folder_of("undisturbed", "spatial")
    held_out = read_scores(run / "scores" / "val.safetensors").names
    seen = [Counter(Path(f"seen-by-{rank}").read_text().splitlines()) for rank in (0, 1)]
    assert len(held_out) + len(seen[0] + seen[1]) == 12
    assert set((seen[0] + seen[1]).values()) == {2}
    mixed = [Path(f"mixed-by-{rank}").read_text().split() for rank in (0, 1)]
    assert mixed == [["2"] * 4] * 2, "every share is mixed"
    assert not set(held_out) & set(seen[0] + seen[1])
    assert [(row["subset"], int(row["videos"])) for row in log_of(run)] == [
        ("train", 12 - len(held_out)), ("val", len(held_out)),
    ] * 2  # fmt: skip

    monkeypatch.setenv("KILL_AT", "4")
    killed = torchrun(COMMAND_LINE, *command, "killed")
    assert killed.returncode == 1
    assert "commands/train.py" not in killed.stderr, "a traceback of ours"
    monkeypatch.delenv("KILL_AT")
    again = two_processes(COMMAND_LINE, *command, "killed")
    assert again.stdout.count("==> resumed after 1 of 2 epochs") == 1, again.stderr
    assert weights_and_scores(folder_of("killed", "spatial")) == weights_and_scores(run)
    assert log_of(folder_of("killed", "spatial")) == log_of(run)


def test_memory_that_is_short_in_one_of_the_processes(
    two_processes: TwoProcesses, twostream: Run, mini: MiniProject, tmp_path: Path
) -> None:
    """Rank 1 has room for one video at once: its shares of two go in two parts; nobody waits."""
    (tmp_path / "network_of_trainer_tests.py").write_text(NETWORK)
    options = [*QUICK, "--model", "network_of_trainer_tests:plain", "--stream", "motion"]
    command = ["train", *mini.arguments, *options, "--batch-size", "4", "--threads", "1", "--runs"]
    twostream(*command, "one")
    done = two_processes(SHORT_OF_MEMORY, *command, "two", "--accumulate", "auto")
    assert done.returncode == 0, done.stderr
    tried = [Path(f"tried-by-{rank}").read_text().split() for rank in (0, 1)]
    # DistributedDataParallel is set up with two passes of one video; two steps are rehearsed.
    assert tried == [["1"] * 2 + ["1"] * 6, ["1"] * 2 + ["1", "2", "2", "2", "2", "2", "2"]]
    one, two = (
        load_file(
            Path(runs, "ucf101-split1/motion-network_of_trainer_tests.plain/last")
            / "weights.safetensors"
        )
        for runs in ("one", "two")
    )
    torch.testing.assert_close(two, one, rtol=0, atol=1e-5)
