"""The tensor form of TV-L1 beside the compiled one: the same flow, however pairs are batched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from flow_extract.methods.median_network import NETWORKS, median
from flow_extract.methods.tvl1 import make_tvl1
from flow_extract.methods.tvl1_parameters import Parameters
from flow_extract.methods.tvl1_torch import _grey, tvl1_on_device
from flow_extract.synthetic import moving_clip, rotation, smooth_texture, translation

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Still, slow, fast and turning: pairs that need very different numbers of iterations."""
    texture = smooth_texture((72, 90), rng=np.random.default_rng(0))
    steps = [translation(0, 0), translation(0.4, -0.2), translation(2.5, 1.5)]
    return moving_clip(texture, [*steps, rotation(4, centre=(45, 36))])[0]


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_the_same_flow(frames: np.ndarray, device: str) -> None:
    compiled = make_tvl1()(frames)
    flow = tvl1_on_device(Parameters(), device=device)(frames)
    assert (flow.shape, flow.dtype) == (compiled.shape, np.float32)
    difference = np.abs(flow - compiled)[:, 4:-4, 4:-4]
    assert difference.mean(axis=(1, 2, 3)).max() < 0.05


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_pair_does_not_depend_on_its_neighbours(
    frames: np.ndarray, device: str, batch: int
) -> None:
    together = tvl1_on_device(Parameters(), device=device)(frames)
    apart = tvl1_on_device(Parameters(), device=device, batch=batch)(frames)
    assert np.allclose(together, apart, atol=1e-3)


@pytest.mark.parametrize("size", [3, 5])
def test_medians_are_those_of_sorted_values(size: int) -> None:
    torch.manual_seed(0)
    for u in (torch.randn(2, 2, 30, 41), torch.randint(0, 4, (2, 2, 33, 29)).float()):  # and ties
        padded = torch.nn.functional.pad(u, (size // 2,) * 4, mode="replicate")
        windows = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(-2)
        assert torch.equal(median(u, size), windows.sort(dim=-1).values[..., size**2 // 2])


def test_median_networks_place_zeros_and_ones() -> None:
    """What sorts all zeros and ones sorts everything (Knuth); the larger one is tried in part."""
    rng = np.random.default_rng(0)
    for size, ones in ((9, range(512)), (25, rng.integers(0, 2**25, 100_000))):
        network = NETWORKS[round(size**0.5)]
        values = [np.asarray(ones) >> bit & 1 for bit in range(size)]
        expected = sum(values) > size // 2
        for i, j in zip(network[::2], network[1::2], strict=True):
            assert i < j
            values[i], values[j] = values[i] & values[j], values[i] | values[j]
        assert (values[size // 2] == expected).all()


def test_grey_is_that_of_opencv() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 200, 300, 3), dtype=np.uint8)
    expected = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    assert np.array_equal(_grey(torch.from_numpy(frames)).numpy(), expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (16, 16)])
def test_small_frames_are_sound(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    flow = tvl1_on_device(Parameters(warps=2, outer=2), device="cpu")(frames)
    assert flow.shape == (2, *size, 2)
    assert np.isfinite(flow).all()
    still = tvl1_on_device(Parameters(), device="cpu")(frames[[0, 0]])
    assert abs(still).max() < 1e-3
