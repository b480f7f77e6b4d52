from __future__ import annotations

from pathlib import Path

import pytest

from fusion.steps import StepOptions, chosen_steps
from fusion.strategies import maximum, mean, variance, weighted
from twostream.errors import InputError

KEYS = ["spatial", "motion"]


def typed(**options: object) -> StepOptions:
    unset = {"strategy": "mean", "segments": "mean", "weights": None, "segment_weights": None,
             "variance": None, "strategy_option": ()}  # fmt: skip
    return StepOptions(**(unset | options))  # type: ignore[arg-type]


def test_names_become_functions_with_their_options() -> None:
    segments, streams = chosen_steps(typed(segments="max", strategy="variance"), keys=KEYS)
    assert (segments.name, segments.strategy, segments.options) == ("max", maximum, {})
    assert (streams.name, streams.strategy) == ("variance", variance)
    assert streams.options == {"form": "normalised"}
    legacy, _ = chosen_steps(typed(segments="variance", variance="legacy"), keys=KEYS)
    assert legacy.options == {"form": "legacy"}


def test_weights_follow_the_order_of_the_inputs() -> None:
    options = typed(strategy="weighted", weights="motion=1, spatial=2.5", segments="weighted",
                    segment_weights="1,2,1")  # fmt: skip
    segments, streams = chosen_steps(options, keys=KEYS)
    assert (streams.strategy, streams.options) == (weighted, {"weights": [2.5, 1.0]})
    assert segments.options == {"weights": [1.0, 2.0, 1.0]}


def test_a_strategy_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_strategies.py").write_text(
        "def power_mean(scores, *, power=1, title=''):\n    return scores.mean(axis=-2)\n"
    )
    monkeypatch.chdir(tmp_path)
    options = typed(strategy="own_strategies:power_mean", strategy_option=("power=2", "title=a=b"))
    segments, streams = chosen_steps(options, keys=KEYS)
    assert streams.name == "own_strategies:power_mean"
    assert streams.options == {"power": 2, "title": "a=b"}
    assert (segments.strategy, segments.options) == (mean, {})
    unknown = typed(strategy="own_strategies:power_mean", strategy_option=("root=2",))
    with pytest.raises(InputError, match=r"cannot be called with \(scores, root\): .*'root'"):
        chosen_steps(unknown, keys=KEYS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "weighted"}, "`weighted` needs --weights"),
        ({"segments": "weighted"}, "`weighted` needs --segment-weights"),
        ({"weights": "spatial=1,motion=1"}, "--weights does nothing for mean and mean; it needs"),
        ({"segment_weights": "1,1"}, "--segment-weights does nothing"),
        ({"variance": "legacy", "strategy": "max"}, "--variance does nothing for max and mean"),
        ({"strategy_option": ["a=1"]}, "--strategy-option does nothing"),
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
        chosen_steps(typed(**options), keys=KEYS)
