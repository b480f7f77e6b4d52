"""How wrong a flow is, where the true one is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twostream.errors import InputError

# The first float of a .flo file: its bytes read "PIEH".
MAGIC = 202021.25
# Components of at least this size mark an unknown pixel.
UNKNOWN = 1e9
# A side beyond this is not believed: the file is damaged.
LARGEST_SIDE = 1 << 16


def read_flo(path: Path) -> np.ndarray:
    """Read a Middlebury .flo file: float32 (H, W, 2), NaN where the flow is not known.

    Format: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011.

    Raises:
        InputError: not a .flo file, or cut short or too long.
    """
    data = path.read_bytes()
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != MAGIC:
        raise InputError(f"{path}: not a .flo file; it must begin with the bytes PIEH")
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, offset=4))
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise InputError(f"{path}: claims {width} x {height} pixels; the file is damaged")
    expected = 12 + 8 * width * height
    if len(data) != expected:
        raise InputError(
            f"{path}: {len(data):,} bytes; {width} x {height} pixels take {expected:,}. "
            "Fetch the file again"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    flow[~(np.abs(flow) < UNKNOWN).all(axis=-1)] = np.nan
    return flow


def endpoint_error(flow: np.ndarray, truth: np.ndarray) -> float:
    """Mean Euclidean distance, in pixels, of flow (..., 2) from the truth where that is known.

    Args:
        flow: finite everywhere; a NaN in it gives NaN.
        truth: of the same shape; a pixel with a NaN is unknown and left out.

    Raises:
        InputError: different shapes, or a truth that is known nowhere.
    """
    if flow.shape != truth.shape:
        raise InputError(f"flow {flow.shape} and truth {truth.shape} differ in shape")
    known = ~np.isnan(truth).any(axis=-1)
    if not known.any():
        raise InputError(f"the true flow {truth.shape} is known at no pixel")
    difference = flow[known].astype(np.float64) - truth[known]
    return float(np.hypot(difference[:, 0], difference[:, 1]).mean())
