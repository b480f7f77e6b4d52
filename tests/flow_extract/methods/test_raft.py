"""RAFT: what holds for any weights. Accuracy is checked where a file of weights is given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from flow_extract.methods.raft import load_network, make_raft, network_flow, pairs_that_fit
from flow_extract.synthetic import moving_clip, smooth_texture, translation
from twostream_base.vision import torchvision


def random_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.optical_flow.raft_small(weights=None)


@pytest.mark.parametrize("size", [(64, 80), (121, 161), (1, 1)])
def test_shape_and_type_of_any_size(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)
    flow = network_flow(random_network(), updates=2, batch=2, device="cpu")(frames)
    assert (flow.shape, flow.dtype) == ((3, *size, 2), np.float32)
    assert np.isfinite(flow).all()


def test_batches_give_the_same_flow() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    flows = [
        network_flow(random_network(), updates=2, batch=batch, device="cpu")(frames)
        for batch in (1, 2, 9)
    ]
    for other in flows[1:]:
        assert np.allclose(flows[0], other, atol=1e-3)


def test_pairs_that_fit_fall_with_the_square_of_a_large_picture() -> None:
    eighty, eight = 80 * 2**30, 8 * 2**30
    assert [
        pairs_that_fit(*size, free)
        for free in (eighty, eight)
        for size in ((240, 320), (720, 1280), (1080, 1920))
    ] == [32, 8, 2, 17, 1, 1]


class Displacement(torch.nn.Module):
    """Stands in for the network: finds the shift of the brightest pixel."""

    def forward(self, first: torch.Tensor, second: torch.Tensor, num_flow_updates: int) -> list:
        assert num_flow_updates == 5
        assert first.shape[-2:] == (128, 136)
        assert first.min() >= -1
        assert first.max() <= 1
        places = [
            torch.stack([index % 136, index // 136])
            for picture in (first, second)
            for index in [picture.sum(dim=1).flatten(1).argmax(dim=1)]
        ]
        moved = (places[1] - places[0]).T.float()
        return [moved[:, :, None, None].expand(-1, -1, *first.shape[-2:])]


def test_direction_units_and_order_of_frames() -> None:
    frames = np.zeros((4, 60, 130, 3), dtype=np.uint8)
    for t in range(4):
        frames[t, 10 + t, 20 + 3 * t] = 255
    flow = network_flow(Displacement(), updates=5, batch=2, device="cpu")(frames)
    assert (flow == (3, 1)).all()


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8))]
)
def test_wrong_frames(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="flow needs uint8"):
        network_flow(random_network(), updates=1, batch=1, device="cpu")(frames)


def test_wrong_model_and_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="model is 'tiny'; allowed: small, large"):
        make_raft(model="tiny")
    with pytest.raises(ValueError, match="cannot be loaded from .*weights=FILE"):
        load_network("small", "nowhere.pth")
    torch.save({"conv.weight": torch.zeros(1)}, "other.pth")
    with pytest.raises(ValueError, match="other.pth"):
        load_network("small", "other.pth")


def test_known_translation_with_real_weights() -> None:
    weights = os.environ.get("TWOSTREAM_RAFT_WEIGHTS")
    if not weights:
        pytest.skip("TWOSTREAM_RAFT_WEIGHTS names no file of raft_large weights")
    texture = smooth_texture((160, 160), rng=np.random.default_rng(0))
    frames, truth = moving_clip(texture, [translation(2.5, -1.5)])
    flow = make_raft(weights=weights)(frames)
    assert np.linalg.norm(flow - truth, axis=-1).mean() < 0.5


def test_weights_are_checked_before_torch_reads_them(tmp_path: Path) -> None:
    """A key of tuples nested deep would take down the process."""
    torch.save({}, tmp_path / "raft.pth", _use_new_zipfile_serialization=False)
    nested = b"\x80\x02}(" + b")" + b"\x85" * 200_000 + b"K\x01u."
    whole = (tmp_path / "raft.pth").read_bytes()
    (tmp_path / "raft.pth").write_bytes(whole.replace(b"\x80\x02}q\x00.", nested))
    with pytest.raises(
        ValueError, match=r"raft\.pth.*tuples nested deeper.*--method-option weights"
    ):
        load_network("small", str(tmp_path / "raft.pth"))
