"""I3D on a ResNet: 3D convolutions that begin as the 2D network they were inflated from.

The ResNet form of Wang et al., "Non-local Neural Networks", CVPR 2018, table 1 and section 4, and
their non-local blocks, sections 3.2 and 3.3 (embedded Gaussian): each place of a clip looks at all
others, or at those of a window around it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Which blocks of a stage look at three frames: every one of res2, every second of the others.
FIRST_DEEP = (0, 0, 0, 1)
STEP = (1, 2, 2, 2)


class I3D(nn.Module):
    """The backbone: a ResNet of torchvision, without its classifier, inflated to clips.

    Args:
        resnet: gives its layers and weights; it is taken apart.
        num_frames: of the clips to come. Those of 16 and more are thinned out by 4 in the stem and
            by 2 after res2; shorter ones only after res2.
        last_stride: stride in space of res5, 2 or 1.
    """

    def __init__(self, resnet: nn.Module, *, num_frames: int, last_stride: int = 2) -> None:
        super().__init__()
        stride = 2 if num_frames >= 16 else 1
        conv1 = resnet.get_submodule("conv1")
        assert isinstance(conv1, nn.Conv2d)
        inflate_layers(resnet)
        self.conv1 = inflate_conv(conv1, depth=5, stride=stride)
        self.bn1 = resnet.get_submodule("bn1")
        self.relu = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool3d((1, 3, 3), stride=(stride, 2, 2), padding=(0, 1, 1))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _deepen(resnet.get_submodule(f"layer{i + 1}"), first=FIRST_DEEP[i], step=STEP[i])
            for i in range(4)
        )
        self.pool2 = nn.MaxPool3d((2, 1, 1))
        if last_stride == 1:
            for layer in self.layer4.modules():
                if isinstance(layer, nn.Conv3d):
                    layer.stride = (1, 1, 1)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, C, T, H, W) -> features (N, D), averaged over time and space."""
        x = self.pool1(self.relu(self.bn1(self.conv1(clips))))
        x = self.layer3(self.layer2(self.pool2(self.layer1(x))))
        features: Tensor = self.layer4(x).mean(dim=(2, 3, 4))
        return features


def _deepen(stage: nn.Module, *, first: int, step: int) -> nn.Sequential:
    """Spread the first convolution of blocks `first`, `first + step` ... over three frames."""
    assert isinstance(stage, nn.Sequential)
    for block in list(stage)[first::step]:
        conv = block.conv1
        assert isinstance(conv, nn.Conv3d)
        deep = nn.Conv3d(
            conv.in_channels,
            conv.out_channels,
            kernel_size=(3, *conv.kernel_size[1:]),  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=(1, *conv.padding[1:]),
            bias=False,
        )
        deep.weight.data.copy_(conv.weight.data.expand_as(deep.weight) / 3)
        block.conv1 = deep
    return stage


def inflate_conv(conv: nn.Conv2d, *, depth: int = 1, stride: int = 1) -> nn.Conv3d:
    """Return `conv` with kernels `depth` frames deep, whose sum over time is the 2D kernel.

    Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, section 2.4.1. On a still
    clip, away from its ends where zeros are padded, the response is that of the 2D network.

    Args:
        depth: odd. stride: in time.
    """
    inflated = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=(depth, *conv.kernel_size),  # type: ignore[arg-type]
        stride=(stride, *conv.stride),  # type: ignore[arg-type]
        padding=(depth // 2, *conv.padding),
        dilation=(1, *conv.dilation),  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        inflated.weight.copy_(conv.weight.unsqueeze(2).expand_as(inflated.weight) / depth)
        if conv.bias is not None and inflated.bias is not None:
            inflated.bias.copy_(conv.bias)
    return inflated


def inflate_norm(norm: nn.BatchNorm2d) -> nn.BatchNorm3d:
    """Return the same normalisation for (N, C, T, H, W)."""
    inflated = nn.BatchNorm3d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    inflated.load_state_dict(norm.state_dict())
    return inflated


def inflate_layers(module: nn.Module) -> None:
    """Replace all convolutions, normalisations and poolings inside by 3D ones of depth 1."""
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv2d):
            setattr(module, name, inflate_conv(layer))
        elif isinstance(layer, nn.BatchNorm2d):
            setattr(module, name, inflate_norm(layer))
        else:
            inflate_layers(layer)


OUTSIDE = -1000.0  # added to the affinity of places that may not be looked at


class NonLocalBlock(nn.Module):
    """x + BN(W y), where y is an average over the clip weighted by the similarity of its places.

    At the start it changes nothing: the last normalisation begins with a gain of zero. Keys and
    values are max-pooled 2 x 2 in space, a quarter of the work.

    Args:
        channels: of the input; half as many are compared.
        window: look only at keys within a spatial window around each place, in all frames: half
            its side relative to the map's. None looks everywhere.
        symmetric: the window reaches as far down and right as up and left; else one place less.
    """

    def __init__(
        self, channels: int, *, window: float | None = None, symmetric: bool = False
    ) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.out = nn.Conv3d(inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.norm.weight)
        self.window, self.symmetric = window, symmetric

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        queries = self.theta(x).flatten(2).transpose(1, 2)
        keys, values = (
            F.max_pool3d(layer(x), (1, 2, 2)).flatten(2) for layer in (self.phi, self.g)
        )
        affinity = queries @ keys * keys.shape[1] ** -0.5
        if self.window is not None:
            affinity = self._limit(affinity, x.shape[2:])
        y = affinity.softmax(dim=-1) @ values.transpose(1, 2)
        result: Tensor = x + self.norm(self.out(y.transpose(1, 2).unflatten(2, x.shape[2:])))
        return result

    def _limit(self, affinity: Tensor, shape: torch.Size) -> Tensor:
        """affinity * mask + bias, both averaged over the 2 x 2 places of each pooled key."""
        frames, height, width = shape
        radii = tuple(int(self.window * side) for side in (height, width))  # type: ignore[operator]
        # Made where it is used: a copy from elsewhere would wait for all that the GPU has to do.
        mask = window_mask(
            height, width, radii=radii, symmetric=self.symmetric, device=affinity.device
        ).to(affinity.dtype)
        mask = F.avg_pool2d(mask[:, None], 2).flatten(1).repeat(frames, frames)
        return affinity * mask + OUTSIDE * (1 - mask)


def window_mask(
    height: int,
    width: int,
    *,
    radii: tuple[int, ...],
    symmetric: bool,
    device: torch.device | None = None,
) -> Tensor:
    """Which keys (h', w') a query (h, w) may look at: 1 or 0, float32 (H*W, H, W).

    Allowed is h - r <= h' < h + r (`symmetric`: <= h + r), and the same for w. With a radius of 0
    a place looks at itself.
    """
    rows, columns = (
        _near(side, radius=max(radius, 0), symmetric=symmetric, device=device)
        for side, radius in zip((height, width), radii, strict=True)
    )
    allowed = rows[:, None, :, None] & columns[None, :, None, :]
    return allowed.reshape(height * width, height, width).float()


def _near(side: int, *, radius: int, symmetric: bool, device: torch.device | None) -> Tensor:
    """(side, side), [query, key]."""
    places = torch.arange(side, device=device)
    step = places[None] - places[:, None]
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
