from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from fusion.reporting.charts import (
    class_chart,
    gain_chart,
    interval_chart,
    reliability_chart,
    segment_chart,
    training_chart,
    weight_chart,
)

ONE = {"correct": 3, "of": 4, "percent": 75.0, "interval": [30.06, 95.44]}
SYSTEM = {"name": "a <b>", **ONE}
FACTS = {"ece": 0.25, "bins": [{"videos": 4, "confidence": 0.5, "accuracy": 0.75}]}
CHARTS = {
    "interval": interval_chart([SYSTEM], title="All"),
    "weights": weight_chart([0, 1], [50.0, 75.0], points=[("best", 0.5, 75.0)], stream="rgb"),
    "reliability": reliability_chart("rgb", FACTS, {"ece": None, "bins": []}),
    "gains": gain_chart([("a", 3, "x"), ("b", -1, "y")], title="Gains", unit="videos"),
    "segments": segment_chart([{"segment": 1, "alone": ONE, "without": None}], stream="rgb"),
    "classes": class_chart([("x", 3, {"a": 0.0, "b": 100.0})], results=["a", "b"], title="Classes"),
    "training": training_chart({"train": [(0.0, 2.5)]}, title="Loss", unit="loss"),
}
TOLD = {
    "interval": "a <b>: 75.00 % (3 of 4; 30.06 to 95.44)",
    "weights": "best 0.500: 75.00 %",
    "reliability": "as it is: calibration error 25.0 %",
    "gains": "a +3; b -1",
    "segments": "segment 1: alone 75.00 %",
    "classes": "x 100 %",
    "training": "train: from 2.5 to 2.5",
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts_say_what_they_show(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name])
    assert TOLD[name] in root.get("aria-label", "")


@pytest.mark.parametrize("name", CHARTS)
def test_every_place_lies_inside(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name])
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for mark in root.iter():
        for across in ("x", "x1", "x2", "cx"):
            assert -1 <= float(mark.get(across, 0)) <= width
        for down in ("y", "y1", "y2", "cy"):
            assert -1 <= float(mark.get(down, 0)) <= height
        for x, y in re.findall(r"([-\d.]+),([-\d.]+)", mark.get("points", "")):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height


def test_axes_have_units() -> None:
    units = {"interval": "top-1, %", "reliability": "confidence, %", "gains": "videos"}
    for name, unit in units.items():
        texts = [text.text for text in ElementTree.fromstring(CHARTS[name]).iter("text")]
        assert unit in texts


def test_the_forest_plot_has_ticks_and_a_line_through_the_reference() -> None:
    systems = [
        {"name": name, "correct": 8, "of": 10, "percent": percent, "interval": [low, percent + 1]}
        for name, percent, low in (("a", 79.7, 78.0), ("b", 90.3, 89.0))
    ]
    root = ElementTree.fromstring(interval_chart(systems, title="All", reference="a"))
    numbers = [text.text for text in root.iter("text") if (text.text or "").isdigit()]
    assert numbers == ["78", "80", "82", "84", "86", "88", "90"]
    assert [line.get("class") for line in root.iter("line")].count("ideal") == 1


def test_training_charts_can_be_of_equal_size() -> None:
    heights = [
        training_chart(series, title="t", unit="u", last=9, names=2).partition('viewBox="')[2][:20]
        for series in ({"train": [(0.0, 1.0)]}, {"train": [(9.0, 1.0)], "val": [(0.0, 2.0)]})
    ]
    assert heights[0] == heights[1]
