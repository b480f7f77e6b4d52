from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from twostream.prediction.predict import highest, result_lines, result_row
from twostream.prediction.predict_video import Prediction

NAMES = ("Archery", "Bowling", "Diving")
SECONDS = {"decode": 0.12344, "flow": 1.0, "networks": 0.5, "total": 1.25}


def prediction(**changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "class_names": NAMES,
        "fused": np.array([0.125, 0.625, 0.25]),
        "streams": {"spatial": np.array([0.5, 0.25, 0.25]), "motion": np.array([0.0, 1.0, 0.0])},
        "lead": 0.25,
        "entry": Path("unread"),
        "header": {"counts": {"frames": 24, "flows": 23}, "status": "ok", "reason": ""},
        "seconds": SECONDS,
        "warnings": [],
    }
    return Prediction(**{**values, **changes})


def test_the_highest_come_first_and_ties_keep_the_order_of_the_classes() -> None:
    assert highest(np.array([0.25, 0.5, 0.25]), NAMES, top=2) == [
        {"class": "Bowling", "probability": 0.5},
        {"class": "Archery", "probability": 0.25},
    ]
    assert [row["class"] for row in highest(np.zeros(3), NAMES, top=9)] == list(NAMES)


def test_a_row() -> None:
    assert result_row("a/v.avi", prediction(), top=1) == {
        "video": "a/v.avi",
        "frames": 24,
        "damaged": None,
        "top": [{"class": "Bowling", "probability": 0.625}],
        "streams": {
            "spatial": [{"class": "Archery", "probability": 0.5}],
            "motion": [{"class": "Bowling", "probability": 1.0}],
        },
        "lead": 0.25,
        "seconds": {"decode": 0.1234, "flow": 1.0, "networks": 0.5, "total": 1.25},
        "warnings": [],
    }


def result(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {"videos": rows, "failed": {}, "protocol": "clips19", "cascade": None, **changes}


def test_lines_for_people() -> None:
    header = {"counts": {"frames": 9}, "status": "damaged", "reason": "9 of 24 frames"}
    alone = {"spatial": np.array([0.5, 0.25, 0.25])}
    rows = [
        result_row("a.avi", prediction(), top=2),
        result_row(
            "longer.avi",
            prediction(
                header=header,
                streams=alone,
                seconds={**SECONDS, "flow": 0.0},
                warnings=["one input alone"],
            ),
            top=2,
        ),
    ]
    lines = result_lines(result(rows, failed={"b.avi": "the file is empty"}, cascade=0.2))
    assert lines == [
        "a.avi        Bowling 62.5%   Diving 25.0%",
        "longer.avi   Bowling 62.5%   Diving 25.0%",
        "warning: longer.avi: 9 of 24 frames",
        "warning: longer.avi: one input alone",
        "b.avi: the file is empty",
        "2 predicted, clips19; mean seconds: decode 0.12, flow 0.50, networks 0.50, total 1.25",
        "all streams were asked about 1 of 2 videos",
    ]


def test_nothing_could_be_predicted() -> None:
    assert result_lines(result([], failed={"b.avi": "the file is empty"})) == [
        "b.avi: the file is empty"
    ]
