from __future__ import annotations

from pathlib import Path

import pytest

from fusion.combining.confidence import VARIANCE_FORMS
from fusion.combining.step import Step
from fusion.combining.step_options import StepOptions, chosen_steps
from fusion.combining.strategies import maximum, mean, topk, variance, weighted
from twostream_base.errors import InputError

KEYS = ["spatial", "motion"]


def chosen(**options: object) -> dict[str, Step]:
    return chosen_steps(StepOptions(**options), keys=KEYS, class_names=["a", "b"])  # type: ignore[arg-type]


def test_names_become_functions_with_their_options() -> None:
    steps = chosen(segments="max", strategy="variance", crops="topk")
    assert list(steps) == ["epochs", "crops", "segments", "streams"]
    assert [step.strategy for step in steps.values()] == [mean, topk, maximum, variance]
    assert steps["segments"] == Step("max", maximum)
    assert steps["streams"].options == VARIANCE_FORMS["normalised"]
    legacy = chosen(segments="variance", variance="legacy")
    assert legacy["segments"].options == VARIANCE_FORMS["legacy"]


def test_options_of_the_strategies_go_where_they_fit() -> None:
    given = ("k=2", "top=5", "normalise=softmax")
    steps = chosen(segments="topk", strategy="variance", variance="legacy", strategy_option=given)
    assert steps["segments"].options == {"k": 2}
    expected = {"on": "scores", "top": 5, "normalise": "softmax", "combine": "scores"}
    assert steps["streams"].options == expected


def test_weights_follow_the_order_of_the_inputs(tmp_path: Path) -> None:
    steps = chosen(strategy="weighted", weights="motion=1, spatial=2.5", segments="weighted",
                   segment_weights="1,2,1")  # fmt: skip
    assert steps["streams"] == Step("weighted", weighted, {"weights": [2.5, 1.0]})
    assert steps["segments"].options == {"weights": [1.0, 2.0, 1.0]}
    path = tmp_path / "w.csv"
    path.write_text("class,motion,spatial\nb,1,2\na,3,4\n")
    by_class = chosen(strategy="weighted", class_weights=path)
    assert by_class["streams"].options == {"weights": [[4, 2], [3, 1]]}
    with pytest.raises(InputError, match="both say how streams weigh; give one"):
        chosen(strategy="weighted", class_weights=path, weights="spatial=1,motion=1")


def test_a_strategy_that_takes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open_strategies.py").write_text("def anything(scores, **options): ...\n")
    monkeypatch.chdir(tmp_path)
    steps = chosen(segments="topk", strategy="open_strategies:anything", strategy_option=("k=2",))
    assert steps["streams"].options == steps["segments"].options == {"k": 2}


def test_a_strategy_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_strategies.py").write_text(
        "def power_mean(scores, *, power, title=''):\n    return scores.mean(axis=-2)\n"
    )
    monkeypatch.chdir(tmp_path)
    own = "own_strategies:power_mean"
    steps = chosen(strategy=own, strategy_option=("power=2", "title=a=b"))
    assert steps["streams"].name == own
    assert steps["streams"].options == {"power": 2, "title": "a=b"}
    assert steps["segments"] == Step("mean", mean)
    with pytest.raises(InputError, match=r"--strategy-option root does nothing: .* be called with"):
        chosen(strategy=own, strategy_option=("root=2",))
    with pytest.raises(InputError, match=r"cannot be called with \(scores\): .*'power'"):
        chosen(strategy=own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "weighted"}, "`weighted` needs --weights"),
        ({"segments": "weighted"}, "`weighted` needs --segment-weights"),
        ({"weights": "spatial=1,motion=1"}, "--weights does nothing for mean; it needs"),
        ({"segment_weights": "1,1"}, "--segment-weights does nothing"),
        ({"variance": "legacy", "strategy": "max"}, "--variance does nothing for mean and max"),
        ({"strategy_option": ["a=1"]}, "--strategy-option a does nothing: mean cannot be called"),
        ({"strategy_option": ["kind=probs"], "strategy": "entropy"}, "kind does nothing"),
        ({"crops": "weighted"}, "crops cannot be weighted"),
        ({"strategy": "weighted", "weights": "spatial=1"},
         "names spatial; the inputs are spatial, motion: give each one a weight, as spatial=1,"),
        ({"strategy": "weighted", "weights": "rgb=1,motion=1"}, "names rgb, motion; the inputs"),
        ({"strategy": "weighted", "weights": "spatial=1,spatial=2"}, "each key once"),
        ({"strategy": "weighted", "weights": "2,1"}, "expected key=value"),
        ({"strategy": "weighted", "weights": "spatial=a,motion=1"}, "'a' is not a number"),
        ({"strategy": "absent_module:f"}, "cannot load 'absent_module:f'"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        chosen(**options)
