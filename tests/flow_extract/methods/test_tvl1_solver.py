"""One level of TV-L1 against a slow reading of the papers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flow_extract.methods.tvl1_parameters import Parameters
from flow_extract.methods.tvl1_solver import solve_level
from flow_extract.synthetic import moving_clip, smooth_texture, translation


def backward(values, axis):
    return np.diff(values, axis=axis, prepend=0)


def forward(values, axis):
    return np.diff(values, axis=axis, append=np.take(values, [-1], axis=axis))


def slow_level(first, second, *, warps, inner, outer, epsilon=0.01):
    """One level in float64, step by step as the papers have it; flow (2, H, W)."""
    tau, lambda_, theta = 0.25, 0.15, 0.3
    rows, columns = np.indices(first.shape, dtype=np.float32)
    edge = np.pad(second, 1, mode="edge")
    derivatives = (edge[1:-1, 2:] - edge[1:-1, :-2]) / 2, (edge[2:, 1:-1] - edge[:-2, 1:-1]) / 2
    u = np.zeros((2, *first.shape))
    p = np.zeros((2, 2, *first.shape))
    for _ in range(warps):
        where = (columns + u[0]).astype(np.float32), (rows + u[1]).astype(np.float32)
        warped, *gradient = (
            cv2.remap(picture, *where, cv2.INTER_CUBIC).astype(np.float64)
            for picture in (second, *derivatives)
        )
        squared = gradient[0] ** 2 + gradient[1] ** 2
        constant = warped - gradient[0] * u[0] - gradient[1] * u[1] - first
        change = np.inf
        for iteration in range(inner * outer):
            if change <= epsilon**2 * first.size:
                break
            if iteration % inner == 0:
                u = np.stack([cv2.medianBlur(c.astype(np.float32), 5) for c in u]).astype(float)
            rho = constant + gradient[0] * u[0] + gradient[1] * u[1]
            inner_case = -rho / np.where(squared > 1.19e-7, squared, np.inf)
            limit = lambda_ * theta
            d = np.select(
                [rho < -limit * squared, rho > limit * squared], [limit, -limit], inner_case
            )
            before = u
            u = np.stack(
                [
                    u[k] + d * gradient[k] + theta * (backward(p[k, 0], 1) + backward(p[k, 1], 0))
                    for k in range(2)
                ]
            )
            change = ((u - before) ** 2).sum()
            for k in range(2):
                slope = np.stack([forward(u[k], 1), forward(u[k], 0)])
                length = np.hypot(*slope)
                p[k] = (p[k] + tau / theta * slope) / (1 + tau / theta * length)
    return u


@pytest.mark.parametrize(
    ("warps", "inner", "outer"), [(1, 1, 1), (1, 7, 1), (2, 5, 3), (3, 30, 10)]
)
def test_equals_the_slow_reading_of_the_papers(warps, inner, outer):
    texture = smooth_texture((41, 53), rng=np.random.default_rng(5))
    frames, _ = moving_clip(texture, [translation(0.6, -0.4)])
    first, second = frames[..., 0].astype(np.float32)
    options = {"warps": warps, "inner": inner, "outer": outer}
    start = np.zeros((2, *first.shape), np.float32)
    flow = solve_level(first, second, start, parameters=Parameters(**options))
    expected = slow_level(first, second, **options)
    assert np.abs(expected).mean() > 0.02
    # A stop one iteration earlier or later moves single pixels by about epsilon.
    assert np.abs(flow - expected).mean() < 1e-3
