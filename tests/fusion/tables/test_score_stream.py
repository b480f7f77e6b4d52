from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion.tables.large_files import write_scores_in_parts
from fusion.tables.score_file import ScoreTable, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def table(make_table: Make) -> ScoreTable:
    """Seven videos, with names that JSON has to escape, or need not."""
    scores = np.random.default_rng(0).normal(size=(7, 3, 2, 4))
    names = ["a b", 'quote"', "back\\slash", "tab\t\x01\x7f", "Ägypten/日本", "emoji 🎈", "z"]
    return make_table(scores, names=names, labels=[0, 1, 2, 3, 0, -1, 2], split=1, note="ß")


def rows(table: ScoreTable, begin: int, end: int) -> ScoreTable:
    return replace(
        table,
        names=table.names[begin:end],
        scores=table.scores[begin:end],
        labels=table.labels[begin:end],
        about={"part": begin},
    )


@pytest.mark.parametrize("edges", [(0, 7), (0, 1, 7), (0, 3, 4, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_parts_give_the_bytes_of_the_whole(
    table: ScoreTable, tmp_path: Path, edges: tuple[int, ...], dtype: type
) -> None:
    table = replace(table, scores=table.scores.astype(dtype))
    write_scores(tmp_path / "at-once", table)
    parts = (rows(table, *pair) for pair in zip(edges, edges[1:], strict=False))
    whole = replace(table, scores=np.broadcast_to(dtype(0), table.scores.shape))
    write_scores_in_parts(tmp_path / "in-parts", parts, whole=whole)
    assert (tmp_path / "in-parts").read_bytes() == (tmp_path / "at-once").read_bytes()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(0, 3), (4, 7)], "the part of videos 3 to 6 is not of this score file"),
        ([(0, 3), (3, 6)], "the parts hold 6 of 7 videos"),
        ([(0, 7), (0, 1)], "the part of videos 7 to 8 is not of this score file"),
    ],
)
def test_missing_and_doubled_videos_are_refused(
    table: ScoreTable, tmp_path: Path, edges: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_scores_in_parts(tmp_path / "a", (rows(table, *pair) for pair in edges), whole=table)
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_not_sound_is_refused(table: ScoreTable, tmp_path: Path) -> None:
    scores = table.scores.copy()
    scores[5, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinite, for emoji"):
        write_scores_in_parts(tmp_path / "a", [replace(table, scores=scores)], whole=table)
