"""The whole job by one command, and the commands that it consists of."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow_extract.extraction.executor import available_cores
from twostream.cli import cli
from twostream.commands import run
from twostream.training import plan

from ..conftest import MiniProject

TwoStream = Callable[..., Result]
QUICK = ["--", "--weights", "none", "--input-size", "32", "--batch-size", "8", "--epochs", "1",
         "--protocol", "segments3", "--val-fraction", "0.3", "--device", "cpu"]  # fmt: skip


@pytest.fixture
def videos(mini: MiniProject, tmp_path: Path) -> Path:
    shutil.copytree(mini.root / "videos", tmp_path / "clips")
    return tmp_path / "clips"


@pytest.fixture
def no_time_for_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training takes here is measured in one of the tests; in the others it is no matter."""
    monkeypatch.setattr(plan, "estimate_training", lambda *_, **__: {"seconds": 1.0})


def test_every_command_of_the_plan(videos: Path, twostream: TwoStream) -> None:
    """Whole; of two splits and two seeds."""
    result = twostream("run", "clips", "--splits", "1,3", "--seeds", "0,7", "--short-side", "48",
                       "--dry-run", "--json", *QUICK)  # fmt: skip
    plan = json.loads(result.stdout)
    train = shlex.join(QUICK[1:])
    assert plan["commands"] == [
        "twostream init --dataset folder --videos clips --group-pattern '_(g[0-9]+)_c[0-9]+$'",
        "twostream extract-flow --method dis --short-side 48",
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
        "twostream table --splits 1,3 --strategy mean --out table.md",
        "twostream report --splits 1,3",
    ]
    assert (plan["videos"], plan["classes"], plan["times"]) == (16, 2, 4)
    trainings = plan["trainings"]
    assert [(t["stream"], t["times"]) for t in trainings] == [("spatial", 4), ("motion", 4)]
    assert plan["extraction"]["videos"] == 16
    hours = plan["extraction"]["hours"] + 4 * sum(t["hours"] for t in trainings)
    assert plan["hours"] == pytest.approx(hours)
    assert not Path("twostream.toml").exists()  # a plan writes nothing


@pytest.mark.usefixtures("no_time_for_estimates")
@pytest.mark.parametrize(("strategy", "besides"), [("max", ""), ("topk", " --strategy topk")])
def test_the_strategy_reaches_table_and_report(
    videos: Path, twostream: TwoStream, strategy: str, besides: str
) -> None:
    """The report has the usual strategies anyway."""
    result = twostream("run", "clips", "--strategy", strategy, "--dry-run", "--json", *QUICK)
    assert json.loads(result.stdout)["commands"][-2:] == [
        f"twostream table --splits 1 --strategy {strategy} --out table.md",
        f"twostream report --split 1{besides}",
    ]


@pytest.mark.usefixtures("no_time_for_estimates")
def test_from_a_folder_to_the_report_and_again(
    videos: Path, twostream: TwoStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run in this process; the second time each finds its work done."""
    words_run = []

    def run_here(folder: Path, *words: str, accepts: Sequence[int]) -> None:
        words_run.append(words[0])
        done = CliRunner().invoke(cli, words)
        assert done.exit_code in accepts, done.output

    monkeypatch.setattr(run.console, "run_command", run_here)
    command = ["run", "clips", "--model", "shufflenet_v2_x0_5", *QUICK]
    twostream(*command)
    first = ["init", "extract-flow", "train", "train", "fuse", "table", "report"]
    assert words_run == first
    assert r"shufflenet\_v2\_x0\_5" in Path("table.md").read_text()
    assert "</html>" in Path("report.html").read_text()
    weights = sorted(Path("runs").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    again = twostream(*command)
    assert words_run == first + first[1:]
    trainings = [f"train {stream} shufflenet_v2_x0_5" for stream in ("spatial", "motion")]
    for part in ("extract-flow by dis", *trainings):
        assert f"{part}: done\n" in again.stdout
    assert [path.stat().st_mtime_ns for path in weights] == before


@pytest.mark.usefixtures("no_time_for_estimates")
def test_groups_of_a_file_beside_the_videos(videos: Path, twostream: TwoStream) -> None:
    for path in sorted(videos.rglob("*.avi")):
        path.rename(path.with_name(path.name.replace("_c", "-")))
    names = sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*.avi"))
    rows = [f"{name},{number // 2}" for number, name in enumerate(names)]
    (videos / "list.csv").write_text("\n".join(["video,person", *rows]))
    plan = json.loads(twostream("run", "clips", "--dry-run", "--json", *QUICK).stdout)
    init = "twostream init --dataset folder --videos clips"
    assert plan["commands"][0] == f"{init} --group-file clips/list.csv --group-column person"
    command = ["run", "clips", "--group-pattern", "(.*)", "--dry-run", "--json", *QUICK]
    plan = json.loads(twostream(*command).stdout)
    assert plan["commands"][0] == f"{init} --group-pattern '(.*)'"
    command.remove("--json")
    first = twostream(*command).stdout.splitlines()[0]
    assert "(one folder a class, groups by --group-pattern (.*))" in first
    first = twostream("run", "clips", "--dry-run", *QUICK).stdout.splitlines()[0]
    assert "(one folder a class, groups by person of clips/list.csv)" in first


@pytest.mark.usefixtures("no_time_for_estimates")
def test_a_busy_machine_is_told(
    videos: Path, twostream: TwoStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.os, "getloadavg", lambda: (0.5, 9.0, 9.0), raising=False)
    assert "load" not in twostream("run", "clips", "--dry-run", *QUICK).stdout
    monkeypatch.setattr(run.os, "getloadavg", lambda: (2000.0, 0.0, 0.0))
    assert "load 2000 on" in twostream("run", "clips", "--dry-run", *QUICK).stdout
    plan = json.loads(twostream("run", "clips", "--dry-run", "--json", *QUICK).stdout)
    assert (plan["load"], plan["cores"]) == (2000.0, available_cores())

    def fails() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(run.os, "getloadavg", fails)
    assert "load" not in twostream("run", "clips", "--dry-run", *QUICK).stdout


def test_a_project_of_other_videos_is_left_alone(videos: Path, twostream: TwoStream) -> None:
    Path("twostream.toml").write_text('dataset = "folder"\nvideos = "others"\n')
    result = twostream("run", "clips", "--dry-run", exit_code=2)
    assert "others, not clips; work in another folder" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "weighted"], "give them to `fuse` afterwards"),
        (["--splits", "1,4"], "there is no split 4, only 1, 2, 3"),
    ],
)
def test_what_could_only_fail_at_the_end(
    videos: Path, twostream: TwoStream, words: list[str], message: str
) -> None:
    assert message in twostream("run", "clips", "--dry-run", *words, exit_code=2).stderr


def test_an_option_that_the_project_has_otherwise(videos: Path, twostream: TwoStream) -> None:
    Path("twostream.toml").write_text(
        'dataset = "folder"\nvideos = "clips"\n[init]\ngroup-pattern = "(x)"\n'
    )
    result = twostream("run", "clips", "--dry-run", "--group-pattern", "(y)", exit_code=2)
    assert "--group-pattern (y): the project in this folder began with (x)" in result.stderr


@pytest.mark.usefixtures("no_time_for_estimates")
def test_a_broken_video_is_no_end(
    videos: Path, twostream: TwoStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`extract-flow` ends with 1; the rest says itself what is missing."""
    codes = []
    monkeypatch.setattr(
        run.console,
        "run_command",
        lambda folder, *words, accepts: codes.append((words[0], accepts)),
    )
    twostream("run", "clips", "--allow-missing", *QUICK)
    assert ("extract-flow", (0, 1)) in codes
    assert all(accepts == (0,) for name, accepts in codes if name != "extract-flow")
