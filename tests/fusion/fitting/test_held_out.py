"""Videos held out to fit on: validation scores beside the inputs, or folds of the file itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion.combining.inputs import FusionInputs, FusionOptions, read_inputs, read_validation_scores
from fusion.fitting.fitted_fusion import calibrate_inputs
from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from fusion.workflows import fuse_files
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


@pytest.fixture
def inputs(make_table: Make, tmp_path: Path) -> FusionInputs:
    """Two runs with scores of test and of other, validation videos; motion is 10 times louder."""
    rng, labels = np.random.default_rng(0), np.arange(30) % 3
    for stream, loud in (("spatial", 1), ("motion", 10)):
        for subset in ("test", "val"):
            names = [f"{subset}{row}_g{row // 3}" for row in range(30)]
            scores = loud * rng.normal(size=(30, 3))
            known = {}
            if subset == "val":
                scores, known = scores + loud * np.eye(3)[labels], {"labels": labels}
            table = make_table(
                scores, stream=stream, dataset="toy", subset=subset, names=names, **known
            )
            write_scores(tmp_path / stream / "scores" / f"{subset}.safetensors", table)
    return read_inputs(FusionOptions(files=[tmp_path / "spatial", tmp_path / "motion"]))


def test_validation_scores_are_found_next_to_the_inputs(inputs: FusionInputs) -> None:
    tables = read_validation_scores(inputs)
    assert [table.names[0] for table in tables.values()] == ["val0_g0"] * 2
    calibrated = calibrate_inputs(replace(inputs, options=FusionOptions(calibrate="val")))
    spatial, motion = (float(s.factor[0]) for (s,) in calibrated.scalings.values())
    assert 3 < spatial / motion < 30


def test_folds_of_the_file_itself(inputs: FusionInputs) -> None:
    with pytest.raises(InputError, match="data set toy.*--groups"):
        inputs.joined.folds(4)
    options = FusionOptions(
        files=[files[0].parents[1] for files in inputs.files.values()],
        calibrate="crossfit", groups=r"_(g\d+)", folds=4,
    )  # fmt: skip
    inputs = read_inputs(options)
    folds = inputs.joined.folds(4)
    assert (np.ptp(folds.reshape(10, 3), axis=1) == 0).all()
    calibrated = calibrate_inputs(inputs)
    assert len(calibrated.scalings["motion"]) == 4


def test_validation_scores_of_other_streams(inputs: FusionInputs, tmp_path: Path) -> None:
    spatial, motion = (
        tmp_path / stream / "scores" / "val.safetensors" for stream in ("spatial", "motion")
    )

    def read(*val: Path) -> dict[str, ScoreTable]:
        return read_validation_scores(replace(inputs, options=FusionOptions(val=val)))

    assert len(read(spatial, motion)) == 2
    with pytest.raises(InputError, match="stream motion, but the scores of spatial are of spatial"):
        read(motion, spatial)
    with pytest.raises(InputError, match="--val was given 1 times for 2 inputs"):
        read(motion)
    motion.unlink()
    with pytest.raises(InputError, match=rf"motion at {motion}; .*--val FILE"):
        read()


def test_learning_as_the_options_say(inputs: FusionInputs, tmp_path: Path) -> None:
    files = [tmp_path / "spatial", tmp_path / "motion"]
    options = FusionOptions(files=files, learn="class-weights", learn_on="val")
    out = tmp_path / "fused.safetensors"
    fuse_files(options, out=out)
    assert read_scores(out).metadata["streams"]["learned_on"] == "val"
    with pytest.raises(InputError, match="--learn fits temperatures itself; leave out --calibrate"):
        fuse_files(replace(options, calibrate="val"))
    with pytest.raises(InputError, match="which videos belong together"):
        fuse_files(FusionOptions(files=files, learn="stacking"))
    for change in ({"strategy": "max"}, {"combine": "probs"}):
        with pytest.raises(InputError, match="leave out --strategy, --segments, --crops and"):
            fuse_files(replace(options, **change))
