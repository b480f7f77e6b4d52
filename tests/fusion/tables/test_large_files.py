from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion.tables.large_files import map_scores
from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def path(tmp_path: Path, make_table: Make) -> Path:
    """Seven videos of 3 segments, 2 crops and 5 classes."""
    scores = np.random.default_rng(0).normal(size=(7, 3, 2, 5))
    table = make_table(scores, labels=[0, 1, 2, 3, 4, -1, 0], stream="spatial")
    write_scores(tmp_path / "a.safetensors", table)
    return tmp_path / "a.safetensors"


def test_the_head_is_the_file_without_its_scores(path: Path) -> None:
    head, table = map_scores(path).head, read_scores(path)
    assert (head.names, head.class_names, head.kind, head.about) == (
        table.names, table.class_names, table.kind, table.about,
    )  # fmt: skip
    assert head.labels.tolist() == table.labels.tolist()
    assert head.scores.shape == table.scores.shape
    assert head.scores.strides == (0, 0, 0, 0)  # no memory


def test_rows_in_any_order(path: Path) -> None:
    file, scores = map_scores(path).file, read_scores(path).scores
    np.testing.assert_array_equal(file.read_rows("scores", [5, 0, 5]), scores[[5, 0, 5]])
    np.testing.assert_array_equal(file.read_rows("scores", slice(2, 4)), scores[2:4])


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a: not a valid score file .*7 bytes"):
        map_scores(tmp_path / "a")
