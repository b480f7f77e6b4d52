from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from twostream import input_speed
from twostream.errors import InputError
from twostream.input_speed import CURES, find_bound, measure_parts
from twostream.transforms.presets import MODALITIES

from .conftest import MiniProject

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("parts", "bound", "loading", "learning"),
    [
        # 2 threads at 10 ms each against 8 ms a snippet
        ((0.001, 0.006, 0.003, 0.001, 0.007), "step", 200, 125),
        ((0.001, 0.012, 0.007, 0.001, 0.004), "decode", 100, 200),
        ((0.015, 0.002, 0.003, 0.001, 0.004), "disk", 100, 200),
        ((0.001, 0.002, 0.017, 0.001, 0.004), "crop", 100, 200),
        ((0.001, 0.002, 0.001, 0.006, 0.004), "copy", 500, 100),
    ],
)
def test_the_largest_part_of_the_slower_side_bounds(parts, bound, loading, learning) -> None:
    seconds = dict(zip(("disk", "decode", "crop", "copy", "step"), parts, strict=True))
    found = find_bound(seconds, threads=2)
    assert found["bound"] == bound
    assert found["cure"] == CURES[bound]
    assert found["loading"] == pytest.approx(loading)
    assert found["learning"] == pytest.approx(learning)


@pytest.mark.parametrize("stream", ["spatial", "motion"])
def test_every_part_is_measured(
    mini: MiniProject, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(input_speed, "SIZE", 32)
    parts = measure_parts(mini.root / "store", MODALITIES[stream], seconds=0, device=CPU)
    assert list(parts) == ["disk", "decode", "crop", "copy", "step"]
    assert min(parts.values()) > 0


def test_the_disk_is_measured_without_posix_fadvise(
    mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_speed, "SIZE", 32)
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    assert not input_speed.can_drop_from_memory()
    parts = measure_parts(mini.root / "store", MODALITIES["motion"], seconds=0, device=CPU)
    assert parts["disk"] > 0


def test_a_store_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video with flow"):
        measure_parts(tmp_path, MODALITIES["motion"], seconds=0, device=CPU)


def test_a_damaged_video_is_named(mini: MiniProject, tmp_path: Path) -> None:
    whole = next((mini.root / "store").rglob("*.safetensors"))
    shutil.copy(whole, tmp_path / "v.safetensors")
    (tmp_path / "v.safetensors").write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"v\.safetensors: not a sound store file"):
        measure_parts(tmp_path, MODALITIES["motion"], seconds=0, device=CPU)
