from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion.combining.inputs import Input, InputOptions, input_tables, read_inputs
from fusion.combining.step import MEAN, Step
from fusion.combining.strategies import maximum
from fusion.fitting.hold_out import (
    HoldOutOptions,
    calibrated_tables,
    check_only_learning,
    known_groups,
    learned,
    table_folds,
    val_tables,
)
from fusion.tables.score_file import ScoreTable, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def inputs(make_table: Make, tmp_path: Path) -> dict[str, Input]:
    """Two runs with scores of test and of other, validation videos; motion is 10 times louder."""
    rng, labels = np.random.default_rng(0), np.arange(30) % 3
    for stream, loud in (("spatial", 1), ("motion", 10)):
        for subset in ("test", "val"):
            names = [f"{subset}{row}_g{row // 3}" for row in range(30)]
            scores = loud * (
                rng.normal(size=(30, 3)) + np.eye(3)[labels]
                if subset == "val"
                else rng.normal(size=(30, 3))
            )
            given = {"labels": labels} if subset == "val" else {}
            table = make_table(
                scores, stream=stream, dataset="toy", subset=subset, names=names, **given
            )
            write_scores(tmp_path / stream / "scores" / f"{subset}.safetensors", table)
    return read_inputs(InputOptions(files=[tmp_path / "spatial", tmp_path / "motion"]))


def test_validation_scores_are_found_beside_the_inputs(inputs: dict[str, Input]) -> None:
    found = val_tables(inputs, [])
    assert [table.names[0] for table in found.values()] == ["val0_g0"] * 2
    tables = input_tables(inputs, MEAN)
    assert calibrated_tables(tables, inputs, HoldOutOptions()) is None
    made = calibrated_tables(tables, inputs, HoldOutOptions(calibrate="val"))
    assert made is not None
    spatial, motion = (float(one.factor[0]) for (one,) in made.scalings.values())
    assert 3 < spatial / motion < 30


def test_folds_of_the_file_itself(inputs: dict[str, Input]) -> None:
    tables = input_tables(inputs, MEAN)
    options = HoldOutOptions(calibrate="crossfit", groups=r"_(g\d+)", folds=4)
    folds = table_folds(tables, options)
    assert (np.ptp(folds.reshape(10, 3), axis=1) == 0).all()
    made = calibrated_tables(tables, inputs, options)
    assert made is not None
    assert len(made.scalings["motion"]) == 4
    with pytest.raises(InputError, match="which videos belong together is not known"):
        table_folds(tables, HoldOutOptions())


def test_validation_scores_that_are_not_those_of_the_inputs(
    inputs: dict[str, Input], tmp_path: Path
) -> None:
    spatial, motion = (
        tmp_path / stream / "scores" / "val.safetensors" for stream in ("spatial", "motion")
    )
    assert len(val_tables(inputs, [spatial, motion])) == 2
    with pytest.raises(InputError, match="stream motion, but the scores of spatial are of spatial"):
        val_tables(inputs, [motion, spatial])
    with pytest.raises(InputError, match="1 times --val for 2 inputs"):
        val_tables(inputs, [motion])
    motion.unlink()
    with pytest.raises(
        InputError, match="no validation scores of motion at .*name them with --val"
    ):
        val_tables(inputs, [])


def test_learning_as_the_options_say(inputs: dict[str, Input]) -> None:
    tables = input_tables(inputs, MEAN)
    options = HoldOutOptions(learn="class-weights", learn_on="val")
    assert learned(tables, inputs, options).table.about["streams"]["learned_on"] == "val"
    with pytest.raises(InputError, match="--learn fits temperatures itself; leave out --calibrate"):
        learned(tables, inputs, HoldOutOptions(learn="stacking", calibrate="val"))
    with pytest.raises(InputError, match="which videos belong together"):
        learned(tables, inputs, HoldOutOptions(learn="stacking"))


def test_options_that_do_nothing_beside_learning() -> None:
    steps = {"crops": MEAN, "segments": MEAN, "streams": MEAN}
    check_only_learning(steps, None)
    for given, combine in ((steps | {"streams": Step("max", maximum)}, None), (steps, "probs")):
        with pytest.raises(InputError, match="leave out --strategy, --segments, --crops and"):
            check_only_learning(given, combine)


def test_groups_that_may_be_unknown(inputs: dict[str, Input]) -> None:
    tables = input_tables(inputs, MEAN)
    assert known_groups(tables, HoldOutOptions()) is None
    assert (known_groups(tables, HoldOutOptions(groups=r"_(g\d+)")) or [])[:4] == ["g0"] * 3 + [
        "g1"
    ]
