"""Non-local blocks: each place of a clip looks at all others, or at those of a window around it.

Wang et al., "Non-local Neural Networks", CVPR 2018, sections 3.2 and 3.3 (embedded Gaussian).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUTSIDE = -1000.0  # added to the affinity of places that may not be looked at


class NonLocalBlock(nn.Module):
    """x + BN(W y), where y is an average over the clip weighted by the similarity of its places.

    At the start it changes nothing: the last normalisation begins with a gain of zero.

    Args:
        channels: of the input; half as many are compared.
        pool: keys and values are max-pooled 2 x 2 in space, a quarter of the work.
        window: look only at keys within a spatial window around each place, in all frames: half
            its side relative to the map's. None looks everywhere.
        symmetric: the window reaches as far down and right as up and left; else one place less.
    """

    def __init__(
        self,
        channels: int,
        *,
        pool: bool = True,
        window: float | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.out = nn.Conv3d(inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.norm.weight)
        self.pool, self.window, self.symmetric = pool, window, symmetric

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        queries = self.theta(x).flatten(2).transpose(1, 2)
        keys, values = self.phi(x), self.g(x)
        if self.pool:
            keys, values = F.max_pool3d(keys, (1, 2, 2)), F.max_pool3d(values, (1, 2, 2))
        keys, values = keys.flatten(2), values.flatten(2)
        affinity = queries @ keys * keys.shape[1] ** -0.5
        if self.window is not None:
            affinity = self._limit(affinity, x.shape[2:])
        y = affinity.softmax(dim=-1) @ values.transpose(1, 2)
        result: Tensor = x + self.norm(self.out(y.transpose(1, 2).unflatten(2, x.shape[2:])))
        return result

    def _limit(self, affinity: Tensor, shape: torch.Size) -> Tensor:
        """affinity * mask + bias; with pooled keys both are averaged over 2 x 2 keys like them."""
        frames, height, width = shape
        radii = tuple(int(self.window * side) for side in (height, width))  # type: ignore[operator]
        mask = window_mask(height, width, radii=radii, symmetric=self.symmetric).to(affinity)
        if self.pool:
            mask = F.avg_pool2d(mask[:, None], 2)[:, 0]
        mask = mask.flatten(1).repeat(frames, frames)
        return affinity * mask + OUTSIDE * (1 - mask)


def window_mask(height: int, width: int, *, radii: tuple[int, ...], symmetric: bool) -> Tensor:
    """Which keys (h', w') a query (h, w) may look at: 1 or 0, float32 (H*W, H, W).

    Allowed is h - r <= h' < h + r (`symmetric`: <= h + r), and the same for w. With a radius of 0
    a place looks at itself.
    """
    rows, columns = (
        _near(side, radius=max(radius, 0), symmetric=symmetric)
        for side, radius in zip((height, width), radii, strict=True)
    )
    allowed = rows[:, None, :, None] & columns[None, :, None, :]
    return allowed.reshape(height * width, height, width).float()


def _near(side: int, *, radius: int, symmetric: bool) -> Tensor:
    """(side, side), [query, key]."""
    step = torch.arange(side)[None] - torch.arange(side)[:, None]
    last = radius if symmetric or radius == 0 else radius - 1
    return (step >= -radius) & (step <= last)


def insert_blocks(
    stage: nn.Module, *, window: float | None = None, symmetric: bool = False
) -> None:
    """Put a non-local block behind every second residual block of a stage of an `I3D`.

    With res3 and res4 of a ResNet50 these are the paper's five (table 2, "5-block").
    """
    assert isinstance(stage, nn.Sequential)
    for index in range(1, len(stage), 2):
        convolutions = [m for m in stage[index].modules() if isinstance(m, nn.Conv3d)]
        channels = convolutions[-1].out_channels
        stage[index] = nn.Sequential(
            stage[index], NonLocalBlock(channels, window=window, symmetric=symmetric)
        )
