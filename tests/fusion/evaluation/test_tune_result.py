from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion.combining.video_scores import Votes, cast_votes
from fusion.evaluation.text_tables import tune_lines, write_curve
from fusion.fitting.tune import tune_in_folds, tune_on_test
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def votes(make_table: Make) -> Votes:
    """Video 0 is right from 1/3 on, 1 above 3/4, 2 below 1/2."""
    return cast_votes({
        "a": make_table([[2, 0], [0, 1], [1, 0]], labels=[0, 1, 1]),
        "b": make_table([[0, 1], [3, 0], [0, 1]], labels=[0, 1, 1]),
    })  # fmt: skip


def test_for_people(votes: Votes) -> None:
    lines = tune_lines(tune_in_folds(votes, np.array([0, 1, 1])))
    assert lines[0] == "3 videos, chosen in grouped folds, each judged by the weights of the others"
    assert any(line.startswith("picked on these videos   2/3  66.67 %") for line in lines)
    assert any(line.startswith("without fold 2: a=0.6667,b=0.3333, there 0/2") for line in lines)
    assert lines[-1].startswith("use: --strategy weighted --weights a=0.")
    assert "flatter by" in lines[-2]


def test_a_choice_on_test_says_so(votes: Votes) -> None:
    lines = tune_lines(tune_on_test(votes))
    assert "CHOSEN ON THESE VERY VIDEOS" in lines[0]
    assert not any("held out" in line or "flatter" in line for line in lines)


def test_the_curve(votes: Votes, tmp_path: Path, make_table: Make) -> None:
    write_curve(tmp_path / "curve.csv", votes)
    header, *rows = (tmp_path / "curve.csv").read_text().splitlines()
    assert header == "weight of a from,correct"
    found = [tuple(map(float, row.split(","))) for row in rows]
    expected = [(0, 1), (1 / 3, 2), (1 / 2, 1), (3 / 4, 2)]
    np.testing.assert_allclose(found, expected)
    with pytest.raises(InputError, match="for two streams; these are 1"):
        write_curve(tmp_path / "x.csv", cast_votes({"a": make_table([[1, 2]])}))
