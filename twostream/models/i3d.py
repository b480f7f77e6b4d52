"""I3D on a ResNet: 3D convolutions that begin as the 2D network they were inflated from.

The ResNet form of Wang et al., "Non-local Neural Networks", CVPR 2018, table 1 and section 4, and
their non-local blocks, sections 3.2 and 3.3: each place of a clip looks at all others, or at those
of a window around it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostream_base.errors import InputError

# Which blocks of a stage look at three frames: every one of res2, every second of the others.
FIRST_DEEP = (0, 0, 0, 1)
STEP = (1, 2, 2, 2)


class I3D(nn.Module):
    """The backbone: a ResNet of torchvision, without its classifier, inflated to clips.

    Args:
        resnet: gives its layers and weights; it is taken apart.
        num_frames: of the clips to come.
        last_stride: stride in space of res5, 2 or 1.
        stem_stride: stride in time of the first convolution, and of the pooling behind it. None:
            2 for clips of 16 frames and more, 1 for shorter ones. Res2 is always pooled by 2, so
            that 32 frames are 4 steps at the end, or 16 with a stride of 1, as in the authors'
            code.
        inflate_both: spread both convolutions of basic blocks (ResNet18, 34) over three frames, as
            mmaction2 does, instead of the first alone.

    Raises:
        InputError: `inflate_both` for a network of bottlenecks.
    """

    def __init__(
        self,
        resnet: nn.Module,
        *,
        num_frames: int,
        last_stride: int = 2,
        stem_stride: int | None = None,
        inflate_both: bool = False,
    ) -> None:
        super().__init__()
        stride = stem_stride or (2 if num_frames >= 16 else 1)
        conv1 = resnet.get_submodule("conv1")
        assert isinstance(conv1, nn.Conv2d)
        inflate_layers(resnet)
        self.conv1 = inflate_conv(conv1, depth=5, stride=stride)
        self.bn1 = resnet.get_submodule("bn1")
        self.relu = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool3d((1, 3, 3), stride=(stride, 2, 2), padding=(0, 1, 1))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _deepen(
                resnet.get_submodule(f"layer{i + 1}"),
                first=FIRST_DEEP[i],
                step=STEP[i],
                layers=("conv1", "conv2") if inflate_both else ("conv1",),
            )
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


def _deepen(stage: nn.Module, *, first: int, step: int, layers: tuple[str, ...]) -> nn.Sequential:
    """Spread `layers` of the blocks `first`, `first + step` ... over three frames."""
    assert isinstance(stage, nn.Sequential)
    if len(layers) > 1 and hasattr(stage[0], "conv3"):
        raise InputError("inflate_both is for the basic blocks of ResNet18 and ResNet34")
    for block in list(stage)[first::step]:
        for name in layers:
            conv = block.get_submodule(name)
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
            block.set_submodule(name, deep)
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


AFFINITIES = ("embedded_gaussian", "gaussian", "dot_product")


class NonLocalBlock(nn.Module):
    """x + BN(W y), where y is an average over the clip weighted by the similarity of its places.

    At the start it changes nothing: the last normalisation begins with a gain of zero. Keys and
    values are max-pooled 2 x 2 in space, a quarter of the work.

    Args:
        channels: of the input; half as many are compared.
        window: look only at keys within a spatial window around each place, in all frames: half
            its side relative to the map's. None looks everywhere.
        symmetric: the window reaches as far down and right as up and left; else one place less.
        pool_first: pool what keys and values are made of, as the authors' code does; else the keys
            and values, as mmcv's.
        affinity: of AFFINITIES, section 3.2. The Gaussian compares the places as they are.
        use_scale: divide the embedded products by the root of their length, as the authors' code
            does; mmaction2's networks do not.

    Raises:
        InputError: an unknown affinity, or one without softmax for a window.
    """

    def __init__(
        self,
        channels: int,
        *,
        window: float | None = None,
        symmetric: bool = False,
        pool_first: bool = True,
        affinity: str = "embedded_gaussian",
        use_scale: bool = True,
    ) -> None:
        super().__init__()
        if affinity not in AFFINITIES:
            raise InputError(f"affinity is {affinity!r}; allowed: {', '.join(AFFINITIES)}")
        if affinity == "dot_product" and window is not None:
            raise InputError("a window needs weights that sum to 1: not affinity=dot_product")
        inner = max(1, channels // 2)
        self.embeds, self.is_softmax = affinity != "gaussian", affinity != "dot_product"
        self.is_scaled = use_scale and affinity == "embedded_gaussian"
        if self.embeds:
            self.theta = nn.Conv3d(channels, inner, 1)
            self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.project = nn.Conv3d(inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.norm.weight)
        self.window, self.symmetric = window, symmetric
        self.pool_first = pool_first

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        compared = self.theta(x) if self.embeds else x
        queries = compared.flatten(2).transpose(1, 2)
        if self.pool_first:
            pooled = F.max_pool3d(x, (1, 2, 2))
            keys, values = self.phi(pooled) if self.embeds else pooled, self.g(pooled)
        else:
            keys = F.max_pool3d(self.phi(x) if self.embeds else x, (1, 2, 2))
            values = F.max_pool3d(self.g(x), (1, 2, 2))
        keys, values = keys.flatten(2), values.flatten(2)
        affinity = queries @ keys
        if self.is_scaled:
            affinity = affinity * keys.shape[1] ** -0.5
        if self.window is not None:
            affinity = self._limit(affinity, x.shape[2:])
        weights = affinity.softmax(dim=-1) if self.is_softmax else affinity / affinity.shape[-1]
        y = weights @ values.transpose(1, 2)
        result: Tensor = x + self.norm(self.project(y.transpose(1, 2).unflatten(2, x.shape[2:])))
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
    near = []
    for side, radius in zip((height, width), radii, strict=True):
        places = torch.arange(side, device=device)
        step = places[None] - places[:, None]  # [query, key]
        reach = max(radius, 0)
        last = reach if symmetric or reach == 0 else reach - 1
        near.append((step >= -reach) & (step <= last))
    rows, columns = near
    allowed = rows[:, None, :, None] & columns[None, :, None, :]
    return allowed.reshape(height * width, height, width).float()


def insert_blocks(stage: nn.Module, *, count: int, **options: Any) -> None:
    """Put non-local blocks behind `count` residual blocks of a stage of an `I3D`, evenly spread.

    Two in res3 and three in res4 are the paper's five (table 2, "5-block"): behind every second
    block of a ResNet50, every seventh of a ResNet101's res4. Never behind the first of a stage.

    Args:
        options: of `NonLocalBlock`.
    """
    assert isinstance(stage, nn.Sequential)
    step = max(2, len(stage) // count)
    for index in range(step - 1, len(stage), step):
        convolutions = [m for m in stage[index].modules() if isinstance(m, nn.Conv3d)]
        channels = convolutions[-1].out_channels
        stage[index] = nn.Sequential(stage[index], NonLocalBlock(channels, **options))
