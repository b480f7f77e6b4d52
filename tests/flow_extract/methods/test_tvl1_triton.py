"""TV-L1's kernels beside its tensor form. Without a GPU, Triton's interpreter runs them."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest
import torch

from flow_extract.methods import tvl1_torch
from flow_extract.methods.median_network import NETWORKS, median
from flow_extract.methods.tvl1_parameters import Parameters
from flow_extract.synthetic import moving_clip, smooth_texture, translation

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
pytest.importorskip(
    "triton", reason="no Triton: TV-L1's kernels are not compared with its tensor form"
)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    from flow_extract.methods import tvl1_triton

    if DEVICE == "cpu":  # a large tile takes as long as a small one
        monkeypatch.setattr(tvl1_triton, "ROWS", 16)
        monkeypatch.setattr(tvl1_triton, "COLUMNS", 32)
    return tvl1_triton


@pytest.mark.parametrize("side", [3, 5])
def test_medians_are_exact(kernels: ModuleType, side: int) -> None:
    u = torch.randint(0, 9, (2, 2, 20, 37)).float().to(DEVICE)
    filtered = torch.full_like(u, -1)
    active = torch.tensor([1, 0], dtype=torch.int32, device=DEVICE)
    kernels.median[4, 2, 2](
        *(u, filtered, active, 20, 37),
        side=side, network=NETWORKS[side], rows=16, columns=32,
    )  # fmt: skip
    assert torch.equal(filtered[0], median(u, side)[0])
    assert (filtered[1] == -1).all()  # it had converged


def level(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A still pair and a moving one: first frames, second frames with derivatives, no flow."""
    texture = smooth_texture(size, rng=np.random.default_rng(0))
    frames = moving_clip(texture, [translation(0, 0), translation(0.6, -0.3)])[0]
    grey = tvl1_torch._grey(torch.from_numpy(frames).to(DEVICE))[:, None]
    pictures = torch.cat(
        [grey[1:], *(torch.gradient(grey[1:], dim=dim)[0] for dim in (3, 2))], dim=1
    )
    return grey[:-1], pictures, torch.zeros(2, 2, *size, device=DEVICE)


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(warps=2, inner=5, outer=2),
        Parameters(warps=1, inner=3, outer=1, median=1),  # an odd number, without a stop test
    ],
    ids=["default", "odd"],
)
def test_a_level_is_that_of_the_tensor_form(kernels: ModuleType, parameters: Parameters) -> None:
    data = level((16, 21))
    expected = tvl1_torch.solve_level(*data, parameters)
    assert torch.allclose(kernels.solve_level(*data, parameters), expected, atol=1e-5)


def test_a_pair_stops_when_it_does_in_the_tensor_form_whoever_is_beside_it(
    kernels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_running, running = [], []
    divergence, all_cleared = tvl1_torch._divergence, kernels.LateFlags.all_cleared

    def counted_divergence(p: torch.Tensor) -> torch.Tensor:
        expected_running.append(len(p))
        return divergence(p)

    def recorded_all_cleared(flags: kernels.LateFlags) -> bool:
        running.append(int(flags.flags.sum()))
        return all_cleared(flags)

    monkeypatch.setattr(tvl1_torch, "_divergence", counted_divergence)
    monkeypatch.setattr(kernels.LateFlags, "all_cleared", recorded_all_cleared)
    parameters = Parameters(warps=1, inner=15, outer=2, epsilon=0.05)
    first, pictures, u = level((16, 21))
    expected = tvl1_torch.solve_level(first, pictures, u, parameters)
    flow = kernels.solve_level(first, pictures, u, parameters)
    assert torch.allclose(flow, expected, atol=1e-4)
    # After each test, by the batch of the iteration that follows; a GPU tells a little late.
    assert len(expected_running) == 20
    assert [n for n in running if n] == expected_running[10::10] != []
    still = kernels.solve_level(first[:1], pictures[:1], u[:1], parameters)
    assert torch.equal(still, flow[:1])
