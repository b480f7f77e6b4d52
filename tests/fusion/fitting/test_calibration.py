from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from fusion.combining.fuse import fuse, fuse_videos
from fusion.combining.probabilities import log_softmax, softmax
from fusion.combining.step import Steps, make_step
from fusion.fitting.fitted_fusion import (
    CALIBRATIONS,
    calibrate,
    cross_fit,
    fit_temperature,
    reliability,
    temperature,
    vector,
)
from fusion.tables.groups import grouped_folds, video_groups
from fusion.tables.join import join
from fusion.tables.score_file import ScoreTable
from twostream_base.errors import InputError

Make = Callable[..., ScoreTable]


def loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def drawn(videos: int, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is true: each label is drawn from it."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(videos, classes))
    labels = (softmax(logits).cumsum(axis=1) > rng.random((videos, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("scale", [1e-6, 0.2, 1.0, 30.0, 1e6])
def test_the_temperature_that_was_put_in_comes_out(scale: float) -> None:
    logits, labels = drawn(40_000)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale, rel=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_no_temperature_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = 5 * rng.normal(size=(50, 4)) ** 3, rng.integers(4, size=50)
    logits[np.arange(50), labels] += 4
    doubt = 1 / 52

    def smoothed(log: float) -> float:
        scaled = logits / np.exp(log)
        return (1 - doubt) * loss(scaled, labels) - doubt * log_softmax(scaled).mean()

    slow = minimize_scalar(smoothed, bounds=(-9, 9), method="bounded")
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(slow.x), rel=1e-3)


def test_all_right_or_all_wrong() -> None:
    logits = np.eye(3) * 4
    right, wrong = np.arange(3), np.array([1, 2, 0])
    # 4 / T is the logarithm of how often the true class, in doubt once in 5, beats another one
    assert fit_temperature(logits, right) == pytest.approx(4 / np.log((1 - 2 / 15) / (1 / 15)))
    assert fit_temperature(logits, wrong) == pytest.approx(1000 * logits.std(), rel=0.01)
    assert np.isfinite(fit_temperature(np.zeros((3, 3)), right))


def test_vector_scaling_finds_loud_classes() -> None:
    logits, labels = drawn(20_000)
    loud, offset = np.array([1, 2, 1, 0.5, 1]), np.array([0, 3, 0, -1, 0])
    scaling = vector(logits * loud + offset, labels, strength=0.01)
    np.testing.assert_allclose(scaling.factor * loud, 1, rtol=0.06)
    moved = scaling.offset + scaling.factor * offset
    np.testing.assert_allclose(moved - moved.mean(), 0, atol=0.06)


def test_vector_scaling_of_few_videos_stays_at_the_temperature() -> None:
    logits, labels = drawn(10)
    expected = temperature(logits, labels).factor[0]
    np.testing.assert_allclose(vector(logits, labels).factor, expected, rtol=0.15)


@pytest.mark.parametrize("fit", CALIBRATIONS.values())
def test_a_fold_is_scaled_by_the_others_alone(fit) -> None:  # noqa: ANN001
    logits, labels = drawn(60)
    folds = np.arange(60) % 3
    labels[:6] = -1
    scalings = cross_fit(logits, labels, folds, fit=fit)
    spoilt = np.where((folds == 1)[:, None], 1e3 * logits[::-1], logits)
    again = cross_fit(spoilt, np.where(folds == 1, 0, labels), folds, fit=fit)
    np.testing.assert_array_equal(again[1].factor, scalings[1].factor)
    assert not np.allclose(again[0].factor, scalings[0].factor)
    np.testing.assert_allclose(scalings[2](logits[5]), scalings[2](logits)[5])


def test_nothing_to_calibrate() -> None:
    with pytest.raises(InputError, match="no labelled videos"):
        cross_fit(np.zeros((2, 3)), np.array([-1, -1]), np.array([0, 1]))


def test_bins_written_out() -> None:
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.25, 0.75], [0.5, 0.5]])
    found = reliability(probs, np.array([0, 1, 1, 1, -1]), bins=4)
    assert found["bins"] == [
        {"from": 0.0, "to": 0.25, "videos": 0, "confidence": None, "accuracy": None},
        {"from": 0.25, "to": 0.5, "videos": 0, "confidence": None, "accuracy": None},
        {"from": 0.5, "to": 0.75, "videos": 2, "confidence": pytest.approx(0.675), "accuracy": 1},
        {"from": 0.75, "to": 1.0, "videos": 2, "confidence": pytest.approx(0.85), "accuracy": 0.5},
    ]
    assert found["videos"] == 4
    assert found["ece"] == pytest.approx((2 * 0.325 + 2 * 0.35) / 4)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.2, 0.6, 0.75]).mean())
    assert found["confidence"] == pytest.approx(0.7625)


def test_probabilities_that_come_true_have_no_error() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([0.3] * 6, size=30_000)
    labels = (probs.cumsum(axis=1) > rng.random((len(probs), 1))).argmax(axis=1)
    assert reliability(probs, labels)["ece"] < 0.012
    assert (
        reliability(np.sqrt(probs) / np.sqrt(probs).sum(axis=1, keepdims=True), labels)["ece"] > 0.1
    )


def test_without_labels_nothing_is_known() -> None:
    assert reliability(np.eye(2), np.array([-1, -1])) == {
        "videos": 0, "ece": None, "nll": None, "confidence": None, "bins": [],
    }  # fmt: skip


RNG = np.random.default_rng(0)
LABELS = RNG.integers(4, size=60)
VIEWS = RNG.normal(size=(60, 3, 2, 4)) + 2 * np.eye(4)[LABELS][:, None, None]
FOLDS = np.arange(60) % 3


def test_the_scale_of_a_stream_no_longer_matters(make_table: Make) -> None:
    other = VIEWS[::-1].copy()
    quiet = {"a": make_table(VIEWS, labels=LABELS), "b": make_table(other, labels=LABELS)}
    loud = quiet | {"b": make_table(40 * other, labels=LABELS)}
    assert not np.allclose(fuse(quiet).table.scores, fuse(loud).table.scores / 20)
    fused = [
        fuse_videos(calibrate(join(tables), FOLDS).score_videos(), Steps()).scores
        for tables in (quiet, loud)
    ]
    np.testing.assert_allclose(*fused, rtol=1e-4, atol=1e-5)


def test_calibrated_means_are_the_mean_of_calibrated_views(make_table: Make) -> None:
    table = make_table(19 * VIEWS, labels=LABELS, score_type="logit_sum", summed_over=19)
    made = calibrate(join({"a": table}), FOLDS)
    streams = made.score_videos()
    temperatures = np.array(streams.metadata["a"]["calibration"]["temperatures"])
    expected = VIEWS.mean(axis=(1, 2)) / temperatures[FOLDS][:, None]
    np.testing.assert_allclose(streams.scores["a"], expected, rtol=1e-4, atol=1e-5)
    assert streams.score_type == "logits"
    assert streams.metadata["a"]["fitted_on"] == "labels of these videos, in group folds"
    others = {"a": make_table(VIEWS, labels=LABELS, names=[f"other{v}" for v in range(60)])}
    assert "fitted_on" not in calibrate(join({"a": table}), others).score_videos().metadata["a"]
    assert made.after["a"]["nll"] < made.before["a"]["nll"]
    assert made.before["a"]["videos"] == 60


def test_probabilities_are_calibrated_by_their_logarithms(make_table: Make) -> None:
    one_view = VIEWS[:, :1, :1]
    logits = calibrate(join({"a": make_table(one_view, labels=LABELS)}), FOLDS)
    table = make_table(softmax(one_view), labels=LABELS, score_type="probs")
    probs = calibrate(join({"a": table}), FOLDS)
    a, b = (softmax(made.score_videos().scores["a"]) for made in (logits, probs))
    np.testing.assert_allclose(a, b, atol=1e-5)
    as_probs = probs.score_videos(Steps(combine="probs"))
    assert as_probs.score_type == "probs"
    np.testing.assert_allclose(as_probs.scores["a"], b)


def test_calibrated_views_go_through_the_same_steps(make_table: Make) -> None:
    joined = join({"a": make_table(VIEWS, labels=LABELS)})
    made = calibrate(joined, FOLDS)
    factors = np.array([scaling.factor[0] for scaling in made.scalings["a"]])[FOLDS]
    views = np.float64(np.float32(VIEWS)) * factors[:, None, None, None]
    steps = Steps(crops=make_step("mean"), segments=make_step("max"))
    expected = views.mean(axis=2).max(axis=1)
    np.testing.assert_allclose(made.score_videos(steps).scores["a"], expected)


def test_on_validation_videos_whose_classes_are_in_another_order(make_table: Make) -> None:
    tables = {"a": make_table(VIEWS, labels=LABELS)}
    names, order = [f"w{row}" for row in range(60)], [2, 0, 3, 1]
    val = make_table(
        5 * VIEWS[..., order],
        names=names,
        labels=[order.index(label) for label in LABELS],
        class_names=[f"c{label}" for label in order],
    )
    made = calibrate(join(tables), {"a": val})
    straight = calibrate(join(tables), {"a": make_table(5 * VIEWS, names=names, labels=LABELS)})
    np.testing.assert_allclose(made.scalings["a"][0].factor, straight.scalings["a"][0].factor)
    np.testing.assert_array_equal(
        made.joined.tables["a"].scores, straight.joined.tables["a"].scores
    )


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (lambda make: {}, "no validation scores of a"),
        (lambda make: {"a": make(VIEWS, labels=LABELS)}, "are among those that are fused"),
        (
            lambda make: {"a": make(VIEWS[..., :3], names=[f"w{v}" for v in range(60)])},
            "other classes",
        ),
        (
            lambda make: {"a": make(VIEWS[:1], names=["w"], labels=[-1])},
            "no labelled videos to calibrate on",
        ),
    ],
)
def test_validation_scores_that_do_not_fit(
    make_table: Make, others: Callable, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(join({"a": make_table(VIEWS, labels=LABELS)}), others(make_table))


@given(order=st.permutations(range(60)))
@settings(max_examples=5)
def test_the_order_of_the_videos_is_irrelevant(make_table: Make, order: list[int]) -> None:
    def calibrated(rows: list[int]) -> ScoreTable:
        names, labels = [f"v{row}_g{row // 3}" for row in rows], LABELS[rows]
        groups = video_groups(names, r"_(g\d+)", dataset=None)
        table = make_table(VIEWS[rows], names=names, labels=labels)
        return calibrate(join({"a": table}), grouped_folds(groups, labels)).joined.tables["a"]

    straight, moved = calibrated(list(range(60))), calibrated(order)
    np.testing.assert_allclose(moved.scores, straight.scores[order], rtol=1e-4)
