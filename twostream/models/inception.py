"""Inception networks: BN-Inception of pictures (TSN), and Inception-I3D of clips.

Both give features, and leave the classifier to `SegmentNetwork`. Their layers have torchvision's
names, as in its GoogLeNet: `inception4b.branch2.1.conv`, and `bn` beside it; branch 1 is the 1 x 1
convolution, 2 and 3 those of larger kernels, 4 the one behind a pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU; of clips if `kernel` has three sides.

    Args:
        stride: in all axes. same: pad as TensorFlow does, such that ceil(size / stride) is left.
        bias: of the convolution. eps: of the normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, ...],
        *,
        stride: int = 1,
        same: bool = False,
        bias: bool,
        eps: float,
    ) -> None:
        super().__init__()
        deep = len(kernel) == 3
        conv: type[nn.Conv2d | nn.Conv3d] = nn.Conv3d if deep else nn.Conv2d
        norm: type[nn.BatchNorm2d | nn.BatchNorm3d] = nn.BatchNorm3d if deep else nn.BatchNorm2d
        self.same = same
        padding: Any = 0 if same else tuple(side // 2 for side in kernel)
        sides: Any = kernel
        self.conv = conv(in_channels, out_channels, sides, stride, padding, bias=bias)
        self.bn = norm(out_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) or (N, C, H, W) to `out_channels`."""
        if self.same:
            x = pad_same(x, kernel=self.conv.kernel_size, stride=self.conv.stride)
        return F.relu(self.bn(self.conv(x)), inplace=True)


def pad_same(x: Tensor, *, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad with zeros such that ceil(size / stride) outputs are left, the larger part at the end.

    TensorFlow's `SAME`: unlike a fixed padding it depends on the size, and may be one-sided.
    """
    padding: list[int] = []
    for size, side, step in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // step) - 1) * step + side - size, 0)
        padding = [total // 2, total - total // 2, *padding]  # the last axis comes first
    return F.pad(x, padding)


class SamePool(nn.Module):
    """Max pooling of clips with TensorFlow's padding. Behind a ReLU: the zeros never win."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> ceil of T, H and W by the strides."""
        return F.max_pool3d(
            pad_same(x, kernel=self.kernel, stride=self.stride), self.kernel, self.stride
        )


class Inception(nn.Module):
    """Branches side by side, their channels one behind the other."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> (N, the channels of all branches, ...)."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


# Channels of each module: 1x1; 3x3 behind its reduction; the second 3x3 (5x5 in the paper on
# GoogLeNet) behind its reduction; behind the pooling. Carreira and Zisserman, figure 3; the widths
# are those of Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, table 1.
I3D_MODULES = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}
I3D_FEATURES = 1024


class InceptionI3D(nn.Sequential):
    """The backbone of Inception-I3D, of clips (N, C, T, H, W) to features (N, 1024).

    Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset",
    CVPR 2017, figure 3. Modules are called as there and in the authors' code, 3b to 5c.
    The last pooling averages two steps of an eighth of the clip's time at once, and then these
    averages, so that the clip's first and last step count half.

    Args:
        in_channels: 3 for RGB, 2 for flow.
    """

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        options: dict[str, Any] = {"bias": False, "eps": 1e-3}
        self.conv1 = Unit(in_channels, 64, (7, 7, 7), stride=2, same=True, **options)
        self.maxpool1 = SamePool((1, 3, 3), (1, 2, 2))
        self.conv2 = Unit(64, 64, (1, 1, 1), **options)
        self.conv3 = Unit(64, 192, (3, 3, 3), **options)
        self.maxpool2 = SamePool((1, 3, 3), (1, 2, 2))
        channels = 192
        for name, (first, second, third, pooled) in I3D_MODULES.items():
            if name == "4b":
                self.maxpool3 = SamePool((3, 3, 3), (2, 2, 2))
            if name == "5b":
                self.maxpool4 = SamePool((2, 2, 2), (2, 2, 2))
            large = [
                nn.Sequential(
                    Unit(channels, reduced, (1, 1, 1), **options),
                    Unit(reduced, out, (3, 3, 3), **options),
                )
                for reduced, out in (second, third)
            ]
            module = Inception(
                branch1=Unit(channels, first, (1, 1, 1), **options),
                branch2=large[0],
                branch3=large[1],
                branch4=nn.Sequential(
                    nn.MaxPool3d(3, stride=1, padding=1),
                    Unit(channels, pooled, (1, 1, 1), **options),
                ),
            )
            self.add_module(f"inception{name}", module)
            channels = first + second[-1] + third[-1] + pooled

    def forward(self, clips: Tensor) -> Tensor:
        """(N, C, T, H, W) -> features (N, 1024)."""
        steps = super().forward(clips).mean(dim=(3, 4))
        features: Tensor = F.avg_pool1d(steps, min(2, steps.shape[2]), stride=1).mean(dim=2)
        return features


# Modules of GoogLeNet as torchvision calls them, in the order of I3D_MODULES.
GOOGLENET_MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def inflate_googlenet(state: Mapping[str, Tensor], network: InceptionI3D) -> dict[str, Tensor]:
    """Weights of torchvision's `googlenet`, the 2D network of the same layers, for Inception-I3D.

    Each kernel is repeated over its time steps and divided by their number (section 2.4.1). The
    classifier and the auxiliary ones are left out.
    """
    names = {
        f"inception{picture}.": f"inception{clip}."
        for picture, clip in zip(GOOGLENET_MODULES, I3D_MODULES, strict=True)
    }
    inflated = {}
    for key, tensor in state.items():
        module = key.partition(".")[0]
        if module in ("fc", "aux1", "aux2"):
            continue
        name = key.replace(f"{module}.", names.get(f"{module}.", f"{module}."), 1)
        layer = network.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Conv3d) and tensor.dim() == 4:
            depth = layer.kernel_size[0]
            tensor = tensor.unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth
        inflated[name] = tensor
    return inflated


class HalvingPool(nn.Module):
    """Max pooling 3 x 3 by 2 beside convolutions padded by 1; behind a ReLU: zeros never win.

    Caffe's, which has windows beyond the last row and column, halves even sides as these do. Odd
    ones, as of inputs that are no multiples of 32, which Caffe's networks do not take, are padded.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[2:]
        padded = F.pad(x, (width % 2, 0, height % 2, 0))
        return F.max_pool2d(padded, 3, stride=2, ceil_mode=True)


# Channels as above, the third branch with two 3x3 convolutions; no width: stride 2, no 1x1
# convolution, and the pooling's channels are passed on as they are. Ioffe and Szegedy, table in
# figure 5, with the widths of the Caffe model that TSN's networks begin from.
BN_MODULES: dict[str, tuple[int, tuple[int, int], tuple[int, int, int], int]] = {
    "3a": (64, (64, 64), (64, 96, 96), 32),
    "3b": (64, (64, 96), (64, 96, 96), 64),
    "3c": (0, (128, 160), (64, 96, 96), 0),
    "4a": (224, (64, 96), (96, 128, 128), 128),
    "4b": (192, (96, 128), (96, 128, 128), 128),
    "4c": (160, (128, 160), (128, 160, 160), 128),
    "4d": (96, (128, 192), (160, 192, 192), 128),
    "4e": (0, (128, 192), (192, 256, 256), 0),
    "5a": (352, (192, 320), (160, 224, 224), 128),
    "5b": (352, (192, 320), (192, 224, 224), 128),
}
BN_FEATURES = 1024


class BNInception(nn.Sequential):
    """The backbone of BN-Inception, of pictures (N, C, H, W) to features (N, 1024).

    Ioffe and Szegedy, "Batch Normalization", ICML 2015, in the form of TSN (Wang et al., ECCV
    2016): convolutions have biases, and poolings of stride 2 see the last row and column (Caffe's).

    Args:
        in_channels: 3 for RGB; for flow two a pair.
    """

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        options: dict[str, Any] = {"bias": True, "eps": 1e-5}
        self.conv1 = Unit(in_channels, 64, (7, 7), stride=2, **options)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = Unit(64, 64, (1, 1), **options)
        self.conv3 = Unit(64, 192, (3, 3), **options)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        channels = 192
        for name, (first, second, third, pooled) in BN_MODULES.items():
            stride = 2 if not first else 1
            branches: dict[str, nn.Module] = {}
            if first:
                branches["branch1"] = Unit(channels, first, (1, 1), **options)
            branches["branch2"] = nn.Sequential(
                Unit(channels, second[0], (1, 1), **options),
                Unit(second[0], second[1], (3, 3), stride=stride, **options),
            )
            branches["branch3"] = nn.Sequential(
                Unit(channels, third[0], (1, 1), **options),
                Unit(third[0], third[1], (3, 3), **options),
                Unit(third[1], third[2], (3, 3), stride=stride, **options),
            )
            if not pooled:
                branches["branch4"] = HalvingPool()
            else:
                pool = nn.MaxPool2d if name == "5b" else nn.AvgPool2d
                branches["branch4"] = nn.Sequential(
                    pool(3, stride=1, padding=1), Unit(channels, pooled, (1, 1), **options)
                )
            self.add_module(f"inception{name}", Inception(**branches))
            channels = first + second[-1] + third[-1] + (pooled or channels)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) -> features (N, 1024), averaged over space."""
        features: Tensor = super().forward(pictures).mean(dim=(2, 3))
        return features
