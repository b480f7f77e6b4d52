from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from twostream.errors import InputError
from twostream.export import onnx_file


class Order(nn.Module):
    """Where each value comes in a stable sorting."""

    def __init__(self, *, descending: bool) -> None:
        super().__init__()
        self.descending = descending

    def forward(self, clips: Tensor) -> Tensor:
        values = clips.float()
        return values.sort(dim=2, descending=self.descending, stable=True).indices.float()


class Ones(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.float() + self.weight.sum()


def followed(network: nn.Module, clips: Tensor) -> ExportedProgram:
    sizes = {0: Dim("videos"), 1: Dim("segments")}
    return torch.export.export(network, (clips,), dynamic_shapes=(sizes,))


@pytest.mark.parametrize("descending", [False, True])
def test_sorting_is_stable(tmp_path: Path, descending: bool) -> None:
    clips = torch.tensor([[[1, 0, 1, 2, 0, 2, 1, 1]], [[3, 3, 3, 3, 3, 3, 3, 0]]]).byte()
    program = followed(Order(descending=descending), clips.repeat(1, 3, 1))
    onnx_file.write(program, tmp_path / "x.onnx", metadata="")
    expected = (
        [[[3, 5, 0, 2, 6, 7, 1, 4]], [[0, 1, 2, 3, 4, 5, 6, 7]]]
        if descending
        else [[[1, 4, 0, 2, 6, 7, 3, 5]], [[7, 0, 1, 2, 3, 4, 5, 6]]]
    )
    assert onnx_file.load(tmp_path / "x.onnx")(clips).tolist() == expected


def test_names_axes_and_metadata(tmp_path: Path) -> None:
    clips = torch.zeros(2, 3, 1000, dtype=torch.uint8)
    onnx_file.write(followed(Ones(), clips), tmp_path / "x", metadata='{"a": "ä"}')
    onnx.checker.check_model(str(tmp_path / "x"))
    session = onnxruntime.InferenceSession(str(tmp_path / "x"))
    assert session.get_modelmeta().custom_metadata_map["twostream"] == '{"a": "ä"}'
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type) == ("clips", "tensor(uint8)")
    assert (given.name, given.type) == ("logits", "tensor(float)")
    assert taken.shape == given.shape == ["videos", "segments", 1000]


def test_weights_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "LIMIT", 4000)
    program = followed(Ones(), torch.zeros(2, 3, 1000, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"an ONNX file holds 2.1; write a .pt2 file"):
        onnx_file.write(program, tmp_path / "x.onnx", metadata="")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_file.check_installed()
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name)
    )
    with pytest.raises(InputError, match=r"\(onnxscript\): pip install onnx .* extra `onnx`"):
        onnx_file.check_installed()
