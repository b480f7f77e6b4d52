from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion.tables.score_file import ScoreTable, read_scores
from twostream.scoring import score_file
from twostream.scoring.score_file import Batches, is_complete, write_in_parts
from twostream_base.errors import InputError

BATCHES = [[0, 1], [2, 3], [4, 5], [6]]  # of 4 views: with 8 views a part, two parts


def logits(videos: Any) -> NDArray[np.float32]:
    """(N, 2, 1, 3): video, snippet and class can be told from each value."""
    return np.add.outer(np.asarray(videos) * 10, np.arange(6)).reshape(-1, 2, 1, 3).astype("f4")


class Scoring:
    """Counts the batches that are scored; ends as by a kill before the batch numbered `dies_at`."""

    def __init__(self, *, dies_at: int | None = None) -> None:
        self.done: list[list[int]] = []
        self.dies_at = dies_at

    def __call__(self, batches: Batches) -> Generator[NDArray[np.float32]]:
        for batch in batches:
            if len(self.done) == self.dies_at:
                raise KeyboardInterrupt
            self.done.append(list(batch))
            yield logits(batch)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_file, "VIEWS_PER_PART", 8)


def whole(**about: Any) -> ScoreTable:
    return ScoreTable(
        names=tuple(f"v{video}" for video in range(7)),
        class_names=("a", "b", "c"),
        scores=np.empty((0, 0, 0, 3), dtype=np.float32),
        labels=np.arange(7) % 3,
        score_type="logits",
        metadata={"checkpoint": "one", **about},
    )


def run(path: Path, scoring: Scoring, *, at_once: int = 4, **about: Any) -> list[str]:
    notes: list[str] = []
    write_in_parts(
        path,
        whole(**about),
        BATCHES,
        views=2,
        views_per_forward=at_once,
        score=scoring,
        tell=notes.append,
    )
    return notes


def test_the_file_has_all_videos_and_nothing_else_is_left(tmp_path: Path) -> None:
    path, scoring = tmp_path / "scores.safetensors", Scoring()
    assert run(path, scoring) == []
    assert scoring.done == BATCHES
    table = read_scores(path)
    assert table.names == whole().names
    np.testing.assert_array_equal(table.scores, logits(range(7)))
    assert (table.metadata, is_complete(path, whole())) == ({"checkpoint": "one"}, True)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dies_at", range(4))
def test_stopped_before_any_batch_it_goes_on(tmp_path: Path, dies_at: int) -> None:
    run(tmp_path / "undisturbed", Scoring())
    path, scoring = tmp_path / "a", Scoring()
    with pytest.raises(KeyboardInterrupt):
        run(path, Scoring(dies_at=dies_at))
    assert not path.exists()
    finished = dies_at // 2
    notes = run(path, scoring)
    assert notes == [f"{tmp_path / 'a.parts'}: {finished} of 2 parts are done already"] * finished
    assert scoring.done == BATCHES[2 * finished :]
    assert path.read_bytes() == (tmp_path / "undisturbed").read_bytes()
    assert not (tmp_path / "a.parts").exists()


def test_stopped_while_the_parts_are_joined_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any, **options: Any) -> None:
        (tmp_path / "a.parts" / ".part-left-by-a-kill").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(score_file, "write_scores_in_parts", die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "a", Scoring())
    scoring = Scoring()
    run(tmp_path / "a", scoring)
    assert scoring.done == []
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("other", [{"checkpoint": "two"}, {"protocol": "clips19"}, {"at_once": 8}])
def test_parts_of_another_scoring_are_dropped(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", Scoring(dies_at=3))
    scoring = Scoring()
    notes = run(tmp_path / "a", scoring, **other)
    assert notes == [f"{tmp_path / 'a.parts'}: 1 parts dropped: damaged, or of another scoring"]
    assert scoring.done == BATCHES


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", Scoring(dies_at=3))
    (part,) = (tmp_path / "a.parts").iterdir()
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    scoring = Scoring()
    assert "1 parts dropped: damaged" in run(tmp_path / "a", scoring)[0]
    assert scoring.done == BATCHES


def test_what_is_there_already(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert not is_complete(path, whole())
    run(path, Scoring())
    assert is_complete(path, whole())
    assert not is_complete(path, whole(protocol="clips19"))
    mended = whole().labels.copy()
    mended[0] = 1 - mended[0]
    assert not is_complete(path, replace(whole(), labels=mended)), "the lists were mended"
    path.write_text("a letter")
    with pytest.raises(InputError, match=r"a: not a valid score file .*8 bytes"):
        is_complete(path, whole())


def test_groups_that_the_lists_have_told_since(tmp_path: Path) -> None:
    path = tmp_path / "a"
    run(path, Scoring())
    assert read_scores(path).groups is None
    before = path.read_bytes()
    grouped = replace(whole(), groups=tuple("xxxyyyy"))
    assert is_complete(path, grouped)
    table = read_scores(path)
    assert table.groups == grouped.groups
    np.testing.assert_array_equal(table.scores, logits(range(7)))
    assert is_complete(path, whole())
    assert path.read_bytes() == before


def test_scores_that_are_not_finite_name_the_video(tmp_path: Path) -> None:
    def broken(batches: Batches) -> Generator[NDArray[np.float32]]:
        for batch in batches:
            yield np.where(np.array(batch)[:, None, None, None] == 5, np.nan, logits(batch))

    with pytest.raises(InputError, match="NaN or infinite, for v5"):
        write_in_parts(
            tmp_path / "a", whole(), BATCHES, views=2, views_per_forward=4, score=broken, tell=print
        )


def test_clips_of_films_keep_their_times_though_parts_have_none(tmp_path: Path) -> None:
    times = np.arange(7)[:, None] + np.array([0.0, 2.0])
    clips = replace(whole(), groups=("film",) * 7, times=times)
    path = tmp_path / "scores.safetensors"
    write_in_parts(path, clips, BATCHES, views=2, views_per_forward=4, score=Scoring(), tell=print)
    table = read_scores(path)
    assert table.groups == clips.groups
    np.testing.assert_array_equal(table.times, times)
