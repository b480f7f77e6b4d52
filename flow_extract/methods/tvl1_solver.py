"""TV-L1 on one level of the pyramid. Symbols and layout: `tvl1_numerics`."""

from __future__ import annotations

import cv2
import numpy as np

from flow_extract.methods.tvl1_numerics import (
    LEFT,
    ONE,
    ZERO,
    filter_median,
    inside,
    linearise,
    njit_eager,
    padded,
    warp,
    with_gradients,
)
from flow_extract.methods.tvl1_parameters import Parameters


def solve_level(
    first: np.ndarray, second: np.ndarray, start: np.ndarray, *, parameters: Parameters
) -> np.ndarray:
    """Refine a flow (2, H, W) between two frames (H, W) by repeated warping."""
    height, width = first.shape
    u, p = padded(2, height, width), padded(2, 2, height + 1, width)
    flow = inside(u, width)
    flow[:] = start
    pictures = with_gradients(second)
    for _ in range(parameters.warps):
        warped = warp(pictures, flow, interpolation=cv2.INTER_CUBIC)
        _minimise(u, p, linearise(first, warped, u), parameters)
    return flow


def _minimise(
    u: np.ndarray,
    p: np.ndarray,
    data_term: tuple[np.ndarray, np.ndarray, np.ndarray],
    parameters: Parameters,
) -> None:
    """Alternate medians of u and iterations until u moves less than epsilon, in place."""
    _, constant, _ = data_term
    tolerance = np.float32(parameters.epsilon**2 * constant.size)
    step = np.float32(parameters.lambda_ * parameters.theta)
    theta = np.float32(parameters.theta)
    tau_theta = np.float32(parameters.tau / parameters.theta)
    flow = inside(u, constant.shape[1])
    for _ in range(parameters.outer):
        filter_median(flow, parameters.median)
        change = _iterate(u, p, *data_term, step, theta, tau_theta, tolerance, parameters.inner)
        if change <= tolerance:
            break


@njit_eager("f4(i8, f4[:,:,::1], f4[:,:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4, f4)")
def _step_flow(
    y: int,
    u: np.ndarray,
    p: np.ndarray,
    gradient: np.ndarray,
    constant: np.ndarray,
    inverse: np.ndarray,
    lambda_theta: np.float32,
    theta: np.float32,
) -> np.float32:
    """Row y: lessen the residual, by lambda * theta * gradient at most, and add theta * div p."""
    gradient_x, gradient_y = gradient[0, y], gradient[1, y]
    offset, scale = constant[y], inverse[y]
    u1, p11, p12 = u[0, y, LEFT:], p[0, 0, y + 1, LEFT:], p[0, 1, y + 1, LEFT:]
    u2, p21, p22 = u[1, y, LEFT:], p[1, 0, y + 1, LEFT:], p[1, 1, y + 1, LEFT:]
    p11_left, p12_above = p[0, 0, y + 1, LEFT - 1 :], p[0, 1, y, LEFT:]
    p21_left, p22_above = p[1, 0, y + 1, LEFT - 1 :], p[1, 1, y, LEFT:]
    width = len(offset)
    change = ZERO
    for x in range(width):
        rho = offset[x] + gradient_x[x] * u1[x] + gradient_y[x] * u2[x]
        # The three cases of the papers' thresholding operator, without a branch.
        d = min(max(-rho * scale[x], -lambda_theta), lambda_theta)
        divergence1 = p11[x] - p11_left[x] + p12[x] - p12_above[x]
        divergence2 = p21[x] - p21_left[x] + p22[x] - p22_above[x]
        step1 = d * gradient_x[x] + theta * divergence1
        step2 = d * gradient_y[x] + theta * divergence2
        u1[x] += step1
        u2[x] += step2
        change += step1 * step1 + step2 * step2
    u1[width], u2[width] = u1[width - 1], u2[width - 1]
    return change


@njit_eager("void(i8, i8, i8, f4[:,:,::1], f4[:,:,:,::1], f4)")
def _step_dual(
    y: int, below: int, width: int, u: np.ndarray, p: np.ndarray, tau_theta: np.float32
) -> None:
    """Row y: p = (p + tau / theta * grad u) / (1 + tau / theta * |grad u|)."""
    for k in range(2):
        here, right, under = u[k, y, LEFT:], u[k, y, LEFT + 1 :], u[k, below, LEFT:]
        along_x, along_y = p[k, 0, y + 1, LEFT:], p[k, 1, y + 1, LEFT:]
        for x in range(width):
            dx = tau_theta * (right[x] - here[x])
            dy = tau_theta * (under[x] - here[x])
            shrink = ONE / (ONE + np.sqrt(dx * dx + dy * dy))
            along_x[x] = (along_x[x] + dx) * shrink
            along_y[x] = (along_y[x] + dy) * shrink


@njit_eager("f4(f4[:,:,::1], f4[:,:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4, f4, f4, f4, i8)")
def _iterate(
    u: np.ndarray,
    p: np.ndarray,
    gradient: np.ndarray,
    constant: np.ndarray,
    inverse: np.ndarray,
    lambda_theta: np.float32,
    theta: np.float32,
    tau_theta: np.float32,
    tolerance: np.float32,
    iterations: int,
) -> np.float32:
    """Iterate until the summed squared change of u is at most `tolerance`; return that change.

    An iteration is one pass over the rows, in place: u[y] needs the old p[y - 1], which in turn
    needs the new u[y] and so follows it.
    """
    height, width = constant.shape
    change = ZERO
    for _ in range(iterations):
        change = ZERO
        for y in range(height):
            change += _step_flow(y, u, p, gradient, constant, inverse, lambda_theta, theta)
            if y > 0:
                _step_dual(y - 1, y, width, u, p, tau_theta)
        # Below the last row u goes on unchanged.
        _step_dual(height - 1, height - 1, width, u, p, tau_theta)
        if change <= tolerance:
            break
    return change
