from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from fusion.feature_file import (
    FeatureTable,
    read_features,
    write_features,
    write_features_in_parts,
)
from fusion.score_file import read_head, read_scores
from twostream.errors import InputError

FEATURES = np.arange(4 * 3 * 5, dtype=np.float16).reshape(4, 3, 5)
TABLE = FeatureTable(
    names=("a/ä", "b", "c", "d"),
    class_names=("x", "y"),
    features=FEATURES,
    labels=np.array([0, 1, -1, 0]),
    about={"stream": "motion", "epoch": 3},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "features"
    write_features(path, TABLE)
    read = read_features(path)
    assert (read.names, read.class_names) == (TABLE.names, TABLE.class_names)
    assert read.about == TABLE.about
    assert (read.features.dtype, read.labels.dtype) == (np.float16, np.int64)
    np.testing.assert_array_equal(read.features, FEATURES)
    np.testing.assert_array_equal(read.labels, TABLE.labels)
    with safe_open(path, framework="np") as file:
        assert sorted(file.keys()) == ["features", "labels"]
    head = read_head(path, tensor="features")
    assert (head["kind"], head["shape"]) == ("features", (4, 3, 5))


def test_parts_give_the_bytes_of_the_whole(tmp_path: Path) -> None:
    write_features(tmp_path / "at-once", TABLE)
    whole = replace(TABLE, features=np.broadcast_to(np.float16(0), FEATURES.shape))
    write_features_in_parts(tmp_path / "parts", [FEATURES[:1], FEATURES[1:]], whole=whole)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "at-once").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"features": FEATURES.astype("f4")}, "features are float32 .* must be float16"),
        ({"features": FEATURES[:3]}, r"\(3, 3, 5\); they must be float16 \(4 videos"),
        ({"labels": np.zeros(3, np.int64)}, r"labels are int64 \(3,\)"),
        ({"names": ("a", "b", "b", "c")}, "video names must differ; more than once: b"),
        ({"features": np.where(FEATURES == 50, np.inf, FEATURES)}, "NaN, infinite .* for d$"),
    ],
)
def test_unsound_tables_are_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_features(tmp_path / "features", replace(TABLE, **wrong))
    assert not list(tmp_path.iterdir())


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "features"
    write_features(path, TABLE)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="`features` does not fit its checksum"):
        read_features(path)
    path.write_text("a letter")
    with pytest.raises(InputError, match="features: not a safetensors file"):
        read_features(path)


def test_it_is_not_taken_for_a_score_file(tmp_path: Path) -> None:
    write_features(tmp_path / "features", TABLE)
    with pytest.raises(InputError, match="holds features, labels; expected here are labels and sc"):
        read_scores(tmp_path / "features")
