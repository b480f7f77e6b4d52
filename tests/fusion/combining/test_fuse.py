from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.combining.fuse import Fusion, fuse, fuse_epochs
from fusion.combining.probabilities import softmax
from fusion.combining.step import MEAN, Step
from fusion.combining.strategies import STRATEGIES, VARIANCE_FORMS
from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]
RANDOM = np.random.default_rng(0).normal(size=(4, 3, 2, 5)) * 3


def step(name: str, **options: object) -> Step:
    return Step(name, STRATEGIES[name], options)


def fused(fusion: Fusion) -> np.ndarray:
    assert fusion.table.scores.shape[1:3] == (1, 1)
    return fusion.table.scores[:, 0, 0]


def test_crops_then_segments_then_streams(make_table: Make) -> None:
    spatial = make_table([[[[1, 2], [3, 6]], [[8, 0], [0, 0]]]])  # 1 video, 2 segments, 2 crops
    motion = make_table([[[[0, 1]], [[5, 5]]]])  # 2 segments, 1 crop
    result = fuse(
        {"spatial": spatial, "motion": motion},
        segments=step("max"),
        strategy=step("weighted", weights=[3, 1]),
    )
    np.testing.assert_array_equal(result.streams.scores["spatial"], [[4, 4]])
    np.testing.assert_array_equal(result.streams.scores["motion"], [[5, 5]])
    np.testing.assert_array_equal(fused(result), [[4.25, 4.25]])
    assert result.table.score_type == "logits"


def test_sums_of_logits_are_divided_by_their_count(make_table: Make) -> None:
    result = fuse({
        "a": make_table([[19.0, 38.0]], score_type="logit_sum", summed_over=19),
        "b": make_table([[3.0, 0.0]]),
    })  # fmt: skip
    np.testing.assert_allclose(fused(result), [[2, 1]])


def test_probabilities_are_made_of_every_view(make_table: Make) -> None:
    result = fuse({"a": make_table(RANDOM)}, combine="probs")
    expected = softmax(RANDOM.astype(np.float32).astype(np.float64)).mean(axis=(1, 2))
    np.testing.assert_allclose(fused(result), expected, rtol=1e-6)
    assert result.table.score_type == "probs"


def test_variance_of_the_streams_is_that_of_their_means(make_table: Make) -> None:
    rows = [[-1.3063, 1.4182, -0.3061, 0.2], [0.5, -0.25, 1.75, 0.0], [0.1, 0.1, -0.4, 0.9]]
    tables = {f"s{row}": make_table([scores]) for row, scores in enumerate(rows)}
    normalised = fuse(tables, strategy=step("variance"))
    np.testing.assert_allclose(fused(normalised), [[0.1195, 0.3636, 0.3230, 0.1940]], atol=6e-5)
    assert normalised.table.score_type == "probs"
    legacy = fuse(tables, strategy=step("variance", **VARIANCE_FORMS["legacy"]))
    np.testing.assert_allclose(fused(legacy), [[-1.2523, 1.6517, 0.8768, 0.5170]], atol=6e-5)
    assert legacy.table.score_type == "logits"
    segments = fuse({"a": make_table([rows])}, segments=step("variance"))
    np.testing.assert_allclose(fused(segments), fused(normalised), rtol=1e-6)


def test_variance_of_segments_hands_probabilities_to_the_streams(make_table: Make) -> None:
    tables = {"a": make_table(RANDOM), "b": make_table(-RANDOM)}
    result = fuse(tables, segments=step("variance"), strategy=step("max"))
    assert result.table.score_type == "probs"
    np.testing.assert_allclose(fused(result).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_probabilities_sum_to_1_after_every_strategy(make_table: Make, name: str) -> None:
    options = {"weights": [1, 2]} if name == "weighted" else {}
    tables = {"a": make_table(RANDOM), "b": make_table(RANDOM[::-1])}
    result = fuse(tables, strategy=step(name, **options), combine="probs")
    np.testing.assert_allclose(fused(result).sum(axis=1), 1, rtol=1e-6)


def test_legacy_variance_of_flat_probabilities_says_nothing_of_any_class(make_table: Make) -> None:
    flat = make_table([[0.25] * 4], score_type="probs")
    result = fuse({"a": flat, "b": flat}, strategy=step("variance", **VARIANCE_FORMS["legacy"]))
    np.testing.assert_array_equal(fused(result), [[0.25] * 4])


@given(order=st.permutations(range(4)))
def test_the_order_of_the_videos_is_irrelevant(make_table: Make, order: list[int]) -> None:
    names = [f"v{row}" for row in order]
    moved = {"a": make_table(RANDOM), "b": make_table(2 * RANDOM[order], names=names)}
    straight = {"a": make_table(RANDOM), "b": make_table(2 * RANDOM)}
    np.testing.assert_array_equal(fused(fuse(moved)), fused(fuse(straight)))
    first = fuse({"b": moved["b"], "a": moved["a"]})
    assert first.table.names == tuple(names)
    np.testing.assert_allclose(fused(first), fused(fuse(straight))[order], rtol=1e-6)


def test_flat_members_are_counted(make_table: Make) -> None:
    flat = np.zeros((4, 3, 2, 5))
    tables = {"a": make_table(flat), "b": make_table(RANDOM)}
    result = fuse(tables, segments=step("variance"), strategy=step("variance"))
    assert result.warnings == ["a: all members were flat 4 times, and were weighted equally there"]
    assert fuse({"a": tables["a"]}, segments=step("variance")).warnings == result.warnings


def test_crops_may_be_fused_by_any_strategy(make_table: Make) -> None:
    result = fuse({"a": make_table(RANDOM)}, crops=step("max"), segments=step("median"))
    expected = np.median(RANDOM.max(axis=2), axis=1)
    np.testing.assert_allclose(fused(result), expected, rtol=1e-6)
    assert result.table.metadata["crops"] == {"strategy": "max"}
    same = fuse({"a": make_table(RANDOM)}, crops=step("weighted", weights=[1, 1]))
    np.testing.assert_allclose(fused(same), fused(fuse({"a": make_table(RANDOM)})), rtol=1e-6)


def test_one_input_alone_has_its_segments_fused(make_table: Make) -> None:
    table = make_table(RANDOM)
    result = fuse({"a": table}, segments=step("max"))
    np.testing.assert_allclose(fused(result), RANDOM.mean(axis=2).max(axis=1), rtol=1e-6)
    assert result.warnings == []
    assert fuse({"a": table}, strategy=step("max")).warnings == [
        "there is only one input: max had no streams to fuse"
    ]


def test_different_score_types_need_probs(make_table: Make) -> None:
    tables = {"a": make_table(RANDOM), "b": make_table(softmax(RANDOM), score_type="probs")}
    with pytest.raises(InputError, match=r"\(a logits, b probs\); use --combine probs"):
        fuse(tables)
    with pytest.raises(InputError, match=r"probabilities cannot become logits"):
        fuse(tables, combine="logits")
    assert fuse(tables, combine="probs").table.score_type == "probs"


def test_a_custom_strategy_gets_its_options_alone(make_table: Make) -> None:
    def root_mean(scores: np.ndarray, *, power: float) -> np.ndarray:
        return (scores**power).mean(axis=-2) ** (1 / power)

    tables = {"a": make_table([[1.0, 2.0]]), "b": make_table([[7.0, 2.0]])}
    result = fuse(tables, strategy=Step("my:root_mean", root_mean, {"power": 2}))
    np.testing.assert_allclose(fused(result), [[5, 2]])
    assert result.table.metadata["streams"] == {"strategy": "my:root_mean", "power": 2}


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (lambda scores: scores, r"strategy my:f returned \(4, 2, 5\) scores; .* shape \(4, 5\)"),
        (lambda scores: scores[..., 0, :] * np.nan, "it must return finite scores"),
        (lambda scores: -scores[..., 0, :], "my:f made negative scores"),
    ],
)
def test_a_strategy_that_breaks_its_contract(
    make_table: Make, strategy: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    tables = {"a": make_table(RANDOM), "b": make_table(RANDOM)}
    with pytest.raises(InputError, match=message):
        fuse(tables, strategy=Step("my:f", strategy), combine="probs")


def test_the_fused_table_tells_its_origin_and_is_a_score_file(
    make_table: Make, tmp_path: Path
) -> None:
    shared = {"dataset": "toy", "split": 2, "subset": "test"}
    tables = {
        "spatial": make_table(RANDOM, stream="spatial", selected_on="val", **shared),
        "motion": make_table(RANDOM, stream="motion", selected_on="test", **shared),
    }
    write_scores(tmp_path / "fused", fuse(tables, segments=MEAN, strategy=step("max")).table)
    about = read_scores(tmp_path / "fused").metadata
    assert {key: about[key] for key in shared} == shared
    assert about["stream"] == "fusion"
    assert about["selected_on"] == "test"
    assert about["streams"] == {"strategy": "max"}
    assert about["combine"] == "logits"
    assert about["inputs"]["motion"]["stream"] == "motion"
    assert len(about["inputs"]["motion"]["scores_sha256"]) == 64


def test_inputs_that_hold_other_inputs_are_said(make_table: Make) -> None:
    rng = np.random.default_rng(0)
    a, b, c = (make_table(rng.normal(size=(4, 5)), stream=stream) for stream in "abc")
    both = fuse({"a": a, "b": b}).table
    nested = fuse({"both": both, "c": c}).table
    other = fuse({"b": b, "c": c}).table

    def told(**tables: ScoreTable) -> list[str]:
        return [" ".join(line.split()[:7]) for line in fuse(tables).warnings]

    assert told(a=a, both=both) == ["both was fused of the scores of"]
    assert told(nested=nested, b=b) == ["nested was fused of the scores of"]
    assert told(both=both, nested=nested) == ["nested was fused of the scores of"]
    assert told(both=both, other=other) == ["both and other were fused of some"]
    assert told(a=a, b=b, c=c) == told(both=both, c=c) == told(a=a, other=other) == []
    (whole,) = fuse({"a": a, "both": both}).warnings
    assert "scores of a, which so count twice" in whole
    for wrong in ({"x": 3}, [1], {"x": {"inputs": "y"}}, {"x": {"scores_sha256": None}}):
        assert told(a=a, b=make_table(rng.normal(size=(4, 5)), inputs=wrong)) == []


def test_epochs_join_by_name_and_are_fused_view_by_view(make_table: Make) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4, 3, 2, 5)).astype(np.float32)
    names = ["v2", "v0", "v3", "v1"]
    tables = {
        "epoch-001": make_table(19 * first, score_type="logit_sum", summed_over=19, epoch=1),
        "epoch-002": make_table(second[[2, 0, 3, 1]], names=names),
    }
    with pytest.raises(InputError, match="epochs differ in score type or views"):
        fuse_epochs(tables, Step("mean", STRATEGIES["mean"]))
    tables["epoch-001"] = make_table(first, epoch=1)
    fused = fuse_epochs(tables, Step("max", STRATEGIES["max"]))
    np.testing.assert_array_equal(fused.scores, np.maximum(first, second))
    assert fused.metadata["epoch"] == [1, "epoch-002"]
    assert fused.metadata["epochs"] == {"strategy": "max"}
    assert fuse_epochs({"a": tables["epoch-002"]}, Step("max", STRATEGIES["max"])).names[0] == "v2"
    rank = fuse_epochs(tables, Step("rank", STRATEGIES["rank"]))
    assert rank.score_type == "probs"
    np.testing.assert_allclose(rank.scores.sum(axis=-1), 1, rtol=1e-6)
