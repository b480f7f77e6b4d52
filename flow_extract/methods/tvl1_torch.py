"""TV-L1 in batched tensor operations, for a GPU.

The algorithm, parameters and stop rule of `tvl1`, on many pairs of frames at once. Two things
differ, both far below a tenth of a pixel: a pair's stop test comes every 10 iterations, and
positions between pixels are not rounded to 1/32 as OpenCV's warp does. A pair that has converged
leaves the batch, so its flow does not depend on its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from flow_extract.methods.pairwise import ClipMethod, check_frames

if TYPE_CHECKING:
    import numpy as np

    from flow_extract.methods.tvl1_parameters import Parameters

TEST_EVERY = 10
SMALLEST_SIDE = 16
FLAT = 1.19e-7  # squared gradients below this carry no information
GREY = (0.299, 0.587, 0.114)


def tvl1_on_device(parameters: Parameters, *, device: str, batch: int = 32) -> ClipMethod:
    """Return the method; `batch` pairs are solved together."""

    def clip_flow(frames: np.ndarray) -> np.ndarray:
        check_frames(frames)
        weights = torch.tensor(GREY, device=device)
        grey = (torch.from_numpy(frames).to(device).float() @ weights).round()
        flows = [
            _coarse_to_fine(grey[i : i + batch + 1], parameters).cpu()
            for i in range(0, len(grey) - 1, batch)
        ]
        return torch.cat(flows).permute(0, 2, 3, 1).contiguous().numpy()

    return clip_flow


def _coarse_to_fine(grey: Tensor, parameters: Parameters) -> Tensor:
    """Flow (T-1, 2, H, W) of neighbouring frames (T, H, W), values 0 to 255."""
    pyramid = [grey[:, None]]
    while len(pyramid) < parameters.scales:
        size = [round(side * parameters.scale_step) for side in pyramid[-1].shape[-2:]]
        if min(size) < SMALLEST_SIDE:
            break
        pyramid.append(_shrink(pyramid[-1], size, parameters.scale_step))
    flow = grey.new_zeros(len(grey) - 1, 2, *pyramid[-1].shape[-2:])
    for level in reversed(pyramid):
        if level.shape[-2:] != flow.shape[-2:]:
            flow = F.interpolate(flow, size=level.shape[-2:], mode="bilinear")
            flow = flow / parameters.scale_step
        flow = _solve_level(level[:-1], level[1:], flow, parameters)
    return flow


def _solve_level(first: Tensor, second: Tensor, u: Tensor, parameters: Parameters) -> Tensor:
    """Refine the flow u (N, 2, H, W) between frames (N, 1, H, W) by repeated warping."""
    padded = F.pad(second, (1, 1, 1, 1), mode="replicate")
    gradient_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    gradient_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    pictures = torch.cat([second, gradient_x, gradient_y], dim=1)
    p = u.new_zeros(len(u), 2, *u.shape[1:])  # dual variable: (pair, component, derivative, H, W)
    for _ in range(parameters.warps):
        warped = _warp(pictures, u)
        gradient = warped[:, 1:]
        constant = warped[:, :1] - first - (gradient * u).sum(dim=1, keepdim=True)
        u, p = _minimise(u, p, gradient, constant, parameters)
    return u


def _minimise(
    u: Tensor, p: Tensor, gradient: Tensor, constant: Tensor, parameters: Parameters
) -> tuple[Tensor, Tensor]:
    """Iterate until the mean squared change of a pair's flow is below epsilon squared."""
    squared = gradient.square().sum(dim=1, keepdim=True)
    inverse = torch.where(squared < FLAT, 0.0, 1 / squared)
    limit = parameters.lambda_ * parameters.theta
    tolerance = parameters.epsilon**2 * u.shape[-2] * u.shape[-1]
    flows, duals = u.clone(), p.clone()
    running = torch.arange(len(u), device=u.device)
    for iteration in range(parameters.outer * parameters.inner):
        if iteration % parameters.inner == 0:
            u = _median(u, parameters.median)
        residual = constant + (gradient * u).sum(dim=1, keepdim=True)
        step = (-residual * inverse).clamp(-limit, limit)
        before = u
        u = u + step * gradient + parameters.theta * _divergence(p)
        ratio = parameters.tau / parameters.theta
        slope = _forward_differences(u)
        p = (p + ratio * slope) / (1 + ratio * slope.square().sum(dim=2, keepdim=True).sqrt())
        if (iteration + 1) % TEST_EVERY == 0:
            moving = (u - before).square().sum(dim=(1, 2, 3)) > tolerance
            flows[running], duals[running] = u, p
            running = running[moving]
            if not len(running):
                break
            u, p, gradient, constant, inverse = (
                tensor[moving] for tensor in (u, p, gradient, constant, inverse)
            )
    return flows, duals


def _shrink(picture: Tensor, size: list[int], scale: float) -> Tensor:
    """Bilinear, at exactly `scale`: `F.interpolate` would take the ratio of the rounded sizes."""
    y, x = ((torch.arange(side, device=picture.device) + 0.5) / scale - 0.5 for side in size)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])
    return _look_up(picture, places.expand(len(picture), -1, -1, -1), "bilinear", "border")


def _warp(pictures: Tensor, u: Tensor) -> Tensor:
    """Pictures at x + u, bicubic (a = -0.75), 0 outside."""
    y, x = (torch.arange(side, device=u.device) for side in u.shape[-2:])
    places = u + torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])
    return _look_up(pictures, places, "bicubic", "zeros")


def _look_up(pictures: Tensor, places: Tensor, mode: str, outside: str) -> Tensor:
    """Pictures (N, C, H, W) at pixel positions (N, 2, h, w), x before y."""
    extent = torch.tensor(pictures.shape[:1:-1], device=pictures.device) - 1
    grid = 2 * places.permute(0, 2, 3, 1) / extent.clamp(min=1) - 1
    return F.grid_sample(pictures, grid, mode=mode, padding_mode=outside, align_corners=True)


def _divergence(p: Tensor) -> Tensor:
    """Backward differences of (N, 2, 2, H, W), with zeros before the first column and row."""
    across = F.pad(p[:, :, 0], (1, 0))
    down = F.pad(p[:, :, 1], (0, 0, 1, 0))
    return across.diff(dim=-1) + down.diff(dim=-2)


def _forward_differences(u: Tensor) -> Tensor:
    """(N, 2, H, W) -> (N, 2, 2, H, W), zero in the last column and row."""
    across = F.pad(u.diff(dim=-1), (0, 1))
    down = F.pad(u.diff(dim=-2), (0, 0, 0, 1))
    return torch.stack([across, down], dim=2)


def _median(u: Tensor, size: int) -> Tensor:
    """Median of size x size pixels, the border repeated."""
    if size <= 1:
        return u
    n, c, height, width = u.shape
    padded = F.pad(u, (size // 2,) * 4, mode="replicate").reshape(
        n * c, 1, *(side + size // 2 * 2 for side in (height, width))
    )
    neighbours = F.unfold(padded, size)
    return neighbours.median(dim=1).values.reshape(n, c, height, width)
