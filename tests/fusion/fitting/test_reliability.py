from __future__ import annotations

import numpy as np
import pytest

from fusion.fitting.calibration import reliability


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
