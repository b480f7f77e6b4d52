from __future__ import annotations

from pathlib import Path

import pytest

from fusion.combining.step import Step, StepOptions, Steps, find_steps, read_class_weights
from fusion.combining.strategies import VARIANCE_FORMS, maximum, mean, topk, variance, weighted
from twostream_base.errors import InputError
from twostream_base.plugins import TrustedName

KEYS = ["spatial", "motion"]


def steps_of(**options: object) -> Steps:
    return find_steps(StepOptions(**options), streams=KEYS, class_names=["a", "b"])  # type: ignore[arg-type]


def test_names_become_functions_with_their_options() -> None:
    steps = steps_of(segments="max", strategy="variance", crops="topk")
    strategies = (steps.epochs, steps.crops, steps.segments, steps.streams)
    assert [step.strategy for step in strategies] == [mean, topk, maximum, variance]
    assert steps.segments == Step("max", maximum)
    assert steps.streams.options == VARIANCE_FORMS["normalised"]
    legacy = steps_of(segments="variance", variance="legacy")
    assert legacy.segments.options == VARIANCE_FORMS["legacy"]


def test_options_of_the_strategies_go_where_they_fit() -> None:
    given = ("k=2", "top=5", "normalise=softmax")
    steps = steps_of(segments="topk", strategy="variance", variance="legacy", strategy_option=given)
    assert steps.segments.options == {"k": 2}
    expected = {"on": "scores", "top": 5, "normalise": "softmax", "combine": "scores"}
    assert steps.streams.options == expected


def test_weights_follow_the_order_of_the_inputs(tmp_path: Path) -> None:
    steps = steps_of(strategy="weighted", weights="motion=1, spatial=2.5", segments="weighted",
                   segment_weights="1,2,1")  # fmt: skip
    assert steps.streams == Step("weighted", weighted, {"weights": [2.5, 1.0]})
    assert steps.segments.options == {"weights": [1.0, 2.0, 1.0]}
    path = tmp_path / "w.csv"
    path.write_text("class,motion,spatial\nb,1,2\na,3,4\n")
    by_class = steps_of(strategy="weighted", class_weights=path)
    assert by_class.streams.options == {"weights": [[4, 2], [3, 1]]}
    with pytest.raises(InputError, match="--weights and --class-weights"):
        steps_of(strategy="weighted", class_weights=path, weights="spatial=1,motion=1")


def test_a_strategy_that_takes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open_strategies.py").write_text("def anything(scores, **options): ...\n")
    monkeypatch.chdir(tmp_path)
    typed = TrustedName("open_strategies:anything")
    steps = steps_of(segments="topk", strategy=typed, strategy_option=("k=2",))
    assert steps.streams.options == steps.segments.options == {"k": 2}


def test_a_strategy_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_strategies.py").write_text(
        "def power_mean(scores, *, power, title=''):\n    return scores.mean(axis=-2)\n"
    )
    monkeypatch.chdir(tmp_path)
    own = TrustedName("own_strategies:power_mean")
    steps = steps_of(strategy=own, strategy_option=("power=2", "title=a=b"))
    assert steps.streams.name == own
    assert steps.streams.options == {"power": 2, "title": "a=b"}
    assert steps.segments == Step("mean", mean)
    with pytest.raises(InputError, match=r"--strategy-option root has no effect: mean, own_"):
        steps_of(strategy=own, strategy_option=("root=2",))
    with pytest.raises(InputError, match=r"cannot be called with \(scores\): .*'power'"):
        steps_of(strategy=own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "weighted"}, "`weighted` needs --weights"),
        ({"segments": "weighted"}, "`weighted` needs --segment-weights"),
        ({"weights": "spatial=1,motion=1"}, "--weights has no effect on mean; it needs --strategy"),
        ({"segment_weights": "1,1"}, "--segment-weights has no effect"),
        ({"variance": "legacy", "strategy": "max"}, "--variance has no effect on mean and max"),
        ({"strategy_option": ["a=1"]}, "--strategy-option a has no effect: mean"),
        ({"strategy_option": ["score_type=probs"], "strategy": "entropy"}, "score_type has no"),
        ({"crops": "weighted"}, "crops cannot be weighted"),
        ({"strategy": "weighted", "weights": "spatial=1"},
         "names spatial; the inputs are spatial, motion: give each one a weight, as spatial=1,"),
        ({"strategy": "weighted", "weights": "rgb=1,motion=1"}, "names rgb, motion; the inputs"),
        ({"strategy": "weighted", "weights": "spatial=1,spatial=2"}, "each key once"),
        ({"strategy": "weighted", "weights": "2,1"}, "expected key=value"),
        ({"strategy": "weighted", "weights": "spatial=a,motion=1"}, "'a' is not a number"),
        ({"strategy": TrustedName("absent_module:f")}, "cannot load 'absent_module:f'"),
        ({"segments": "os:system"}, "'os:system' would run code"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        steps_of(**options)


def test_class_weights_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    path.write_text('class,spatial,motion\n"a,b",1,0\nc,0.25,3\n')
    assert read_class_weights(path, KEYS[::-1], ["c", "a,b"]).tolist() == [[3, 0], [0.25, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is ''; expected 'class,spatial,motion'"),
        ("class,rgb,motion\n", "expected 'class,spatial,motion'"),
        ('class,spatial,motion\n"a,b",1,1\n', "each class needs one row; look at c"),
        ('class,spatial,motion\n"a,b",1,1\nc,1,1\nc,1,1\n', "each class needs one row"),
        ('class,spatial,motion\n"a,b",1,x\nc,1,1\n', "missing or not a number"),
        ('class,spatial,motion\n"a,b",1\nc,1,1\n', "missing or not a number"),
    ],
)
def test_class_weights_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "w.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_class_weights(path, KEYS, ["a,b", "c"])
