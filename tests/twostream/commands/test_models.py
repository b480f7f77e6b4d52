from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from twostream.commands.models import chosen_models
from twostream.errors import InputError
from twostream.models import MODELS


def test_names_choose() -> None:
    assert chosen_models(()) == list(MODELS)
    assert chosen_models(("tsm-resnet1",)) == ["tsm-resnet18", "tsm-resnet101", "tsm-resnet152"]
    assert chosen_models(("own:tiny", "s3d")) == ["own:tiny", "s3d"]
    with pytest.raises(InputError, match="no network is called 'resnet51'"):
        chosen_models(("s3d", "resnet51"))


def test_table_and_json(twostream: Callable[..., Result]) -> None:
    lines = twostream("models", "i3d-resnet18", "tsm-resnet18").output.splitlines()
    assert lines[0].split() == ["snippet", "parameters", "multiply-adds"]
    assert lines[1].split() == ["tsm-resnet18", "8", "spread", "11.38", "M", "14.51", "G"]
    assert lines[2].split() == ["i3d-resnet18", "32", "x", "2", "17.02", "M", "23.62", "G"]
    shown = json.loads(twostream("models", "mobilenet_v3_s", "--stream", "motion", "--json").stdout)
    (row,) = shown["models"]
    assert (row["model"], row["frames"], row["step"]) == ("mobilenet_v3_small", 10, 1)
