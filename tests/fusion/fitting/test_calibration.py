from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fusion.combining.probabilities import log_softmax, softmax
from fusion.fitting.calibration import (
    CALIBRATIONS,
    cross_fitted,
    fit_temperature,
    temperature,
    vector,
)
from twostream_base.errors import InputError


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
    scalings = cross_fitted(logits, labels, folds, fit=fit)
    spoilt = np.where((folds == 1)[:, None], 1e3 * logits[::-1], logits)
    again = cross_fitted(spoilt, np.where(folds == 1, 0, labels), folds, fit=fit)
    np.testing.assert_array_equal(again[1].factor, scalings[1].factor)
    assert not np.allclose(again[0].factor, scalings[0].factor)
    np.testing.assert_allclose(scalings[2](logits[5]), scalings[2](logits)[5])


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(InputError, match="no labelled videos"):
        cross_fitted(np.zeros((2, 3)), np.array([-1, -1]), np.array([0, 1]))
