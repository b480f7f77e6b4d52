"""Backbones of single frames: uint8-valued floats (N, C, H, W) -> features (N, D)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from twostream.models.backbones import build_backbone
from twostream.models.initial_weights import initial_weights


class PlainCnn(nn.Module):
    """The notes' plain CNN: a convolution, then four blocks that double the channels.

    Cheng et al., "Fully Convolutional Networks for Continuous Sign Language Recognition", ECCV
    2020: 3 x 3 convolutions with batch norm and ReLU, five poolings by 2, then a global average.

    Args:
        width: channels of the first layer; the features are 16 times as many (512).
    """

    def __init__(self, in_channels: int, *, width: int = 32) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

        widths = [width * 2**block for block in range(5)]
        layers: list[nn.Module] = [*convolution(in_channels, width), nn.MaxPool2d(2)]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [*convolution(inputs, outputs), nn.MaxPool2d(2)]
            layers += convolution(outputs, outputs)
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out_features = widths[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W), at least 32 x 32 -> (N, 16 * width)."""
        features: Tensor = self.layers(frames)
        return features


class ResNet18(nn.Module):
    """A ResNet18 without its classifier; `weights` as in `initial_weights`."""

    def __init__(self, in_channels: int, *, weights: str = "none") -> None:
        super().__init__()
        state = initial_weights(weights, model="resnet18")
        layers = {name: state[name] for name in state if name not in ("mean", "std")}
        self.network, self.out_features = build_backbone(
            "resnet18", in_channels=in_channels, state=layers, source=weights
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 512)."""
        features: Tensor = self.network(frames)
        return features


FRAME_BACKBONES: dict[str, Callable[..., nn.Module]] = {"plain": PlainCnn, "resnet18": ResNet18}
