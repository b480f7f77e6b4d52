"""Temporal shift: channels that look one frame ahead and one back, at no cost (TSM).

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def shift_in_time(x: Tensor, num_frames: int, *, share: int = 8) -> Tensor:
    """Move 1/share of the channels one frame forward in time, 1/share backward; zeros come in.

    Args:
        x: (N*T, C, H, W), the T frames of a clip in a row.
        num_frames: T.
        share: channels 0 to C/share take the next frame's values, as many after them the
            previous one's; the others stay.
    """
    clips = x.reshape(-1, num_frames, *x.shape[1:])
    fold = x.shape[1] // share
    shifted = clips.clone()
    shifted[:, :-1, :fold] = clips[:, 1:, :fold]
    shifted[:, -1, :fold] = 0
    shifted[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    shifted[:, 0, fold : 2 * fold] = 0
    return shifted.reshape(x.shape)


class TemporalShift(nn.Module):
    """A layer of a 2D network, with its input shifted in time.

    Args:
        layer: of frames (N*T, C, H, W).
        num_frames: T.
    """

    def __init__(self, layer: nn.Module, num_frames: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_frames = num_frames

    def forward(self, x: Tensor) -> Tensor:
        """Frames of clips (N*T, C, H, W) to what the layer makes of them."""
        output: Tensor = self.layer(shift_in_time(x, self.num_frames))
        return output


def shift_resnet(network: nn.Module, *, num_frames: int, place: str) -> None:
    """Insert shifts into the residual blocks of a torchvision ResNet.

    Every block is shifted; where a stage has 23 or more of them (ResNet101, 152), every second one,
    as the authors' code does.

    Args:
        place: `residual`, inside the residual branch, so that the skip connection keeps what a
            frame shows itself; `in-place`, before the whole block (section 3.2 of the paper).
    """
    stages = [network.get_submodule(f"layer{i}") for i in range(1, 5)]
    step = 2 if max(map(len, stages)) >= 23 else 1  # type: ignore[arg-type]
    for stage in stages:
        assert isinstance(stage, nn.Sequential)
        for index in range(0, len(stage), step):
            if place == "in-place":
                stage[index] = TemporalShift(stage[index], num_frames)
            else:
                block = stage[index]
                block.conv1 = TemporalShift(block.conv1, num_frames)  # type: ignore[arg-type]


def shift_mobilenet(network: nn.Module, *, num_frames: int) -> None:
    """Insert shifts into the residual branches of a torchvision MobileNetV2.

    The blocks without a skip connection (those that change size) are left alone.
    """
    features = network.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    for block in features:
        if getattr(block, "use_res_connect", False):
            block.conv[0] = TemporalShift(block.conv[0], num_frames)  # type: ignore


class FrameAverage(nn.Module):
    """The mean over the frames of a clip of what a 2D backbone gives for each.

    Args:
        network: (N*T, C, H, W) -> features (N*T, D).

    Attributes:
        dropout: of each frame's features by themselves, as in the authors' code.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.dropout = nn.Dropout(0.0)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, C, T, H, W) -> features (N, D)."""
        frames = clips.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.dropout(self.network(frames))
        return features.unflatten(0, (-1, clips.shape[2])).mean(dim=1)
