"""TV-L1 on many pairs of frames at once, for a GPU.

The algorithm, parameters and stop rule of `tvl1`, but a pair's stop test comes every 10 iterations:
the flow differs by about a hundredth of a pixel. A pair that has converged changes no more, so its
flow does not depend on its neighbours.

A level is solved by the kernels of `tvl1_triton` where Triton works, else by tensor operations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from flow_extract.methods.median_network import median
from flow_extract.methods.pairwise import ClipMethod, check_frames
from flow_extract.methods.tvl1_parameters import FLAT, TEST_EVERY, Parameters
from twostream_base.heartbeat import beat

if TYPE_CHECKING:
    import numpy as np

SMALLEST_SIDE = 16
# Pixels of all pairs that are solved together: 128 pairs of 320 x 240, in about a gigabyte.
PIXELS_AT_ONCE = 128 * 320 * 240
# OpenCV's weights of red, green and blue, in 1/32768.
GREY, GREY_SHIFT = (9798, 19235, 3735), 15

# First frames (N, 1, H, W), second frames with their derivatives (N, 3, H, W), flow so far
# (N, 2, H, W), parameters -> flow.
SolveLevel = Callable[[Tensor, Tensor, Tensor, Parameters], Tensor]


def tvl1_on_device(parameters: Parameters, *, device: str, batch: int | None = None) -> ClipMethod:
    """Return the method; `batch` pairs are solved together, by default as `PIXELS_AT_ONCE` says."""
    place = torch.device(device)

    def clip_flow(frames: np.ndarray) -> np.ndarray:
        check_frames(frames)
        pairs, (height, width) = len(frames) - 1, frames.shape[1:3]
        together = batch or max(1, PIXELS_AT_ONCE // (height * width))
        solve = level_solver(place)
        # What the device copies to must not move: 10 times faster than to any memory.
        flow = torch.empty(pairs, height, width, 2, pin_memory=place.type == "cuda")
        for i in range(0, pairs, together):
            grey = _grey(torch.from_numpy(frames[i : i + together + 1]).to(place))
            part = _coarse_to_fine(grey, parameters, solve).permute(0, 2, 3, 1).contiguous()
            flow[i : i + together].copy_(part)
            beat()
        return flow.numpy()

    clip_flow.pixels_at_once = PIXELS_AT_ONCE  # type: ignore[attr-defined]
    clip_flow.form = "torch"  # type: ignore[attr-defined]
    return clip_flow


@cache
def level_solver(device: torch.device) -> SolveLevel:
    """How a level is solved there: by Triton's kernels on a GPU, if they work on two small frames.

    Where they do not, a warning says why.
    """
    if device.type != "cuda":
        return solve_level
    from flow_extract.methods import tvl1_triton

    if tvl1_triton.triton is None:
        why = "it is not installed"
    else:
        try:
            frame = torch.zeros(1, 1, 16, 16, device=device)
            pictures, flow = frame.expand(-1, 3, -1, -1), frame.repeat(1, 2, 1, 1)
            tvl1_triton.solve_level(frame, pictures, flow, Parameters(warps=1, outer=1))
            return tvl1_triton.solve_level
        except torch.OutOfMemoryError:  # passes: the next clip tries again
            raise
        except Exception as error:  # no C compiler, another version, an old card: all end here
            why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    message = f"Triton cannot be used ({why}): TV-L1 on {device} is many times slower without; "
    message += "install the CUDA build of torch and a C compiler, or take --method dis"
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    return solve_level


def _grey(frames: Tensor) -> Tensor:
    """Grey frames (T, H, W), float, of uint8 (T, H, W, 3), with OpenCV's rounding."""
    red, green, blue = (frames[..., k].int() * weight for k, weight in enumerate(GREY))
    return (red + green + blue + (1 << GREY_SHIFT - 1) >> GREY_SHIFT).float()


def _coarse_to_fine(grey: Tensor, parameters: Parameters, solve: SolveLevel) -> Tensor:
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
        padded = F.pad(level, (1, 1, 1, 1), mode="replicate")
        gradient_x = (padded[1:, :, 1:-1, 2:] - padded[1:, :, 1:-1, :-2]) / 2
        gradient_y = (padded[1:, :, 2:, 1:-1] - padded[1:, :, :-2, 1:-1]) / 2
        pictures = torch.cat([level[1:], gradient_x, gradient_y], dim=1)
        flow = solve(level[:-1], pictures, flow, parameters)
    return flow


def solve_level(first: Tensor, pictures: Tensor, u: Tensor, parameters: Parameters) -> Tensor:
    """Refine the flow u by repeated warping, in tensor operations; see `SolveLevel`."""
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
            u = median(u, parameters.median)
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
    else:  # also what came after the last test
        flows[running], duals[running] = u, p
    return flows, duals


def _shrink(picture: Tensor, size: list[int], scale: float) -> Tensor:
    """Bilinear, at exactly `scale`: `F.interpolate` would take the ratio of the rounded sizes."""
    y, x = ((torch.arange(side, device=picture.device) + 0.5) / scale - 0.5 for side in size)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    extents = [max(1, side - 1) for side in picture.shape[:1:-1]]
    grid = torch.stack(
        [2 * places[..., k] / extent - 1 for k, extent in enumerate(extents)], dim=-1
    )
    return F.grid_sample(
        picture, grid.expand(len(picture), -1, -1, -1), padding_mode="border", align_corners=True
    )


def _warp(pictures: Tensor, u: Tensor) -> Tensor:
    """Pictures (N, C, H, W) at x + u, bicubic, 0 outside.

    Not by `F.grid_sample`: it takes positions between -1 and 1, so no whole pixel exactly, and a
    still pair would seem to move.
    """
    height, width = sides = u.shape[-2:]
    y, x = (torch.arange(side, device=u.device) for side in sides)
    # Four pixels beyond the border are as far as any: the integers below stay small.
    to_x = (x + u[:, :1]).clamp(-4, width + 4)
    to_y = (y[:, None] + u[:, 1:]).clamp(-4, height + 4)
    left, top = to_x.floor(), to_y.floor()
    weights_x, weights_y = _cubic_weights(to_x - left), _cubic_weights(to_y - top)
    left, top = left.long() - 1, top.long() - 1
    flat = pictures.flatten(2)
    warped = torch.zeros_like(pictures)
    for i in range(4):
        line = torch.zeros_like(pictures)
        for j in range(4):
            row, column = top + i, left + j
            known = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            values = flat.gather(2, place.flatten(2).expand_as(flat)).view_as(pictures)
            line += weights_x[j] * torch.where(known, values, 0.0)
        warped += weights_y[i] * line
    return warped


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Weights of the four pixels around a position, t after the second of them; a = -0.75."""
    a, far, near, far_right = -0.75, t + 1, 1 - t, 2 - t
    return [
        ((a * far - 5 * a) * far + 8 * a) * far - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * near - (a + 3)) * near * near + 1,
        ((a * far_right - 5 * a) * far_right + 8 * a) * far_right - 4 * a,
    ]


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
