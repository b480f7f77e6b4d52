from __future__ import annotations

import numpy as np
import pytest

from fusion.evaluation.comparison import compare
from fusion.evaluation.forms import forms_lines, weigh_forms, worth_line

LABELS = np.arange(200) % 2


def answers(right: int) -> np.ndarray:
    """The first `right` of 200 videos are right."""
    return np.where(np.arange(200) < right, LABELS, 1 - LABELS)


def cost(milliseconds: float) -> dict[str, float]:
    return {"multiply_adds": 2e9, "flow_pairs": 30, "milliseconds": milliseconds}


RIGHT = {"rgb": 100, "joint": 191, "late": 189, "best": 192}
COMPARED = compare({name: answers(right) for name, right in RIGHT.items()}, LABELS)


@pytest.mark.parametrize(
    ("costs", "order", "worth"),
    [
        ({"rgb": 1, "joint": 9, "late": 5, "best": 20}, "rgb late joint best", "late"),
        ({"rgb": 1, "joint": 4, "late": 5, "best": 20}, "rgb joint late best", "joint"),
        ({"rgb": 1, "best": 20}, "rgb best joint late", "best"),  # the others: who knows
        ({"rgb": 1, "joint": 5, "late": 5, "best": 5}, "rgb best joint late", "best"),
        ({"rgb": 1, "late": 50, "joint": 52, "best": 56}, "rgb late joint best", "joint"),
        ({"rgb": 1}, "rgb best joint late", None),
    ],
)
def test_the_cheapest_that_none_beats(costs: dict[str, int], order: str, worth: str) -> None:
    weighed = weigh_forms(COMPARED, {name: cost(ms) for name, ms in costs.items()})
    assert [form["name"] for form in weighed["forms"]] == order.split()
    assert weighed["worth"] == worth
    beaten = {form["name"]: form["beaten_by"] for form in weighed["forms"]}
    assert beaten == {"rgb": ["joint", "late", "best"], "joint": [], "late": [], "best": []}


def test_the_table() -> None:
    weighed = weigh_forms(COMPARED, {"rgb": cost(1.26), "late": cost(5)})
    facts = {"fitted_on": {"late": "val"}, "warnings": ["protocols differ"]}
    lines = forms_lines(COMPARED | weighed | facts)
    assert lines[0].startswith("200 videos; ")
    assert lines[2].split("   ")[0].strip() == "form"
    assert [part.strip() for part in lines[4].split("   ") if part.strip()] == [
        "late", "189/200  94.50 % [90.42, 96.90]", "2.00 G", "30", "5.0", "-",
    ]  # fmt: skip
    assert lines[5].split()[0] == "best"
    assert lines[5].split()[-4:] == ["-"] * 4
    assert "McNemar" in lines[8]
    assert "all 6 pairs" in lines[8]
    assert lines[9:] == ["late: fitted on val", worth_line(weighed), "warning: protocols differ"]
    assert "late" in worth_line(weighed)
    assert "best is right in 3 more of 200" in worth_line(weighed)
