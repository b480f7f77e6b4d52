"""One level of the primal-dual solver against algorithm 1 of Chambolle and Pock, written out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flow_extract.methods.tvl1_fast_solver import solve_level
from flow_extract.methods.tvl1_numerics import with_gradients
from flow_extract.synthetic import moving_clip, smooth_texture, translation

TAU, SIGMA, LAMBDA = 0.4, 0.3, 0.15


def grad(u):
    across = np.diff(u, axis=-1, append=u[..., -1:])
    down = np.diff(u, axis=-2, append=u[..., -1:, :])
    return np.stack([across, down], axis=1)


def divergence(p):
    """Minus the adjoint of `grad`; p is 0 wherever `grad` always is."""
    return np.diff(p[:, 0], axis=-1, prepend=0) + np.diff(p[:, 1], axis=-2, prepend=0)


def slow_level(first, second, *, warps, iterations, median):
    u = np.zeros((2, *first.shape))
    p = np.zeros((2, 2, *first.shape))
    rows, columns = np.indices(first.shape, dtype=np.float32)
    pictures = with_gradients(second)
    for _ in range(warps):
        where = (columns + u[0]).astype(np.float32), (rows + u[1]).astype(np.float32)
        warped = cv2.remap(pictures, *where, cv2.INTER_LINEAR).astype(np.float64)
        gradient = np.moveaxis(warped[..., 1:], -1, 0)
        squared = (gradient**2).sum(axis=0)
        constant = warped[..., 0] - (gradient * u).sum(axis=0) - first
        ahead = u
        for _ in range(iterations):
            p = p + SIGMA * grad(ahead)
            p = p / np.maximum(1, np.sqrt((p**2).sum(axis=1, keepdims=True)))
            v = u + TAU * divergence(p)
            rho = constant + (gradient * v).sum(axis=0)
            ratio = -rho / np.where(squared > 1.19e-7, squared, np.inf)
            after = v + np.clip(ratio, -TAU * LAMBDA, TAU * LAMBDA) * gradient
            u, ahead = after, 2 * after - u
        if median > 1:
            u = np.stack([cv2.medianBlur(c.astype(np.float32), median) for c in u]).astype(float)
    return u


@pytest.mark.parametrize(
    ("warps", "iterations", "median"), [(1, 1, 1), (1, 2, 1), (1, 20, 3), (3, 21, 5)]
)
def test_equals_the_slow_reading_of_the_paper(warps, iterations, median):
    texture = smooth_texture((41, 53), rng=np.random.default_rng(5))
    frames, _ = moving_clip(texture, [translation(0.6, -0.4)])
    first, second = frames[..., 0].astype(np.float32)
    options = {"warps": warps, "iterations": iterations, "median": median}
    start = np.zeros((2, *first.shape), np.float32)
    flow = solve_level(first, second, start, tau=TAU, sigma=SIGMA, lambda_=LAMBDA, **options)
    expected = slow_level(first, second, **options)
    assert np.abs(expected).mean() > 0.005
    assert np.abs(flow - expected).max() < 1e-3
