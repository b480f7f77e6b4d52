from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli

Make = Callable[..., ScoreTable]


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments)])


@pytest.fixture
def files(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two streams of three segments under two protocols; names hold their group."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    names = [f"{row}_g{row // 4}" for row in range(60)]
    paths = []
    for stream in ("spatial", "motion"):
        scores = rng.normal(size=(60, 3, 1, 3)) + np.eye(3)[labels][:, None, None]
        about = {"stream": stream, "dataset": "toy", "protocol": f"{stream}-views"}
        paths.append(tmp_path / f"{stream}.safetensors")
        write_scores(paths[-1], make_table(scores, labels=labels, names=names, **about))
    return paths


def test_streams_and_strategies(files: list[Path]) -> None:
    result = compare(*files, "--strategy", "mean", "--strategy", "rank", "--classes")
    assert result.exit_code == 0, result.output
    for text in (
        "60 videos; intervals by bootstrap of videos",
        "difference in points",
        "mean - rank ",
        "at least one stream is right: ",
        "segment of motion   alone",
        "class   videos   spatial   motion   mean   rank",
        "warning: the protocols differ: spatial spatial-views, motion motion-views",
    ):
        assert text in result.output


def test_for_programs_with_calibration_and_groups(files: list[Path]) -> None:
    options = ["--calibrate", "crossfit", "--groups", r"_(g\d+)", "--strategy", "weighted"]
    made = json.loads(compare(*files, *options, "--weights", "motion=1,spatial=2", "--json").stdout)
    names = [system["name"] for system in made["systems"]]
    assert names == ["spatial", "motion", "weighted", "weighted, calibrated"]
    assert made["bootstrap"] == "groups"
    assert len(made["pairs"]) == 6
    assert [row["segment"] for row in made["segments"]["spatial"]] == [1, 2, 3]


def test_files_as_they_are(files: list[Path], make_table: Make, tmp_path: Path) -> None:
    made = json.loads(compare(*files, "--alone", "--json").stdout)
    assert [system["name"] for system in made["systems"]] == ["spatial", "motion"]
    refused = compare(files[0], "--alone")
    assert refused.exit_code == 2
    assert "a comparison needs two results" in refused.output
    other = tmp_path / "other.safetensors"
    write_scores(other, make_table([[1, 2]], dataset="hmdb51"))
    refused = compare(files[0], other)
    assert refused.exit_code == 2
    assert "dataset differs: spatial toy, other hmdb51" in refused.output


def test_a_stream_that_is_called_as_a_strategy(files: list[Path], make_table: Make) -> None:
    write_scores(Path("mean.safetensors"), make_table([[1, 2]]))
    write_scores(Path("other.safetensors"), make_table([[1, 2]]))
    refused = compare("mean.safetensors", "other.safetensors")
    assert refused.exit_code == 2
    assert "mean is an input and a strategy" in refused.output
