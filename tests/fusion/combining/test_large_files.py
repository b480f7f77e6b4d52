from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusion.combining.fuse import fuse_joined
from fusion.combining.step import Step, Steps
from fusion.combining.strategies import STRATEGIES
from fusion.evaluation.results import fusion_result
from fusion.tables import score_file
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable, StoredScores, read_scores, write_scores
from twostream.cli import cli
from twostream_base.errors import InputError
from twostream_base.tensor_file import write_tensor_file

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


@pytest.fixture
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are large, and a slice is of seven videos of `spatial`, five of `motion`."""
    monkeypatch.setattr(score_file, "LARGE_BYTES", 0)
    monkeypatch.setattr(score_file, "SLICE_BYTES", 7 * 3 * CLASSES * 4)


CHOICES = [
    (Steps(streams=step("weighted", weights=[2, 1])), None),
    (Steps(segments=step("variance"), streams=step("max")), "probs"),
    (Steps(crops=step("max"), segments=step("entropy"), streams=step("rank")), None),
]


@pytest.mark.parametrize(("steps", "combine"), CHOICES)
def test_slices_of_stored_scores_give_the_same_bits(
    files: dict[str, Path], request: pytest.FixtureRequest, steps: Steps, combine: str | None
) -> None:
    whole = fuse_joined(join(files), replace(steps, combine=combine))
    request.getfixturevalue("_small_slices")
    joined = join(files)
    assert all(isinstance(table.scores, StoredScores) for table in joined.tables.values())
    fusion = fuse_joined(joined, replace(steps, combine=combine))
    np.testing.assert_array_equal(fusion.table.scores, whole.table.scores, strict=True)
    assert fusion.table.metadata == whole.table.metadata
    assert fusion.warnings == whole.warnings
    names = {key: [path] for key, path in files.items()}
    assert fusion_result(fusion, files=names) == fusion_result(whole, files=names)


@pytest.mark.usefixtures("_small_slices")
def test_a_missing_video_a_nan_and_damage_are_named(
    files: dict[str, Path], make_table: Make
) -> None:
    path = files["motion"]
    write_scores(path, make_table(np.zeros((2, 6)), class_names=list("abcdef")))
    with pytest.raises(InputError, match="the videos do not join"):
        join(files)
    table = read_scores(files["spatial"])
    data, nan = files["spatial"].read_bytes(), np.float32(np.nan).tobytes()
    before = hashlib.sha256(table.scores.tobytes()).hexdigest().encode()
    after = hashlib.sha256(table.scores.tobytes()[:-4] + nan).hexdigest().encode()
    files["spatial"].write_bytes(data[:-4] + nan)
    with pytest.raises(InputError, match="`scores` does not match its checksum"):
        read_scores(files["spatial"], in_memory=False)
    files["spatial"].write_bytes(data[:-4].replace(before, after) + nan)
    with pytest.raises(InputError, match="NaN or infinite, for class/v52"):
        read_scores(files["spatial"], in_memory=False)


def fuse_command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["fuse", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("options", [[], ["--calibrate", "crossfit"], ["--learn", "stacking"]])
def test_the_command_takes_large_files_from_disk(
    tmp_path: Path, files: dict[str, Path], request: pytest.FixtureRequest, options: list[str]
) -> None:
    options = [*map(str, files.values()), "--groups", "video", "--json", *options]
    in_memory = fuse_command(*options, "--out", tmp_path / "memory")
    request.getfixturevalue("_small_slices")
    request.getfixturevalue("monkeypatch").delattr(StoredScores, "__array__")  # reads all
    from_disk = fuse_command(*options, "--out", tmp_path / "disk")
    assert from_disk.stdout == in_memory.stdout
    assert (tmp_path / "disk").read_bytes() == (tmp_path / "memory").read_bytes()


def test_a_large_file_whose_scores_are_a_list_or_without_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_file, "LARGE_BYTES", 0)
    path, labels = tmp_path / "s.safetensors", np.zeros(1, np.int64)
    header = {"names": ["v"], "class_names": ["c"], "kind": "logits", "about": {}}
    for tensors, fact in (
        ({"scores": np.zeros(1, np.float32), "labels": labels}, r"scores are \(1,\)"),
        ({"scores": np.zeros((1, 1, 1, 1), np.float32)}, "no `labels`"),
    ):
        write_tensor_file(path, score_file.SCORE_FILE, header, tensors)
        with pytest.raises(InputError, match=rf"s\.safetensors: .*{fact}"):
            read_scores(path, in_memory=False)
