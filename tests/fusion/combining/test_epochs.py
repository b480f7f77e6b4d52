from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion.combining.fuse import find_epochs, fuse_epochs
from fusion.combining.step import Step
from fusion.combining.strategies import STRATEGIES
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.mark.parametrize(
    ("wanted", "epochs"),
    [("all", [2, 9, 10, 101]), ("last:2", [10, 101]), ("last:4", [2, 9, 10, 101]), ("9,2", [2, 9])],
)
def test_which_files(tmp_path: Path, wanted: str, epochs: list[int]) -> None:
    for epoch in (101, 2, 9, 10):
        (tmp_path / f"epoch-{epoch:03}.safetensors").touch()
    (tmp_path / "epoch-best.safetensors").touch()
    (tmp_path / "epoch-003-test.safetensors").touch()
    expected = [f"epoch-{epoch:03}.safetensors" for epoch in epochs]
    assert [path.name for path in find_epochs(tmp_path, wanted, subset="val")] == expected


def test_test_videos_have_files_of_their_own_where_others_select(tmp_path: Path) -> None:
    (tmp_path / "epoch-004.safetensors").touch()
    assert [path.name for path in find_epochs(tmp_path, "all", subset="test")] == [
        "epoch-004.safetensors"
    ]
    (tmp_path / "epoch-004-test.safetensors").touch()
    for subset, name in (("test", "epoch-004-test"), ("val", "epoch-004")):
        assert find_epochs(tmp_path, "4", subset=subset) == [tmp_path / f"{name}.safetensors"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("last:3", "holds the scores of epochs 2, 9; `twostream train --dump-scores last:N` keeps"),
        ("2,3", "holds the scores of epochs 2, 9"),
        ("last:0", "expected all, last:N, or numbers as 3,5,8"),
        ("best", "expected all, last:N"),
    ],
)
def test_epochs_that_are_not_there(tmp_path: Path, wanted: str, message: str) -> None:
    for epoch in (2, 9):
        (tmp_path / f"epoch-{epoch:03}.safetensors").touch()
    with pytest.raises(InputError, match=message):
        find_epochs(tmp_path, wanted, subset="test")
    with pytest.raises(InputError, match="epochs none"):
        find_epochs(tmp_path / "absent", "all", subset="test")


def test_epochs_join_by_name_and_are_fused_view_by_view(make_table: Make) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4, 3, 2, 5)).astype(np.float32)
    names = ["v2", "v0", "v3", "v1"]
    tables = {
        "epoch-001": make_table(19 * first, kind="logit_sum", summed_over=19, epoch=1),
        "epoch-002": make_table(second[[2, 0, 3, 1]], names=names),
    }
    with pytest.raises(InputError, match="epochs differ in their kind or views"):
        fuse_epochs(tables, Step("mean", STRATEGIES["mean"]))
    tables["epoch-001"] = make_table(first, epoch=1)
    fused = fuse_epochs(tables, Step("max", STRATEGIES["max"]))
    np.testing.assert_array_equal(fused.scores, np.maximum(first, second))
    assert fused.about["epoch"] == [1, "epoch-002"]
    assert fused.about["epochs"] == {"strategy": "max"}
    assert fuse_epochs({"a": tables["epoch-002"]}, Step("max", STRATEGIES["max"])).names[0] == "v2"
    rank = fuse_epochs(tables, Step("rank", STRATEGIES["rank"]))
    assert rank.kind == "probs"
    np.testing.assert_allclose(rank.scores.sum(axis=-1), 1, rtol=1e-6)
