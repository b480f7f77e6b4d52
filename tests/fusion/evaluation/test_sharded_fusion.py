from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.combining.fuse import fuse_joined
from fusion.combining.step import Step, Steps
from fusion.combining.strategies import STRATEGIES
from fusion.evaluation.results import fusion_result
from fusion.evaluation.sharded_fusion import fuse_in_shards
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable, open_large_file, read_scores, write_scores
from twostream.cli import cli
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
VIDEOS, CLASSES = 53, 6


@pytest.fixture
def files(tmp_path: Path, make_table: Make) -> dict[str, Path]:
    """Two streams; the second has its videos and classes in another order, and unlike views."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, VIDEOS)
    labels[5] = -1
    names = np.array([f"class/v{row:02d}" for row in range(VIDEOS)])
    classes = np.array(list("abcdef"))
    rows, columns = rng.permutation(VIDEOS), rng.permutation(CLASSES)
    scores = [rng.normal(size=(VIDEOS, *views, CLASSES)) for views in ((3, 1), (2, 2))]
    scores[1][7] = 0.5  # flat: weighting by confidence falls back
    own = np.append(np.argsort(columns), -1)[labels[rows]]
    tables = {
        "spatial": make_table(scores[0], names=names, class_names=classes, labels=labels,
                              stream="spatial", dataset="toy", protocol="segments3"),
        "motion": make_table(scores[1][rows], names=names[rows], class_names=classes[columns],
                             labels=own, stream="motion", dataset="toy", protocol="other"),
    }  # fmt: skip
    for key, table in tables.items():
        write_scores(tmp_path / f"{key}.safetensors", table)
    return {key: tmp_path / f"{key}.safetensors" for key in tables}


def step(name: str, **options: object) -> Step:
    return Step(name, STRATEGIES[name], options)


def test_shards_give_the_same_bits(tmp_path: Path, files: dict[str, Path]) -> None:
    choices = [
        (Steps(streams=step("weighted", weights=[2, 1])), None),
        (Steps(segments=step("variance"), streams=step("max")), "probs"),
        (Steps(crops=step("max"), segments=step("entropy"), streams=step("rank")), None),
    ]
    named = {key: str(path) for key, path in files.items()}
    for steps, combine in choices:
        whole = fuse_joined(join(files), steps, combine=combine)
        result = fuse_in_shards(
            {key: open_large_file(path) for key, path in files.items()},
            files=named, steps=steps, combine=combine, out=tmp_path / "out", videos=10,
        )  # fmt: skip
        assert result["warnings"] == whole.warnings + [
            "1 of 53 videos have no label and are not in the accuracies"
        ]
        assert result == fusion_result(whole, files=named) | {"warnings": result["warnings"]}
        written = read_scores(tmp_path / "out")
        np.testing.assert_array_equal(written.scores, whole.table.scores, strict=True)
        assert written.names == whole.table.names
        assert written.score_type == whole.table.score_type
        inputs = {
            key: about | {"scores_sha256": ""} for key, about in written.metadata["inputs"].items()
        }
        own = {key: about | {"scores_sha256": ""} for key, about in whole.streams.metadata.items()}
        assert written.metadata | {"inputs": inputs} == whole.table.metadata | {"inputs": own}


def test_a_missing_video_and_a_nan_are_named(files: dict[str, Path], make_table: Make) -> None:
    run = partial(fuse_in_shards, files={}, steps=Steps(), videos=10)
    large = {key: open_large_file(path) for key, path in files.items()}
    write_scores(files["motion"], make_table(np.zeros((2, 6)), class_names=list("abcdef")))
    with pytest.raises(InputError, match="the videos do not join"):
        run(large | {"motion": open_large_file(files["motion"])})
    data = bytearray(files["spatial"].read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    files["spatial"].write_bytes(data)
    with pytest.raises(InputError, match="NaN or infinite, for class/v52"):
        run({"spatial": large["spatial"]})


def fuse_command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["fuse", *map(str, arguments)])


def test_the_command_takes_large_files_from_disk(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, wholes = list(files.values()), []
    fuse_whole = fuse_command(*paths, "--out", tmp_path / "memory", "--json")
    monkeypatch.setattr("fusion.workflows.LARGE_BYTES", 1000)
    monkeypatch.setattr("fusion.workflows.read_inputs", wholes.append)
    from_disk = fuse_command(*paths, "--out", tmp_path / "disk", "--json")
    assert from_disk.exit_code == 0, from_disk.output
    one, other = (json.loads(result.stdout) for result in (from_disk, fuse_whole))
    assert (one["fused"], one["inputs"]) == (other["fused"], other["inputs"])
    np.testing.assert_array_equal(
        read_scores(tmp_path / "disk").scores, read_scores(tmp_path / "memory").scores
    )
    assert not wholes
    fuse_command(*paths, "--calibrate", "crossfit")  # needs them whole
    assert len(wholes) == 1
