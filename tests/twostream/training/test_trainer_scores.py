"""`train --dump-scores`: the scores of the last epochs, and their fusion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from fusion.tables.score_file import read_scores
from twostream.training import trainer

from ..conftest import MiniProject
from .test_trainer import NETWORK, QUICK, folder_of

Run = Callable[..., Result]
DUMPS = ["epoch-001-test", "epoch-001", "epoch-002-test", "epoch-002", "test", "val"]


@pytest.fixture
def train(twostream: Run, mini: MiniProject, tmp_path: Path) -> Run:
    """Three epochs of the tiny network on the motion stream."""
    (tmp_path / "network_of_trainer_tests.py").write_text(NETWORK)
    options = [*mini.arguments, *QUICK, "--stream", "motion", "--epochs", "3", "--runs"]

    def run(runs: str, *more: str, **keywords: bool | int) -> Result:
        return twostream("train", *options, runs, *more, **keywords)

    return run


def scores_of(run: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(run.glob("scores/*.safetensors"))}


def test_the_last_epochs_of_a_run(train: Run, twostream: Run) -> None:
    train("runs", "--dump-scores", "last:2")
    run = folder_of("runs", "motion")
    assert sorted(scores_of(run)) == sorted(DUMPS)
    assert not list(run.glob("epochs/*"))
    assert "nothing to do" in train("runs", "--dump-scores", "last:2").output
    tables = {name: read_scores(run / f"scores/{name}.safetensors") for name in DUMPS}
    for name, table in tables.items():
        subset = "test" if name.endswith("test") else "val"
        assert (table.metadata["subset"], table.metadata["protocol"]) == (subset, "segments3")
    assert [tables[name].metadata["epoch"] for name in DUMPS[:4]] == [1, 1, 2, 2]
    best = tables["test"].metadata["epoch"]
    if best:
        np.testing.assert_array_equal(
            tables["test"].scores, tables[f"epoch-{best:03d}-test"].scores
        )
    twostream("fuse", str(run), "--epochs", "last:2", "--out", "fused")
    both = np.stack([tables[name].scores for name in ("epoch-001-test", "epoch-002-test")])
    fused = read_scores(Path("fused"))
    assert fused.scores[:, 0, 0] == pytest.approx(both.mean(axis=(0, 2, 3)), abs=1e-6)


def test_stopped_while_it_scores_it_goes_on(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each of the six files, with the weights of the epochs still to be scored."""

    class Killed(BaseException):
        pass

    make = trainer.write_score_file

    def make_and_die(*arguments: object, **options: object) -> bool:
        if made := make(*arguments, **options):  # type: ignore[arg-type]
            raise Killed
        return made

    train("undisturbed", "--dump-scores", "last:2")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_score_file", make_and_die)
        for _ in DUMPS:
            with pytest.raises(Killed):
                train("killed", "--dump-scores", "last:2", catch=False)
    train("killed", "--dump-scores", "last:2")
    whole, killed = (folder_of(runs, "motion") for runs in ("undisturbed", "killed"))
    assert scores_of(killed) == scores_of(whole)
    assert not list(killed.glob("epochs/*"))


def test_one_file_an_epoch_where_test_videos_select(train: Run, twostream: Run) -> None:
    train("runs", "--dump-scores", "all", "--epochs", "1", "--select", "test")
    run = folder_of("runs", "motion")
    assert sorted(scores_of(run)) == ["epoch-000", "test"]
    assert read_scores(run / "scores/epoch-000.safetensors").metadata["subset"] == "test"
    more = train("runs", "--dump-scores", "all", "--epochs", "2", "--select", "test")
    assert "no scores of" not in more.output
    assert sorted(scores_of(run)) == ["epoch-000", "epoch-001", "test"]


def test_epochs_that_were_not_kept_are_named(train: Run) -> None:
    train("runs", "--epochs", "1")
    later = train("runs", "--epochs", "2", "--dump-scores", "all")
    assert "no scores of epochs 0 under segments3" in later.output
    assert "epoch-001" in scores_of(folder_of("runs", "motion"))
    wrong = train("runs", "--dump-scores", "best:3", exit_code=2)
    assert "--dump-scores 'best:3': expected off, all, or last:N" in wrong.output
