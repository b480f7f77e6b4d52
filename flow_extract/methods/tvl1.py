"""TV-L1: the flow most two-stream results were reached with; the result of OpenCV's DualTVL1.

Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007.
Sanchez Perez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation, IPOL 2013.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flow_extract.methods.pairwise import ClipMethod, over_clips
from flow_extract.methods.tvl1_parameters import Parameters

if TYPE_CHECKING:
    import numpy as np


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

    def pair_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return coarse_to_fine(first, second, solve, scales=scales, scale_step=scale_step)

    return over_clips(pair_flow)
