"""TV-L1's iterations, median and warp as fused GPU kernels in Triton.

One launch is one iteration of all pairs of frames: each value of the flow and of the dual variable
is read and written once. A pair that has converged is frozen by its flag on the device, which its
programs read before anything else, so the host need not wait for a stop test. What a pair becomes
depends on nothing but itself: no program works for two pairs, and sums have a fixed order.

Triton comes with a CUDA build of torch. Without it, `tvl1_torch` does it in tensor operations.
"""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flow_extract.methods.median_network import NETWORKS
from flow_extract.methods.tvl1_parameters import FLAT, TEST_EVERY

try:
    import triton
    import triton.language as tl
except ImportError:  # of a CPU build of torch; nothing here is called then
    triton = tl = None

if TYPE_CHECKING:
    from flow_extract.methods.tvl1_parameters import Parameters

# Pixels of one program, and its warps.
ROWS, COLUMNS, WARPS = 8, 64, 8
LOOKS = 1  # stop tests that the host may be behind the device
CUBIC = -0.75


def jit(function: Any) -> Any:
    """`triton.jit` where there is Triton; one compiled form for all sizes of picture."""
    if triton is None:
        return function
    sizes = {"height", "width", "area", "tiles"} & set(inspect.signature(function).parameters)
    return triton.jit(do_not_specialize=sorted(sizes))(function)


@jit
def tile_of(height, width, rows: tl.constexpr, columns: tl.constexpr):
    """Coordinates of this program's pixels, (rows * columns,), and which of them exist.

    In one dimension: so neighbours along x are neighbours in a warp, whatever is loaded.
    """
    across = tl.cdiv(width, columns)
    pixel = tl.arange(0, rows * columns)
    y = (tl.program_id(0) // across) * rows + pixel // columns
    x = (tl.program_id(0) % across) * columns + pixel % columns
    return x, y, (x < width) & (y < height)


@jit
def step_flow(
    u, p, gradient, constant, x, y, inside, area, width, limit, theta, flat: tl.constexpr
):
    """The flow at some pixels, before and after: lessen the residual, add theta * div p."""
    at = y * width + x
    gradient_x = tl.load(gradient + at, inside, 0.0)
    gradient_y = tl.load(gradient + area + at, inside, 0.0)
    u1 = tl.load(u + at, inside, 0.0)
    u2 = tl.load(u + area + at, inside, 0.0)
    squared = gradient_x * gradient_x + gradient_y * gradient_y
    inverse = tl.where(squared < flat, 0.0, 1 / tl.maximum(squared, flat))
    residual = tl.load(constant + at, inside, 0.0) + (gradient_x * u1 + gradient_y * u2)
    step = tl.minimum(tl.maximum(-residual * inverse, -limit), limit)
    left = inside & (x > 0)
    above = inside & (y > 0)
    across1 = tl.load(p + at, inside, 0.0) - tl.load(p + at - 1, left, 0.0)
    down1 = tl.load(p + area + at, inside, 0.0) - tl.load(p + area + at - width, above, 0.0)
    p = p + 2 * area
    across2 = tl.load(p + at, inside, 0.0) - tl.load(p + at - 1, left, 0.0)
    down2 = tl.load(p + area + at, inside, 0.0) - tl.load(p + area + at - width, above, 0.0)
    new1 = u1 + step * gradient_x + theta * (across1 + down1)
    new2 = u2 + step * gradient_y + theta * (across2 + down2)
    return u1, u2, new1, new2


@jit
def step_dual(p, new_p, at, inside, area, slope_x, slope_y, ratio):
    """p = (p + tau / theta * grad u) / (1 + tau / theta * |grad u|), of one component of u."""
    shrink = 1 + ratio * tl.sqrt(slope_x * slope_x + slope_y * slope_y)
    along_x = tl.load(p + at, inside, 0.0) + ratio * slope_x
    along_y = tl.load(p + area + at, inside, 0.0) + ratio * slope_y
    tl.store(new_p + at, along_x / shrink, inside)
    tl.store(new_p + area + at, along_y / shrink, inside)


@jit
def iterate(
    u, p, new_u, new_p, gradient, constant, active, changes, height, width, limit, theta, ratio,
    test: tl.constexpr, flat: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """One iteration, from u and p to new_u and new_p; with test also the summed squared change.

    The dual variable needs the new flow to the right and below too. It is computed here again: a
    second kernel would read it all once more.
    """
    pair = tl.program_id(1)
    if tl.load(active + pair) == 0:
        return
    area = height * width
    plane = pair.to(tl.int64) * area
    u, p, new_u, new_p = u + 2 * plane, p + 4 * plane, new_u + 2 * plane, new_p + 4 * plane
    gradient, constant = gradient + 2 * plane, constant + plane
    x, y, inside = tile_of(height, width, rows, columns)
    right, below = inside & (x + 1 < width), inside & (y + 1 < height)
    old1, old2, here1, here2 = step_flow(
        u, p, gradient, constant, x, y, inside, area, width, limit, theta, flat
    )
    _, _, right1, right2 = step_flow(
        u, p, gradient, constant, x + 1, y, right, area, width, limit, theta, flat
    )
    _, _, below1, below2 = step_flow(
        u, p, gradient, constant, x, y + 1, below, area, width, limit, theta, flat
    )
    at = y * width + x
    tl.store(new_u + at, here1, inside)
    tl.store(new_u + area + at, here2, inside)
    slope_x = tl.where(right, right1 - here1, 0.0)
    slope_y = tl.where(below, below1 - here1, 0.0)
    step_dual(p, new_p, at, inside, area, slope_x, slope_y, ratio)
    slope_x = tl.where(right, right2 - here2, 0.0)
    slope_y = tl.where(below, below2 - here2, 0.0)
    step_dual(p + 2 * area, new_p + 2 * area, at, inside, area, slope_x, slope_y, ratio)
    if test:
        change1, change2 = tl.where(inside, here1 - old1, 0.0), tl.where(inside, here2 - old2, 0.0)
        change = tl.sum(change1 * change1 + change2 * change2, 0)
        tl.store(changes + pair * tl.num_programs(0) + tl.program_id(0), change)


@jit
def test_stop(active, changes, tiles, tolerance, block: tl.constexpr):
    """Clear the flag of a pair whose flow has changed by no more than `tolerance`."""
    pair = tl.program_id(0)
    if tl.load(active + pair) == 0:
        return
    tile = tl.arange(0, block)
    total = tl.sum(tl.load(changes + pair * tiles + tile, tile < tiles, 0.0), 0)
    tl.store(active + pair, (total > tolerance).to(tl.int32))


@jit
def exchange(values, i: tl.constexpr, j: tl.constexpr):
    """Put the smaller of two of the values at place i, the larger at j; i < j."""
    low, high = tl.minimum(values[i], values[j]), tl.maximum(values[i], values[j])
    return values[:i] + (low,) + values[i + 1 : j] + (high,) + values[j + 1 :]


@jit
def median(
    u, filtered, active, height, width,
    side: tl.constexpr, network: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Median of side x side pixels of each component of u, the border repeated."""
    pair = tl.program_id(1)
    if tl.load(active + pair) == 0:
        return
    area = height * width
    plane = (2 * pair + tl.program_id(2)).to(tl.int64) * area
    x, y, inside = tile_of(height, width, rows, columns)
    values = ()
    for k in tl.static_range(side * side):
        row = tl.minimum(tl.maximum(y + (k // side - side // 2), 0), height - 1)
        column = tl.minimum(tl.maximum(x + (k % side - side // 2), 0), width - 1)
        values = values + (tl.load(u + plane + row * width + column, inside, 0.0),)  # type: ignore
    for k in tl.static_range(0, len(network), 2):
        values = exchange(values, network[k], network[k + 1])
    tl.store(filtered + plane + y * width + x, values[side * side // 2], inside)


@jit
def cubic_weights(t, a: tl.constexpr):
    """Weights of the four pixels around a position, t after the second of them."""
    far, near, far_right = t + 1, 1 - t, 2 - t
    return (
        ((a * far - 5 * a) * far + 8 * a) * far - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * near - (a + 3)) * near * near + 1,
        ((a * far_right - 5 * a) * far_right + 8 * a) * far_right - 4 * a,
    )


@jit
def linearise(
    first, pictures, u, gradient, constant, height, width,
    a: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """The data term around u: look up the second frame and its derivatives at x + u, bicubic.

    Outside of a picture is 0. rho(u) = constant + gradient . u
    """
    pair = tl.program_id(1)
    area = height * width
    plane = pair.to(tl.int64) * area
    x, y, inside = tile_of(height, width, rows, columns)
    at = y * width + x
    u1 = tl.load(u + 2 * plane + at, inside, 0.0)
    u2 = tl.load(u + 2 * plane + area + at, inside, 0.0)
    # Four pixels beyond the border are as far as any: the integers below stay small.
    to_x = tl.minimum(tl.maximum(x + u1, -4.0), width + 4.0)
    to_y = tl.minimum(tl.maximum(y + u2, -4.0), height + 4.0)
    left, top = tl.floor(to_x), tl.floor(to_y)
    weights_x, weights_y = cubic_weights(to_x - left, a), cubic_weights(to_y - top, a)
    left, top = left.to(tl.int32) - 1, top.to(tl.int32) - 1
    second = tl.zeros_like(u1)
    along_x = tl.zeros_like(u1)
    along_y = tl.zeros_like(u1)
    pictures = pictures + 3 * plane
    for i in tl.static_range(4):
        row = top + i
        known_row = inside & (row >= 0) & (row < height)
        sum0 = tl.zeros_like(u1)
        sum1 = tl.zeros_like(u1)
        sum2 = tl.zeros_like(u1)
        for j in tl.static_range(4):
            column = left + j
            known = known_row & (column >= 0) & (column < width)
            place = pictures + row * width + column
            sum0 += weights_x[j] * tl.load(place, known, 0.0)
            sum1 += weights_x[j] * tl.load(place + area, known, 0.0)
            sum2 += weights_x[j] * tl.load(place + 2 * area, known, 0.0)
        second += weights_y[i] * sum0
        along_x += weights_y[i] * sum1
        along_y += weights_y[i] * sum2
    tl.store(gradient + 2 * plane + at, along_x, inside)
    tl.store(gradient + 2 * plane + area + at, along_y, inside)
    residual = second - tl.load(first + plane + at, inside, 0.0)
    tl.store(constant + plane + at, residual - (along_x * u1 + along_y * u2), inside)


def solve_level(first: Tensor, pictures: Tensor, u: Tensor, parameters: Parameters) -> Tensor:
    """Refine the flow u by repeated warping; see `tvl1_torch.SolveLevel`."""
    if u.is_cuda and u.device.index != torch.cuda.current_device():  # Triton launches on that
        with torch.cuda.device(u.device):
            return solve_level(first, pictures, u, parameters)
    pairs, _, height, width = u.shape
    tile: dict[str, Any] = {"rows": ROWS, "columns": COLUMNS, "num_warps": WARPS}
    tiles = -(-height // ROWS) * -(-width // COLUMNS)
    block = 1 << (tiles - 1).bit_length()
    first, pictures = first.contiguous(), pictures.contiguous()
    # Read and written in turn: an iteration needs the old values of its neighbours.
    flows = [u.contiguous(), u.new_empty(u.shape)]
    duals = [u.new_zeros(pairs, 2, *u.shape[1:]), u.new_empty(pairs, 2, *u.shape[1:])]
    filtered, gradient, constant = (u.new_empty(u.shape) for _ in range(3))
    active = torch.ones(pairs, dtype=torch.int32, device=u.device)
    changes = u.new_empty(pairs, tiles)
    limit = parameters.lambda_ * parameters.theta
    ratio = parameters.tau / parameters.theta
    tolerance = parameters.epsilon**2 * height * width
    iterations = parameters.outer * parameters.inner
    for _ in range(parameters.warps):
        linearise[tiles, pairs](
            first, pictures, flows[0], gradient, constant, height, width, a=CUBIC, **tile
        )
        active.fill_(1)
        flags = LateFlags(active)
        for iteration in range(iterations):
            source = flows[0]
            if iteration % parameters.inner == 0 and parameters.median > 1:
                source = filtered
                network = NETWORKS[parameters.median]
                median[tiles, pairs, 2](
                    flows[0], filtered, active, height, width,
                    side=parameters.median, network=network, **tile,
                )  # fmt: skip
            test = (iteration + 1) % TEST_EVERY == 0
            iterate[tiles, pairs](
                source, duals[0], flows[1], duals[1], gradient, constant, active, changes,
                height, width, limit, parameters.theta, ratio, test=test, flat=FLAT, **tile,
            )  # fmt: skip
            flows.reverse()
            duals.reverse()
            if test:
                test_stop[(pairs,)](active, changes, tiles, tolerance, block=block)
                if flags.all_cleared():
                    break
        else:
            # A pair is frozen after an even number of iterations: an odd one wrote nothing there.
            if iterations % 2:
                moving = active.bool()[:, None, None, None]
                flows[0] = torch.where(moving, flows[0], flows[1])
                duals[0] = torch.where(moving[..., None], duals[0], duals[1])
    return flows[0]


class LateFlags:
    """Whether all flags on the device are cleared, as the host knows it a little later.

    So the device always has something to do: `LOOKS` stop tests may be under way while the host
    goes on. What it starts in vain ends at once, as no flag is set.
    """

    def __init__(self, flags: Tensor) -> None:
        self.flags = flags
        self.copies: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def all_cleared(self) -> bool:
        """Look at the flags; True if they were all cleared at this look or at one before it."""
        if not self.flags.is_cuda:
            return not self.flags.any()
        copy = torch.empty(self.flags.shape, dtype=self.flags.dtype, pin_memory=True)
        copy.copy_(self.flags, non_blocking=True)
        event = torch.cuda.Event(blocking=True)
        event.record()
        self.copies.append((copy, event))
        while self.copies and (len(self.copies) > LOOKS or self.copies[0][1].query()):
            copy, event = self.copies.popleft()
            event.synchronize()
            if not copy.any():
                return True
        return False
