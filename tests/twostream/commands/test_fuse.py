from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save

from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from twostream.cli import cli

Make = Callable[..., ScoreTable]
ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "torchvision", "cv2", "scipy.stats", "numba"}
RUN_AND_LIST = """
import sys
from twostream.cli import cli
try:
    cli(sys.argv[1:], prog_name="twostream")
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def twostream(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def runs(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one spatial and one motion run of the toy data set."""
    monkeypatch.chdir(tmp_path)
    for stream, scores in {"spatial": [[3, 0], [0, 1]], "motion": [[0, 1], [2, 0]]}.items():
        about = {"stream": stream, "dataset": "toy", "split": 1, "subset": "test"}
        path = tmp_path / "runs" / "toy-split1" / f"{stream}-resnet18" / "scores"
        write_scores(path / "test.safetensors", make_table(scores, **about))
    return tmp_path / "runs"


def scores_of(runs: Path, stream: str) -> Path:
    return runs / "toy-split1" / f"{stream}-resnet18" / "scores" / "test.safetensors"


def test_what_fuse_shows(runs: Path) -> None:
    result = twostream("fuse")
    assert result.stdout.splitlines() == [
        "2 videos, segments fused by mean; intervals as if the videos were independent (--groups)",
        "",
        "               top-1                           mean class",
        "spatial        1/2  50.00 % [9.45, 90.55]      50.00 %",
        "motion         1/2  50.00 % [9.45, 90.55]      50.00 %",
        "fused (mean)   2/2  100.00 % [34.24, 100.00]   100.00 %",
    ]
    assert result.stderr == "next: twostream compare\n"
    Path("twostream.toml").write_text('dataset = "toy"\nruns = "runs"\n')
    in_project = twostream("fuse", "--model", "resnet18").stderr  # what was typed alone
    assert in_project.splitlines()[-1] == "next: twostream compare --model resnet18"


@pytest.mark.parametrize(
    ("project", "words"),
    [
        ('dataset = "toy"\nsplit = 1\nruns = "runs"\n', ""),
        ('split = 1\n[fuse]\nmodel = "resnet18"\n', " --model resnet18"),
        ('[fuse]\nmodel = "resnet18"\n[compare]\nmodel = "resnet18"\n', ""),
        ("split = 2\n[fuse]\nsplit = 1\n", " --split 1"),
        ('split = 1\n[fuse]\nsplits = "1"\n', " --splits 1"),
    ],
)
def test_what_the_project_tells_fuse_alone_is_a_word_of_the_next_command(
    runs: Path, project: str, words: str
) -> None:
    Path("twostream.toml").write_text(project)
    told = twostream("fuse").stderr.splitlines()
    assert told[-1] == f"next: twostream compare{words}"


def test_fuse_takes_data_set_split_and_runs_from_the_project_file(runs: Path) -> None:
    project = runs.parent / "twostream.toml"
    project.write_text('dataset = "toy"\nsplit = 2\nruns = "runs"\nvideos = "videos"\n')
    missing = twostream("fuse")
    assert missing.exit_code == 2
    assert "toy-split2/spatial-*/scores/test.safetensors is not there" in missing.output
    assert twostream("fuse", "--split", 1).exit_code == 0


def test_fuse_for_programs(runs: Path) -> None:
    files = [scores_of(runs, stream) for stream in ("spatial", "motion")]
    result = json.loads(twostream("fuse", *files, "--strategy", "max", "--json").stdout)
    assert result["videos"] == 2
    assert result["strategy"] == "max"
    assert [row["stream"] for row in result["inputs"]] == ["spatial", "motion"]
    assert [row["file"] for row in result["inputs"]] == [str(file) for file in files]
    assert result["inputs"][0]["top1"]["correct"] == 1
    assert result["fused"]["top1"]["correct"] == 2
    assert result["fused"]["top1"]["of"] == 2
    assert result["warnings"] == []


@pytest.mark.parametrize(
    "options",
    [
        ["--strategy", "mean"],
        ["--strategy", "max", "--segments", "max"],
        ["--strategy", "weighted", "--weights", "spatial=2,motion=1"],
        ["--segments", "weighted", "--segment-weights", "1"],
        ["--strategy", "variance"],
        ["--strategy", "variance", "--variance", "legacy", "--segments", "variance"],
        ["--strategy", "mean", "--combine", "probs"],
        ["--strategy", "topk", "--strategy-option", "k=1", "--crops", "median"],
        ["--strategy", "rank", "--segments", "geometric", "--over-epochs", "max"],
    ],
)
def test_every_strategy_and_what_out_writes(runs: Path, options: list[str]) -> None:
    result = twostream("fuse", *options, "--out", "fused.safetensors", "--json")
    assert result.exit_code == 0, result.output
    table = read_scores(Path("fused.safetensors"))
    assert table.scores.shape == (2, 1, 1, 2)
    assert table.metadata["dataset"] == "toy"
    shown = json.loads(twostream("scores", "show", "fused.safetensors", "--json").stdout)
    assert shown["accuracy"] == json.loads(result.stdout)["fused"]


def test_calibrated_and_learned_from_validation_scores(runs: Path, make_table: Make) -> None:
    for stream, scores in {"spatial": [[3, 0], [1, 2]], "motion": [[2, 1], [0, 4]]}.items():
        about = {"stream": stream, "dataset": "toy", "split": 1, "subset": "val"}
        val = make_table(scores, names=["w0", "w1"], labels=[0, 1], **about)
        write_scores(scores_of(runs, stream).with_name("val.safetensors"), val)
    calibrated = twostream("fuse", "--calibrate", "val")
    assert calibrated.exit_code == 0, calibrated.output
    assert "calibration error" in calibrated.output
    learned = twostream("fuse", "--learn", "stacking", "--learn-on", "val")
    assert "fused (stacking)" in learned.output
    refused = twostream("fuse", "--learn", "stacking", "--strategy", "max")
    assert refused.exit_code == 2


def test_a_strategy_of_ones_own(runs: Path) -> None:
    Path("own_fusion.py").write_text(
        "def first(scores, *, factor):\n    return scores[..., 0, :] * factor\n"
    )
    own = ["--strategy", "own_fusion:first", "--strategy-option", "factor=2"]
    result = twostream("fuse", *own, "--out", "fused.safetensors")
    assert result.exit_code == 0, result.output
    assert read_scores(Path("fused.safetensors")).scores.max() == 6


def test_show(runs: Path) -> None:
    result = twostream("scores", "show", scores_of(runs, "motion"), "--first", 1)
    assert result.exit_code == 0, result.output
    assert "stream: motion" in result.output
    assert "v0 (true: c0): c1 1, c0 0" in result.output
    assert "v1" not in result.output


def test_what_scores_show_shows(runs: Path) -> None:
    result = twostream("scores", "show", scores_of(runs, "spatial"))
    assert result.stdout.splitlines() == [
        "logits, float32; videos 2, segments 1, crops 1, classes 2",
        "groups of videos: not known; intervals as if the videos were independent (--groups)",
        "dataset: toy",
        "split: 1",
        "stream: spatial",
        "subset: test",
        "",
        "top-1 1/2  50.00 % [9.45, 90.55]   mean class 50.00 %",
        "",
        "v0 (true: c0): c0 3, c1 0",
        "v1 (true: c0): c1 1, c0 0",
    ]


def test_every_mistake_is_one_line_and_exit_code_2(
    make_table: Make, runs: Path, tmp_path: Path
) -> None:
    spatial = scores_of(runs, "spatial")
    other = tmp_path / "other.safetensors"
    write_scores(other, make_table([[1, 2]], names=["elsewhere"]))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x80\x04cos\nsystem\n")
    for arguments, message in [
        ([spatial, other], "the videos do not join (spatial 2 videos, other 1 videos)"),
        ([spatial, broken], "broken.safetensors: not a valid score file"),
        ([spatial, spatial], "a file is given twice"),
        (["--strategy", "weighted"], "the strategy `weighted` needs --weights"),
        (["--strategy", "mode"], "'mode' is not one of mean, max, median, topk, weighted"),
        (["--split", "0"], "0 is not in the range"),
        (["--dataset", "hmdb51"], "hmdb51-split*/spatial-*/scores/test.safetensors is not there"),
        (["absent.safetensors"], "'absent.safetensors' does not exist"),
    ]:
        result = twostream("fuse", *arguments)
        assert result.exit_code == 2, arguments
        assert result.stdout == ""
        assert message in result.stderr.splitlines()[-1]


def test_scores_that_are_nan_name_file_and_video(runs: Path, tmp_path: Path) -> None:
    tensors = {"scores": np.full((1, 1, 1, 2), np.nan, "f4"), "labels": np.array([0])}
    header = {
        "format": 1, "names": ["class/video"], "class_names": ["a", "b"], "kind": "logits",
        "about": {},
        "sha256": {key: hashlib.sha256(value.data).hexdigest() for key, value in tensors.items()},
    }  # fmt: skip
    path = tmp_path / "nan.safetensors"
    path.write_bytes(save(tensors, metadata={"twostream": json.dumps(header)}))
    result = twostream("fuse", path)
    assert result.exit_code == 2
    assert f"{path}: scores that are NaN or infinite, for class/video;" in result.stderr


@pytest.mark.parametrize("command", ["fuse --help", "scores show --help", "fuse", "scores show"])
def test_the_light_commands_import_nothing_heavy(runs: Path, command: str) -> None:
    files = [] if "--help" in command else [scores_of(runs, "spatial"), scores_of(runs, "motion")]
    if command == "scores show":
        files.pop()
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_LIST, *command.split(), *map(str, files)],
        check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())
