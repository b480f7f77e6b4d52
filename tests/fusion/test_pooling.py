from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion.confidence import VARIANCE_FORMS, variance
from fusion.exchange_cli import POOLS as POOLS_SHOWN
from fusion.mapped_scores import map_scores
from fusion.pooling import PART_BYTES, POOLS, pool_file, pool_parts
from fusion.score_file import ScoreTable, read_scores, write_scores
from twostream.errors import InputError

Make = Callable[..., ScoreTable]
REFERENCES = {
    "mean": lambda scores: scores.mean(axis=1),
    "max": lambda scores: scores.max(axis=1),
    "variance": lambda scores: variance(scores, **VARIANCE_FORMS["legacy"]),
}


def test_the_names_at_the_command_line() -> None:
    assert tuple(POOLS) == POOLS_SHOWN


@pytest.mark.parametrize("how", POOLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", [(7, 5, 1, 4), (3, 2, 3, 6), (40, 25, 1, 2000)])
def test_pools_are_those_of_the_whole(
    tmp_path: Path, make_table: Make, how: str, dtype: type, shape: tuple[int, ...]
) -> None:
    scores = np.random.default_rng(0).normal(3, 5, shape).astype(dtype)
    table = make_table(scores)
    table = ScoreTable(table.names, table.class_names, scores, table.labels, "logits", {"a": 1})
    path = tmp_path / "a.safetensors"
    write_scores(path, table)
    pool_file(tmp_path / "pooled", map_scores(path), how)
    pooled = read_scores(tmp_path / "pooled")
    expected = REFERENCES[how](scores.astype(np.float64).mean(axis=2))
    np.testing.assert_allclose(pooled.scores[:, 0, 0], expected, rtol=2e-4, atol=1e-4)
    assert pooled.names == table.names
    assert pooled.about == {"a": 1, "segments": {"strategy": how}}


@pytest.mark.parametrize("offset", [0, 30, 1e4])
def test_variance_far_from_zero(offset: float) -> None:
    scores = np.random.default_rng(0).normal(offset, 1, size=(5, 3, 200)).astype(np.float32)
    expected = REFERENCES["variance"](scores.astype(np.float64))
    np.testing.assert_allclose(POOLS["variance"](scores), expected, rtol=1e-4, atol=1e-3)


def test_large_files_come_in_several_parts(tmp_path: Path, make_table: Make) -> None:
    scores = np.random.default_rng(0).normal(size=(9, 2, 1, PART_BYTES // 16)).astype(np.float32)
    write_scores(tmp_path / "a", make_table(scores))
    parts = list(pool_parts(map_scores(tmp_path / "a"), POOLS["max"]))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), scores[:, :, 0].max(axis=1))


def test_probabilities_are_pooled_by_their_mean_alone(tmp_path: Path, make_table: Make) -> None:
    write_scores(tmp_path / "a", make_table([[0.5, 0.5]], kind="probs"))
    pool_file(tmp_path / "b", map_scores(tmp_path / "a"), "mean")
    with pytest.raises(InputError, match="probabilities pooled by max do not sum to 1"):
        pool_file(tmp_path / "b", map_scores(tmp_path / "a"), "max")


def test_damage_and_nan_are_named(tmp_path: Path, make_table: Make) -> None:
    path = tmp_path / "a"
    write_scores(path, make_table(np.ones((2, 3, 4))))
    data = bytearray(path.read_bytes())
    data[-2] ^= 64
    path.write_bytes(data)
    with pytest.raises(InputError, match="a: `scores` does not fit its checksum"):
        map_scores(path)
