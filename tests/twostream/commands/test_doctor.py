from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from flow_extract.methods import FLOW_METHODS
from twostream import diagnosis, input_speed

from ..conftest import MiniProject

Run = Callable[..., Result]


def test_it_looks_at_everything(twostream: Run) -> None:
    findings = {f["what"]: f for f in json.loads(twostream("doctor", "--json").stdout)["findings"]}
    assert "torch" in findings["libraries"]["found"]
    assert findings["OpenCV reads videos by FFmpeg"]["ok"]
    for name in ("dis", "farneback"):
        assert findings[f"flow method {name}"]["found"] == "works"
    assert set(FLOW_METHODS) == {
        name.removeprefix("flow method ") for name in findings if name.startswith("flow method ")
    }


def test_two_builds_of_opencv_are_named(twostream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "library_version", lambda name: "5.0")
    output = twostream("doctor").output
    assert "--  OpenCV:" in output
    assert "they overwrite each other's files: pip uninstall opencv-python opencv" in output


def test_a_method_that_fails_says_why(twostream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no such library")

    monkeypatch.setitem(FLOW_METHODS, "broken", broken)
    assert "--  flow method broken: fails: no such library" in twostream("doctor").output


def test_data_says_what_bounds_training(
    twostream: Run, mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_speed, "SIZE", 32)
    Path("twostream.toml").write_text(f'store = "{mini.root / "store"}"\n')
    output = twostream("doctor", "--data", "--seconds", "0", "--device", "cpu").stdout
    for label in ("decode", "crop", "copy, floats", "training step"):
        assert re.search(rf"^  {label} +[\d.]+ ms a snippet$", output, re.MULTILINE)
    assert re.search(r"bound by: (disk|decode|crop|copy|step)\. Try: ", output)


def test_data_for_a_program(
    twostream: Run, mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_speed, "SIZE", 32)
    options = ("--store", mini.root / "store", "--stream", "spatial", "--threads", "3")
    found = json.loads(twostream("doctor", "--data", "--seconds", "0", *options, "--json").stdout)
    assert (found["stream"], found["threads"]) == ("spatial", 3)
    loading = sum(found["seconds_per_snippet"][part] for part in ("disk", "decode", "crop"))
    assert found["loading"] == pytest.approx(3 / loading)
    assert found["bound"] in found["seconds_per_snippet"]
