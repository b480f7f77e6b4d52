"""I3D on a ResNet: 3D convolutions that begin as the 2D network they were inflated from.

The ResNet form of Wang et al., "Non-local Neural Networks", CVPR 2018, table 1 and section 4.
"""

from __future__ import annotations

from torch import Tensor, nn

from twostream.models.inflation import inflate_conv, inflate_layers

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
            _remove_stride(self.layer4)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, C, T, H, W) -> features (N, D), averaged over time and space."""
        x = self.pool1(self.relu(self.bn1(self.conv1(clips))))
        x = self.layer3(self.layer2(self.pool2(self.layer1(x))))
        features: Tensor = self.layer4(x).mean(dim=(2, 3, 4))
        return features


def _deepen(stage: nn.Module, *, first: int, step: int) -> nn.Sequential:
    """Give the first convolution of some blocks three frames: `first`, `first + step` ..."""
    assert isinstance(stage, nn.Sequential)
    for block in list(stage)[first::step]:
        block.conv1 = _three_frames(block.conv1)  # type: ignore[arg-type]
    return stage


def _three_frames(conv: nn.Conv3d) -> nn.Conv3d:
    """The same convolution of depth 3: its weights spread over three frames."""
    deep = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=(3, *conv.kernel_size[1:]),  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=(1, *conv.padding[1:]),
        bias=False,
    )
    deep.weight.data.copy_(conv.weight.data.expand_as(deep.weight) / 3)
    return deep


def _remove_stride(stage: nn.Sequential) -> None:
    for layer in stage.modules():
        if isinstance(layer, nn.Conv3d):
            layer.stride = (1, 1, 1)
