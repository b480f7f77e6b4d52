from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion import fuse
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable, read_scores, write_scores, write_scores_in_parts
from fusion.tables.windows import Span, rows_by_video, window_grid, window_names
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


def dense(make_table: Make, *, order: list[int] | None = None, **metadata: object) -> ScoreTable:
    """Three windows of film a, then two of film b."""
    order = order or [0, 1, 2, 3, 4]
    times = np.array([(0.0, 2.0), (0.5, 2.5), (1.0, 3.0), (0.0, 2.0), (0.5, 2.5)])
    names = np.array(window_names("a", times[:3]) + window_names("b", times[3:]))
    table = make_table(np.arange(20).reshape(5, 1, 1, 4)[order], names=names[order].tolist())
    groups = tuple("aaabb"[row] for row in order)
    return replace(table, times=times[order], groups=groups, metadata=metadata)


@pytest.mark.parametrize(
    ("length", "window", "stride", "expected"),
    [
        (10, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (11, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10), (7, 11)]),
        (9, 3, 3, [(0, 3), (3, 6), (6, 9)]),
        (10, 2, 5, [(0, 2), (5, 7), (8, 10)]),  # gaps between them; the end is still seen
        (4, 4, 1, [(0, 4)]),
        (3, 4, 2, [(0, 3)]),
        (1, 1, 1, [(0, 1)]),
    ],
)
def test_windows_cover_a_video_to_its_end(
    length: int, window: int, stride: int, expected: list[tuple[int, int]]
) -> None:
    assert window_grid(length, window=window, stride=stride) == expected


def test_lengths_of_time_are_seconds_or_frames() -> None:
    assert [Span.parse(text).frames(30) for text in ("2.0", "60f", "0.5", "0.001")] == [
        60,
        60,
        15,
        1,
    ]
    assert [str(Span.parse(text)) for text in ("2.0", "60f")] == ["2 s", "60f"]
    for text in ("0", "-1", "2s", "f", "1.5f", "nan", "inf", ""):
        with pytest.raises(InputError, match="60f"):
            Span.parse(text)


def test_names_of_windows_sort_by_time() -> None:
    names = window_names("film", np.array([[0, 2], [2.5, 4.5], [12.5, 14.5], [3600.25, 3602.25]]))
    assert names == [
        "film@00000.000-00002.000",
        "film@00002.500-00004.500",
        "film@00012.500-00014.500",
        "film@03600.250-03602.250",
    ]
    assert sorted(names) == names


def test_a_dense_file_keeps_its_times(make_table: Make, tmp_path: Path) -> None:
    table, path = dense(make_table), tmp_path / "a.safetensors"
    write_scores(path, table)
    for read in (read_scores(path), read_scores(path, in_memory=False)):
        assert (read.names, read.groups) == (table.names, table.groups)
        np.testing.assert_array_equal(read.times, table.times, strict=True)
    parts = [replace(table, names=table.names[p], labels=table.labels[p], scores=table.scores[p],
                     groups=None, times=None) for p in (slice(0, 2), slice(2, 5))]  # fmt: skip
    write_scores_in_parts(tmp_path / "b.safetensors", parts, whole=table)
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()


def test_a_file_of_whole_videos_has_no_times(make_table: Make, tmp_path: Path) -> None:
    write_scores(tmp_path / "a.safetensors", make_table(np.zeros((2, 1, 1, 2))))
    assert read_scores(tmp_path / "a.safetensors").times is None


@pytest.mark.parametrize(
    "broken",
    [
        {"times": np.zeros((5, 2))},  # they end where they begin
        {"times": np.array([[0.0, np.nan]] * 5)},
        {"times": np.array([[0.0, 1.0]] * 4)},
        {"times": np.array([[0, 1]] * 5)},
        {"times": np.array([[-1.0, 1.0]] * 5)},
        {"groups": None},
    ],
)
def test_times_that_are_none_are_refused(
    make_table: Make, tmp_path: Path, broken: dict[str, np.ndarray]
) -> None:
    with pytest.raises(InputError, match="times"):
        write_scores(tmp_path / "a.safetensors", replace(dense(make_table), **broken))


def test_times_follow_their_windows_into_a_fusion(make_table: Make) -> None:
    first, other = dense(make_table), dense(make_table, order=[4, 2, 0, 3, 1])
    joined = join({"rgb": first, "flow": other})
    for table in (joined, *joined.tables.values()):
        np.testing.assert_array_equal(table.times, first.times)
    fused = fuse({"rgb": first, "flow": other})
    np.testing.assert_array_equal(fused.table.times, first.times)
    np.testing.assert_allclose(fused.scores, first.scores[:, 0, 0])
    assert fused.groups == first.groups


def test_windows_are_not_fused_with_other_times_or_whole_videos(make_table: Make) -> None:
    first = dense(make_table)
    with pytest.raises(InputError, match=r"a@00000.000-00002.000.*--stride"):
        join({"rgb": first, "flow": replace(first, times=first.times + 0.1)})
    with pytest.raises(InputError, match="flow of whole videos"):
        join({"rgb": first, "flow": replace(first, times=None)})


def test_windows_of_a_video_come_in_order_of_time(make_table: Make) -> None:
    table = dense(make_table, order=[4, 2, 0, 3, 1])
    rows = rows_by_video(table)
    assert {video: of_video.tolist() for video, of_video in rows.items()} == {
        "b": [3, 0],
        "a": [2, 4, 1],
    }
    with pytest.raises(InputError, match="--window"):
        rows_by_video(replace(table, times=None))
