"""Medians of 3 x 3 and 5 x 5 pixels as selection networks: only minima and maxima, hence exact.

A network is a list of exchanges: the smaller of two values goes to the first place, the larger to
the second. After all of them the median is in the middle place. The networks are those of
N. Devillard, "Fast median search: an ANSI C implementation", 1998.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Side of the window -> the places of each exchange in a row, row by row of the window.
# fmt: off
NETWORKS: dict[int, tuple[int, ...]] = {
    1: (),
    3: (
        1, 2, 4, 5, 7, 8, 0, 1, 3, 4, 6, 7, 1, 2, 4, 5, 7, 8, 0, 3, 5, 8, 4, 7, 3, 6, 1, 4, 2, 5,
        4, 7, 2, 4, 4, 6, 2, 4,
    ),
    5: (
        0, 1, 3, 4, 2, 4, 2, 3, 6, 7, 5, 7, 5, 6, 9, 10, 8, 10, 8, 9, 12, 13, 11, 13, 11, 12, 15,
        16, 14, 16, 14, 15, 18, 19, 17, 19, 17, 18, 21, 22, 20, 22, 20, 21, 23, 24, 2, 5, 3, 6, 0,
        6, 0, 3, 4, 7, 1, 7, 1, 4, 11, 14, 8, 14, 8, 11, 12, 15, 9, 15, 9, 12, 13, 16, 10, 16, 10,
        13, 20, 23, 17, 23, 17, 20, 21, 24, 18, 24, 18, 21, 19, 22, 8, 17, 9, 18, 0, 18, 0, 9, 10,
        19, 1, 19, 1, 10, 11, 20, 2, 20, 2, 11, 12, 21, 3, 21, 3, 12, 13, 22, 4, 22, 4, 13, 14, 23,
        5, 23, 5, 14, 15, 24, 6, 24, 6, 15, 7, 16, 7, 19, 13, 21, 15, 23, 7, 13, 7, 15, 1, 9, 3,
        11, 5, 17, 11, 17, 9, 17, 4, 10, 6, 12, 7, 14, 4, 6, 4, 7, 12, 14, 10, 14, 6, 7, 10, 12, 6,
        10, 6, 17, 12, 17, 7, 17, 7, 10, 12, 18, 7, 12, 10, 18, 12, 20, 10, 20, 10, 12,
    ),
}
# fmt: on


def median(u: Tensor, size: int) -> Tensor:
    """Median of size x size pixels of (N, C, H, W), the border repeated."""
    height, width = u.shape[-2:]
    padded = F.pad(u, (size // 2,) * 4, mode="replicate")
    values = [
        padded[..., row : row + height, column : column + width]
        for row in range(size)
        for column in range(size)
    ]
    network = NETWORKS[size]
    for i, j in zip(network[::2], network[1::2], strict=True):
        low, high = torch.minimum(values[i], values[j]), torch.maximum(values[i], values[j])
        values[i], values[j] = low, high
    return values[size * size // 2]
