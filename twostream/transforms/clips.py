"""Boxes in a frame, and views of stored pictures: cropped, scaled, mirrored, in their batch.

Flow has stored values, zero at 128, channels u v. Nothing is drawn at random here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


class Box(NamedTuple):
    """A rectangle of a frame."""

    top: int
    left: int
    height: int
    width: int


class View(NamedTuple):
    """One look at a snippet: a part of the frame, mirrored or not."""

    box: Box
    mirrored: bool = False


def centre_box(height: int, width: int, *, size: int) -> Box:
    """The square of side `size` in the middle of a frame."""
    return Box((height - size) // 2, (width - size) // 2, size, size)


def corner_boxes(height: int, width: int, *, size: tuple[int, int]) -> list[Box]:
    """Boxes of that height and width in the four corners and the middle."""
    down, right = height - size[0], width - size[1]
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    return [Box(top, left, *size) for top, left in corners]


def three_boxes(height: int, width: int) -> list[Box]:
    """Squares with the short side at the beginning, middle and end of the long side."""
    size = min(height, width)
    down, right = height - size, width - size
    return [Box(down * i // 2, right * i // 2, size, size) for i in range(3)]


Clip = NDArray[np.uint8]

# The opposite of a stored value around the stored zero, 128, is 256 - q; 0, which is never stored
# but may come out of a lossy codec, becomes 255.
OPPOSITE = np.minimum(256 - np.arange(256), 255).astype(np.uint8)


def write_views(
    picture: Clip, views: Sequence[View], out: Clip, *, mirror: Callable[[Clip, Clip], None]
) -> None:
    """Write views of a picture (H, W, C) to `out` (R, C, side, side).

    A mirrored view that follows the same box unmirrored is made from that, which is much cheaper.
    """
    unmirrored: dict[Box, Clip] = {}
    for (box, mirrored), place in zip(views, out, strict=True):
        source = unmirrored.get(box, place) if mirrored else place
        if source is place:
            write_box(picture, box, place)
        if mirrored:
            mirror(source, place)
        else:
            unmirrored[box] = place


def write_box(picture: Clip, box: Box, out: Clip) -> None:
    """Scale `box` of a picture (H, W, C) to `out` (C, height, width); the aspect may change.

    Flow vectors keep their values: they stay pixels of the stored flow.
    """
    import cv2

    part = picture[box.top : box.top + box.height, box.left : box.left + box.width]
    planar = part.strides[1] == 1  # the channels lie apart already
    if part.shape[:2] == out.shape[1:]:
        if planar:
            out[...] = part.transpose(2, 0, 1)
        else:
            # OpenCV parts interleaved channels four times as fast as numpy, but only what has no
            # gaps: row by row, at addresses that are no multiple of 32, it is 15 times slower.
            cv2.split(np.ascontiguousarray(part), list(out))
        return
    shrinks = out.shape[-1] < min(box.height, box.width)
    if shrinks:
        from twostream.transforms.area import scale_down  # which takes a moment to import

        if scale_down(part.transpose(2, 0, 1), out):
            return
    planes: Sequence[Clip] = (
        [part[..., channel] for channel in range(part.shape[-1])] if planar else cv2.split(part)  # type: ignore[assignment]
    )
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    for plane, place in zip(planes, out, strict=True):
        cv2.resize(plane, place.shape[::-1], dst=place, interpolation=interpolation)


def cut_views(pictures: Tensor, views: Sequence[View], *, u_channels: slice) -> Tensor:
    """Cut unscaled views of whole pictures, on the device that these are on.

    The values are those of `write_views`.

    Args:
        pictures: uint8 (N, T, C, H, W).
        u_channels: those that mirroring negates, see `Modality.u_channels`.

    Returns:
        uint8 (N, R, T, C, side, side).
    """
    import torch

    cuts = []
    for (top, left, height, width), mirrored in views:
        cut = pictures[..., top : top + height, left : left + width]
        if mirrored:
            cut = cut.flip(-1)
            u = cut[..., u_channels, :, :]
            u.copy_((-u).masked_fill_(u == 0, 255))  # OPPOSITE; -q is 256 - q in a byte
        cuts.append(cut)
    return torch.stack(cuts, dim=1)


def resize_picture(picture: Clip, size: tuple[int, int], *, vectors: bool) -> Clip:
    """Scale a picture (H, W, C) to (height, width); the aspect may change.

    Args:
        vectors: it holds flow, whose vectors stretch with it: u by the width, v by the height.
    """
    out = np.empty((picture.shape[-1], *size), np.uint8)
    write_box(picture, Box(0, 0, *picture.shape[:2]), out)
    if vectors:
        stretch_vectors_(out, (size[1] / picture.shape[1], size[0] / picture.shape[0]))
    return np.moveaxis(out, 0, -1)


def stretch_vectors_(flow: Clip, factors: tuple[float, float]) -> None:
    """Multiply stored flow (..., 2, H, W) by the factors of u and v, in place."""
    import cv2

    levels = np.arange(256) - 128
    for channel, factor in enumerate(factors):
        stretched = np.clip(np.rint(levels * factor + 128), 1, 255).astype(np.uint8)
        for frame in np.ndindex(flow.shape[:-3]):
            plane = flow[(*frame, channel)]
            cv2.LUT(plane, stretched, dst=plane)


def mirror_rgb(source: Clip, out: Clip) -> None:
    """Mirror (C, H, W) left and right; `out` may be `source`."""
    import cv2

    for plane, place in zip(source, out, strict=True):
        cv2.flip(plane, 1, dst=place)


def mirror_flow(source: Clip, out: Clip) -> None:
    """Mirror (2, H, W), and turn u round: what moved right now moves left."""
    import cv2

    mirror_rgb(source, out)
    cv2.LUT(out[0], OPPOSITE, dst=out[0])
