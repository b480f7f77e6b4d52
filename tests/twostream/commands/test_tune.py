from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from twostream.cli import cli

Make = Callable[..., ScoreTable]


def tune(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["tune", *map(str, arguments)])


@pytest.fixture
def runs(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs with test and validation scores; names hold their group."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for subset in ("test", "val"):
        labels = rng.integers(3, size=40)
        names = [f"{subset}{row}_g{row // 4}" for row in range(40)]
        for stream in ("spatial", "motion"):
            scores = rng.normal(size=(40, 3, 1, 3)) + np.eye(3)[labels][:, None, None]
            about = {"stream": stream, "dataset": "toy", "split": 1, "subset": subset}
            path = tmp_path / f"runs/toy-split1/{stream}-net/scores/{subset}.safetensors"
            write_scores(path, make_table(scores, labels=labels, names=names, **about))
    return tmp_path


def test_on_validation_scores(runs: Path) -> None:
    result = tune("--curve", "curve.csv", "--out", "tuned.safetensors", "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert made["chosen_on"] == "val"
    assert made["weights"].keys() == {"spatial", "motion"}
    assert Path("curve.csv").exists()
    assert read_scores(Path("tuned.safetensors")).metadata["streams"]["chosen_on"] == "val"
    assert "chosen on the validation scores" in tune("--segments", "max").output


def test_what_tune_shows(runs: Path) -> None:
    assert tune().stdout.splitlines() == [
        "40 videos, chosen on the validation scores; intervals as if the videos were independent "
        "(--groups)",
        "",
        "                       top-1                             weights",
        "held out               40/40  100.00 % [91.24, 100.00]   spatial=0.3912,motion=0.6088",
        "equal weights          40/40  100.00 % [91.24, 100.00]   1 each",
        "best on these videos   40/40  100.00 % [91.24, 100.00]   spatial=0.5304,motion=0.4696",
        "",
        "weights chosen on these videos would look 0.00 points better",
        "use: --strategy weighted --weights spatial=0.3912,motion=0.6088",
    ]


def test_in_grouped_folds(runs: Path) -> None:
    made = json.loads(tune("--choose", "crossfit", "--groups", r"_(g\d+)", "--json").stdout)
    assert len(made["folds"]) == 5
    refused = tune("--choose", "crossfit")
    assert refused.exit_code == 2
    assert "which videos belong together is not known (data set toy)" in refused.output


def test_on_test_is_said(runs: Path) -> None:
    assert "CHOSEN ON THESE VERY VIDEOS" in tune("--choose", "test").output
    assert json.loads(tune("--choose", "test", "--json").stdout)["chosen_on"] == "test"


def test_a_cascade_is_chosen_where_it_is_not_judged(runs: Path) -> None:
    on_val = tune("--cascade", 1)
    assert on_val.exit_code == 0, on_val.output
    assert "first stream only" in on_val.output
    folds = ["--choose", "crossfit", "--groups", r"_(g\d+)"]
    assert "cascade" in json.loads(tune(*folds, "--cascade", 1, "--json").stdout)
    refused = tune("--choose", "test", "--cascade", 1)
    assert refused.exit_code == 2
    assert "not on test" in refused.output
