"""Backbones of clips (N, C, T, H, W), from 2D networks of torchvision and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from twostream.models.backbones import build_backbone
from twostream.models.i3d import I3D
from twostream.models.initial_weights import fit
from twostream.models.input_channels import first_convolution
from twostream.models.non_local import insert_blocks
from twostream.models.temporal_shift import FramesTogether, shift_mobilenet, shift_resnet

Backbone = tuple[nn.Module, int]  # and the size D of its features


def build_tsm(
    name: str,
    *,
    in_channels: int,
    num_frames: int,
    state: Mapping[str, Tensor],
    source: str,
    place: str = "residual",
) -> Backbone:
    """A ResNet or `mobilenet_v2` with temporal shifts.

    Args:
        place: `residual` or `in-place`, see `shift_resnet`; a MobileNet has the former alone.
    """

    def shifted(network: nn.Module) -> nn.Module:
        if name == "mobilenet_v2":
            shift_mobilenet(network, num_frames=num_frames)
        else:
            shift_resnet(network, num_frames=num_frames, place=place)
        return FramesTogether(network)

    return _converted(name, shifted, in_channels=in_channels, state=state, source=source)


def build_i3d(
    name: str,
    *,
    in_channels: int,
    num_frames: int,
    state: Mapping[str, Tensor],
    source: str,
    last_stride: int = 2,
    non_local: bool = False,
    window: float | None = None,
    symmetric: bool = False,
) -> Backbone:
    """An inflated ResNet, with non-local blocks in res3 and res4 if wanted.

    Args:
        last_stride: see `I3D`.
        window, symmetric: of the non-local blocks, see `NonLocalBlock`.
    """

    def inflated(network: nn.Module) -> nn.Module:
        i3d = I3D(network, num_frames=num_frames, last_stride=last_stride)
        for stage in (i3d.layer2, i3d.layer3) if non_local else ():
            insert_blocks(stage, window=window, symmetric=symmetric)
        return i3d

    return _converted(name, inflated, in_channels=in_channels, state=state, source=source)


def _converted(
    name: str,
    convert: Callable[[nn.Module], nn.Module],
    *,
    in_channels: int,
    state: Mapping[str, Tensor],
    source: str,
) -> Backbone:
    """Build the 2D network, load its weights, convert it; or load weights of a converted one."""
    network, size = build_backbone(name, in_channels=in_channels, state={}, source=source)
    first, conv = first_convolution(network)
    given = state.get(f"{first}.weight")
    if given is not None and given.dim() == conv.weight.dim():
        network, size = build_backbone(name, in_channels=in_channels, state=state, source=source)
        return convert(network), size
    converted = convert(network)
    if state:
        fit(converted, state, source=source)
    return converted, size
