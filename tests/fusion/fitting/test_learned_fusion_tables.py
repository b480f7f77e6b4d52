from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fusion.fitting.learned_fusion import LEARNERS, class_weights, learned_fusion
from fusion.metrics import top_k_correct
from fusion.tables.score_file import ScoreTable, check_table
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


def streams(make_table: Make, prefix: str, seed: int, order: list[int]) -> dict[str, ScoreTable]:
    """Two streams of 400 videos, classes in `order`; each stream knows two of four classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=400)
    names = [f"{prefix}{row}" for row in range(400)]
    tables = {}
    for stream, knows in (("a", [1, 1, 0, 0]), ("b", [0, 0, 1, 1])):
        scores = rng.normal(size=(400, 4)) + 2 * np.eye(4)[labels] * knows
        tables[stream] = make_table(
            scores[:, order],
            names=names,
            labels=[order.index(label) for label in labels],
            class_names=[f"c{label}" for label in order],
        )
    return tables


@pytest.mark.parametrize("name", LEARNERS)
def test_in_folds_and_on_validation_videos_in_another_class_order(
    make_table: Make, name: str
) -> None:
    tables = streams(make_table, "t", 0, [0, 1, 2, 3])
    plain = sum(table.scores[:, 0, 0] for table in tables.values())
    count = top_k_correct(np.asarray(plain), tables["a"].labels, 1)
    val = streams(make_table, "v", 1, [2, 0, 3, 1])
    for where, given in (("crossfit", {"folds": np.arange(400) % 4}), ("val", {"others": val})):
        fusion = learned_fusion(tables, LEARNERS[name], name=name, **given)
        check_table(fusion.table, where="fused")
        assert fusion.table.kind == "probs"
        assert top_k_correct(fusion.table.scores[:, 0, 0], tables["a"].labels, 1) > count
        assert fusion.table.about["streams"] == {"strategy": name, "learned_on": where}


def test_what_cannot_be_learnt_from(make_table: Make) -> None:
    tables = streams(make_table, "t", 0, [0, 1, 2, 3])
    val = streams(make_table, "v", 1, [0, 1, 2, 3])
    with pytest.raises(InputError, match="needs two inputs"):
        learned_fusion({"a": tables["a"]}, class_weights, name="x", others=val)
    with pytest.raises(InputError, match="no validation scores of b to learn from"):
        learned_fusion(tables, class_weights, name="x", others={"a": val["a"]})
    with pytest.raises(InputError, match="are among those that are fused"):
        learned_fusion(tables, class_weights, name="x", others=tables)
