"""A small data set with real videos, made once a session."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from twostream.cli import cli
from twostream.data import toy
from twostream_base.files import write_text

from ..faults.forks import Forks

ROOT = Path(__file__).parents[2]
CLASSES = ("BlueVertical", "RedHorizontal")
GROUPS = {"train": range(3, 9), "test": range(1, 3)}


@dataclass(frozen=True)
class MiniProject:
    """A folder with 16 videos of two classes, their lists, and a store of frames and flow."""

    root: Path

    @property
    def arguments(self) -> list[str]:
        return [
            "--dataset", "ucf101",
            "--annotations", str(self.root / "annotations"),
            "--store", str(self.root / "store"),
        ]  # fmt: skip


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> MiniProject:
    """Read-only: tests that change something copy it."""
    project = MiniProject(tmp_path_factory.mktemp("mini"))
    lists = {"train": "", "test": ""}
    for label, name in enumerate(CLASSES):
        for subset, groups in GROUPS.items():
            for group in groups:
                video = f"{name}/v_{name}_g{group:02d}_c01.avi"
                clip = toy.make_clip(name, rng=np.random.default_rng((label, group)))
                toy.write_video(project.root / "videos" / video, clip)
                lists[subset] += f"{video} {label + 1}\n"
    annotations = project.root / "annotations"
    write_text(
        annotations / "classInd.txt", "".join(f"{i} {n}\n" for i, n in enumerate(CLASSES, 1))
    )
    for subset, text in lists.items():
        for split in (1, 2, 3):
            write_text(annotations / f"{subset}list{split:02d}.txt", text)
    arguments = ["--videos", str(project.root / "videos"), "--store", str(project.root / "store")]
    done = CliRunner().invoke(cli, ["extract-flow", *arguments])
    assert done.exit_code == 0, done.output
    return project


@pytest.fixture
def twostream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, exit_code: int = 0, catch: bool = True) -> Result:
        texts = [os.fspath(argument) for argument in arguments]
        result = CliRunner().invoke(cli, texts, catch_exceptions=catch)
        assert result.exit_code == exit_code, result.output
        return result

    return run


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A network of few layers, as if it were built in."""
    from torch import nn

    from twostream.models import MODELS
    from twostream.models.segment_network import SegmentNetwork
    from twostream.transforms.presets import Modality

    def build(*, modality: Modality, num_classes: int, weights: object) -> SegmentNetwork:
        layers = [
            nn.Conv2d(modality.channels * modality.snippet_length, 4, 3, stride=4),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ]
        return SegmentNetwork(nn.Sequential(*layers), nn.Linear(8, num_classes), modality)

    monkeypatch.setitem(MODELS, "tiny", build)
    return "tiny"


# Of each process of torchrun: hand on to a fork, which need not import anything, and share its end.
AS_FORK = """
import signal, sys
from pathlib import Path
from tests.faults.forks import Forks

fork = Forks("twostream").start(sys.argv[2:], cwd=Path.cwd(), program=Path(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda number, _: fork.send_signal(number))
code = fork.wait()
for stream, text in zip((sys.stdout, sys.stderr), fork.communicate()):
    print(text, end="", file=stream, flush=True)
sys.exit(abs(code))
"""


@pytest.fixture
def torchrun(forks: Forks, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a Python text as two processes under torchrun, one computing thread each."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        script, as_fork = tmp_path / "under_torchrun.py", tmp_path / "as_fork.py"
        script.write_text(code)
        as_fork.write_text(AS_FORK)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return subprocess.run(
            [*launcher, "--nproc-per-node", "2", str(as_fork), str(script), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )

    return run


@pytest.fixture(scope="session")
def forks() -> Forks:
    """A process that has imported all of twostream, to fork others from."""
    return Forks("twostream")


@pytest.fixture
def two_processes(forks: Forks, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `torchrun`, without its process and without its imports: much faster."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "one_of_two.py"
        script.write_text(code)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        both = [
            forks.start(
                arguments,
                cwd=tmp_path,
                program=script,
                environment={**address, "WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank},
            )
            for rank in "01"
        ]
        while None in (codes := [process.poll() for process in both]):
            if any(codes):  # what torchrun does to the others when a process has failed
                for process in both:
                    if process.poll() is None:
                        os.kill(process.pid, signal.SIGTERM)
                break
            time.sleep(0.02)
        printed = [process.communicate() for process in both]
        output, errors = ("".join(texts) for texts in zip(*printed, strict=True))
        return subprocess.CompletedProcess(arguments, int(any(codes)), output, errors)

    return run
