"""TV-L1: the flow most two-stream results were reached with, by two solvers.

Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007.
Sanchez Perez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation, IPOL 2013.
Chambolle, Pock: A First-Order Primal-Dual Algorithm for Convex Problems with Applications to
Imaging, JMIV 2011.
"""

from __future__ import annotations

from functools import partial

from flow_extract.methods.pairwise import ClipMethod, over_clips
from flow_extract.methods.tvl1_parameters import (
    Parameters,
    require_median,
    require_positive,
    require_scale_step,
)


def make_tvl1(
    *,
    tau: float = 0.25,
    lambda_: float = 0.15,
    theta: float = 0.3,
    scales: int = 5,
    scale_step: float = 0.8,
    warps: int = 5,
    inner: int = 30,
    outer: int = 10,
    epsilon: float = 0.01,
    median: int = 5,
    device: str = "cpu",
) -> ClipMethod:
    """TV-L1 with the algorithm, parameters and stop rule of OpenCV's DualTVL1.

    The options are explained at `tvl1_parameters.Parameters`. The function may be called from
    several threads at one time. The first use on a machine takes seconds: numba compiles.

    On another `device` (`cuda`) many pairs are solved at once in torch; see `tvl1_torch` for how
    little the flow then differs.

    Raises:
        InputError: an option is out of its range.
    """
    parameters = Parameters(
        tau, lambda_, theta, scales, scale_step, warps, inner, outer, epsilon, median
    )
    if device != "cpu":
        from flow_extract.methods.tvl1_torch import tvl1_on_device

        return tvl1_on_device(parameters, device=device)
    # numba takes half a second to import: only when flow is computed, not for `--help`.
    from flow_extract.methods.tvl1_numerics import coarse_to_fine
    from flow_extract.methods.tvl1_solver import solve_level

    solve = partial(solve_level, parameters=parameters)

    return over_clips(partial(coarse_to_fine, solve=solve, scales=scales, scale_step=scale_step))


def make_tvl1_fast(
    *,
    lambda_: float = 0.15,
    tau: float = 0.35,
    sigma: float = 0.35,
    scales: int = 8,
    scale_step: float = 0.7,
    warps: int = 3,
    iterations: int = 20,
    median: int = 5,
) -> ClipMethod:
    """TV-L1's energy by a solver that needs far fewer iterations: quick, but not OpenCV's result.

    The primal-dual method with a fixed number of iterations. Its pyramid reaches further down than
    that of `make_tvl1`, so it follows larger motion; at the borders of moving things it is less
    sharp. Like `make_tvl1` it may be called from several threads at one time, and compiles at
    first use.

    Args:
        lambda_: weight of the data against smoothness; smaller is smoother.
        tau: step of the flow. It converges for tau * sigma * 8 <= 1.
        sigma: step of the dual variable.
        scales: levels of the pyramid, at most; none has a side under 16 pixels.
        scale_step: size of a level relative to the next finer one.
        warps: times a level's second frame is warped by the flow found so far.
        iterations: of each warp.
        median: side of the window of the median filter after each warp: 3 or 5; 1 for none.

    Raises:
        InputError: an option is out of its range.
    """
    require_positive(
        {"lambda_": lambda_, "tau": tau, "sigma": sigma}
        | {"scales": scales, "warps": warps, "iterations": iterations}
    )
    require_scale_step(scale_step)
    require_median(median)
    from flow_extract.methods.tvl1_fast_solver import solve_level
    from flow_extract.methods.tvl1_numerics import coarse_to_fine

    solve = partial(
        solve_level,
        lambda_=lambda_,
        tau=tau,
        sigma=sigma,
        warps=warps,
        iterations=iterations,
        median=median,
    )

    return over_clips(partial(coarse_to_fine, solve=solve, scales=scales, scale_step=scale_step))
