from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from click.testing import Result

from flow_extract.methods import FLOW_METHODS
from twostream.commands import doctor

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
    monkeypatch.setattr(doctor, "library_version", lambda name: "5.0")
    output = twostream("doctor").output
    assert "--  OpenCV:" in output
    assert "they overwrite each other's files: pip uninstall opencv-python opencv" in output


def test_a_method_that_fails_says_why(twostream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no such library")

    monkeypatch.setitem(FLOW_METHODS, "broken", broken)
    assert "--  flow method broken: fails: no such library" in twostream("doctor").output


def test_methods_of_a_device_are_tried_there_too(
    twostream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(device: str = "cpu") -> Callable[..., None]:
        def flow(frames: object) -> None:
            if device == "cuda":
                warnings.warn("no Triton", RuntimeWarning, stacklevel=1)

        return flow

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with mock.patch.dict(FLOW_METHODS, {"anywhere": make}, clear=True):  # gives back the order too
        output = twostream("doctor").output
    assert "ok  flow method anywhere: works" in output
    assert "--  flow method anywhere on the GPU: slow: no Triton" in output
