from __future__ import annotations

import numpy as np
import pytest

from fusion.fitting.cascade import (
    at_threshold,
    cascade_curve,
    choose_threshold,
    first_lead,
)
from twostream_base.errors import InputError

LEADS = np.array([0.9, 0.1, 0.5, 0.5, 0.8])
ALONE = np.array([True, False, False, True, True])
FUSED = np.array([True, True, True, True, False])


def test_the_curve_written_out() -> None:
    curve = cascade_curve(LEADS, ALONE, FUSED)
    assert curve.fused.tolist() == [0, 1, 3, 4, 5]
    assert curve.correct.tolist() == [3, 4, 5, 4, 4]
    np.testing.assert_allclose(curve.thresholds, [0, 0.1, 0.5, 0.8, 0.9])


def test_the_curve_is_that_of_every_threshold_tried() -> None:
    rng = np.random.default_rng(0)
    leads = rng.random(200).round(2)
    alone, fused = rng.random((2, 200)) < [[0.6], [0.8]]
    curve = cascade_curve(leads, alone, fused)
    for threshold, needs, correct in zip(*curve, strict=True):
        found = at_threshold(threshold, leads, alone, fused)
        assert found["flow"]["correct"] == needs == (leads < threshold).sum()
        assert found["top1"]["correct"] == correct
    assert curve.correct[-1] == fused.sum()


def test_the_least_flow_that_costs_no_more_than_allowed() -> None:
    curve = cascade_curve(LEADS, ALONE, FUSED)
    assert choose_threshold(curve) == pytest.approx(0.1)  # 4 right, as when all are fused
    assert choose_threshold(curve, tolerance=0.2) == 0
    assert choose_threshold(cascade_curve(LEADS, ALONE, ALONE)) == 0


def test_leads_are_differences_of_probabilities() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])
    np.testing.assert_allclose(first_lead(probs, "probs"), [0.5, 0])
    np.testing.assert_allclose(first_lead(np.log(probs) + 5, "logits"), [0.5, 0], atol=1e-12)


def test_no_videos() -> None:
    with pytest.raises(InputError, match="no labelled videos"):
        at_threshold(0.5, LEADS[:0], ALONE[:0], FUSED[:0])
