import pytest
import torch
from torch import nn

from twostream.models.temporal_shift import (
    FrameAverage,
    TemporalShift,
    shift_in_time,
    shift_mobilenet,
    shift_resnet,
)
from twostream_base.vision import torchvision


def shift_slowly(x, num_frames, share):
    """The definition, value by value."""
    result = torch.zeros_like(x)
    fold = x.shape[1] // share
    for row in range(x.shape[0]):
        clip, frame = divmod(row, num_frames)
        for channel in range(x.shape[1]):
            source = frame + 1 if channel < fold else frame - 1 if channel < 2 * fold else frame
            if 0 <= source < num_frames:
                result[row, channel] = x[clip * num_frames + source, channel]
    return result


@pytest.mark.parametrize("num_frames", [1, 2, 4])
@pytest.mark.parametrize("share", [4, 8])
def test_as_defined(num_frames, share):
    x = torch.randn(2 * num_frames, 18, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        shift_in_time(x, num_frames, share=share), shift_slowly(x, num_frames, share)
    )


def test_one_channel_forward_one_back():
    x = torch.tensor([[1.0, 10, 100, 1000], [2, 20, 200, 2000], [3, 30, 300, 3000]])
    shifted = shift_in_time(x[:, :, None, None], 3, share=4).flatten(1)
    assert shifted.tolist() == [[2, 0, 100, 1000], [3, 10, 200, 2000], [0, 20, 300, 3000]]


@pytest.mark.parametrize(
    ("name", "place", "count"),
    [
        ("resnet18", "residual", 8),
        ("resnet50", "residual", 16),
        ("resnet50", "in-place", 16),
        ("resnet101", "residual", 2 + 2 + 12 + 2),
    ],
)
def test_places_in_a_resnet(name, place, count):
    network = getattr(torchvision.models, name)()
    before = sum(p.numel() for p in network.parameters())
    shift_resnet(network, num_frames=8, place=place)
    assert sum(isinstance(layer, TemporalShift) for layer in network.modules()) == count
    assert sum(p.numel() for p in network.parameters()) == before


def test_the_skip_connection_is_not_shifted_in_the_residual_form():
    network = torchvision.models.resnet18()
    block = network.layer1[0]
    nn.init.zeros_(block.bn2.weight)  # the branch gives nothing: what remains is the skip
    shift_resnet(network, num_frames=4, place="residual")
    frames = torch.rand(4, 64, 5, 5)
    torch.testing.assert_close(block(frames), frames)


def test_mobilenet_is_shifted_where_it_has_skip_connections():
    network = torchvision.models.mobilenet_v2()
    shift_mobilenet(network, num_frames=8)
    assert sum(isinstance(layer, TemporalShift) for layer in network.modules()) == 10


def test_frames_of_a_clip_are_looked_at_together():
    clips = torch.arange(24.0).reshape(2, 1, 3, 2, 2)
    together = FrameAverage(nn.Flatten())(clips)
    assert together.tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]
