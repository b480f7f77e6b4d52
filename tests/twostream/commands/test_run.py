"""The whole job by one command, and the commands that it consists of."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twostream.cli import cli
from twostream.commands import run

from ..conftest import MiniProject

TwoStream = Callable[..., Result]
QUICK = ["--", "--weights", "none", "--input-size", "32", "--batch-size", "8", "--epochs", "1",
         "--protocol", "segments3", "--val-fraction", "0.3", "--device", "cpu"]  # fmt: skip


@pytest.fixture
def videos(mini: MiniProject, tmp_path: Path) -> Path:
    shutil.copytree(mini.root / "videos", tmp_path / "clips")
    return tmp_path / "clips"


def test_every_command_of_the_plan(videos: Path, twostream: TwoStream) -> None:
    """Whole; of two splits and two seeds."""
    result = twostream("run", "clips", "--splits", "1,3", "--seeds", "0,7", "--dry-run", "--json",
                       *QUICK)  # fmt: skip
    plan = json.loads(result.stdout)
    train = shlex.join(QUICK[1:])
    assert plan["commands"] == [
        "twostream init --dataset folder --videos clips --group-pattern '_(g[0-9]+)_c[0-9]+$'",
        "twostream extract-flow --method dis",
        *(
            f"twostream train --stream {stream} --split {split} --model resnet18 --seed {seed} "
            f"--name seed{seed} {train}"
            for seed in (0, 7)
            for split in (1, 3)
            for stream in ("spatial", "motion")
        ),
        *(
            f"twostream fuse --splits 1,3 --model resnet18 --name seed{seed} --strategy mean"
            for seed in (0, 7)
        ),
        "twostream table --splits 1,3 --out table.md",
        "twostream report --splits 1,3",
    ]
    assert (plan["videos"], plan["classes"], plan["times"]) == (16, 2, 4)
    trainings = plan["trainings"]
    assert [t["stream"] for t in trainings] == ["spatial", "motion"]
    hours = plan["extraction"]["hours"] + 4 * sum(t["hours"] for t in trainings)
    assert plan["hours"] == pytest.approx(hours)
    assert not Path("twostream.toml").exists()  # a plan writes nothing


def test_from_a_folder_to_the_report_and_again(
    videos: Path, twostream: TwoStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run in this process; the second time each finds its work done."""
    words_run = []

    def run_here(folder: Path, *words: str) -> None:
        words_run.append(words[0])
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output

    monkeypatch.setattr(run, "run_command", run_here)
    twostream("run", "clips", *QUICK)
    first = ["init", "extract-flow", "train", "train", "fuse", "table", "report"]
    assert words_run == first
    assert "resnet18" in Path("table.md").read_text()
    assert "</html>" in Path("report.html").read_text()
    weights = sorted(Path("runs").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    twostream("run", "clips", *QUICK)
    assert words_run == first + first[1:]
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_a_project_of_other_videos_is_left_alone(videos: Path, twostream: TwoStream) -> None:
    Path("twostream.toml").write_text('dataset = "folder"\nvideos = "others"\n')
    result = twostream("run", "clips", "--dry-run", exit_code=2)
    assert "others, not clips; work in another folder" in result.stderr
