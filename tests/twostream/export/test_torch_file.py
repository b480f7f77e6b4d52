from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from twostream.export import torch_file


class Double(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips * 2.0


def test_the_metadata_is_found_where_torch_keeps_it(tmp_path: Path) -> None:
    program = torch.export.export(Double(), (torch.ones(2, 3),))
    torch_file.check_installed()
    torch_file.write(program, tmp_path / "x.pt2", metadata='{"a": "ä"}')
    extra = {"twostream": ""}
    module = torch.export.load(str(tmp_path / "x.pt2"), extra_files=extra).module()
    assert extra["twostream"] == '{"a": "ä"}'
    clips = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(module(clips), clips * 2)
    assert torch.equal(torch_file.load(tmp_path / "x.pt2")(clips), clips * 2)


def test_the_example_is_left_out(tmp_path: Path) -> None:
    """It is as large as a batch of clips."""
    program = torch.export.export(Double(), (torch.ones(1000, 1000),))
    torch_file.write(program, tmp_path / "x.pt2", metadata="")
    assert (tmp_path / "x.pt2").stat().st_size < 100_000
