"""How two streams are joined in one network: maps of a layer, or features and classifiers.

Feichtenhofer, Pinz and Zisserman, "Convolutional Two-Stream Network Fusion for Video Action
Recognition", CVPR 2016, section 3.1. All but `max` and `bilinear`'s products begin as what is known
to work, the sum, and learn from there.

A join of maps is `build(channels, dims)`: of the channels of RGB and flow maps, and the number of
their axes behind these (2 for pictures, 3 for clips), to what makes one map of both: RGB maps (N,
C, ...), flow maps -> (N, C', ...). A head is `build(spatial, motion)`: of the linear classifiers of
both streams to a module from their features side by side (N, S, D1 + D2) to logits (N, S, classes).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from twostream_base.errors import InputError

SKETCH = 1024  # channels of a compact bilinear product
Channels = tuple[int, int]  # of RGB maps, of flow maps
Join = Callable[[Tensor, Tensor], Tensor]


def add(channels: Channels, dims: int) -> Join:
    """The sum: channel c of both streams at the same place; which belong together is learnt."""
    _check_equal("sum", channels)
    return torch.add


def maximum(channels: Channels, dims: int) -> Join:
    """The larger of both, at each place and channel."""
    _check_equal("max", channels)
    return torch.maximum


def concatenate(channels: Channels, dims: int) -> Join:
    """Both behind one another; what follows learns to read them."""
    return _concatenated


def _concatenated(rgb: Tensor, flow: Tensor) -> Tensor:
    return torch.cat([rgb, flow], dim=1)


class ConvJoin(nn.Module):
    """A convolution and ReLU of both that begins as their sum; of clips, over three steps (3.4).

    ReLU as in the paper's code. The maps of a ResNet are not negative, so their sum passes it
    unchanged; behind the last stage, where an average follows, all would be linear without it, and
    so a late fusion.
    """

    def __init__(self, channels: Channels, dims: int) -> None:
        super().__init__()
        conv, kernel = (nn.Conv2d, 1) if dims == 2 else (nn.Conv3d, (3, 1, 1))
        padding = 0 if dims == 2 else (1, 0, 0)
        self.conv = conv(sum(channels), channels[0], kernel, padding=padding)  # type: ignore
        _start_at_zero(self.conv)
        identity = torch.cat([torch.eye(channels[0]), torch.eye(*channels)], dim=1)
        centre = self.conv.weight.data[:, :, 0] if dims == 2 else self.conv.weight.data[:, :, 1, 0]
        centre[..., 0] = identity

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        """Maps (N, C1, ...) and (N, C2, ...) -> (N, C1, ...)."""
        return torch.relu(self.conv(_concatenated(rgb, flow)))


class GatedJoin(nn.Module):
    """2 g rgb + 2 (1 - g) flow, with a gate g of each place and channel that begins as 1/2.

    Arevalo et al., "Gated Multimodal Units for Information Fusion", ICLR workshops 2017.
    """

    def __init__(self, channels: Channels, dims: int) -> None:
        super().__init__()
        _check_equal("gated", channels)
        self.gate = _pointwise(dims)(sum(channels), channels[0], 1)
        _start_at_zero(self.gate)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        """Maps (N, C, ...) of both -> (N, C, ...)."""
        gate = 2 * torch.sigmoid(self.gate(_concatenated(rgb, flow)))
        return gate * rgb + (2 - gate) * flow


class BilinearJoin(nn.Module):
    """The sum, and what a layer that begins as 0 makes of the compact bilinear product."""

    def __init__(self, channels: Channels, dims: int) -> None:
        super().__init__()
        _check_equal("bilinear", channels)
        self.product = CompactBilinear(channels)
        self.project = _pointwise(dims)(SKETCH, channels[0], 1)
        _start_at_zero(self.project)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        """Maps (N, C, ...) of both -> (N, C, ...)."""
        product = self.product(rgb.movedim(1, -1), flow.movedim(1, -1)).movedim(-1, 1)
        joined: Tensor = rgb + flow + self.project(product.to(rgb.dtype))
        return joined


class CompactBilinear(nn.Module):
    """All products of a value of one vector with one of another, in `SKETCH` numbers.

    Tensor sketch: Gao et al., "Compact Bilinear Pooling", CVPR 2016, section 3.3, with their signed
    square root and unit length.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        for name, count in zip(("first", "second"), channels, strict=True):
            self.register_buffer(f"{name}_place", torch.randint(SKETCH, (count,)))
            self.register_buffer(f"{name}_sign", torch.randint(2, (count,)) * 2.0 - 1.0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(..., C1) and (..., C2) -> (..., SKETCH), float32 at least."""
        device = first.device.type
        autocast = torch.amp.is_autocast_available(device)
        with torch.autocast(device, enabled=False) if autocast else nullcontext():
            product = torch.fft.irfft(
                self._sketch(first, "first") * self._sketch(second, "second"), n=SKETCH
            )
            product = product * (product.abs() + 1e-6) ** -0.5
            return nn.functional.normalize(product, dim=-1)

    def _sketch(self, vectors: Tensor, name: str) -> Tensor:
        """The spectrum of a count sketch: each channel is added, with its sign, to one place."""
        place, sign = getattr(self, f"{name}_place"), getattr(self, f"{name}_sign")
        vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        # As a product of matrices, which a GPU adds up in the same order each time.
        chosen = nn.functional.one_hot(place, SKETCH).to(vectors) * sign.to(vectors)[:, None]
        return torch.fft.rfft(vectors @ chosen)


class Head(nn.Module):
    """The classifiers of both streams, and the mean of their logits: what joins them late.

    Args:
        spatial, motion: as trained, or new.

    Attributes:
        in_features: of both streams, D1 + D2.
    """

    def __init__(self, spatial: nn.Linear, motion: nn.Linear) -> None:
        super().__init__()
        self.spatial, self.motion = spatial, motion
        self.sizes = [spatial.in_features, motion.in_features]
        self.in_features, self.out_features = sum(self.sizes), spatial.out_features

    def streams(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, D1 + D2) -> the logits of each stream by itself, (N, S, classes)."""
        rgb, flow = features.split(self.sizes, dim=-1)
        return self.spatial(rgb), self.motion(flow)

    def directions(self, features: Tensor) -> list[Tensor]:
        """The features of each stream at unit length: what scores and gates read.

        Features of two networks differ in size, and large ones would close a gate in one step.
        """
        return [nn.functional.normalize(part, dim=-1) for part in features.split(self.sizes, -1)]

    def forward(self, features: Tensor) -> Tensor:
        """(N, S, D1 + D2) -> logits (N, S, classes)."""
        rgb, flow = self.streams(features)
        return (rgb + flow) / 2


class MaxHead(Head):
    """The larger logit of both streams."""

    def forward(self, features: Tensor) -> Tensor:
        """As `Head`."""
        return torch.maximum(*self.streams(features))


class ConvHead(Head):
    """Each class is a sum over all logits of both streams, which begins as the mean of its own."""

    def __init__(self, spatial: nn.Linear, motion: nn.Linear) -> None:
        super().__init__(spatial, motion)
        classes = self.out_features
        self.conv = nn.Linear(2 * classes, classes)
        _start_at_zero(self.conv)
        self.conv.weight.data.copy_(torch.cat([torch.eye(classes)] * 2, dim=1) / 2)

    def forward(self, features: Tensor) -> Tensor:
        """As `Head`."""
        logits: Tensor = self.conv(torch.cat(self.streams(features), dim=-1))
        return logits


class GatedHead(Head):
    """How far to trust each stream is read from the features of both; it begins as one half."""

    def __init__(self, spatial: nn.Linear, motion: nn.Linear) -> None:
        super().__init__(spatial, motion)
        self.gate = nn.Linear(self.in_features, 1)
        _start_at_zero(self.gate)

    def forward(self, features: Tensor) -> Tensor:
        """As `Head`."""
        rgb, flow = self.streams(features)
        gate = torch.sigmoid(self.gate(torch.cat(self.directions(features), dim=-1)))
        return gate * rgb + (1 - gate) * flow


class BilinearHead(Head):
    """The mean, and what a layer that begins as 0 makes of the products of all features."""

    def __init__(self, spatial: nn.Linear, motion: nn.Linear) -> None:
        super().__init__(spatial, motion)
        self.product = CompactBilinear((self.sizes[0], self.sizes[1]))
        self.project = nn.Linear(SKETCH, self.out_features, bias=False)
        _start_at_zero(self.project)

    def forward(self, features: Tensor) -> Tensor:
        """As `Head`."""
        product = self.product(*features.split(self.sizes, dim=-1)).to(features.dtype)
        logits: Tensor = super().forward(features) + self.project(product)
        return logits


class AttentionHead(Head):
    """Attention over the segments of both streams: the mean that decides is a weighted one.

    The score of a segment is linear in its features at unit length, and begins as 0, that is, as
    the mean; see `AttentionClassifier`.
    """

    def __init__(self, spatial: nn.Linear, motion: nn.Linear) -> None:
        super().__init__(spatial, motion)
        self.scores = nn.ModuleList(nn.Linear(size, 1) for size in self.sizes)
        for layer in self.scores:
            _start_at_zero(layer)

    def forward(self, features: Tensor) -> Tensor:
        """(N, S, D1 + D2) -> logits (N, S, classes) whose mean over S is the weighted one."""
        logits = torch.stack(self.streams(features), dim=2)  # (N, S, 2, classes)
        parts = zip(self.scores, self.directions(features), strict=True)
        scores = torch.stack([layer(part) for layer, part in parts], dim=2)  # (N, S, 2, 1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        share = torch.softmax(scores.flatten(1, 2), dim=1).unflatten(1, (-1, 2))
        return (features.shape[1] * share.to(logits.dtype) * logits).sum(dim=2)


JOINS: dict[str, Callable[[Channels, int], Join]] = {
    "sum": add,
    "max": maximum,
    "concat": concatenate,
    "conv": ConvJoin,
    "gated": GatedJoin,
    "bilinear": BilinearJoin,
}
HEADS: dict[str, Callable[[nn.Linear, nn.Linear], nn.Module]] = {
    "sum": Head,
    "max": MaxHead,
    "concat": Head,  # one linear layer of both features is the sum of one of each
    "conv": ConvHead,
    "gated": GatedHead,
    "bilinear": BilinearHead,
    "attention": AttentionHead,
}


def _pointwise(dims: int) -> Callable[..., nn.Conv2d | nn.Conv3d]:
    return nn.Conv2d if dims == 2 else nn.Conv3d


def _start_at_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _check_equal(name: str, channels: Channels) -> None:
    if channels[0] != channels[1]:
        raise InputError(
            f"--fuse {name} joins maps of the same channels; RGB has {channels[0]}, flow "
            f"{channels[1]}: give --fuse conv or concat, or two networks alike"
        )
