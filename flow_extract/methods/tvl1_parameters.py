"""The parameters of TV-L1, in the symbols of its papers."""

from __future__ import annotations

from dataclasses import dataclass

from twostream_base.errors import InputError

TEST_EVERY = 10  # iterations between two stop tests of a pair, on a device
FLAT = 1.19e-7  # squared gradients below this carry no information
# The sizes of window for which OpenCV has a median of float pictures; 1 is none.
MEDIANS = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the energy weighs, how fine the pyramid is, and how many iterations a level gets.

    Defaults are those of OpenCV's DualTVL1; pictures count from 0 to 255.
    """

    tau: float = 0.25  # step of the dual variable; it converges up to 0.25
    lambda_: float = 0.15  # weight of the data against smoothness; smaller is smoother
    theta: float = 0.3  # how tightly the flow follows its auxiliary copy; smaller: tighter, slower
    scales: int = 5  # levels of the pyramid, at most; none has a side under 16 pixels
    scale_step: float = 0.8  # size of a level relative to the next finer one, above 0 and below 1
    warps: int = 5  # times a level's second frame is warped by the flow found so far
    inner: int = 30  # iterations between two medians, at most
    outer: int = 10  # medians of a warp, at most
    epsilon: float = 0.01  # mean change of the flow, in pixels, at which a warp counts as done
    median: int = 5  # side of the window of the median filter, in pixels: 3 or 5; 1 for none

    def __post_init__(self) -> None:
        positive = ("tau", "lambda_", "theta", "scales", "warps", "inner", "outer", "median")
        require_positive({name: getattr(self, name) for name in positive})
        require_scale_step(self.scale_step)
        require_median(self.median)
        if not self.epsilon >= 0:
            raise InputError(f"epsilon is {self.epsilon}; it must be 0 or more")


def require_positive(values: dict[str, float]) -> None:
    """Raise InputError, naming the first of `values` that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name} is {value}; it must be above 0")


def require_scale_step(scale_step: float) -> None:
    """Raise InputError unless each level of the pyramid is smaller than the one before."""
    if not 0 < scale_step < 1:
        raise InputError(f"scale_step is {scale_step}; allowed: above 0 and below 1")


def require_median(median: int) -> None:
    """Raise InputError unless OpenCV has that median."""
    if median not in MEDIANS:
        raise InputError(f"median is {median}; allowed: {', '.join(map(str, MEDIANS))} (1: none)")
