"""Flow as colours: the hue is the direction, the saturation the speed.

Baker, Scharstein, Lewis, Roth, Black, Szeliski: A Database and Evaluation Methodology for Optical
Flow, ICCV 2007; with the 55 hues of the Middlebury benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import pairwise

import numpy as np

# The hues at which the wheel turns, and how many steps lead from each to the next.
CORNERS = (
    (255, 0, 0),  # red: right
    (255, 255, 0),  # yellow: down
    (0, 255, 0),  # green
    (0, 255, 255),  # cyan: left
    (0, 0, 255),  # blue, then violet: up
    (255, 0, 255),  # magenta
)
STEPS = (15, 6, 4, 11, 13, 6)
# Faster than full saturation: darker by this factor.
TOO_FAST = 0.75
# A scale ends at one of these numbers, times a power of ten, and covers this percentage of vectors.
ROUND_NUMBERS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
COVERED = 99.5
STILL = 0.25  # pixels per frame: what is slower may be noise of a still picture


@cache
def hues() -> np.ndarray:
    """The colours of full saturation, uint8 (55, 3) RGB, clockwise on the screen from the right."""
    ramps = []
    for (start, end), steps in zip(pairwise([*CORNERS, CORNERS[0]]), STEPS, strict=True):
        share = np.arange(steps)[:, None] / steps
        change = np.floor(255 * share).astype(int)  # rounded as in the benchmark's own code
        ramps.append(np.array(start) + np.sign(np.subtract(end, start)) * change)
    return np.concatenate(ramps).astype(np.uint8)


def speed_scale(flows: Iterable[np.ndarray]) -> float:
    """A round speed, in pixels per frame, that suits most of these flow fields.

    All but the fastest few vectors of the middle one stay below it, of those in which something
    moves. So a cut or a jerk of the camera does not leave the rest of a film pale.

    Args:
        flows: float (..., 2) each.
    """
    speeds = [float(np.percentile(np.hypot(f[..., 0], f[..., 1]), COVERED)) for f in flows]
    moving = sorted(speed for speed in speeds if speed >= STILL) or [max(speeds)]
    typical = moving[len(moving) // 2]
    if typical < 0.01:
        return 1.0
    power = 10.0 ** np.floor(np.log10(typical))
    return float(next(number * power for number in ROUND_NUMBERS if typical <= number * power))


def flow_to_rgb(flow: np.ndarray, *, max_speed: float | None = None) -> np.ndarray:
    """Colours of flow, as the Middlebury benchmark draws it.

    >>> flow_to_rgb(np.array([[[0.0, 0.0], [1.0, 0.0]]]), max_speed=1.0).tolist()
    [[[255, 255, 255], [255, 0, 0]]]

    Args:
        flow: float (..., 2), (u right, v down) in pixels.
        max_speed: the speed, in pixels, of full saturation; what is faster is drawn darker. None:
            the `speed_scale` of this flow.

    Returns:
        uint8 (..., 3) RGB; white where nothing moves.
    """
    max_speed = speed_scale([flow]) if max_speed is None else max_speed
    u, v = (flow[..., n].astype(np.float64) / max_speed for n in (0, 1))
    speed = np.hypot(u, v)[..., None]
    wheel = hues().astype(np.float64) / 255
    # Opposite to the flow, as the benchmark has it: the wheel begins at the right.
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(wheel) - 1)
    before = np.floor(place).astype(int)
    share = (place - before)[..., None]
    hue = (1 - share) * wheel[before] + share * wheel[(before + 1) % len(wheel)]
    color = np.where(speed <= 1, 1 - speed * (1 - hue), TOO_FAST * hue)
    return np.floor(255 * color).astype(np.uint8)


def wheel_picture(size: int) -> np.ndarray:
    """A disc that shows the colour of each direction and speed, uint8 (size, size, 3) RGB.

    Its rim is the largest speed; outside it is white.
    """
    middle = (size - 1) / 2
    v, u = np.mgrid[:size, :size] - middle
    flow = np.stack([u, v], axis=-1)
    inside = np.hypot(u, v) <= middle
    return np.where(inside[..., None], flow_to_rgb(flow, max_speed=middle), 255).astype(np.uint8)
