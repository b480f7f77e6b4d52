"""`tvl1-fast` on one level of the pyramid. Symbols and layout: `tvl1_numerics`.

Minimises TV(u) + lambda * |rho(u)| by algorithm 1 of Chambolle and Pock (2011): primal step tau,
dual step sigma. The dual variable follows the flow extrapolated by one step, `2 * now - before`
(their u-bar).
"""

from __future__ import annotations

import cv2
import numpy as np

from flow_extract.methods.tvl1_numerics import (
    LEFT,
    ONE,
    filter_median,
    inside,
    linearise,
    njit_eager,
    padded,
    warp,
    with_gradients,
)

TWO = np.float32(2)


def solve_level(
    first: np.ndarray,
    second: np.ndarray,
    start: np.ndarray,
    *,
    lambda_: float,
    tau: float,
    sigma: float,
    warps: int,
    iterations: int,
    median: int,
) -> np.ndarray:
    """Refine a flow (2, H, W) between two frames (H, W) by repeated warping."""
    height, width = first.shape
    u, p = padded(2, height, width), padded(2, 2, height + 1, width)
    flow = inside(u, width)
    flow[:] = start
    pictures = with_gradients(second)
    scalars = np.float32(tau), np.float32(sigma), np.float32(tau * lambda_)
    for _ in range(warps):
        warped = warp(pictures, flow, interpolation=cv2.INTER_LINEAR)
        _iterate(u, p, *linearise(first, warped, u), *scalars, iterations)
        filter_median(flow, median)
    return flow


@njit_eager("void(i8, i8, i8, f4[:,:,::1], f4[:,:,::1], f4[:,:,:,::1], f4)")
def _step_dual(
    y: int,
    below: int,
    width: int,
    now: np.ndarray,
    before: np.ndarray,
    p: np.ndarray,
    sigma: np.float32,
) -> None:
    """Row y: p = p + sigma * grad (2 * now - before), brought back to |p| <= 1."""
    for k in range(2):
        here, right, under = now[k, y, LEFT:], now[k, y, LEFT + 1 :], now[k, below, LEFT:]
        was_here, was_right = before[k, y, LEFT:], before[k, y, LEFT + 1 :]
        was_under = before[k, below, LEFT:]
        along_x, along_y = p[k, 0, y + 1, LEFT:], p[k, 1, y + 1, LEFT:]
        for x in range(width):
            ahead = TWO * here[x] - was_here[x]
            new_x = along_x[x] + sigma * (TWO * right[x] - was_right[x] - ahead)
            new_y = along_y[x] + sigma * (TWO * under[x] - was_under[x] - ahead)
            shrink = ONE / np.sqrt(max(ONE, new_x * new_x + new_y * new_y))
            along_x[x] = new_x * shrink
            along_y[x] = new_y * shrink


@njit_eager(
    "void(i8, f4[:,:,::1], f4[:,:,::1], f4[:,:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4, f4)"
)
def _step_flow(
    y: int,
    now: np.ndarray,
    after: np.ndarray,
    p: np.ndarray,
    gradient: np.ndarray,
    constant: np.ndarray,
    inverse: np.ndarray,
    tau: np.float32,
    tau_lambda: np.float32,
) -> None:
    """Row y: add tau * div p, then lessen the residual, by tau * lambda * gradient at most."""
    gradient_x, gradient_y = gradient[0, y], gradient[1, y]
    offset, scale = constant[y], inverse[y]
    u1, p11, p12 = now[0, y, LEFT:], p[0, 0, y + 1, LEFT:], p[0, 1, y + 1, LEFT:]
    u2, p21, p22 = now[1, y, LEFT:], p[1, 0, y + 1, LEFT:], p[1, 1, y + 1, LEFT:]
    p11_left, p12_above = p[0, 0, y + 1, LEFT - 1 :], p[0, 1, y, LEFT:]
    p21_left, p22_above = p[1, 0, y + 1, LEFT - 1 :], p[1, 1, y, LEFT:]
    after1, after2 = after[0, y, LEFT:], after[1, y, LEFT:]
    width = len(offset)
    for x in range(width):
        v1 = u1[x] + tau * (p11[x] - p11_left[x] + p12[x] - p12_above[x])
        v2 = u2[x] + tau * (p21[x] - p21_left[x] + p22[x] - p22_above[x])
        rho = offset[x] + gradient_x[x] * v1 + gradient_y[x] * v2
        d = min(max(-rho * scale[x], -tau_lambda), tau_lambda)
        after1[x] = v1 + d * gradient_x[x]
        after2[x] = v2 + d * gradient_y[x]
    after1[width], after2[width] = after1[width - 1], after2[width - 1]


@njit_eager("void(f4[:,:,::1], f4[:,:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4, f4, f4, i8)")
def _iterate(
    u: np.ndarray,
    p: np.ndarray,
    gradient: np.ndarray,
    constant: np.ndarray,
    inverse: np.ndarray,
    tau: np.float32,
    sigma: np.float32,
    tau_lambda: np.float32,
    iterations: int,
) -> None:
    """Iterate; u and p change in place.

    An iteration is one pass over the rows: p[y] moves while `before` still holds rows y and y + 1
    of the flow before, then row y of the flow after is written over it; now that is the newest.
    """
    height, width = constant.shape
    u[:, :, LEFT + width] = u[:, :, LEFT + width - 1]
    now, before = u, u.copy()
    for _ in range(iterations):
        for y in range(height):
            _step_dual(y, min(y + 1, height - 1), width, now, before, p, sigma)
            _step_flow(y, now, before, p, gradient, constant, inverse, tau, tau_lambda)
        now, before = before, now
    u[:] = now
