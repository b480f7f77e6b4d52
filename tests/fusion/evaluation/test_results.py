from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion.combining.fuse import VideoScores, fuse, score_videos
from fusion.evaluation.comparison import compare
from fusion.evaluation.results import (
    compare_lines,
    fusion_lines,
    fusion_result,
    interval_basis,
    tune_lines,
)
from fusion.fitting.tune import cascade_in_folds, tune_in_folds, tune_on_test
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable

Make = Callable[..., ScoreTable]
FILES = {"spatial": [Path("s.safetensors")], "motion": [Path("m.safetensors")]}


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (None, "as if the videos were independent (give groups to `init`)"),
        (5, "of independent videos"),
        (3, "by 3 whole groups"),
    ],
)
def test_the_basis_of_intervals(groups: int | None, text: str) -> None:
    assert interval_basis(groups, 5, cure="give groups to `init`") == text


def test_result_for_programs(make_table: Make) -> None:
    fusion = fuse({
        "spatial": make_table([[3, 0], [0, 1], [5, 4]], labels=[0, 0, -1]),
        "motion": make_table([[0, 1], [2, 0], [5, 4]], labels=[0, 0, -1]),
    })  # fmt: skip
    result = fusion_result(fusion, files=FILES)
    half = {"correct": 1, "of": 2, "percent": 50.0, "interval": [9.4531, 90.5469]}
    both = {"correct": 2, "of": 2, "percent": 100.0, "interval": [34.238, 100.0]}
    assert result == {
        "videos": 3,
        "num_classes": 2,
        "strategy": "mean",
        "segments": "mean",
        "combine": "logits",
        "options": {"streams": {}, "segments": {}, "crops": {}},
        "inputs": [
            {"stream": stream, "file": str(file), "top1": half, "top5": both,
             "mean_class": {"percent": 50.0, "classes": 1}, "unlabelled": 1, "groups": None}
            for stream, (file,) in FILES.items()
        ],
        "fused": {"top1": both, "top5": both, "mean_class": {"percent": 100.0, "classes": 1},
                  "unlabelled": 1, "groups": None},
        "unfitted": None,
        "calibration": None,
        "fitted_on": None,
        "warnings": ["1 of 3 videos have no label and are not in the accuracies"],
    }  # fmt: skip


def test_result_for_people(make_table: Make) -> None:
    fusion = fuse({"spatial": make_table([[3, 0], [0, 1]], protocol="clips19"),
                   "motion": make_table([[0, 1], [2, 0]], protocol="segments3")})  # fmt: skip
    lines = fusion_lines(fusion_result(fusion, files=FILES))
    assert [re.sub(" {3,}", " | ", line) for line in lines] == [
        "2 videos, segments fused by mean; intervals as if the videos were independent (--groups)",
        "",
        " | top-1 | mean class",
        "spatial | 1/2  50.00 % [9.45, 90.55] | 50.00 %",
        "motion | 1/2  50.00 % [9.45, 90.55] | 50.00 %",
        "fused (mean) | 2/2  100.00 % [34.24, 100.00] | 100.00 %",
        "warning: the protocols differ: spatial clips19, motion segments3",
    ]
    columns = lines[2].index("top-1"), lines[2].index("mean class")
    for line, top1, mean_class in zip(
        lines[3:6], ("1/2", "1/2", "2/2"), ("50.00", "50.00", "100.00"), strict=True
    ):
        assert (line.index(top1), line.rindex(mean_class)) == columns


@pytest.mark.parametrize("classes", [5, 6])
def test_top5_is_shown_of_more_than_five_classes(make_table: Make, classes: int) -> None:
    table = make_table([range(classes)], labels=[0])
    lines = fusion_lines(fusion_result(fuse({"spatial": table}), files=FILES))
    assert ("top-5" in lines[2]) == (classes > 5)


def test_fusion_that_gains_nothing_says_so(make_table: Make) -> None:
    fusion = fuse({
        "spatial": make_table([[3, 0], [1, 0], [0, 1]]),
        "motion": make_table([[0, 1], [0, 2], [0, 2]]),
    })  # fmt: skip
    assert fusion_result(fusion, files=FILES)["warnings"][-1] == (
        "fusion gets 1 of 3 videos right, no more than spatial alone (2)"
    )


def test_what_was_fitted_is_beside_what_was_not(make_table: Make) -> None:
    fusion = fuse({"spatial": make_table([[3, 0], [0, 1]], fitted_on="test labels, in group folds"),
                   "motion": make_table([[0, 1], [2, 0]], fitted_on="val labels")})  # fmt: skip
    result = fusion_result(fusion, files=FILES)
    assert result["fitted_on"] == "test labels, in group folds; val labels"
    plain = result["fused"] | {"top1": result["inputs"][0]["top1"]}
    lines = fusion_lines(result | {"unfitted": plain})
    assert lines[6].startswith("without learning (mean)   1/2  50.00 %")
    assert "fitted on: test labels, in group folds; val labels" in lines
    again = fuse({"fused": fusion.table})
    assert again.table.metadata["fitted_on"] == result["fitted_on"]
    assert any("fitted on test labels, in group folds" in line for line in again.warnings)


def test_result_without_labels(make_table: Make) -> None:
    fusion = fuse({"spatial": make_table([[3, 0]], labels=[-1])})
    lines = fusion_lines(fusion_result(fusion, files=FILES))
    assert re.split(" {3,}", lines[3]) == ["spatial", "no labels", "-"]
    assert lines[-1] == "warning: 1 of 1 videos have no label and are not in the accuracies"


NOTHING_MORE = {
    "complementarity": {"oracle": {}, "pairs": []}, "segments": {}, "classes": [], "warnings": [],
    "fitted_on": {},
}  # fmt: skip


def test_the_table_of_pairs() -> None:
    right = np.tile([0.0, 1.0], (20, 1))
    wrong = right[:, ::-1]
    results = {"good": right, "bad": wrong, "same": right}
    labels = np.ones(20, dtype=np.int64)
    lines = compare_lines(compare(results, labels, rng=0) | NOTHING_MORE)
    assert lines[0] == (
        "20 videos; intervals as if the videos were independent (--groups), those of differences "
        "hold what the test does not reject"
    )
    assert any(line.startswith("p: exact McNemar") and "--groups" in line for line in lines)
    assert [line.split()[0] for line in lines[3:6]] == ["good", "same", "bad"]  # the best first
    table = {" ".join(line.split()[:3]): line.split()[3:] for line in lines[8:11]}
    assert " ".join(table["good - bad"]) == "+100.00 [+83.89, +100.00] 20 0 5.7e-06 * 59.02"
    assert table["good - same"] == ["+0.00", "[+0.00,", "+0.00]", "0", "0", "1", "-"]
    assert not any(line.startswith(("streams", "segment", "class")) for line in lines)


def test_the_table_of_pairs_in_groups() -> None:
    right = np.tile([0.0, 1.0], (20, 1))
    labels, groups = np.ones(20, dtype=np.int64), [f"g{video // 4}" for video in range(20)]
    result = compare({"good": right, "bad": right[:, ::-1]}, labels, groups=groups)
    lines = compare_lines(result | NOTHING_MORE)
    assert lines[0] == (
        "20 videos; intervals by 5 whole groups, those of differences hold what the test does "
        "not reject"
    )
    assert lines[7].split()[3:] == ["+100.00", "[-100.00,", "+100.00]", "20", "0", "0.062", "-"]
    assert "sign-flip test of 5 whole groups; of fewer than 6" in lines[8]


@pytest.fixture
def streams(make_table: Make) -> VideoScores:
    """Video 0 is right from 1/3 on, 1 above 3/4, 2 below 1/2."""
    tables = {
        "a": make_table([[2, 0], [0, 1], [1, 0]], labels=[0, 1, 1]),
        "b": make_table([[0, 1], [3, 0], [0, 1]], labels=[0, 1, 1]),
    }
    return score_videos(join(tables))


def test_weights_in_folds(streams: VideoScores) -> None:
    lines = tune_lines(tune_in_folds(streams, np.array([0, 1, 1])))
    assert lines[0] == (
        "3 videos, chosen in grouped folds, each evaluated with the weights of the others; "
        "intervals as if the videos were independent (--groups)"
    )
    assert any(line.startswith("best on these videos   2/3  66.67 %") for line in lines)
    assert any(
        line.startswith("without fold 2: a=0.6667,b=0.3333, which get 0/2") for line in lines
    )
    assert lines[-1].startswith("use: --strategy weighted --weights a=0.")
    assert re.search(r"look \d+\.\d\d points better", lines[-2])


def test_a_choice_on_test_says_so(streams: VideoScores) -> None:
    lines = tune_lines(tune_on_test(streams))
    assert "CHOSEN ON THESE VERY VIDEOS" in lines[0]
    assert not any("held out" in line or "better" in line for line in lines)


def test_a_cascade(streams: VideoScores) -> None:
    folds = np.array([0, 1, 1])
    tuned = tune_in_folds(streams, folds)
    lines = tune_lines(tuned | {"cascade": cascade_in_folds(streams, folds, tolerance=0.5)})
    assert [line.split("  ")[0] for line in lines[-4:-1]] == [
        "cascade", "always both", "first stream only",
    ]  # fmt: skip
    assert lines[-1].startswith("flow where the first stream's margin is below ")
