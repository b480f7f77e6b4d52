"""A network applied to each segment by itself (TSN: Wang et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType

import torch
from torch import Tensor, nn

from twostream.transforms.presets import Modality


class SegmentNetwork(nn.Module):
    """Stored uint8 clips in, features of each segment, logits of each segment out.

    The network normalises its input itself, so that training and testing cannot differ in it; mean
    and std are kept with its weights, for weights from elsewhere may need others.

    Args:
        backbone: maps snippets to features (N, D). They come as (N, T*C, H, W), their T frames
            stacked as channels, for flow in the order u1 v1 u2 v2 ...; or, with `is_3d`, as
            (N, C, T, H, W).
        classifier: (N, S, D) -> (N, S, classes), with D as `in_features`. A consensus that learns
            takes its place.
        modality: gives mean and std of the stored values.
        is_3d: which of the two the backbone takes.

    Attributes:
        modality: what the network sees of a video.
        feature_size: D.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, classifier: nn.Module, modality: Modality, *, is_3d: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        disable_bf16_for_small_conv3d(backbone)
        self.is_3d = is_3d
        self.modality, self.differences = modality, modality.differences
        self.feature_size: int = classifier.in_features  # type: ignore[assignment]
        self.classifier = classifier
        self._order_3d = torch.contiguous_format
        for name, values in (("mean", modality.mean), ("std", modality.std)):
            stacked = torch.tensor(values).repeat(modality.network_length)
            self.register_buffer(name, stacked[:, None, None])

    def to_device(self, device: torch.device) -> None:
        """Move to a device, convolutions in the memory order that they are fastest in there."""
        self.to(device)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # cudnn's benchmark mode stays off: on an H100 it gained nothing by itself, and kernels that
        # it picks by their time may differ when a run is resumed, which is bit-equal without it.
        on_gpu = device.type == "cuda"
        self.order_3d_layers(torch.channels_last_3d if on_gpu else torch.contiguous_format)

    def order_3d_layers(self, memory_format: torch.memory_format) -> None:
        """Hold the weights of 3D convolutions, and the clips that they see, in this memory order.

        Depthwise and other grouped ones keep theirs: the order would choose other kernels for them.
        Networks without 3D convolutions are left alone.
        """
        layers = [m for m in self.backbone.modules() if isinstance(m, nn.Conv3d) and m.groups == 1]
        for layer in layers:
            layer.to(memory_format=memory_format)  # type: ignore[call-overload]
        self._order_3d = memory_format if layers else torch.contiguous_format

    def take_normalisation(self, values: Mapping[str, Tensor]) -> None:
        """Take mean and std (T*C, 1, 1) along with weights that were trained with them.

        Those of another stream have other channels, and are ignored.
        """
        if values and values["mean"].shape == self.mean.shape:
            self.mean.copy_(values["mean"])
            self.std.copy_(values["std"])

    def features(self, clips: Tensor) -> Tensor:
        """(N, S, T, C, H, W) uint8 -> what the classifier sees of each segment, (N, S, D)."""
        n, s, t, c, h, w = clips.shape
        normalised = self._normalised(clips.reshape(n * s, t * c, h, w), channels=c)
        if self.is_3d:
            clip = normalised.unflatten(1, (-1, c * self.modality.stack)).transpose(1, 2)
            normalised = clip.contiguous(memory_format=self._order_3d)
        features: Tensor = self.backbone(normalised)
        return features.reshape(n, s, -1)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, S, T, C, H, W) uint8 -> logits (N, S, classes)."""
        logits: Tensor = self.classifier(self.features(clips))
        return logits

    def _normalised(self, stacked: Tensor, *, channels: int) -> Tensor:
        """(N, T*C, H, W) uint8 -> the same in zero mean and unit variance, channels last.

        Computed in float32, and rounded once under autocast: a CPU subtracts float32 from bfloat16
        at a tenth of the speed.
        """
        device = stacked.device.type
        half = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        values = stacked.to(self.mean.dtype, memory_format=torch.channels_last)
        if self.differences:
            values = values[:, channels:] - values[:, :-channels]
        values = values.sub_(self.mean).div_(self.std)
        return values.to(torch.get_autocast_dtype(device)) if half else values


def disable_bf16_for_small_conv3d(network: nn.Module) -> None:
    """Let 3D convolutions compute small volumes in float32 under bfloat16 autocast on a CPU.

    oneDNN, as torch 2.13 has it, gets these wrong in bfloat16: weights' gradients are whatever was
    in memory where a clip is hardly longer than the kernel, and it writes beyond its memory where
    an output is one pixel wide (https://github.com/pytorch/pytorch/issues/169688). Nothing is
    raised: the loss alone may tell.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d):
            # A method, not a closure: a copy of the network then has one of its own.
            layer.forward = MethodType(_conv3d_forward, layer)  # type: ignore[method-assign]


def is_small(layer: nn.Conv3d, x: Tensor) -> bool:
    """Whether some axis of `x` (N, C, T, H, W) is no longer than the layer's kernel or stride."""
    reaches = zip(x.shape[2:], layer.kernel_size, layer.stride, strict=True)
    return any(size <= reach for size, *both in reaches if (reach := max(both)) > 1)


def _conv3d_forward(layer: nn.Conv3d, x: Tensor) -> Tensor:
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and is_small(layer, x):
        with torch.autocast("cpu", enabled=False):
            return layer._conv_forward(x.float(), layer.weight, layer.bias)
    return layer._conv_forward(x, layer.weight, layer.bias)
