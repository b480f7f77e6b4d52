from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion import workflows
from fusion.combining.inputs import FusionOptions
from fusion.tables import join as join_module
from fusion.tables.score_file import ScoreTable, write_scores
from fusion.workflows import compare_files, fuse_files, report_files, tune_files
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def options(make_table: Make, tmp_path: Path) -> FusionOptions:
    """Video 0 is right from a weight of 1/3 on, 1 above 3/4, 2 below 1/2; two segments each."""
    labels, names = [0, 1, 1], ["v_g1", "v_g2", "v_g3"]
    first, second = [[2, 0], [0, 1], [1, 0]], [[0, 1], [3, 0], [0, 1]]
    for stream, scores in (("a", first), ("b", second)):
        views = np.repeat(np.array(scores)[:, None], 2, axis=1)
        table = make_table(views, labels=labels, names=names, stream=stream)
        write_scores(tmp_path / f"{stream}.safetensors", table)
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    return FusionOptions(files=files, groups=r"_(g\d)", folds=3)


def test_the_curve_written_out(options: FusionOptions, tmp_path: Path) -> None:
    tune_files(options, choose="test", curve=tmp_path / "curve.csv")
    heading, *rows = (tmp_path / "curve.csv").read_text().splitlines()
    assert heading == "weight of a from,correct"
    steps = [tuple(map(float, row.split(","))) for row in rows]
    np.testing.assert_allclose(steps, [(0, 1), (1 / 3, 2), (1 / 2, 1), (3 / 4, 2)])
    with pytest.raises(InputError, match="--curve is for two streams; these are 1"):
        tune_files(
            FusionOptions(files=options.files[:1]),
            choose="test",
            curve=tmp_path / "x.csv",
            out=tmp_path / "x.safetensors",
        )
    assert list(tmp_path.glob("x.*")) == []


def test_a_cascade_is_not_chosen_on_test(options: FusionOptions) -> None:
    with pytest.raises(InputError, match="--cascade is chosen on val or in folds, not on test"):
        tune_files(options, choose="test", cascade=1.0)


@pytest.mark.parametrize(
    ("work", "more", "message"),
    [
        (fuse_files, {"learn": "stacking", "calibrate": "val"}, "leave out --calibrate"),
        (fuse_files, {"learn": "stacking", "strategy": "max"}, "leave out --strategy"),
        (fuse_files, {"learn": "stacking", "learn_on": "val"}, "no validation scores of a"),
        (fuse_files, {"calibrate": "val"}, "no validation scores of a"),
        (fuse_files, {"calibrate": "crossfit", "folds": 4}, "folds"),
        (compare_files, {"calibrate": "val"}, "no validation scores of a"),
        (partial(tune_files, choose="val"), {}, "no validation scores of a"),
        (partial(tune_files, choose="crossfit"), {"folds": 4}, "folds"),
    ],
)
def test_wrong_use_is_refused_before_the_work(
    options: FusionOptions, monkeypatch: pytest.MonkeyPatch,
    work: Callable[..., object], more: dict[str, Any], message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(workflows, "score_videos", None)
    with pytest.raises(InputError, match=message):
        work(replace(options, **more))


@pytest.mark.parametrize(
    "more", [{}, {"learn": "class-weights"}, {"calibrate": "crossfit"}], ids=str
)
def test_tables_are_joined_once(
    options: FusionOptions, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    joins = []
    find = join_module._joined_groups
    monkeypatch.setattr(
        join_module, "_joined_groups", lambda t, *rest: joins.append(t) or find(t, *rest)
    )
    fuse_files(FusionOptions(**{**vars(options), **more}))
    assert len(joins) == 1


def test_progress_never_falls_and_says_what_is_done(
    options: FusionOptions, make_table: Make, tmp_path: Path
) -> None:
    third = make_table([[1, 0], [0, 2], [0, 1]], labels=[0, 1, 1], names=["v_g1", "v_g2", "v_g3"])
    write_scores(tmp_path / "c.safetensors", third)
    three = replace(options, files=[*options.files, tmp_path / "c.safetensors"])
    learned = replace(options, learn="stacking")
    calibrated = replace(options, calibrate="crossfit")
    for work, parts in (
        (partial(fuse_files, learned), {"learning the fusion"}),
        (partial(fuse_files, calibrated), {"calibration"}),
        (partial(tune_files, three, choose="crossfit"), {"weights"}),
        (partial(tune_files, three, choose="test"), {"weights"}),
        (partial(compare_files, replace(calibrated, strategies=["max"])),
         {"calibration", "fusion by max"}),
        (partial(report_files, replace(options, strategies=["rank"])),
         {"calibration", "weights", "fusion by rank", "the page"}),
    ):  # fmt: skip
        told: list[tuple[str, float]] = []
        work(progress=lambda what, share, told=told: told.append((what, share)))
        shares = [share for _, share in told]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
        assert {what for what, _ in told} == parts


def test_what_is_compared(options: FusionOptions) -> None:
    weighted = replace(options, strategies=["mean", "weighted"], stream_weights="a=1,b=9")
    result = compare_files(weighted, classes=True)
    assert [row["name"] for row in result["systems"]] == ["a", "b", "mean", "weighted"]
    assert [row["correct"] for row in result["systems"]] == [2, 1, 1, 1]
    assert len(result["pairs"]) == 6
    assert (result["groups"], result["test"], result["unit"]) == (3, "McNemar", "videos")
    assert list(result["segments"]) == ["a", "b"]
    assert [row["videos"] for row in result["classes"]] == [1, 2]
    alone = compare_files(options, alone=True)
    assert [row["name"] for row in alone["systems"]] == ["a", "b"]
    calibrated = compare_files(replace(options, calibrate="crossfit", strategies=["mean"]))
    assert [row["name"] for row in calibrated["systems"]][2:] == ["mean", "mean, calibrated"]


@pytest.mark.parametrize("groups", [r"_(g\d)", r"(v)_"])
def test_a_report_has_as_many_folds_as_there_are_groups(
    options: FusionOptions, groups: str
) -> None:
    """Three groups or one, where five folds are usual."""
    page = report_files(replace(options, groups=groups, folds=5))
    assert ("temperature" in page) == (groups != r"(v)_")
